//! What a decoder computes, step by step: affine maps, nonlinearities and sums, a file per kind of layer.

mod activation;
mod conv;
mod linear;
mod patches;
mod residual;
mod transpose;
mod upsample;

pub(crate) use activation::Activation;
pub(crate) use conv::Conv2d;
pub(crate) use linear::Linear;
pub(crate) use patches::{Geometry, Window};
pub(crate) use residual::add;
pub(crate) use transpose::ConvTranspose2d;
pub(crate) use upsample::Upsample;

use crate::columns::{column, column_mut};
use gfe_sdk::faer::Accum;
use gfe_sdk::{Cols, ColsMut};

/// Which part of an affine map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// With its bias: for values.
    Affine,
    /// Without: for tangents.
    Linear,
}

/// y = A h + b in every column: a layer that the derivatives pass unchanged.
///
/// `params` is the decoder's whole vector; `tile` holds [`Affine::tile_len`] values of any content.
pub(crate) trait Affine: Send + Sync {
    /// Writes `output` from `input`.
    fn apply(&self, params: &[f64], input: Cols<'_>, output: ColsMut<'_>, part: Part, tile: &mut [f64]);
    /// input_bar = A^T output_bar, or is added to.
    fn pull(&self, params: &[f64], output_bar: Cols<'_>, input_bar: ColsMut<'_>, accum: Accum, tile: &mut [f64]);
    /// Adds the gradient of <output_bar, A input + b> to `params_bar`, that of b for [`Part::Affine`] alone.
    fn add_params_bar(
        &self,
        input: Cols<'_>,
        output_bar: Cols<'_>,
        params_bar: &mut [f64],
        part: Part,
        tile: &mut [f64],
    );
    /// Where its weights lie; `None` without any.
    fn weights(&self) -> Option<Weights> {
        None
    }
    /// Scratch values that any of its products needs, whatever the number of columns.
    fn tile_len(&self) -> usize {
        0
    }
}

/// One step: value `index + 1` of the program from earlier ones.
pub(crate) enum Map {
    /// An affine map of a value.
    Affine(Box<dyn Affine>),
    /// A nonlinearity of a value, element by element.
    Activation(Activation),
    /// The sum with another value, which is named here.
    Add(usize),
}

/// Where a weight matrix, and the bias that follows it, lie in `params`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    /// Where they start.
    pub start: usize,
    /// Rows of the matrix, which is stored row by row.
    pub rows: usize,
    /// Its columns.
    pub columns: usize,
    /// Values of the bias; 0 without one.
    pub bias: usize,
}

impl Weights {
    /// Values of both.
    pub fn len(self) -> usize {
        self.rows * self.columns + self.bias
    }

    /// The matrix.
    pub fn matrix(self, params: &[f64]) -> Cols<'_> {
        let len = self.rows * self.columns;
        Cols::from_row_major_slice(&params[self.start..][..len], self.rows, self.columns)
    }

    /// The bias, where there is one and `part` has it.
    pub fn bias(self, params: &[f64], part: Part) -> Option<&[f64]> {
        let bias = &params[self.start + self.rows * self.columns..][..self.bias];
        (part == Part::Affine && self.bias > 0).then_some(bias)
    }

    /// Both, to write.
    pub fn split(self, params: &mut [f64]) -> (ColsMut<'_>, &mut [f64]) {
        let (matrix, bias) = params[self.start..][..self.len()].split_at_mut(self.rows * self.columns);
        (ColsMut::from_row_major_slice_mut(matrix, self.rows, self.columns), bias)
    }
}

/// Adds value c of `bias` to the c-th run of `plane` values, in every column.
pub(crate) fn add_bias(mut to: ColsMut<'_>, bias: &[f64], plane: usize) {
    for lane in 0..to.ncols() {
        let runs = column_mut(&mut to, lane).chunks_exact_mut(plane);
        runs.zip(bias).for_each(|(run, b)| run.iter_mut().for_each(|a| *a += b));
    }
}

/// The reverse: adds the sum of the c-th run of every column to value c of `bias_bar`.
pub(crate) fn add_bias_bar(bias_bar: &mut [f64], output_bar: Cols<'_>, plane: usize) {
    for lane in 0..output_bar.ncols() {
        let runs = column(output_bar, lane).chunks_exact(plane);
        runs.zip(&mut *bias_bar)
            .for_each(|(run, sum)| *sum += run.iter().sum::<f64>());
    }
}
