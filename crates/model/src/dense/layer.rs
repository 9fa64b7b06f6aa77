//! One linear layer: where its tensors lie in `params` and its rows in the tape.

use crate::columns::{self, column, column_mut};
use crate::{Cols, ColsMut};
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef};
use std::ops::{AddAssign, Mul};

/// a = W h + b, with W `[outputs, inputs]` and, in the tape of a hidden layer, the rows a, h = activation(a) and
/// s = activation'(a), `outputs` of each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layer {
    pub inputs: usize,
    pub outputs: usize,
    /// Where W starts in `params`; b follows it.
    pub weight: usize,
    /// The first of its rows in the tape.
    pub tape: usize,
}

impl Layer {
    /// W^T, `[inputs, outputs]`.
    pub fn transposed(self, params: &[f64]) -> Cols<'_> {
        let len = self.outputs * self.inputs;
        MatRef::from_column_major_slice(&params[self.weight..][..len], self.inputs, self.outputs)
    }

    /// b.
    pub fn bias(self, params: &[f64]) -> &[f64] {
        &params[self.weight + self.outputs * self.inputs..][..self.outputs]
    }

    /// W and b, to write.
    pub fn tensors_mut(self, params: &mut [f64]) -> (ColsMut<'_>, &mut [f64]) {
        let len = self.outputs * self.inputs;
        let (weight, bias) = params[self.weight..][..len + self.outputs].split_at_mut(len);
        (
            MatMut::from_row_major_slice_mut(weight, self.outputs, self.inputs),
            bias,
        )
    }

    /// a of every lane.
    pub fn pre_activation(self, tape: Cols<'_>) -> Cols<'_> {
        tape.subrows(self.tape, self.outputs)
    }

    /// h of every lane.
    pub fn activated(self, tape: Cols<'_>) -> Cols<'_> {
        tape.subrows(self.tape + self.outputs, self.outputs)
    }

    /// s of every lane.
    pub fn slope(self, tape: Cols<'_>) -> Cols<'_> {
        tape.subrows(self.tape + 2 * self.outputs, self.outputs)
    }
}

/// to = left right.
pub(super) fn product<T>(to: MatMut<'_, T>, left: MatRef<'_, T>, right: MatRef<'_, T>)
where
    T: ComplexField + Copy + AddAssign + Mul<Output = T>,
{
    columns::product(to, Accum::Replace, left, right);
}

/// to += left right.
pub(super) fn add_product(to: ColsMut<'_>, left: Cols<'_>, right: Cols<'_>) {
    columns::product(to, Accum::Add, left, right);
}

/// to = left right + bias in every column.
pub(super) fn affine(mut to: ColsMut<'_>, left: Cols<'_>, right: Cols<'_>, bias: &[f64]) {
    product(to.as_mut(), left, right);
    for lane in 0..to.ncols() {
        for (a, b) in column_mut(&mut to, lane).iter_mut().zip(bias) {
            *a += b;
        }
    }
}

/// to *= slope, elementwise; column c of `to` goes with column `lane(c)` of `slope`.
pub(super) fn scale(mut to: ColsMut<'_>, slope: Cols<'_>, lane: impl Fn(usize) -> usize) {
    for c in 0..to.ncols() {
        for (a, s) in column_mut(&mut to, c).iter_mut().zip(column(slope, lane(c))) {
            *a *= s;
        }
    }
}
