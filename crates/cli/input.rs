//! An INPUT of any command: an HDF5 dataset, or a data set of a plugin.

use crate::error::CliError;
use crate::plugin;
use faer::Mat;
use gfe_io::{Coordinate, H5Input, InputAttributes, InputPath};
use gfe_model::{Axis, ColsMut, DataShape, DatasetSource, Element, TargetsMut};
use gfe_plugin::PluginDataset;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// What every plugin input begins with.
pub const PREFIX: &str = "plugin:";

/// Data as a source of columns, each value times a factor.
pub enum Input {
    /// A dataset of an HDF5 file, which knows its factor.
    H5(Box<H5Input>),
    /// A data set of a plugin.
    Plugin {
        /// As it was asked for.
        text: String,
        /// The source.
        source: Box<PluginDataset>,
        /// The factor of every value.
        scale: f64,
        /// Whether a NaN is a missing value.
        nan: bool,
    },
}

impl Input {
    /// Opens `FILE.h5`, `FILE.h5:/DATASET` or `plugin:NAME?key=value&key=value`; every value is multiplied by `scale`, by
    /// default 1/255 for unsigned bytes, else 1.
    pub fn open(text: &str, scale: Option<f64>) -> Result<Input, CliError> {
        let Some(asked) = text.strip_prefix(PREFIX) else {
            return Ok(Input::H5(Box::new(H5Input::open(&InputPath::parse(text), scale)?)));
        };
        let (name, keys) = asked.split_once('?').unwrap_or((asked, ""));
        let config = config(text, keys)?;
        let source = plugin::dataset(name, &config)?;
        let by_type = if source.element() == Element::U8 {
            1.0 / 255.0
        } else {
            1.0
        };
        Ok(Input::Plugin {
            text: text.to_owned(),
            source: Box::new(source),
            scale: scale.unwrap_or(by_type),
            nan: false,
        })
    }

    /// The same with missing values heeded: those that the attributes `_FillValue` and `missing_value` of an HDF5 dataset name,
    /// and NaN with `nan`. Without this every stored value is data.
    pub fn heeding_missing(mut self, nan: bool) -> Result<Input, CliError> {
        match &mut self {
            Input::H5(input) => input.heed_missing(nan)?,
            Input::Plugin { nan: own, .. } => *own = nan,
        }
        Ok(self)
    }

    /// Whether some stored values would be taken for missing.
    pub fn may_miss(&self) -> bool {
        match self {
            Input::H5(input) => input.missing().any(),
            Input::Plugin { nan, .. } => *nan,
        }
    }

    /// The stored values that are taken for missing.
    pub fn missing(&self) -> Vec<f64> {
        match self {
            Input::H5(input) => input.missing().values().collect(),
            Input::Plugin { nan, .. } => nan.then_some(f64::NAN).into_iter().collect(),
        }
    }

    /// As it was asked for, with the dataset's name even if it was not given.
    pub fn name(&self) -> String {
        match self {
            Input::H5(input) => input.path().to_string(),
            Input::Plugin { text, .. } => text.clone(),
        }
    }

    /// What it is called, wherever it lies.
    pub fn title(&self) -> String {
        match self {
            Input::H5(input) => {
                let path = input.path();
                let file = path.file.file_name().unwrap_or_default().to_string_lossy();
                path.dataset
                    .as_ref()
                    .map_or(file.to_string(), |dataset| format!("{file}:{dataset}"))
            }
            Input::Plugin { text, .. } => text.clone(),
        }
    }

