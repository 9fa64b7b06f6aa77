//! Steps visited backwards, each with the state at its start, while few states are kept.

use super::march::March;
use crate::{Flow, FlowError};
use faer::Mat;

/// What is done at a step: its index and the state at its start, `[d, lanes]`.
pub(super) type Visit<'v> = dyn FnMut(&mut dyn Flow, &mut March<'_>, usize, &Mat<f64>) -> Result<(), FlowError> + 'v;

/// States that are kept, and those that are free.
pub(super) struct Checkpoints {
    keep: usize,
    shape: (usize, usize),
    free: Vec<Mat<f64>>,
    held: usize,
    peak: usize,
}

impl Checkpoints {
    /// With `keep` states of shape `[dim, lanes]` at each level, 2 at least.
    pub(super) fn new(keep: usize, dim: usize, lanes: usize) -> Self {
        Checkpoints {
            keep: keep.max(2),
            shape: (dim, lanes),
            free: Vec::new(),
            held: 0,
            peak: 0,
        }
    }

    /// States held at once at most.
    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    fn take(&mut self) -> Mat<f64> {
        self.held += 1;
        self.peak = self.peak.max(self.held);
        self.free
            .pop()
            .unwrap_or_else(|| Mat::zeros(self.shape.0, self.shape.1))
    }

    fn give(&mut self, state: Mat<f64>) {
        self.held -= 1;
        self.free.push(state);
    }

    /// Visits every step, the last first; ends early where a lane is lost.
    pub(super) fn sweep(
        &mut self,
        flow: &mut dyn Flow,
        march: &mut March<'_>,
        visit: &mut Visit<'_>,
    ) -> Result<(), FlowError> {
        let mut start = self.take();
        march.start(flow, &mut start);
        self.stretch(flow, march, (0, march.steps()), start, visit)
    }

    /// Visits the steps from `first` up to `last`, from the state at the start of `first`.
    fn stretch(
        &mut self,
        flow: &mut dyn Flow,
        march: &mut March<'_>,
        (first, last): (usize, usize),
        start: Mat<f64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), FlowError> {
        let mut part = 1;
        while part * self.keep < last - first {
            part *= self.keep;
        }
        let mut starts = vec![start];
        let mut at = first + part;
        while at < last {
            let next = self.advance(flow, march, (at - part, at), &starts[starts.len() - 1])?;
            starts.push(next);
            at += part;
        }
        while let Some(start) = starts.pop() {
            let from = first + starts.len() * part;
            if march.is_lost() || from >= last {
                self.give(start);
            } else if part == 1 {
                visit(flow, march, from, &start)?;
                self.give(start);
            } else {
                self.stretch(flow, march, (from, last.min(from + part)), start, visit)?;
            }
        }
        Ok(())
    }

    /// The state after the steps from `first` up to `last`.
    fn advance(
        &mut self,
        flow: &mut dyn Flow,
        march: &mut March<'_>,
        (first, last): (usize, usize),
        start: &Mat<f64>,
    ) -> Result<Mat<f64>, FlowError> {
        let mut now = self.take();
        march.forward(flow, first, start, &mut now)?;
        if last - first > 1 {
            let mut next = self.take();
            for index in first + 1..last {
                march.forward(flow, index, &now, &mut next)?;
                std::mem::swap(&mut now, &mut next);
            }
            self.give(next);
        }
        Ok(now)
    }
}
