//! The solvers by name, with their settings and defaults.

use crate::encoding::Encoding;
use gfe_model::Loss;
use gfe_ode::control::{Decrease, Fixed, Grid, Pi, StepController, Trust};
use gfe_ode::diffsol::{Integration, Scheme};
use gfe_ode::explicit::{EULER, RK4, RungeKutta, SemiImplicit, TSIT5};
use gfe_ode::implicit::{DENSE, LinearEuler, MatrixFreeEuler};
use gfe_ode::stop::{Edm, GradNorm, LossSlope, Terminator};
use gfe_ode::{Curvature, Flow, Stepper, Tolerance};

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

/// The least `edm_tol` for which single precision is enough, unless it is 0.
const LEAST_EDM_TOL: f64 = 1e-4;

/// The least `gtol` that single precision reaches where no `edm_tol` ends it before: for likelihoods, and for the others.
///
/// By trial, on MNIST digits, work in mixed precision against double: for bce the same at 1e-6; for mse 1.06 times at 1e-5, 1.34 times
/// at 3e-6, and 3.9 times at 1e-6, where what fails is encoded again.
const LEAST_GTOL: [f64; 2] = [1e-6, 1e-5];

/// In which precision ptc calls the decoder.
///
/// Single precision is for decoders that offer it (else it is double precision), without the exact Hessian, and for bounds within its
/// reach: an `edm_tol` of 1e-4 or more, or one of 0 and a `gtol` of 1e-6 or more (1e-5 for losses that are no likelihood). What does not succeed in it is encoded again
/// in double precision, from where it started, and both count in its work; a sample of several starts is encoded again with all
/// of them if any does not succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// Double.
    #[default]
    Double,
    /// Single, and loss and gradient norm of the code in double precision. The code is encoded again unless that norm meets
    /// `gtol`, or, where `edm_tol` ended the integration, is within 5% of the one of single precision: the estimated distance is
    /// quadratic in the gradient and then right to 10%. The loss at z0 stays that of single precision, right to some 1e-6.
    Mixed,
    /// Single: losses and gradient norms are those of single precision, to some 1e-6.
    Single,
}

/// Settings of pseudo-transient continuation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ptc {
    /// The step rule.
    pub trust: Trust,
    /// Bound on the estimated distance to the minimum; 0 switches the rule off.
    pub edm_tol: f64,
    /// Accepted steps after which a Hessian is computed anew; see [`LinearEuler::new`].
    pub refresh_every: Option<u32>,
    /// Whether the last steps use the exact Hessian; the decoder must have second-order products, and d be at most
    /// [`DENSE`].
    pub exact: bool,
    /// In which precision the decoder is called.
    pub precision: Precision,
}

impl Default for Ptc {
    fn default() -> Self {
        Ptc {
            trust: Trust::default(),
            edm_tol: 1e-3,
            refresh_every: None,
            exact: false,
            precision: Precision::Double,
        }
    }
}

/// A fixed grid of steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steps {
    /// Number of steps to `t_end`.
    pub steps: u32,
    /// Their spacing.
    pub grid: Grid,
}

/// Settings of diffsol's error-controlled integrators.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorControl {
    /// The method.
    pub scheme: Scheme,
    /// The bounds of the local error.
    pub tolerance: Tolerance,
    /// What the Jacobian is built from.
    pub curvature: Curvature,
}

impl ErrorControl {
    /// What the integrator is told.
    pub(crate) fn integration<'a>(&self, stop: &'a [&'a dyn Terminator], how: &Encoding<'a>) -> Integration<'a> {
        Integration {
            scheme: self.scheme,
            tolerance: self.tolerance,
            curvature: self.curvature,
            stop,
            t_end: how.t_end,
            max_steps: how.max_steps,
            at: how.trace.times(),
        }
    }
}

/// What takes the steps.
pub(crate) enum Integrator {
    /// A method for all lanes together.
    Batched(Box<dyn Stepper>, Box<dyn StepController>),
    /// A method for one sample at a time.
    ErrorControl(ErrorControl),
}

