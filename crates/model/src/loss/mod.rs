//! Per-sample losses l(y, x) = (1/D) sum_i w_i v_i, one file each.
//!
//! D is the number of values of a sample, always, never the number observed (w = 1 without weights, 0 where a value is
//! missing), so that a horizon 1/tau means the same prior for every row however much of it is masked. A loss never
//! reduces over lanes: a sample's flow must not depend on its neighbors. All four are convex in x.

mod bce;
mod clipped_bce;
mod gaussian;
mod mse;
mod poisson;

use crate::columns::{column, column_mut};
use crate::elementary::vectorized;
use crate::{Cols, ColsMut, Targets};
use serde::{Deserialize, Serialize};

pub use bce::Bce;
pub use clipped_bce::ClippedBce;
pub use gaussian::Gaussian;
pub use mse::Mse;
pub use poisson::Poisson;

/// What is wrong with a datum.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum BadDatum {
    /// A value or weight that counts is NaN or infinite.
    #[error("value {index} is {value}")]
    NotFinite {
        /// Index within the sample.
        index: usize,
        /// What it is.
        value: f64,
    },
    /// A value lies outside the loss's range.
    #[error("value {index} is {value}, outside {range}")]
    OutOfRange {
        /// Index within the sample.
        index: usize,
        /// What it is.
        value: f64,
        /// The range, in words.
        range: &'static str,
    },
    /// No value has a positive weight.
    #[error("no value is left: all are masked")]
    Empty,
}

/// A per-sample loss of decoded `x` against data `y`; what `x` means is the loss's business (a logit, a log rate).
pub trait Loss: Send + Sync {
    /// Name as in configuration and files.
    fn name(&self) -> &'static str;
    /// l and, if asked for, dl/dx. `x` `[D, lanes]`, `value` `[lanes]`, `x_bar` `[D, lanes]`; masked values give 0.
    fn eval(&self, x: Cols<'_>, y: Targets<'_>, value: &mut [f64], x_bar: Option<ColsMut<'_>>);
    /// The diagonal of d2l/dx2, >= 0, into `diagonal` `[D, lanes]`.
    fn curvature(&self, x: Cols<'_>, y: Targets<'_>, diagonal: ColsMut<'_>);
    /// chi-squared of one sample: sum w (y - x)^2, or Pearson's for counts; NaN where the loss has none.
    fn chi2(&self, x: &[f64], y: &[f64], w: Option<&[f64]>) -> f64;
    /// Whether the loss has a chi-squared.
    fn has_chi2(&self) -> bool;
    /// Whether one datum can be encoded under this loss.
    fn admits(&self, y: &[f64], w: Option<&[f64]>) -> Result<(), BadDatum>;
    /// The decoded value in the data's own units: x itself, sigmoid(x) or exp(x).
    fn data_units(&self, x: f64) -> f64;
    /// [a(x), b(x)] with v(x, y) = a(x) - b(x) y + what depends on y alone: losses of many x against many y come from matrix products.
    fn terms(&self, x: f64) -> [f64; 2];
    /// Whether D l is a negative log likelihood (up to a constant), so that `edm` counts in its units.
    fn is_likelihood(&self) -> bool;
}

/// The losses by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossKind {
    /// (x - y)^2
    Mse,
    /// softplus(x) - y x: cross entropy of sigmoid(x) against y in `[0, 1]`
    Bce,
    /// (x - y)^2 / 2 with w = 1/sigma^2
    Gaussian,
    /// exp(x) - y x for counts y >= 0
    Poisson,
}

impl LossKind {
    /// Every loss.
    pub const ALL: [LossKind; 4] = [LossKind::Mse, LossKind::Bce, LossKind::Gaussian, LossKind::Poisson];

    /// The loss of this name.
    pub fn loss(self) -> &'static dyn Loss {
        match self {
            LossKind::Mse => &Mse,
            LossKind::Bce => &Bce,
            LossKind::Gaussian => &Gaussian,
            LossKind::Poisson => &Poisson,
        }
    }
}

/// Calls `visit(index, y, w)` for every value of one sample that is not masked; a masked `y` is not read.
fn each_valid(y: &[f64], w: Option<&[f64]>, mut visit: impl FnMut(usize, f64, f64)) {
    match w {
        None => y.iter().enumerate().for_each(|(i, &y)| visit(i, y, 1.0)),
        Some(w) => {
            assert_eq!(w.len(), y.len(), "a weight for every value");
            (0..y.len()).filter(|&i| w[i] != 0.0).for_each(|i| visit(i, y[i], w[i]));
        }
    }
}

