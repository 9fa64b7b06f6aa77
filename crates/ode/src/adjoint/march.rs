//! Accepted steps, taken again.

use super::{Outcome, Path, Rule, Step};
use crate::explicit::{RungeKutta, SemiImplicit};
use crate::{Flow, FlowError, Point, Start, Stepper, Tolerance, Trial, Values, Work};
use faer::Mat;

/// The lanes of some paths, the longest first, and memory for their steps.
pub(super) struct March<'a> {
    paths: &'a [Path<'a>],
    /// The path in each lane.
    order: Vec<usize>,
    /// 0, 1, ...
    pub(super) lanes: Vec<usize>,
    stepper: Box<dyn Stepper>,
    t: Vec<f64>,
    h: Vec<f64>,
    f: Mat<f64>,
    /// Objectives, losses, squares and predictions, which nobody asks for.
    ignored: Vec<f64>,
    failed: Vec<bool>,
    solved: Vec<bool>,
    pub(super) work: Vec<Work>,
    /// Lanes in which something was NaN, or failed.
    pub(super) lost: Vec<bool>,
}

impl<'a> March<'a> {
    pub(super) fn new(flow: &dyn Flow, rule: Rule, paths: &'a [Path<'a>]) -> Self {
        let (dim, lanes) = (flow.dim(), paths.len());
        let mut order: Vec<usize> = (0..lanes).collect();
        order.sort_by_key(|&path| std::cmp::Reverse(paths[path].steps.len()));
        March {
            paths,
            order,
            lanes: (0..lanes).collect(),
            stepper: match rule {
                Rule::RungeKutta(tableau) => Box::new(RungeKutta::new(tableau, Tolerance::default(), dim, lanes)),
                Rule::SemiImplicit => Box::new(SemiImplicit::new(dim)),
            },
            t: vec![0.0; lanes],
            h: vec![0.0; lanes],
            f: Mat::zeros(dim, lanes),
            ignored: vec![0.0; 4 * lanes],
            failed: vec![false; lanes],
            solved: vec![true; lanes],
            work: vec![Work::default(); lanes],
            lost: vec![false; lanes],
        }
    }

    /// The path in each lane.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// The steps of the longest path.
    pub(super) fn steps(&self) -> usize {
        self.order.first().map_or(0, |&path| self.paths[path].steps.len())
    }

    /// The steps of a lane.
    pub(super) fn path(&self, lane: usize) -> &'a [Step] {
        self.paths[self.order[lane]].steps
    }

    /// How many lanes take step `index`; they are the first.
    pub(super) fn live(&self, index: usize) -> usize {
        self.order.partition_point(|&path| self.paths[path].steps.len() > index)
    }

    /// Whether any lane failed.
    pub(super) fn is_lost(&self) -> bool {
        self.lost.contains(&true)
    }

    /// Admits every path and writes the initial states, `[d, lanes]`.
    pub(super) fn start(&mut self, flow: &mut dyn Flow, z: &mut Mat<f64>) {
        for (lane, &path) in self.order.iter().enumerate() {
            let Path { sample, z0, .. } = self.paths[path];
            flow.admit(lane, sample, z0);
            self.stepper.admit(lane, sample, z0);
            z.col_as_slice_mut(lane).copy_from_slice(z0);
        }
    }

    /// The slopes at `z` and time `t` per lane, into `f`, for the first lanes.
    pub(super) fn slopes(
        &mut self,
        flow: &mut dyn Flow,
        t: &[f64],
        z: &Mat<f64>,
        f: &mut Mat<f64>,
    ) -> Result<(), FlowError> {
        let live = t.len();
        let (objective, rest) = self.ignored.split_at_mut(live);
        let (loss, rest) = rest.split_at_mut(live);
        let at = Point {
            lanes: &self.lanes[..live],
            t,
            z: z.as_ref().subcols(0, live),
        };
        let to = Values {
            f: f.as_mut().subcols_mut(0, live),
            objective,
            loss,
            grad_sq: &mut rest[..live],
            failed: &mut self.failed[..live],
        };
        flow.eval(at, to, &mut self.work)?;
        for lane in 0..live {
            self.lost[lane] |= self.failed[lane];
        }
        Ok(())
    }

    /// Step `index` of the lanes that take it, from `z` to `to`, `[d, lanes]` both.
    pub(super) fn forward(
        &mut self,
        flow: &mut dyn Flow,
        index: usize,
        z: &Mat<f64>,
        to: &mut Mat<f64>,
    ) -> Result<(), FlowError> {
        let live = self.live(index);
        let (mut t, mut f) = (std::mem::take(&mut self.t), std::mem::replace(&mut self.f, Mat::new()));
        for lane in 0..live {
            Step {
                t: t[lane],
                h: self.h[lane],
            } = self.path(lane)[index];
        }
        self.slopes(flow, &t[..live], z, &mut f)?;
        let from = Start {
            lanes: &self.lanes[..live],
            t: &t[..live],
            h: &self.h[..live],
            z: z.as_ref().subcols(0, live),
            f: f.as_ref().subcols(0, live),
        };
        let trial = Trial {
            z: to.as_mut().subcols_mut(0, live),
            predicted: &mut self.ignored[..live],
            solved: &mut self.solved[..live],
        };
        self.stepper.attempt(flow, from, trial, &mut self.work)?;
        for lane in 0..live {
            self.lost[lane] |= !self.solved[lane] || to.col_as_slice(lane).iter().any(|z| !z.is_finite());
        }
        (self.t, self.f) = (t, f);
        Ok(())
    }

    /// What became of the paths, in their own order.
    pub(super) fn outcome(self, states: usize) -> Outcome {
        let mut outcome = Outcome {
            failed: vec![false; self.paths.len()],
            work: vec![Work::default(); self.paths.len()],
            states,
        };
        for (lane, &path) in self.order.iter().enumerate() {
            outcome.failed[path] = self.lost[lane];
            outcome.work[path] = self.work[lane];
        }
        outcome
    }
}
