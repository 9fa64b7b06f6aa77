//! The linearly implicit Euler step of pseudo-transient continuation.
//!
//! Kelley & Keyes, SIAM J. Numer. Anal. 35(2), 508 (1998). With a Gauss-Newton Jacobian it is Levenberg-Marquardt's step
//! with damping 1/h: I/h - J is positive definite for every h > 0, so Cholesky needs no pivoting.

use crate::factor::Cholesky;
use crate::{Flow, FlowError, Lanewise, Point, Start, Stepper, Structure, Trial, Work};
use faer::Mat;

/// (I/h - J) s = f(z), z1 = z + s, with a fresh J = df/dz at every accepted point.
pub struct LinearEuler {
    dim: usize,
    blocks: Vec<f64>,
    fresh: Vec<bool>,
    edm: Vec<f64>,
    cholesky: Cholesky,
    stale: Vec<usize>,
    stale_t: Vec<f64>,
    stale_z: Mat<f64>,
    stale_blocks: Vec<f64>,
    column: Vec<f64>,
    f: Vec<f64>,
}

impl LinearEuler {
    /// A stepper for states of length `dim` and up to `lanes` lanes.
    pub fn new(dim: usize, lanes: usize) -> Self {
        LinearEuler {
            dim,
            blocks: vec![0.0; dim * dim * lanes],
            fresh: vec![false; lanes],
            edm: vec![f64::NAN; lanes],
            cholesky: Cholesky::new(dim),
            stale: Vec::with_capacity(lanes),
            stale_t: Vec::with_capacity(lanes),
            stale_z: Mat::zeros(dim, lanes),
            stale_blocks: vec![0.0; dim * dim * lanes],
            column: vec![0.0; dim],
            f: vec![0.0; dim],
        }
    }

    fn refresh(&mut self, flow: &mut dyn Flow, from: &Start<'_>, work: &mut [Work]) -> Result<(), FlowError> {
        self.stale.clear();
        self.stale_t.clear();
        for (b, &lane) in from.lanes.iter().enumerate() {
            if !self.fresh[lane] {
                self.stale_z.as_mut().col_mut(self.stale.len()).copy_from(from.z.col(b));
                self.stale.push(lane);
                self.stale_t.push(from.t[b]);
            }
        }
        let (count, size) = (self.stale.len(), self.dim * self.dim);
        if count == 0 {
            return Ok(());
        }
        let at = Point {
            lanes: &self.stale,
            t: &self.stale_t,
            z: self.stale_z.as_ref().subcols(0, count),
        };
        flow.jacobian(at, &mut self.stale_blocks[..count * size], work)?;
        for (i, &lane) in self.stale.iter().enumerate() {
            let block = &self.stale_blocks[i * size..(i + 1) * size];
            self.blocks[lane * size..(lane + 1) * size].copy_from_slice(block);
            self.fresh[lane] = true;
            self.f.iter_mut().enumerate().for_each(|(r, f)| *f = from.f[(r, lane)]);
            self.edm[lane] = self.cholesky.edm(block, &self.f, &mut self.column);
            work[lane].factorizations += 1;
        }
        Ok(())
    }
}

impl Lanewise for LinearEuler {
    fn admit(&mut self, lane: usize, _sample: usize, _z0: &[f64]) {
        self.fresh[lane] = false;
    }

    fn relocate(&mut self, from: usize, to: usize) {
        let size = self.dim * self.dim;
        self.blocks.copy_within(from * size..(from + 1) * size, to * size);
        self.fresh[to] = self.fresh[from];
        self.edm[to] = self.edm[from];
    }
}

impl Stepper for LinearEuler {
    fn order(&self) -> u32 {
        1
    }

    fn attempt(
        &mut self,
        flow: &mut dyn Flow,
        from: Start<'_>,
        mut to: Trial<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        assert!(
            flow.structure() == Structure::NegativeSemidefinite,
            "ptc needs a gradient flow"
        );
        self.refresh(flow, &from, work)?;
        let size = self.dim * self.dim;
        for (b, &lane) in from.lanes.iter().enumerate() {
            self.f.iter_mut().enumerate().for_each(|(r, f)| *f = from.f[(r, b)]);
            self.column.copy_from_slice(&self.f);
            let damping = 1.0 / from.h[b];
            let block = &self.blocks[lane * size..(lane + 1) * size];
            to.solved[b] = self.cholesky.solve(block, damping, &mut self.column);
            work[lane].factorizations += 1;
            to.edm[b] = self.edm[lane];
            let (mut slope, mut square) = (0.0, 0.0);
            for r in 0..self.dim {
                slope += self.column[r] * self.f[r];
                square += self.column[r] * self.column[r];
                to.z[(r, b)] = from.z[(r, b)] + self.column[r];
            }
            to.predicted[b] = 0.5 * (slope + damping * square);
        }
        Ok(())
    }

    fn accepted(&mut self, lane: usize) {
        self.fresh[lane] = false;
    }
}