/// Values taken together where all of them count.
const TOGETHER: usize = 64;

/// sum v of one sample without weights; writes (dv/dx) / D to `slopes`.
fn eval_all(x: &[f64], y: &[f64], mut slopes: Option<&mut [f64]>, point: impl Fn(f64, f64) -> (f64, f64)) -> f64 {
    vectorized(
        #[inline(always)]
        || {
            let (mut sum, values) = (0.0, x.len() as f64);
            let (mut v, mut slope) = ([0.0; TOGETHER], [0.0; TOGETHER]);
            for (index, (x, y)) in x.chunks(TOGETHER).zip(y.chunks(TOGETHER)).enumerate() {
                for (((v, slope), x), y) in v.iter_mut().zip(&mut slope).zip(x).zip(y) {
                    (*v, *slope) = point(*x, *y);
                }
                for v in &v[..x.len()] {
                    sum += v;
                }
                if let Some(slopes) = &mut slopes {
                    let slopes = &mut slopes[index * TOGETHER..][..x.len()];
                    slopes
                        .iter_mut()
                        .zip(&slope)
                        .for_each(|(to, slope)| *to = slope / values);
                }
            }
            sum
        },
    )
}

/// [`Loss::eval`] from `point(x, y)` = (v, dv/dx) of one value.
fn eval_columns(
    x: Cols<'_>,
    y: Targets<'_>,
    value: &mut [f64],
    mut x_bar: Option<ColsMut<'_>>,
    point: impl Fn(f64, f64) -> (f64, f64),
) {
    let values = x.nrows() as f64;
    for lane in 0..x.ncols() {
        let decoded = column(x, lane);
        let mut slopes = x_bar.as_mut().map(|x_bar| column_mut(x_bar, lane));
        if y.w.is_none() {
            value[lane] = eval_all(decoded, column(y.y, lane), slopes, &point) / values;
            continue;
        }
        if let Some(slopes) = &mut slopes {
            slopes.fill(0.0);
        }
        let mut sum = 0.0;
        each_valid(column(y.y, lane), y.w.map(|w| column(w, lane)), |i, y, w| {
            let (v, slope) = point(decoded[i], y);
            sum += w * v;
            if let Some(slopes) = &mut slopes {
                slopes[i] = w * slope / values;
            }
        });
        value[lane] = sum / values;
    }
}

/// [`Loss::curvature`] from `second(x)` = d2v/dx2 of one value, which depends on y in none of the losses.
fn curvature_columns(x: Cols<'_>, y: Targets<'_>, mut diagonal: ColsMut<'_>, second: impl Fn(f64) -> f64) {
    let values = x.nrows() as f64;
    for lane in 0..x.ncols() {
        let decoded = column(x, lane);
        let diagonal = column_mut(&mut diagonal, lane);
        if y.w.is_none() {
            vectorized(
                #[inline(always)]
                || {
                    for (to, x) in diagonal.iter_mut().zip(decoded) {
                        *to = second(*x) / values;
                    }
                },
            );
            continue;
        }
        diagonal.fill(0.0);
        each_valid(column(y.y, lane), y.w.map(|w| column(w, lane)), |i, _, w| {
            diagonal[i] = w * second(decoded[i]) / values;
        });
    }
}

/// sum w (y - x)^2 of one sample.
fn squares(x: &[f64], y: &[f64], w: Option<&[f64]>) -> f64 {
    let mut sum = 0.0;
    each_valid(y, w, |i, y, w| sum += w * (y - x[i]).powi(2));
    sum
}

/// [`Loss::admits`]: finite values in `[lower, upper]` (`range` says it in words) and finite weights >= 0, one positive.
fn admit_values(y: &[f64], w: Option<&[f64]>, (lower, upper): (f64, f64), range: &'static str) -> Result<(), BadDatum> {
    let mut valid = 0;
    let mut bad = None;
    each_valid(y, w, |index, y, w| {
        valid += 1;
        let found = if !w.is_finite() {
            Some(BadDatum::NotFinite { index, value: w })
        } else if w < 0.0 {
            Some(BadDatum::OutOfRange {
                index,
                value: w,
                range: "the weights' range: 0 or more",
            })
        } else if !y.is_finite() {
            Some(BadDatum::NotFinite { index, value: y })
        } else if y < lower || y > upper {
            Some(BadDatum::OutOfRange { index, value: y, range })
        } else {
            None
        };
        bad = bad.or(found);
    });
    match bad {
        Some(bad) => Err(bad),
        None if valid == 0 => Err(BadDatum::Empty),
        None => Ok(()),
    }
}
