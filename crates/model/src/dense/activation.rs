//! The nonlinearities between dense layers, element by element.

use crate::elementary::{exp_m1_of_negative, exp_m1_of_negative_single, vectorized};
use serde::{Deserialize, Serialize};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// Slope of [`Activation::LeakyRelu`] below 0: PyTorch's default.
const LEAK: f64 = 0.01;
/// Scale and alpha of SELU: Klambauer et al., Self-Normalizing Neural Networks (2017), eq. 14.
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

/// A nonlinearity, named as in configuration and files. At a kink the slope is the one from below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// a
    Identity,
    /// max(a, 0)
    Relu,
    /// a above 0, 0.01 a below
    LeakyRelu,
    /// a above 0, e^a - 1 below
    Elu,
    /// 1.0507 a above 0, 1.0507 * 1.6733 (e^a - 1) below
    Selu,
    /// a Phi(a), with the exact normal distribution function
    Gelu,
    /// a sigmoid(a)
    Silu,
    /// log(1 + e^a)
    Softplus,
    /// tanh(a)
    Tanh,
    /// 1 / (1 + e^-a)
    Sigmoid,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Activation; 10] = [
        Activation::Identity,
        Activation::Relu,
        Activation::LeakyRelu,
        Activation::Elu,
        Activation::Selu,
        Activation::Gelu,
        Activation::Silu,
        Activation::Softplus,
        Activation::Tanh,
        Activation::Sigmoid,
    ];

    /// Value and slope at `a`. NaN gives the value NaN.
    #[inline]
    pub fn value_and_slope(self, a: f64) -> (f64, f64) {
        match self {
            Activation::Identity => (a, 1.0),
            Activation::Relu if a <= 0.0 => (0.0, 0.0),
            Activation::LeakyRelu if a <= 0.0 => (LEAK * a, LEAK),
            Activation::Relu | Activation::LeakyRelu => (a, 1.0),
            Activation::Elu => exponential(a, 1.0, 1.0),
            Activation::Selu => exponential(a, SELU_SCALE, SELU_ALPHA),
            Activation::Gelu => (a * normal_cdf(a), normal_cdf(a) + a * normal_density(a)),
            Activation::Silu => {
                let (up, down) = sigmoids(a);
                (a * up, up * (1.0 + a * down))
            }
            Activation::Softplus => (a.max(0.0) + (-a.abs()).exp().ln_1p(), sigmoids(a).0),
            Activation::Tanh => {
                let t = a.tanh();
                (t, 1.0 - t * t)
            }
            Activation::Sigmoid => {
                let (up, down) = sigmoids(a);
                (up, up * down)
            }
        }
    }

    /// a <- a + `bias`, h and s = values and slopes there.
    pub(super) fn apply(self, a: &mut [f64], bias: &[f64], h: &mut [f64], s: &mut [f64]) {
        let points = a.iter_mut().zip(bias).zip(h.iter_mut().zip(s));
        let (scale, alpha) = match self {
            Activation::Elu => (1.0, 1.0),
            Activation::Selu => (SELU_SCALE, SELU_ALPHA),
            _ => {
                return points.for_each(|((a, bias), (h, s))| {
                    *a += bias;
                    (*h, *s) = self.value_and_slope(*a);
                });
            }
        };
        vectorized(
            #[inline(always)]
            || {
                points.for_each(|((a, bias), (h, s))| {
                    *a += bias;
                    (*h, *s) = exponential(*a, scale, alpha);
                })
            },
        );
    }

    /// a <- values, s = slopes at every `a` + `bias`, to single precision.
    pub(super) fn apply_single(self, a: &mut [f32], bias: &[f64], s: &mut [f64]) {
        let (scale, alpha) = match self {
            Activation::Elu => (1.0, 1.0),
            Activation::Selu => (SELU_SCALE as f32, SELU_ALPHA as f32),
            _ => {
                for ((a, &bias), s) in a.iter_mut().zip(bias).zip(s) {
                    let (value, slope) = self.value_and_slope(f64::from(*a + bias as f32));
                    (*a, *s) = (value as f32, slope);
                }
                return;
            }
        };
        vectorized(
            #[inline(always)]
            || {
                for ((a, &bias), s) in a.iter_mut().zip(bias).zip(s) {
                    let (value, slope) = exponential_single(*a + bias as f32, scale, alpha);
                    (*a, *s) = (value, f64::from(slope));
                }
            },
        );
    }

    /// Second derivative at `a`; 0 at a kink.
    pub fn second(self, a: f64) -> f64 {
        match self {
            Activation::Identity | Activation::Relu | Activation::LeakyRelu => 0.0,
            Activation::Elu | Activation::Selu if a > 0.0 => 0.0,
            Activation::Elu => a.exp(),
            Activation::Selu => SELU_SCALE * SELU_ALPHA * a.exp(),
            Activation::Gelu => (2.0 - a * a) * normal_density(a),
            Activation::Silu => {
                let (up, down) = sigmoids(a);
                up * down * (2.0 + a * (down - up))
            }
            Activation::Softplus => {
                let (up, down) = sigmoids(a);
                up * down
            }
            Activation::Tanh => {
                let t = a.tanh();
                -2.0 * t * (1.0 - t * t)
            }
            Activation::Sigmoid => {
                let (up, down) = sigmoids(a);
                up * down * (down - up)
            }
        }
    }
}

