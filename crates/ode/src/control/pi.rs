//! Step sizes of an error-controlled method: proportional and integral control of the scaled error.

use super::{Evidence, First, StepController, Verdict};
use crate::{History, Status, Tolerance};

/// Accepts when the scaled error is 1 or less; h_next = h safety error^-alpha error_before^beta.
///
/// alpha = 0.7/p and beta = 0.4/p with p the order. Hairer & Wanner, Solving ODEs II, 2nd ed., eq. IV.2.43c; Gustafsson,
/// ACM Trans. Math. Softw. 17, 533 (1991). After a rejection the step grows no further in the same attempt. Panics with a
/// method that has no estimate of its error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pi {
    /// What the error is measured by; the stepper scales it, this finds the first step.
    pub tolerance: Tolerance,
    /// Factor that keeps the next step a little below the estimate.
    pub safety: f64,
    /// The step shrinks at most by this factor.
    pub shrink: f64,
    /// The step grows at most by this factor.
    pub grow: f64,
    /// The smallest step, as a part of the time reached, below which the lane gives up.
    pub h_min: f64,
}

impl Pi {
    /// The usual constants: safety 0.9, factors between 0.2 and 10.
    pub fn new(tolerance: Tolerance) -> Self {
        Pi {
            tolerance,
            safety: 0.9,
            shrink: 0.2,
            grow: 10.0,
            h_min: 1e-15,
        }
    }
}

impl StepController for Pi {
    fn first(&self) -> First {
        First::Estimated(self.tolerance)
    }

    fn judge(&self, seen: &Evidence, past: &History) -> Verdict {
        let order = f64::from(seen.order);
        assert!(
            !seen.error.is_nan(),
            "error control needs a method with an estimate of its error"
        );
        // An error of exactly zero would ask for an infinite step.
        let error = seen.error.max(1e-10);
        if seen.usable && error <= 1.0 {
            let before = if past.error.is_nan() {
                error
            } else {
                past.error.max(1e-4)
            };
            let factor = self.safety * error.powf(-0.7 / order) * before.powf(0.4 / order);
            let most = if past.rejected_in_a_row > 0 { 1.0 } else { self.grow };
            return Verdict::Accept {
                h_next: seen.h * factor.clamp(self.shrink, most),
                t_step: seen.h,
                forced: false,
            };
        }
        let factor = if seen.usable && error.is_finite() {
            self.safety * error.powf(-1.0 / order)
        } else {
            self.shrink
        };
        let h_next = seen.h * factor.clamp(self.shrink, 0.9);
        if h_next <= self.h_min * seen.t.max(self.tolerance.atol) {
            return Verdict::GiveUp(if seen.usable {
                Status::StepTooSmall
            } else {
                Status::NotFinite
            });
        }
        Verdict::Reject { h_next }
    }
}
