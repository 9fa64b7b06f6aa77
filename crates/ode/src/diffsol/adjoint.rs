//! The adjoint of a trajectory, by diffsol's own machinery: the adjoint equation, integrated backwards to the tolerance.
//!
//! dlambda/dt = -(df/dz)^T lambda from lambda(t_end) = dL/dz down to 0, where dL/dz0 = lambda(0), and
//! dL/dtheta = int_0^t_end (df/dtheta)^T lambda dt. The trajectory is integrated anew, with the bits of the first time, and
//! all of its accepted states are kept with their slopes, 16 d bytes each: diffsol interpolates between them by cubic Hermite
//! polynomials. To diffsol the equations have no parameters: with P of them its state would hold several vectors `[P]`, and
//! every stage of every attempted step would cost a product with them. Their integral is taken here, by three Gauss points per
//! accepted backward step, at diffsol's own interpolants. The other way that it offers, the derivative of its steps,
//! differentiates the noise of loose tolerances.
//!
//! Where df/dz jumps, as for a decoder of elu units each time that one passes 0, the error control of lambda cuts its steps: on
//! two digits and the reference decoder to t = 10, `bdf` and `tsit45` cost 3,000 to 4,000 units a sample at rtol 1e-4 and 17,000
//! to 39,000 at 1e-6, both right to 5e-4. The discrete adjoint of `tsit5` does not see the jumps.

use super::equations::{Equations, V};
use super::{Integration, Kept, Run, Scheme, Solver, problem};
use crate::{Flow, FlowError, ResultSink, Retired, StepRecord, Work};
use ::diffsol::error::DiffsolError;
use ::diffsol::{
    AdjointEquations, AugmentedOdeSolverMethod, Checkpointing, HermiteInterpolator, NoCheckpointingSolver, NonLinearOp,
    OdeEquations, OdeSolverProblem, OdeSolverState, OdeSolverStopReason, RkState, Vector, VectorCommon,
};

/// What became of an adjoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Why it failed, if it did: the derivatives are then undefined.
    pub failed: Option<String>,
    /// Work done, the second integration included.
    pub work: Work,
}

/// The part of the horizon that is left out at the start of a flow of second order, whose friction has no value at t = 0. There
/// lambda_m is about lambda_z t / 2, so that lambda_z changes by |H| t^2 / 4 at most: 1e-10 of itself for |H| = 4 and a horizon
/// of 1e4.
const FIRST: f64 = 1e-9;

/// Nodes and weights of Gauss' rule of three points on `[0, 1]`, of order 6. Abramowitz & Stegun, table 25.4.
const NODES: [(f64, f64); 3] = [
    (0.112_701_665_379_258_31, 5.0 / 18.0),
    (0.5, 8.0 / 18.0),
    (0.887_298_334_620_741_7, 5.0 / 18.0),
];

/// Nobody listens: the sample has been integrated before.
struct Nobody;

