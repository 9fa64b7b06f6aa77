//! Reading files of encoded or decoded samples back. They are taken for hostile like any other input.

use std::ops::Range;
use std::path::{Path, PathBuf};

use gfe_model::{Axis, Dim};
use hdf5::{File, Hyperslab, SliceOrIndex};
use ndarray::ArrayD;
use serde_json::Value;

use crate::chunks::Rows;
use crate::input::{VALUES_LIMIT, open_file, refuse_foreign_storage};
use crate::listing::{descriptor_of, dimension_names};
use crate::{Attributes, EncodedRow, InputPath, IoError, guard, listing, texts};

/// Most statuses that are read.
const STATUSES: usize = 256;

/// An open file of layout 1.x, written by `gfe encode` or `gfe decode`.
#[derive(Debug)]
pub struct EncodedFile {
    path: PathBuf,
    file: File,
    samples: usize,
}

impl EncodedFile {
    /// Opens `path`; fails where it is missing, not HDF5, or not of this layout.
    pub fn open(path: &Path) -> Result<EncodedFile, IoError> {
        guard::opening(path, || EncodedFile::open_within(path))
    }

    fn open_within(path: &Path) -> Result<EncodedFile, IoError> {
        let file = open_file(path)?;
        let wrong = |what: String| IoError::NotEncoded {
            path: path.to_owned(),
            what,
        };
        let version = texts::attribute(&file, "gfe_layout_version")
            .ok_or_else(|| wrong("it has no `gfe_layout_version`".into()))?;
        if !version.starts_with("1.") {
            return Err(wrong(format!("its layout is {version}, and this program knows 1.x")));
        }
        let sample = file.dataset("sample").ok();
        let shape = sample
            .as_ref()
            .filter(|sample| listing::is_at_home(sample))
            .map(|sample| sample.shape());
        let mut opened = EncodedFile {
            path: path.to_owned(),
            file,
            samples: 0,
        };
        opened.samples = match (sample, shape.as_deref()) {
            (_, Some(&[samples])) => samples,
            // What is told of rows in other files does not open them; to read them does, and is refused.
            (Some(_), None) => opened.told_rows().unwrap_or_default().len(),
            _ => return Err(wrong("it has no dataset `sample`".into())),
        };
        Ok(opened)
    }

    /// Which rows of the input it says that it holds.
    pub fn told_rows(&self) -> Option<Range<usize>> {
        let input = self.note("input")?;
        let row = |i: usize| input["rows"][i].as_u64().and_then(|row| usize::try_from(row).ok());
        Some(row(0)?..row(1)?)
    }

    /// Whether `path` is such a file, as far as its marks say.
    pub fn is_one(path: &Path) -> bool {
        EncodedFile::open(path).is_ok()
    }

    /// Number of rows.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// Whether its rows lie in parts beside it, see [`Parts::keep`](crate::Parts::keep).
    pub fn is_over_parts(&self) -> bool {
        let samples = self.file.dataset("sample");
        samples.is_ok_and(|samples| matches!(samples.layout(), hdf5::dataset::Layout::Virtual))
    }

    /// Whether there is a dataset of this name, be its values here or in another file.
    pub fn has(&self, name: &str) -> bool {
        matches!(self.rows(name), Ok(_) | Err(IoError::ForeignStorage { .. }))
    }

    /// Axes of one sample of the dataset `name`, with the coordinates of their scales.
    pub fn axes(&self, name: &str) -> Result<Vec<Axis>, IoError> {
        guard::opening(&self.path, || self.axes_within(name))
    }

    fn axes_within(&self, name: &str) -> Result<Vec<Axis>, IoError> {
        let dataset = self.rows(name)?.dataset;
        let names = dimension_names(&self.file, &dataset).into_iter().skip(1);
        let values = listing::axis_values(&self.file, &dataset).into_iter().skip(1);
        let lens = dataset.shape().into_iter().skip(1);
        let mut named = names
            .chain(std::iter::repeat(None))
            .zip(values.chain(std::iter::repeat(None)));
        let axis = |(i, len)| {
            let (name, values) = named.next().unwrap_or_default();
            Axis {
                dim: Dim {
                    name: name.unwrap_or_else(|| format!("feature_{i}")),
                    len,
                },
                values: values.filter(|values: &Vec<f64>| values.len() == len),
            }
        };
        Ok(lens.enumerate().map(axis).collect())
    }

