//! Data as a source of columns: what a file, a plugin or memory looks like to encoding and training.

use crate::{Cols, ColsMut};

/// One axis of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dim {
    /// The input's own name of the axis, else `feature_0`, `feature_1`, ...
    pub name: String,
    /// Its length.
    pub len: usize,
}

/// An axis of a sample with its coordinates, where there are any.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Name and length.
    pub dim: Dim,
    /// Coordinates, such as wavelengths; indices where there are none.
    pub values: Option<Vec<f64>>,
}

/// The type of stored values; they are always handed out as f64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Double precision, and every integer type but the next.
    F64,
    /// Single precision.
    F32,
    /// Unsigned bytes.
    U8,
}

/// Sizes of a data set: samples, and the axes of one sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataShape {
    /// Number of samples.
    pub samples: usize,
    /// Axes of one sample, slowest first; none for scalar samples.
    pub dims: Vec<Dim>,
}

impl DataShape {
    /// D, the number of values of one sample.
    pub fn values(&self) -> usize {
        self.dims.iter().map(|dim| dim.len).product()
    }
}

/// Data of a batch: `y` `[D, lanes]` and, where there are any, weights `w` `[D, lanes]`, all >= 0.
///
/// A weight of 0 masks a value; what `y` holds there is never read.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// Data.
    pub y: Cols<'a>,
    /// Weights; absent means 1 everywhere.
    pub w: Option<Cols<'a>>,
}

/// Where a source writes a batch; see [`Targets`].
pub struct TargetsMut<'a> {
    /// Data, `[D, lanes]`.
    pub y: ColsMut<'a>,
    /// Weights, `[D, lanes]`; a source without weights writes 1.
    pub w: Option<ColsMut<'a>>,
}

/// Why data could not be read. The message says what was asked, what came, and the way out.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DataError {
    /// The whole sentence.
    pub message: String,
}

/// A data set that hands out samples by index.
pub trait DatasetSource: Send {
    /// Sizes; constant for an instance.
    fn shape(&self) -> &DataShape;
    /// The axes of one sample, with coordinates where the source has them.
    fn axes(&self) -> Vec<Axis> {
        let dims = self.shape().dims.iter().cloned();
        dims.map(|dim| Axis { dim, values: None }).collect()
    }
    /// The type of the stored values.
    fn element(&self) -> Element {
        Element::F64
    }
    /// Whether the values have weights.
    fn weighted(&self) -> bool {
        false
    }
    /// Reads the samples `ids` into the columns of `to`, in that order. Consecutive ids are read together.
    fn read(&mut self, ids: &[usize], to: TargetsMut<'_>) -> Result<(), DataError>;
}
