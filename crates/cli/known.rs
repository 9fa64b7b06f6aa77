//! What is known of each sample beside its data: context that enters the decoder, and errors of its values.

use crate::error::CliError;
use crate::input::Input;
use faer::Mat;
use gfe_io::RowsHash;
use gfe_model::LossKind;
use serde_json::{Value, json};
use std::path::Path;

/// The inputs that hold it.
pub struct Known {
    /// Over everything that is read of it.
    hash: RowsHash,
    context: Vec<Input>,
    sigma: Option<Sigma>,
    /// Whether the data come with weights of their own.
    weighted: bool,
    values: usize,
}

/// Errors of the values.
enum Sigma {
    /// The same for all.
    Constant(f64),
    /// One per sample, or one per value.
    Input(Box<Input>),
}

impl Known {
    /// Opens the datasets `context` and `sigma` that belong to `input`: by their names in the same file, or as inputs of
    /// their own. `wanted` values of context have to come together; sigma may also be a number.
    pub fn open(input: &Input, context: &[String], sigma: Option<&str>, wanted: usize) -> Result<Known, CliError> {
        let (samples, values) = (input.shape().samples, input.shape().values());
        let same_samples = |other: &Input| {
            if other.shape().samples == samples {
                return Ok(());
            }
            let text = format!(
                "{} has {} samples, and {} has {samples}",
                other.name(),
                other.shape().samples,
                input.name()
            );
            Err(CliError::BadData(format!("{text}: a row per sample is needed")))
        };
        let context: Vec<Input> = context
            .iter()
            .map(|name| input.beside(name))
            .collect::<Result<_, _>>()?;
        context.iter().try_for_each(same_samples)?;
        let found: usize = context.iter().map(|input| input.shape().values()).sum();
        if found != wanted {
            let text = format!("the decoder takes {wanted} values of context for each sample, and {found} are given");
            return Err(CliError::Usage(format!(
                "{text}: name the datasets that hold them by --context, one after another"
            )));
        }
        let sigma = match sigma {
            None => None,
            Some(text) => Some(match text.parse::<f64>() {
                Ok(number) if number > 0.0 && number.is_finite() => Sigma::Constant(number),
                Ok(number) => {
                    let text = format!("`sigma` is {number}: it must be positive and finite, or name a dataset");
                    return Err(CliError::Usage(text));
                }
                Err(_) => {
                    let other = input.beside(text)?;
                    same_samples(&other)?;
                    let per_sample = other.shape().values();
                    if per_sample != 1 && per_sample != values {
                        let text = format!("{} has {per_sample} values per sample", other.name());
                        return Err(CliError::BadData(format!(
                            "{text}: one, or {values}, are needed for sigma"
                        )));
                    }
                    Sigma::Input(Box::new(other))
                }
            }),
        };
        let weighted = input.weighted();
        if weighted && sigma.is_some() {
            let text = format!("{} has weights of its own: leave out `sigma`", input.name());
            return Err(CliError::Usage(text));
        }
        Ok(Known {
            hash: RowsHash::default(),
            context,
            sigma,
            weighted,
            values,
        })
    }

    /// Whether errors are known, so that a sum of squares is a likelihood.
    pub fn has_sigma(&self) -> bool {
        self.sigma.is_some() || self.weighted
    }

    /// The files that hold it.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let sigma = match &self.sigma {
            Some(Sigma::Input(input)) => input.file(),
            _ => None,
        };
        self.context.iter().filter_map(Input::file).chain(sigma)
    }

    /// The loss where nobody chose one: for a decoder of values with known errors a likelihood.
    pub fn loss(&self, of_decoder: LossKind) -> LossKind {
        match of_decoder {
            LossKind::Mse if self.has_sigma() => LossKind::Gaussian,
            other => other,
        }
    }

    /// Fails where errors of the values are known and the loss has others of its own.
    pub fn fits(&self, loss: LossKind) -> Result<(), CliError> {
        if !self.has_sigma() || matches!(loss, LossKind::Mse | LossKind::Gaussian) {
            return Ok(());
        }
        let name = loss.loss().name();
        let text = format!(
            "`sigma` is of values, and the loss is {name}, whose values have errors of their own: leave it out"
        );
        Err(CliError::Usage(text))
    }

    /// Whether the data are to be read with weights.
    pub fn weighted(&self) -> bool {
        self.weighted
    }

    /// Where it comes from, with a hash of what was read, for the output's notes; nothing where nothing is known.
    pub fn json(&self) -> Option<Value> {
        let sigma = self.sigma.as_ref().map(|sigma| match sigma {
            Sigma::Constant(number) => json!(number),
            Sigma::Input(input) => json!(input.name()),
        });
        if sigma.is_none() && self.context.is_empty() {
            return None;
        }
        let context: Vec<String> = self.context.iter().map(Input::name).collect();
        Some(json!({"sigma": sigma, "context": context, "rows_sha256": self.hash.clone().finish()}))
    }

    /// The context of rows, `[c, rows]`, unless c is 0.
    pub fn context(&mut self, ids: &[usize]) -> Result<Option<Mat<f64>>, CliError> {
        if self.context.is_empty() {
            return Ok(None);
        }
        let parts: Vec<Mat<f64>> = self
            .context
            .iter_mut()
            .map(|input| input.matrix(ids))
            .collect::<Result<_, _>>()?;
        let rows: usize = parts.iter().map(|part| part.nrows()).sum();
        let mut all = Mat::zeros(rows, ids.len());
        for b in 0..ids.len() {
            let values = parts.iter().flat_map(|part| part.col_as_slice(b));
            all.col_as_slice_mut(b)
                .iter_mut()
                .zip(values)
                .for_each(|(to, from)| *to = *from);
        }
        self.hash.push(all.as_ref());
        Ok(Some(all))
    }

    /// 1/sigma^2 of rows, `[D, rows]`, where errors are known; 0 where sigma is infinite. A sigma that is not positive gives a
    /// NaN, which no loss admits. `scale` is the factor of the data, which sigma shares.
    pub fn weights(&mut self, ids: &[usize], scale: f64) -> Result<Option<Mat<f64>>, CliError> {
        let (values, count) = (self.values, ids.len());
        let weight = |sigma: f64| {
            if sigma > 0.0 {
                (sigma * scale.abs()).powi(-2)
            } else {
                f64::NAN
            }
        };
        Ok(match &mut self.sigma {
            None => None,
            Some(Sigma::Constant(sigma)) => Some(Mat::full(values, count, weight(*sigma))),
            Some(Sigma::Input(input)) => {
                let sigma = input.matrix(ids)?;
                self.hash.push(sigma.as_ref());
                let row = |i: usize| if sigma.nrows() == 1 { 0 } else { i };
                Some(Mat::from_fn(values, count, |i, b| weight(sigma[(row(i), b)])))
            }
        })
    }
}
