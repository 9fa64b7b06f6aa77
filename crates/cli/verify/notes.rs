//! The notes of an output: what it was made from, opened again, and what of that can be compared.

use super::{Arguments, Compared};
use crate::error::CliError;
use crate::input::{Input, PREFIX};
use crate::known::{Asked, Known};
use crate::model::{Model, PluginChoice};
use crate::samples::Source;
use crate::settings::Settings;
use crate::starts_from::StartsFrom;
use crate::z0::Z0;
use gfe_encode::Start;
use gfe_io::{EncodedFile, InputPath, params_sha256};
use gfe_model::LossKind;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The notes of an output.
pub(super) struct Notes {
    pub(super) config: Value,
    pub(super) input: Value,
    pub(super) decoder: Value,
    path: PathBuf,
}

impl Notes {
    pub(super) fn read(file: &EncodedFile, path: &Path) -> Result<Notes, CliError> {
        let bad = |what: &str| CliError::BadData(format!("{}: {what}", path.display()));
        if !file.has("z") {
            return Err(bad("it holds no codes: take a file written by gfe encode"));
        }
        // Where they lie in other files, this asks whether these may be read.
        file.read("z", 0..0)?;
        let note = |name: &str| {
            let found = file.note(name).filter(Value::is_object);
            found.ok_or_else(|| {
                bad(&format!(
                    "its note `{name}` is missing, so that nothing can be computed again"
                ))
            })
        };
        Ok(Notes {
            config: note("config")?,
            input: note("input")?,
            decoder: note("decoder")?,
            path: path.to_owned(),
        })
    }

    pub(super) fn bad(&self, what: &str) -> CliError {
        CliError::BadData(format!("{}: {what}", self.path.display()))
    }

    /// A file that the output names: only a regular one, since opening another may do something, or wait for ever.
    ///
    /// A relative path is looked for from here, from where the output lies, and where it was when the output was made.
    fn named(&self, path: &str, flag: &str) -> Result<PathBuf, CliError> {
        let found = PathBuf::from(path);
        let beside = self.path.parent().map(|folder| folder.join(&found));
        let files = self.input["files"].as_array().into_iter().flatten();
        let then = files
            .filter_map(|file| file["path"].as_str())
            .map(PathBuf::from)
            .find(|file| file.ends_with(&found));
        let mut all = [Some(found), beside, then].into_iter().flatten();
        if let Some(found) = all.find(|path| path.is_file()) {
            return Ok(found);
        }
        let text = format!("{path}, which {} names, is no file here", self.path.display());
        Err(CliError::NoRunFile(format!("{text}: name it by {flag}")))
    }

