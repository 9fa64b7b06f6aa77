//! Test problems with exact or published solutions, for tests, benchmarks and those who study solvers.
//!
//! A problem is a system of equations for one state; [`Columns`] makes a batched flow of it, every lane a copy.

mod brusselator;
mod columns;
mod hires;
pub mod linear;
mod mlp;
mod network;
mod oregonator;
mod quadratic;
mod rank_deficient;
mod robertson;
mod rosenbrock;
mod table;
mod van_der_pol;

#[cfg(test)]
mod tests;

pub use columns::Columns;
pub use quadratic::Quadratic;

use crate::Structure;
use std::sync::Arc;

/// dz/dt = f(t, z) of one state `[d]`, with its derivatives.
pub trait Equations: Send + Sync {
    /// d.
    fn dim(&self) -> usize;
    /// dz/dt into `f` `[d]`.
    fn slope(&self, t: f64, z: &[f64], f: &mut [f64]);
    /// df/dz into `jacobian` `[d, d]`, column-major.
    fn jacobian(&self, t: f64, z: &[f64], jacobian: &mut [f64]);
    /// The same with the Gauss-Newton Hessian of a gradient flow, where it is another.
    fn gauss_newton(&self, t: f64, z: &[f64], jacobian: &mut [f64]) {
        self.jacobian(t, z, jacobian);
    }
    /// What a gradient flow minimizes; none for other flows.
    fn objective(&self, _z: &[f64]) -> Option<f64> {
        None
    }
    /// What holds for the Jacobian of [`Equations::gauss_newton`] and, second, for that of [`Equations::jacobian`].
    fn structure(&self) -> (Structure, Structure) {
        (Structure::General, Structure::General)
    }
}

/// The solution at some times.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// Times, ascending.
    pub t: Vec<f64>,
    /// States, `[times, d]` in C order.
    pub z: Vec<f64>,
}

/// A problem.
#[derive(Clone)]
pub struct Problem {
    /// Name, as on the command line.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// Where it and its reference solution come from.
    pub source: String,
    /// The system.
    pub equations: Arc<dyn Equations>,
    /// Initial state, `[d]`.
    pub z0: Vec<f64>,
    /// The end of the time interval.
    pub t_end: f64,
    /// Whether explicit methods are hopeless on it.
    pub stiff: bool,
    /// The absolute tolerance that belongs to a relative one: atol = atol_per_rtol rtol.
    pub atol_per_rtol: f64,
    /// The solution to 1e-12 relative to the largest size of each component, at times up to `t_end`, which is the last.
    pub reference: Trajectory,
    /// The state at `t_end` as `source` has it, to its digits; none where the problem is our own or solved exactly.
    pub published: Option<Vec<f64>>,
    /// The steady state that a gradient flow from z0 tends to; none for other flows.
    pub minimizer: Option<Vec<f64>>,
}

impl Problem {
    /// A batched flow of any number of copies.
    pub fn flow(&self) -> Columns {
        Columns::new(Arc::clone(&self.equations))
    }

    /// The state at `t_end`.
    pub fn end(&self) -> &[f64] {
        &self.reference.z[self.reference.z.len() - self.z0.len()..]
    }
}

/// Every problem.
pub fn all() -> Vec<Problem> {
    vec![
        linear::mild(),
        quadratic::problem(1.0),
        quadratic::problem(1e2),
        quadratic::problem(1e4),
        quadratic::problem(1e8),
        rosenbrock::problem(),
        rank_deficient::problem(),
        mlp::squares(),
        mlp::bernoulli(),
        robertson::problem(),
        hires::problem(),
        van_der_pol::plain(),
        van_der_pol::scaled(),
        oregonator::problem(),
        brusselator::problem(),
    ]
}

/// The problem of this name.
pub fn named(name: &str) -> Option<Problem> {
    all().into_iter().find(|problem| problem.name == name)
}
