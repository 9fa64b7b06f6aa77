//! The decoder's products: the steps of the program run forwards for values and tangents, backwards for cotangents.

mod forward;
mod reverse;
mod second_order;
mod tangent;
mod train;

pub(crate) use forward::forward;
pub(crate) use reverse::vjp;

use crate::Conv;
use crate::columns::batch_mut;
use crate::layer::{Map, Part};
use crate::memory::Place;
use gfe_sdk::faer::prelude::IntoConst;
use gfe_sdk::{Cols, Taped};

/// The fixed parts of scratch, and the rest for a block of columns.
struct Scratch<'a> {
    tile: &'a mut [f64],
    slopes: &'a mut [f64],
    block: &'a mut [f64],
}

impl Conv {
    fn cut_scratch<'a>(&self, scratch: &'a mut [f64]) -> Scratch<'a> {
        let (tile, rest) = scratch.split_at_mut(self.program.tile);
        let (slopes, block) = rest.split_at_mut(self.program.widest_activation);
        Scratch { tile, slopes, block }
    }

    /// A value's place and rows: where the tape keeps it, in its slot, or at one of the two ends.
    fn kept(&self, value: usize) -> (Place, usize) {
        let place = match self.program.values[value].tape {
            Some(row) => Place::Tape(row),
            None => return self.passing(value),
        };
        (place, self.program.values[value].len)
    }

    /// A tangent's place and rows where no tape keeps it.
    fn passing(&self, value: usize) -> (Place, usize) {
        let place = match value {
            0 => Place::Given(0),
            value if value == self.program.last() => Place::Result,
            value => Place::Slot(self.program.values[value].slot),
        };
        (place, self.program.values[value].len)
    }

    /// A cotangent's place and rows: backwards x's is given and z's the result.
    fn bar(&self, value: usize) -> (Place, usize) {
        let place = match value {
            0 => Place::Result,
            value if value == self.program.last() => Place::Given(0),
            value => Place::Slot(self.program.values[value].slot),
        };
        (place, self.program.values[value].len)
    }

    /// A value of every lane: z, from the tape, or made again in `here` with the help of `other`, each of them
    /// [`Program::chain`](crate::program::Program::chain) values a column.
    fn value<'a>(&self, taped: Taped<'a>, value: usize, here: &'a mut [f64], other: &mut [f64]) -> Cols<'a> {
        let Some(step) = self.program.remade(value) else {
            return self.stored(taped, value);
        };
        let columns = taped.at.z.ncols();
        let input = self.value(taped, step.from, &mut *other, &mut *here);
        let mut output = batch_mut(here, self.program.values[value].len, columns);
        match &step.map {
            Map::Affine(map) => map.apply(taped.at.params, input, output.as_mut(), Part::Affine, &mut []),
            Map::Activation(activation) => activation.apply(input, output.as_mut()),
            Map::Add(_) => unreachable!("the tape keeps sums"),
        }
        output.into_const()
    }

    /// A value that is z or on the tape.
    fn stored<'a>(&self, taped: Taped<'a>, value: usize) -> Cols<'a> {
        match self.program.values[value].tape {
            Some(row) => taped.tape.subrows(row, self.program.values[value].len),
            None => {
                debug_assert_eq!(value, 0);
                taped.at.z
            }
        }
    }
}
