//! Hessians of gathered columns: the Gauss-Newton part by one product for all directions, the exact one a direction at a time.

use super::GradientFlow;
use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, Par, Side};
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

    /// For each column of `at` J^T diag(l''^2 s) J + c I/tau, `[d, d]` one after another, with s = `variances` `[D]` and c = `mean` times
    /// the mean of l'' over the values that count; NaN where a variance of one that counts is, or the decoder gives no tangents.
    ///
    /// With the same s for all values it is c (H~ + I/tau).
    pub(crate) fn spread(
        &mut self,
        at: &Point<'_>,
        (variances, mean): (&[f64], f64),
        blocks: &mut [f64],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let (dim, anchor) = (self.z0.nrows(), self.anchor);
        self.each_jacobian(at, work, |b, curvature, mut jacobian| {
            let (mut sum, mut count) = (0.0, 0);
            for (c, s) in curvature.iter_mut().zip(variances).filter(|(c, _)| **c != 0.0) {
                (sum, count) = (sum + *c, count + 1);
                *c *= s.sqrt();
            }
            scale_rows(jacobian.as_mut(), curvature);
            let jacobian = jacobian.as_ref();
            let to = &mut blocks[b * dim * dim..(b + 1) * dim * dim];
            let mut to = ColsMut::from_column_major_slice_mut(to, dim, dim);
            matmul(
                to.as_mut(),
                Accum::Replace,
                jacobian.transpose(),
                jacobian,
                1.0,
                Par::Seq,
            );
            for r in 0..dim {
                to[(r, r)] += anchor * mean * sum / f64::from(count);
            }
        })
    }

    /// For each column of `at` how much of its own datum a code takes up: the diagonal of
    /// diag(l'')^(1/2) J (J^T diag(l'') J + I/tau)^-1 J^T diag(l'')^(1/2) into `to` `[D, columns]`, between 0 and 1 and with the sum
    /// tr H~ (H~ + I/tau)^-1; NaN where the matrix is singular or the decoder gives no tangents.
    pub(crate) fn leverages(&mut self, at: &Point<'_>, to: &mut Mat<f64>, work: &mut [Work]) -> Result<(), FlowError> {
        let (dim, anchor) = (self.z0.nrows(), self.anchor);
        self.each_jacobian(at, work, |b, curvature, mut jacobian| {
            curvature.iter_mut().for_each(|c| *c = c.sqrt());
            scale_rows(jacobian.as_mut(), curvature);
            let jacobian = jacobian.as_ref();
            let mut matrix = Mat::from_fn(dim, dim, |i, j| if i == j { anchor } else { 0.0 });
            matmul(
                matrix.as_mut(),
                Accum::Add,
                jacobian.transpose(),
                jacobian,
                1.0,
                Par::Seq,
            );
            let to = to.col_as_slice_mut(b);
            let Ok(factor) = matrix.llt(Side::Lower) else {
                return to.fill(f64::NAN);
            };
            let solved = factor.solve(jacobian.transpose());
            for (i, to) in to.iter_mut().enumerate() {
                *to = (0..dim).map(|r| jacobian[(i, r)] * solved[(r, i)]).sum();
            }
        })
    }

    /// Calls `visit(b, l'', J)` for each column b of `at`, with l'' `[D]` and J `[D, d]` to be written over.
    fn each_jacobian(
        &mut self,
        at: &Point<'_>,
        work: &mut [Work],
        mut visit: impl FnMut(usize, &mut [f64], ColsMut<'_>),
    ) -> Result<(), FlowError> {
        self.pass(at, work)?;
        let dim = self.z0.nrows();
        let chunk = self.engine.most_tangents().min(self.part.z.ncols());
        for first in (0..at.lanes.len()).step_by(chunk) {
            let columns = first..at.lanes.len().min(first + chunk);
            let width = self.gather_passes(at, columns.clone());
            self.engine.second(self.loss, &mut self.part, width, self.weighted);
            self.engine.tangents(&mut self.part, width)?;
            self.keep_troubles(at, columns.clone());
            for b in columns {
                work[at.lanes[b]].jvps += dim as u32;
                let jacobian = self.engine.x_dot.as_mut().subcols_mut((b - first) * dim, dim);
                visit(b, self.part.x_bar.col_as_slice_mut(b - first), jacobian);
            }
        }
        Ok(())
    }
}

/// Multiplies row i by `factors[i]`.
fn scale_rows(mut matrix: ColsMut<'_>, factors: &[f64]) {
    for c in 0..matrix.ncols() {
        let column = matrix.as_mut().col_mut(c);
        column
            .iter_mut()
            .zip(factors)
            .for_each(|(value, factor)| *value *= factor);
    }
}
