//! What turns a mini-batch into a gradient.

use super::mini_batch::MiniBatch;
use super::{OptimizerState, Tally, TrainError};
use faer::Mat;
use gfe_model::{DecodeError, Decoder};
use gfe_ode::FlowError;

/// What is kept of each training sample between its visits.
#[derive(Clone, Debug)]
pub struct KeptCodes {
    /// The last code of each, `[d, samples]`, NaN before the first visit; no columns where none are kept.
    pub z: Mat<f64>,
    /// The optimizer's memory of codes that are trained; no groups where none are.
    pub optimizer: OptimizerState,
}

/// Which visit of the data this is.
#[derive(Clone, Copy)]
pub(super) struct Visit {
    /// Epochs finished.
    pub(super) epoch: u32,
}

/// A way to find codes of samples, and the gradient of their loss.
pub(super) trait Learner {
    /// Values trained: the decoder's P weights, and then the learner's own.
    fn len(&self) -> usize;
    /// Initial values, and codes for so many samples.
    fn init(&self, seed: u64, samples: usize, values: &mut [f64]) -> Result<KeptCodes, DecodeError>;
    /// Sets `values_bar` to the mean gradient over the usable samples of the mini-batch, 0 without any, and remembers what
    /// becomes of their codes until [`Learner::commit`].
    fn gradient(
        &mut self,
        values: &[f64],
        batch: &MiniBatch<'_>,
        visit: Visit,
        codes: &KeptCodes,
        values_bar: &mut [f64],
    ) -> Result<Tally, TrainError>;
    /// The last gradient stands: what is kept of its samples changes, by a factor `rate` of the learning rate.
    fn commit(&mut self, _rate: f64, _codes: &mut KeptCodes) {}
}

/// Work of a forward pass and the parameter gradient that follows, in units of a pass: the pass, the pull-back through the
/// layers, and the products that give the weights'.
pub(super) const TRAINING_UNITS: u64 = 3;

/// Initial weights of a decoder, or of a network of the same kind.
pub(super) fn init(network: &dyn Decoder, seed: u64, params: &mut [f64]) -> Result<(), DecodeError> {
    network
        .trainable()
        .ok_or_else(|| DecodeError::Failed("it gives no parameter gradients".into()))?
        .init(seed, params)
}

/// The numbers of the losses that are finite.
pub(super) fn finite(losses: impl Iterator<Item = f64>) -> Vec<usize> {
    losses
        .enumerate()
        .filter_map(|(b, loss)| loss.is_finite().then_some(b))
        .collect()
}

/// A decoder's failure outside the flow ends the training.
pub(super) fn broke_down(error: DecodeError) -> TrainError {
    TrainError::Flow(FlowError(error.to_string()))
}
