//! Initial weights and parameter gradients.

use super::layer::add_product;
use super::{BLOCK, Dense};
use crate::columns::{blocks, column, cut, lanes_of};
use crate::random::Uniform;
use crate::{Cols, DecodeError, Taped, Trainable};

/// bias_bar += delta summed over lanes.
pub(super) fn add_lanes(bias_bar: &mut [f64], delta: Cols<'_>) {
    for lane in 0..delta.ncols() {
        for (sum, value) in bias_bar.iter_mut().zip(column(delta, lane)) {
            *sum += value;
        }
    }
}

impl Trainable for Dense {
    /// Weights and biases from U(-1/sqrt(in), 1/sqrt(in)), the default of PyTorch's linear layers (with numbers of our
    /// own): He et al., Delving Deep into Rectifiers (2015), with the gain of a leaky slope sqrt(5).
    fn init(&self, seed: u64, params: &mut [f64]) -> Result<(), DecodeError> {
        let mut uniform = Uniform::new(seed);
        for layer in &self.layers {
            let len = (layer.inputs + 1) * layer.outputs;
            uniform.fill(1.0 / (layer.inputs as f64).sqrt(), &mut params[layer.weight..][..len]);
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
        for block in blocks(x_bar.ncols(), BLOCK) {
            let taped = lanes_of(taped, &block);
            let x_bar = cut(x_bar, &block);
            self.pull_back(taped, x_bar, scratch, |index, delta| {
                let (weight_bar, bias_bar) = self.layers[index].tensors_mut(params_bar);
                add_product(weight_bar, delta, self.input(index, taped).transpose());
                add_lanes(bias_bar, delta);
            });
        }
        Ok(())
    }
}
