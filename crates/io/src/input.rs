//! An HDF5 dataset as a source of samples: its first axis counts them.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use gfe_model::{Axis, DataError, DataShape, DatasetSource, Dim, Element, TargetsMut};
use hdf5::dataset::Layout;
use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
use hdf5::{Dataset, File, Hyperslab, SliceOrIndex};
use ndarray::ArrayD;

use crate::listing::{axis_values, dimension_names, numeric_datasets, per_sample_datasets};
use crate::{Coordinate, IoError, Missing, native};

/// Most axes of a dataset, the sample axis included.
pub(crate) const RANK_LIMIT: usize = 8;
/// Most values of one sample, 1 GiB as f64: a file of a few hundred bytes can declare terabytes.
pub(crate) const VALUES_LIMIT: usize = 1 << 27;

/// A file and, where it is named, a dataset in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputPath {
    /// The file.
    pub file: PathBuf,
    /// The dataset with its leading slash; without it the file must have exactly one numeric dataset.
    pub dataset: Option<String>,
}

impl InputPath {
    /// Splits `FILE:/DATASET` at its last `:/`; a text without one is a file alone.
    pub fn parse(text: &str) -> InputPath {
        match text.rfind(":/") {
            Some(colon) if colon > 0 && colon + 2 < text.len() => InputPath {
                file: PathBuf::from(&text[..colon]),
                dataset: Some(text[colon + 1..].to_owned()),
            },
            _ => InputPath {
                file: PathBuf::from(text),
                dataset: None,
            },
        }
    }
}

impl fmt::Display for InputPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file.display())?;
        self.dataset
            .as_ref()
            .map_or(Ok(()), |dataset| write!(out, ":{dataset}"))
    }
}

/// An open HDF5 dataset of any integer or float type and 1 to 8 axes, read a few samples at a time.
pub struct H5Input {
    path: InputPath,
    file: File,
    dataset: Dataset,
    shape: DataShape,
    scale: f64,
    missing: Missing,
}

impl fmt::Debug for H5Input {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "H5Input({} {:?} x {})", self.path, self.shape, self.scale)
    }
}

impl H5Input {
    /// Opens `path`; every value read is multiplied by `scale`, by default 1/255 for unsigned bytes and 1 otherwise.
    ///
    /// Fails where the file is missing or not HDF5, the dataset is missing, not unique or not numeric, has no axis or
    /// more than 8, or keeps its values in another file.
    pub fn open(path: &InputPath, scale: Option<f64>) -> Result<H5Input, IoError> {
        let file = open_file(&path.file)?;
        let name = match &path.dataset {
            Some(name) => name.clone(),
            None => the_only_dataset(&path.file, &file)?,
        };
        let path = InputPath {
            file: path.file.clone(),
            dataset: Some(name.clone()),
        };
        let dataset = file.dataset(&name).map_err(|_| IoError::NoDataset {
            path: path.file.clone(),
            dataset: name,
            numeric: numeric_datasets(&file),
        })?;
        refuse_foreign_storage(&path, &file, &dataset)?;
        let bytes = is_unsigned_byte(&path, &dataset)?;
        let extents = dataset.shape();
        let shape = shape_of(&path, &extents, dimension_names(&file, &dataset))?;
        Ok(H5Input {
            path,
            file,
            dataset,
            shape,
            scale: scale.unwrap_or(if bytes { 1.0 / 255.0 } else { 1.0 }),
            missing: Missing::default(),
        })
    }

    /// From now on heeds what the dataset's attributes say of missing values, see [`Missing`], and NaN with `nan`: such a value
    /// is read with weight 0, and as NaN where no weights are asked for. Without this every stored value is data.
    ///
    /// Fails where the attributes cannot be understood.
    pub fn heed_missing(&mut self, nan: bool) -> Result<(), IoError> {
        let missing = Missing::of(&self.path, &self.dataset)?;
        self.missing = if nan { missing.with_nan() } else { missing };
        Ok(())
    }

    /// Which stored values are taken for missing.
    pub fn missing(&self) -> &Missing {
        &self.missing
    }

    /// Where the data come from, with the dataset's name even if it was not given.
    pub fn path(&self) -> &InputPath {
        &self.path
    }

    /// The factor of every value.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// The type of the stored values, in words.
    pub fn dtype(&self) -> String {
        let descriptor = self.dataset.dtype().and_then(|dtype| dtype.to_descriptor());
        descriptor.map_or_else(|error| error.to_string(), |descriptor| descriptor.to_string())
    }

    /// Samples of a chunk of the dataset, if it has chunks.
    pub fn chunk_rows(&self) -> Option<usize> {
        self.dataset.chunk().and_then(|chunk| chunk.first().copied())
    }

    /// A dataset with one value per sample, by its path or its name beside the data.
    ///
    /// Fails where there is none, it has another shape, or its values are neither numbers nor texts.
    pub fn coordinate(&self, name: &str) -> Result<Coordinate, IoError> {
        let samples = self.shape.samples;
        let candidates = per_sample_datasets(&self.file, samples);
        Coordinate::open(&self.file, (&self.path, samples), name, candidates)
    }

    /// The samples `run` as one hyperslab.
    fn read_run(&self, run: Range<usize>) -> Result<ArrayD<f64>, DataError> {
        let rest = self.shape.dims.iter().map(|dim| SliceOrIndex::from(0..dim.len));
        let slab: Vec<SliceOrIndex> = std::iter::once(SliceOrIndex::from(run.clone())).chain(rest).collect();
        self.dataset
            .read_slice(Hyperslab::from(slab))
            .map_err(|error| DataError {
                message: format!(
                    "{}: samples {run:?} cannot be read: {error}; if it has a filter that a plain HDF5 lacks, rewrite it \
                     with h5repack -f GZIP=1, else the file may be damaged",
                    self.path
                ),
            })
    }
}

