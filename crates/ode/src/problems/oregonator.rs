//! The Oregonator, a model of the Belousov-Zhabotinskii reaction.

use super::{Equations, Problem, table};
use std::sync::Arc;

/// Field & Noyes, J. Chem. Phys. 60, 1877 (1974); Hairer & Wanner, Solving ODEs II, 2nd ed., section IV.10.
struct Oregonator;

const S: f64 = 77.27;
const Q: f64 = 8.375e-6;
const W: f64 = 0.161;

impl Equations for Oregonator {
    fn dim(&self) -> usize {
        3
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        let (x, y, v) = (z[0], z[1], z[2]);
        f[0] = S * (y + x * (1.0 - Q * x - y));
        f[1] = (v - (1.0 + x) * y) / S;
        f[2] = W * (x - v);
    }

    fn jacobian(&self, _t: f64, z: &[f64], jacobian: &mut [f64]) {
        let (x, y) = (z[0], z[1]);
        jacobian[..3].copy_from_slice(&[S * (1.0 - 2.0 * Q * x - y), -y / S, W]);
        jacobian[3..6].copy_from_slice(&[S * (1.0 - x), -(1.0 + x) / S, 0.0]);
        jacobian[6..].copy_from_slice(&[0.0, 1.0 / S, -W]);
    }
}

/// From (1, 2, 3) to t = 360.
pub(super) fn problem() -> Problem {
    let (reference, _) = table::read(include_str!("reference/oregonator.txt"));
    Problem {
        name: "oregonator".into(),
        about: "Oregonator, 3 species, a stiff limit cycle".into(),
        source: "Field & Noyes (1974); Mazzia & Magherini, Test Set for Initial Value Problem Solvers, release 2.4 \
                 (2008), problem OREGO; reference by reference/make.py"
            .into(),
        z0: vec![1.0, 2.0, 3.0],
        t_end: 360.0,
        stiff: true,
        atol_per_rtol: 1e-6,
        reference,
        published: Some(vec![0.1000814870318523e1, 0.1228178521549917e4, 0.1320554942846706e3]),
        minimizer: None,
        equations: Arc::new(Oregonator),
    }
}