    /// The values of `rows` of the dataset `name`, row after row.
    pub fn read(&self, name: &str, rows: Range<usize>) -> Result<Vec<f64>, IoError> {
        let mut source = self.rows(name)?;
        let lens = source.dataset.shape().split_off(1);
        let values = lens.iter().try_fold(rows.len(), |n, len| n.checked_mul(*len));
        if values.is_none_or(|values| values > VALUES_LIMIT) {
            return Err(IoError::NotEncoded {
                path: self.path.clone(),
                what: format!("{} rows of its `{name}` are too large", rows.len()),
            });
        }
        let mut read = Vec::with_capacity(values.unwrap_or(0));
        let pieces: Vec<Range<usize>> = source.pieces(rows).collect();
        for piece in pieces {
            let slab: Vec<SliceOrIndex> = std::iter::once(SliceOrIndex::from(piece.clone()))
                .chain(lens.iter().map(|len| SliceOrIndex::from(0..*len)))
                .collect();
            let values: ArrayD<f64> = source.read(piece, |dataset| dataset.read_slice(Hyperslab::from(slab)))?;
            read.extend(values);
        }
        Ok(read)
    }

    /// The records of `rows`, without the values that not every output has.
    pub fn records(&self, rows: Range<usize>) -> Result<Vec<EncodedRow>, IoError> {
        let column = |name: &str| self.read(name, rows.clone());
        let counts = |name: &str| -> Result<Vec<u32>, IoError> {
            Ok(column(name)?.into_iter().map(|value| value as u32).collect())
        };
        let (sample, status) = (column("sample")?, column("status")?);
        let (loss, loss_initial, grad_norm) = (column("loss")?, column("loss_initial")?, column("grad_norm")?);
        let (edm, chi2, t) = (column("edm")?, column("chi2")?, column("t")?);
        let (n_valid, steps, rejected) = (counts("n_valid")?, counts("steps")?, counts("rejected")?);
        let (forced, evaluations, vjps) = (counts("forced")?, counts("evaluations")?, counts("vjps")?);
        let (jvps, hvps) = (counts("jvps")?, counts("hvps")?);
        let (jacobians, factorizations) = (counts("jacobians")?, counts("factorizations")?);
        let record = |b: usize| EncodedRow {
            sample: sample[b] as i64,
            status: status[b] as i8,
            loss: loss[b],
            loss_initial: loss_initial[b],
            grad_norm: grad_norm[b],
            edm: edm[b],
            chi2: chi2[b],
            n_valid: n_valid[b],
            t: t[b],
            start: 0,
            minima: 0,
            steps: steps[b],
            rejected: rejected[b],
            forced: forced[b],
            evaluations: evaluations[b],
            vjps: vjps[b],
            jvps: jvps[b],
            hvps: hvps[b],
            jacobians: jacobians[b],
            factorizations: factorizations[b],
        };
        Ok((0..rows.len()).map(record).collect())
    }

    /// The note of this name, where there is one.
    pub fn note(&self, name: &str) -> Option<Value> {
        guard::opening(&self.path, || {
            let path = InputPath {
                file: self.path.clone(),
                dataset: Some(format!("/entry/process/{name}/data")),
            };
            let data = self.file.dataset(path.dataset.as_deref()?).ok()?;
            refuse_foreign_storage(&path, &self.file, &data).ok()?;
            serde_json::from_str(&texts::scalar(&data)?).ok()
        })
    }

    /// The value of every component of every initial latent, where they are all the same.
    pub fn constant_z0(&self) -> Option<f64> {
        guard::opening(&self.path, || {
            let z0 = self.rows("z").ok()?.dataset.attr("z0").ok()?;
            descriptor_of(&z0).ok()?;
            z0.read_scalar().ok()
        })
    }

