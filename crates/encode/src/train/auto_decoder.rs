//! The baseline with free codes: each training sample has a code of its own, trained with the decoder.
//!
//! Park et al., DeepSDF, arXiv 1901.05103, section 4: min over theta and all z of the mean of l(y, D(z)) + |z|^2 / (2 tau),
//! codes drawn from a normal distribution of standard deviation 0.01. A code takes a step when its sample is in the mini-batch.

use super::learner::{KeptCodes, Learner, TRAINING_UNITS, Visit, broke_down, finite, init};
use super::mini_batch::MiniBatch;
use super::{Optimizer, OptimizerState, Tally, TrainError};
use crate::pass::{self, Pass};
use faer::Mat;
use gfe_model::{DecodeError, Decoder, Loss};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Standard deviation of the initial codes: the paper's.
const SPREAD: f64 = 0.01;

/// The stream of random numbers of the initial codes; 0 is the split's, and 1, 2, ... the epochs'.
const STREAM: u64 = u64::MAX;

/// The learner.
pub(super) struct AutoDecoder<'a> {
    loss: &'a dyn Loss,
    decoder: &'a dyn Decoder,
    latent: usize,
    /// The rule of the codes.
    optimizer: Optimizer,
    /// 1/tau.
    anchor: f64,
    /// Samples of the last mini-batch and the gradients of their codes.
    found: Vec<(usize, Vec<f64>)>,
}

impl<'a> AutoDecoder<'a> {
    pub(super) fn new(loss: &'a dyn Loss, decoder: &'a dyn Decoder, (optimizer, anchor): (Optimizer, f64)) -> Self {
        AutoDecoder {
            loss,
            latent: decoder.shape().latent,
            decoder,
            optimizer,
            anchor,
            found: Vec::new(),
        }
    }
}

impl AutoDecoder<'_> {
    /// Losses of the usable columns and their gradients with respect to the codes, `[d, columns]`; adds those with respect to
    /// the weights.
    fn pull_back(
        &self,
        params: &[f64],
        batch: &MiniBatch<'_>,
        at: pass::Codes<'_>,
        params_bar: &mut [f64],
    ) -> Result<(Vec<f64>, Mat<f64>), DecodeError> {
        let pass = Pass::new(self.decoder, params, at)?;
        let (value, x_bar) = pass.slopes(self.loss, batch.data());
        pass.params_vjp(x_bar.as_ref(), params_bar)?;
        Ok((value, pass.vjp(x_bar.as_ref())?))
    }
}

impl Learner for AutoDecoder<'_> {
    fn len(&self) -> usize {
        self.decoder.shape().params
    }

    fn init(&self, seed: u64, samples: usize, values: &mut [f64]) -> Result<KeptCodes, DecodeError> {
        init(self.decoder, seed, values)?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(STREAM);
        // The sum of twelve uniform deviates is normal to the eye, and has the same bits on every machine.
        let mut deviate = || {
            let uniform = |random: &mut ChaCha8Rng| (random.next_u64() >> 11) as f64 * (-53.0_f64).exp2();
            (0..12).map(|_| uniform(&mut random)).sum::<f64>() - 6.0
        };
        let mut z = Mat::zeros(self.latent, samples);
        for b in 0..samples {
            z.col_as_slice_mut(b).fill_with(|| SPREAD * deviate());
        }
        Ok(KeptCodes {
            z,
            optimizer: OptimizerState::new(self.optimizer, samples, self.latent),
        })
    }

    fn gradient(
        &mut self,
        values: &[f64],
        batch: &MiniBatch<'_>,
        _visit: Visit,
        codes: &KeptCodes,
        values_bar: &mut [f64],
    ) -> Result<Tally, TrainError> {
        values_bar.fill(0.0);
        self.found.clear();
        let admits = |b: usize| {
            let w = batch.w.as_ref().map(|w| w.col_as_slice(b));
            self.loss.admits(batch.y.col_as_slice(b), w).is_ok()
        };
        let usable = finite((0..batch.ids.len()).map(|b| if admits(b) { 0.0 } else { f64::NAN }));
        let mut told = vec![f64::NAN; batch.ids.len()];
        if !usable.is_empty() {
            let mut z = Mat::zeros(self.latent, batch.ids.len());
            for &b in &usable {
                z.as_mut().col_mut(b).copy_from(codes.z.col(batch.ids[b]));
            }
            let at = pass::Codes {
                z: z.as_ref(),
                context: batch.samples().context,
                usable: &usable,
            };
            let (value, z_bar) = self.pull_back(values, batch, at, values_bar).map_err(broke_down)?;
            let mean = 1.0 / usable.len() as f64;
            values_bar.iter_mut().for_each(|g| *g *= mean);
            for (i, &b) in usable.iter().enumerate() {
                told[b] = value[i];
                let pull = z_bar.col_as_slice(i).iter().zip(z.col_as_slice(b));
                let z_bar: Vec<f64> = pull.map(|(bar, z)| mean * (bar + self.anchor * z)).collect();
                self.found.push((batch.ids[b], z_bar));
            }
        }
        Ok(Tally::of_losses(&told, TRAINING_UNITS + 1))
    }

    fn commit(&mut self, rate: f64, codes: &mut KeptCodes) {
        for (id, z_bar) in self.found.drain(..) {
            codes.optimizer.step(id, codes.z.col_as_slice_mut(id), &z_bar, rate);
        }
    }
}
