//! A gradient flow with inertia: the ordinary differential equation behind Nesterov's accelerated gradient method.
//!
//! d2z/dt2 + (3/t) dz/dt + grad = 0 with dz/dt(0) = 0, as a system in the state `[z; m]`: dz/dt = m,
//! dm/dt = force - (3/t) m, where force is the slope of the first-order flow. At t = 0 the friction is singular and its
//! limit known: m grows like force t / 4, so dm/dt(0) = force / 4. (The authors of the encoding divide by t + 1e-5
//! instead.) Su, Boyd & Candes, J. Mach. Learn. Res. 17(153), 2016, section 3. It stands here and not with the decoders
//! because any gradient flow will do, and test problems with exact solutions are such.

use crate::columns::{column, column_mut};
use crate::{
    Cols, ColsMut, Curvature, Failure, Flow, FlowAdjoint, FlowError, Inertial, Lanewise, Point, Structure, Values, Work,
};
use faer::Mat;

/// The second-order flow of a first-order one.
pub struct Momentum<F> {
    inner: F,
    /// Whether the momentum is dropped where it points uphill.
    restart: bool,
    /// When the friction's clock started, per lane.
    origin: Vec<f64>,
    force: Mat<f64>,
    blocks: Vec<f64>,
}

impl<F: Flow> Momentum<F> {
    /// The flow of second order with the slopes of `inner` as forces, for up to `lanes` lanes.
    ///
    /// With `restart`, m = 0 and the friction's t = 0 after a step that ends with grad . m > 0: the gradient test of
    /// O'Donoghue & Candes, Found. Comput. Math. 15, 715 (2015).
    pub fn new(inner: F, restart: bool, lanes: usize) -> Self {
        let dim = inner.dim();
        Momentum {
            restart,
            origin: vec![0.0; lanes],
            force: Mat::zeros(dim, lanes),
            blocks: vec![0.0; dim * dim * lanes],
            inner,
        }
    }

    /// The first-order flow.
    pub fn inner_mut(&mut self) -> &mut F {
        &mut self.inner
    }

    /// Time on the friction's clock.
    fn clock(&self, lane: usize, t: f64) -> f64 {
        t - self.origin[lane]
    }

    fn positions_of<'b>(&self, at: &Point<'b>) -> Point<'b> {
        Point {
            z: at.z.subrows(0, self.inner.dim()),
            ..*at
        }
    }
}

impl<F: Flow> Lanewise for Momentum<F> {
    fn admit(&mut self, lane: usize, sample: usize, z0: &[f64]) {
        self.origin[lane] = 0.0;
        self.inner.admit(lane, sample, &z0[..self.inner.dim()]);
    }

    fn relocate(&mut self, from: usize, to: usize) {
        self.origin[to] = self.origin[from];
        self.inner.relocate(from, to);
    }
}

impl<F: Flow> Flow for Momentum<F> {
    fn dim(&self) -> usize {
        2 * self.inner.dim()
    }

    fn eval(&mut self, at: Point<'_>, mut to: Values<'_>, work: &mut [Work]) -> Result<(), FlowError> {
        let (dim, count) = (self.inner.dim(), at.lanes.len());
        let positions = self.positions_of(&at);
        let forces = Values {
            f: self.force.as_mut().subcols_mut(0, count),
            objective: to.objective,
            loss: to.loss,
            grad_sq: to.grad_sq,
            failed: to.failed,
        };
        self.inner.eval(positions, forces, work)?;
        for (b, &lane) in at.lanes.iter().enumerate() {
            let clock = self.clock(lane, at.t[b]);
            let (m, force) = (&column(at.z, b)[dim..], self.force.col_as_slice(b));
            let (dz, dm) = column_mut(&mut to.f, b).split_at_mut(dim);
            dz.copy_from_slice(m);
            for i in 0..dim {
                dm[i] = if clock > 0.0 {
                    force[i] - 3.0 / clock * m[i]
                } else {
                    0.25 * force[i]
                };
            }
        }
        Ok(())
    }

    /// `[[0, I], [A, -(3/t) I]]` with A the first-order flow's Jacobian; at t = 0 `[[0, I], [A/4, 0]]`.
    fn jacobian(
        &mut self,
        at: Point<'_>,
        curvature: Curvature,
        blocks: &mut [f64],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let dim = self.inner.dim();
        let (size, positions) = (dim * dim, self.positions_of(&at));
        let inner = &mut self.blocks[..at.lanes.len() * size];
        self.inner.jacobian(positions, curvature, inner, work)?;
        for (b, &lane) in at.lanes.iter().enumerate() {
            let clock = self.clock(lane, at.t[b]);
            let block = &mut blocks[4 * b * size..4 * (b + 1) * size];
            block.fill(0.0);
            let part = if clock > 0.0 { 1.0 } else { 0.25 };
            for j in 0..dim {
                for i in 0..dim {
                    block[j * 2 * dim + dim + i] = part * self.blocks[b * size + j * dim + i];
                }
                block[(dim + j) * 2 * dim + j] = 1.0;
                if clock > 0.0 {
                    block[(dim + j) * 2 * dim + dim + j] = -3.0 / clock;
                }
            }
        }
        Ok(())
    }

