//! The architecture as configuration and model files state it.

use super::Activation;
use crate::Output;
use serde::{Deserialize, Serialize};

/// The name by which a configuration says that it is one of a dense decoder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DenseKind {
    /// `dense`
    #[default]
    Dense,
}

/// A dense decoder's architecture, in JSON for example
/// `{"decoder":"dense","latent":20,"layers":[150,300,600,784],"activation":"elu","output":"logits"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseConfig {
    /// Always `dense`.
    #[serde(default)]
    pub decoder: DenseKind,
    /// d.
    pub latent: usize,
    /// Outputs of every linear layer; the last is D.
    pub layers: Vec<usize>,
    /// Between the layers, not after the last.
    pub activation: Activation,
    /// What a decoded value means.
    pub output: Output,
}

/// Why there is no such dense decoder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DenseError {
    /// `layers` is empty.
    #[error("`layers` is empty: name at least the number of values of a sample, as in `layers = [784]`")]
    NoLayers,
    /// `latent` is 0.
    #[error("`latent` is 0: a code has at least one value")]
    NoLatent,
    /// A layer has no output.
    #[error("layer {index} of `layers` is 0: every layer has at least one output")]
    EmptyLayer {
        /// Index in `layers`.
        index: usize,
    },
    /// There are more layers than a network has.
    #[error("`layers` has {found} entries: {limit} is the limit")]
    TooDeep {
        /// Number of layers.
        found: usize,
        /// Most layers.
        limit: usize,
    },
    /// Its weights exceed the address space.
    #[error("a decoder of latent {latent} and layers {layers:?} does not fit the memory: make them smaller")]
    TooLarge {
        /// `latent`.
        latent: usize,
        /// `layers`.
        layers: Vec<usize>,
    },
}

/// Most layers: a file of some megabytes can list millions, each of which takes memory.
const LAYERS: usize = 1000;

impl DenseConfig {
    /// P, or what is wrong with the sizes. Where it succeeds, no size computed from them overflows.
    pub(super) fn params(&self) -> Result<usize, DenseError> {
        if self.layers.is_empty() {
            return Err(DenseError::NoLayers);
        }
        if self.layers.len() > LAYERS {
            return Err(DenseError::TooDeep {
                found: self.layers.len(),
                limit: LAYERS,
            });
        }
        if self.latent == 0 {
            return Err(DenseError::NoLatent);
        }
        if let Some(index) = self.layers.iter().position(|&outputs| outputs == 0) {
            return Err(DenseError::EmptyLayer { index });
        }
        let too_large = || DenseError::TooLarge {
            latent: self.latent,
            layers: self.layers.clone(),
        };
        let (mut inputs, mut params) = (self.latent, 0_usize);
        for &outputs in &self.layers {
            let tensors = inputs.checked_add(1).and_then(|rows| rows.checked_mul(outputs));
            params = tensors.and_then(|len| params.checked_add(len)).ok_or_else(too_large)?;
            inputs = outputs;
        }
        // P exceeds every number of outputs, and the tape and scratch of a column are below 8 P values.
        let bytes = params.checked_mul(8 * size_of::<f64>()).ok_or_else(too_large)?;
        isize::try_from(bytes).map(|_| params).map_err(|_| too_large())
    }
}
