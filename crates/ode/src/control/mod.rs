//! Step controllers: is an attempted step good enough, and how long may the next one be?
//!
//! A controller is pure and sees one lane, never the batch.

mod decrease;
mod fixed;
mod pi;
mod trust;

pub use decrease::Decrease;
pub use fixed::{Fixed, Grid};
pub use pi::Pi;
pub use trust::Trust;

use crate::{History, Status, Tolerance};

/// What an attempted step showed.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// Where it started.
    pub t: f64,
    /// The step attempted (it may have been cut at `t_end`).
    pub h: f64,
    /// Objective at both ends.
    pub objective: [f64; 2],
    /// The relative rounding error of the objective, see [`Flow::rounding`](crate::Flow::rounding).
    pub rounding: f64,
    /// |grad objective|^2 at both ends.
    pub grad_sq: [f64; 2],
    /// |dz/dt|^2 at both ends, of the positions alone where the state holds velocities too.
    pub speed_sq: [f64; 2],
    /// Scaled error, 1 or less is fine; NaN where the method has no estimate.
    pub error: f64,
    /// The method's order.
    pub order: u32,
    /// Decrease that the method's model expects; NaN where it has none.
    pub predicted: f64,
    /// Whether the step's equations were solved and everything at its end is finite.
    pub usable: bool,
    /// Whether z changed at all.
    pub moved: bool,
}

impl Evidence {
    /// Actual decrease of the objective.
    pub fn decrease(&self) -> f64 {
        self.objective[0] - self.objective[1]
    }

    /// Whether the change of the objective is within 8 times its rounding error.
    pub fn within_rounding(&self) -> bool {
        self.decrease().abs() <= 8.0 * self.rounding * self.objective[0].abs()
    }

    /// Actual over predicted decrease; 1 where both are within rounding and the slope falls.
    pub fn ratio(&self) -> f64 {
        if self.within_rounding() && self.grad_sq[1] < self.grad_sq[0] {
            return 1.0;
        }
        self.decrease() / self.predicted
    }
}

/// What a controller decides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// The step stands.
    Accept {
        /// The next step size.
        h_next: f64,
        /// How far time advances.
        t_step: f64,
        /// Whether it stands although it did not pass the test.
        forced: bool,
    },
    /// Try again from the same place.
    Reject {
        /// with this step size.
        h_next: f64,
    },
    /// This lane cannot go on.
    GiveUp(Status),
}

/// How the first step size is found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum First {
    /// It is known.
    Given(f64),
    /// So many times 1/kappa, kappa the curvature that the stepper found along the first slope: see
    /// [`Distance::curvature`](crate::Distance::curvature).
    Scaled(f64),
    /// From the slopes at z0 and at the end of a small Euler step, which costs an evaluation, so that the error of a step
    /// comes near these tolerances.
    Estimated(Tolerance),
}

/// Judges attempted steps.
pub trait StepController: Send + Sync {
    /// The first step size.
    fn first(&self) -> First;
    /// What becomes of an attempted step.
    fn judge(&self, seen: &Evidence, past: &History) -> Verdict;
}
