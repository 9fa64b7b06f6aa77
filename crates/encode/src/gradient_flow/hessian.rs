//! Hessians of gathered columns: the Gauss-Newton part by one product for all directions, the exact one a direction at a time.

use super::GradientFlow;
use faer::linalg::matmul::matmul;
use faer::{Accum, Par};
use gfe_model::ColsMut;
use gfe_ode::{Curvature, FlowError, Point, Work};

impl GradientFlow<'_> {
    /// x_bar <- its square root in the first columns.
    pub(super) fn roots(&mut self, width: usize) {
        for b in 0..width {
            self.part
                .x_bar
                .col_as_slice_mut(b)
                .iter_mut()
                .for_each(|c| *c = c.sqrt());
        }
    }

    /// -alpha (J^T diag(l'') J + I/tau) of gathered column `b` into `block`; x_bar holds the root of l''.
    fn block(&mut self, b: usize, alpha: f64, block: &mut [f64]) {
        let dim = self.z0.nrows();
        let root = self.part.x_bar.col_as_slice(b);
        for r in 0..dim {
            for (x_dot, c) in self.engine.x_dot.col_as_slice_mut(b * dim + r).iter_mut().zip(root) {
                *x_dot *= c;
            }
        }
        let rows = self.engine.x_dot.as_ref().subcols(b * dim, dim);
        let mut to = ColsMut::from_column_major_slice_mut(block, dim, dim);
        matmul(to.as_mut(), Accum::Replace, rows.transpose(), rows, -alpha, Par::Seq);
        for r in 0..dim {
            to[(r, r)] -= alpha * self.anchor;
        }
    }

    /// The Gauss-Newton blocks of some columns; x and tape are in `part`, and x_bar holds the root of l''.
    pub(super) fn gauss_newton(
        &mut self,
        at: &Point<'_>,
        columns: std::ops::Range<usize>,
        blocks: &mut [f64],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let dim = self.z0.nrows();
        let width = columns.len().max(2);
        let known = columns.clone().all(|b| self.at_origin(at, b));
        match self.origin {
            Some(origin) if known => {
                for b in 0..columns.len() {
                    let to = self.engine.x_dot.as_mut().subcols_mut(b * dim, dim);
                    { to }.copy_from(&origin.jacobian);
                }
            }
            _ => {
                columns.clone().for_each(|b| work[at.lanes[b]].jvps += dim as u32);
                self.engine.tangents(&mut self.part, width)?;
                self.keep_troubles(at, columns.clone());
            }
        }
        for b in columns.clone() {
            let alpha = self.rate.at(at.t[b]);
            self.block(
                b - columns.start,
                alpha,
                &mut blocks[b * dim * dim..(b + 1) * dim * dim],
            );
        }
        Ok(())
    }

    /// Takes over why the decoder gave nothing for gathered columns.
    pub(super) fn keep_troubles(&mut self, at: &Point<'_>, columns: std::ops::Range<usize>) {
        for b in columns.clone() {
            if let Some(trouble) = self.part.trouble[b - columns.start].take() {
                self.home.trouble[at.lanes[b]] = Some(trouble);
            }
        }
    }

    /// The exact blocks of some columns, a direction at a time.
    pub(super) fn exact(
        &mut self,
        at: &Point<'_>,
        columns: std::ops::Range<usize>,
        blocks: &mut [f64],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let dim = self.z0.nrows();
        let width = columns.len().max(2);
        for r in 0..dim {
            self.part.z_dot.as_mut().subcols_mut(0, width).fill(0.0);
            for b in 0..width {
                self.part.z_dot[(r, b)] = 1.0;
            }
            self.engine
                .curve(self.loss, &mut self.part, width, (Curvature::Exact, self.weighted))?;
            self.keep_troubles(at, columns.clone());
            for b in columns.clone() {
                let alpha = self.rate.at(at.t[b]);
                let to = &mut blocks[b * dim * dim + r * dim..b * dim * dim + (r + 1) * dim];
                let from = self.part.z_bar.col_as_slice(b - columns.start);
                to.iter_mut().zip(from).for_each(|(to, h)| *to = -alpha * h);
                to[r] -= alpha * self.anchor;
                work[at.lanes[b]].jvps += 1;
                work[at.lanes[b]].hvps += 1;
            }
        }
        Ok(())
    }
}
