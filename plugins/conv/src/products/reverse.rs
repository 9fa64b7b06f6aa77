//! Cotangents: the steps backwards.

use super::Scratch;
use crate::Conv;
use crate::columns::{blocks, cut, lanes_of};
use crate::layer::{Map, add};
use crate::memory::{Memory, Place};
use crate::program::Step;
use gfe_sdk::faer::Accum;
use gfe_sdk::{Cols, ColsMut, Taped};

impl Conv {
    /// Whether step `index` is the first, going backwards, to reach `value`: then it writes its cotangent, else it adds.
    fn accum(&self, index: usize, value: usize) -> Accum {
        if self.program.values[value].last_use == index {
            Accum::Replace
        } else {
            Accum::Add
        }
    }

    /// Moves the cotangent of the value that step `index` makes to those that it reads, but for z's where that is not
    /// wanted. `place` says where cotangents lie.
    pub(super) fn pull_step(
        &self,
        taped: Taped<'_>,
        index: usize,
        place: impl Fn(usize) -> (Place, usize),
        to_z: bool,
        memory: &mut Memory<'_>,
        tile: &mut [f64],
    ) {
        let Step { from, map } = &self.program.steps[index];
        let above = place(index + 1);
        if *from > 0 || to_z {
            let accum = self.accum(index, *from);
            let (bar, to) = memory.pair(above, place(*from));
            match map {
                Map::Affine(map) => map.pull(taped.at.params, bar, to, accum, tile),
                Map::Activation(activation) => activation.pull(self.stored(taped, *from), bar, to, accum),
                Map::Add(_) => add(bar, to, accum),
            }
        }
        if let Map::Add(other) = map
            && (*other > 0 || to_z)
        {
            let accum = if other == from {
                Accum::Add
            } else {
                self.accum(index, *other)
            };
            let (bar, to) = memory.pair(above, place(*other));
            add(bar, to, accum);
        }
    }
}

/// z_bar = J^T x_bar.
pub(crate) fn vjp(conv: &Conv, taped: Taped<'_>, x_bar: Cols<'_>, mut z_bar: ColsMut<'_>, scratch: &mut [f64]) {
    let Scratch { tile, block, .. } = conv.cut_scratch(scratch);
    for lanes in blocks(x_bar.ncols(), conv.block(conv.first_order())) {
        let mut memory = Memory {
            given: [cut(x_bar, &lanes); 2],
            tape: ColsMut::from_column_major_slice_mut(&mut [], 0, lanes.len()),
            slots: &mut *block,
            result: z_bar.as_mut().subcols_mut(lanes.start, lanes.len()),
            columns: lanes.len(),
        };
        for index in (0..conv.program.steps.len()).rev() {
            conv.pull_step(
                lanes_of(taped, &lanes),
                index,
                |value| conv.bar(value),
                true,
                &mut memory,
                tile,
            );
        }
    }
}
