//! The adjoint of an integration with an explicit method: the derivative of the end point of the steps that were taken.
//!
//! Differentiated is the map from z0 and theta to the end of the accepted steps, with their sizes held fixed: exact to
//! rounding, at any step size. The alternative, the adjoint equation solved backwards by a method of its own, is right to its
//! tolerance only and needs the states at other times than the steps have; diffsol's methods, whose steps are not ours to
//! repeat, take it: see [`crate::diffsol::adjoint`].
//!
//! Samples go in lockstep over the index of the step, each with its own times and step sizes, the longest in the first lanes,
//! so that the lanes still to be stepped always stand together. States are not kept but computed anew, from checkpoints: see
//! [`Discrete::keep`]. All that grows with the number of steps is their list, 16 bytes each.

mod checkpoints;
mod march;
mod pull;

use crate::explicit::Tableau;
use crate::{ColsMut, Flow, FlowError, Work};
use checkpoints::Checkpoints;
use faer::Mat;
use march::March;
use pull::Pull;

/// An accepted step: z1 = z + h (...) from time t. Time may have run further than h: see the forced steps of
/// [`Decrease`](crate::control::Decrease).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Time at its start.
    pub t: f64,
    /// How far the state went.
    pub h: f64,
}

/// The formula of a step.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// An explicit Runge-Kutta method.
    RungeKutta(&'static Tableau),
    /// The semi-implicit Euler step of a flow of second order, see [`SemiImplicit`](crate::explicit::SemiImplicit).
    SemiImplicit,
}

/// What a sample went through.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    /// Its index.
    pub sample: usize,
    /// The initial state, `[d]`.
    pub z0: &'a [f64],
    /// Its accepted steps, in order.
    pub steps: &'a [Step],
}

/// How integrations are differentiated.
#[derive(Clone, Copy, Debug)]
pub struct Discrete {
    /// The formula of the steps.
    pub rule: Rule,
    /// The integrand of the parameters, lambda^T df/dtheta, is evaluated at one step of so many, in their middle, and stands
    /// for all of them, by their total length. With 1 the derivative is exact.
    pub quadrature_stride: u32,
    /// States kept at each level, at least 2: a stretch of more steps is cut into so many parts at most, whose first states
    /// are kept, and each part is treated alike. So n steps cost log n / log keep integrations, rounded up, and hold about
    /// keep states for each.
    pub keep: usize,
}

impl Discrete {
    /// The exact derivative, with 128 states kept at each level: up to 128 steps are repeated once, up to 16,384 twice.
    pub fn new(rule: Rule) -> Self {
        Discrete {
            rule,
            quadrature_stride: 1,
            keep: 128,
        }
    }
}

/// What became of an adjoint; entries as in the paths.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Which samples failed: a product or a state was NaN or infinite. If any did, the derivatives are undefined, for all:
    /// differentiate the others without them.
    pub failed: Vec<bool>,
    /// Work done.
    pub work: Vec<Work>,
    /// States held at once at most, each of all lanes.
    pub states: usize,
}

/// Pulls derivatives at the ends of integrations back to their starts and to the parameters.
///
/// `z_bar` `[d, paths]` holds dL/dz at the ends, and is set to dL/dz0; the sum over samples of the derivative through the
/// steps is added to `params_bar` `[P]`. The paths are as many as the flow has lanes, at most; the flow admits them anew. Fails
/// where the flow has no adjoint or cannot go on at all.
///
/// With z1 = z + h sum_i b_i k_i and k_i = f(t + c_i h, Z_i): k_bar_i = h (b_i z1_bar + sum_j a_ji Z_bar_j),
/// Z_bar_i = (df/dz)^T k_bar_i, z_bar = z1_bar + sum_i Z_bar_i. Hager, Numer. Math. 87, 247 (2000); checkpoints as in Griewank &
/// Walther, ACM Trans. Math. Softw. 26, 19 (2000), but for a number of steps that is known and memory that is cheap: the
/// repetitions count, not the states.
pub fn pull_back(
    flow: &mut dyn Flow,
    how: &Discrete,
    paths: &[Path<'_>],
    mut z_bar: ColsMut<'_>,
    params_bar: &mut [f64],
) -> Result<Outcome, FlowError> {
    if flow.adjoint().is_none() {
        return Err(FlowError(
            "this flow has no products with its transposed derivatives: it cannot be differentiated".into(),
        ));
    }
    let mut march = March::new(flow, how.rule, paths);
    let mut bar = Mat::zeros(flow.dim(), paths.len());
    for (lane, &path) in march.order().iter().enumerate() {
        bar.as_mut().col_mut(lane).copy_from(z_bar.as_ref().col(path));
    }
    let mut pull = Pull::new(how, flow.dim(), paths.len());
    let mut checkpoints = Checkpoints::new(how.keep, flow.dim(), paths.len());
    checkpoints.sweep(flow, &mut march, &mut |flow, march, index, z| {
        pull.step(flow, march, (index, z), &mut bar, params_bar)
    })?;
    for (lane, &path) in march.order().iter().enumerate() {
        z_bar.as_mut().col_mut(path).copy_from(bar.col(lane));
    }
    Ok(march.outcome(checkpoints.peak()))
}

/// Repeats integrations: the same calls in the same order, hence the same bits. `z` `[d, paths]` is set to their ends.
pub fn replay(flow: &mut dyn Flow, rule: Rule, paths: &[Path<'_>], mut z: ColsMut<'_>) -> Result<Outcome, FlowError> {
    let mut march = March::new(flow, rule, paths);
    let dim = flow.dim();
    let (mut now, mut next) = (Mat::zeros(dim, paths.len()), Mat::zeros(dim, paths.len()));
    march.start(flow, &mut now);
    let order = march.order().to_vec();
    for index in 0..march.steps() {
        march.forward(flow, index, &now, &mut next)?;
        for lane in march.live(index + 1)..march.live(index) {
            z.as_mut().col_mut(order[lane]).copy_from(next.col(lane));
        }
        std::mem::swap(&mut now, &mut next);
    }
    for lane in march.live(0)..paths.len() {
        let z0 = paths[order[lane]].z0;
        z.as_mut()
            .col_mut(order[lane])
            .iter_mut()
            .zip(z0)
            .for_each(|(z, z0)| *z = *z0);
    }
    Ok(march.outcome(2))
}
