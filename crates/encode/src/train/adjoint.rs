//! `gradient = "adjoint"`: the total derivative of l(y, D(z(tau); theta)) in theta and in z0, through the integration.
//!
//! With lambda(tau) = grad_z l(z(tau)): dlambda/dt = alpha(t) H lambda backwards from tau to 0, dl/dz0 = lambda(0), and
//! dl/dtheta (total) = dl/dtheta at z(tau) - int_0^tau alpha(t) d(lambda^T grad_z l)/dtheta dt. For the explicit methods it is
//! the exact derivative of the steps that were accepted, see [`gfe_ode::adjoint`]; for diffsol's the adjoint equation to the
//! tolerance, see [`gfe_ode::diffsol::adjoint`].
//!
//! Samples are differentiated in groups, by their order and number alone, and the groups' sums are added in order: so the
//! gradient has the same bits whatever the lanes and threads.

use super::sum::Sum;
use crate::batch::fresh_version;
use crate::encoder::{Encoded, Samples, encode_with};
use crate::encoding::{Encoding, Order};
use crate::gradient_flow::GradientFlow;
use crate::ledger::Ledger;
use crate::solver::Solver;
use crate::starts::Begin;
use faer::Mat;
use gfe_model::{Cols, ColsMut};
use gfe_ode::adjoint::{Discrete, Path, Rule, Step, pull_back};
use gfe_ode::explicit::{EULER, RK4, TSIT5};
use gfe_ode::{Flow, FlowError, Momentum, Point, Status, Work, diffsol};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Why there is no adjoint.
#[derive(Debug, thiserror::Error)]
pub enum AdjointError {
    /// The decoder has no weights to train.
    #[error("this decoder gives no parameter gradients: it cannot be trained")]
    NotTrainable,
    /// The decoder has no second-order products.
    #[error(
        "gradient adjoint needs Jacobian-vector and second-order products, which this decoder lacks: \
         take gradient approximate"
    )]
    NoSecondOrder,
    /// The solver goes to the steady state.
    #[error(
        "gradient adjoint is for solvers that follow the flow (euler, rk4, amd, tsit5, tsit45, tr_bdf2, esdirk34, bdf): \
         take gradient implicit or approximate with ptc"
    )]
    Ptc,
    /// The flow drops its momentum.
    #[error("gradient adjoint is not defined for a flow that restarts: take restart = false, or gradient approximate")]
    Restart,
    /// Samples do not start at their z0.
    #[error(
        "gradient adjoint is that of one start at z0: {starts} starts were asked for, beginning at {begin:?}; \
         take starts = 1 and z0"
    )]
    Starts {
        /// Starts of each sample.
        starts: usize,
        /// Where they begin.
        begin: Begin,
    },
    /// The decoder broke down.
    #[error(transparent)]
    Flow(#[from] FlowError),
}

/// Encodes samples and sets `params_bar` `[P]` to the sum, over those with a finite loss, of the total derivative of
/// l(y, D(z(tau); theta)) in theta, and `z0_bar` `[d, samples]` to that of each in its own z0, which is lambda(0).
///
/// With `quadrature_stride` k the integrand of theta is evaluated at every k-th step; 1 is exact. The work is counted in the
/// records. A sample whose integration failed counts with the code where it ended; one whose loss there is not finite, or
/// whose adjoint is not, counts nowhere, has z0_bar 0 and, in its record, a loss of NaN. Fails where decoder, solver or flow
/// have no adjoint, or where the decoder breaks down.
pub fn adjoint(
    how: &Encoding<'_>,
    params: &[f64],
    samples: Samples<'_>,
    quadrature_stride: u32,
    params_bar: &mut [f64],
    z0_bar: Option<ColsMut<'_>>,
) -> Result<Encoded, AdjointError> {
    check(how)?;
    let (mut encoded, steps) = encode_recording(how, params, samples)?;
    let usable: Vec<bool> = encoded.records.iter().map(|record| record.loss.is_finite()).collect();
    let task = Task {
        how: *how,
        params: (params, fresh_version()),
        samples,
        steps: &steps,
        z: encoded.z.as_ref(),
        usable: &usable,
        size: group_size(usable.len()),
        quadrature_stride,
    };
    params_bar.fill(0.0);
    let groups = task.run(params_bar)?;
    let mut z0_bar = z0_bar;
    for (first, group) in (0..).step_by(task.size).zip(groups) {
        for (i, work) in group.work.iter().enumerate() {
            encoded.records[first + i].work += *work;
            if let Some(to) = &mut z0_bar {
                to.as_mut().col_mut(first + i).copy_from(group.z0_bar.col(i));
            }
        }
        for (i, status, message) in group.dropped {
            let record = &mut encoded.records[first + i];
            (record.loss, record.status, record.message) = (f64::NAN, status, Some(message));
        }
    }
    Ok(encoded)
}

