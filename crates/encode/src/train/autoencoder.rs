//! The baseline with an encoder network: z = E(y; phi), both trained on l(y, D(E(y))).

use super::learner::{KeptCodes, Learner, TRAINING_UNITS, Visit, broke_down, finite, init};
use super::mini_batch::MiniBatch;
use super::{Optimizer, OptimizerState, Tally, TrainError};
use crate::Samples;
use crate::pass::{self, Pass};
use faer::Mat;
use gfe_model::{Cols, DecodeError, Decoder, Loss, Targets};

/// Samples in one call of a network.
const TOGETHER: usize = 256;

/// What an encoder network is given for data `y` with weights `w`: 0 where a value is missing.
fn input(y: Cols<'_>, w: Option<Cols<'_>>) -> Mat<f64> {
    Mat::from_fn(y.nrows(), y.ncols(), |i, b| {
        if w.is_some_and(|w| w[(i, b)] == 0.0) {
            0.0
        } else {
            y[(i, b)]
        }
    })
}

/// The codes `[d, samples]` that an encoder network gives, `phi` its weights.
///
/// Values of weight 0 count as 0. A column has the same bits whatever the others. Fails where the network does.
pub fn encoder_codes(encoder: &dyn Decoder, phi: &[f64], data: Targets<'_>) -> Result<Mat<f64>, DecodeError> {
    let mut z = Mat::zeros(encoder.shape().data, data.y.ncols());
    let seen = input(data.y, data.w);
    let all: Vec<usize> = (0..data.y.ncols()).collect();
    for usable in all.chunks(TOGETHER) {
        let at = pass::Codes {
            z: seen.as_ref(),
            context: None,
            usable,
        };
        let pass = Pass::new(encoder, phi, at)?;
        for (b, &sample) in usable.iter().enumerate() {
            z.as_mut().col_mut(sample).copy_from(pass.decoded().col(b));
        }
    }
    Ok(z)
}

/// The losses of samples decoded from given codes, `[samples]`; NaN where the loss does not admit a datum.
pub fn losses_at(
    decoder: &dyn Decoder,
    loss: &dyn Loss,
    params: &[f64],
    samples: Samples<'_>,
    z: Cols<'_>,
) -> Result<Vec<f64>, DecodeError> {
    let all: Vec<usize> = (0..z.ncols()).collect();
    let mut told = Vec::with_capacity(all.len());
    for usable in all.chunks(TOGETHER) {
        let at = pass::Codes {
            z,
            context: samples.context,
            usable,
        };
        let (value, _) = Pass::new(decoder, params, at)?.slopes(loss, samples.data);
        told.extend(&value[..usable.len()]);
    }
    forget_inadmissible(loss, samples.data, &mut told);
    Ok(told)
}

/// NaN for every datum that the loss does not admit.
fn forget_inadmissible(loss: &dyn Loss, data: Targets<'_>, losses: &mut [f64]) {
    for (b, value) in losses.iter_mut().enumerate() {
        let y: Vec<f64> = data.y.col(b).iter().copied().collect();
        let w: Option<Vec<f64>> = data.w.map(|w| w.col(b).iter().copied().collect());
        if loss.admits(&y, w.as_deref()).is_err() {
            *value = f64::NAN;
        }
    }
}

/// The learner.
pub(super) struct Autoencoder<'a> {
    loss: &'a dyn Loss,
    decoder: &'a dyn Decoder,
    encoder: &'a dyn Decoder,
}

impl<'a> Autoencoder<'a> {
    pub(super) fn new(loss: &'a dyn Loss, decoder: &'a dyn Decoder, encoder: &'a dyn Decoder) -> Self {
        Autoencoder { loss, decoder, encoder }
    }

    /// Losses of the columns `usable`, and the sum of their gradients.
    fn pull_back(
        &self,
        values: &[f64],
        batch: &MiniBatch<'_>,
        usable: &[usize],
        values_bar: &mut [f64],
    ) -> Result<Vec<f64>, DecodeError> {
        let (params, phi) = values.split_at(self.decoder.shape().params);
        let (params_bar, phi_bar) = values_bar.split_at_mut(params.len());
        let seen = input(batch.y.as_ref(), batch.w.as_ref().map(Mat::as_ref));
        let below = pass::Codes {
            z: seen.as_ref(),
            context: None,
            usable,
        };
        let below = Pass::new(self.encoder, phi, below)?;
        // Its columns are those of the usable already, and a double of a single one stays one.
        let mut z = Mat::zeros(below.decoded().nrows(), batch.ids.len());
        for (b, &column) in usable.iter().enumerate() {
            z.as_mut().col_mut(column).copy_from(below.decoded().col(b));
        }
        let above = pass::Codes {
            z: z.as_ref(),
            context: batch.samples().context,
            usable,
        };
        let above = Pass::new(self.decoder, params, above)?;
        let (value, x_bar) = above.slopes(self.loss, batch.data());
        above.params_vjp(x_bar.as_ref(), params_bar)?;
        let z_bar = above.vjp(x_bar.as_ref())?;
        below.params_vjp(z_bar.as_ref(), phi_bar)?;
        Ok(value)
    }
}

impl Learner for Autoencoder<'_> {
    fn len(&self) -> usize {
        self.decoder.shape().params + self.encoder.shape().params
    }

    fn init(&self, seed: u64, _samples: usize, values: &mut [f64]) -> Result<KeptCodes, DecodeError> {
        let (params, phi) = values.split_at_mut(self.decoder.shape().params);
        init(self.decoder, seed, params)?;
        // Another seed than the decoder's, whose first layer may have the shape of the encoder's last.
        init(self.encoder, seed.wrapping_add(1 << 32), phi)?;
        Ok(KeptCodes {
            z: Mat::zeros(0, 0),
            optimizer: OptimizerState::new(Optimizer::RMSPROP, 0, 0),
        })
    }

    fn gradient(
        &mut self,
        values: &[f64],
        batch: &MiniBatch<'_>,
        _visit: Visit,
        _codes: &KeptCodes,
        values_bar: &mut [f64],
    ) -> Result<Tally, TrainError> {
        values_bar.fill(0.0);
        let mut admitted = vec![0.0; batch.ids.len()];
        forget_inadmissible(self.loss, batch.data(), &mut admitted);
        let usable = finite(admitted.iter().copied());
        let mut told = vec![f64::NAN; batch.ids.len()];
        if !usable.is_empty() {
            let value = self.pull_back(values, batch, &usable, values_bar).map_err(broke_down)?;
            usable.iter().zip(value).for_each(|(&b, value)| told[b] = value);
            let mean = 1.0 / usable.len() as f64;
            values_bar.iter_mut().for_each(|g| *g *= mean);
        }
        // A pass and a gradient of the decoder, another pull-back to the code, and the mirrored network's, as large.
        Ok(Tally::of_losses(&told, 2 * TRAINING_UNITS + 1))
    }
}
