//! A model file opened: the decoder's architecture, its weights and how it was trained.

use crate::error::CliError;
use gfe_io::ModelFile;
use gfe_model::dense::{Dense, DenseConfig};
use gfe_model::{Decoder, DecoderShape};
use serde_json::Value;
use std::path::Path;

/// A decoder with its weights.
pub struct Model {
    dense: Dense,
    /// Flat weights.
    pub params: Vec<f64>,
    /// What the file records of its training.
    pub training: Option<Value>,
}

impl Model {
    /// Reads a model file.
    pub fn read(path: &Path) -> Result<Model, CliError> {
        let file = ModelFile::read(path)?;
        let dense = dense(file.decoder.clone())?;
        Ok(Model {
            params: file.params_for(&dense.tensors())?,
            training: file.training,
            dense,
        })
    }

    /// Sizes.
    pub fn shape(&self) -> DecoderShape {
        self.dense.shape()
    }

    /// The architecture.
    pub fn config(&self) -> &DenseConfig {
        self.dense.config()
    }

    /// A decoder for a worker.
    pub fn open(&self) -> Box<dyn Decoder> {
        Box::new(self.dense.clone())
    }
}

/// The decoder that a configuration describes.
pub fn dense(config: Value) -> Result<Dense, CliError> {
    let config: DenseConfig = serde_json::from_value(config).map_err(|error| CliError::Decoder(error.to_string()))?;
    Dense::new(config).map_err(|error| CliError::Decoder(error.to_string()))
}
