//! A decoder with its weights: from a model file, from a plugin, or from both.

use crate::encoder_network::EncoderNetwork;
use crate::error::CliError;
use crate::plugin;
use crate::settings::Settings;
use faer::Mat;
use gfe_encode::{Noise, WarmStart};
use gfe_io::{ModelFile, StoredTensor};
use gfe_model::dense::{Dense, DenseConfig};
use gfe_model::{At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, Output, Taped, Unbounded};
use gfe_plugin::{DecoderPlugin, Threads};
use serde_json::{Value, json};
use std::path::Path;

/// Which architecture.
pub enum Architecture {
    /// The built-in network.
    Dense(Dense),
    /// A plugin's.
    Plugin {
        /// Opens instances.
        plugin: Box<DecoderPlugin>,
        /// Its configuration; null for none.
        config: Value,
        /// One instance, for what does not change.
        first: Box<dyn Decoder>,
    },
}

/// The plugin that was asked for.
#[derive(Clone, Debug, Default)]
pub struct PluginChoice {
    name: Option<String>,
    config: Option<Value>,
    sha256: Option<String>,
}

impl PluginChoice {
    /// From the keys `plugin`, `config` and `sha256` of the section `[decoder]`.
    pub fn new(settings: &Settings) -> Result<PluginChoice, CliError> {
        let config: Option<Value> = settings.get("decoder.config")?;
        let config = match config {
            Some(Value::String(text)) => Some(config_json(&text)?),
            other => other,
        };
        Ok(PluginChoice {
            name: settings.get("decoder.plugin")?,
            config,
            sha256: settings.get("decoder.sha256")?,
        })
    }

    /// Whether one was named.
    pub fn is_made(&self) -> bool {
        self.name.is_some()
    }
}

/// A configuration as JSON: the text itself if it is an object, else what the file of that name holds.
pub fn config_json(text: &str) -> Result<Value, CliError> {
    let content = if text.trim_start().starts_with('{') {
        text.to_owned()
    } else {
        crate::text_file::read(text.as_ref()).map_err(|error| {
            let how = "give JSON, or a file of it";
            CliError::Config(format!("{text}: the configuration cannot be read: {error}; {how}"))
        })?
    };
    serde_json::from_str(&content)
        .map_err(|error| CliError::Config(format!("the decoder's configuration is not JSON: {error}")))
}

