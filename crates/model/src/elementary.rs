//! Exponentials and logarithms of many values at a time.
//!
//! Branch-free, and of additions, products and quotients alone, each rounded: so a compiler may take any number of values
//! together, and a value has the same bits whatever the processor. The C library's functions take one at a time.

use std::f64::consts::LOG2_E;

/// 1.5 * 2^52: adding it rounds to an integer, which then stands in the lowest bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// The same for single precision: 1.5 * 2^23.
const ROUND_SINGLE: f32 = 12_582_912.0;
/// ln 2 as a sum, the first with so few digits that its products with integers below 2^11 are exact: fdlibm, `e_exp.c`.
const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// The same for single precision, from fdlibm's `e_expf.c`, with products below 2^9.
const LN_2_HIGH_SINGLE: f32 = 0.693_145_75;
const LN_2_LOW_SINGLE: f32 = 1.428_606_8e-6;

/// Runs `over`, a loop, compiled for the widest vectors that the processor has; its closures and functions have to be
/// `#[inline(always)]`. Sums and products are rounded as ever: the bits are those of the plain loop.
#[inline(always)]
pub fn vectorized<R>(over: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(over)
}

/// (2^n, e^r - 1), where x = n ln 2 + r and |r| <= ln 2 / 2; for x in [-708, 709].
#[inline(always)]
fn parts(x: f64) -> (f64, f64) {
    let shifted = x * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
    // Taylor's series up to r^13 / 13!: what is left out is below 5e-18 of r.
    let mut sum = 1.0 / 6_227_020_800.0;
    for factorial in [
        479_001_600.0,
        39_916_800.0,
        3_628_800.0,
        362_880.0,
        40_320.0,
        5_040.0,
        720.0,
        120.0,
        24.0,
        6.0,
        2.0,
    ] {
        sum = sum * r + 1.0 / factorial;
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(1023);
    (f64::from_bits(exponent << 52), r + r * r * sum)
}

/// e^x for x <= 0, to 2 units in the last place; 0 below -708. NaN stays.
#[inline(always)]
pub(crate) fn exp_of_negative(x: f64) -> f64 {
    let (scale, small) = parts(if x < -708.0 { -708.0 } else { x });
    if x < -708.0 { 0.0 } else { scale + scale * small }
}

/// e^x - 1 for x <= 0, to 2 units in the last place. NaN stays.
#[inline(always)]
pub(crate) fn exp_m1_of_negative(x: f64) -> f64 {
    // -1 to rounding from -37.5 on.
    let (scale, small) = parts(if x < -40.0 { -40.0 } else { x });
    scale * small + (scale - 1.0)
}

/// The same in single precision.
#[inline(always)]
pub(crate) fn exp_m1_of_negative_single(x: f32) -> f32 {
    let x = if x < -20.0 { -20.0 } else { x };
    let shifted = x * LOG2_E as f32 + ROUND_SINGLE;
    let n = shifted - ROUND_SINGLE;
    let r = (x - n * LN_2_HIGH_SINGLE) - n * LN_2_LOW_SINGLE;
    let mut sum = 1.0 / 5_040.0;
    for factorial in [720.0, 120.0, 24.0, 6.0, 2.0] {
        sum = sum * r + 1.0 / factorial;
    }
    let exponent = shifted.to_bits().wrapping_sub(ROUND_SINGLE.to_bits()).wrapping_add(127);
    let scale = f32::from_bits(exponent << 23);
    scale * (r + r * r * sum) + (scale - 1.0)
}

/// ln(1 + x) for x in [0, 1], to a unit in the last place. NaN stays.
///
/// With t = x / (2 + x) <= 1/3 it is 2 artanh(t) = 2 t + t r, r = 2/3 t^2 + 2/5 t^4 + ... up to t^32; and 2 t is
/// x - x^2/2 + t x^2/2, so that what is rounded most is small beside x, as in fdlibm's `s_log1p.c`.
#[inline(always)]
pub(crate) fn ln_1p_of_fraction(x: f64) -> f64 {
    let t = x / (2.0 + x);
    let square = t * t;
    let mut sum = 2.0 / 33.0;
    let mut odd = 31.0;
    while odd > 1.0 {
        sum = sum * square + 2.0 / odd;
        odd -= 2.0;
    }
    let half = 0.5 * x * x;
    x - (half - t * (half + square * sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::LN_2;

    fn points() -> impl Iterator<Item = f64> {
        (0..400_000).map(|i| -(1e-9 * 1.000_07_f64.powi(i)).min(745.0))
    }

    /// The largest error in units in the last place of the expected value.
    fn worst(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
        let ulps = |(found, expected): (f64, f64)| (found - expected).abs() / (expected.abs() * f64::EPSILON);
        pairs.map(ulps).fold(0.0, f64::max)
    }

    #[test]
    fn they_agree_with_the_c_library_to_a_few_units_in_the_last_place() {
        let normal = || points().filter(|&x| x > -707.0);
        let exp = worst(normal().map(|x| (exp_of_negative(x), x.exp())));
        let exp_m1 = worst(points().map(|x| (exp_m1_of_negative(x), x.exp_m1())));
        let fractions = || {
            (1..100_000)
                .map(|i| f64::from(i) * 1e-5)
                .chain(points().map(f64::exp))
                .filter(|x| *x > 1e-300)
        };
        let ln_1p = worst(fractions().map(|x| (ln_1p_of_fraction(x), x.ln_1p())));
        assert!(exp < 2.0 && exp_m1 < 2.0 && ln_1p < 1.5, "{exp} {exp_m1} {ln_1p}");
        let single = points().map(|x| {
            let x = x as f32;
            let (found, expected) = (exp_m1_of_negative_single(x), f64::from(x).exp_m1());
            (f64::from(found) - expected).abs() / (expected.abs() * f64::from(f32::EPSILON))
        });
        let single = single.fold(0.0, f64::max);
        assert!(single < 2.0, "{single}");
    }

    #[test]
    fn limits_are_those_of_the_functions_and_nan_stays() {
        for x in [-1e300, f64::NEG_INFINITY, -800.0] {
            assert_eq!((exp_of_negative(x), exp_m1_of_negative(x)), (0.0, -1.0));
            assert_eq!(exp_m1_of_negative_single(x as f32), -1.0);
        }
        assert_eq!((exp_of_negative(0.0), exp_m1_of_negative(0.0)), (1.0, 0.0));
        assert_eq!(ln_1p_of_fraction(0.0), 0.0);
        assert!((ln_1p_of_fraction(1.0) - LN_2).abs() < 1e-15);
        let nan = f64::NAN;
        assert!(exp_of_negative(nan).is_nan() && exp_m1_of_negative(nan).is_nan() && ln_1p_of_fraction(nan).is_nan());
        assert!(exp_m1_of_negative_single(f32::NAN).is_nan());
    }

    #[test]
    fn a_value_has_the_same_bits_alone_and_among_many() {
        let all: Vec<f64> = points().step_by(97).collect();
        let many: Vec<f64> = vectorized(|| all.iter().map(|&x| exp_m1_of_negative(x)).collect());
        for (x, found) in all.iter().zip(many) {
            assert_eq!(exp_m1_of_negative(std::hint::black_box(*x)).to_bits(), found.to_bits());
        }
    }
}
