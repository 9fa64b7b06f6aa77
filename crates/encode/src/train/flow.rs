//! The flow as learner: codes are integrated, from wherever each sample starts.

use super::frozen::frozen;
use super::learner::{KeptCodes, Learner, TRAINING_UNITS, Visit, broke_down, finite, init};
use super::mini_batch::MiniBatch;
use super::{Optimizer, OptimizerState, Tally, TrainError};
use crate::encoder::{Encoded, Encoding, encode_from};
use crate::pass;
use faer::Mat;
use gfe_model::{Cols, DecodeError, Decoder};

/// How the gradient with respect to the weights is had.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Gradient {
    /// dl/dtheta at the code, which is taken as constant.
    #[default]
    Approximate,
}

/// Where the flow of a training sample starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowStart {
    /// At its z0.
    #[default]
    Z0,
    /// At its own last code, which takes the place of its z0: the flow continues where it stopped.
    Previous,
    /// At its own last code, with the horizon still tied to its z0.
    Warm,
    /// At one vector shared by all, which is trained too.
    Learned,
}

/// How the flow trains a decoder.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FlowLearning {
    /// The gradient.
    pub gradient: Gradient,
    /// Where samples start.
    pub start: FlowStart,
}

impl FlowLearning {
    /// Fails where the gradient or the start does not go with the solver.
    pub(super) fn check(&self, how: &Encoding<'_>) -> Result<(), TrainError> {
        let anchored = how.anchor() > 0.0;
        match self.start {
            FlowStart::Learned if !anchored => Err(TrainError::Pair(
                "a learned z0 has an approximate gradient only under ptc with a finite t_end: take gradient adjoint, or a finite t_end".into(),
            )),
            FlowStart::Warm if !how.solver.anchors() => Err(TrainError::Pair(
                "to begin at the last code with the horizon tied to z0 is for ptc; take start previous".into(),
            )),
            _ => Ok(()),
        }
    }
}

/// The learner.
pub(super) struct Flow<'a> {
    how: Encoding<'a>,
    learning: FlowLearning,
    decoder: &'a dyn Decoder,
    latent: usize,
}

impl<'a> Flow<'a> {
    pub(super) fn new(how: Encoding<'a>, learning: FlowLearning, decoder: &'a dyn Decoder) -> Self {
        Flow {
            how,
            learning,
            latent: decoder.shape().latent,
            decoder,
        }
    }

    /// The codes of a mini-batch, with the z0 that they belong to.
    fn encode(
        &self,
        (params, shared): (&[f64], &[f64]),
        batch: &MiniBatch<'_>,
        codes: &KeptCodes,
    ) -> Result<(Mat<f64>, Encoded), TrainError> {
        let mut how = self.how;
        let last = |b: usize| codes.z.col_as_slice(batch.ids[b]);
        let visited = |b: usize| last(b).iter().all(|z| z.is_finite());
        let latest = |otherwise: &Mat<f64>| {
            let mut z = otherwise.clone();
            for b in (0..z.ncols()).filter(|&b| visited(b)) {
                z.col_as_slice_mut(b).copy_from_slice(last(b));
            }
            z
        };
        let (z0, start) = match self.learning.start {
            FlowStart::Z0 => (batch.z0.clone(), None),
            FlowStart::Previous => (latest(&batch.z0), None),
            FlowStart::Warm => (batch.z0.clone(), Some(latest(&batch.z0))),
            FlowStart::Learned => (Mat::from_fn(self.latent, batch.ids.len(), |r, _| shared[r]), None),
        };
        how.common_z0 = match self.learning.start {
            FlowStart::Z0 => how.common_z0,
            FlowStart::Learned => Some(shared),
            FlowStart::Previous | FlowStart::Warm => None,
        };
        let samples = crate::Samples {
            z0: z0.as_ref(),
            ..batch.samples()
        };
        let encoded = encode_from(&how, params, samples, start.as_ref().map(Mat::as_ref))?;
        Ok((z0, encoded))
    }
}

impl Learner for Flow<'_> {
    fn len(&self) -> usize {
        let shared = match self.learning.start {
            FlowStart::Learned => self.latent,
            _ => 0,
        };
        self.decoder.shape().params + shared
    }

    fn init(&self, seed: u64, samples: usize, values: &mut [f64]) -> Result<KeptCodes, DecodeError> {
        let kept = match self.learning.start {
            FlowStart::Previous | FlowStart::Warm => samples,
            FlowStart::Z0 | FlowStart::Learned => 0,
        };
        init(self.decoder, seed, &mut values[..self.decoder.shape().params])?;
        Ok(KeptCodes {
            z: Mat::full(self.latent, kept, f64::NAN),
            optimizer: OptimizerState::new(Optimizer::RMSPROP, 0, 0),
        })
    }

    fn gradient(
        &mut self,
        values: &[f64],
        batch: &MiniBatch<'_>,
        _visit: Visit,
        codes: &mut KeptCodes,
        values_bar: &mut [f64],
    ) -> Result<Tally, TrainError> {
        let (params, shared) = values.split_at(self.decoder.shape().params);
        let (z0, encoded) = self.encode((params, shared), batch, codes)?;
        let mut tally = Tally::of(&encoded);
        let usable = finite(encoded.records.iter().map(|record| record.loss));
        values_bar.fill(0.0);
        if usable.is_empty() {
            return Ok(tally);
        }
        let z = encoded.z.as_ref();
        let (params_bar, shared_bar) = values_bar.split_at_mut(params.len());
        let Gradient::Approximate = self.learning.gradient;
        let at = pass::Codes {
            z,
            context: batch.samples().context,
            usable: &usable,
        };
        frozen(self.decoder, params, (self.how.loss, batch.data()), at, params_bar).map_err(broke_down)?;
        add_pull(z0.as_ref(), z, &usable, self.how.anchor(), shared_bar);
        tally.units += TRAINING_UNITS * usable.len() as u64;
        tally.evaluations += usable.len() as u64;
        let mean = 1.0 / usable.len() as f64;
        values_bar.iter_mut().for_each(|g| *g *= mean);
        if codes.z.ncols() > 0 {
            for &b in &usable {
                codes
                    .z
                    .col_as_slice_mut(batch.ids[b])
                    .copy_from_slice(encoded.z.col_as_slice(b));
            }
        }
        Ok(tally)
    }
}

/// z0_bar += the sum over the samples of (z0 - z*) / tau: the derivative of the minimum of l + |z - z0|^2 / (2 tau).
fn add_pull(z0: Cols<'_>, z: Cols<'_>, usable: &[usize], anchor: f64, z0_bar: &mut [f64]) {
    for &b in usable {
        for (r, bar) in z0_bar.iter_mut().enumerate() {
            *bar += anchor * (z0[(r, b)] - z[(r, b)]);
        }
    }
}
