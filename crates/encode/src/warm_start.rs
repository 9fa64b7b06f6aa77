//! A start close to the code: a linear regression of known codes on their data.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use gfe_model::{Cols, Targets};

/// The ridge parameter as a part of the mean squared deviation of a value from its mean: by trial, on digits and clothes.
const RIDGE: f64 = 1e-1;

/// z = weight y + bias.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmStart {
    /// `[d, D]`.
    pub weight: Mat<f64>,
    /// `[d]`.
    pub bias: Vec<f64>,
    /// The mean of every value over the data of the regression, `[D]`, which stands for a missing value; absent where it is
    /// not known.
    pub mean: Option<Vec<f64>>,
}

impl WarmStart {
    /// The ridge regression of the codes `z` `[d, samples]` on the data y `[D, samples]`. A value of weight 0 counts as the mean of
    /// those that are there; other weights make no difference.
    ///
    /// weight = Z Y^T (Y Y^T + r I)^-1 with deviations from the means Y, Z, and r the ridge parameter times samples; solved
    /// in whichever of its two forms has the smaller matrix. `None` where there are no samples or their values do not vary.
    pub fn fit(data: Targets<'_>, z: Cols<'_>) -> Option<WarmStart> {
        let (y, samples) = (data.y, data.y.ncols());
        if samples == 0 {
            return None;
        }
        let there = |i: usize, b: usize| data.w.is_none_or(|w| w[(i, b)] != 0.0);
        let (y_mean, z_mean) = (mean(y, there), mean(z, |_, _| true));
        let deviation = |i: usize, b: usize| if there(i, b) { y[(i, b)] - y_mean[i] } else { 0.0 };
        let y = Mat::from_fn(y.nrows(), samples, deviation);
        let z = Mat::from_fn(z.nrows(), samples, |i, b| z[(i, b)] - z_mean[i]);
        let ridge = RIDGE * y.squared_norm_l2() / y.nrows() as f64;
        if !(ridge > 0.0 && ridge.is_finite() && z.squared_norm_l2().is_finite()) {
            return None;
        }
        let weight = regress(y.as_ref(), z.as_ref(), ridge, y.nrows() <= samples)?;
        let bias = (0..z.nrows())
            .map(|r| z_mean[r] - (0..y.nrows()).map(|i| weight[(r, i)] * y_mean[i]).sum::<f64>())
            .collect();
        Some(WarmStart {
            weight,
            bias,
            mean: Some(y_mean),
        })
    }

    /// The starts of data y `[D, samples]`: `[d, samples]`. A value of weight 0 is not read: the mean stands for it and, where that
    /// is not known, the sample starts at its z0 `[d, samples]`. So does one with a value that counts and is not finite.
    pub fn starts(&self, data: Targets<'_>, z0: Cols<'_>) -> Mat<f64> {
        let y = data.y;
        let mut z = Mat::from_fn(self.bias.len(), y.ncols(), |r, _| self.bias[r]);
        for b in 0..y.ncols() {
            let value = |i: usize| match (data.w.is_some_and(|w| w[(i, b)] == 0.0), &self.mean) {
                (false, _) => y[(i, b)],
                (true, Some(mean)) => mean[i],
                (true, None) => f64::NAN,
            };
            if (0..y.nrows()).any(|i| !value(i).is_finite()) {
                z.as_mut().col_mut(b).copy_from(z0.col(b));
                continue;
            }
            // A column at a time: its bits are then the same whatever its neighbors.
            for i in 0..y.nrows() {
                let value = value(i);
                let column = self.weight.col_as_slice(i);
                z.col_as_slice_mut(b)
                    .iter_mut()
                    .zip(column)
                    .for_each(|(z, w)| *z += w * value);
            }
        }
        z
    }
}

/// Z Y^T (Y Y^T + r I)^-1, or the same as Z (Y^T Y + r I)^-1 Y^T, which is the smaller system where samples are fewer than
/// values.
fn regress(y: Cols<'_>, z: Cols<'_>, ridge: f64, by_values: bool) -> Option<Mat<f64>> {
    let mut gram = if by_values {
        y * y.transpose()
    } else {
        y.transpose() * y
    };
    for i in 0..gram.nrows() {
        gram[(i, i)] += ridge;
    }
    let factor = gram.llt(Side::Lower).ok()?;
    Some(if by_values {
        factor.solve(y * z.transpose()).transpose().to_owned()
    } else {
        factor.solve(z.transpose()).transpose() * y.transpose()
    })
}

