//! A forward pass at the codes of some samples, for what is computed from all of them together.

use crate::batch::fresh_version;
use faer::Mat;
use gfe_model::{At, Cols, DecodeError, Decoder, Loss, Taped, Targets};

/// Codes, some of which count.
#[derive(Clone, Copy)]
pub struct Codes<'a> {
    /// Codes, `[d, samples]`.
    pub z: Cols<'a>,
    /// What is known of each sample and enters the decoder, `[c, samples]`, unless c is 0.
    pub context: Option<Cols<'a>>,
    /// The samples that count, in the order of sums over them.
    pub usable: &'a [usize],
}

/// D at the codes that count, one column for each in their order.
///
/// A decoder's column has other bits alone: a single sample is doubled, and the double's slopes are 0.
pub(crate) struct Pass<'a> {
    decoder: &'a dyn Decoder,
    params: &'a [f64],
    version: u64,
    usable: &'a [usize],
    z: Mat<f64>,
    context: Mat<f64>,
    x: Mat<f64>,
    tape: Mat<f64>,
}

impl<'a> Pass<'a> {
    /// The pass; at least one sample must count.
    pub(crate) fn new(decoder: &'a dyn Decoder, params: &'a [f64], codes: Codes<'a>) -> Result<Self, DecodeError> {
        let usable = codes.usable;
        let width = usable.len().max(2);
        let mut pass = Pass {
            decoder,
            params,
            version: fresh_version(),
            usable,
            z: gather(usable, codes.z),
            context: codes
                .context
                .map_or_else(|| Mat::zeros(0, width), |context| gather(usable, context)),
            x: Mat::zeros(decoder.shape().data, width),
            tape: Mat::zeros(decoder.tape_len(), width),
        };
        let at = At {
            params,
            version: pass.version,
            z: pass.z.as_ref(),
            context: pass.context.as_ref(),
        };
        let mut scratch = pass.scratch();
        decoder.forward(at, pass.x.as_mut(), pass.tape.as_mut(), &mut scratch)?;
        Ok(pass)
    }

    /// Scratch memory for products at its columns.
    pub(crate) fn scratch(&self) -> Vec<f64> {
        vec![0.0; self.decoder.scratch_len(self.z.ncols())]
    }

    /// Where products are taken.
    pub(crate) fn taped(&self) -> Taped<'_> {
        Taped {
            at: At {
                params: self.params,
                version: self.version,
                z: self.z.as_ref(),
                context: self.context.as_ref(),
            },
            tape: self.tape.as_ref(),
        }
    }

    /// The columns of `from` that belong to its samples, a single one twice.
    pub(crate) fn gather(&self, from: Cols<'_>) -> Mat<f64> {
        gather(self.usable, from)
    }

    /// Sets what belongs to no sample to 0.
    pub(crate) fn clear_double(&self, columns: &mut Mat<f64>) {
        for extra in self.usable.len()..columns.ncols() {
            columns.col_as_slice_mut(extra).fill(0.0);
        }
    }

    /// The loss of each column and its gradient in x, `[D, columns]`.
    pub(crate) fn slopes(&self, loss: &dyn Loss, data: Targets<'_>) -> (Vec<f64>, Mat<f64>) {
        let (y, w) = (self.gather(data.y), data.w.map(|w| self.gather(w)));
        let mut value = vec![0.0; self.x.ncols()];
        let mut x_bar = Mat::zeros(self.x.nrows(), self.x.ncols());
        let targets = Targets {
            y: y.as_ref(),
            w: w.as_ref().map(Mat::as_ref),
        };
        loss.eval(self.x.as_ref(), targets, &mut value, Some(x_bar.as_mut()));
        self.clear_double(&mut x_bar);
        (value, x_bar)
    }

    /// The diagonal of d2l/dx2, `[D, columns]`.
    pub(crate) fn curvature(&self, loss: &dyn Loss, data: Targets<'_>) -> Mat<f64> {
        let (y, w) = (self.gather(data.y), data.w.map(|w| self.gather(w)));
        let mut diagonal = Mat::zeros(self.x.nrows(), self.x.ncols());
        let targets = Targets {
            y: y.as_ref(),
            w: w.as_ref().map(Mat::as_ref),
        };
        loss.curvature(self.x.as_ref(), targets, diagonal.as_mut());
        diagonal
    }
}

fn gather(usable: &[usize], from: Cols<'_>) -> Mat<f64> {
    let column = |b: usize| usable[b.min(usable.len() - 1)];
    Mat::from_fn(from.nrows(), usable.len().max(2), |r, b| from[(r, column(b))])
}
