//! A flow with parameters.

use faer::Mat;
use gfe_ode::{Cols, ColsMut, Curvature, Flow, FlowAdjoint, FlowError, Lanewise, Point, Structure, Values, Work};

pub const DIM: usize = 3;
pub const PARAMS: usize = 2 * DIM;

/// dz_i/dt = -alpha(t) (theta_i sin(z_i + z_(i+1) / 2) + theta_(d+i) (z_i - sample / 10)), alpha = exp(-decay t).
pub struct Waves {
    pub theta: Vec<f64>,
    pub decay: f64,
    pub sample: Vec<usize>,
    /// A sample whose products are NaN.
    pub broken: Option<usize>,
    pub products_with_params: usize,
}

impl Waves {
    pub fn new(theta: &[f64], lanes: usize) -> Self {
        Waves {
            theta: theta.to_vec(),
            decay: 0.05,
            sample: vec![0; lanes],
            broken: None,
            products_with_params: 0,
        }
    }

    fn alpha(&self, t: f64) -> f64 {
        (-self.decay * t).exp()
    }

    fn phase(z: Cols<'_>, i: usize, b: usize) -> f64 {
        z[(i, b)] + 0.5 * z[((i + 1) % DIM, b)]
    }
}

impl Lanewise for Waves {
    fn admit(&mut self, lane: usize, sample: usize, _z0: &[f64]) {
        self.sample[lane] = sample;
    }

    fn relocate(&mut self, from: usize, to: usize) {
        self.sample[to] = self.sample[from];
    }
}

impl Flow for Waves {
    fn dim(&self) -> usize {
        DIM
    }

    fn eval(&mut self, at: Point<'_>, mut to: Values<'_>, work: &mut [Work]) -> Result<(), FlowError> {
        for (b, &lane) in at.lanes.iter().enumerate() {
            to.grad_sq[b] = 0.0;
            for i in 0..DIM {
                let away = at.z[(i, b)] - 0.1 * self.sample[lane] as f64;
                let g = self.theta[i] * Self::phase(at.z, i, b).sin() + self.theta[DIM + i] * away;
                to.f[(i, b)] = -self.alpha(at.t[b]) * g;
                to.grad_sq[b] += g * g;
            }
            to.objective[b] = to.grad_sq[b];
            to.loss[b] = to.grad_sq[b];
            to.failed[b] = false;
            work[lane].evaluations += 1;
        }
        Ok(())
    }

    fn jacobian(
        &mut self,
        at: Point<'_>,
        curvature: Curvature,
        blocks: &mut [f64],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        for (direction, block) in blocks.chunks_mut(DIM * at.lanes.len()).enumerate() {
            assert_eq!(at.lanes.len(), 1, "diffsol's methods ask for one lane");
            let v = Mat::from_fn(DIM, 1, |r, _| f64::from(u8::from(r == direction)));
            let jv = ColsMut::from_column_major_slice_mut(block, DIM, 1);
            self.jvp(at, curvature, v.as_ref(), jv, work)?;
        }
        Ok(())
    }

    fn jvp(
        &mut self,
        at: Point<'_>,
        _: Curvature,
        v: Cols<'_>,
        mut jv: ColsMut<'_>,
        _: &mut [Work],
    ) -> Result<(), FlowError> {
        for b in 0..at.lanes.len() {
            for i in 0..DIM {
                let slope = self.theta[i] * Self::phase(at.z, i, b).cos();
                let along = slope * (v[(i, b)] + 0.5 * v[((i + 1) % DIM, b)]) + self.theta[DIM + i] * v[(i, b)];
                jv[(i, b)] = -self.alpha(at.t[b]) * along;
            }
        }
        Ok(())
    }

    fn structure(&self, _: Curvature) -> Structure {
        Structure::General
    }

    fn adjoint(&mut self) -> Option<&mut dyn FlowAdjoint> {
        Some(self)
    }
}

impl FlowAdjoint for Waves {
    fn vjp(
        &mut self,
        at: Point<'_>,
        v_bar: Cols<'_>,
        mut z_bar: ColsMut<'_>,
        mut params_bar: Option<&mut [f64]>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        z_bar.fill(0.0);
        for (b, &lane) in at.lanes.iter().enumerate() {
            for i in 0..DIM {
                let (phase, v) = (Self::phase(at.z, i, b), -self.alpha(at.t[b]) * v_bar[(i, b)]);
                z_bar[(i, b)] += v * (self.theta[i] * phase.cos() + self.theta[DIM + i]);
                z_bar[((i + 1) % DIM, b)] += 0.5 * v * self.theta[i] * phase.cos();
                if let Some(params) = &mut params_bar {
                    params[i] += v * phase.sin();
                    params[DIM + i] += v * (at.z[(i, b)] - 0.1 * self.sample[lane] as f64);
                }
            }
            if self.broken == Some(self.sample[lane]) {
                z_bar[(0, b)] = f64::NAN;
            }
            work[lane].hvps += 1;
        }
        self.products_with_params += usize::from(params_bar.is_some());
        Ok(())
    }
}

pub const THETA: [f64; PARAMS] = [0.9, -0.4, 0.6, 0.5, 0.8, 0.3];
