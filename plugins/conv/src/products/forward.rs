//! x = D(z), and the tape.

use super::Scratch;
use crate::Conv;
use crate::columns::{blocks, cut};
use crate::layer::{Map, Part, add};
use crate::memory::Memory;
use gfe_sdk::faer::Accum;
use gfe_sdk::{At, ColsMut};

/// Writes x and the tape.
pub(crate) fn forward(conv: &Conv, at: At<'_>, mut x: ColsMut<'_>, mut tape: ColsMut<'_>, scratch: &mut [f64]) {
    let Scratch { tile, block, .. } = conv.cut_scratch(scratch);
    for lanes in blocks(at.z.ncols(), conv.block(conv.first_order())) {
        let mut memory = Memory {
            given: [cut(at.z, &lanes); 2],
            tape: tape.as_mut().subcols_mut(lanes.start, lanes.len()),
            slots: &mut *block,
            result: x.as_mut().subcols_mut(lanes.start, lanes.len()),
            columns: lanes.len(),
        };
        for (index, step) in conv.program.steps.iter().enumerate() {
            let to = conv.kept(index + 1);
            let (input, output) = memory.pair(conv.kept(step.from), to);
            match &step.map {
                Map::Affine(map) => map.apply(at.params, input, output, Part::Affine, tile),
                Map::Activation(activation) => activation.apply(input, output),
                Map::Add(other) => {
                    add(input, output, Accum::Replace);
                    let (input, output) = memory.pair(conv.kept(*other), to);
                    add(input, output, Accum::Add);
                }
            }
        }
    }
}