/// Encodes samples and tells the accepted steps of each: all that it takes, with z0, to integrate it again with
/// [`gfe_ode::adjoint::replay`]. Those of diffsol's methods are not told.
pub fn encode_recording(
    how: &Encoding<'_>,
    params: &[f64],
    samples: Samples<'_>,
) -> Result<(Encoded, Vec<Vec<Step>>), FlowError> {
    let ledger = Ledger::default();
    let encoded = encode_with(how, params, Some(&ledger), samples, None)?;
    Ok((encoded, ledger.close(samples.data.y.ncols())))
}

/// Whether there is an adjoint.
pub(super) fn check(how: &Encoding<'_>) -> Result<(), AdjointError> {
    if matches!(how.solver, Solver::Ptc(_)) {
        return Err(AdjointError::Ptc);
    }
    if matches!(how.order, Order::Nesterov { restart: true }) {
        return Err(AdjointError::Restart);
    }
    if how.starts > 1 || how.begin != Begin::Z0 {
        return Err(AdjointError::Starts {
            starts: how.starts,
            begin: how.begin,
        });
    }
    let decoder = (how.open)();
    if decoder.trainable().is_none() {
        return Err(AdjointError::NotTrainable);
    }
    if decoder.second_order().is_none() || decoder.tangent().is_none() {
        return Err(AdjointError::NoSecondOrder);
    }
    Ok(())
}

/// Samples in a group: enough to fill matrix products, few enough that a mini-batch of 16 keeps two threads busy. By the
/// number of samples alone, since the order of the sum hangs on it.
fn group_size(samples: usize) -> usize {
    samples.div_ceil(4).clamp(8, 64)
}

/// Samples with their codes.
struct Task<'a> {
    how: Encoding<'a>,
    params: (&'a [f64], u64),
    samples: Samples<'a>,
    steps: &'a [Vec<Step>],
    z: Cols<'a>,
    usable: &'a [bool],
    size: usize,
    quadrature_stride: u32,
}

/// What became of a group; entries and columns as in it.
struct Group {
    z0_bar: Mat<f64>,
    work: Vec<Work>,
    /// Those without an adjoint, and why.
    dropped: Vec<(usize, Status, String)>,
}

/// The flow of either order.
enum AnyFlow<'a> {
    First(Box<GradientFlow<'a>>),
    Second(Box<Momentum<GradientFlow<'a>>>),
}

impl<'a> AnyFlow<'a> {
    fn all(&mut self) -> &mut dyn Flow {
        match self {
            AnyFlow::First(flow) => &mut **flow,
            AnyFlow::Second(flow) => &mut **flow,
        }
    }

    fn first(&mut self) -> &mut GradientFlow<'a> {
        match self {
            AnyFlow::First(flow) => flow,
            AnyFlow::Second(flow) => flow.inner_mut(),
        }
    }
}