    /// The decoder with its weights.
    pub(super) fn model(&self, arguments: &Arguments) -> Result<Model, CliError> {
        let recorded = self.decoder["model"]["path"].as_str();
        let path = match (&arguments.model, recorded) {
            (Some(path), _) => Some(path.clone()),
            (None, Some(path)) => Some(self.named(path, "-m")?),
            (None, None) => None,
        };
        let mut settings = Settings::default();
        let plugin = self.decoder["plugin"]["id"].as_str();
        let by_name = plugin.filter(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)));
        let name = arguments.decoder.as_deref().or(by_name);
        settings.flag("decoder.plugin", name);
        let config = &self.decoder["config"];
        if name.is_some() && !config.is_null() {
            settings.flag("decoder.config", Some(config.to_string()));
        }
        Model::read(path.as_deref(), &PluginChoice::new(&settings)?).map_err(|error| match error {
            error if arguments.decoder.is_none() && plugin.is_some() && error.exit_code() == 66 => {
                CliError::NoRunFile(format!("{error}; or name the library by --decoder"))
            }
            other => other,
        })
    }

    /// Where the data are read from, and what is known beside them.
    pub(super) fn source(&self, arguments: &Arguments, model: &Model, loss: LossKind) -> Result<Source, CliError> {
        let shape = model.shape();
        let text = match &arguments.input {
            Some(text) => text.clone(),
            None => self.input_text()?,
        };
        let scale = self.input["scale"]
            .as_f64()
            .ok_or_else(|| self.bad("its input has no scale"))?;
        let nan_missing = self.input["missing"]
            .as_array()
            .is_some_and(|missing| missing.iter().any(|value| value == "NaN"));
        let input = Input::open(&text, Some(scale))?.heeding_missing(nan_missing)?;
        if input.shape().values() != shape.data {
            return Err(CliError::Width {
                input: input.name(),
                found: input.shape().values(),
                expected: shape.data,
            });
        }
        let known = &self.input["known"];
        let context = match known["context"].as_array() {
            _ if !arguments.context.is_empty() => arguments.context.clone(),
            Some(names) => names
                .iter()
                .map(|name| self.beside(name.as_str().unwrap_or_default(), &input, "--context"))
                .collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        let of = |given: &Option<String>, name: &str| -> Result<Option<String>, CliError> {
            match (given, &known[name]) {
                (Some(text), _) => Ok(Some(text.clone())),
                (None, Value::String(text)) => self.beside(text, &input, &format!("--{name}")).map(Some),
                (None, Value::Number(number)) => Ok(Some(number.to_string())),
                (None, _) => Ok(None),
            }
        };
        let asked = Asked {
            context,
            mask: of(&arguments.mask, "mask")?,
            weight: of(&arguments.weight, "weight")?,
            sigma: of(&arguments.sigma, "sigma")?,
            nan_missing,
        };
        Ok(Source {
            known: Known::open(&input, &asked, shape.context)?.under(loss)?,
            input,
            // Where samples started stands in the output.
            z0: Z0::Rule(Start::Fill(0.0)),
            latent: shape.latent,
        })
    }

    /// The input that the output names.
    fn input_text(&self) -> Result<String, CliError> {
        let path = self.input["path"]
            .as_str()
            .ok_or_else(|| self.bad("it names no input"))?;
        if path.starts_with(PREFIX) {
            return self.plugin_input(path, "--input");
        }
        let file = self.named(path, "--input")?;
        let dataset = self.input["dataset"].as_str().unwrap_or_default();
        Ok(format!("{}:{dataset}", file.display()))
    }

    /// An input of a plugin, if it is named and not pathed.
    fn plugin_input(&self, text: &str, flag: &str) -> Result<String, CliError> {
        let name = text.trim_start_matches(PREFIX).split('?').next().unwrap_or_default();
        if name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
            return Ok(text.to_owned());
        }
        let told = format!("{} names the library {name} by its path", self.path.display());
        Err(CliError::Usage(format!(
            "{told}, and no file chooses what is run: name the input by {flag}"
        )))
    }

    /// Another input that the output names: in the file of the input where it was in it then.
    fn beside(&self, text: &str, input: &Input, flag: &str) -> Result<String, CliError> {
        if text.starts_with(PREFIX) {
            return self.plugin_input(text, flag);
        }
        let named = InputPath::parse(text);
        if let (Some(path), Some(now), Some(dataset)) = (self.input["path"].as_str(), input.file(), &named.dataset)
            && named.file == Path::new(path)
        {
            return Ok(format!("{}:{dataset}", now.display()));
        }
        self.named(&named.file.to_string_lossy(), flag)?;
        Ok(text.to_owned())
    }

    /// The codes at which samples started, where it was at those of another output.
    pub(super) fn codes(&self, arguments: &Arguments, model: &Model) -> Result<Option<Compared>, CliError> {
        let recorded = &self.config["starts_from"];
        let Some(path) = recorded["path"].as_str() else {
            return Ok(None);
        };
        let path = match &arguments.starts_from {
            Some(path) => path.clone(),
            None => self.named(path, "--starts-from")?,
        };
        let codes = StartsFrom::read(&path, model.shape(), &model.params)?;
        Ok(Some(Compared {
            name: "codes of the starts",
            recorded: recorded["sha256"].clone(),
            found: codes.json()["sha256"].clone(),
        }))
    }

    /// What can be compared before any row is read.
    pub(super) fn compared(&self, model: &Model, source: &Source) -> Vec<Compared> {
        let now = model.architecture.notes();
        let file = model.file.as_ref().map(|(_, sha256)| sha256);
        let input = source.input.json();
        let all = [
            (
                "weights",
                &self.decoder["params_sha256"],
                json!(params_sha256(&model.params)),
            ),
            ("model file", &self.decoder["model"]["sha256"], json!(file)),
            (
                "decoder's configuration",
                &self.decoder["config"],
                now["config"].clone(),
            ),
            (
                "decoder's library",
                &self.decoder["plugin"]["sha256"],
                now["plugin"]["sha256"].clone(),
            ),
            (
                "input's library",
                &self.input["plugin_sha256"],
                input["plugin_sha256"].clone(),
            ),
        ];
        let compared = all.into_iter().map(|(name, recorded, found)| Compared {
            name,
            recorded: recorded.clone(),
            found,
        });
        compared
            .filter(|one| !(one.recorded.is_null() && one.found.is_null()))
            .collect()
    }
}
