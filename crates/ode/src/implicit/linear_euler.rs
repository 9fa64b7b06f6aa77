//! The linearly implicit Euler step of pseudo-transient continuation.
//!
//! Kelley & Keyes, SIAM J. Numer. Anal. 35(2), 508 (1998). With a Gauss-Newton Hessian it is Levenberg-Marquardt's step
//! with damping 1/h: H + I/h is positive definite for every h > 0, so Cholesky needs no pivoting. A Hessian costs d
//! products and a step two, so a Hessian lives for many steps: in between it follows the gradient by scaled and damped
//! secant updates, those of rejected steps included. Tried on three decoders of 20 latents, units of forward passes to a
//! gradient norm of 1e-5: a fresh Hessian for every step 305; every fifth, damped updates in between 146; every tenth, and
//! when a step fails, 134; the same with scaled updates 120; only by age, failed steps giving updates too, 104. Taking over
//! the last secant pairs into a fresh Hessian (one, three, six) cost 107, 109, 113 there, and is left out.

use super::secant::{damped_bfgs, dot, quadratic_form, scaled_bfgs};
use crate::columns::{column, column_mut};
use crate::factor::Cholesky;
use crate::{Curvature, Distance, End, Flow, FlowError, Lanewise, Point, Start, Stepper, Structure, Trial, Work};
use faer::Mat;

/// Where the exact Hessian is asked for it takes over once |f| has fallen to this part of what it was at the start: by
/// trial; earlier H is often indefinite, and each costs as much as three of the other.
const NEAR: f64 = 1e-2;

/// A rejected step whose curvature s^T y is more than this many times the expected s^T H s teaches nothing: by trial on
/// Rosenbrock's valley (34 steps, 60 without a bound) and on sums of exponentials, where without a bound one sample in 25
/// stagnated far from its minimum.
const FAR: f64 = 10.0;

/// (H + I/h) s = f(z), z1 = z + s, with H close to -df/dz.
pub struct LinearEuler {
    dim: usize,
    every: u32,
    exact: bool,
    lanes: Vec<Lane>,
    cholesky: Cholesky,
    stale: Stale,
    memory: Vec<f64>,
}

/// The lanes whose Hessian is computed anew, together.
struct Stale {
    lanes: Vec<usize>,
    /// Those of them that are far from the end, while the others are computed.
    far: Vec<usize>,
    t: Vec<f64>,
    z: Mat<f64>,
    blocks: Vec<f64>,
}

/// What is kept per lane.
struct Lane {
    /// H, `[d, d]`.
    hessian: Vec<f64>,
    /// Accepted steps since H was computed; none where it has to be.
    age: Option<u32>,
    /// Whether the step at hand was tried already and not accepted.
    rejected: bool,
    /// |f| at the start; NaN before it is known.
    start: f64,
    /// Whether |f| is near enough to the end for the exact Hessian, where that is asked for.
    near: bool,
    distance: Distance,
    /// The attempted step and the change of the gradient over it, `[d]` each.
    s: Vec<f64>,
    y: Vec<f64>,
}

impl Lane {
    fn new(dim: usize) -> Self {
        Lane {
            hessian: vec![0.0; dim * dim],
            age: None,
            rejected: false,
            start: f64::NAN,
            near: false,
            distance: Distance::UNKNOWN,
            s: vec![0.0; dim],
            y: vec![0.0; dim],
        }
    }
}

impl LinearEuler {
    /// A stepper for states of length `dim` and up to `lanes` lanes.
    ///
    /// A Hessian is computed anew after `every` accepted steps; without it after d/2 + 2: a fresh one costs as much as
    /// d/2 steps.
    pub fn new(every: Option<u32>, dim: usize, lanes: usize) -> Self {
        LinearEuler {
            dim,
            every: every.unwrap_or(dim as u32 / 2 + 2),
            exact: false,
            lanes: (0..lanes).map(|_| Lane::new(dim)).collect(),
            cholesky: Cholesky::new(dim),
            stale: Stale {
                lanes: Vec::with_capacity(lanes),
                far: Vec::with_capacity(lanes),
                t: Vec::with_capacity(lanes),
                z: Mat::zeros(dim, lanes),
                blocks: vec![0.0; dim * dim * lanes],
            },
            memory: vec![0.0; dim],
        }
    }

    /// The same with the exact Hessian near the end, where it is positive definite; the flow has to offer it.
    pub fn with_exact(self, exact: bool) -> Self {
        LinearEuler { exact, ..self }
    }

