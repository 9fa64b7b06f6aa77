//! v = (x - y)^2 / 2.

use super::{BadDatum, Loss, admit_values, curvature_columns, eval_columns, squares};
use crate::{Cols, ColsMut, Targets};

/// v = (x - y)^2 / 2 with w = 1/sigma^2: D l is the negative log likelihood, half of chi-squared.
#[derive(Clone, Copy, Debug)]
pub struct Gaussian;

impl Loss for Gaussian {
    fn name(&self) -> &'static str {
        "gaussian"
    }

    fn eval(&self, x: Cols<'_>, y: Targets<'_>, value: &mut [f64], x_bar: Option<ColsMut<'_>>) {
        eval_columns(x, y, value, x_bar, |x, y| (0.5 * (x - y) * (x - y), x - y));
    }

    fn curvature(&self, x: Cols<'_>, y: Targets<'_>, diagonal: ColsMut<'_>) {
        curvature_columns(x, y, diagonal, |_| 1.0);
    }

    fn chi2(&self, x: &[f64], y: &[f64], w: Option<&[f64]>) -> f64 {
        squares(x, y, w)
    }

    fn has_chi2(&self) -> bool {
        true
    }

    fn admits(&self, y: &[f64], w: Option<&[f64]>) -> Result<(), BadDatum> {
        admit_values(y, w, (f64::MIN, f64::MAX), "the finite numbers")
    }

    fn data_units(&self, x: f64) -> f64 {
        x
    }

    fn terms(&self, x: f64) -> [f64; 2] {
        [0.5 * x * x, x]
    }

    fn is_likelihood(&self) -> bool {
        true
    }
}
