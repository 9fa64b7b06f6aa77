//! Tangents: the steps forwards, in their linear parts.

use super::Scratch;
use crate::Conv;
use crate::columns::{blocks, cut};
use crate::layer::{Map, Part, add};
use crate::memory::{Memory, Place};
use gfe_sdk::faer::Accum;
use gfe_sdk::{Cols, ColsMut, DecodeError, Tangent, Taped};

impl Conv {
    /// Tangents of the values up to `last`, in `place`. Column c goes with lane `lane(c)` of the tape.
    pub(super) fn push_forward(
        &self,
        taped: Taped<'_>,
        last: usize,
        place: impl Fn(usize) -> (Place, usize),
        lane: impl Fn(usize) -> usize,
        memory: &mut Memory<'_>,
        (tile, slopes): (&mut [f64], &mut [f64]),
    ) {
        for (index, step) in self.program.steps[..last].iter().enumerate() {
            let to = place(index + 1);
            let (input, output) = memory.pair(place(step.from), to);
            match &step.map {
                Map::Affine(map) => map.apply(taped.at.params, input, output, Part::Linear, tile),
                Map::Activation(activation) => {
                    activation.push(self.stored(taped, step.from), &lane, input, output, slopes);
                }
                Map::Add(other) => {
                    add(input, output, Accum::Replace);
                    let (input, output) = memory.pair(place(*other), to);
                    add(input, output, Accum::Add);
                }
            }
        }
    }
}

impl Tangent for Conv {
    fn jvp(
        &self,
        taped: Taped<'_>,
        z_dot: Cols<'_>,
        mut x_dot: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let Scratch { tile, slopes, block } = self.cut_scratch(scratch);
        let directions = z_dot.ncols() / taped.tape.ncols().max(1);
        for columns in blocks(z_dot.ncols(), self.block(self.first_order())) {
            let mut memory = Memory {
                given: [cut(z_dot, &columns); 2],
                tape: ColsMut::from_column_major_slice_mut(&mut [], 0, columns.len()),
                slots: &mut *block,
                result: x_dot.as_mut().subcols_mut(columns.start, columns.len()),
                columns: columns.len(),
            };
            self.push_forward(
                taped,
                self.program.last(),
                |value| self.passing(value),
                |c| (columns.start + c) / directions,
                &mut memory,
                (&mut *tile, &mut *slopes),
            );
        }
        Ok(())
    }
}
