//! An HDF5 dataset as a source of samples: its first axis counts them.

use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use gfe_model::{Axis, DataError, DataShape, DatasetSource, Dim, Element, TargetsMut};
use hdf5::dataset::Layout;
use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
use hdf5::{Dataset, File, Hyperslab, SliceOrIndex};
use ndarray::ArrayD;

use crate::chunks::Rows;
use crate::listing::{axis_values, descriptor_of, dimension_names, numeric_datasets, per_sample_datasets};
use crate::{Coordinate, IoError, Missing, access, guard};

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
    rows: Rows,
    element: TypeDescriptor,
    axes: Vec<Axis>,
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
    /// more than 8, keeps its values in another file, or is not held by its own; and where a chunk of it takes more than
    /// [`CHUNK_MEMORY`](crate::CHUNK_MEMORY) or is packed in another way than by shuffle, gzip and fletcher32.
    pub fn open(path: &InputPath, scale: Option<f64>) -> Result<H5Input, IoError> {
        guard::opening(&path.file, || H5Input::open_within(path, scale))
    }

    fn open_within(path: &InputPath, scale: Option<f64>) -> Result<H5Input, IoError> {
        let file = open_file(&path.file)?;
        let name = match &path.dataset {
            Some(name) => name.clone(),
            None => the_only_dataset(&path.file, &file)?,
        };
        let path = InputPath {
            file: path.file.clone(),
            dataset: Some(name.clone()),
        };
        let dataset = dataset_of(&file, &path)?;
        refuse_foreign_storage(&path, &file, &dataset)?;
        let element = number_type(&path, &dataset)?;
        let extents = dataset.shape();
        let shape = shape_of(&path, &extents, dimension_names(&file, &dataset))?;
        let rows = Rows::new(&file, &path, dataset)?;
        let mut values = axis_values(&file, &rows.dataset).into_iter().skip(1);
        let dims = shape.dims.iter().cloned();
        let axes = dims.map(|dim| Axis {
            values: values.next().flatten().filter(|values| values.len() == dim.len),
            dim,
        });
        let bytes = element == TypeDescriptor::Unsigned(IntSize::U1);
        Ok(H5Input {
            axes: axes.collect(),
            path,
            file,
            rows,
            element,
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
        let missing = guard::opening(&self.path.file, || Missing::of(&self.path, &self.rows.dataset))?;
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
        self.element.to_string()
    }

    /// Samples of a chunk of the dataset, if it has chunks.
    pub fn chunk_rows(&self) -> Option<usize> {
        self.rows.dataset.chunk().and_then(|chunk| chunk.first().copied())
    }

    /// A dataset with one value per sample, by its path or its name beside the data.
    ///
    /// Fails where there is none, it has another shape, or its values are neither numbers nor texts.
    pub fn coordinate(&self, name: &str) -> Result<Coordinate, IoError> {
        let samples = self.shape.samples;
        guard::opening(&self.path.file, || {
            let candidates = per_sample_datasets(&self.file, samples);
            Coordinate::open(&self.file, (&self.path, samples), name, candidates)
        })
    }

    /// The samples `run` as one hyperslab.
    fn read_run(&mut self, run: Range<usize>) -> Result<ArrayD<f64>, DataError> {
        let rest = self.shape.dims.iter().map(|dim| SliceOrIndex::from(0..dim.len));
        let slab: Vec<SliceOrIndex> = std::iter::once(SliceOrIndex::from(run.clone())).chain(rest).collect();
        let read = self.rows.read(run, |dataset| dataset.read_slice(Hyperslab::from(slab)));
        read.map_err(|error| DataError {
            message: error.to_string(),
        })
    }
}

impl DatasetSource for H5Input {
    fn shape(&self) -> &DataShape {
        &self.shape
    }

    /// With the coordinates of their dimension scales where these are numbers.
    fn axes(&self) -> Vec<Axis> {
        self.axes.clone()
    }

    fn element(&self) -> Element {
        match self.element {
            TypeDescriptor::Unsigned(IntSize::U1) => Element::U8,
            TypeDescriptor::Float(FloatSize::U2 | FloatSize::U4) => Element::F32,
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
        let runs = ids.chunk_by(|a, b| a + 1 == *b).map(|run| run[0]..run[0] + run.len());
        let pieces: Vec<Range<usize>> = runs.flat_map(|run| self.rows.pieces(run)).collect();
        for piece in pieces {
            let len = piece.len();
            let block = self.read_run(piece)?;
            let mut source = block.iter();
            for lane in column..column + len {
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
            column += len;
        }
        Ok(())
    }
}

/// Opens an HDF5 file for reading, telling a file that is not there from one that is something else.
pub(crate) fn open_file(path: &Path) -> Result<File, IoError> {
    access::prepare();
    regular_file(path)?;
    guard::opening(path, || {
        File::open(path).map_err(|source| {
            if says(source.clone(), "unable to lock file") {
                IoError::Locked { path: path.to_owned() }
            } else {
                IoError::NotHdf5 {
                    path: path.to_owned(),
                    source,
                }
            }
        })
    })
}

/// Opens a regular file for reading; pipes and devices, which may never end, are not opened.
pub(crate) fn regular_file(path: &Path) -> Result<fs::File, IoError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => IoError::NotFound { path: path.to_owned() },
        _ => IoError::Read {
            path: path.to_owned(),
            source,
        },
    };
    let kind = fs::metadata(path).map_err(failed)?.file_type();
    let what = match () {
        () if kind.is_file() => return fs::File::open(path).map_err(failed),
        () if kind.is_dir() => "a folder",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(IoError::NotAFile {
        path: path.to_owned(),
        what,
    })
}

/// The dataset that `path` names in the open `file`.
pub(crate) fn dataset_of(file: &File, path: &InputPath) -> Result<Dataset, IoError> {
    let name = path.dataset.as_deref().unwrap_or("/");
    file.dataset(name).map_err(|error| {
        // The class of external links was taken away.
        if says(error, "UD link class") {
            IoError::ForeignStorage { path: path.to_string() }
        } else {
            IoError::NoDataset {
                path: path.file.clone(),
                dataset: name.to_owned(),
                numeric: numeric_datasets(file),
            }
        }
    })
}

/// Whether the reasons that HDF5 gives have these words in them.
fn says(error: hdf5::Error, words: &str) -> bool {
    let hdf5::Error::HDF5(stack) = error else { return false };
    stack
        .expand()
        .is_ok_and(|stack| stack.iter().any(|frame| frame.desc().contains(words)))
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

/// External links, external storage and virtual datasets would let a data file copy other files into the output: so they
/// are refused where the user has not allowed them.
pub(crate) fn refuse_foreign_storage(path: &InputPath, file: &File, dataset: &Dataset) -> Result<(), IoError> {
    if access::external_is_allowed() {
        return Ok(());
    }
    refuse_foreign_storage_always(path, file, dataset)
}

/// The same for files that this program wrote, which have none.
pub(crate) fn refuse_foreign_storage_always(path: &InputPath, file: &File, dataset: &Dataset) -> Result<(), IoError> {
    let damaged = |source| IoError::NotHdf5 {
        path: path.file.clone(),
        source,
    };
    let storage = dataset.dcpl().map_err(damaged)?;
    let foreign = dataset.filename() != file.filename()
        || matches!(dataset.layout(), Layout::Virtual)
        || !storage.external().is_empty();
    if foreign {
        Err(IoError::ForeignStorage { path: path.to_string() })
    } else {
        Ok(())
    }
}

/// The type of the values; fails where they are no numbers.
fn number_type(path: &InputPath, dataset: &Dataset) -> Result<TypeDescriptor, IoError> {
    descriptor_of(dataset).map_err(|found| IoError::NotNumeric {
        path: path.to_string(),
        found,
    })
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
