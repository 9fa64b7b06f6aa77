//! Datasets with a row per sample or per state on the way: with room for their values, or virtual ones over the values of other files.

use std::ops::Range;

use hdf5::plist::DatasetCreateBuilder;
use hdf5::types::OwnedDynValue;
use hdf5::{Dataset, File, H5Type, Hyperslab, SliceOrIndex};
use ndarray::Array1;

use super::layout::empty;
use crate::output::GROWING_CHUNK;

/// Bytes of a chunk of reconstructions before compression.
const CHUNK_BYTES: usize = 512 << 10;

/// A file of this layout that holds some rows of the output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Source {
    /// Its path from the folder of the output.
    pub(crate) file: String,
    /// Its samples, and those of them that are rows of the output.
    pub(crate) samples: Taken,
    /// Its states on the way, and those of them that belong to these rows.
    pub(crate) states: Taken,
}

/// Rows taken of so many.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Taken {
    pub(crate) rows: Range<usize>,
    pub(crate) of: usize,
}

/// A type of values, with what stands for one that is not there: so a lost source shows.
pub(crate) trait Absent: H5Type {
    fn absent() -> OwnedDynValue;
}

macro_rules! absent {
    ($($kind:ty: $value:expr),*) => {
        $(impl Absent for $kind {
            fn absent() -> OwnedDynValue {
                $value.into()
            }
        })*
    };
}

absent!(f64: f64::NAN, f32: f32::NAN, i64: -1_i64, u32: u32::MAX, i8: i8::MIN, u8: 0_u8);

/// What a row of a dataset belongs to.
#[derive(Clone, Copy)]
enum Along {
    Samples,
    States,
}

impl Along {
    fn of(self, source: &Source) -> &Taken {
        match self {
            Along::Samples => &source.samples,
            Along::States => &source.states,
        }
    }
}

/// Creates the datasets of a file of so many samples.
pub(crate) struct Rows<'a> {
    pub(crate) file: &'a File,
    samples: usize,
    sources: &'a [Source],
}

impl<'a> Rows<'a> {
    /// With `sources`, the samples are theirs, in order.
    pub(crate) fn new(file: &'a File, samples: usize, sources: &'a [Source]) -> Self {
        Rows { file, samples, sources }
    }

    /// A dataset of a value, or of values of the shape `tail`, per sample.
    pub(crate) fn empty<T: Absent>(&self, name: &str, tail: &[usize]) -> hdf5::Result<Dataset> {
        let shape = shape(self.samples, tail);
        if self.sources.is_empty() {
            return empty::<T>(self.file, name, &shape);
        }
        self.mapped::<T>(name, &shape, Along::Samples)
    }

    /// The same, compressed.
    pub(crate) fn compressed<T: Absent>(&self, name: &str, tail: &[usize]) -> hdf5::Result<Dataset> {
        if self.samples == 0 || !self.sources.is_empty() {
            return self.empty::<T>(name, tail);
        }
        let mut chunk = shape(self.samples, tail);
        let bytes = size_of::<T>() * tail.iter().product::<usize>().max(1);
        chunk[0] = (CHUNK_BYTES / bytes).clamp(1, self.samples);
        let builder = self.file.new_dataset::<T>();
        let builder = builder.with_dcpl(|creation| creation.obj_track_times(false));
        let builder = builder.chunk(chunk).shuffle().deflate(1).fletcher32();
        builder.shape(shape(self.samples, tail)).create(name)
    }

    /// A dataset that grows, of a value or of values of the shape `tail` per state on the way.
    pub(crate) fn states(&self, name: &str, tail: &[usize]) -> hdf5::Result<Dataset> {
        if !self.sources.is_empty() {
            return self.mapped::<f64>(name, &shape(self.count_states(), tail), Along::States);
        }
        let values: usize = tail.iter().product();
        let (chunk, lens) = (shape(GROWING_CHUNK.div_ceil(values.max(1)), tail), shape(0, tail));
        let extents = lens.iter().enumerate().map(|(axis, &len)| hdf5::Extent {
            dim: len,
            max: (axis > 0).then_some(len),
        });
        let builder = self.file.new_dataset::<f64>();
        let builder = builder.with_dcpl(|creation| creation.obj_track_times(false));
        builder.chunk(chunk).shape(extents.collect::<Vec<_>>()).create(name)
    }

    /// The numbers of the states, which grow like them.
    pub(crate) fn numbers(&self, name: &str) -> hdf5::Result<Dataset> {
        if self.sources.is_empty() {
            return self.states(name, &[]);
        }
        let count = self.count_states();
        let builder = self.file.new_dataset::<f64>();
        let builder = builder.with_dcpl(|creation| creation.obj_track_times(false));
        let builder = if count == 0 {
            builder
        } else {
            builder.chunk(GROWING_CHUNK.min(count)).shuffle().deflate(1)
        };
        let dataset = builder.shape(count).create(name)?;
        for first in (0..count).step_by(GROWING_CHUNK) {
            let rows = first..count.min(first + GROWING_CHUNK);
            let numbers: Array1<f64> = rows.clone().map(|i| i as f64).collect();
            dataset.write_slice(&numbers, rows)?;
        }
        Ok(dataset)
    }

    fn count_states(&self) -> usize {
        self.sources.iter().map(|source| source.states.rows.len()).sum()
    }

    fn mapped<T: Absent>(&self, name: &str, shape: &[usize], along: Along) -> hdf5::Result<Dataset> {
        let builder = self.file.new_dataset::<T>();
        let builder = builder.with_dcpl(|creation| self.map(creation, name, shape, along));
        builder.fill_value(T::absent()).shape(shape.to_vec()).create(name)
    }

    /// Makes a dataset with a row per sample one over the sources, where there are any.
    pub(crate) fn map_samples<'c>(
        &self,
        creation: &'c mut DatasetCreateBuilder,
        name: &str,
    ) -> &'c mut DatasetCreateBuilder {
        if self.sources.is_empty() {
            return creation.obj_track_times(false);
        }
        self.map(creation, name, &[self.samples], Along::Samples)
    }

    /// Whether the values lie in other files.
    pub(crate) fn are_elsewhere(&self) -> bool {
        !self.sources.is_empty()
    }

    /// How many samples there are.
    pub(crate) fn samples(&self) -> usize {
        self.samples
    }

    fn map<'c>(
        &self,
        creation: &'c mut DatasetCreateBuilder,
        name: &str,
        to: &[usize],
        along: Along,
    ) -> &'c mut DatasetCreateBuilder {
        let slab = |rows: Range<usize>| -> Hyperslab {
            let first = std::iter::once(SliceOrIndex::from(rows));
            let others = to[1..].iter().map(|len| SliceOrIndex::from(0..*len));
            Hyperslab::from(first.chain(others).collect::<Vec<_>>())
        };
        let mut first = 0;
        for source in self.sources {
            let Taken { rows, of } = along.of(source);
            if rows.is_empty() {
                continue;
            }
            let from = shape(*of, &to[1..]);
            let place = first..first + rows.len();
            creation.virtual_map(&source.file, name, from, slab(rows.clone()), to.to_vec(), slab(place));
            first += rows.len();
        }
        creation.obj_track_times(false)
    }
}

fn shape(rows: usize, tail: &[usize]) -> Vec<usize> {
    std::iter::once(rows).chain(tail.iter().copied()).collect()
}
