//! diffsol's error-controlled integrators behind the same queue, sink and record as the batched methods.
//!
//! They follow the trajectory itself to a tolerance, a sample at a time: diffsol's own batches share one step. Its version
//! is pinned, and nothing outside this module names it. It has no bound on the number of steps and accepts NaN in `tsit45`
//! without a word, so steps are driven, counted and looked at here.

pub mod adjoint;
mod equations;

use crate::stop::{Progress, Terminator};
use crate::{
    Curvature, Flow, FlowError, History, Next, Queue, ResultSink, Retired, Status, StepRecord, Tolerance, Work,
};
use ::diffsol::{FaerLU, OdeBuilder, OdeSolverMethod, OdeSolverProblem, OdeSolverStopReason, Vector, VectorCommon};
use equations::{Equations, Lane, M, V};

/// diffsol's methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The explicit pair of orders 5 and 4 of Tsitouras (2011).
    Tsit45,
    /// The trapezoidal rule followed by the second backward differentiation formula, order 2, L-stable.
    TrBdf2,
    /// A singly diagonally implicit method of order 3 with an explicit first stage, L-stable.
    Esdirk34,
    /// Backward differentiation formulas of orders 1 to 5.
    Bdf,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Scheme; 4] = [Scheme::Tsit45, Scheme::TrBdf2, Scheme::Esdirk34, Scheme::Bdf];

    /// Name as in files and options.
    pub fn name(self) -> &'static str {
        match self {
            Scheme::Tsit45 => "tsit45",
            Scheme::TrBdf2 => "tr_bdf2",
            Scheme::Esdirk34 => "esdirk34",
            Scheme::Bdf => "bdf",
        }
    }

    /// Whether steps are solved with the Jacobian.
    pub fn is_implicit(self) -> bool {
        self != Scheme::Tsit45
    }
}

/// The smallest step that diffsol takes, for a horizon of 1 or more: its own default.
const MIN_TIMESTEP: f64 = 1e-13;

/// How samples are integrated.
#[derive(Clone, Copy)]
pub struct Integration<'a> {
    /// The method.
    pub scheme: Scheme,
    /// The bounds of the local error.
    pub tolerance: Tolerance,
    /// What the Jacobian of a gradient flow is built from.
    pub curvature: Curvature,
    /// Any of these ends a sample; asked between steps.
    pub stop: &'a [&'a dyn Terminator],
    /// The horizon, finite.
    pub t_end: f64,
    /// Steps attempted per sample at most.
    pub max_steps: u32,
    /// Times at which the sink is told of a state, ascending; empty: at the end of every step.
    pub at: &'a [f64],
}

/// Integrates every sample of `queue` in lane 0 of `flow`, one after another, and hands each to `sink`.
///
/// What diffsol gives up on ends as [`Status::SolveFailed`] with its message. Fails only where the flow says that it cannot
/// go on at all.
pub fn integrate(
    flow: &mut dyn Flow,
    how: &Integration<'_>,
    queue: &mut dyn Queue,
    sink: &mut dyn ResultSink,
) -> Result<(), FlowError> {
    let mut z0 = vec![0.0; flow.dim()];
    loop {
        let sample = match queue.next(&mut z0, true) {
            Next::Sample(sample) => sample,
            Next::NotYet => continue,
            Next::Finished => return Ok(()),
        };
        flow.admit(0, sample, &z0);
        one(flow, how, (sample, &z0), sink)?;
    }
}

/// How a sample ended.
struct Ending {
    status: Status,
    message: Option<String>,
}

impl Ending {
    fn plain(status: Status) -> Self {
        Ending { status, message: None }
    }
}

/// One sample.
fn one(
    flow: &mut dyn Flow,
    how: &Integration<'_>,
    (sample, z0): (usize, &[f64]),
    sink: &mut dyn ResultSink,
) -> Result<(), FlowError> {
    let problem = problem(flow, how, z0)?;
    let mut run = Run::new(&problem.eqn, how, sample, z0);
    let ending = run.run(&problem, sink);
    run.finish(&ending, sink)
}

/// One sample as diffsol has it.
fn problem<'f>(
    flow: &'f mut dyn Flow,
    how: &Integration<'_>,
    z0: &[f64],
) -> Result<OdeSolverProblem<Equations<'f>>, FlowError> {
    let equations = Equations::new(Lane::new(flow, how.curvature), z0.to_vec());
    let mut problem = OdeBuilder::<M>::new()
        .rtol(how.tolerance.rtol)
        .atol([how.tolerance.atol])
        .build_from_eqn(equations)
        .map_err(|error| FlowError(error.to_string()))?;
    // diffsol counts these over the whole integration, however long; here `max_steps` bounds it.
    problem.ode_options.max_nonlinear_solver_failures = usize::MAX;
    // It is absolute, and there is no natural unit of time.
    problem.ode_options.min_timestep = MIN_TIMESTEP.min(MIN_TIMESTEP * how.t_end);
    Ok(problem)
}