impl Task<'_> {
    /// Differentiates every group, and adds to `params_bar`.
    fn run(&self, params_bar: &mut [f64]) -> Result<Vec<Group>, FlowError> {
        let count = self.usable.len().div_ceil(self.size);
        let sum = Sum::new(params_bar);
        let (next, groups) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            let work = || {
                let _guard = sum.guard();
                let mut part = vec![0.0; self.params.0.len()];
                let mut flow = None;
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return Ok(());
                    }
                    let flow = flow.get_or_insert_with(|| self.flow());
                    let group = self.group(index, flow, &mut part).inspect_err(|_| sum.abandon())?;
                    if !sum.add(index, &part) {
                        return Ok(());
                    }
                    let mut groups = groups.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    groups.push((index, group));
                }
            };
            let workers = self.how.threads.clamp(1, count.max(1));
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
            let ends: Vec<_> = workers.into_iter().map(|worker| worker.join()).collect();
            ends.into_iter()
                .try_for_each(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        let mut groups = groups.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        groups.sort_by_key(|(index, _)| *index);
        Ok(groups.into_iter().map(|(_, group)| group).collect())
    }

    fn flow(&self) -> AnyFlow<'_> {
        let (params, version) = self.params;
        let first = GradientFlow::new(
            (self.how.open)(),
            params,
            (self.how.loss, &self.samples),
            0.0,
            self.size,
        )
        .with_version(version)
        .with_rate(self.how.rate);
        match self.how.order {
            Order::Gradient => AnyFlow::First(Box::new(first)),
            Order::Nesterov { restart } => AnyFlow::Second(Box::new(Momentum::new(first, restart, self.size))),
        }
    }

    /// Differentiates the samples of group `index`; `params_bar` is set to their sum. Where the adjoint of some fails, the sum
    /// cannot be had without it: the others are done again.
    fn group(&self, index: usize, flow: &mut AnyFlow<'_>, params_bar: &mut [f64]) -> Result<Group, FlowError> {
        let first = index * self.size;
        let members = self.size.min(self.usable.len() - first);
        let mut left: Vec<usize> = (first..first + members).filter(|&b| self.usable[b]).collect();
        let dim = self.z.nrows();
        let mut group = Group {
            z0_bar: Mat::zeros(dim, members),
            work: vec![Work::default(); members],
            dropped: Vec::new(),
        };
        loop {
            params_bar.fill(0.0);
            if left.is_empty() {
                return Ok(group);
            }
            let mut bar = self.ends(&left, flow, params_bar, &mut group.work[..])?;
            let failed = match rule(&self.how) {
                Some(rule) => self.explicit(rule, &left, flow, (bar.as_mut(), params_bar), &mut group.work)?,
                None => self.by_diffsol(&left, flow, (bar.as_mut(), params_bar), &mut group.work)?,
            };
            if failed.is_empty() {
                for (i, &b) in left.iter().enumerate() {
                    let to = group.z0_bar.as_mut().col_mut(b - first);
                    { to }.copy_from(bar.as_ref().subrows(0, dim).col(i));
                }
                return Ok(group);
            }
            for (b, status, message) in failed {
                left.retain(|&other| other != b);
                group.dropped.push((b - first, status, message));
            }
        }
    }

    /// dl/dz at the codes of `left`, with zeros for velocities, `[states, left.len()]`; adds dl/dtheta there to `params_bar`.
    fn ends(
        &self,
        left: &[usize],
        flow: &mut AnyFlow<'_>,
        params_bar: &mut [f64],
        work: &mut [Work],
    ) -> Result<Mat<f64>, FlowError> {
        let (dim, count) = (self.z.nrows(), left.len());
        let z = Mat::from_fn(dim, count, |r, i| self.z[(r, left[i])]);
        for (lane, &b) in left.iter().enumerate() {
            let start = self.start(b, flow.all().dim());
            flow.all().admit(lane, b, &start);
        }
        let (lanes, t): (Vec<usize>, Vec<f64>) = ((0..count).collect(), vec![0.0; count]);
        let at = Point {
            lanes: &lanes,
            t: &t,
            z: z.as_ref(),
        };
        let mut bar = Mat::zeros(flow.all().dim(), count);
        let mut done = vec![Work::default(); count];
        let positions = bar.as_mut().subrows_mut(0, dim);
        flow.first().loss_gradient(&at, positions, params_bar, &mut done)?;
        self.count(left, &done, work);
        Ok(bar)
    }

    /// The initial state of a sample: its z0, and no velocity.
    fn start(&self, b: usize, states: usize) -> Vec<f64> {
        let mut start = vec![0.0; states];
        let from = self.samples.z0.col(b);
        start.iter_mut().zip(from.iter()).for_each(|(to, from)| *to = *from);
        start
    }

    fn count(&self, left: &[usize], done: &[Work], work: &mut [Work]) {
        for (&b, done) in left.iter().zip(done) {
            work[b % self.size] += *done;
        }
    }

    /// Pulls `bar` back through the accepted steps; gives the samples for which that failed.
    fn explicit(
        &self,
        rule: Rule,
        left: &[usize],
        flow: &mut AnyFlow<'_>,
        (bar, params_bar): (ColsMut<'_>, &mut [f64]),
        work: &mut [Work],
    ) -> Result<Vec<(usize, Status, String)>, FlowError> {
        let states = flow.all().dim();
        let starts: Vec<Vec<f64>> = left.iter().map(|&b| self.start(b, states)).collect();
        let paths: Vec<Path<'_>> = left
            .iter()
            .zip(&starts)
            .map(|(&b, z0)| Path {
                sample: b,
                z0,
                steps: &self.steps[b],
            })
            .collect();
        let how = Discrete {
            quadrature_stride: self.quadrature_stride,
            ..Discrete::new(rule)
        };
        let outcome = pull_back(flow.all(), &how, &paths, bar, params_bar)?;
        self.count(left, &outcome.work, work);
        let failed = left.iter().zip(&outcome.failed).filter(|(_, failed)| **failed);
        let why = "its adjoint is NaN or infinite, or the decoder failed there: take a shorter t_end or smaller steps";
        Ok(failed.map(|(&b, _)| (b, Status::NotFinite, why.to_owned())).collect())
    }

    /// The same along the trajectories of diffsol's methods, up to the first that fails.
    fn by_diffsol(
        &self,
        left: &[usize],
        flow: &mut AnyFlow<'_>,
        (mut bar, params_bar): (ColsMut<'_>, &mut [f64]),
        work: &mut [Work],
    ) -> Result<Vec<(usize, Status, String)>, FlowError> {
        let Solver::ErrorControl(control) = self.how.solver else {
            return Err(FlowError("only diffsol's methods go by diffsol's adjoint".into()));
        };
        let rules = self
            .how
            .solver
            .stop(self.how.gtol, self.how.loss, self.samples.data.y.nrows());
        let stop: Vec<_> = rules.iter().map(|rule| &**rule).collect();
        let mut how = control.integration(&stop, &self.how);
        how.at = &[];
        let states = flow.all().dim();
        for (i, &b) in left.iter().enumerate() {
            let start = self.start(b, states);
            let mut column: Vec<f64> = bar.as_ref().col(i).iter().copied().collect();
            let stride = self.quadrature_stride;
            let outcome = diffsol::adjoint::pull_back(flow.all(), &how, stride, (b, &start), &mut column, params_bar)?;
            self.count(&[b], &[outcome.work], work);
            if let Some(message) = outcome.failed {
                return Ok(vec![(b, Status::SolveFailed, message)]);
            }
            bar.as_mut()
                .col_mut(i)
                .iter_mut()
                .zip(&column)
                .for_each(|(to, from)| *to = *from);
        }
        Ok(Vec::new())
    }
}

/// The formula of the solver's steps; none for diffsol's methods.
fn rule(how: &Encoding<'_>) -> Option<Rule> {
    match (how.solver, how.order) {
        (Solver::Amd(_), Order::Nesterov { .. }) => Some(Rule::SemiImplicit),
        (Solver::Euler(_) | Solver::Amd(_), _) => Some(Rule::RungeKutta(&EULER)),
        (Solver::Rk4(_), _) => Some(Rule::RungeKutta(&RK4)),
        (Solver::Tsit5(_), _) => Some(Rule::RungeKutta(&TSIT5)),
        (Solver::ErrorControl(_) | Solver::Ptc(_), _) => None,
    }
}