    /// Computes the Hessians of the lanes in `stale`, and leaves there those of which the exact one is of no use.
    fn compute(
        &mut self,
        flow: &mut dyn Flow,
        from: &Start<'_>,
        curvature: Curvature,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let (count, size) = (self.stale.lanes.len(), self.dim * self.dim);
        if count == 0 {
            return Ok(());
        }
        self.stale.t.clear();
        for (place, &lane) in self.stale.lanes.iter().enumerate() {
            self.stale.z.as_mut().col_mut(place).copy_from(from.z.col(lane));
            self.stale.t.push(from.t[lane]);
        }
        let at = Point {
            lanes: &self.stale.lanes,
            t: &self.stale.t,
            z: self.stale.z.as_ref().subcols(0, count),
        };
        flow.jacobian(at, curvature, &mut self.stale.blocks[..count * size], work)?;
        let exact = curvature == Curvature::Exact;
        let mut place = 0;
        let (lanes, cholesky, blocks, memory) = (
            &mut self.lanes,
            &mut self.cholesky,
            &self.stale.blocks,
            &mut self.memory,
        );
        self.stale.lanes.retain(|&index| {
            let lane = &mut lanes[index];
            let block = &blocks[place * size..(place + 1) * size];
            place += 1;
            lane.hessian.iter_mut().zip(block).for_each(|(h, j)| *h = -j);
            lane.age = Some(0);
            lane.rejected = false;
            let f = column(from.f, index);
            lane.distance = Distance {
                edm: cholesky.edm(&lane.hessian, f, memory),
                fresh: true,
                exact,
                curvature: quadratic_form(&lane.hessian, f) / dot(f, f),
            };
            work[index].factorizations += 1;
            exact && lane.distance.edm.is_nan()
        });
        Ok(())
    }

    /// Brings the lanes' secant updates and nearness up to date, and says whether the Hessian of `index` is to be computed.
    fn is_stale(&mut self, index: usize, f: &[f64]) -> bool {
        let lane = &mut self.lanes[index];
        let norm = dot(f, f).sqrt();
        if lane.start.is_nan() {
            lane.start = norm;
        }
        let near = self.exact && norm <= NEAR * lane.start;
        let arrived = near && !lane.near;
        lane.near = near;
        if arrived || lane.age.is_none_or(|age| age >= self.every) {
            return true;
        }
        if lane.rejected {
            // Far off, where the curvature is another by orders of magnitude, an update would drown H in rounding.
            if dot(&lane.s, &lane.y) <= FAR * quadratic_form(&lane.hessian, &lane.s) {
                damped_bfgs(&mut lane.hessian, &lane.s, &lane.y, &mut self.memory);
            }
            lane.rejected = false;
        }
        false
    }
}

impl Lanewise for LinearEuler {
    fn admit(&mut self, lane: usize, _sample: usize, _z0: &[f64]) {
        let lane = &mut self.lanes[lane];
        (lane.age, lane.rejected, lane.distance) = (None, false, Distance::UNKNOWN);
        (lane.start, lane.near) = (f64::NAN, false);
    }

    fn relocate(&mut self, from: usize, to: usize) {
        self.lanes.swap(from, to);
    }
}

impl Stepper for LinearEuler {
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
        if flow.structure(Curvature::GaussNewton) != Structure::NegativeSemidefinite {
            return Err(FlowError("ptc needs a gradient flow".into()));
        }
        // Room for both was asked for before: nothing is allocated here.
        let (mut near, mut far) = (
            std::mem::take(&mut self.stale.lanes),
            std::mem::take(&mut self.stale.far),
        );
        near.clear();
        far.clear();
        for &lane in from.lanes {
            if self.is_stale(lane, column(from.f, lane)) {
                if self.lanes[lane].near {
                    near.push(lane)
                } else {
                    far.push(lane)
                }
            }
        }
        self.stale.lanes = near;
        self.compute(flow, &from, Curvature::Exact, work)?;
        // Those of which the exact one was of no use take the other.
        self.stale.lanes.extend_from_slice(&far);
        self.stale.lanes.sort_unstable();
        self.stale.far = far;
        self.compute(flow, &from, Curvature::GaussNewton, work)?;
        for &index in from.lanes {
            let lane = &mut self.lanes[index];
            if lane.distance.edm.is_nan() {
                let f = column(from.f, index);
                lane.distance.edm = self.cholesky.edm(&lane.hessian, f, &mut self.memory);
                work[index].factorizations += 1;
            }
            distance[index] = lane.distance;
        }
        Ok(())
    }

    fn expire(&mut self, lane: usize) -> bool {
        self.lanes[lane].age = None;
        true
    }

    fn attempt(
        &mut self,
        _flow: &mut dyn Flow,
        from: Start<'_>,
        mut to: Trial<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        for &index in from.lanes {
            let lane = &mut self.lanes[index];
            let (z, f, damping) = (column(from.z, index), column(from.f, index), 1.0 / from.h[index]);
            lane.s.copy_from_slice(f);
            to.solved[index] = self.cholesky.solve(&lane.hessian, damping, &mut lane.s);
            work[index].factorizations += 1;
            let s = &lane.s;
            to.predicted[index] = 0.5 * (dot(s, f) + damping * dot(s, s));
            let z1 = column_mut(&mut to.z, index);
            for i in 0..self.dim {
                z1[i] = z[i] + s[i];
            }
            lane.rejected = true;
        }
        Ok(())
    }

    fn assess(&mut self, from: Start<'_>, end: End<'_>, ratio: &mut [f64]) {
        ratio.fill(f64::NAN);
        for &index in from.lanes {
            let slopes = column(from.f, index).iter().zip(column(end.f, index));
            let y = &mut self.lanes[index].y;
            y.iter_mut().zip(slopes).for_each(|(y, (f0, f1))| *y = f0 - f1);
        }
    }

    fn accepted(&mut self, lane: usize) {
        let lane = &mut self.lanes[lane];
        lane.rejected = false;
        lane.distance = Distance::UNKNOWN;
        lane.age = lane.age.map(|age| age + 1);
        scaled_bfgs(&mut lane.hessian, &lane.s, &lane.y, &mut self.memory);
    }
}