/// Which method integrates the flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Solver {
    /// Explicit Euler on a fixed grid.
    Euler(Steps),
    /// The classical Runge-Kutta method on a fixed grid.
    Rk4(Steps),
    /// Tsitouras' pair of orders 5 and 4, its error within these tolerances.
    Tsit5(Tolerance),
    /// Explicit Euler under the decrease rule; semi-implicit Euler for the flow of second order.
    Amd(Amd),
    /// One of diffsol's methods, a sample at a time.
    ErrorControl(ErrorControl),
    /// Linearly implicit Euler to the steady state, or to the end of one backward Euler step of length `t_end`.
    Ptc(Ptc),
}

impl Solver {
    /// Whether the solver minimizes l + |z - z0|^2 / (2 t_end) instead of following the flow up to `t_end`.
    pub fn anchors(&self) -> bool {
        matches!(self, Solver::Ptc(_))
    }

    /// Whether the solver computes Hessians of `latent` latents from all directions.
    pub(crate) fn makes_hessians(&self, latent: usize) -> bool {
        matches!(self, Solver::Ptc(_)) && latent <= DENSE
    }

    /// The same with this precision, where there is a choice.
    pub(crate) fn with_precision(self, precision: Precision) -> Solver {
        match self {
            Solver::Ptc(ptc) => Solver::Ptc(Ptc { precision, ..ptc }),
            other => other,
        }
    }

    /// The precision in which it is done under this `gtol`.
    pub(crate) fn precision(&self, gtol: f64, loss: &dyn Loss) -> Precision {
        match self {
            Solver::Ptc(ptc) if ptc.exact => Precision::Double,
            Solver::Ptc(ptc) => {
                let reached = gtol >= LEAST_GTOL[usize::from(!loss.is_likelihood())];
                if ptc.edm_tol >= LEAST_EDM_TOL || (ptc.edm_tol == 0.0 && reached) {
                    ptc.precision
                } else {
                    Precision::Double
                }
            }
            _ => Precision::Double,
        }
    }

    /// Lanes that are of use, of so many asked for.
    pub(crate) fn lanes(&self, asked: usize) -> usize {
        match self {
            Solver::ErrorControl(_) => 1,
            _ => asked.max(1),
        }
    }

    /// What takes the steps of `flow`, up to `t_end`.
    pub(crate) fn integrator(&self, flow: &dyn Flow, lanes: usize, t_end: f64) -> Integrator {
        let dim = flow.dim();
        let explicit = |tableau| Box::new(RungeKutta::new(tableau, Tolerance::default(), dim, lanes));
        let grid = |with: &Steps| {
            Box::new(Fixed {
                t_end,
                steps: with.steps,
                grid: with.grid,
            })
        };
        let (stepper, controller): (Box<dyn Stepper>, Box<dyn StepController>) = match self {
            Solver::ErrorControl(control) => return Integrator::ErrorControl(*control),
            Solver::Euler(with) => (explicit(&EULER), grid(with)),
            Solver::Rk4(with) => (explicit(&RK4), grid(with)),
            Solver::Tsit5(tolerance) => (
                Box::new(RungeKutta::new(&TSIT5, *tolerance, dim, lanes)),
                Box::new(Pi::new(*tolerance)),
            ),
            Solver::Amd(amd) if flow.inertial().is_some() => (Box::new(SemiImplicit::new(dim)), Box::new(amd.decrease)),
            Solver::Amd(amd) => (explicit(&EULER), Box::new(amd.decrease)),
            Solver::Ptc(ptc) if dim > DENSE => (Box::new(MatrixFreeEuler::new(dim, lanes)), Box::new(ptc.trust)),
            Solver::Ptc(ptc) => {
                let stepper = LinearEuler::new(ptc.refresh_every, dim, lanes).with_exact(ptc.exact);
                (Box::new(stepper), Box::new(ptc.trust))
            }
        };
        Integrator::Batched(stepper, controller)
    }

    pub(crate) fn stop(&self, gtol: f64, loss: &dyn Loss, values: usize) -> Vec<Box<dyn Terminator>> {
        let mut rules: Vec<Box<dyn Terminator>> = vec![Box::new(GradNorm { gtol })];
        match self {
            Solver::Euler(_) | Solver::Rk4(_) | Solver::Tsit5(_) | Solver::ErrorControl(_) => {}
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
