//! Steps along a grid that is known before, all accepted.

use super::{Evidence, First, StepController, Verdict};
use crate::{History, Status};

/// How a grid of `steps` steps from 0 to `t_end` is spaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grid {
    /// t_i = t_end i / n.
    Uniform,
    /// t_i = t_end (b^(i/n) - 1) / (b - 1): each step is b^(1/n) times the one before.
    Logarithmic {
        /// b > 1, about the ratio of the last step to the first.
        base: f64,
    },
}

/// Accepts every finite step of its grid.
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    /// The end of the grid.
    pub t_end: f64,
    /// Number of steps.
    pub steps: u32,
    /// Their spacing.
    pub grid: Grid,
}

impl Fixed {
    /// Size of step `index`, from 0.
    fn size(&self, index: u32) -> f64 {
        let n = f64::from(self.steps);
        match self.grid {
            Grid::Uniform => self.t_end / n,
            Grid::Logarithmic { base } => {
                let rate = base.ln() / n;
                let first = self.t_end * rate.exp_m1() / (base - 1.0);
                first * (rate * f64::from(index)).exp()
            }
        }
    }
}

impl StepController for Fixed {
    fn first(&self) -> First {
        First::Given(self.size(0))
    }

    fn judge(&self, seen: &Evidence, past: &History) -> Verdict {
        if seen.usable {
            let (next, end) = (past.accepted + 1, seen.t + seen.h);
            // Rounding of the times adds up: the last step is what is left, not a sliver more or less.
            let last = next + 1 == self.steps;
            Verdict::Accept {
                h_next: if last { self.t_end - end } else { self.size(next) },
                t_step: seen.h,
                forced: false,
            }
        } else {
            Verdict::GiveUp(Status::NotFinite)
        }
    }
}