impl ResultSink for Nobody {
    fn retired(&mut self, _result: &Retired<'_>) {}
    fn stepped(&mut self, _step: &StepRecord, _z: &[f64]) {}
}

/// Pulls the derivative at the end of the trajectory of `sample` from `z0` `[d]` back to its start and to the parameters.
///
/// `z_bar` `[d]` holds dL/dz at the end and is set to dL/dz0; the derivative through the trajectory is added to `params_bar`
/// `[P]`. With `quadrature_stride` k the parameters' integrand is evaluated in one backward step of k, in their middle, and
/// stands for all. Lane 0 of the flow is used. Tolerances of lambda are relative to its largest component at the end. Fails
/// where the flow has no adjoint or cannot go on at all.
pub fn pull_back(
    flow: &mut dyn Flow,
    how: &Integration<'_>,
    quadrature_stride: u32,
    (sample, z0): (usize, &[f64]),
    z_bar: &mut [f64],
    params_bar: &mut [f64],
) -> Result<Outcome, FlowError> {
    if flow.adjoint().is_none() {
        return Err(FlowError(
            "this flow has no products with its transposed derivatives: it cannot be differentiated".into(),
        ));
    }
    flow.admit(0, sample, z0);
    let second_order = flow.inertial().is_some();
    let problem = problem(flow, how, z0)?;
    let mut run = Run::new(&problem.eqn, how, sample, z0);
    run.kept = Some(Kept::default());
    run.run(&problem, &mut Nobody);
    let kept = run.kept.take().unwrap_or_default();
    let size = z_bar.iter().fold(0.0_f64, |size, bar| size.max(bar.abs()));
    let failed = if kept.t.len() < 2 || size == 0.0 {
        None
    } else {
        z_bar.iter_mut().for_each(|bar| *bar /= size);
        let mut back = Back {
            equations: &problem.eqn,
            stride: quadrature_stride.max(1),
            max_steps: how.max_steps,
            last: if second_order {
                FIRST * kept.t[kept.t.len() - 1]
            } else {
                0.0
            },
            size,
            params_bar,
        };
        let failed = back.with(&problem, how.scheme, kept, z_bar);
        z_bar.iter_mut().for_each(|bar| *bar *= size);
        failed.err()
    };
    let mut lane = problem.eqn.lane();
    if let Some(error) = lane.fatal.take() {
        return Err(error);
    }
    let work = lane.work;
    Ok(Outcome { failed, work })
}

/// The machinery asks for a solver that could integrate missing stretches anew; none is missing.
type Forward<'f> = NoCheckpointingSolver<Equations<'f>, RkState<V>>;
type Adjoint<'a, 'f> = AdjointEquations<'a, Equations<'f>, Forward<'f>>;

/// The way back.
struct Back<'a, 'f, 'p> {
    equations: &'a Equations<'f>,
    stride: u32,
    max_steps: u32,
    /// Where the way ends.
    last: f64,
    /// lambda is counted in this unit.
    size: f64,
    params_bar: &'p mut [f64],
}

/// The Gauss points of a backward step that stands for its block: times, states and lambda.
type Panel = Vec<(f64, V, Vec<f64>)>;

fn text(error: DiffsolError) -> String {
    format!("the adjoint: {error}")
}

impl<'a, 'f: 'a> Back<'a, 'f, '_> {
    /// Goes back by the method, from lambda in `z_bar` to that at `last`, there.
    fn with(
        &mut self,
        problem: &'a OdeSolverProblem<Equations<'f>>,
        scheme: Scheme,
        kept: Kept,
        z_bar: &mut [f64],
    ) -> Result<(), String> {
        let mut equations = adjoint_equations(problem, kept).map_err(text)?;
        macro_rules! back {
            ($state:expr, $solver:ident :: <$($generic:ty),*>) => {{
                let mut state = $state.map_err(text)?;
                seed(&equations, state.as_mut(), z_bar);
                self.down(problem.$solver::<$($generic),*>(state, equations).map_err(text)?, z_bar)
            }};
        }
        match scheme {
            Scheme::Tsit45 => back!(
                problem.tsit45_state_adjoint(&mut equations),
                tsit45_solver_adjoint_from_state::<Forward<'f>>
            ),
            Scheme::TrBdf2 => back!(
                problem.tr_bdf2_state_adjoint::<Solver, Forward<'f>>(&mut equations),
                tr_bdf2_solver_adjoint_from_state::<Solver, Forward<'f>>
            ),
            Scheme::Esdirk34 => back!(
                problem.esdirk34_state_adjoint::<Solver, Forward<'f>>(&mut equations),
                esdirk34_solver_adjoint_from_state::<Solver, Forward<'f>>
            ),
            Scheme::Bdf => back!(
                problem.bdf_state_adjoint::<Solver, Forward<'f>>(&mut equations),
                bdf_solver_adjoint_from_state::<Solver, Forward<'f>>
            ),
        }
    }

