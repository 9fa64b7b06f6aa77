//! The Brusselator, an oscillating reaction.

use super::{Equations, Problem, table};
use std::sync::Arc;

/// y1' = 1 + y1^2 y2 - 4 y1, y2' = 3 y1 - y1^2 y2: Hairer, Norsett & Wanner, Solving ODEs I, 2nd ed., section II.4.
struct Brusselator;

impl Equations for Brusselator {
    fn dim(&self) -> usize {
        2
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        let reaction = z[0] * z[0] * z[1];
        f[0] = 1.0 + reaction - 4.0 * z[0];
        f[1] = 3.0 * z[0] - reaction;
    }

    fn jacobian(&self, _t: f64, z: &[f64], jacobian: &mut [f64]) {
        let (p, q) = (2.0 * z[0] * z[1], z[0] * z[0]);
        jacobian.copy_from_slice(&[p - 4.0, 3.0 - p, q, -q]);
    }
}

/// From (1.5, 3) to t = 20.
pub(super) fn problem() -> Problem {
    let (reference, _) = table::read(include_str!("reference/brusselator.txt"));
    Problem {
        name: "brusselator".into(),
        about: "Brusselator without diffusion, 2 species, a limit cycle".into(),
        source: "Hairer, Norsett & Wanner, Solving ODEs I, 2nd ed., section II.4; published state: the russell_ode \
                 library, by Mathematica with 32 digits; reference by reference/make.py"
            .into(),
        z0: vec![1.5, 3.0],
        t_end: 20.0,
        stiff: false,
        atol_per_rtol: 1.0,
        reference,
        published: Some(vec![0.4986370712683478, 4.596780349452011]),
        minimizer: None,
        equations: Arc::new(Brusselator),
    }
}
