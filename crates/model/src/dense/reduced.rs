//! The decoder in single precision.
//!
//! The tape holds s of every hidden layer, in the rows where the one of double precision has it; its other rows are not
//! used. Weights so large or so small that single precision might be left are taken in double precision.

use super::layer::product;
use super::packed::Single;
use super::{BLOCK, Dense};
use crate::columns::{blocks, column, column_mut};
use crate::{At, Cols, ColsMut, DecodeError, Decoder, Reduced, Tangent, Taped};
use faer::{MatMut, MatRef};
use std::ops::Range;

/// A batch in memory.
fn batch(memory: &[f32], rows: usize, columns: usize) -> MatRef<'_, f32> {
    MatRef::from_column_major_slice(&memory[..rows * columns], rows, columns)
}

/// A batch in memory, to write.
fn batch_mut(memory: &mut [f32], rows: usize, columns: usize) -> MatMut<'_, f32> {
    MatMut::from_column_major_slice_mut(&mut memory[..rows * columns], rows, columns)
}

/// Copies columns to the front of `to`.
fn narrow(to: &mut [f32], from: Cols<'_>, columns: &Range<usize>) {
    for (to, c) in to.chunks_mut(from.nrows()).zip(columns.clone()) {
        to.iter_mut()
            .zip(column(from, c))
            .for_each(|(to, from)| *to = *from as f32);
    }
}

/// Copies the front of `from` to columns.
fn widen(mut to: ColsMut<'_>, from: &[f32], columns: &Range<usize>) {
    let rows = to.nrows();
    for (from, c) in from.chunks(rows).zip(columns.clone()) {
        let to = column_mut(&mut to, c);
        to.iter_mut().zip(from).for_each(|(to, from)| *to = f64::from(*from));
    }
}

/// Multiplies the columns at the front of `by` by the columns `lane(c)` of `slope`.
fn scale(by: &mut [f32], slope: Cols<'_>, columns: &Range<usize>, lane: impl Fn(usize) -> usize) {
    for (by, c) in by.chunks_mut(slope.nrows()).zip(columns.clone()) {
        by.iter_mut()
            .zip(column(slope, lane(c)))
            .for_each(|(a, s)| *a *= *s as f32);
    }
}

impl Dense {
    /// Scratch memory of double precision.
    fn scratch(&self, columns: usize) -> Vec<f64> {
        vec![0.0; self.scratch_len(columns)]
    }

    /// Calls `with(weights, columns, below, here)` for every block of columns, where the memory holds any of its values in
    /// every column; false where single precision has too small a range for the weights.
    fn in_single(
        &self,
        at: At<'_>,
        columns: usize,
        mut with: impl FnMut(&Single, Range<usize>, [&mut [f32]; 2]),
    ) -> bool {
        let copies = self.store.copies(at);
        let Some(weights) = copies.single(at.params, &self.layers) else {
            return false;
        };
        let shape = self.shape();
        let rows = self.widest.max(shape.latent).max(shape.data);
        for block in blocks(columns, BLOCK) {
            let len = rows * block.len();
            self.store.with_scratch(2 * len, |memory| {
                let (below, here) = memory.split_at_mut(len);
                with(weights, block, [below, here]);
            });
        }
        true
    }
}

impl Reduced for Dense {
    fn forward(&self, at: At<'_>, mut x: ColsMut<'_>, mut tape: ColsMut<'_>) -> Result<(), DecodeError> {
        let last = self.layers.len() - 1;
        let done = self.in_single(at, at.z.ncols(), |weights, block, [mut below, mut here]| {
            narrow(below, at.z, &block);
            for (index, &layer) in self.layers.iter().enumerate() {
                let (rows, columns) = (layer.outputs, block.len());
                let h = batch(below, layer.inputs, columns);
                product(batch_mut(here, rows, columns), weights.weight(layer), h);
                let bias = layer.bias(at.params);
                for (a, c) in here.chunks_mut(rows).zip(block.clone()) {
                    if index < last {
                        let s = &mut column_mut(&mut tape, c)[layer.tape + 2 * rows..][..rows];
                        self.config.activation.apply_single(a, bias, s);
                    } else {
                        let x = column_mut(&mut x, c);
                        for ((x, a), bias) in x.iter_mut().zip(a).zip(bias) {
                            *x = f64::from(*a) + bias;
                        }
                    }
                }
                std::mem::swap(&mut below, &mut here);
            }
        });
        if done {
            Ok(())
        } else {
            Decoder::forward(self, at, x, tape, &mut self.scratch(at.z.ncols()))
        }
    }

    fn vjp(&self, taped: Taped<'_>, x_bar: Cols<'_>, mut z_bar: ColsMut<'_>) -> Result<(), DecodeError> {
        let done = self.in_single(taped.at, x_bar.ncols(), |weights, block, [mut here, mut below]| {
            let columns = block.len();
            narrow(here, x_bar, &block);
            for (index, &layer) in self.layers.iter().enumerate().rev() {
                let delta = batch(here, layer.outputs, columns);
                product(
                    batch_mut(below, layer.inputs, columns),
                    weights.transposed(layer),
                    delta,
                );
                if index > 0 {
                    scale(below, self.layers[index - 1].slope(taped.tape), &block, |c| c);
                }
                std::mem::swap(&mut here, &mut below);
            }
            widen(z_bar.as_mut(), here, &block);
        });
        if done {
            Ok(())
        } else {
            Decoder::vjp(self, taped, x_bar, z_bar, &mut self.scratch(x_bar.ncols()))
        }
    }

    fn jvp(&self, taped: Taped<'_>, z_dot: Cols<'_>, mut x_dot: ColsMut<'_>) -> Result<(), DecodeError> {
        let directions = z_dot.ncols() / taped.tape.ncols().max(1);
        let last = self.layers.len() - 1;
        let done = self.in_single(taped.at, z_dot.ncols(), |weights, block, [mut below, mut here]| {
            let columns = block.len();
            narrow(below, z_dot, &block);
            for (index, &layer) in self.layers.iter().enumerate() {
                let h_dot = batch(below, layer.inputs, columns);
                product(batch_mut(here, layer.outputs, columns), weights.weight(layer), h_dot);
                if index < last {
                    scale(here, layer.slope(taped.tape), &block, |c| c / directions);
                }
                std::mem::swap(&mut below, &mut here);
            }
            widen(x_dot.as_mut(), below, &block);
        });
        if done {
            Ok(())
        } else {
            Tangent::jvp(self, taped, z_dot, x_dot, &mut self.scratch(z_dot.ncols()))
        }
    }
}
