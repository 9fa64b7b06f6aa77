//! Quadratic gradient flows of a given condition number, with their exact solution.

use super::{Equations, Problem, Trajectory};
use crate::Structure;
use std::sync::Arc;

/// objective = (1/2) sum_i lambda_i (z_i - 1)^2: dz/dt = -lambda (z - 1), z(t) = 1 - exp(-lambda t) from 0.
#[derive(Clone, Debug)]
pub struct Quadratic {
    /// lambda.
    pub eigenvalues: Vec<f64>,
}

impl Equations for Quadratic {
    fn dim(&self) -> usize {
        self.eigenvalues.len()
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        for (f, (z, lambda)) in f.iter_mut().zip(z.iter().zip(&self.eigenvalues)) {
            *f = -lambda * (z - 1.0);
        }
    }

    fn jacobian(&self, _t: f64, _z: &[f64], jacobian: &mut [f64]) {
        jacobian.fill(0.0);
        let dim = self.dim();
        for (i, lambda) in self.eigenvalues.iter().enumerate() {
            jacobian[i * dim + i] = -lambda;
        }
    }

    fn objective(&self, z: &[f64]) -> Option<f64> {
        let terms = z.iter().zip(&self.eigenvalues);
        Some(terms.map(|(z, lambda)| 0.5 * lambda * (z - 1.0).powi(2)).sum())
    }

    fn structure(&self) -> (Structure, Structure) {
        (Structure::NegativeSemidefinite, Structure::NegativeSemidefinite)
    }
}

/// Five eigenvalues from 1 down to 1/condition, evenly spaced in their logarithm; to t = 100.
pub(super) fn problem(condition: f64) -> Problem {
    let eigenvalues: Vec<f64> = (0..5).map(|i| condition.powf(-f64::from(i) / 4.0)).collect();
    let t: Vec<f64> = (0..=20).map(|i| 5.0 * f64::from(i)).collect();
    let state = |t: &f64| {
        eigenvalues
            .iter()
            .map(|lambda| -(-lambda * t).exp_m1())
            .collect::<Vec<f64>>()
    };
    let z = t.iter().flat_map(state).collect();
    Problem {
        name: format!("quadratic-{condition:.0e}"),
        about: format!("quadratic gradient flow in 5 dimensions, condition number {condition:.0e}"),
        source: "exact: z = 1 - exp(-lambda t)".into(),
        z0: vec![0.0; 5],
        t_end: 100.0,
        stiff: false,
        atol_per_rtol: 1.0,
        reference: Trajectory { t, z },
        published: None,
        minimizer: Some(vec![1.0; 5]),
        equations: Arc::new(Quadratic { eigenvalues }),
    }
}