impl Architecture {
    /// The one that a plugin choice, the metadata of a model file, or both describe.
    pub fn new(choice: &PluginChoice, recorded: Option<Value>) -> Result<Architecture, CliError> {
        let id = recorded
            .as_ref()
            .and_then(|value| value.get("decoder"))
            .and_then(Value::as_str);
        let id = id.unwrap_or("dense").to_owned();
        let name = match (&choice.name, id.as_str()) {
            (None, "dense") => {
                if choice.config.is_some() || choice.sha256.is_some() {
                    let text = "`config` and `sha256` belong to a decoder plugin: name it with --decoder";
                    return Err(CliError::Usage(text.into()));
                }
                let config = recorded.ok_or_else(|| {
                    let how = "name a model file with -m, or a decoder plugin with --decoder";
                    CliError::Usage(format!("`model` is missing: {how}"))
                })?;
                return dense(config).map(Architecture::Dense);
            }
            (Some(name), _) => name.clone(),
            // Only a name, never a path: a data file must not choose what is run.
            (None, id) if !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) => {
                id.to_owned()
            }
            (None, id) => {
                let text = format!("the model file names the decoder `{id}`, which is no name of a plugin");
                return Err(CliError::Decoder(text));
            }
        };
        let config = match (&choice.config, recorded) {
            (Some(config), _) => config.clone(),
            // A plugin's own configuration, or the whole of a built-in decoder's, of which a plugin may be another form.
            (None, Some(recorded)) if id != "dense" => recorded.get("config").cloned().unwrap_or_default(),
            (None, recorded) => recorded.unwrap_or_default(),
        };
        let text = if config.is_null() {
            String::new()
        } else {
            config.to_string()
        };
        let plugin = Box::new(plugin::decoder(&name, choice.sha256.as_deref(), &text)?);
        let first = Unbounded::of(plugin.decoder()?);
        Ok(Architecture::Plugin { plugin, config, first })
    }

    /// One instance, for what does not change.
    pub fn decoder(&self) -> &dyn Decoder {
        match self {
            Architecture::Dense(dense) => dense,
            Architecture::Plugin { first, .. } => &**first,
        }
    }

    /// Opens a decoder for a worker, in the unbounded coordinates of the flow. One that cannot be opened breaks down when it is
    /// used.
    pub fn opener(&self) -> Box<dyn Fn() -> Box<dyn Decoder> + Sync + '_> {
        match self {
            Architecture::Dense(dense) => Box::new(|| Box::new(dense.clone())),
            Architecture::Plugin { plugin, first, .. } => {
                let shape = first.shape();
                Box::new(move || match plugin.decoder() {
                    Ok(decoder) => Unbounded::of(decoder),
                    Err(error) => Box::new(Broken {
                        shape,
                        why: error.to_string(),
                    }),
                })
            }
        }
    }

    /// Whether all calls have to come from one thread at a time.
    pub fn one_worker(&self) -> bool {
        matches!(self, Architecture::Plugin { plugin, .. } if plugin.listed().threads == Threads::Process)
    }

    /// As in a model file's metadata.
    pub fn json(&self) -> Value {
        match self {
            Architecture::Dense(dense) => json!(dense.config()),
            Architecture::Plugin { plugin, config, .. } => {
                let mut told = json!({"decoder": plugin.listed().id});
                if !config.is_null() {
                    told["config"] = config.clone();
                }
                told
            }
        }
    }

    /// The same, with the version and the hash of a plugin, for the notes of an output.
    pub fn notes(&self) -> Value {
        let mut told = match self {
            Architecture::Dense(dense) => json!({"config": dense.config()}),
            Architecture::Plugin { config, .. } => json!({"config": config}),
        };
        if let Architecture::Plugin { plugin, .. } = self {
            told["plugin"] = json!({"id": plugin.listed().id, "version": plugin.listed().version.to_string(),
                "path": plugin.library().path(), "sha256": plugin.library().sha256()});
        }
        told
    }
}

/// Stands for a decoder that could not be opened: every call ends the run with the reason.
struct Broken {
    shape: DecoderShape,
    why: String,
}

impl Decoder for Broken {
    fn shape(&self) -> DecoderShape {
        self.shape
    }

    fn forward(&self, _: At<'_>, _: ColsMut<'_>, _: ColsMut<'_>, _: &mut [f64]) -> Result<(), DecodeError> {
        Err(DecodeError::Fatal(self.why.clone()))
    }

    fn vjp(&self, _: Taped<'_>, _: Cols<'_>, _: ColsMut<'_>, _: &mut [f64]) -> Result<(), DecodeError> {
        Err(DecodeError::Fatal(self.why.clone()))
    }
}

/// A decoder with its weights.
pub struct Model {
    /// The architecture.
    pub architecture: Architecture,
    /// Flat weights.
    pub params: Vec<f64>,
    /// What the file records of its training.
    pub training: Option<Value>,
    /// The learned z0 that the file holds, `[d]`.
    pub z0: Option<Vec<f64>>,
    /// The encoder network that the file holds.
    pub encoder: Option<EncoderNetwork>,
    noise: Option<StoredTensor>,
    warm_start: Option<(StoredTensor, StoredTensor)>,
    warm_start_mean: Option<StoredTensor>,
    vectors: Option<(StoredTensor, StoredTensor)>,
}

/// Tensors of the linear regression of codes on data, `[d, D]` and `[d]`.
const WARM_START: [&str; 2] = ["gfe.warm_start.weight", "gfe.warm_start.bias"];

/// The tensor of the data's means, `[D]`, in place of missing values; older files have none.
const WARM_START_MEAN: &str = "gfe.warm_start.mean";

