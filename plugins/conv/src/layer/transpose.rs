//! A transposed convolution: from the small image to the big one.

use super::{Affine, Geometry, Part, Weights, add_bias, add_bias_bar};
use gfe_sdk::faer::Accum;
use gfe_sdk::{Cols, ColsMut};

/// y = the transpose of a convolution of h, + b, with W `[c, C, kh, kw]` and b `[C]`: PyTorch's `ConvTranspose2d`.
pub(crate) struct ConvTranspose2d {
    /// h is the small image, y the big one.
    pub geometry: Geometry,
    /// W and b.
    pub weights: Weights,
}

impl Affine for ConvTranspose2d {
    fn apply(&self, params: &[f64], input: Cols<'_>, mut output: ColsMut<'_>, part: Part, tile: &mut [f64]) {
        let weight = self.weights.matrix(params);
        self.geometry.up(weight, input, output.as_mut(), Accum::Replace, tile);
        if let Some(bias) = self.weights.bias(params, part) {
            add_bias(output, bias, self.geometry.big[1] * self.geometry.big[2]);
        }
    }

    fn pull(&self, params: &[f64], output_bar: Cols<'_>, input_bar: ColsMut<'_>, accum: Accum, tile: &mut [f64]) {
        let weight = self.weights.matrix(params);
        self.geometry.down(weight, output_bar, input_bar, accum, tile);
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
        self.geometry.add_weight_bar(weight_bar, input, output_bar, tile);
        if part == Part::Affine {
            add_bias_bar(bias_bar, output_bar, self.geometry.big[1] * self.geometry.big[2]);
        }
    }

    fn weights(&self) -> Option<Weights> {
        Some(self.weights)
    }

    fn tile_len(&self) -> usize {
        self.geometry.tile_len()
    }
}
