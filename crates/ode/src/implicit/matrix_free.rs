//! The linearly implicit Euler step without a Jacobian: truncated conjugate gradients on Gauss-Newton products.
//!
//! For states too long for a d x d matrix per lane. The system is solved only as well as the step deserves: to the forcing
//! term of Eisenstat & Walker, SIAM J. Sci. Comput. 17, 16 (1996), choice 2.

use super::conjugate_gradients::{ConjugateGradients, System, Until};
use super::distance::distances;
use super::secant::dot;
use crate::columns::{column, column_mut};
use crate::{Distance, End, Flow, FlowError, Lanewise, Start, Stepper, Trial, Work};
use faer::Mat;

/// Their gamma and alpha, and the bounds of the forcing term.
const GAMMA: f64 = 0.9;
const ALPHA: f64 = 2.0;
const FORCING: [f64; 2] = [1e-6, 0.5];

/// (H~ + I/h) s = f(z), z1 = z + s, to the forcing term of each lane.
pub struct MatrixFreeEuler {
    solver: ConjugateGradients,
    lanes: Vec<Lane>,
    systems: Vec<System>,
    curvature: Vec<f64>,
}

/// What is kept per lane.
#[derive(Clone, Copy)]
struct Lane {
    /// |f| at the start of the last step, for the forcing term; NaN before one.
    before: f64,
    /// The forcing term of the last accepted step, and that of the attempt.
    forcing: [f64; 2],
    distance: Distance,
    /// The distance has to be computed.
    expired: bool,
    /// |f|^2 at the start and at the end of the attempt, and (1/2) s^T f.
    squares: [f64; 2],
    decrease: f64,
}

const NEW: Lane = Lane {
    before: f64::NAN,
    forcing: [FORCING[1]; 2],
    distance: Distance::UNKNOWN,
    expired: false,
    squares: [f64::NAN; 2],
    decrease: f64::NAN,
};

impl MatrixFreeEuler {
    /// A stepper for states of length `dim` and up to `lanes` lanes.
    pub fn new(dim: usize, lanes: usize) -> Self {
        MatrixFreeEuler {
            solver: ConjugateGradients::new(dim, lanes),
            lanes: vec![NEW; lanes],
            systems: Vec::with_capacity(lanes),
            curvature: vec![f64::NAN; lanes],
        }
    }
}

impl Lanewise for MatrixFreeEuler {
    fn admit(&mut self, lane: usize, _sample: usize, _z0: &[f64]) {
        self.lanes[lane] = NEW;
    }

    fn relocate(&mut self, from: usize, to: usize) {
        self.lanes[to] = self.lanes[from];
    }
}

impl Stepper for MatrixFreeEuler {
    fn order(&self) -> u32 {
        1
    }

    fn prepare(
        &mut self,
        flow: &mut dyn Flow,
        from: Start<'_>,
        distance: &mut [Distance],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let expired: Vec<usize> = from
            .lanes
            .iter()
            .copied()
            .filter(|&lane| self.lanes[lane].expired)
            .collect();
        if !expired.is_empty() {
            let gathered = |of: crate::Cols<'_>| Mat::from_fn(of.nrows(), expired.len(), |r, b| of[(r, expired[b])]);
            let (z, f) = (gathered(from.z), gathered(from.f));
            let t: Vec<f64> = expired.iter().map(|&lane| from.t[lane]).collect();
            let at = Start {
                lanes: &expired,
                t: &t,
                h: &t,
                z: z.as_ref(),
                f: f.as_ref(),
            };
            let mut edm = vec![f64::NAN; expired.len()];
            distances(flow, &at, &mut edm, work)?;
            for (&lane, edm) in expired.iter().zip(edm) {
                let lane = &mut self.lanes[lane];
                lane.expired = false;
                lane.distance = Distance {
                    edm,
                    fresh: true,
                    ..lane.distance
                };
            }
        }
        self.systems.clear();
        let new = |lane: &Lane| lane.before.is_nan() && lane.distance.curvature.is_nan();
        for &lane in from.lanes.iter().filter(|&&lane| new(&self.lanes[lane])) {
            self.systems.push(System {
                lane,
                shift: 0.0,
                until: Until::Residual(1.0),
            });
        }
        let to = (&mut self.curvature[..], work);
        self.solver.curvature(flow, &from, &self.systems, to)?;
        for system in &self.systems {
            self.lanes[system.lane].distance.curvature = self.curvature[system.lane];
        }
        for (&lane, to) in from.lanes.iter().zip(distance) {
            *to = self.lanes[lane].distance;
        }
        Ok(())
    }

    fn expire(&mut self, lane: usize) -> bool {
        self.lanes[lane].expired = true;
        true
    }

    fn attempt(
        &mut self,
        flow: &mut dyn Flow,
        from: Start<'_>,
        mut to: Trial<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        self.systems.clear();
        for &index in from.lanes {
            let lane = &mut self.lanes[index];
            let norm = dot(column(from.f, index), column(from.f, index)).sqrt();
            if lane.before.is_finite() {
                let safeguard = GAMMA * lane.forcing[0].powf(ALPHA);
                let forcing = GAMMA * (norm / lane.before).powf(ALPHA);
                let forcing = if safeguard > 0.1 {
                    forcing.max(safeguard)
                } else {
                    forcing
                };
                lane.forcing[1] = forcing.clamp(FORCING[0], FORCING[1]);
            }
            self.systems.push(System {
                lane: index,
                shift: 1.0 / from.h[index],
                until: Until::Residual(lane.forcing[1]),
            });
        }
        self.solver.solve(flow, &from, &self.systems, work)?;
        for (b, &index) in from.lanes.iter().enumerate() {
            let (z, f) = (column(from.z, b), column(from.f, b));
            let solution = self.solver.solution(index);
            to.solved[b] = solution.is_some();
            let Some(s) = solution else { continue };
            let decrease = dot(s, f);
            to.predicted[b] = 0.5 * (decrease + dot(s, s) / from.h[b]);
            self.lanes[index].decrease = 0.5 * decrease;
            for (z1, (z, s)) in column_mut(&mut to.z, b).iter_mut().zip(z.iter().zip(s)) {
                *z1 = z + s;
            }
        }
        Ok(())
    }

    fn assess(&mut self, from: Start<'_>, end: End<'_>, ratio: &mut [f64]) {
        ratio.fill(f64::NAN);
        for (b, &lane) in from.lanes.iter().enumerate() {
            self.lanes[lane].squares = [from.f, end.f].map(|f| dot(column(f, b), column(f, b)));
        }
    }

    /// The distance at the new point is guessed from the change of the gradient: good enough to ask for a fresh one.
    fn accepted(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        let [start, end] = lane.squares;
        lane.before = start.sqrt();
        lane.forcing[0] = lane.forcing[1];
        lane.distance = Distance {
            edm: lane.decrease * end / start,
            fresh: false,
            ..lane.distance
        };
    }
}
