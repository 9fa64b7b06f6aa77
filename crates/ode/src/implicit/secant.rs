//! Damped secant updates of a positive definite Hessian approximation.

/// Powell's damped BFGS update of `h` `[d, d]`, symmetric positive definite, so that h s = y wherever s^T y allows it.
///
/// With r = t y + (1 - t) h s, where t = 1 if s^T y >= 0.2 s^T h s, else 0.8 s^T h s / (s^T h s - s^T y):
/// h <- h - (h s)(h s)^T / s^T h s + r r^T / s^T r. `h` stays positive definite. `s`, `y`, `memory`: `[d]`. Nothing changes
/// where s^T h s is not positive and finite, or y not finite.
/// Nocedal & Wright, Numerical Optimization, 2nd ed., procedure 18.2.
pub fn damped_bfgs(h: &mut [f64], s: &[f64], y: &[f64], memory: &mut [f64]) {
    let dim = s.len();
    for (i, hs) in memory.iter_mut().enumerate() {
        *hs = dot(&h[i * dim..(i + 1) * dim], s);
    }
    let (shs, sy) = (dot(memory, s), dot(s, y));
    // Squares below this underflow in the quotients.
    if !(shs > f64::MIN_POSITIVE && shs.is_finite() && sy.is_finite()) {
        return;
    }
    let t = if sy >= 0.2 * shs { 1.0 } else { 0.8 * shs / (shs - sy) };
    let sr = t * sy + (1.0 - t) * shs;
    for j in 0..dim {
        let r_j = t * y[j] + (1.0 - t) * memory[j];
        for i in 0..dim {
            let r_i = t * y[i] + (1.0 - t) * memory[i];
            h[j * dim + i] += r_i * r_j / sr - memory[i] * memory[j] / shs;
        }
    }
}

/// The least factor by which [`scaled_bfgs`] scales.
const LEAST: f64 = 0.5;

/// The same after a scaling of the whole `h` by s^T y / s^T h s, where that lies below 1, and by 1/2 at the least.
///
/// Where the curvature along the step has fallen it has as a rule fallen elsewhere too: the second derivative of a cross
/// entropy, say, falls with every logit. Nocedal & Yuan, Math. Program. 61, 19 (1993), on Oren's and Luenberger's scaling.
pub fn scaled_bfgs(h: &mut [f64], s: &[f64], y: &[f64], memory: &mut [f64]) {
    let factor = dot(s, y) / quadratic_form(h, s);
    if factor < 1.0 {
        let factor = factor.max(LEAST);
        h.iter_mut().for_each(|h| *h *= factor);
    }
    damped_bfgs(h, s, y, memory);
}

/// s^T h s, for `h` `[d, d]`.
pub(crate) fn quadratic_form(h: &[f64], s: &[f64]) -> f64 {
    h.chunks(s.len()).zip(s).map(|(row, s_i)| s_i * dot(row, s)).sum()
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::{damped_bfgs, dot};

    #[test]
    fn an_update_meets_the_secant_equation_or_stays_positive_definite() {
        let (s, mut memory) = ([1.0, -2.0, 0.5], [0.0; 3]);
        let start = [4.0, 1.0, 0.0, 1.0, 3.0, 0.5, 0.0, 0.5, 2.0];
        let product = |h: &[f64]| -> Vec<f64> { (0..3).map(|i| dot(&h[3 * i..3 * i + 3], &s)).collect() };
        let (mut h, y) = (start, [0.9, -3.0, 0.2]);
        damped_bfgs(&mut h, &s, &y, &mut memory);
        assert!(product(&h).iter().zip(y).all(|(a, b)| (a - b).abs() < 1e-14));
        // Negative curvature along s: damped to a fifth of what h had there.
        let (mut h, y) = (start, [-1.0, 2.0, -0.5]);
        let before = dot(&product(&h), &s);
        damped_bfgs(&mut h, &s, &y, &mut memory);
        assert!((dot(&product(&h), &s) - 0.2 * before).abs() < 1e-13 * before);
    }
}
