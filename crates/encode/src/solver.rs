//! The solvers by name, with their settings and defaults.

use gfe_model::Loss;
use gfe_ode::Stepper;
use gfe_ode::control::{Decrease, Fixed, StepController, Trust};
use gfe_ode::explicit::{EULER, RK4, RungeKutta};
use gfe_ode::implicit::LinearEuler;
use gfe_ode::stop::{Edm, GradNorm, LossSlope, Terminator};

/// Settings of the adaptive minimize-distance solver; the defaults are the authors' MNIST runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amd {
    /// The step rule.
    pub decrease: Decrease,
    /// Bound on the mean slope of the last five losses.
    pub loss_slope_tol: f64,
    /// The part of t_end that must be left at most before the slope is looked at.
    pub settle_fraction: f64,
}

impl Default for Amd {
    fn default() -> Self {
        Amd {
            decrease: Decrease::default(),
            loss_slope_tol: 1e-5,
            settle_fraction: 0.98,
        }
    }
}

/// Settings of pseudo-transient continuation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ptc {
    /// The step rule.
    pub trust: Trust,
    /// Bound on the estimated distance to the minimum; 0 switches the rule off.
    pub edm_tol: f64,
}

impl Default for Ptc {
    fn default() -> Self {
        Ptc {
            trust: Trust::default(),
            edm_tol: 1e-3,
        }
    }
}

/// Which method integrates the flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Solver {
    /// Explicit Euler with `steps` equal steps.
    Euler {
        /// Number of steps to `t_end`.
        steps: u32,
    },
    /// The classical Runge-Kutta method with `steps` equal steps.
    Rk4 {
        /// Number of steps to `t_end`.
        steps: u32,
    },
    /// Explicit Euler under the decrease rule.
    Amd(Amd),
    /// Linearly implicit Euler to the steady state, or to the end of one backward Euler step of length `t_end`.
    Ptc(Ptc),
}

impl Solver {
    /// Whether the solver minimizes l + |z - z0|^2 / (2 t_end) instead of following the flow up to `t_end`.
    pub fn anchors(&self) -> bool {
        matches!(self, Solver::Ptc(_))
    }

    pub(crate) fn stepper(&self, dim: usize, lanes: usize) -> Box<dyn Stepper> {
        match self {
            Solver::Euler { .. } | Solver::Amd(_) => Box::new(RungeKutta::new(&EULER, dim, lanes)),
            Solver::Rk4 { .. } => Box::new(RungeKutta::new(&RK4, dim, lanes)),
            Solver::Ptc(_) => Box::new(LinearEuler::new(dim, lanes)),
        }
    }

    pub(crate) fn controller(&self, t_end: f64) -> Box<dyn StepController> {
        match self {
            Solver::Euler { steps } | Solver::Rk4 { steps } => Box::new(Fixed {
                h: t_end / f64::from(*steps),
            }),
            Solver::Amd(amd) => Box::new(amd.decrease),
            Solver::Ptc(ptc) => Box::new(ptc.trust),
        }
    }

    pub(crate) fn stop(&self, gtol: f64, loss: &dyn Loss, values: usize) -> Vec<Box<dyn Terminator>> {
        let mut rules: Vec<Box<dyn Terminator>> = vec![Box::new(GradNorm { gtol })];
        match self {
            Solver::Euler { .. } | Solver::Rk4 { .. } => {}
            Solver::Amd(amd) => rules.push(Box::new(LossSlope {
                loss_slope_tol: amd.loss_slope_tol,
                settle_fraction: amd.settle_fraction,
            })),
            Solver::Ptc(ptc) => rules.push(Box::new(Edm {
                edm_tol: ptc.edm_tol,
                values: values as f64,
                relative: !loss.is_likelihood(),
            })),
        }
        rules
    }
}
