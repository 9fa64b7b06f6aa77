//! An encoder network of the baseline `autoencoder`: the built-in network from data to codes.

use crate::error::CliError;
use crate::model::{Architecture, dense};
use faer::Mat;
use gfe_encode::train::encoder_codes;
use gfe_io::{ModelFile, StoredTensor};
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{Decoder, Output, Targets};
use serde_json::{Value, json};

/// What its tensors are called, where a decoder's begin with `decoder.`.
const PREFIX: &str = "gfe.encoder.";

/// The network `[D]` to `[d]` with its weights.
#[derive(Clone)]
pub struct EncoderNetwork {
    dense: Dense,
    phi: Vec<f64>,
}

/// The network that encodes for a decoder: its hidden layers in reverse with the same activation, or hidden layers of the
/// given sizes with elu.
pub fn mirrored(architecture: &Architecture, layers: Option<Vec<usize>>) -> Result<Dense, CliError> {
    let shape = architecture.decoder().shape();
    let (hidden, activation) = match (architecture, layers) {
        (Architecture::Dense(decoder), None) => {
            let config = decoder.config();
            let hidden = config.layers[..config.layers.len() - 1].iter().rev();
            (hidden.copied().collect(), config.activation)
        }
        (Architecture::Dense(decoder), Some(layers)) => (layers, decoder.config().activation),
        (Architecture::Plugin { .. }, Some(layers)) => (layers, Activation::Elu),
        (Architecture::Plugin { .. }, None) => {
            let text = "an encoder network that mirrors a plugin cannot be made: name its hidden layers, as in encoder_layers = [256, 64]";
            return Err(CliError::Config(text.into()));
        }
    };
    dense(json!(DenseConfig {
        decoder: DenseKind::Dense,
        latent: shape.data,
        layers: [hidden, vec![shape.latent]].concat(),
        activation,
        output: Output::Values,
    }))
}

impl EncoderNetwork {
    /// A network with the weights `phi`.
    pub fn new(dense: Dense, phi: Vec<f64>) -> Self {
        EncoderNetwork { dense, phi }
    }

    /// The network that a model file holds, if it has one: its architecture stands in the record of the training.
    pub fn read(file: &mut ModelFile) -> Result<Option<Self>, CliError> {
        let Some(config) = file.training.as_ref().and_then(|training| training.get("encoder")) else {
            return Ok(None);
        };
        let network = dense(config.clone())?;
        let names: Vec<String> = file
            .tensors
            .keys()
            .filter(|name| name.starts_with(PREFIX))
            .cloned()
            .collect();
        let tensors = names.into_iter().filter_map(|name| {
            let tensor = file.tensors.remove(&name)?;
            Some((name.replacen(PREFIX, "decoder.", 1), tensor))
        });
        let own = ModelFile {
            decoder: Value::Null,
            training: None,
            tensors: tensors.collect(),
        };
        let phi = own.params_for(&network.tensors())?;
        Ok(Some(EncoderNetwork { dense: network, phi }))
    }

    /// As it is kept in a model file: its architecture, and its tensors by name.
    pub fn stored(&self) -> Result<(Value, Vec<(String, StoredTensor)>), CliError> {
        let file = ModelFile::new(Value::Null, None, &self.dense.tensors(), &self.phi)?;
        let named = file
            .tensors
            .into_iter()
            .map(|(name, tensor)| (name.replacen("decoder.", PREFIX, 1), tensor));
        Ok((json!(self.dense.config()), named.collect()))
    }

    /// The network itself, and its weights.
    pub fn parts(&self) -> (&Dense, &[f64]) {
        (&self.dense, &self.phi)
    }

    /// Codes `[d, samples]`.
    pub fn codes(&self, data: Targets<'_>) -> Result<Mat<f64>, CliError> {
        encoder_codes(&self.dense, &self.phi, data).map_err(|error| CliError::Decoder(error.to_string()))
    }
}
