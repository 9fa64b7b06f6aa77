//! Steps of one size, all accepted.

use super::{Evidence, StepController, Verdict};
use crate::{History, Status};

/// Accepts every finite step of size `h`.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    /// The step size.
    pub h: f64,
}

impl StepController for Fixed {
    fn first(&self) -> f64 {
        self.h
    }

    fn judge(&self, seen: &Evidence, _past: &History) -> Verdict {
        if seen.usable {
            Verdict::Accept {
                h_next: self.h,
                t_step: seen.h,
                forced: false,
            }
        } else {
            Verdict::GiveUp(Status::NotFinite)
        }
    }
}