    /// The file that is read, as far as it is known here.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Input::H5(input) => Some(&input.path().file),
            Input::Plugin { .. } => None,
        }
    }

    fn source(&self) -> &dyn DatasetSource {
        match self {
            Input::H5(input) => &**input,
            Input::Plugin { source, .. } => &**source,
        }
    }

    /// Sizes.
    pub fn shape(&self) -> &DataShape {
        self.source().shape()
    }

    /// Samples that are stored together, if they are.
    pub fn chunk_rows(&self) -> Option<usize> {
        match self {
            Input::H5(input) => input.chunk_rows(),
            Input::Plugin { .. } => None,
        }
    }

    /// Axes of a sample.
    pub fn axes(&self) -> Vec<Axis> {
        self.source().axes()
    }

    /// The type of the stored values.
    pub fn element(&self) -> Element {
        self.source().element()
    }

    /// Whether the stored values are integers that a double may not hold.
    pub fn stores_long_integers(&self) -> bool {
        matches!(self, Input::H5(input) if input.dtype().ends_with("int64"))
    }

    /// Whether the values come with weights of their own.
    pub fn weighted(&self) -> bool {
        self.source().weighted()
    }

    /// The factor of every value.
    pub fn scale(&self) -> f64 {
        match self {
            Input::H5(input) => input.scale(),
            Input::Plugin { scale, .. } => *scale,
        }
    }

    /// What the file says of the data; a plugin says nothing.
    pub fn attributes(&self) -> InputAttributes {
        match self {
            Input::H5(input) => input.attributes(),
            Input::Plugin { .. } => InputAttributes::default(),
        }
    }

    /// Where the data come from, for the output's notes.
    pub fn json(&self) -> Value {
        let shape = self.shape();
        let mut told = match self {
            Input::H5(input) => json!({"path": input.path().file, "dataset": input.path().dataset,
                "dtype": input.dtype()}),
            Input::Plugin { text, source, .. } => json!({"path": text, "plugin": source.id(),
                "plugin_sha256": source.library().sha256(), "dtype": element_name(source.element())}),
        };
        told["samples"] = json!(shape.samples);
        told["shape"] = json!(shape.dims.iter().map(|dim| dim.len).collect::<Vec<_>>());
        told["dims"] = json!(shape.dims.iter().map(|dim| &dim.name).collect::<Vec<_>>());
        told["scale"] = json!(self.scale());
        if let Some(attributes) = self.attributes().json(shape.dims.iter().map(|dim| dim.name.as_str())) {
            told["attributes"] = attributes;
        }
        if self.may_miss() {
            // JSON has no NaN.
            let values = self.missing().into_iter().map(|value| value.to_string());
            told["missing"] = json!(values.collect::<Vec<_>>());
        }
        told
    }

    /// A dataset with one value per sample, to be passed through.
    pub fn coordinate(&self, name: &str) -> Result<Coordinate, CliError> {
        match self {
            Input::H5(input) => Ok(input.coordinate(name)?),
            Input::Plugin { .. } => Err(CliError::Usage(format!(
                "`keep` names {name}, and {} has no datasets beside its data: convert it by gfe convert first",
                self.name()
            ))),
        }
    }

    /// Another input that belongs to this one: a dataset in the same file by its name, or an input of its own. What its
    /// attributes say of missing values is heeded.
    pub fn beside(&self, text: &str) -> Result<Input, CliError> {
        let own = text.starts_with(PREFIX) || text.contains(":/") || text.ends_with(".h5") || text.ends_with(".hdf5");
        match (self, own) {
            (Input::H5(input), false) => {
                let path = InputPath {
                    file: input.path().file.clone(),
                    dataset: Some(if text.starts_with('/') {
                        text.to_owned()
                    } else {
                        format!("/{text}")
                    }),
                };
                Input::H5(Box::new(H5Input::open(&path, Some(1.0))?)).heeding_missing(false)
            }
            (Input::Plugin { .. }, false) => Err(CliError::Usage(format!(
                "{text} is to be found beside {}, which holds no datasets: say FILE.h5:/DATASET",
                self.name()
            ))),
            (_, true) => Input::open(text, Some(1.0))?.heeding_missing(false),
        }
    }

    /// Reads samples into columns, times the factor; their weights too where `w` is given, over the factor's square: they are
    /// 1/sigma^2 of the values, and 0 where a value is missing. Without `w` a missing value is NaN.
    pub fn read(&mut self, ids: &[usize], mut y: ColsMut<'_>, mut w: Option<ColsMut<'_>>) -> Result<(), CliError> {
        match self {
            Input::H5(input) => input.read(ids, TargetsMut { y, w })?,
            Input::Plugin { source, scale, nan, .. } => {
                let to = TargetsMut {
                    y: y.as_mut(),
                    w: w.as_mut().map(|w| w.as_mut()),
                };
                source.read(ids, to)?;
                let times = |mut of: ColsMut<'_>, factor: f64| {
                    for b in 0..of.ncols() {
                        of.as_mut().col_mut(b).iter_mut().for_each(|value| *value *= factor);
                    }
                };
                if *scale != 1.0 {
                    times(y.as_mut(), *scale);
                    if let Some(w) = w.as_mut().filter(|_| source.weighted()) {
                        times(w.as_mut(), scale.powi(-2));
                    }
                }
                if let (true, Some(mut w)) = (*nan, w) {
                    for b in 0..y.ncols() {
                        let missing = y.as_ref().col(b).iter().zip(w.as_mut().col_mut(b).iter_mut());
                        missing.filter(|(y, _)| y.is_nan()).for_each(|(_, w)| *w = 0.0);
                    }
                }
            }
        }
        Ok(())
    }

    /// The same as a matrix of its own.
    pub fn matrix(&mut self, ids: &[usize]) -> Result<Mat<f64>, CliError> {
        let mut y = Mat::zeros(self.shape().values(), ids.len());
        self.read(ids, y.as_mut(), None)?;
        Ok(y)
    }
}

/// Name of a type of values.
pub fn element_name(element: Element) -> &'static str {
    match element {
        Element::F64 => "float64",
        Element::F32 => "float32",
        Element::U8 => "uint8",
    }
}

/// `key=value&key=value` as JSON: numbers, true, false, lists and objects as such, everything else as a text.
fn config(text: &str, keys: &str) -> Result<String, CliError> {
    let mut config = Map::new();
    for pair in keys.split('&').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
            return Err(CliError::Usage(format!(
                "{text}: `{pair}` is not of the form key=value; say plugin:NAME?key=value&key=value"
            )));
        };
        let parsed = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
        if config.insert(key.to_owned(), parsed).is_some() {
            return Err(CliError::Usage(format!("{text}: `{key}` is given twice")));
        }
    }
    Ok(if config.is_empty() {
        String::new()
    } else {
        Value::Object(config).to_string()
    })
}

/// The file of an input as it was written, if it names one.
pub fn file_of(text: &str) -> Option<PathBuf> {
    (!text.starts_with(PREFIX)).then(|| InputPath::parse(text).file)
}

#[cfg(test)]
mod tests {
    use super::config;

    #[test]
    fn keys_become_json() {
        let told = config("", "path=a b.gz&count=3&labels=true&kind=sine&list=[1,2]").expect("it is well formed");
        let value: serde_json::Value = serde_json::from_str(&told).expect("it is JSON");
        let expected =
            serde_json::json!({"path": "a b.gz", "count": 3, "labels": true, "kind": "sine", "list": [1, 2]});
        assert_eq!(value, expected);
        assert_eq!(config("", "").expect("nothing is said"), "");
        assert!(config("", "path").is_err() && config("", "a=1&a=2").is_err());
    }
}
