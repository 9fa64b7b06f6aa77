//! Stopping rules. Each looks at one lane and is pure.

use crate::{History, Status, lane::LOSSES};

/// Where a lane stands.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Time reached.
    pub t: f64,
    /// The horizon.
    pub t_end: f64,
    /// |grad objective|^2, see [`Values::grad_sq`](crate::Values::grad_sq).
    pub grad_sq: f64,
    /// The loss.
    pub loss: f64,
    /// What bounds of the gradient norm count in, see [`Flow::gradient_unit`](crate::Flow::gradient_unit).
    pub gradient_unit: f64,
    /// Estimated distance to the minimum; NaN where it is not known here.
    pub edm: f64,
    /// The recent past.
    pub past: &'a History,
}

/// A stopping rule.
pub trait Terminator: Send + Sync {
    /// A status where the lane is done; asked before the first step and after every accepted one, and again once the
    /// distance to the minimum is known. A rule that fires by a distance of which the Jacobian is not that of the point is
    /// asked once more with a fresh one.
    fn check(&self, now: &Progress<'_>) -> Option<Status>;

    /// A status where no step changes z any more, so that the past says nothing of what is to come; asked where the
    /// distance to the minimum is that of this point. By default there is none, and the lane has stagnated.
    fn settled(&self, _now: &Progress<'_>) -> Option<Status> {
        None
    }
}

/// Converged when |grad| <= gtol, in the flow's own unit of gradients.
#[derive(Clone, Copy, Debug)]
pub struct GradNorm {
    /// The bound.
    pub gtol: f64,
}

impl Terminator for GradNorm {
    fn check(&self, now: &Progress<'_>) -> Option<Status> {
        (now.grad_sq.sqrt() <= self.gtol * now.gradient_unit).then_some(Status::Converged)
    }
}

/// Converged when the estimated distance to the minimum is small here and at the start of the last step, the steps to come
/// will not add up to more, and the last two steps went as predicted.
///
/// edm = (D/2) g^T H^-1 g, invariant under a change of latent coordinates; sqrt(2 edm) is the next step in standard errors.
/// Where each step is rho = sqrt(edm / edm_before) times the one before, all of them are together 1 / (1 - rho) times the
/// next: so edm has to be (1 - rho)^2 times smaller, but 100 times at most. Without that, a code that creeps along a valley
/// where H~ has more curvature than the loss, or past a saddle that H~ cannot see, would pass for a minimum. A step went as
/// predicted when actual over predicted decrease lies in `[0.5, 2]`. James & Roos, MINUIT, Comput. Phys. Commun. 10
/// (1975).
#[derive(Clone, Copy, Debug)]
pub struct Edm {
    /// The bound, in units of the log likelihood, or of D l if `relative`.
    pub edm_tol: f64,
    /// D: turns the flow's objective, a mean, into a log likelihood.
    pub values: f64,
    /// Whether the bound counts in units of D l.
    pub relative: bool,
}

/// The smallest part of the bound that edm may have to come under, for steps that shrink by a tenth or less each.
const SMALLEST_SHARE: f64 = 0.01;

impl Edm {
    fn bound(&self, now: &Progress<'_>) -> f64 {
        self.edm_tol * if self.relative { self.values * now.loss } else { 1.0 }
    }
}

impl Terminator for Edm {
    fn check(&self, now: &Progress<'_>) -> Option<Status> {
        let rho = (now.edm / now.past.edm).sqrt();
        let share = (1.0 - rho).max(0.0).powi(2).max(SMALLEST_SHARE);
        let bound = self.bound(now);
        let small = self.values * now.past.edm <= bound && self.values * now.edm <= share * bound;
        let regular = now.past.ratio.iter().all(|ratio| (0.5..=2.0).contains(ratio));
        (self.edm_tol > 0.0 && small && regular).then_some(Status::Converged)
    }

    fn settled(&self, now: &Progress<'_>) -> Option<Status> {
        let small = self.values * now.edm <= SMALLEST_SHARE * self.bound(now);
        (self.edm_tol > 0.0 && small).then_some(Status::Converged)
    }
}

/// Converged when the loss has stopped falling: the authors' rule for the adaptive minimize-distance solver.
///
/// After the first 1 - `settle_fraction` of t_end, the mean slope of the last five accepted losses (central differences
/// inside, one-sided at the ends) is below `loss_slope_tol` in size.
#[derive(Clone, Copy, Debug)]
pub struct LossSlope {
    /// The bound on the slope per step.
    pub loss_slope_tol: f64,
    /// The part of t_end that must be left at most.
    pub settle_fraction: f64,
}

impl Terminator for LossSlope {
    fn check(&self, now: &Progress<'_>) -> Option<Status> {
        let l = &now.past.losses;
        if (now.past.accepted as usize) < LOSSES || (now.t_end - now.t) / now.t_end > self.settle_fraction {
            return None;
        }
        let inside = (l[2] - l[0] + l[3] - l[1] + l[4] - l[2]) / 2.0;
        let slope = (l[1] - l[0] + inside + l[4] - l[3]) / LOSSES as f64;
        (slope.abs() < self.loss_slope_tol).then_some(Status::Converged)
    }
}
