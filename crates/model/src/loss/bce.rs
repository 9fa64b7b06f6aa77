//! v = softplus(x) - y x.

use super::{BadDatum, Loss, admit_values, curvature_columns, eval_columns};
use crate::elementary::{exp_of_negative, ln_1p_of_fraction};
use crate::{Cols, ColsMut, Targets};

/// v = softplus(x) - y x, the cross entropy of sigmoid(x) against y in `[0, 1]`; finite for every finite logit x.
#[derive(Clone, Copy, Debug)]
pub struct Bce;

/// (v, dv/dx), with max(x, 0) - y x as one product: it leaves the small log(1 + e^-|x|) its digits where y is 0 or 1.
#[inline(always)]
fn point(x: f64, y: f64) -> (f64, f64) {
    let small = exp_of_negative(-x.abs());
    let (linear, sigmoid) = if x >= 0.0 {
        ((1.0 - y) * x, 1.0 / (1.0 + small))
    } else {
        (-y * x, small / (1.0 + small))
    };
    (linear + ln_1p_of_fraction(small), sigmoid - y)
}

impl Loss for Bce {
    fn name(&self) -> &'static str {
        "bce"
    }

    fn eval(&self, x: Cols<'_>, y: Targets<'_>, value: &mut [f64], x_bar: Option<ColsMut<'_>>) {
        eval_columns(x, y, value, x_bar, point);
    }

    fn curvature(&self, x: Cols<'_>, y: Targets<'_>, diagonal: ColsMut<'_>) {
        curvature_columns(
            x,
            y,
            diagonal,
            #[inline(always)]
            |x| {
                let small = exp_of_negative(-x.abs());
                small / ((1.0 + small) * (1.0 + small))
            },
        );
    }

    /// NaN: cross entropy has no chi-squared.
    fn chi2(&self, _x: &[f64], _y: &[f64], _w: Option<&[f64]>) -> f64 {
        f64::NAN
    }

    fn has_chi2(&self) -> bool {
        false
    }

    fn admits(&self, y: &[f64], w: Option<&[f64]>) -> Result<(), BadDatum> {
        admit_values(y, w, (0.0, 1.0), "[0, 1]")
    }

    fn data_units(&self, x: f64) -> f64 {
        point(x, 0.0).1
    }

    fn terms(&self, x: f64) -> [f64; 2] {
        [point(x, 0.0).0, x]
    }

    fn is_likelihood(&self) -> bool {
        true
    }
}
