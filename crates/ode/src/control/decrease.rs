//! The adaptive minimize-distance rule: a step has to lower the objective enough.
//!
//! Flouris et al., arXiv 2412.00864. The authors step a whole batch with one step size that every sample must accept;
//! here each lane has its own. With a batch of one the two are the same.

use super::{Evidence, First, StepController, Verdict};
use crate::{History, Status};

/// Accepts when l(z) - l(z1) >= armijo h dt_max |dz/dt(z1)|^2; for the gradient flow dz/dt is f, for that of second order m.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decrease {
    /// First and smallest regular step.
    pub dt0: f64,
    /// Largest step.
    pub dt_max: f64,
    /// Factor on rejection.
    pub shrink: f64,
    /// Rejections in a row after which a step is forced.
    pub max_backtracks: u32,
    /// Factor of the sufficient decrease.
    pub armijo: f64,
    /// How far time advances in a forced step.
    pub fallback_dt: f64,
}

impl Default for Decrease {
    fn default() -> Self {
        Decrease {
            dt0: 1.0,
            dt_max: 10.0,
            shrink: 0.5,
            max_backtracks: 20,
            armijo: 1e-5,
            fallback_dt: 10.0,
        }
    }
}

impl Decrease {
    fn grown(&self, h: f64) -> f64 {
        (1.1 * h).max(self.dt0).min(self.dt_max)
    }
}

impl StepController for Decrease {
    fn first(&self) -> First {
        First::Given(self.dt0)
    }

    fn judge(&self, seen: &Evidence, past: &History) -> Verdict {
        let enough = self.armijo * seen.h * self.dt_max * seen.speed_sq[1];
        if seen.usable && seen.decrease() >= enough {
            return Verdict::Accept {
                h_next: self.grown(seen.h),
                t_step: seen.h,
                forced: false,
            };
        }
        if past.rejected_in_a_row < self.max_backtracks {
            return Verdict::Reject {
                h_next: self.shrink * seen.h,
            };
        }
        if seen.usable {
            Verdict::Accept {
                h_next: self.dt0,
                t_step: self.fallback_dt,
                forced: true,
            }
        } else {
            Verdict::GiveUp(Status::NotFinite)
        }
    }
}
