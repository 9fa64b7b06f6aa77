//! Forward over reverse: the derivative of the backward pass along a direction in z.
//!
//! Tangents a_dot go up first. Going down, a layer with matrix A takes (bar, bar_dot) to (A^T bar, A^T bar_dot), and an
//! activation takes them to (s bar, s bar_dot + s' a_dot bar), with its slope s and second derivative s' at a.

use super::Scratch;
use crate::Conv;
use crate::columns::{batch, batch_mut, blocks, cut, lanes_of};
use crate::layer::{Map, Part};
use crate::memory::{Memory, Place};
use gfe_sdk::faer::prelude::IntoConst;
use gfe_sdk::{Cols, ColsMut, DecodeError, SecondOrder, Seeds, Taped};

/// Where the parts of a block's scratch begin.
struct Parts<'a> {
    /// Tangents, laid out as the tape.
    tape_dot: &'a mut [f64],
    /// Slots of cotangents, then of their tangents.
    slots: &'a mut [f64],
    /// Two for values that are made again, then two for their tangents.
    chains: [&'a mut [f64]; 4],
}

impl<'a> Parts<'a> {
    fn new(conv: &Conv, lanes: usize, block: &'a mut [f64]) -> Self {
        let (tape_dot, rest) = block.split_at_mut(conv.program.tape * lanes);
        let (slots, rest) = rest.split_at_mut(2 * conv.program.slots * lanes);
        let chain = conv.program.chain * lanes;
        let (first, rest) = rest.split_at_mut(chain);
        let (second, rest) = rest.split_at_mut(chain);
        let (third, rest) = rest.split_at_mut(chain);
        Parts {
            tape_dot,
            slots,
            chains: [first, second, third, &mut rest[..chain]],
        }
    }
}

/// Tangents of the values that are z or on the tape.
#[derive(Clone, Copy)]
struct Tangents<'a> {
    z_dot: Cols<'a>,
    tape_dot: Cols<'a>,
}

impl Conv {
    /// The place of a cotangent's tangent: x's is the second argument, and its slots lie behind those of cotangents.
    fn bar_dot(&self, value: usize) -> (Place, usize) {
        match self.bar(value) {
            (Place::Given(_), rows) => (Place::Given(1), rows),
            (Place::Slot(slot), rows) => (Place::Slot(self.program.slots + slot), rows),
            end => end,
        }
    }

    fn stored_dot<'a>(&self, tangents: Tangents<'a>, value: usize) -> Cols<'a> {
        match self.program.values[value].tape {
            Some(row) => tangents.tape_dot.subrows(row, self.program.values[value].len),
            None => tangents.z_dot,
        }
    }

    /// A value's tangent: stored, or made again as [`Conv::value`] is.
    fn value_dot<'a>(
        &self,
        taped: Taped<'_>,
        tangents: Tangents<'a>,
        value: usize,
        here: &'a mut [f64],
        other: &mut [f64],
        slopes: &mut [f64],
    ) -> Cols<'a> {
        let Some(step) = self.program.remade(value) else {
            return self.stored_dot(tangents, value);
        };
        let columns = tangents.z_dot.ncols();
        let input = self.value_dot(taped, tangents, step.from, &mut *other, &mut *here, slopes);
        let mut output = batch_mut(here, self.program.values[value].len, columns);
        match &step.map {
            Map::Affine(map) => map.apply(taped.at.params, input, output.as_mut(), Part::Linear, &mut []),
            Map::Activation(activation) => {
                activation.push(
                    self.stored(taped, step.from),
                    |lane| lane,
                    input,
                    output.as_mut(),
                    slopes,
                );
            }
            Map::Add(_) => unreachable!("the tape keeps sums"),
        }
        output.into_const()
    }

    /// The product for one block of lanes.
    fn hvp_block(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        z_bar_dot: ColsMut<'_>,
        mut params_bar_dot: Option<&mut [f64]>,
        scratch: Scratch<'_>,
    ) {
        let (lanes, last) = (seeds.z_dot.ncols(), self.program.last());
        let Scratch { tile, slopes, block } = scratch;
        let Parts {
            tape_dot,
            slots,
            chains: [here, other, here_dot, other_dot],
        } = Parts::new(self, lanes, block);
        let mut memory = Memory {
            given: [seeds.z_dot; 2],
            tape: batch_mut(tape_dot, self.program.tape, lanes),
            slots: &mut *slots,
            result: ColsMut::from_column_major_slice_mut(&mut [], 0, lanes),
            columns: lanes,
        };
        let kept = |value| self.kept(value);
        self.push_forward(
            taped,
            last - 1,
            kept,
            |lane| lane,
            &mut memory,
            (&mut *tile, &mut *slopes),
        );
        let tangents = Tangents {
            z_dot: seeds.z_dot,
            tape_dot: batch(tape_dot, self.program.tape, lanes),
        };
        let mut memory = Memory {
            given: [seeds.x_bar, seeds.x_bar_dot],
            tape: ColsMut::from_column_major_slice_mut(&mut [], 0, lanes),
            slots,
            result: z_bar_dot,
            columns: lanes,
        };
        for (index, step) in self.program.steps.iter().enumerate().rev() {
            let (bar, bar_dot) = (self.bar(index + 1), self.bar_dot(index + 1));
            if let (Map::Affine(map), Some(params), true) =
                (&step.map, params_bar_dot.as_deref_mut(), step.has_weights())
            {
                let input = self.value(taped, step.from, here, other);
                map.add_params_bar(input, memory.read(bar_dot.0, bar_dot.1), params, Part::Affine, tile);
                let input_dot = self.value_dot(taped, tangents, step.from, here_dot, other_dot, slopes);
                map.add_params_bar(input_dot, memory.read(bar.0, bar.1), params, Part::Linear, tile);
            }
            self.pull_step(taped, index, |value| self.bar_dot(value), true, &mut memory, tile);
            if let Map::Activation(activation) = &step.map {
                let (bar, to) = memory.pair(bar, self.bar_dot(step.from));
                let (a, a_dot) = (self.stored(taped, step.from), self.stored_dot(tangents, step.from));
                activation.add_curvature(a, a_dot, bar, to);
            }
            self.pull_step(taped, index, |value| self.bar(value), false, &mut memory, tile);
        }
    }
}

impl SecondOrder for Conv {
    fn hvp(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        mut z_bar_dot: ColsMut<'_>,
        mut params_bar_dot: Option<&mut [f64]>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        for lanes in blocks(seeds.z_dot.ncols(), self.block(self.second())) {
            let seeds = Seeds {
                z_dot: cut(seeds.z_dot, &lanes),
                x_bar: cut(seeds.x_bar, &lanes),
                x_bar_dot: cut(seeds.x_bar_dot, &lanes),
            };
            self.hvp_block(
                lanes_of(taped, &lanes),
                seeds,
                z_bar_dot.as_mut().subcols_mut(lanes.start, lanes.len()),
                params_bar_dot.as_deref_mut(),
                self.cut_scratch(scratch),
            );
        }
        Ok(())
    }
}