/// scale a above 0, scale alpha (e^a - 1) below, and its slope.
#[inline(always)]
fn exponential(a: f64, scale: f64, alpha: f64) -> (f64, f64) {
    let above = a > 0.0;
    let below = exp_m1_of_negative(if above { 0.0 } else { a });
    if above {
        (scale * a, scale)
    } else {
        (scale * alpha * below, scale * alpha * (below + 1.0))
    }
}

/// The same in single precision.
#[inline(always)]
fn exponential_single(a: f32, scale: f32, alpha: f32) -> (f32, f32) {
    let above = a > 0.0;
    let below = exp_m1_of_negative_single(if above { 0.0 } else { a });
    if above {
        (scale * a, scale)
    } else {
        (scale * alpha * below, scale * alpha * (below + 1.0))
    }
}

/// sigmoid(a) and sigmoid(-a), both to full relative precision.
fn sigmoids(a: f64) -> (f64, f64) {
    let small = (-a.abs()).exp();
    let (large, small) = (1.0 / (1.0 + small), small / (1.0 + small));
    if a >= 0.0 { (large, small) } else { (small, large) }
}

fn normal_cdf(a: f64) -> f64 {
    0.5 * libm::erfc(-a * FRAC_1_SQRT_2)
}

fn normal_density(a: f64) -> f64 {
    (-0.5 * a * a).exp() / (2.0 * PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Away from the kink at 0.
    const POINTS: [f64; 10] = [-6.0, -2.5, -1.0, -0.3, -0.01, 0.01, 0.4, 1.0, 2.5, 6.0];

    #[test]
    fn slopes_agree_with_central_differences() {
        // Step 1e-5: truncation and rounding are both near 1e-10 for functions of size 1 to 6.
        let h = 1e-5;
        for activation in Activation::ALL {
            for a in POINTS {
                let (above, slope_above) = activation.value_and_slope(a + h);
                let (below, slope_below) = activation.value_and_slope(a - h);
                let slope = activation.value_and_slope(a).1;
                let second = activation.second(a);
                assert!(
                    ((above - below) / (2.0 * h) - slope).abs() < 1e-9,
                    "{activation:?} slope at {a}"
                );
                let measured = (slope_above - slope_below) / (2.0 * h);
                assert!(
                    (measured - second).abs() < 1e-9,
                    "{activation:?} second derivative at {a}"
                );
            }
        }
    }

    #[test]
    fn values_at_minus_one_are_those_of_the_definitions() {
        // From the definitions by the math module of Python; 1e-14 allows for another rounding of exp and erfc.
        for (activation, expected) in [
            (Activation::Identity, -1.0),
            (Activation::Relu, 0.0),
            (Activation::LeakyRelu, -0.01),
            (Activation::Elu, -0.632_120_558_828_557_7),
            (Activation::Selu, -1.111_330_737_812_562_8),
            (Activation::Gelu, -0.158_655_253_931_457_07),
            (Activation::Silu, -0.268_941_421_369_995_1),
            (Activation::Softplus, 0.313_261_687_518_222_86),
            (Activation::Tanh, -0.761_594_155_955_764_9),
            (Activation::Sigmoid, 0.268_941_421_369_995_1),
        ] {
            let value = activation.value_and_slope(-1.0).0;
            assert!((value - expected).abs() < 1e-14, "{activation:?}: {value}");
        }
    }

    #[test]
    fn nothing_overflows_at_huge_arguments_and_nan_stays() {
        for activation in Activation::ALL {
            for a in [-1e300, -800.0, 800.0, 1e300] {
                let (value, slope) = activation.value_and_slope(a);
                assert!(
                    value.is_finite() && slope.is_finite(),
                    "{activation:?} at {a}: {value}, {slope}"
                );
            }
            assert!(activation.value_and_slope(f64::NAN).0.is_nan(), "{activation:?}");
        }
    }
}
