//! Forward over reverse: the derivative of the backward pass along a direction in z.
//!
//! a_dot_i = W_i h_dot_(i-1) and h_dot_i = s_i * a_dot_i go up; with u = W_(i+1)^T delta_(i+1) going down,
//! delta_i = s_i * u and delta_dot_i = s'_i * a_dot_i * u + s_i * u_dot, where s' is the activation's second derivative.

use super::layer::{add_product, product, scale};
use super::train::add_lanes;
use super::{BLOCK, Dense};
use crate::columns::{batch, batch_mut, blocks, column, column_mut, cut, lanes_of};
use crate::{Cols, ColsMut, DecodeError, SecondOrder, Seeds, Taped};
use faer::prelude::IntoConst;

/// a_dot of every hidden layer, one h_dot, and delta and delta_dot of two neighboring layers.
pub(super) fn scratch_per_column(dense: &Dense) -> usize {
    dense.hidden + 5 * dense.widest
}

/// Where the parts of `scratch` begin, for so many columns.
struct Parts<'a> {
    /// Of all hidden layers, one after the other, each `[outputs, lanes]`.
    a_dot: &'a mut [f64],
    h_dot: &'a mut [f64],
    /// delta and delta_dot of the layer above, then of the one below.
    pairs: [&'a mut [f64]; 4],
}

impl<'a> Parts<'a> {
    fn new(dense: &Dense, lanes: usize, scratch: &'a mut [f64]) -> Self {
        let (a_dot, rest) = scratch.split_at_mut(dense.hidden * lanes);
        let widest = dense.widest * lanes;
        let (h_dot, rest) = rest.split_at_mut(widest);
        let (first, rest) = rest.split_at_mut(widest);
        let (second, rest) = rest.split_at_mut(widest);
        let (third, rest) = rest.split_at_mut(widest);
        Parts {
            a_dot,
            h_dot,
            pairs: [first, second, third, &mut rest[..widest]],
        }
    }
}

impl Dense {
    /// a_dot of hidden layer `index` within the part of that name; its tape tells how many values lie before.
    fn a_dot<'a>(&self, index: usize, all: &'a [f64], lanes: usize) -> Cols<'a> {
        let layer = self.layers[index];
        batch(&all[layer.tape / 3 * lanes..], layer.outputs, lanes)
    }

    /// h_dot below layer `index`: z_dot, or s * a_dot of the layer below, written to `memory`.
    fn input_dot<'a>(
        &self,
        index: usize,
        taped: Taped<'_>,
        z_dot: Cols<'a>,
        a_dots: &[f64],
        memory: &'a mut [f64],
    ) -> Cols<'a> {
        if index == 0 {
            return z_dot;
        }
        let below = self.layers[index - 1];
        let mut h_dot = batch_mut(memory, below.outputs, z_dot.ncols());
        h_dot.copy_from(self.a_dot(index - 1, a_dots, z_dot.ncols()));
        scale(h_dot.as_mut(), below.slope(taped.tape), |lane| lane);
        h_dot.into_const()
    }

    /// The product for one block of lanes.
    fn hvp_block(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        mut z_bar_dot: ColsMut<'_>,
        mut params_bar_dot: Option<&mut [f64]>,
        scratch: &mut [f64],
    ) {
        let lanes = seeds.z_dot.ncols();
        let Parts {
            a_dot,
            h_dot,
            pairs: [mut delta, mut delta_dot, mut next, mut next_dot],
        } = Parts::new(self, lanes, scratch);
        let last = self.layers.len() - 1;
        let copies = self.store.copies(taped.at);
        let weights = copies.double(taped.at.params, &self.layers);
        for (index, &layer) in self.layers[..last].iter().enumerate() {
            let (below, own) = a_dot.split_at_mut(layer.tape / 3 * lanes);
            let input = self.input_dot(index, taped, seeds.z_dot, below, h_dot);
            product(batch_mut(own, layer.outputs, lanes), weights.weight(layer), input);
        }
        for index in (0..=last).rev() {
            let layer = self.layers[index];
            let (d, d_dot) = if index == last {
                (seeds.x_bar, seeds.x_bar_dot)
            } else {
                (
                    batch(delta, layer.outputs, lanes),
                    batch(delta_dot, layer.outputs, lanes),
                )
            };
            if let Some(params) = params_bar_dot.as_deref_mut() {
                let (mut weight, bias) = layer.tensors_mut(params);
                add_product(weight.as_mut(), d_dot, self.input(index, taped).transpose());
                add_product(
                    weight,
                    d,
                    self.input_dot(index, taped, seeds.z_dot, a_dot, h_dot).transpose(),
                );
                add_lanes(bias, d_dot);
            }
            let transposed = layer.transposed(taped.at.params);
            if index == 0 {
                product(z_bar_dot.as_mut(), transposed, d_dot);
            } else {
                let (mut u, mut u_dot) = (
                    batch_mut(next, layer.inputs, lanes),
                    batch_mut(next_dot, layer.inputs, lanes),
                );
                product(u.as_mut(), transposed, d);
                product(u_dot.as_mut(), transposed, d_dot);
                self.through_activation(index - 1, taped.tape, self.a_dot(index - 1, a_dot, lanes), u, u_dot);
            }
            std::mem::swap(&mut delta, &mut next);
            std::mem::swap(&mut delta_dot, &mut next_dot);
        }
    }

    /// (u, u_dot) <- (s u, s' a_dot u + s u_dot) at hidden layer `index`.
    fn through_activation(
        &self,
        index: usize,
        tape: Cols<'_>,
        a_dot: Cols<'_>,
        mut u: ColsMut<'_>,
        mut u_dot: ColsMut<'_>,
    ) {
        let layer = self.layers[index];
        for lane in 0..u.ncols() {
            let (a, s) = (
                column(layer.pre_activation(tape), lane),
                column(layer.slope(tape), lane),
            );
            let (a_dot, u, u_dot) = (
                column(a_dot, lane),
                column_mut(&mut u, lane),
                column_mut(&mut u_dot, lane),
            );
            for i in 0..u.len() {
                u_dot[i] = self.config.activation.second(a[i]) * a_dot[i] * u[i] + s[i] * u_dot[i];
                u[i] *= s[i];
            }
        }
    }
}

impl SecondOrder for Dense {
    fn hvp(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        mut z_bar_dot: ColsMut<'_>,
        mut params_bar_dot: Option<&mut [f64]>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        for block in blocks(seeds.z_dot.ncols(), BLOCK) {
            let seeds = Seeds {
                z_dot: cut(seeds.z_dot, &block),
                x_bar: cut(seeds.x_bar, &block),
                x_bar_dot: cut(seeds.x_bar_dot, &block),
            };
            let z_bar_dot = z_bar_dot.as_mut().subcols_mut(block.start, block.len());
            self.hvp_block(
                lanes_of(taped, &block),
                seeds,
                z_bar_dot,
                params_bar_dot.as_deref_mut(),
                scratch,
            );
        }
        Ok(())
    }
}