    /// Steps down to `last`.
    fn down<S>(&mut self, mut solver: S, z_bar: &mut [f64]) -> Result<(), String>
    where
        S: AugmentedOdeSolverMethod<'a, Equations<'f>, Adjoint<'a, 'f>>,
    {
        solver.set_stop_time(self.last).map_err(text)?;
        let (mut before, mut steps) = (solver.state().t, 0);
        let (mut block, mut panel) = (0.0, None);
        loop {
            if steps >= self.max_steps {
                return Err("the adjoint: its steps were used up: raise max_steps".into());
            }
            let reached = solver.step().map_err(text)? == OdeSolverStopReason::TstopReached;
            let now = if reached { self.last } else { solver.state().t };
            let lambda = solver.state().s.inner().col_as_slice(0).to_vec();
            if lambda.iter().any(|value| !value.is_finite()) || self.equations.lane().fatal.is_some() {
                return Err("the adjoint: it became NaN or infinite: tighten rtol and atol".into());
            }
            if now >= before {
                return Err("the adjoint: its step size fell to nothing: loosen rtol and atol".into());
            }
            // The middle step of a block; where the block ends before it, the last one.
            if steps % self.stride <= (self.stride - 1) / 2 {
                panel = Some(panel_of(&solver, (now, before)).map_err(text)?);
            }
            block += before - now;
            (before, steps) = (now, steps + 1);
            if reached || steps % self.stride == 0 {
                self.add(panel.take(), block)?;
                block = 0.0;
            }
            if reached {
                z_bar.copy_from_slice(&lambda);
                return Ok(());
            }
        }
    }

    /// Adds the integral over a block, by the panel that stands for it.
    fn add(&mut self, panel: Option<Panel>, block: f64) -> Result<(), String> {
        let Some(panel) = panel else { return Ok(()) };
        let mut bar = vec![0.0; self.equations.lane().values.z.nrows()];
        for ((t, z, lambda), (_, weight)) in panel.iter().zip(NODES) {
            let weight = self.size * weight * block;
            let seed: Vec<f64> = lambda.iter().map(|value| weight * value).collect();
            let mut lane = self.equations.lane();
            lane.vjp((*t, z), &seed, &mut bar, Some(self.params_bar));
            if bar.iter().any(|value| !value.is_finite()) {
                return Err("the adjoint: a product is NaN or infinite".into());
            }
        }
        Ok(())
    }
}

/// The adjoint equations along the kept trajectory.
fn adjoint_equations<'a, 'f: 'a>(
    problem: &'a OdeSolverProblem<Equations<'f>>,
    kept: Kept,
) -> Result<Adjoint<'a, 'f>, DiffsolError> {
    let end = |i: usize| -> Result<RkState<V>, DiffsolError> {
        let mut state = RkState::new_without_initialise(problem)?;
        let to = state.as_mut();
        *to.t = kept.t[i];
        to.y.copy_from(&kept.z[i]);
        to.dy.copy_from(&kept.f[i]);
        Ok(state)
    };
    let ends = vec![end(0)?, end(kept.t.len() - 1)?];
    let segment = HermiteInterpolator::new(kept.z, kept.f, kept.t);
    let path = Checkpointing::new::<Forward<'f>>(None, 0, ends, Some(segment));
    problem.adjoint_equations(vec![path], None, Some(1))
}

/// lambda and its slope, where the way back begins.
fn seed(equations: &Adjoint<'_, '_>, state: ::diffsol::StateRefMut<'_, V>, z_bar: &[f64]) {
    for (i, value) in z_bar.iter().enumerate() {
        state.s[i] = *value;
    }
    equations.rhs().call_inplace(state.s, *state.t, state.ds);
}

/// The last backward step, from `before` down to `now`.
fn panel_of<'a, 'f: 'a, S>(solver: &S, (now, before): (f64, f64)) -> Result<Panel, DiffsolError>
where
    S: AugmentedOdeSolverMethod<'a, Equations<'f>, Adjoint<'a, 'f>>,
{
    let mut points = Vec::with_capacity(NODES.len());
    let Some(equations) = solver.augmented_eqn() else {
        return Ok(points);
    };
    for (node, _) in NODES {
        let t = now + node * (before - now);
        let mut z = solver.state().y.clone();
        equations.interpolate_forward_state(t, &mut z)?;
        let lambda = solver.interpolate_sens(t)?.inner().col_as_slice(0).to_vec();
        points.push((t, z, lambda));
    }
    Ok(points)
}
