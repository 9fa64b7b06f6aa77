//! Cross entropy of decoded probabilities.

use super::{BadDatum, Bce, Loss, admit_values, eval_columns};
use crate::columns::{column, column_mut};
use crate::{Cols, ColsMut, Targets};

/// v = -y log p - (1 - y) log(1 - p) with p the decoded value x cut to `[least, 1 - least]`.
///
/// What a decoder of values, such as principal components, is worth as one of probabilities: beside [`Bce`], whose decoders
/// give logits, it makes losses comparable. Outside the cut its derivatives are 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClippedBce {
    /// The smallest probability, between 0 and 1/2.
    pub least: f64,
}

impl Default for ClippedBce {
    /// 1e-3: with it 20 principal components of MNIST digits come out best, of 1e-1 to 1e-4.
    fn default() -> Self {
        ClippedBce { least: 1e-3 }
    }
}

impl Loss for ClippedBce {
    fn name(&self) -> &'static str {
        Bce.name()
    }

    fn eval(&self, x: Cols<'_>, y: Targets<'_>, value: &mut [f64], x_bar: Option<ColsMut<'_>>) {
        eval_columns(x, y, value, x_bar, |x, y| {
            let p = x.clamp(self.least, 1.0 - self.least);
            let slope = if p == x { (p - y) / (p * (1.0 - p)) } else { 0.0 };
            (-y * p.ln() - (1.0 - y) * (-p).ln_1p(), slope)
        });
    }

    fn curvature(&self, x: Cols<'_>, y: Targets<'_>, mut diagonal: ColsMut<'_>) {
        let values = x.nrows() as f64;
        for lane in 0..x.ncols() {
            let (decoded, data) = (column(x, lane), column(y.y, lane));
            let w = y.w.map(|w| column(w, lane));
            let diagonal = column_mut(&mut diagonal, lane);
            for i in 0..decoded.len() {
                let (p, weight) = (decoded[i], w.map_or(1.0, |w| w[i]));
                let inside = (self.least..=1.0 - self.least).contains(&p) && weight != 0.0;
                diagonal[i] = if inside {
                    weight * (data[i] / (p * p) + (1.0 - data[i]) / ((1.0 - p) * (1.0 - p))) / values
                } else {
                    0.0
                };
            }
        }
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
        x.clamp(self.least, 1.0 - self.least)
    }

    fn terms(&self, x: f64) -> [f64; 2] {
        let p = x.clamp(self.least, 1.0 - self.least);
        [-(-p).ln_1p(), p.ln() - (-p).ln_1p()]
    }

    fn is_likelihood(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::ClippedBce;
    use crate::loss::Bce;
    use crate::{Loss, Targets};
    use faer::Mat;

    /// At the logits of the same probabilities it is [`Bce`]; its derivatives are those of differences.
    #[test]
    fn it_is_the_cross_entropy_of_the_cut_probability() {
        let loss = ClippedBce { least: 0.01 };
        let (p, y) = (
            Mat::from_fn(3, 2, |i, b| 0.2 + 0.3 * i as f64 - 0.1 * b as f64),
            Mat::from_fn(3, 2, |i, b| 0.25 * (i + b) as f64),
        );
        let logits = Mat::from_fn(3, 2, |i, b| (p[(i, b)] / (1.0 - p[(i, b)])).ln());
        let w = Mat::from_fn(3, 2, |i, b| f64::from(i != b));
        let data = Targets {
            y: y.as_ref(),
            w: Some(w.as_ref()),
        };
        let at = |x: &Mat<f64>, loss: &dyn Loss| {
            let (mut value, mut x_bar) = (vec![0.0; 2], Mat::zeros(3, 2));
            loss.eval(x.as_ref(), data, &mut value, Some(x_bar.as_mut()));
            (value, x_bar)
        };
        let (value, x_bar) = at(&p, &loss);
        for (one, other) in value.iter().zip(at(&logits, &Bce).0) {
            assert!((one - other).abs() < 1e-14);
        }
        let mut diagonal = Mat::zeros(3, 2);
        loss.curvature(p.as_ref(), data, diagonal.as_mut());
        let h = 1e-5;
        for i in 0..3 {
            for b in 0..2 {
                let moved = |h: f64| {
                    let mut x = p.clone();
                    x[(i, b)] += h;
                    at(&x, &loss)
                };
                let (up, down) = (moved(h), moved(-h));
                // Truncation of h^2 = 1e-10 and rounding of 1e-16 / h = 1e-11, times higher derivatives of a few hundred.
                assert!(((up.0[b] - down.0[b]) / (2.0 * h) - x_bar[(i, b)]).abs() < 1e-7);
                assert!(((up.1[(i, b)] - down.1[(i, b)]) / (2.0 * h) - diagonal[(i, b)]).abs() < 1e-6);
            }
        }
        let outside = Mat::from_fn(3, 2, |i, _| if i == 0 { -3.0 } else { 7.0 });
        let (value, x_bar) = at(&outside, &loss);
        assert!(value.iter().all(|value| value.is_finite()) && x_bar.norm_max() == 0.0);
    }
}
