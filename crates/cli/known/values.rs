//! A dataset that says something of every value: a mask, weights, standard errors.

use crate::error::CliError;
use crate::input::Input;
use faer::Mat;
use std::path::{Path, PathBuf};

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Which values are missing: those where it is not 0.
    Mask,
    /// Weights: 0 or more, 0 for what is missing.
    Weight,
    /// Standard errors: positive, infinity for what is missing.
    Sigma,
}

impl Kind {
    /// The name of the setting.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mask => "mask",
            Kind::Weight => "weight",
            Kind::Sigma => "sigma",
        }
    }

    /// The weight of a value, which no loss admits if it is not finite or negative; `factor` is that of weights and of variances.
    fn weight(self, said: f64, factor: f64) -> f64 {
        match self {
            Kind::Mask if said.is_nan() => f64::NAN,
            Kind::Mask => f64::from(said == 0.0),
            Kind::Weight => said * factor,
            Kind::Sigma if said > 0.0 => said.powi(-2) * factor,
            Kind::Sigma => f64::NAN,
        }
    }
}

/// How it is laid out.
enum Layout {
    /// One for each value of each sample, or with `per_sample` one for each sample.
    Rows { input: Box<Input>, per_sample: bool },
    /// The same for all samples, `[D]`: what is said, and whether that is missing itself.
    Shared(Vec<(f64, bool)>),
}

/// What a dataset says of values.
pub struct OfValues {
    kind: Kind,
    name: String,
    file: Option<PathBuf>,
    layout: Layout,
}

impl OfValues {
    /// Opens what `text` names beside `input`: of the input's shape, or of one sample's, or a number for each sample where `kind`
    /// is sigma. With `nan` a NaN in it is a missing value.
    pub fn open(input: &Input, text: &str, kind: Kind, nan: bool) -> Result<OfValues, CliError> {
        // A mask says yes or no: a NaN in it is neither.
        let mut other = input.beside(text)?.heeding_missing(nan && kind != Kind::Mask)?;
        let (name, file) = (other.name(), other.file().map(Path::to_owned));
        let own: Vec<usize> = lens(input);
        let found = lens(&other);
        let same_rows = found[0] == own[0];
        let whole = found == own;
        let shared = found == own[1..] || (found[0] == 1 && found[1..] == own[1..]);
        let per_sample = kind == Kind::Sigma && same_rows && found[1..].iter().all(|len| *len == 1);
        let layout = match (whole, per_sample, shared) {
            (true, ..) => Layout::Rows {
                input: Box::new(other),
                per_sample: false,
            },
            (_, true, true) => {
                let text = format!("{name} has shape {found:?}: one sigma for each sample, or for each value?");
                return Err(CliError::BadData(format!(
                    "{text} Give it the shape [{0}, 1], or [1, {0}]",
                    own[0]
                )));
            }
            (_, true, _) => Layout::Rows {
                input: Box::new(other),
                per_sample: true,
            },
            (_, _, true) => Layout::Shared(all(&mut other)?),
            _ => {
                let per_sample = if kind == Kind::Sigma {
                    format!(", or [{}]", own[0])
                } else {
                    String::new()
                };
                let text = format!("{name} has shape {found:?}, and {} has {own:?}", input.name());
                return Err(CliError::BadData(format!(
                    "{text}: {} is to have that shape, or that of one sample, {:?}{per_sample}",
                    kind.name(),
                    &own[1..]
                )));
            }
        };
        Ok(OfValues {
            kind,
            name,
            file,
            layout,
        })
    }

    /// What it says.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// As it was asked for, with the dataset's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that holds it.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Whether some value may be masked by it: always, but for one sigma per sample.
    pub fn masks_values(&self) -> bool {
        !matches!(self.layout, Layout::Rows { per_sample: true, .. })
    }

    /// Multiplies the weights `w` `[D, rows]` of rows by what is said of them; what has weight 0 already is not looked at, and
    /// what is said to be missing has weight 0.
    pub fn weigh(&mut self, ids: &[usize], factor: f64, w: &mut Mat<f64>) -> Result<(), CliError> {
        let kind = self.kind;
        let multiply = |w: &mut f64, said: f64, missing: bool| {
            if *w != 0.0 {
                *w *= if missing { 0.0 } else { kind.weight(said, factor) };
            }
        };
        match &mut self.layout {
            Layout::Shared(said) => {
                for b in 0..ids.len() {
                    let column = w.col_as_slice_mut(b).iter_mut().zip(&*said);
                    column.for_each(|(w, (said, missing))| multiply(w, *said, *missing));
                }
            }
            Layout::Rows { input, per_sample } => {
                let (said, there) = read(input, ids)?;
                for b in 0..ids.len() {
                    for (i, w) in w.col_as_slice_mut(b).iter_mut().enumerate() {
                        let at = (if *per_sample { 0 } else { i }, b);
                        multiply(w, said[at], there[at] == 0.0);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Lengths of the axes, the samples' first.
fn lens(input: &Input) -> Vec<usize> {
    let shape = input.shape();
    let dims = shape.dims.iter().map(|dim| dim.len);
    std::iter::once(shape.samples).chain(dims).collect()
}

/// The numbers of rows, and 0 where one is missing, 1 elsewhere.
fn read(input: &mut Input, ids: &[usize]) -> Result<(Mat<f64>, Mat<f64>), CliError> {
    let values = input.shape().values();
    let (mut said, mut there) = (Mat::zeros(values, ids.len()), Mat::zeros(values, ids.len()));
    input.read(ids, said.as_mut(), Some(there.as_mut()))?;
    Ok((said, there))
}

/// Every number of a dataset of one sample's shape, and whether it is missing.
fn all(input: &mut Input) -> Result<Vec<(f64, bool)>, CliError> {
    let ids: Vec<usize> = (0..input.shape().samples).collect();
    let (said, there) = read(input, &ids)?;
    let columns = (0..ids.len()).flat_map(|b| said.col_as_slice(b).iter().zip(there.col_as_slice(b)));
    Ok(columns.map(|(said, there)| (*said, *there == 0.0)).collect())
}