    fn jvp(
        &mut self,
        at: Point<'_>,
        curvature: Curvature,
        v: Cols<'_>,
        mut jv: ColsMut<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let (dim, count) = (self.inner.dim(), at.lanes.len());
        let positions = self.positions_of(&at);
        let forces = self.force.as_mut().subcols_mut(0, count);
        self.inner.jvp(positions, curvature, v.subrows(0, dim), forces, work)?;
        for (b, &lane) in at.lanes.iter().enumerate() {
            let clock = self.clock(lane, at.t[b]);
            let (v_m, force) = (&column(v, b)[dim..], self.force.col_as_slice(b));
            let (dz, dm) = column_mut(&mut jv, b).split_at_mut(dim);
            dz.copy_from_slice(v_m);
            for i in 0..dim {
                dm[i] = if clock > 0.0 {
                    force[i] - 3.0 / clock * v_m[i]
                } else {
                    0.25 * force[i]
                };
            }
        }
        Ok(())
    }

    fn failure(&self, lane: usize) -> Option<Failure<'_>> {
        self.inner.failure(lane)
    }

    fn gradient_unit(&self, lane: usize) -> f64 {
        self.inner.gradient_unit(lane)
    }

    fn structure(&self, _curvature: Curvature) -> Structure {
        Structure::General
    }

    fn positions(&self) -> usize {
        self.inner.dim()
    }

    fn inertial(&self) -> Option<&dyn Inertial> {
        Some(self)
    }

    /// None with a restart, which is no differentiable function of the state.
    fn adjoint(&mut self) -> Option<&mut dyn FlowAdjoint> {
        let able = !self.restart && self.inner.adjoint().is_some();
        able.then_some(self as &mut dyn FlowAdjoint)
    }

    fn accepted(&mut self, lane: usize, t: f64, z: &mut [f64], f: &mut [f64]) -> bool {
        if !self.restart {
            return false;
        }
        let dim = self.inner.dim();
        let mut memory = std::mem::replace(&mut self.force, Mat::new());
        let force = memory.col_as_slice_mut(lane);
        self.force(lane, t, z, f, force);
        let uphill = force.iter().zip(&z[dim..]).map(|(force, m)| force * m).sum::<f64>() < 0.0;
        if uphill {
            self.origin[lane] = t;
            z[dim..].fill(0.0);
            f[..dim].fill(0.0);
            f[dim..]
                .iter_mut()
                .zip(&*force)
                .for_each(|(dm, force)| *dm = 0.25 * force);
        }
        self.force = memory;
        uphill
    }
}

impl<F: Flow> FlowAdjoint for Momentum<F> {
    /// With v = `[v_z; v_m]` and A the first-order flow's Jacobian: `[A^T v_m; v_z - (3/t) v_m]`; at t = 0 `[A^T v_m / 4; v_z]`.
    fn vjp(
        &mut self,
        at: Point<'_>,
        v_bar: Cols<'_>,
        mut z_bar: ColsMut<'_>,
        params_bar: Option<&mut [f64]>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let (dim, count) = (self.inner.dim(), at.lanes.len());
        for (b, &lane) in at.lanes.iter().enumerate() {
            let (clock, share) = (self.clock(lane, at.t[b]), self.share(lane, at.t[b]));
            let (v_z, v_m) = column(v_bar, b).split_at(dim);
            let seed = self.force.col_as_slice_mut(b);
            let m_bar = &mut column_mut(&mut z_bar, b)[dim..];
            for i in 0..dim {
                seed[i] = share * v_m[i];
                m_bar[i] = if clock > 0.0 {
                    v_z[i] - 3.0 / clock * v_m[i]
                } else {
                    v_z[i]
                };
            }
        }
        let positions = self.positions_of(&at);
        let seeds = self.force.as_ref().subcols(0, count);
        let Some(inner) = self.inner.adjoint() else {
            return Err(FlowError("the first-order flow has no adjoint any more".into()));
        };
        inner.vjp(positions, seeds, z_bar.subrows_mut(0, dim), params_bar, work)
    }
}

impl<F: Flow> Inertial for Momentum<F> {
    fn force(&self, lane: usize, t: f64, state: &[f64], f: &[f64], force: &mut [f64]) {
        let (dim, clock) = (force.len(), self.clock(lane, t));
        for i in 0..dim {
            force[i] = if clock > 0.0 {
                f[dim + i] + 3.0 / clock * state[dim + i]
            } else {
                4.0 * f[dim + i]
            };
        }
    }

    fn share(&self, lane: usize, t: f64) -> f64 {
        if self.clock(lane, t) > 0.0 { 1.0 } else { 0.25 }
    }

    fn friction(&self, lane: usize, t: f64, h: f64) -> f64 {
        3.0 * h / (self.clock(lane, t) + h)
    }
}