impl DatasetSource for H5Input {
    fn shape(&self) -> &DataShape {
        &self.shape
    }

    /// With the coordinates of their dimension scales where these are numbers.
    fn axes(&self) -> Vec<Axis> {
        let mut values = axis_values(&self.file, &self.dataset).into_iter().skip(1);
        let dims = self.shape.dims.iter().cloned();
        dims.map(|dim| Axis {
            values: values.next().flatten().filter(|values| values.len() == dim.len),
            dim,
        })
        .collect()
    }

    fn element(&self) -> Element {
        match self.dataset.dtype().and_then(|dtype| dtype.to_descriptor()) {
            Ok(TypeDescriptor::Unsigned(IntSize::U1)) => Element::U8,
            Ok(TypeDescriptor::Float(FloatSize::U2 | FloatSize::U4)) => Element::F32,
            _ => Element::F64,
        }
    }

    fn read(&mut self, ids: &[usize], to: TargetsMut<'_>) -> Result<(), DataError> {
        let TargetsMut { mut y, mut w } = to;
        if let Some(bad) = ids.iter().find(|id| **id >= self.shape.samples) {
            let message = format!(
                "{}: sample {bad} was asked for, there are {}",
                self.path, self.shape.samples
            );
            return Err(DataError { message });
        }
        let values = self.shape.values();
        let mut column = 0;
        for run in ids.chunk_by(|a, b| a + 1 == *b) {
            let block = self.read_run(run[0]..run[0] + run.len())?;
            let mut source = block.iter();
            for lane in column..column + run.len() {
                for (i, (into, from)) in y
                    .as_mut()
                    .col_mut(lane)
                    .iter_mut()
                    .zip(source.by_ref().take(values))
                    .enumerate()
                {
                    let missing = self.missing.is(*from);
                    *into = from * self.scale;
                    match &mut w {
                        Some(w) => w[(i, lane)] = f64::from(!missing),
                        None if missing => *into = f64::NAN,
                        None => {}
                    }
                }
            }
            column += run.len();
        }
        Ok(())
    }
}

/// Opens an HDF5 file for reading, telling a file that is not there from one that is something else.
pub(crate) fn open_file(path: &Path) -> Result<File, IoError> {
    native::forbid_filter_plugins();
    std::fs::File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => IoError::NotFound { path: path.to_owned() },
        _ => IoError::Read {
            path: path.to_owned(),
            source,
        },
    })?;
    File::open(path).map_err(|source| IoError::NotHdf5 {
        path: path.to_owned(),
        source,
    })
}

/// The one numeric dataset of a file whose dataset was not named.
fn the_only_dataset(path: &Path, file: &File) -> Result<String, IoError> {
    let mut numeric = numeric_datasets(file);
    match numeric.len() {
        1 => Ok(numeric.remove(0)),
        _ => Err(IoError::NotUnique {
            path: path.to_owned(),
            numeric,
        }),
    }
}

/// External links, external storage and virtual datasets would let a data file copy other files into the output.
pub(crate) fn refuse_foreign_storage(path: &InputPath, file: &File, dataset: &Dataset) -> Result<(), IoError> {
    let hdf5 = |source| IoError::Hdf5 {
        path: path.file.clone(),
        source,
    };
    let storage = dataset.dcpl().map_err(hdf5)?;
    let foreign = dataset.filename() != file.filename()
        || matches!(dataset.layout(), Layout::Virtual)
        || !storage.external().is_empty();
    if foreign {
        Err(IoError::ForeignStorage { path: path.to_string() })
    } else {
        Ok(())
    }
}

/// Whether the values are unsigned bytes; fails where they are no numbers.
fn is_unsigned_byte(path: &InputPath, dataset: &Dataset) -> Result<bool, IoError> {
    let found = dataset.dtype().and_then(|dtype| dtype.to_descriptor());
    match found {
        Ok(TypeDescriptor::Unsigned(size)) => Ok(size == IntSize::U1),
        Ok(TypeDescriptor::Integer(_) | TypeDescriptor::Float(_)) => Ok(false),
        Ok(other) => Err(IoError::NotNumeric {
            path: path.to_string(),
            found: other.to_string(),
        }),
        Err(error) => Err(IoError::NotNumeric {
            path: path.to_string(),
            found: error.to_string(),
        }),
    }
}

/// Checks rank and size before anything is allocated for them.
fn shape_of(path: &InputPath, extents: &[usize], names: Vec<Option<String>>) -> Result<DataShape, IoError> {
    let too_large = || IoError::BadShape {
        path: path.to_string(),
        shape: extents.to_vec(),
        rank_limit: RANK_LIMIT,
        values_limit: VALUES_LIMIT,
    };
    let (samples, sample) = extents.split_first().ok_or_else(too_large)?;
    let values = sample
        .iter()
        .try_fold(1_usize, |product, len| product.checked_mul(*len))
        .ok_or_else(too_large)?;
    if extents.len() > RANK_LIMIT || values == 0 || values > VALUES_LIMIT {
        return Err(too_large());
    }
    let mut names = names.into_iter().skip(1);
    let dim = |(i, len): (usize, &usize)| Dim {
        name: names.next().flatten().unwrap_or_else(|| format!("feature_{i}")),
        len: *len,
    };
    Ok(DataShape {
        samples: *samples,
        dims: sample.iter().enumerate().map(dim).collect(),
    })
}

#[cfg(test)]
mod tests;
