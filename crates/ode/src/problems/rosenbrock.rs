//! The gradient flow of Rosenbrock's function.

use super::{Equations, Problem, table};
use crate::Structure;
use std::sync::Arc;

/// objective = r^T r with r = (1 - x, 10 (y - x^2)): a curved valley, of condition number 2508 at its minimum (1, 1).
///
/// The Gauss-Newton Hessian is 2 J^T J with J = dr/dz.
struct Rosenbrock;

impl Equations for Rosenbrock {
    fn dim(&self) -> usize {
        2
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        let (x, rise) = (z[0], z[1] - z[0] * z[0]);
        f[0] = 2.0 * (1.0 - x) + 400.0 * x * rise;
        f[1] = -200.0 * rise;
    }

    fn jacobian(&self, t: f64, z: &[f64], jacobian: &mut [f64]) {
        self.gauss_newton(t, z, jacobian);
        jacobian[0] += 400.0 * (z[1] - z[0] * z[0]);
    }

    fn gauss_newton(&self, _t: f64, z: &[f64], jacobian: &mut [f64]) {
        let x = z[0];
        jacobian.copy_from_slice(&[-2.0 - 800.0 * x * x, 400.0 * x, 400.0 * x, -200.0]);
    }

    fn objective(&self, z: &[f64]) -> Option<f64> {
        Some((1.0 - z[0]).powi(2) + 100.0 * (z[1] - z[0] * z[0]).powi(2))
    }

    fn structure(&self) -> (Structure, Structure) {
        (Structure::NegativeSemidefinite, Structure::Symmetric)
    }
}

/// From (-1.2, 1), as Rosenbrock starts; to t = 10, where the minimum is near.
pub(super) fn problem() -> Problem {
    let (reference, _) = table::read(include_str!("reference/rosenbrock.txt"));
    Problem {
        name: "rosenbrock".into(),
        about: "gradient flow of Rosenbrock's function in 2 dimensions".into(),
        source: "Rosenbrock, Comput. J. 3, 175 (1960); reference by reference/make.py".into(),
        z0: vec![-1.2, 1.0],
        t_end: 10.0,
        stiff: false,
        atol_per_rtol: 1.0,
        reference,
        published: None,
        minimizer: Some(vec![1.0, 1.0]),
        equations: Arc::new(Rosenbrock),
    }
}
