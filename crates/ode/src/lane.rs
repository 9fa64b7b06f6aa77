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
    /// Estimated distances to the minimum at the start of the last two accepted steps, older first.
    pub edm: [f64; 2],
    /// Actual over predicted decrease of the last two accepted steps, older first.
    pub ratio: [f64; 2],
}

impl Default for History {
    fn default() -> Self {
        History {
            attempts: 0,
            rejected_in_a_row: 0,
            accepted: 0,
            losses: [f64::NAN; LOSSES],
            edm: [f64::INFINITY; 2],
            ratio: [f64::NAN; 2],
        }
    }
}

impl History {
    pub(crate) fn accept(&mut self, loss: f64, edm: f64, ratio: f64) {
        self.accepted += 1;
        self.rejected_in_a_row = 0;
        self.losses.rotate_left(1);
        self.losses[LOSSES - 1] = loss;
        self.edm = [self.edm[1], edm];
        self.ratio = [self.ratio[1], ratio];
    }
}