/// The tensor of a learned z0, `[d]`.
pub const LEARNED_Z0: &str = "gfe.z0";

/// The tensor of the standard errors of the decoder's values, `[D]`.
const NOISE: &str = "gfe.noise";

/// An estimate of errors as a tensor, with its name.
pub fn noise_tensor(noise: &Noise) -> (String, StoredTensor) {
    let (shape, values) = (vec![noise.sigma.len()], noise.sigma.clone());
    (NOISE.to_owned(), StoredTensor { shape, values })
}

/// Codes and what they decode to, a column each.
pub type Vectors = (Mat<f64>, Mat<f64>);

/// Tensors of test vectors: codes `[n, d]` and what they decode to, `[n, D]`.
const VECTORS: [&str; 2] = ["gfe.test.z", "gfe.test.x"];

/// The tensors of a regression, by name.
pub fn tensors(warm_start: &WarmStart) -> Vec<(String, StoredTensor)> {
    let weight = &warm_start.weight;
    let (rows, columns) = (weight.nrows(), weight.ncols());
    let values = (0..rows)
        .flat_map(|r| (0..columns).map(move |c| weight[(r, c)]))
        .collect();
    let [weight, bias] = WARM_START.map(str::to_owned);
    let of = |shape: Vec<usize>, values: Vec<f64>| StoredTensor { shape, values };
    let mean = warm_start.mean.iter();
    let mean = mean.map(|mean| (WARM_START_MEAN.to_owned(), of(vec![columns], mean.clone())));
    [
        (weight, of(vec![rows, columns], values)),
        (bias, of(vec![rows], warm_start.bias.clone())),
    ]
    .into_iter()
    .chain(mean)
    .collect()
}

impl Model {
    /// Reads a model file, or takes a plugin without weights as it is.
    pub fn read(path: Option<&Path>, choice: &PluginChoice) -> Result<Model, CliError> {
        let Some(path) = path else {
            let architecture = Architecture::new(choice, None)?;
            let params = architecture.decoder().shape().params;
            if params > 0 {
                let text = format!("the decoder has {params} weights, and none are given: name a model file with -m");
                return Err(CliError::Usage(text));
            }
            return Ok(Model {
                architecture,
                params: Vec::new(),
                training: None,
                z0: None,
                encoder: None,
                noise: None,
                warm_start: None,
                warm_start_mean: None,
                vectors: None,
            });
        };
        let mut file = ModelFile::read(path)?;
        let [weight, bias] = WARM_START.map(|name| file.tensors.remove(name));
        let warm_start_mean = file.tensors.remove(WARM_START_MEAN);
        let [z, x] = VECTORS.map(|name| file.tensors.remove(name));
        let architecture = Architecture::new(choice, Some(file.decoder.clone())).map_err(|error| error.within(path))?;
        let z0 = file.tensors.remove(LEARNED_Z0);
        let latent = architecture.decoder().shape().latent;
        if let Some(z0) = z0.as_ref().filter(|z0| z0.shape != [latent]) {
            let text = format!("its `{LEARNED_Z0}` is of shape {:?}, [{latent}] is needed", z0.shape);
            return Err(CliError::Decoder(format!("{}: {text}", path.display())));
        }
        Ok(Model {
            z0: z0.map(|z0| z0.values),
            encoder: EncoderNetwork::read(&mut file)?,
            noise: file.tensors.remove(NOISE),
            params: file
                .params_for(&architecture.decoder().tensors())
                .map_err(|error| CliError::from(error).within(path))?,
            training: file.training,
            warm_start: weight.zip(bias),
            warm_start_mean,
            vectors: z.zip(x),
            architecture,
        })
    }

    /// Sizes.
    pub fn shape(&self) -> DecoderShape {
        self.architecture.decoder().shape()
    }

    /// What a decoded value means.
    pub fn output(&self) -> Output {
        self.architecture.decoder().output()
    }

