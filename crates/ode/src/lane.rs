//! What is kept per lane: work done and the recent past that controllers and stopping rules look at.

/// Whatever keeps a column, or a scalar, per lane. No default bodies: forgetting one is a compile error.
pub trait Lanewise {
    /// A new sample starts in `lane` from `z0`, `[d]`.
    fn admit(&mut self, lane: usize, sample: usize, z0: &[f64]);
    /// Lane `to` takes over what lane `from` held.
    fn relocate(&mut self, from: usize, to: usize);
}

/// Work done for one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Accepted steps.
    pub steps: u32,
    /// Rejected steps.
    pub rejected: u32,
    /// Steps taken although no step passed the test.
    pub forced: u32,
    /// Evaluations of the decoder.
    pub evaluations: u32,
    /// Products with the transposed Jacobian.
    pub vjps: u32,
    /// Products with the Jacobian, directions counted.
    pub jvps: u32,
    /// Second-order products.
    pub hvps: u32,
    /// Jacobians of the flow.
    pub jacobians: u32,
    /// Factorizations.
    pub factorizations: u32,
}

impl Work {
    /// Work in units of one forward pass: an evaluation 1, a vjp 1, a jvp 1 per direction, a second-order product 2.
    pub fn units(&self) -> u64 {
        u64::from(self.evaluations) + u64::from(self.vjps) + u64::from(self.jvps) + 2 * u64::from(self.hvps)
    }
}

impl std::ops::AddAssign for Work {
    fn add_assign(&mut self, other: Work) {
        self.steps += other.steps;
        self.rejected += other.rejected;
        self.forced += other.forced;
        self.evaluations += other.evaluations;
        self.vjps += other.vjps;
        self.jvps += other.jvps;
        self.hvps += other.hvps;
        self.jacobians += other.jacobians;
        self.factorizations += other.factorizations;
    }
}

/// How many accepted losses [`History`] remembers.
pub const LOSSES: usize = 5;

/// The recent past of one lane.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct History {
    /// Steps attempted.
    pub attempts: u32,
    /// Rejections since the last accepted step.
    pub rejected_in_a_row: u32,
    /// Accepted steps.
    pub accepted: u32,
    /// The last accepted losses, oldest first; only the last `min(accepted, LOSSES)` are defined.
    pub losses: [f64; LOSSES],
    /// Estimated distance to the minimum at the start of the last accepted step; infinite before it.
    pub edm: f64,
    /// Actual over predicted decrease of the last two accepted steps, older first.
    pub ratio: [f64; 2],
    /// Scaled error of the last accepted step; NaN before it or without an estimate.
    pub error: f64,
    /// The first step attempted; NaN before it.
    pub h_first: f64,
}

impl Default for History {
    fn default() -> Self {
        History {
            attempts: 0,
            rejected_in_a_row: 0,
            accepted: 0,
            losses: [f64::NAN; LOSSES],
            edm: f64::INFINITY,
            ratio: [f64::NAN; 2],
            error: f64::NAN,
            h_first: f64::NAN,
        }
    }
}

impl History {
    pub(crate) fn accept(&mut self, loss: f64, edm: f64, ratio: f64, error: f64) {
        self.accepted += 1;
        self.rejected_in_a_row = 0;
        self.losses.rotate_left(1);
        self.losses[LOSSES - 1] = loss;
        self.edm = edm;
        self.ratio = [self.ratio[1], ratio];
        self.error = error;
    }
}
