//! The methods of this crate as contenders.
//!
//! What a tolerance means to each: rtol, and atol in the problem's proportion, for those with error control; for a fixed step
//! of order p a grid of 10 tolerance^(-1/p) equal steps; a gradient of that part of the first one for `ptc`; for `amd` a
//! loss that falls by less than that part of the first loss per step.

use super::{Batched, Contender, Goal, Kept, Parts, Single, Solution};
use crate::control::{Decrease, Fixed, Grid, Pi, StepController, Trust};
use crate::diffsol::{self, Integration, Scheme};
use crate::explicit::{EULER, RK4, RungeKutta, TSIT5, Tableau};
use crate::implicit::LinearEuler;
use crate::problems::Problem;
use crate::stop::{GradNorm, LossSlope, Terminator};
use crate::{Curvature, FlowError, Stepper, Tolerance};

/// Steps at most; with a fixed step, the most that are made.
const MOST_STEPS: u32 = 100_000;
/// Those of methods that choose their step.
const MAX_STEPS: u32 = 200_000;

/// rtol and the problem's own atol.
pub fn tolerance_of(problem: &Problem, rtol: f64) -> Tolerance {
    Tolerance {
        rtol,
        atol: problem.atol_per_rtol * rtol,
    }
}

/// |f(z0)|.
fn first_slope(problem: &Problem) -> f64 {
    let mut f = vec![0.0; problem.z0.len()];
    problem.equations.slope(0.0, &problem.z0, &mut f);
    f.iter().map(|f| f * f).sum::<f64>().sqrt()
}

fn explicit(tableau: &'static Tableau, tolerance: Tolerance, problem: &Problem) -> Box<dyn Stepper> {
    Box::new(RungeKutta::new(tableau, tolerance, problem.z0.len(), 1))
}

fn grid(name: &str, tableau: &'static Tableau) -> Box<dyn Contender> {
    Box::new(Batched {
        name: name.to_owned(),
        goal: Goal::Trajectory,
        stiff: false,
        make: move |problem: &Problem, tolerance: f64| {
            let steps = (10.0 * tolerance.powf(-1.0 / f64::from(tableau.order))).min(f64::from(MOST_STEPS)) as u32;
            Parts {
                stepper: explicit(tableau, Tolerance::default(), problem),
                controller: Box::new(Fixed {
                    t_end: problem.t_end,
                    steps,
                    grid: Grid::Uniform,
                }),
                stop: Vec::new(),
                t_end: problem.t_end,
                max_steps: steps + 1,
            }
        },
    })
}

fn tsit5() -> Box<dyn Contender> {
    Box::new(Batched {
        name: "tsit5".to_owned(),
        goal: Goal::Trajectory,
        stiff: false,
        make: |problem: &Problem, tolerance: f64| {
            let tolerance = tolerance_of(problem, tolerance);
            Parts {
                stepper: explicit(&TSIT5, tolerance, problem),
                controller: Box::new(Pi::new(tolerance)),
                stop: Vec::new(),
                t_end: problem.t_end,
                max_steps: MAX_STEPS,
            }
        },
    })
}

/// To the steady state.
fn steady(stepper: Box<dyn Stepper>, controller: Box<dyn StepController>, stop: Box<dyn Terminator>) -> Parts {
    Parts {
        stepper,
        controller,
        stop: vec![stop],
        t_end: f64::INFINITY,
        max_steps: MAX_STEPS,
    }
}

fn ptc() -> Box<dyn Contender> {
    Box::new(Batched {
        name: "ptc".to_owned(),
        goal: Goal::Minimizer,
        stiff: true,
        make: |problem: &Problem, tolerance: f64| {
            let gtol = tolerance * first_slope(problem);
            let stepper = LinearEuler::new(None, problem.z0.len(), 1);
            steady(
                Box::new(stepper),
                Box::new(Trust::default()),
                Box::new(GradNorm { gtol }),
            )
        },
    })
}

fn amd() -> Box<dyn Contender> {
    Box::new(Batched {
        name: "amd".to_owned(),
        goal: Goal::Minimizer,
        stiff: false,
        make: |problem: &Problem, tolerance: f64| {
            let loss = problem.equations.objective(&problem.z0).unwrap_or(f64::NAN);
            let stop = LossSlope {
                loss_slope_tol: tolerance * loss,
                // There is no horizon to have come any part of.
                settle_fraction: 1.0,
            };
            let parts = steady(
                explicit(&EULER, Tolerance::default(), problem),
                Box::new(Decrease::default()),
                Box::new(stop),
            );
            Parts { t_end: 1e6, ..parts }
        },
    })
}

/// One of diffsol's methods.
struct ErrorControl(Scheme);

impl Contender for ErrorControl {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn goal(&self) -> Goal {
        Goal::Trajectory
    }

    fn suits(&self, problem: &Problem) -> bool {
        self.0.is_implicit() || !problem.stiff
    }

    fn solve(&self, problem: &Problem, tolerance: f64) -> Result<Solution, FlowError> {
        let how = Integration {
            scheme: self.0,
            tolerance: tolerance_of(problem, tolerance),
            curvature: Curvature::Exact,
            stop: &[],
            t_end: problem.t_end,
            max_steps: MAX_STEPS,
            at: &[],
        };
        let mut kept = Kept::default();
        diffsol::integrate(&mut problem.flow(), &how, &mut Single::new(&problem.z0), &mut kept)?;
        kept.0.ok_or_else(|| FlowError("the sample never ended".into()))
    }
}

/// Every method of this crate.
pub fn all() -> Vec<Box<dyn Contender>> {
    let ours = [ptc(), amd(), grid("euler", &EULER), grid("rk4", &RK4), tsit5()];
    let theirs = Scheme::ALL.map(|scheme| -> Box<dyn Contender> { Box::new(ErrorControl(scheme)) });
    ours.into_iter().chain(theirs).collect()
}

/// The method of this name.
pub fn named(name: &str) -> Option<Box<dyn Contender>> {
    all().into_iter().find(|method| method.name() == name)
}
