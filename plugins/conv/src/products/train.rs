//! Initial weights and parameter gradients.

use super::Scratch;
use crate::Conv;
use crate::columns::{blocks, cut, lanes_of};
use crate::layer::{Map, Part};
use crate::memory::Memory;
use crate::random::Uniform;
use gfe_sdk::{Cols, ColsMut, DecodeError, Taped, Trainable};

impl Trainable for Conv {
    /// Weights and biases from U(-1/sqrt(n), 1/sqrt(n)), n the second dimension of the weight times the pixels of the
    /// kernel: PyTorch's default for all three kinds of layer (with numbers of our own).
    fn init(&self, seed: u64, params: &mut [f64]) -> Result<(), DecodeError> {
        let mut uniform = Uniform::new(seed);
        for step in &self.program.steps {
            if let Map::Affine(map) = &step.map
                && let Some(weights) = map.weights()
            {
                let bound = 1.0 / (weights.columns as f64).sqrt();
                uniform.fill(bound, &mut params[weights.start..][..weights.len()]);
            }
        }
        Ok(())
    }

    fn params_vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        params_bar: &mut [f64],
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let Scratch { tile, block, .. } = self.cut_scratch(scratch);
        for lanes in blocks(x_bar.ncols(), self.block(self.gradient())) {
            let taped = lanes_of(taped, &lanes);
            let chain = self.program.chain * lanes.len();
            let (slots, rest) = block.split_at_mut(self.program.slots * lanes.len());
            let (here, other) = rest[..2 * chain].split_at_mut(chain);
            let mut memory = Memory {
                given: [cut(x_bar, &lanes); 2],
                tape: ColsMut::from_column_major_slice_mut(&mut [], 0, lanes.len()),
                slots,
                result: ColsMut::from_column_major_slice_mut(&mut [], 0, lanes.len()),
                columns: lanes.len(),
            };
            for (index, step) in self.program.steps.iter().enumerate().rev() {
                if let Map::Affine(map) = &step.map
                    && step.has_weights()
                {
                    let input = self.value(taped, step.from, here, other);
                    let (place, rows) = self.bar(index + 1);
                    map.add_params_bar(input, memory.read(place, rows), params_bar, Part::Affine, tile);
                }
                self.pull_step(taped, index, |value| self.bar(value), false, &mut memory, tile);
            }
        }
        Ok(())
    }
}