    /// The test vectors that the file holds: codes `[d, n]`, and what they decode to, `[D, n]`.
    pub fn vectors(&self, path: &Path) -> Result<Option<Vectors>, CliError> {
        let Some((z, x)) = &self.vectors else { return Ok(None) };
        let shape = self.shape();
        let good = z.shape.len() == 2 && z.shape[1] == shape.latent && x.shape == [z.shape[0], shape.data];
        if !good {
            let text = format!("its test vectors have the shapes {:?} and {:?}", z.shape, x.shape);
            return Err(CliError::BadData(format!(
                "{}: {text}, which do not fit the decoder",
                path.display()
            )));
        }
        let columns = |of: &StoredTensor, rows: usize| Mat::from_fn(rows, z.shape[0], |r, b| of.values[b * rows + r]);
        Ok(Some((columns(z, shape.latent), columns(x, shape.data))))
    }

    /// The linear regression of codes on data that the file, read from `path`, holds.
    pub fn warm_start(&self, path: Option<&Path>) -> Result<WarmStart, CliError> {
        let path = path.map_or_else(|| "the decoder".to_owned(), |path| path.display().to_string());
        let bad = |what: String| Err(CliError::Decoder(format!("{path}: {what}")));
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
        let mean = self.warm_start_mean.as_ref();
        if let Some(mean) = mean.filter(|mean| mean.shape != [shape.data]) {
            let (found, wanted) = (&mean.shape, [shape.data]);
            return bad(format!(
                "the means of its regression for a warm start are of shape {found:?}, {wanted:?} is needed"
            ));
        }
        let means = mean.into_iter().flat_map(|mean| &mean.values);
        if weight
            .values
            .iter()
            .chain(&bias.values)
            .chain(means)
            .any(|value| !value.is_finite())
        {
            return bad("its regression for a warm start is not finite".into());
        }
        Ok(WarmStart {
            weight: Mat::from_fn(shape.latent, shape.data, |r, c| weight.values[r * shape.data + c]),
            bias: bias.values.clone(),
            mean: mean.map(|mean| mean.values.clone()),
        })
    }

    /// The standard errors of the decoder's values that the file, read from `path`, holds.
    pub fn noise(&self, path: Option<&Path>) -> Result<Noise, CliError> {
        let path = path.map_or_else(|| "the decoder".to_owned(), |path| path.display().to_string());
        let record = self.training.as_ref().map(|training| &training["noise"]);
        let Some(noise) = &self.noise else {
            let why = record.and_then(|record| record["why"].as_str());
            let why = why.map_or_else(String::new, |why| format!(" ({why})"));
            return Err(CliError::Decoder(format!(
                "{path}: it holds no estimate of its errors{why}: train it with gfe, loss mse and samples held out for validation; or \
                 give the errors of the values by --sigma"
            )));
        };
        let values = self.shape().data;
        let bad = |what: String| Err(CliError::Decoder(format!("{path}: its `{NOISE}` {what}")));
        if noise.shape != [values] {
            return bad(format!("is of shape {:?}, [{values}] is needed", noise.shape));
        }
        if let Some(wrong) = noise.values.iter().find(|sigma| **sigma < 0.0 || sigma.is_infinite()) {
            return bad(format!(
                "has the value {wrong}: standard errors are 0 or more, NaN where not known"
            ));
        }
        if !noise.values.iter().any(|sigma| *sigma > 0.0) {
            return bad("has no value above 0: error bars cannot be made of it".into());
        }
        let samples = record.and_then(|record| record["samples"].as_u64()).unwrap_or(0);
        Ok(Noise {
            sigma: noise.values.clone(),
            samples: samples as usize,
        })
    }
}

/// The built-in decoder that a configuration describes.
pub fn dense(config: Value) -> Result<Dense, CliError> {
    let config: DenseConfig = serde_json::from_value(config).map_err(|error| CliError::Decoder(error.to_string()))?;
    Dense::new(config).map_err(|error| CliError::Decoder(error.to_string()))
}
