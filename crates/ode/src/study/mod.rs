//! Methods on problems: error against work at many tolerances, and who does best on how many.
//!
//! A method enters as a [`Contender`]; those of this crate are [`methods::all`]. A stepper from anywhere else enters as a
//! [`Batched`] of its own, or by implementing the trait, and [`work_precision`] treats it like ours.

pub mod methods;
mod profile;

pub use profile::{Curve, Measure, profiles};

use crate::control::StepController;
use crate::problems::Problem;
use crate::stop::Terminator;
use crate::{FlowError, Method, Next, Queue, ResultSink, Retired, Status, StepRecord, Stepper, Work, integrate};

/// What a method is after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The solution at `t_end`.
    Trajectory,
    /// The steady state of a gradient flow.
    Minimizer,
}

impl Goal {
    /// Name as in files.
    pub fn name(self) -> &'static str {
        match self {
            Goal::Trajectory => "trajectory",
            Goal::Minimizer => "minimizer",
        }
    }
}

/// What a method came to.
#[derive(Clone, Debug)]
pub struct Solution {
    /// How it ended.
    pub status: Status,
    /// What the method says of a failure, where it has more to say.
    pub message: Option<String>,
    /// Time reached.
    pub t: f64,
    /// State reached, `[d]`.
    pub z: Vec<f64>,
    /// Work done.
    pub work: Work,
}

/// A method that can be studied.
pub trait Contender {
    /// Its name in tables.
    fn name(&self) -> &str;
    /// What it is after.
    fn goal(&self) -> Goal;
    /// Whether it is meant for this problem; explicit methods are not for stiff ones.
    fn suits(&self, problem: &Problem) -> bool;
    /// Solves the problem to a tolerance; fails only where the flow says that it cannot go on at all.
    fn solve(&self, problem: &Problem, tolerance: f64) -> Result<Solution, FlowError>;
}

/// A stepper with what judges and ends it, for one problem and tolerance.
pub struct Parts {
    /// Takes the steps; for states of the problem's length and one lane.
    pub stepper: Box<dyn Stepper>,
    /// Judges them.
    pub controller: Box<dyn StepController>,
    /// Any of these ends it.
    pub stop: Vec<Box<dyn Terminator>>,
    /// The horizon; infinity for none.
    pub t_end: f64,
    /// Steps attempted at most.
    pub max_steps: u32,
}

/// A contender that takes steps by [`Stepper`].
pub struct Batched<F> {
    /// Its name in tables.
    pub name: String,
    /// What it is after.
    pub goal: Goal,
    /// Whether stiff problems suit it.
    pub stiff: bool,
    /// Makes it for a problem and a tolerance.
    pub make: F,
}

impl<F: Fn(&Problem, f64) -> Parts> Contender for Batched<F> {
    fn name(&self) -> &str {
        &self.name
    }

    fn goal(&self) -> Goal {
        self.goal
    }

    fn suits(&self, problem: &Problem) -> bool {
        (self.stiff || !problem.stiff) && (self.goal == Goal::Trajectory || problem.minimizer.is_some())
    }

    fn solve(&self, problem: &Problem, tolerance: f64) -> Result<Solution, FlowError> {
        let mut parts = (self.make)(problem, tolerance);
        let stop: Vec<&dyn Terminator> = parts.stop.iter().map(|rule| &**rule).collect();
        let method = Method {
            stepper: &mut *parts.stepper,
            controller: &*parts.controller,
            stop: &stop,
            t_end: parts.t_end,
            max_steps: parts.max_steps,
            lanes: 1,
            at: &[],
        };
        let mut single = Single::new(&problem.z0);
        let mut kept = Kept::default();
        integrate(&mut problem.flow(), method, &mut single, &mut kept)?;
        kept.0.ok_or_else(|| FlowError("the sample never ended".into()))
    }
}

/// One sample.
pub(crate) struct Single<'a> {
    z0: &'a [f64],
    left: bool,
}

impl<'a> Single<'a> {
    pub(crate) fn new(z0: &'a [f64]) -> Self {
        Single { z0, left: true }
    }
}

