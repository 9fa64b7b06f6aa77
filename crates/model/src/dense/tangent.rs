//! Jacobian-vector products.

use super::layer::{product, scale};
use super::{BLOCK, Dense};
use crate::columns::{batch, batch_mut, blocks, cut};
use crate::{Cols, ColsMut, DecodeError, Tangent, Taped};

impl Tangent for Dense {
    fn jvp(
        &self,
        taped: Taped<'_>,
        z_dot: Cols<'_>,
        mut x_dot: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let directions = z_dot.ncols() / taped.tape.ncols().max(1);
        let last = self.layers.len() - 1;
        let copies = self.store.copies(taped.at);
        let weights = copies.double(taped.at.params, &self.layers);
        for block in blocks(z_dot.ncols(), BLOCK) {
            let columns = block.len();
            let (mut below, mut here) = scratch[..2 * self.widest * columns].split_at_mut(self.widest * columns);
            for (index, &layer) in self.layers.iter().enumerate() {
                let h_dot = match index {
                    0 => cut(z_dot, &block),
                    _ => batch(below, layer.inputs, columns),
                };
                if index == last {
                    let x_dot = x_dot.as_mut().subcols_mut(block.start, columns);
                    product(x_dot, weights.weight(layer), h_dot);
                } else {
                    let mut a_dot = batch_mut(here, layer.outputs, columns);
                    product(a_dot.as_mut(), weights.weight(layer), h_dot);
                    scale(a_dot, layer.slope(taped.tape), |c| (block.start + c) / directions);
                }
                std::mem::swap(&mut below, &mut here);
            }
        }
        Ok(())
    }
}
