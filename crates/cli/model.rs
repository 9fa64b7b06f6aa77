//! A model file opened: the decoder's architecture, its weights and how it was trained.

use crate::error::CliError;
use faer::Mat;
use gfe_encode::WarmStart;
use gfe_io::{ModelFile, StoredTensor};
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
    warm_start: Option<(StoredTensor, StoredTensor)>,
}

/// Tensors of the linear regression of codes on data, `[d, D]` and `[d]`.
const WARM_START: [&str; 2] = ["gfe.warm_start.weight", "gfe.warm_start.bias"];

/// The tensors of a regression, by name.
pub fn tensors(warm_start: &WarmStart) -> [(String, StoredTensor); 2] {
    let weight = &warm_start.weight;
    let (rows, columns) = (weight.nrows(), weight.ncols());
    let values = (0..rows)
        .flat_map(|r| (0..columns).map(move |c| weight[(r, c)]))
        .collect();
    let [weight, bias] = WARM_START.map(str::to_owned);
    let of = |shape: Vec<usize>, values: Vec<f64>| StoredTensor { shape, values };
    [
        (weight, of(vec![rows, columns], values)),
        (bias, of(vec![rows], warm_start.bias.clone())),
    ]
}

impl Model {
    /// Reads a model file.
    pub fn read(path: &Path) -> Result<Model, CliError> {
        let mut file = ModelFile::read(path)?;
        let [weight, bias] = WARM_START.map(|name| file.tensors.remove(name));
        let dense = dense(file.decoder.clone())?;
        Ok(Model {
            params: file.params_for(&dense.tensors())?,
            training: file.training,
            warm_start: weight.zip(bias),
            dense,
        })
    }

    /// Sizes.
    pub fn shape(&self) -> DecoderShape {
        self.dense.shape()
    }

    /// The linear regression of codes on data that the file, read from `path`, holds.
    pub fn warm_start(&self, path: &Path) -> Result<WarmStart, CliError> {
        let bad = |what: String| Err(CliError::Decoder(format!("{}: {what}", path.display())));
        let Some((weight, bias)) = &self.warm_start else {
            return bad(
                "it holds no linear regression for a warm start: train it with gfe, or leave out --warm-start".into(),
            );
        };
        let shape = self.shape();
        if weight.shape != [shape.latent, shape.data] || bias.shape != [shape.latent] {
            let (found, wanted) = (&weight.shape, [shape.latent, shape.data]);
            return bad(format!(
                "its regression for a warm start is of shape {found:?}, {wanted:?} is needed"
            ));
        }
        if weight.values.iter().chain(&bias.values).any(|value| !value.is_finite()) {
            return bad("its regression for a warm start is not finite".into());
        }
        Ok(WarmStart {
            weight: Mat::from_fn(shape.latent, shape.data, |r, c| weight.values[r * shape.data + c]),
            bias: bias.values.clone(),
        })
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
