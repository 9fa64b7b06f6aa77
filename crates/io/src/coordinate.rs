//! A dataset with one value per sample that is passed through to the output, such as labels or names.

use std::ops::Range;

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{Dataset, File, SliceOrIndex};
use ndarray::Array1;

use crate::output::Output;
use crate::{Attributes, InputPath, IoError};

/// Longest text of fixed length that is read.
const TEXT: usize = 256;

/// One value per sample, in an open input.
#[derive(Clone, Debug)]
pub struct Coordinate {
    name: String,
    dataset: Dataset,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Signed,
    Unsigned,
    Float,
    Ascii,
    Unicode,
    VarLenAscii,
    VarLenUnicode,
}

impl Coordinate {
    /// The dataset `name` of `file`, an absolute path or one from the group of the data; it must have `samples` values.
    pub(crate) fn open(
        file: &File,
        (input, samples): (&InputPath, usize),
        name: &str,
        candidates: Vec<String>,
    ) -> Result<Coordinate, IoError> {
        let beside = input
            .dataset
            .as_deref()
            .and_then(|data| data.rfind('/').map(|slash| &data[..=slash]));
        let path = match beside {
            Some(group) if !name.starts_with('/') => format!("{group}{name}"),
            _ => name.to_owned(),
        };
        let bad = |what: String| IoError::BadCoordinate {
            path: format!("{}:{path}", input.file.display()),
            what,
            candidates: candidates.clone(),
        };
        let dataset = file
            .dataset(&path)
            .map_err(|_| bad("there is no such dataset".into()))?;
        if dataset.filename() != file.filename() {
            return Err(bad("it lies in another file".into()));
        }
        if dataset.shape() != [samples] {
            return Err(bad(format!("it has shape {:?}, not [{samples}]", dataset.shape())));
        }
        let found = dataset.dtype().and_then(|dtype| dtype.to_descriptor());
        let kind = match found {
            Ok(TypeDescriptor::Integer(_)) => Kind::Signed,
            Ok(TypeDescriptor::Unsigned(_)) => Kind::Unsigned,
            Ok(TypeDescriptor::Float(_)) => Kind::Float,
            Ok(TypeDescriptor::FixedAscii(len)) if len <= TEXT => Kind::Ascii,
            Ok(TypeDescriptor::FixedUnicode(len)) if len <= TEXT => Kind::Unicode,
            Ok(TypeDescriptor::VarLenAscii) => Kind::VarLenAscii,
            Ok(TypeDescriptor::VarLenUnicode) => Kind::VarLenUnicode,
            Ok(other) => return Err(bad(format!("its values are {other}"))),
            Err(error) => return Err(bad(format!("its type cannot be read: {error}"))),
        };
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        Ok(Coordinate { name, dataset, kind })
    }

    /// Name in the output: the last part of its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The values of rows as texts, to be compared.
    pub fn texts(&self, rows: Range<usize>) -> Result<Vec<String>, IoError> {
        let slab = || SliceOrIndex::from(rows.clone());
        macro_rules! read {
            ($kind:ty) => {{
                let values: hdf5::Result<Array1<$kind>> = self.dataset.read_slice_1d(slab());
                values.map(|values| values.iter().map(|value| value.to_string()).collect())
            }};
        }
        let texts = match self.kind {
            Kind::Signed => read!(i64),
            Kind::Unsigned => read!(u64),
            Kind::Float => read!(f64),
            Kind::Ascii => read!(FixedAscii<TEXT>),
            Kind::Unicode => read!(FixedUnicode<TEXT>),
            Kind::VarLenAscii => read!(VarLenAscii),
            Kind::VarLenUnicode => read!(VarLenUnicode),
        };
        texts.map_err(|source| IoError::Hdf5 {
            path: self.dataset.filename().into(),
            source,
        })
    }

    /// Upper bound of the bytes of a value in the output.
    pub(crate) fn value_bytes(&self) -> usize {
        match self.kind {
            Kind::Signed | Kind::Unsigned | Kind::Float => 8,
            // 16 in place and the text, with its entry, in a heap; texts beyond this are reserved for when they come.
            _ => 64,
        }
    }

    /// Creates the dataset of `samples` values that will hold it, with its attributes.
    pub(crate) fn lay_out(&self, file: &File, samples: usize) -> hdf5::Result<()> {
        let builder = file.new_dataset_builder();
        let builder = match self.kind {
            Kind::Signed | Kind::Unsigned | Kind::Float => builder.empty_as(self.dataset.dtype()?.to_descriptor()?),
            _ => builder.empty::<VarLenUnicode>(),
        };
        let made = builder
            .with_dcpl(|creation| creation.obj_track_times(false))
            .shape(vec![samples])
            .create(self.name.as_str())?;
        Attributes::of(&self.dataset).write(&made)
    }

    /// Copies the values of the input's `rows` to the output from row `start` on.
    pub(crate) fn copy(&self, output: &mut Output, rows: Range<usize>, start: usize) -> Result<(), IoError> {
        let slab = || SliceOrIndex::from(rows.clone());
        macro_rules! read {
            ($kind:ty) => {{
                let values: hdf5::Result<Array1<$kind>> = self.dataset.read_slice_1d(slab());
                output.with(|_| values)?.into_iter()
            }};
        }
        match self.kind {
            Kind::Signed => output.put(&self.name, start, &[], read!(i64).collect()),
            Kind::Unsigned => output.put(&self.name, start, &[], read!(u64).collect()),
            Kind::Float => output.put(&self.name, start, &[], read!(f64).collect()),
            Kind::Ascii => self.put_texts(output, start, read!(FixedAscii<TEXT>).map(|text| text.to_string())),
            Kind::Unicode => self.put_texts(output, start, read!(FixedUnicode<TEXT>).map(|text| text.to_string())),
            Kind::VarLenAscii => self.put_texts(output, start, read!(VarLenAscii).map(|text| text.to_string())),
            Kind::VarLenUnicode => self.put_texts(output, start, read!(VarLenUnicode).map(|text| text.to_string())),
        }
    }

    fn put_texts(&self, output: &mut Output, start: usize, texts: impl Iterator<Item = String>) -> Result<(), IoError> {
        let texts: Vec<String> = texts.collect();
        let bytes: usize = texts.iter().map(String::len).sum();
        output.reserve(bytes as u64 + (1 << 16))?;
        let values: hdf5::Result<Vec<VarLenUnicode>> = texts
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|_| format!("the text {text:?} has a null in it").into())
            })
            .collect();
        let values = output.with(|_| values)?;
        output.put(&self.name, start, &[], values)
    }
}

/// Names under which nothing can be passed through: the output has datasets or groups of its own there.
pub(crate) fn clashes(coordinate: &Coordinate, taken: impl Fn(&str) -> bool) -> Option<IoError> {
    taken(&coordinate.name).then(|| IoError::BadCoordinate {
        path: coordinate.name.clone(),
        what: "the output has a dataset of that name itself".into(),
        candidates: Vec::new(),
    })
}
