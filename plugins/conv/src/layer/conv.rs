//! A convolution: from the big image to the small one.

use super::{Affine, Geometry, Part, Weights, add_bias, add_bias_bar};
use gfe_sdk::faer::Accum;
use gfe_sdk::{Cols, ColsMut};

/// y = W patches(h) + b, with W `[c, C, kh, kw]` and b `[c]`: PyTorch's `Conv2d`.
pub(crate) struct Conv2d {
    /// h is the big image, y the small one.
    pub geometry: Geometry,
    /// W and b.
    pub weights: Weights,
}

impl Affine for Conv2d {
    fn apply(&self, params: &[f64], input: Cols<'_>, mut output: ColsMut<'_>, part: Part, tile: &mut [f64]) {
        let weight = self.weights.matrix(params);
        self.geometry.down(weight, input, output.as_mut(), Accum::Replace, tile);
        if let Some(bias) = self.weights.bias(params, part) {
            add_bias(output, bias, self.geometry.small[1] * self.geometry.small[2]);
        }
    }

    fn pull(&self, params: &[f64], output_bar: Cols<'_>, input_bar: ColsMut<'_>, accum: Accum, tile: &mut [f64]) {
        let weight = self.weights.matrix(params);
        self.geometry.up(weight, output_bar, input_bar, accum, tile);
    }

    fn add_params_bar(
        &self,
        input: Cols<'_>,
        output_bar: Cols<'_>,
        params_bar: &mut [f64],
        part: Part,
        tile: &mut [f64],
    ) {
        let (weight_bar, bias_bar) = self.weights.split(params_bar);
        self.geometry.add_weight_bar(weight_bar, output_bar, input, tile);
        if part == Part::Affine {
            add_bias_bar(bias_bar, output_bar, self.geometry.small[1] * self.geometry.small[2]);
        }
    }

    fn weights(&self) -> Option<Weights> {
        Some(self.weights)
    }

    fn tile_len(&self) -> usize {
        self.geometry.tile_len()
    }
}
