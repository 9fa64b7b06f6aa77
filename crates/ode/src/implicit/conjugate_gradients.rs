//! Batched conjugate gradients on products with the Gauss-Newton Hessian.

use super::secant::dot;
use crate::columns::column;
use crate::{Curvature, Flow, FlowError, Point, Start, Work};
use faer::Mat;

/// Batched conjugate gradients for (H + shift I) s = f with H = -df/dz, each lane with its own shift and end.
pub struct ConjugateGradients {
    s: Mat<f64>,
    r: Mat<f64>,
    p: Mat<f64>,
    /// Gathered directions and points, and what the flow makes of them.
    v: Mat<f64>,
    jv: Mat<f64>,
    z: Mat<f64>,
    lanes: Vec<usize>,
    /// Systems that are not solved yet.
    active: Vec<System>,
    t: Vec<f64>,
    rr: Vec<f64>,
    /// f^T s, which rises to f^T (H + shift I)^-1 f, and the factor of r^T r in the bound of what it still lacks.
    energy: Vec<f64>,
    bound: Vec<f64>,
    good: Vec<bool>,
}

/// One lane's system.
#[derive(Clone, Copy)]
pub struct System {
    /// The column in the batch; the lane is that of the column.
    pub lane: usize,
    /// Added to the diagonal of H.
    pub shift: f64,
    /// When it is solved.
    pub until: Until,
}

/// When a system is solved.
#[derive(Clone, Copy)]
pub enum Until {
    /// |residual| over |f| is at most this.
    Residual(f64),
    /// f^T s lacks at most the part `part` of itself, by an upper bound that `least`, a positive lower bound of the
    /// eigenvalues of H + shift I, allows: Gauss-Radau quadrature, Golub & Meurant, Matrices, Moments and Quadrature with
    /// Applications (2010), section 12; the recurrence is that of Meurant & Tichy, Numer. Algorithms 62, 163 (2013).
    Energy {
        /// The part.
        part: f64,
        /// The bound.
        least: f64,
    },
}

impl Until {
    fn first_bound(self) -> f64 {
        match self {
            Until::Residual(_) => f64::INFINITY,
            Until::Energy { least, .. } => 1.0 / least,
        }
    }
}

impl ConjugateGradients {
    /// Memory for states of length `dim` in up to `lanes` lanes.
    pub fn new(dim: usize, lanes: usize) -> Self {
        let matrix = || Mat::zeros(dim, lanes);
        ConjugateGradients {
            s: matrix(),
            r: matrix(),
            p: matrix(),
            v: matrix(),
            jv: matrix(),
            z: matrix(),
            lanes: Vec::with_capacity(lanes),
            active: Vec::with_capacity(lanes),
            t: Vec::with_capacity(lanes),
            rr: vec![0.0; lanes],
            energy: vec![0.0; lanes],
            bound: vec![f64::INFINITY; lanes],
            good: vec![false; lanes],
        }
    }

    /// The solution of the last call for `lane`, `[d]`; `None` where it is not finite.
    pub fn solution(&self, lane: usize) -> Option<&[f64]> {
        self.good[lane].then(|| self.s.col_as_slice(lane))
    }

    /// An upper bound of f^T (H + shift I)^-1 f, tight by the part asked for, of a system solved until [`Until::Energy`].
    pub fn quadratic_form(&self, column: usize) -> f64 {
        if self.good[column] {
            self.energy[column] + self.bound[column] * self.rr[column]
        } else {
            f64::NAN
        }
    }

    /// Solves the systems at the states and slopes of `from`; at most d products for each, or 3 d for a bound.
    pub fn solve(
        &mut self,
        flow: &mut dyn Flow,
        from: &Start<'_>,
        systems: &[System],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let dim = from.z.nrows();
        for system in systems {
            let lane = system.lane;
            self.s.col_as_slice_mut(lane).fill(0.0);
            self.r.col_as_slice_mut(lane).copy_from_slice(column(from.f, lane));
            self.p.col_as_slice_mut(lane).copy_from_slice(column(from.f, lane));
            self.rr[lane] = dot(column(from.f, lane), column(from.f, lane));
            (self.energy[lane], self.bound[lane]) = (0.0, system.until.first_bound());
            self.good[lane] = self.rr[lane].is_finite();
        }
        let mut active = std::mem::take(&mut self.active);
        active.clear();
        active.extend_from_slice(systems);
        for iteration in 0..3 * dim {
            active.retain(|system| iteration < dim || matches!(system.until, Until::Energy { .. }));
            active.retain(|system| self.good[system.lane] && !self.solved(system, column(from.f, system.lane)));
            if active.is_empty() {
                break;
            }
            self.product(flow, from, &active, work)?;
            active.retain(|system| self.advance(system));
        }
        self.active = active;
        Ok(())
    }

