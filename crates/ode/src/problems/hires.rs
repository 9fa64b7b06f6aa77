//! HIRES, the high irradiance response of photomorphogenesis.

use super::{Equations, Problem, table};
use std::sync::Arc;

/// Schaefer, J. Math. Biol. 2, 41 (1975); Hairer & Wanner, Solving ODEs II, 2nd ed., section IV.10.
struct Hires;

impl Equations for Hires {
    fn dim(&self) -> usize {
        8
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        let meeting = 280.0 * z[5] * z[7];
        f[0] = -1.71 * z[0] + 0.43 * z[1] + 8.32 * z[2] + 0.0007;
        f[1] = 1.71 * z[0] - 8.75 * z[1];
        f[2] = -10.03 * z[2] + 0.43 * z[3] + 0.035 * z[4];
        f[3] = 8.32 * z[1] + 1.71 * z[2] - 1.12 * z[3];
        f[4] = -1.745 * z[4] + 0.43 * z[5] + 0.43 * z[6];
        f[5] = -meeting + 0.69 * z[3] + 1.71 * z[4] - 0.43 * z[5] + 0.69 * z[6];
        f[6] = meeting - 1.81 * z[6];
        f[7] = -f[6];
    }

    fn jacobian(&self, _t: f64, z: &[f64], jacobian: &mut [f64]) {
        jacobian.fill(0.0);
        let (p, q) = (280.0 * z[5], 280.0 * z[7]);
        jacobian[..2].copy_from_slice(&[-1.71, 1.71]);
        jacobian[8..12].copy_from_slice(&[0.43, -8.75, 0.0, 8.32]);
        jacobian[16..20].copy_from_slice(&[8.32, 0.0, -10.03, 1.71]);
        jacobian[26..30].copy_from_slice(&[0.43, -1.12, 0.0, 0.69]);
        jacobian[34..38].copy_from_slice(&[0.035, 0.0, -1.745, 1.71]);
        jacobian[44..48].copy_from_slice(&[0.43, -q - 0.43, q, -q]);
        jacobian[52..56].copy_from_slice(&[0.43, 0.69, -1.81, 1.81]);
        jacobian[61..64].copy_from_slice(&[-p, p, -p]);
    }
}

/// From (1, 0, 0, 0, 0, 0, 0, 0.0057) to t = 321.8122.
pub(super) fn problem() -> Problem {
    let (reference, _) = table::read(include_str!("reference/hires.txt"));
    Problem {
        name: "hires".into(),
        about: "high irradiance response of a plant, 8 reactants, stiff".into(),
        source: "Schaefer (1975); Mazzia & Magherini, Test Set for Initial Value Problem Solvers, release 2.4 (2008), \
                 problem HIRES; reference by reference/make.py"
            .into(),
        z0: vec![1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0057],
        t_end: 321.8122,
        stiff: true,
        atol_per_rtol: 1e-4,
        reference,
        published: Some(vec![
            0.7371312573325668e-3,
            0.1442485726316185e-3,
            0.5888729740967575e-4,
            0.1175651343283149e-2,
            0.2386356198831331e-2,
            0.6238968252742796e-2,
            0.2849998395185769e-2,
            0.2850001604814231e-2,
        ]),
        minimizer: None,
        equations: Arc::new(Hires),
    }
}
