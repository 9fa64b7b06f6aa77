//! Nearest-neighbor upsampling: every pixel becomes a square of equal ones.

use super::{Affine, Part};
use crate::columns::{column, column_mut};
use gfe_sdk::faer::Accum;
use gfe_sdk::{Cols, ColsMut};

/// y_(c, i, j) = h_(c, i / scale, j / scale), rounded down.
pub(crate) struct Upsample {
    /// `[channels, height, width]` of h.
    pub input: [usize; 3],
    /// Pixels of y for one of h, in each direction.
    pub scale: usize,
}

impl Upsample {
    /// Visits the rows of one lane: where a row of h starts, and where a row of y does that comes from it.
    fn rows(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let ([channels, height, width], scale) = (self.input, self.scale);
        (0..channels * height * scale).map(move |row| (row / scale * width, row * width * scale))
    }
}

impl Affine for Upsample {
    fn apply(&self, _params: &[f64], input: Cols<'_>, mut output: ColsMut<'_>, _part: Part, _tile: &mut [f64]) {
        let (width, scale) = (self.input[2], self.scale);
        for lane in 0..input.ncols() {
            let (h, y) = (column(input, lane), column_mut(&mut output, lane));
            for (from, to) in self.rows() {
                let squares = y[to..][..width * scale].chunks_exact_mut(scale);
                squares.zip(&h[from..]).for_each(|(square, &h)| square.fill(h));
            }
        }
    }

    fn pull(&self, _params: &[f64], output_bar: Cols<'_>, mut input_bar: ColsMut<'_>, accum: Accum, _tile: &mut [f64]) {
        let (width, scale) = (self.input[2], self.scale);
        for lane in 0..output_bar.ncols() {
            let (y, h) = (column(output_bar, lane), column_mut(&mut input_bar, lane));
            if accum == Accum::Replace {
                h.fill(0.0);
            }
            for (to, from) in self.rows() {
                let squares = y[from..][..width * scale].chunks_exact(scale);
                squares
                    .zip(&mut h[to..])
                    .for_each(|(square, h)| *h += square.iter().sum::<f64>());
            }
        }
    }

    fn add_params_bar(&self, _: Cols<'_>, _: Cols<'_>, _: &mut [f64], _: Part, _: &mut [f64]) {}
}
