//! What the integration loop keeps per lane, and the flow at a state and at a trial.

use crate::drive::Method;
use crate::stop::Progress;
use crate::{Distance, Flow, FlowError, History, Point, Start, Status, Values, Work};
use faer::Mat;

/// What the loop keeps per lane; lanes `0..live` are in use and `lanes[b] == b`.
pub(crate) struct State {
    pub(crate) live: usize,
    pub(crate) lanes: Vec<usize>,
    pub(crate) sample: Vec<usize>,
    pub(crate) status: Vec<Option<Status>>,
    pub(crate) t: Vec<f64>,
    pub(crate) h: Vec<f64>,
    pub(crate) step: Vec<f64>,
    pub(crate) loss_initial: Vec<f64>,
    pub(crate) gradient_unit: Vec<f64>,
    pub(crate) history: Vec<History>,
    pub(crate) work: Vec<Work>,
    pub(crate) now: Place,
    pub(crate) trial: Place,
    /// One column, for values inside an accepted step.
    pub(crate) inside: Place,
    pub(crate) predicted: Vec<f64>,
    pub(crate) distance: Vec<Distance>,
    pub(crate) error: Vec<f64>,
    pub(crate) solved: Vec<bool>,
}

/// A state and the flow there, per lane.
pub(crate) struct Place {
    pub(crate) z: Mat<f64>,
    pub(crate) f: Mat<f64>,
    pub(crate) objective: Vec<f64>,
    pub(crate) loss: Vec<f64>,
    pub(crate) grad_sq: Vec<f64>,
    pub(crate) failed: Vec<bool>,
}

impl Place {
    pub(crate) fn new(dim: usize, lanes: usize) -> Self {
        Place {
            z: Mat::zeros(dim, lanes),
            f: Mat::zeros(dim, lanes),
            objective: vec![0.0; lanes],
            loss: vec![0.0; lanes],
            grad_sq: vec![0.0; lanes],
            failed: vec![false; lanes],
        }
    }

    /// Evaluates the flow in `lanes`, whose columns are the ones from `first` on.
    pub(crate) fn eval(
        &mut self,
        flow: &mut dyn Flow,
        (lanes, t, first): (&[usize], &[f64], usize),
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let count = lanes.len();
        let last = first + count;
        let at = Point {
            lanes,
            t,
            z: self.z.as_ref().subcols(first, count),
        };
        let to = Values {
            f: self.f.as_mut().subcols_mut(first, count),
            objective: &mut self.objective[first..last],
            loss: &mut self.loss[first..last],
            grad_sq: &mut self.grad_sq[first..last],
            failed: &mut self.failed[first..last],
        };
        flow.eval(at, to, work)
    }

    /// |dz/dt|^2 of the positions.
    pub(crate) fn speed_sq(&self, lane: usize, positions: usize) -> f64 {
        self.f.col_as_slice(lane)[..positions].iter().map(|f| f * f).sum()
    }

    pub(crate) fn usable(&self, lane: usize) -> bool {
        !self.failed[lane]
            && !self.loss[lane].is_infinite()
            && !self.objective[lane].is_infinite()
            && self
                .z
                .col_as_slice(lane)
                .iter()
                .chain(self.f.col_as_slice(lane))
                .all(|value| value.is_finite())
    }

    pub(crate) fn take(&mut self, from: &Place, source: usize, lane: usize) {
        self.z.as_mut().col_mut(lane).copy_from(from.z.col(source));
        self.f.as_mut().col_mut(lane).copy_from(from.f.col(source));
        self.objective[lane] = from.objective[source];
        self.loss[lane] = from.loss[source];
        self.grad_sq[lane] = from.grad_sq[source];
        self.failed[lane] = from.failed[source];
    }

    pub(crate) fn relocate(&mut self, from: usize, to: usize) {
        for r in 0..self.f.nrows() {
            self.z[(r, to)] = self.z[(r, from)];
            self.f[(r, to)] = self.f[(r, from)];
        }
        self.objective[to] = self.objective[from];
        self.loss[to] = self.loss[from];
        self.grad_sq[to] = self.grad_sq[from];
        self.failed[to] = self.failed[from];
    }
}

impl State {
    pub(crate) fn new(dim: usize, lanes: usize) -> Self {
        State {
            live: 0,
            lanes: (0..lanes).collect(),
            sample: vec![0; lanes],
            status: vec![None; lanes],
            t: vec![0.0; lanes],
            h: vec![0.0; lanes],
            step: vec![0.0; lanes],
            loss_initial: vec![0.0; lanes],
            gradient_unit: vec![1.0; lanes],
            history: vec![History::default(); lanes],
            work: vec![Work::default(); lanes],
            now: Place::new(dim, lanes),
            trial: Place::new(dim, lanes),
            inside: Place::new(dim, 1),
            predicted: vec![0.0; lanes],
            distance: vec![Distance::UNKNOWN; lanes],
            error: vec![0.0; lanes],
            solved: vec![true; lanes],
        }
    }

    pub(crate) fn relocate(&mut self, from: usize, to: usize) {
        self.sample[to] = self.sample[from];
        self.status[to] = self.status[from];
        self.t[to] = self.t[from];
        self.h[to] = self.h[from];
        self.loss_initial[to] = self.loss_initial[from];
        self.gradient_unit[to] = self.gradient_unit[from];
        self.history[to] = self.history[from];
        self.work[to] = self.work[from];
        self.distance[to] = self.distance[from];
        self.now.relocate(from, to);
    }

    /// Whether the lane's sample is done where it stands; that its steps are used up is for the loop to say, which first
    /// asks for the distance to the minimum.
    pub(crate) fn check(&self, method: &Method<'_>, lane: usize) -> Option<Status> {
        let now = self.progress(method, lane);
        let stopped = method.stop.iter().find_map(|rule| rule.check(&now));
        let horizon = (self.t[lane] >= method.t_end).then_some(Status::HorizonReached);
        stopped.or(horizon)
    }

    /// What a rule says of a lane whose steps no longer change z, where the distance to the minimum is that of its point.
    pub(crate) fn settled(&self, method: &Method<'_>, lane: usize) -> Option<Status> {
        let now = self.progress(method, lane);
        let mut rules = method.stop.iter().filter(|_| self.distance[lane].fresh);
        rules.find_map(|rule| rule.settled(&now))
    }

    fn progress(&self, method: &Method<'_>, lane: usize) -> Progress<'_> {
        Progress {
            t: self.t[lane],
            t_end: method.t_end,
            grad_sq: self.now.grad_sq[lane],
            loss: self.now.loss[lane],
            gradient_unit: self.gradient_unit[lane],
            edm: self.distance[lane].edm,
            past: &self.history[lane],
        }
    }

    /// Where the next step of the live lanes starts.
    pub(crate) fn start(&self) -> Start<'_> {
        let live = self.live;
        Start {
            lanes: &self.lanes[..live],
            t: &self.t[..live],
            h: &self.h[..live],
            z: self.now.z.as_ref().subcols(0, live),
            f: self.now.f.as_ref().subcols(0, live),
        }
    }
}