type Solver = FaerLU<f64>;

/// States on the way with their times and slopes.
#[derive(Default)]
struct Kept {
    t: Vec<f64>,
    z: Vec<V>,
    f: Vec<V>,
}

/// What is known on the way.
struct Run<'a, 'f> {
    equations: &'a Equations<'f>,
    how: &'a Integration<'a>,
    sample: usize,
    t: f64,
    /// The last good state.
    z: Vec<f64>,
    loss: f64,
    loss_initial: f64,
    grad_sq: f64,
    history: History,
    /// Steps, rejections and factorizations, by diffsol's count.
    taken: Work,
    /// The ends of all steps, where somebody asks for them.
    kept: Option<Kept>,
}

impl<'a, 'f> Run<'a, 'f> {
    fn new(equations: &'a Equations<'f>, how: &'a Integration<'a>, sample: usize, z0: &[f64]) -> Self {
        Run {
            equations,
            how,
            sample,
            t: 0.0,
            z: z0.to_vec(),
            loss: f64::NAN,
            loss_initial: f64::NAN,
            grad_sq: f64::NAN,
            history: History::default(),
            taken: Work::default(),
            kept: None,
        }
    }

    /// Integrates to the end.
    fn run(&mut self, problem: &'a OdeSolverProblem<Equations<'f>>, sink: &mut dyn ResultSink) -> Ending {
        self.start(sink).unwrap_or_else(|| match self.how.scheme {
            Scheme::Tsit45 => self.step_on(problem.tsit45(), sink),
            Scheme::TrBdf2 => self.step_on(problem.tr_bdf2::<Solver>(), sink),
            Scheme::Esdirk34 => self.step_on(problem.esdirk34::<Solver>(), sink),
            Scheme::Bdf => self.step_on(problem.bdf::<Solver>(), sink),
        })
    }

    /// Looks at the initial state; an ending where the sample is done there.
    fn start(&mut self, sink: &mut dyn ResultSink) -> Option<Ending> {
        let z = self.z.clone();
        self.loss_initial = self.equations.lane().eval(0.0, &z).loss;
        let ending = self.arrive(0.0, &z);
        if self.how.at.first() == Some(&0.0) && ending.as_ref().is_none_or(|ending| ending.status.is_success()) {
            self.say(0.0, &z, sink);
        }
        ending
    }

    /// Takes over the state at the end of a step; an ending where the sample is done there.
    fn arrive(&mut self, t: f64, z: &[f64]) -> Option<Ending> {
        let mut lane = self.equations.lane();
        let values = lane.eval(t, z);
        if !values.usable() {
            let failed = values.failed;
            if t == 0.0 {
                (self.loss, self.grad_sq) = (values.loss, values.grad_sq);
            }
            let message = lane.flow().failure(0).map(|failure| failure.text.to_owned());
            return Some(if failed {
                Ending {
                    status: Status::DecoderFailed,
                    message,
                }
            } else {
                Ending::plain(Status::NotFinite)
            });
        }
        self.t = t;
        self.z.copy_from_slice(z);
        if let Some(kept) = &mut self.kept {
            kept.t.push(t);
            kept.z.push(V::from_slice(z, self.equations.context));
            kept.f
                .push(V::from_slice(values.f.col_as_slice(0), self.equations.context));
        }
        (self.loss, self.grad_sq) = (values.loss, values.grad_sq);
        let now = Progress {
            t,
            t_end: self.how.t_end,
            grad_sq: self.grad_sq,
            loss: self.loss,
            gradient_unit: lane.flow().gradient_unit(0),
            edm: f64::NAN,
            past: &self.history,
        };
        self.how
            .stop
            .iter()
            .find_map(|rule| rule.check(&now))
            .map(Ending::plain)
    }

