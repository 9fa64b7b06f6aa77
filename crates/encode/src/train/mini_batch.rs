//! A mini-batch: some training samples in memory of their own.

use crate::Samples;
use faer::Mat;
use gfe_model::{Cols, Targets};

/// Some samples, a column each.
pub(super) struct MiniBatch<'i> {
    /// Their numbers among the training samples.
    pub(super) ids: &'i [usize],
    pub(super) y: Mat<f64>,
    pub(super) w: Option<Mat<f64>>,
    pub(super) context: Option<Mat<f64>>,
    pub(super) z0: Mat<f64>,
}

impl<'i> MiniBatch<'i> {
    pub(super) fn new(from: Samples<'_>, ids: &'i [usize]) -> Self {
        let gathered = |of: Cols<'_>| Mat::from_fn(of.nrows(), ids.len(), |r, b| of[(r, ids[b])]);
        MiniBatch {
            ids,
            y: gathered(from.data.y),
            w: from.data.w.map(gathered),
            context: from.context.map(gathered),
            z0: gathered(from.z0),
        }
    }

    /// Data and weights.
    pub(super) fn data(&self) -> Targets<'_> {
        Targets {
            y: self.y.as_ref(),
            w: self.w.as_ref().map(Mat::as_ref),
        }
    }

    /// Everything.
    pub(super) fn samples(&self) -> Samples<'_> {
        Samples {
            data: self.data(),
            context: self.context.as_ref().map(Mat::as_ref),
            z0: self.z0.as_ref(),
        }
    }
}
