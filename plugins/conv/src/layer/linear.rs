//! A linear layer: one matrix product over all lanes.

use super::{Affine, Part, Weights, add_bias, add_bias_bar};
use crate::columns::product;
use gfe_sdk::faer::Accum;
use gfe_sdk::{Cols, ColsMut};

/// y = W h + b, with W `[out, in]`.
pub(crate) struct Linear(pub Weights);

impl Affine for Linear {
    fn apply(&self, params: &[f64], input: Cols<'_>, mut output: ColsMut<'_>, part: Part, _tile: &mut [f64]) {
        product(output.as_mut(), Accum::Replace, self.0.matrix(params), input);
        if let Some(bias) = self.0.bias(params, part) {
            add_bias(output, bias, 1);
        }
    }

    fn pull(&self, params: &[f64], output_bar: Cols<'_>, input_bar: ColsMut<'_>, accum: Accum, _tile: &mut [f64]) {
        product(input_bar, accum, self.0.matrix(params).transpose(), output_bar);
    }

    fn add_params_bar(
        &self,
        input: Cols<'_>,
        output_bar: Cols<'_>,
        params_bar: &mut [f64],
        part: Part,
        _tile: &mut [f64],
    ) {
        let (weight_bar, bias_bar) = self.0.split(params_bar);
        product(weight_bar, Accum::Add, output_bar, input.transpose());
        if part == Part::Affine {
            add_bias_bar(bias_bar, output_bar, 1);
        }
    }

    fn weights(&self) -> Option<Weights> {
        Some(self.0)
    }
}