    /// Program, version and date that the file names as those of its making, as far as it does.
    pub fn made_by(&self) -> Vec<(String, String)> {
        let field = |name: &str| {
            let path = InputPath {
                file: self.path.clone(),
                dataset: Some(format!("/entry/process/{name}")),
            };
            let data = self.file.dataset(path.dataset.as_deref()?).ok()?;
            refuse_foreign_storage(&path, &self.file, &data).ok()?;
            Some((name.to_owned(), texts::scalar(&data)?))
        };
        guard::opening(&self.path, || {
            ["program", "version", "date"].into_iter().filter_map(field).collect()
        })
    }

    /// Shape, type and attributes of every dataset with a row per sample, by name.
    pub fn datasets(&self) -> Vec<(String, Vec<usize>, Attributes)> {
        guard::opening(&self.path, || {
            let names = self.file.member_names().unwrap_or_default();
            let datasets = names.into_iter().filter_map(|name| {
                let dataset = self.rows(&name).ok()?.dataset;
                let (shape, attributes) = (dataset.shape(), Attributes::of(&dataset));
                Some((name, shape, attributes))
            });
            datasets.collect()
        })
    }

    /// Code and name of every status.
    pub fn statuses(&self) -> Vec<(i8, String)> {
        let read = || {
            let status = self.rows("status").ok()?.dataset;
            let codes = status.attr("flag_values").ok()?;
            descriptor_of(&codes).ok()?;
            let codes = (codes.size() <= STATUSES)
                .then(|| codes.read_1d::<i8>().ok())
                .flatten()?;
            let names = texts::attribute(&status, "flag_meanings")?;
            let names = names.split_whitespace().map(str::to_owned);
            Some(codes.into_iter().zip(names).collect())
        };
        guard::opening(&self.path, || read().unwrap_or_default())
    }

    /// A dataset of numbers with a row per sample.
    fn rows(&self, name: &str) -> Result<Rows, IoError> {
        guard::opening(&self.path, || self.rows_within(name))
    }

    fn rows_within(&self, name: &str) -> Result<Rows, IoError> {
        let wrong = |what: String| IoError::NotEncoded {
            path: self.path.clone(),
            what,
        };
        let dataset = self
            .file
            .dataset(name)
            .map_err(|_| wrong(format!("it has no dataset `{name}`")))?;
        let path = InputPath {
            file: self.path.clone(),
            dataset: Some(format!("/{name}")),
        };
        refuse_foreign_storage(&path, &self.file, &dataset)?;
        let shape = dataset.shape();
        if descriptor_of(&dataset).is_err() || shape.first() != Some(&self.samples) {
            return Err(wrong(format!("its `{name}` has shape {shape:?}, or no numbers")));
        }
        Rows::new(&self.file, &path, dataset)
    }
}

/// What a general HDF5 file has to offer.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Path of the dataset.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its type, in words.
    pub dtype: String,
    /// Names of its axes, where it has them.
    pub dims: Vec<Option<String>>,
    /// Its chunks, where it has them.
    pub chunk: Option<Vec<usize>>,
    /// Its filters, in words.
    pub filters: Vec<String>,
}

/// The datasets of numbers in the file `path`, 50 at most.
pub fn list_datasets(path: &Path) -> Result<Vec<Listed>, IoError> {
    guard::opening(path, || list_within(path))
}

fn list_within(path: &Path) -> Result<Vec<Listed>, IoError> {
    let file = open_file(path)?;
    let names = listing::numeric_datasets(&file);
    let listed = names.into_iter().filter_map(|name| {
        let dataset = file.dataset(&name).ok()?;
        Some(Listed {
            shape: dataset.shape(),
            dtype: descriptor_of(&dataset).ok()?.to_string(),
            dims: dimension_names(&file, &dataset),
            chunk: dataset.chunk(),
            filters: dataset.filters().iter().map(|filter| format!("{filter:?}")).collect(),
            name,
        })
    });
    Ok(listed.collect())
}