/// The mean of every row over what is there; 0 for a row of which nothing is.
fn mean(of: Cols<'_>, there: impl Fn(usize, usize) -> bool) -> Vec<f64> {
    let row = |i: usize| {
        let count = (0..of.ncols()).filter(|&b| there(i, b)).count();
        let sum: f64 = (0..of.ncols()).filter(|&b| there(i, b)).map(|b| of[(i, b)]).sum();
        if count > 0 { sum / count as f64 } else { 0.0 }
    };
    (0..of.nrows()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::{WarmStart, regress};
    use faer::Mat;
    use gfe_model::Targets;

    fn all(y: &Mat<f64>) -> Targets<'_> {
        Targets { y: y.as_ref(), w: None }
    }

    /// Codes that depend linearly on the data, with many and with few samples.
    #[test]
    fn a_linear_dependence_is_found_up_to_the_ridge_in_both_forms() {
        for samples in [200, 5] {
            let y = Mat::from_fn(12, samples, |i, b| ((i * 37 + b * 101 + i * b * 7) % 97) as f64 / 97.0);
            let z = Mat::from_fn(2, samples, |r, b| 3.0 - y[(r, b)] + 0.5 * y[(r + 1, b)]);
            let start = WarmStart::fit(all(&y), z.as_ref()).expect("the data vary");
            let found = start.starts(all(&y), z.as_ref());
            let (mut apart, mut spread) = (0.0, 0.0);
            for b in 0..samples {
                for r in 0..2 {
                    let mean = (0..samples).map(|b| z[(r, b)]).sum::<f64>() / samples as f64;
                    apart += (found[(r, b)] - z[(r, b)]).powi(2);
                    spread += (z[(r, b)] - mean).powi(2);
                }
            }
            assert!(apart < 0.1 * spread, "{samples}: {apart} of {spread}");
        }
    }

    #[test]
    fn both_forms_agree() {
        let y = Mat::from_fn(6, 9, |i, b| ((i * 31 + b * 17 + i * b) % 13) as f64);
        let z = Mat::from_fn(2, 9, |r, b| (b * b + r) as f64);
        let [one, other] = [true, false]
            .map(|by_values| regress(y.as_ref(), z.as_ref(), 3.0, by_values).expect("the system is positive definite"));
        assert!((&one - &other).norm_max() < 1e-12 * one.norm_max());
    }

    #[test]
    fn data_that_do_not_vary_give_no_start() {
        let (y, z) = (Mat::full(3, 4, 1.0), Mat::full(1, 4, 2.0));
        assert!(WarmStart::fit(all(&y), z.as_ref()).is_none());
    }

    /// Whatever a masked value is, the mean of the others stands for it, in the fit and after it.
    #[test]
    fn a_masked_value_is_not_read_and_counts_as_the_mean() {
        let y = Mat::from_fn(6, 40, |i, b| ((i * 31 + b * 17 + i * b) % 13) as f64);
        let z = Mat::from_fn(2, 40, |r, b| ((b * b + r) % 7) as f64);
        let w = Mat::from_fn(6, 40, |i, b| f64::from(!(i + b).is_multiple_of(5)));
        let with = |masked: &dyn Fn(usize, usize) -> f64| {
            let y = Mat::from_fn(6, 40, |i, b| if w[(i, b)] == 0.0 { masked(i, b) } else { y[(i, b)] });
            let data = Targets {
                y: y.as_ref(),
                w: Some(w.as_ref()),
            };
            let warm = WarmStart::fit(data, z.as_ref()).expect("the data vary");
            let starts = warm.starts(data, z.as_ref());
            (warm, starts)
        };
        let (warm, starts) = with(&|_, _| f64::NAN);
        assert_eq!((warm.clone(), starts.clone()), with(&|_, _| 1e300));
        let mean = warm.mean.clone().expect("a fit knows it");
        let row: Vec<f64> = (0..40).filter(|b| w[(2, *b)] != 0.0).map(|b| y[(2, b)]).collect();
        assert!((mean[2] - row.iter().sum::<f64>() / row.len() as f64).abs() < 1e-14);
        let filled = Mat::from_fn(6, 40, |i, b| if w[(i, b)] == 0.0 { mean[i] } else { y[(i, b)] });
        assert_eq!(starts, warm.starts(all(&filled), z.as_ref()));
        // An older file knows no mean: such samples start at z0.
        let old = WarmStart { mean: None, ..warm };
        let data = Targets {
            y: y.as_ref(),
            w: Some(w.as_ref()),
        };
        let begun = old.starts(data, z.as_ref());
        for b in 0..40 {
            let masked = (0..6).any(|i| w[(i, b)] == 0.0);
            assert_eq!(begun.col(b) == z.col(b), masked, "{b}");
        }
    }
}
