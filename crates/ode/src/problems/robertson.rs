//! Robertson's chemical kinetics.

use super::{Equations, Problem, table};
use std::sync::Arc;

/// A -> B with rate 0.04, 2 B -> B + C with 3e7, B + C -> A + C with 1e4.
struct Robertson;

impl Equations for Robertson {
    fn dim(&self) -> usize {
        3
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        let (a, b, c) = (0.04 * z[0], 3e7 * z[1] * z[1], 1e4 * z[1] * z[2]);
        f.copy_from_slice(&[c - a, a - b - c, b]);
    }

    fn jacobian(&self, _t: f64, z: &[f64], jacobian: &mut [f64]) {
        let (b, p, q) = (6e7 * z[1], 1e4 * z[1], 1e4 * z[2]);
        jacobian.copy_from_slice(&[-0.04, 0.04, 0.0, q, -b - q, b, p, -p, 0.0]);
    }
}

/// From (1, 0, 0) to t = 1e11. The published third component is 1e-14 less than 1 without the other two; ours is not.
pub(super) fn problem() -> Problem {
    let (reference, _) = table::read(include_str!("reference/robertson.txt"));
    Problem {
        name: "robertson".into(),
        about: "Robertson's chemical kinetics, 3 species, stiff over 11 decades of time".into(),
        source:
            "Robertson (1966); Mazzia & Magherini, Test Set for Initial Value Problem Solvers, release 2.4 (2008), \
                 problem ROBER; reference by reference/make.py"
                .into(),
        z0: vec![1.0, 0.0, 0.0],
        t_end: 1e11,
        stiff: true,
        atol_per_rtol: 1e-6,
        reference,
        published: Some(vec![0.2083340149701255e-7, 0.8333360770334713e-13, 0.999999979166505]),
        minimizer: None,
        equations: Arc::new(Robertson),
    }
}
