//! A dataset with one value per sample that is passed through to the output, such as labels or names.

use std::ops::Range;

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{Dataset, File, SliceOrIndex};
use ndarray::Array1;

use crate::chunks::Rows;
use crate::input::{dataset_of, refuse_foreign_storage};
use crate::native::descriptor_of;
use crate::output::Output;
use crate::{Attributes, InputPath, IoError};

/// Longest text of fixed length that is read.
const TEXT: usize = 256;
/// Texts looked at together when a file is opened.
const PIECE: usize = 1 << 14;

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

impl Kind {
    /// The texts of `rows`; fails where one is no UTF-8, which the wrapper takes for granted.
    fn read(self, dataset: &Dataset, rows: Range<usize>) -> hdf5::Result<Vec<String>> {
        fn checked(bytes: &[u8]) -> hdf5::Result<String> {
            let text = std::str::from_utf8(bytes);
            text.map(str::to_owned)
                .map_err(|_| format!("the text {:?} is no UTF-8", String::from_utf8_lossy(bytes)).into())
        }
        macro_rules! read {
            ($kind:ty) => {{
                let values: Array1<$kind> = dataset.read_slice_1d(SliceOrIndex::from(rows))?;
                values.iter().map(|text| checked(text.as_bytes())).collect()
            }};
        }
        match self {
            Kind::Ascii => read!(FixedAscii<TEXT>),
            Kind::Unicode => read!(FixedUnicode<TEXT>),
            Kind::VarLenAscii => read!(VarLenAscii),
            Kind::VarLenUnicode => read!(VarLenUnicode),
            Kind::Signed | Kind::Unsigned | Kind::Float => Err("these are numbers".into()),
        }
    }

    fn look(self, dataset: &Dataset, rows: Range<usize>) -> hdf5::Result<()> {
        self.read(dataset, rows).map(drop)
    }
}

impl Coordinate {
    /// The dataset `name` of `file`, an absolute path or one from the group of the data; it must have `samples` values, of which
    /// texts are all read once: HDF5 takes the length of each from the file and gets memory for it, and here it is bounded.
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
        let place = InputPath {
            file: input.file.clone(),
            dataset: Some(path.clone()),
        };
        let dataset = dataset_of(file, &place).map_err(|error| match error {
            IoError::NoDataset { .. } => bad("there is no such dataset".into()),
            other => other,
        })?;
        refuse_foreign_storage(&place, file, &dataset)?;
        if dataset.shape() != [samples] {
            return Err(bad(format!("it has shape {:?}, not [{samples}]", dataset.shape())));
        }
        let kind = match descriptor_of(&dataset) {
            Ok(TypeDescriptor::Integer(_)) => Kind::Signed,
            Ok(TypeDescriptor::Unsigned(_)) => Kind::Unsigned,
            Ok(TypeDescriptor::Float(_)) => Kind::Float,
            Ok(TypeDescriptor::FixedAscii(len)) if len <= TEXT => Kind::Ascii,
            Ok(TypeDescriptor::FixedUnicode(len)) if len <= TEXT => Kind::Unicode,
            Ok(TypeDescriptor::VarLenAscii) => Kind::VarLenAscii,
            Ok(TypeDescriptor::VarLenUnicode) => Kind::VarLenUnicode,
            Ok(other) => return Err(bad(format!("its values are {other}"))),
            Err(what) => return Err(bad(format!("its values are {what}"))),
        };
        let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
        let mut rows = Rows::new(file, &place, dataset)?;
        let texts = !matches!(kind, Kind::Signed | Kind::Unsigned | Kind::Float);
        let pieces = (0..samples)
            .step_by(PIECE)
            .map(|start| start..samples.min(start + PIECE));
        for piece in pieces {
            rows.read_texts(
                piece.clone(),
                |dataset| if texts { kind.look(dataset, piece) } else { Ok(()) },
            )?;
        }
        let dataset = rows.dataset;
        Ok(Coordinate { name, dataset, kind })
    }

    /// Name in the output: the last part of its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Path in the input.
    pub fn path(&self) -> String {
        self.dataset.name()
    }

    /// The values of rows as texts, to be compared.
    pub fn texts(&self, rows: Range<usize>) -> Result<Vec<String>, IoError> {
        macro_rules! read {
            ($kind:ty) => {{
                let values: hdf5::Result<Array1<$kind>> = self.dataset.read_slice_1d(SliceOrIndex::from(rows));
                values.map(|values| values.iter().map(|value| value.to_string()).collect())
            }};
        }
        let texts = match self.kind {
            Kind::Signed => read!(i64),
            Kind::Unsigned => read!(u64),
            Kind::Float => read!(f64),
            text => text.read(&self.dataset, rows),
        };
        texts.map_err(|source| self.unreadable(source))
    }

    fn unreadable(&self, source: hdf5::Error) -> IoError {
        IoError::NotHdf5 {
            path: self.dataset.filename().into(),
            source,
        }
    }

    /// Upper bound of the bytes of a value in the output.
    pub(crate) fn value_bytes(&self) -> usize {
        match self.kind {
            Kind::Signed | Kind::Unsigned | Kind::Float => 8,
            // 16 in place and the text, with its entry, in a heap; texts beyond this are reserved for when they come.
            _ => 64,
        }
    }

    /// Creates the dataset that will hold it, a value per sample, with its attributes.
    pub(crate) fn lay_out(&self, rows: &crate::encoded::Rows<'_>) -> hdf5::Result<()> {
        let builder = rows.file.new_dataset_builder();
        let builder = match self.kind {
            Kind::Signed | Kind::Unsigned | Kind::Float => builder.empty_as(descriptor_of(&self.dataset)?),
            _ => builder.empty::<VarLenUnicode>(),
        };
        let builder = builder.with_dcpl(|creation| rows.map_samples(creation, &self.name));
        // Of rows that lie in a part that is lost, numbers show it; texts are empty.
        let builder = match self.kind {
            _ if !rows.are_elsewhere() => builder,
            Kind::Float => builder.fill_value(f64::NAN),
            Kind::Signed => builder.fill_value(i64::MIN),
            Kind::Unsigned => builder.fill_value(u64::MAX),
            _ => builder,
        };
        let made = builder.shape(vec![rows.samples()]).create(self.name.as_str())?;
        Attributes::of(&self.dataset).write(&made)
    }

    /// Copies the values of the input's `rows` to the output from row `start` on.
    pub(crate) fn copy(&self, output: &mut Output, rows: Range<usize>, start: usize) -> Result<(), IoError> {
        let slab = || SliceOrIndex::from(rows.clone());
        macro_rules! read {
            ($kind:ty) => {{
                let values: hdf5::Result<Array1<$kind>> = self.dataset.read_slice_1d(slab());
                values
                    .map_err(|source| self.unreadable(source))?
                    .into_raw_vec_and_offset()
                    .0
            }};
        }
        match self.kind {
            Kind::Signed => output.put(&self.name, start, &[], read!(i64)),
            Kind::Unsigned => output.put(&self.name, start, &[], read!(u64)),
            Kind::Float => output.put(&self.name, start, &[], read!(f64)),
            text => {
                let texts = text.read(&self.dataset, rows.clone());
                self.put_texts(output, start, texts.map_err(|source| self.unreadable(source))?)
            }
        }
    }

    fn put_texts(&self, output: &mut Output, start: usize, texts: Vec<String>) -> Result<(), IoError> {
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
