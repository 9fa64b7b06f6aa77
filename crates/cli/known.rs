//! What is known of each sample beside its data: context that enters the decoder, and which of its values count, and how much.

mod values;

use crate::encode::text_of;
use crate::error::CliError;
use crate::input::Input;
use crate::settings::Settings;
use faer::Mat;
use gfe_model::LossKind;
use serde_json::{Value, json};
use std::path::Path;
use values::{Kind, OfValues};

/// What a command names to be known.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Datasets that enter the decoder.
    pub context: Vec<String>,
    /// A dataset that says which values are missing.
    pub mask: Option<String>,
    /// A dataset of weights.
    pub weight: Option<String>,
    /// A dataset of standard errors, or a number.
    pub sigma: Option<String>,
    /// Whether a NaN is a missing value.
    pub nan_missing: bool,
}

impl Asked {
    /// From the section `[encode]`.
    pub fn to_encode(settings: &Settings) -> Result<Asked, CliError> {
        let keys = [
            "encode.context",
            "encode.mask",
            "encode.weight",
            "encode.sigma",
            "encode.nan_missing",
        ];
        Asked::new(settings, keys)
    }

    /// From the section `[data]`.
    pub fn of_data(settings: &Settings) -> Result<Asked, CliError> {
        Asked::new(
            settings,
            [
                "data.context",
                "data.mask",
                "data.weight",
                "data.sigma",
                "data.nan_missing",
            ],
        )
    }

    fn new(settings: &Settings, [context, mask, weight, sigma, nan]: [&'static str; 5]) -> Result<Asked, CliError> {
        let asked = Asked {
            context: settings.get(context)?.unwrap_or_default(),
            mask: settings.get(mask)?,
            weight: settings.get(weight)?,
            sigma: text_of(settings, sigma)?,
            nan_missing: settings.get(nan)?.unwrap_or(false),
        };
        if let (Some(weight), Some(sigma)) = (&asked.weight, &asked.sigma) {
            let text = format!("`weight` is {weight} and `sigma` is {sigma}: both say how much a value counts");
            return Err(CliError::Usage(format!(
                "{text}; leave out one (weight = 1/sigma^2 under loss gaussian), and name what is missing by `mask`"
            )));
        }
        Ok(asked)
    }
}

/// The inputs that hold it.
pub struct Known {
    context: Vec<Input>,
    /// A mask, and weights or errors, in the order in which they apply.
    of_values: Vec<OfValues>,
    /// The error of every value.
    sigma: Option<f64>,
    /// Whether the data come with weights of their own.
    own_weights: bool,
    /// Whether the data's own values say which of them are missing.
    own_missing: bool,
    /// Whether weights are 1/sigma^2 of the values, as loss gaussian takes them.
    inverse_variances: bool,
    values: usize,
}

impl Known {
    /// Opens the datasets that belong to `input`: by their names in the same file, or as inputs of their own. `wanted` values of
    /// context have to come together; sigma may also be a number.
    pub fn open(input: &Input, asked: &Asked, wanted: usize) -> Result<Known, CliError> {
        let mut known = Known {
            context: context(input, &asked.context, wanted)?,
            of_values: Vec::new(),
            sigma: None,
            own_weights: input.weighted(),
            own_missing: input.may_miss(),
            inverse_variances: false,
            values: input.shape().values(),
        };
        if let (true, Some(kind)) = (
            known.own_weights,
            [(&asked.weight, "weight"), (&asked.sigma, "sigma")]
                .into_iter()
                .find_map(|(asked, name)| asked.as_ref().map(|_| name)),
        ) {
            let text = format!("{} has weights of its own: leave out `{kind}`", input.name());
            return Err(CliError::Usage(text));
        }
        let kinds = [
            (&asked.mask, Kind::Mask),
            (&asked.weight, Kind::Weight),
            (&asked.sigma, Kind::Sigma),
        ];
        for (text, kind) in kinds {
            match (text, text.as_ref().and_then(|text| text.parse::<f64>().ok())) {
                (Some(_), Some(number)) if kind == Kind::Sigma => known.sigma = Some(positive(number)?),
                (Some(text), _) => {
                    let opened = OfValues::open(input, text, kind, asked.nan_missing)?;
                    known.of_values.push(opened);
                }
                (None, _) => {}
            }
        }
        Ok(known)
    }

    fn named(&self, kind: Kind) -> Option<&OfValues> {
        self.of_values.iter().find(|of| of.kind() == kind)
    }

    /// Whether errors are known, so that a sum of squares is a likelihood: errors, or weights that stand for them.
    pub fn has_sigma(&self) -> bool {
        self.sigma.is_some()
            || self.named(Kind::Sigma).is_some()
            || self.own_weights
            || (self.inverse_variances && self.named(Kind::Weight).is_some())
    }

    /// The files that hold it.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let of_values = self.of_values.iter().filter_map(OfValues::file);
        self.context.iter().filter_map(Input::file).chain(of_values)
    }

