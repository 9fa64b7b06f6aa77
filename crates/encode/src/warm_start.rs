//! A start close to the code: a linear regression of known codes on their data.

use faer::linalg::solvers::Solve;
use faer::{Mat, Side};
use gfe_model::Cols;

/// The ridge parameter as a part of the mean squared deviation of a value from its mean: by trial, on digits and clothes.
const RIDGE: f64 = 1e-1;

/// z = weight y + bias.
#[derive(Clone, Debug, PartialEq)]
pub struct WarmStart {
    /// `[d, D]`.
    pub weight: Mat<f64>,
    /// `[d]`.
    pub bias: Vec<f64>,
}

impl WarmStart {
    /// The ridge regression of the codes `z` `[d, samples]` on the data `y` `[D, samples]`.
    ///
    /// weight = Z Y^T (Y Y^T + r I)^-1 with deviations from the means Y, Z, and r the ridge parameter times samples; solved
    /// in whichever of its two forms has the smaller matrix. `None` where there are no samples or their values do not vary.
    pub fn fit(y: Cols<'_>, z: Cols<'_>) -> Option<WarmStart> {
        let samples = y.ncols();
        if samples == 0 {
            return None;
        }
        let (y_mean, z_mean) = (mean(y), mean(z));
        let y = Mat::from_fn(y.nrows(), samples, |i, b| y[(i, b)] - y_mean[i]);
        let z = Mat::from_fn(z.nrows(), samples, |i, b| z[(i, b)] - z_mean[i]);
        let ridge = RIDGE * y.squared_norm_l2() / y.nrows() as f64;
        if !(ridge > 0.0 && ridge.is_finite() && z.squared_norm_l2().is_finite()) {
            return None;
        }
        let weight = regress(y.as_ref(), z.as_ref(), ridge, y.nrows() <= samples)?;
        let bias = (0..z.nrows())
            .map(|r| z_mean[r] - (0..y.nrows()).map(|i| weight[(r, i)] * y_mean[i]).sum::<f64>())
            .collect();
        Some(WarmStart { weight, bias })
    }

    /// The starts of the data `y` `[D, samples]`: `[d, samples]`. A sample with a value that is not finite starts at the bias.
    pub fn starts(&self, y: Cols<'_>) -> Mat<f64> {
        let mut z = Mat::from_fn(self.bias.len(), y.ncols(), |r, _| self.bias[r]);
        for b in 0..y.ncols() {
            if y.col(b).iter().any(|value| !value.is_finite()) {
                continue;
            }
            // A column at a time: its bits are then the same whatever its neighbors.
            for (i, value) in y.col(b).iter().enumerate() {
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

fn mean(of: Cols<'_>) -> Vec<f64> {
    let row = |i: usize| of.row(i).iter().sum::<f64>() / of.ncols() as f64;
    (0..of.nrows()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::{WarmStart, regress};
    use faer::Mat;

    /// Codes that depend linearly on the data, with many and with few samples.
    #[test]
    fn a_linear_dependence_is_found_up_to_the_ridge_in_both_forms() {
        for samples in [200, 5] {
            let y = Mat::from_fn(12, samples, |i, b| ((i * 37 + b * 101 + i * b * 7) % 97) as f64 / 97.0);
            let z = Mat::from_fn(2, samples, |r, b| 3.0 - y[(r, b)] + 0.5 * y[(r + 1, b)]);
            let start = WarmStart::fit(y.as_ref(), z.as_ref()).expect("the data vary");
            let found = start.starts(y.as_ref());
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
        assert!(WarmStart::fit(y.as_ref(), z.as_ref()).is_none());
    }
}