    /// Steps until the sample is done.
    fn step_on<S>(&mut self, solver: Result<S, ::diffsol::error::DiffsolError>, sink: &mut dyn ResultSink) -> Ending
    where
        S: OdeSolverMethod<'a, Equations<'f>>,
        'f: 'a,
    {
        let mut solver = match solver.and_then(|mut solver| solver.set_stop_time(self.how.t_end).map(|()| solver)) {
            Ok(solver) => solver,
            Err(error) => return self.gave_up(&error.to_string()),
        };
        loop {
            if self.taken.steps.saturating_add(self.taken.rejected) >= self.how.max_steps {
                return Ending::plain(Status::MaxSteps);
            }
            let stepped = solver.step();
            let told = solver.get_statistics();
            // A first failure to converge brings a new Jacobian and no shorter step.
            let again = told.number_of_linear_solver_setups_from_first_convergence_fail;
            let failed = told.number_of_error_test_failures + told.number_of_nonlinear_solver_fails;
            self.taken.rejected = failed.saturating_sub(again) as u32;
            self.taken.factorizations = told.number_of_linear_solver_setups as u32;
            let reached = match stepped {
                Ok(reason) => reason == OdeSolverStopReason::TstopReached,
                Err(error) => return self.gave_up(&error.to_string()),
            };
            self.taken.steps += 1;
            let before = self.t;
            let state = solver.state();
            let after = if reached { self.how.t_end } else { state.t };
            if after <= before {
                return Ending::plain(Status::StepTooSmall);
            }
            let ending = self.arrive(after, state.y.inner().col_as_slice(0));
            if ending.as_ref().is_some_and(|ending| !ending.status.is_success()) {
                return ending.unwrap_or(Ending::plain(Status::NotFinite));
            }
            self.history.accept(self.loss, f64::NAN, f64::NAN, f64::NAN);
            self.tell(&solver, before, sink);
            if let Some(ending) = ending {
                return ending;
            }
            if reached {
                return Ending::plain(Status::HorizonReached);
            }
            if let Err(error) = self.accepted(&mut solver) {
                return self.gave_up(&error);
            }
        }
    }

    /// Lets the flow change the state at the end of a step.
    fn accepted<S>(&mut self, solver: &mut S) -> Result<(), String>
    where
        S: OdeSolverMethod<'a, Equations<'f>>,
        'f: 'a,
    {
        let mut lane = self.equations.lane();
        let mut f = lane.eval(self.t, &self.z).f.col_as_slice(0).to_vec();
        if !lane.flow().accepted(0, self.t, &mut self.z, &mut f) {
            return Ok(());
        }
        // What is remembered of this point was said before the change.
        lane.values.t = f64::NAN;
        drop(lane);
        let state = solver.state_mut();
        for i in 0..f.len() {
            state.y[i] = self.z[i];
            state.dy[i] = f[i];
        }
        *state.t = self.t;
        solver.set_stop_time(self.how.t_end).map_err(|error| error.to_string())
    }

    /// What became of a sample that diffsol gave up.
    fn gave_up(&self, message: &str) -> Ending {
        let mut lane = self.equations.lane();
        let failed = lane.values.failed;
        let message = match lane.flow().failure(0) {
            Some(failure) => format!("{message}; {}", failure.text),
            None => message.to_owned(),
        };
        Ending {
            status: if failed {
                Status::DecoderFailed
            } else {
                Status::SolveFailed
            },
            message: Some(format!("{}: {message}", self.how.scheme.name())),
        }
    }

    /// Tells the sink of the step from time `before`: of its end, or of the times asked for in it.
    fn tell<S>(&self, solver: &S, before: f64, sink: &mut dyn ResultSink)
    where
        S: OdeSolverMethod<'a, Equations<'f>>,
        'f: 'a,
    {
        if self.how.at.is_empty() {
            return self.say(self.t, &self.z, sink);
        }
        for &t in self.how.at.iter().filter(|&&t| t > before && t <= self.t) {
            let inside: Option<V> = if t < self.t { solver.interpolate(t).ok() } else { None };
            match inside {
                Some(z) => self.say(t, z.inner().col_as_slice(0), sink),
                None => self.say(t, &self.z, sink),
            }
        }
    }

    /// Tells the sink of the state `z` at time `t`.
    fn say(&self, t: f64, z: &[f64], sink: &mut dyn ResultSink) {
        let mut lane = self.equations.lane();
        let values = lane.eval(t, z);
        let step = StepRecord {
            sample: self.sample,
            t,
            loss: values.loss,
            grad_norm: values.grad_sq.sqrt(),
        };
        sink.stepped(&step, z);
    }

    /// Hands the sample over.
    fn finish(self, ending: &Ending, sink: &mut dyn ResultSink) -> Result<(), FlowError> {
        let mut lane = self.equations.lane();
        let mut work = lane.work;
        work += self.taken;
        sink.retired(&Retired {
            sample: self.sample,
            status: ending.status,
            t: self.t,
            z: &self.z,
            loss: self.loss,
            loss_initial: self.loss_initial,
            grad_norm: self.grad_sq.sqrt(),
            edm: f64::NAN,
            work,
            message: ending.message.as_deref(),
        });
        lane.fatal.take().map_or(Ok(()), Err)
    }
}