    /// The loss where nobody chose one: for a decoder of values with known errors a likelihood.
    pub fn loss(&self, of_decoder: LossKind) -> LossKind {
        match of_decoder {
            LossKind::Mse if self.has_sigma() => LossKind::Gaussian,
            other => other,
        }
    }

    /// The same for a loss, under which weights get their meaning: gaussian takes them for 1/sigma^2 of the input's values, the
    /// others for the factor of a value's part. Fails where errors of the values are known and the loss has others of its own.
    pub fn under(mut self, loss: LossKind) -> Result<Known, CliError> {
        if self.has_sigma() && !matches!(loss, LossKind::Mse | LossKind::Gaussian) {
            let name = loss.loss().name();
            let text = format!("`sigma` is of values, and the loss is {name}, whose values have errors of their own");
            return Err(CliError::Usage(format!(
                "{text}: leave it out, and name what is missing by `mask`"
            )));
        }
        self.inverse_variances = loss == LossKind::Gaussian;
        Ok(self)
    }

    /// Whether the data are to be read with weights.
    pub fn reads_weights(&self) -> bool {
        self.own_weights || self.own_missing
    }

    /// Whether values may be missing, by whatever says so.
    pub fn may_miss(&self) -> bool {
        self.reads_weights() || self.of_values.iter().any(OfValues::masks_values)
    }

    /// Where it comes from, for the output's notes; nothing where nothing is known.
    pub fn json(&self) -> Option<Value> {
        let mut told = json!({});
        for kind in [Kind::Mask, Kind::Weight, Kind::Sigma] {
            if let Some(of) = self.named(kind) {
                told[kind.name()] = json!(of.name());
            }
        }
        if let Some(sigma) = self.sigma {
            told["sigma"] = json!(sigma);
        }
        if !self.context.is_empty() {
            told["context"] = json!(self.context.iter().map(Input::name).collect::<Vec<_>>());
        }
        if told.as_object().is_none_or(|told| told.is_empty()) {
            return None;
        }
        Some(told)
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
        Ok(Some(all))
    }

    /// The weights of rows, `[D, rows]`, where there are any: the data's `own`, the mask, weights or 1/sigma^2, one times the
    /// other. What one of them says is missing has weight 0 whatever the others hold there, and `y` `[D, rows]` becomes 0, so
    /// that nobody comes to depend on what stood there. A mask or weight that is NaN, and a sigma that is not positive, give a
    /// NaN, a negative weight itself, which no loss admits. `scale` is the factor of the data, which sigma shares.
    pub fn weigh(
        &mut self,
        ids: &[usize],
        scale: f64,
        own: Option<Mat<f64>>,
        y: &mut Mat<f64>,
    ) -> Result<Option<Mat<f64>>, CliError> {
        if own.is_none() && self.of_values.is_empty() && self.sigma.is_none() {
            return Ok(None);
        }
        let over_square = scale.powi(-2);
        let sigma = self.sigma.map_or(1.0, |sigma| sigma.powi(-2) * over_square);
        let mut w = own.unwrap_or_else(|| Mat::full(self.values, ids.len(), 1.0));
        w.col_iter_mut()
            .flat_map(|column| column.iter_mut())
            .for_each(|w| *w *= sigma);
        for of in &mut self.of_values {
            let squared = match of.kind() {
                Kind::Mask => false,
                Kind::Weight => self.inverse_variances,
                Kind::Sigma => true,
            };
            of.weigh(ids, if squared { over_square } else { 1.0 }, &mut w)?;
        }
        for b in 0..ids.len() {
            let pairs = y.col_as_slice_mut(b).iter_mut().zip(w.col_as_slice(b));
            pairs.filter(|(_, w)| **w == 0.0).for_each(|(y, _)| *y = 0.0);
        }
        Ok(Some(w))
    }
}

/// Opens the datasets of context; `wanted` values of each sample have to come together.
fn context(input: &Input, names: &[String], wanted: usize) -> Result<Vec<Input>, CliError> {
    let context: Vec<Input> = names.iter().map(|name| input.beside(name)).collect::<Result<_, _>>()?;
    let samples = input.shape().samples;
    if let Some(other) = context.iter().find(|other| other.shape().samples != samples) {
        let text = format!(
            "{} has {} samples, and {} has {samples}",
            other.name(),
            other.shape().samples,
            input.name()
        );
        return Err(CliError::BadData(format!("{text}: a row per sample is needed")));
    }
    let found: usize = context.iter().map(|input| input.shape().values()).sum();
    if found != wanted {
        let text = format!("the decoder takes {wanted} values of context for each sample, and {found} are given");
        return Err(CliError::Usage(format!(
            "{text}: name the datasets that hold them by --context, one after another"
        )));
    }
    Ok(context)
}

fn positive(sigma: f64) -> Result<f64, CliError> {
    if sigma > 0.0 && sigma.is_finite() {
        return Ok(sigma);
    }
    let text = format!("`sigma` is {sigma}: it must be positive and finite, or name a dataset");
    Err(CliError::Usage(text))
}
