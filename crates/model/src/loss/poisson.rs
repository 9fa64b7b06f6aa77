//! v = exp(x) - y x.

use super::{BadDatum, Loss, admit_values, curvature_columns, each_valid, eval_columns};
use crate::{Cols, ColsMut, Targets};

/// v = exp(x) - y x for counts y >= 0, x the log rate: D l is the negative log likelihood up to a constant.
#[derive(Clone, Copy, Debug)]
pub struct Poisson;

impl Loss for Poisson {
    fn name(&self) -> &'static str {
        "poisson"
    }

    fn eval(&self, x: Cols<'_>, y: Targets<'_>, value: &mut [f64], x_bar: Option<ColsMut<'_>>) {
        eval_columns(x, y, value, x_bar, |x, y| {
            let rate = x.exp();
            (rate - y * x, rate - y)
        });
    }

    fn curvature(&self, x: Cols<'_>, y: Targets<'_>, diagonal: ColsMut<'_>) {
        curvature_columns(x, y, diagonal, f64::exp);
    }

    /// Pearson's: sum w (y - e^x)^2 / e^x.
    fn chi2(&self, x: &[f64], y: &[f64], w: Option<&[f64]>) -> f64 {
        let mut sum = 0.0;
        each_valid(y, w, |i, y, w| {
            let rate = x[i].exp();
            sum += w * (y - rate).powi(2) / rate;
        });
        sum
    }

    fn has_chi2(&self) -> bool {
        true
    }

    fn admits(&self, y: &[f64], w: Option<&[f64]>) -> Result<(), BadDatum> {
        admit_values(y, w, (0.0, f64::MAX), "the counts: 0 or more")
    }

    fn data_units(&self, x: f64) -> f64 {
        x.exp()
    }

    fn terms(&self, x: f64) -> [f64; 2] {
        [x.exp(), x]
    }

    fn is_likelihood(&self) -> bool {
        true
    }
}