impl Queue for Single<'_> {
    fn next(&mut self, z0: &mut [f64], _idle: bool) -> Next {
        z0.copy_from_slice(self.z0);
        if std::mem::take(&mut self.left) {
            Next::Sample(0)
        } else {
            Next::Finished
        }
    }
}

/// Its result.
#[derive(Default)]
pub(crate) struct Kept(pub(crate) Option<Solution>);

impl ResultSink for Kept {
    fn retired(&mut self, result: &Retired<'_>) {
        self.0 = Some(Solution {
            status: result.status,
            message: result.message.map(str::to_owned),
            t: result.t,
            z: result.z.to_vec(),
            work: result.work,
        });
    }

    fn stepped(&mut self, _step: &StepRecord, _z: &[f64]) {}
}

/// One method on one problem at one tolerance.
#[derive(Clone, Debug)]
pub struct Row {
    /// The problem's name.
    pub problem: String,
    /// The method's.
    pub solver: String,
    /// What it is after.
    pub goal: Goal,
    /// The tolerance asked for.
    pub tolerance: f64,
    /// How it ended.
    pub status: Status,
    /// What the method says of a failure.
    pub message: Option<String>,
    /// Largest error of a component at the end, in units of its largest size, see [`error_of`]; NaN unless it succeeded.
    pub error: f64,
    /// Work done.
    pub work: Work,
    /// Time of the processor, in seconds: the least of [`REPEATS`] runs.
    pub cpu: f64,
}

/// Runs of which the shortest time counts.
pub const REPEATS: usize = 3;

/// max_i |z_i - w_i| / s_i, with w the solution at `t_end` or the minimizer, and s_i the largest size of component i on the
/// reference trajectory and in w; 1 where that is 0.
pub fn error_of(problem: &Problem, goal: Goal, z: &[f64]) -> f64 {
    let wanted = match (goal, &problem.minimizer) {
        (Goal::Minimizer, Some(minimizer)) => minimizer,
        _ => problem.end(),
    };
    let dim = problem.z0.len();
    let scaled = (0..dim).map(|i| {
        let sizes = problem.reference.z.chunks(dim).map(|state| state[i].abs());
        let size = sizes.fold(wanted[i].abs(), f64::max);
        (z[i] - wanted[i]).abs() / if size > 0.0 { size } else { 1.0 }
    });
    // `max` would drop a NaN.
    scaled.fold(
        0.0,
        |worst, error| if error.is_nan() || error > worst { error } else { worst },
    )
}

/// Every contender on every problem that suits it, at every tolerance, a row each; a flow that cannot go on at all is a row
/// with status [`Status::SolveFailed`].
pub fn work_precision(problems: &[Problem], contenders: &[&dyn Contender], tolerances: &[f64]) -> Vec<Row> {
    let mut rows = Vec::new();
    for problem in problems {
        for contender in contenders.iter().filter(|contender| contender.suits(problem)) {
            for &tolerance in tolerances {
                rows.push(row(problem, *contender, tolerance));
            }
        }
    }
    rows
}

fn row(problem: &Problem, contender: &dyn Contender, tolerance: f64) -> Row {
    let mut cpu = f64::INFINITY;
    let mut solved = Err(FlowError("no run was made".into()));
    for _ in 0..REPEATS {
        let start = cpu_seconds();
        solved = contender.solve(problem, tolerance);
        let took = cpu_seconds() - start;
        cpu = cpu.min(took);
        // Its time is plain enough.
        if took > 1.0 {
            break;
        }
    }
    let solution = solved.unwrap_or_else(|error| Solution {
        status: Status::SolveFailed,
        message: Some(error.to_string()),
        t: f64::NAN,
        z: vec![f64::NAN; problem.z0.len()],
        work: Work::default(),
    });
    let error = if solution.status.is_success() {
        error_of(problem, contender.goal(), &solution.z)
    } else {
        f64::NAN
    };
    Row {
        problem: problem.name.clone(),
        solver: contender.name().to_owned(),
        goal: contender.goal(),
        tolerance,
        status: solution.status,
        message: solution.message,
        error,
        work: solution.work,
        cpu,
    }
}

/// Time of the processor that this thread has used.
fn cpu_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 + 1e-9 * now.tv_nsec as f64
}
