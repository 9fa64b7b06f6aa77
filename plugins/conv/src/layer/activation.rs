//! Nonlinearities, element by element: those of the built-in dense decoder, and leaky ReLU with any slope.

use crate::columns::{column, column_mut};
use gfe_sdk::faer::Accum;
use gfe_sdk::model::dense;
use gfe_sdk::{Cols, ColsMut};

/// A nonlinearity. At a kink the slope is the one from below, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Activation {
    /// a above 0, this times a below.
    LeakyRelu(f64),
    /// One of the dense decoder's.
    Dense(dense::Activation),
}

impl Activation {
    fn value_and_slope(self, a: f64) -> (f64, f64) {
        match self {
            Activation::LeakyRelu(leak) if a <= 0.0 => (leak * a, leak),
            Activation::LeakyRelu(_) => (a, 1.0),
            Activation::Dense(activation) => activation.value_and_slope(a),
        }
    }

    fn second(self, a: f64) -> f64 {
        match self {
            Activation::LeakyRelu(_) => 0.0,
            Activation::Dense(activation) => activation.second(a),
        }
    }

    /// h = activation(a).
    pub fn apply(self, a: Cols<'_>, mut h: ColsMut<'_>) {
        for lane in 0..a.ncols() {
            let pairs = column_mut(&mut h, lane).iter_mut().zip(column(a, lane));
            pairs.for_each(|(h, &a)| *h = self.value_and_slope(a).0);
        }
    }

    /// h_dot = s a_dot, with s = activation'(a). Column c of the tangents goes with column `lane(c)` of `a`, whose slopes
    /// are computed once for equal neighbors, in `slopes`.
    pub fn push(
        self,
        a: Cols<'_>,
        lane: impl Fn(usize) -> usize,
        a_dot: Cols<'_>,
        mut h_dot: ColsMut<'_>,
        slopes: &mut [f64],
    ) {
        let slopes = &mut slopes[..a.nrows()];
        let mut current = None;
        for c in 0..a_dot.ncols() {
            if current != Some(lane(c)) {
                current = Some(lane(c));
                let pairs = slopes.iter_mut().zip(column(a, lane(c)));
                pairs.for_each(|(s, &a)| *s = self.value_and_slope(a).1);
            }
            let (h_dot, a_dot) = (column_mut(&mut h_dot, c), column(a_dot, c));
            for i in 0..slopes.len() {
                h_dot[i] = slopes[i] * a_dot[i];
            }
        }
    }

    /// a_bar = s h_bar, or is added to.
    pub fn pull(self, a: Cols<'_>, h_bar: Cols<'_>, mut a_bar: ColsMut<'_>, accum: Accum) {
        for lane in 0..a.ncols() {
            let (a, h_bar, a_bar) = (column(a, lane), column(h_bar, lane), column_mut(&mut a_bar, lane));
            for i in 0..a.len() {
                let pulled = self.value_and_slope(a[i]).1 * h_bar[i];
                a_bar[i] = match accum {
                    Accum::Replace => pulled,
                    Accum::Add => a_bar[i] + pulled,
                };
            }
        }
    }

    /// a_bar_dot += activation''(a) a_dot h_bar.
    pub fn add_curvature(self, a: Cols<'_>, a_dot: Cols<'_>, h_bar: Cols<'_>, mut a_bar_dot: ColsMut<'_>) {
        for lane in 0..a.ncols() {
            let (a, a_dot) = (column(a, lane), column(a_dot, lane));
            let (h_bar, a_bar_dot) = (column(h_bar, lane), column_mut(&mut a_bar_dot, lane));
            for i in 0..a.len() {
                a_bar_dot[i] += self.second(a[i]) * a_dot[i] * h_bar[i];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaky_slope_of_a_hundredth_is_the_dense_decoders() {
        for a in [-2.0, -0.5, 0.0, 0.5, 2.0] {
            let (ours, theirs) = (Activation::LeakyRelu(0.01), dense::Activation::LeakyRelu);
            assert_eq!(ours.value_and_slope(a), theirs.value_and_slope(a));
            assert_eq!(ours.second(a), theirs.second(a));
        }
    }
}