    /// Whether the system of a lane with slope `f` is solved.
    fn solved(&self, system: &System, f: &[f64]) -> bool {
        let lane = system.lane;
        match system.until {
            Until::Residual(part) => self.rr[lane].sqrt() <= part * dot(f, f).sqrt(),
            Until::Energy { part, .. } => self.bound[lane] * self.rr[lane] <= part * self.energy[lane],
        }
    }

    /// jv = (df/dz) p of the active lanes.
    fn product(
        &mut self,
        flow: &mut dyn Flow,
        from: &Start<'_>,
        active: &[System],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        self.lanes.clear();
        self.t.clear();
        for (i, system) in active.iter().enumerate() {
            self.lanes.push(from.lanes[system.lane]);
            self.t.push(from.t[system.lane]);
            self.v.as_mut().col_mut(i).copy_from(self.p.col(system.lane));
            self.z.as_mut().col_mut(i).copy_from(from.z.col(system.lane));
        }
        let count = active.len();
        let at = Point {
            lanes: &self.lanes,
            t: &self.t,
            z: self.z.as_ref().subcols(0, count),
        };
        let jv = self.jv.as_mut().subcols_mut(0, count);
        flow.jvp(at, Curvature::GaussNewton, self.v.as_ref().subcols(0, count), jv, work)?;
        // From here on a product is in the column of its lane; lanes ascend, so that copies from the back lose none.
        for (i, system) in active.iter().enumerate().rev() {
            if i != system.lane {
                let (to, from) = self.jv.as_mut().two_cols_mut(system.lane, i);
                { to }.copy_from(from);
            }
        }
        Ok(())
    }

    /// f^T H f / f^T f of some lanes, for a product each, into `curvature`.
    pub fn curvature(
        &mut self,
        flow: &mut dyn Flow,
        from: &Start<'_>,
        systems: &[System],
        (curvature, work): (&mut [f64], &mut [Work]),
    ) -> Result<(), FlowError> {
        if systems.is_empty() {
            return Ok(());
        }
        for system in systems {
            self.p
                .col_as_slice_mut(system.lane)
                .copy_from_slice(column(from.f, system.lane));
        }
        self.product(flow, from, systems, work)?;
        for system in systems {
            let (f, jv) = (column(from.f, system.lane), self.jv.col_as_slice(system.lane));
            curvature[system.lane] = -dot(f, jv) / dot(f, f);
        }
        Ok(())
    }

    /// One iteration of a lane; false where it cannot go on.
    fn advance(&mut self, system: &System) -> bool {
        let lane = system.lane;
        let (p, jv) = (self.p.col_as_slice(lane), self.jv.col_as_slice(lane));
        let curvature = system.shift * dot(p, p) - dot(p, jv);
        if curvature.is_nan() {
            self.good[lane] = false;
            return false;
        }
        // H is semi-definite: a direction without curvature is one that the data do not determine.
        if curvature <= f64::MIN_POSITIVE {
            return false;
        }
        let step = self.rr[lane] / curvature;
        self.energy[lane] += step * self.rr[lane];
        let (s, r) = (self.s.col_as_slice_mut(lane), self.r.col_as_slice_mut(lane));
        for i in 0..s.len() {
            s[i] += step * p[i];
            r[i] -= step * (system.shift * p[i] - jv[i]);
        }
        let rr = dot(self.r.col_as_slice(lane), self.r.col_as_slice(lane));
        let beta = rr / self.rr[lane];
        self.rr[lane] = rr;
        if let Until::Energy { least, .. } = system.until {
            let ahead = self.bound[lane] - step;
            self.bound[lane] = ahead / (least * ahead + beta);
        }
        let (p, r) = (self.p.col_as_slice_mut(lane), self.r.col_as_slice(lane));
        p.iter_mut().zip(r).for_each(|(p, r)| *p = r + beta * *p);
        true
    }
}
