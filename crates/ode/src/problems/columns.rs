//! A batched flow of which every lane is a copy of one system.

use super::Equations;
use crate::columns::column_mut;
use crate::{Cols, ColsMut, Curvature, Flow, FlowError, Lanewise, Point, Structure, Values, Work, columns::column};
use std::sync::Arc;

/// The same equations in every lane. An evaluation counts as one evaluation, and for a gradient flow as a vjp too.
pub struct Columns {
    equations: Arc<dyn Equations>,
    block: Vec<f64>,
}

impl Columns {
    /// A flow of these equations.
    pub fn new(equations: Arc<dyn Equations>) -> Self {
        let dim = equations.dim();
        Columns {
            equations,
            block: vec![0.0; dim * dim],
        }
    }

    fn block(&self, curvature: Curvature, t: f64, z: &[f64], block: &mut [f64]) {
        match curvature {
            Curvature::GaussNewton => self.equations.gauss_newton(t, z, block),
            Curvature::Exact => self.equations.jacobian(t, z, block),
        }
    }
}

impl Lanewise for Columns {
    fn admit(&mut self, _lane: usize, _sample: usize, _z0: &[f64]) {}
    fn relocate(&mut self, _from: usize, _to: usize) {}
}

impl Flow for Columns {
    fn dim(&self) -> usize {
        self.equations.dim()
    }

    fn eval(&mut self, at: Point<'_>, mut to: Values<'_>, work: &mut [Work]) -> Result<(), FlowError> {
        for (b, &lane) in at.lanes.iter().enumerate() {
            let z = column(at.z, b);
            let f = column_mut(&mut to.f, b);
            self.equations.slope(at.t[b], z, f);
            let objective = self.equations.objective(z);
            to.objective[b] = objective.unwrap_or(f64::NAN);
            to.loss[b] = to.objective[b];
            to.grad_sq[b] = f.iter().map(|f| f * f).sum();
            to.failed[b] = false;
            work[lane].evaluations += 1;
            work[lane].vjps += u32::from(objective.is_some());
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
        let size = self.block.len();
        for (b, &lane) in at.lanes.iter().enumerate() {
            let block = &mut blocks[b * size..(b + 1) * size];
            self.block(curvature, at.t[b], column(at.z, b), block);
            work[lane].jacobians += 1;
            work[lane].jvps += self.dim() as u32;
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
        let dim = self.dim();
        let mut block = std::mem::take(&mut self.block);
        for (b, &lane) in at.lanes.iter().enumerate() {
            self.block(curvature, at.t[b], column(at.z, b), &mut block);
            let (v, jv) = (column(v, b), column_mut(&mut jv, b));
            jv.fill(0.0);
            for (column, v) in block.chunks(dim).zip(v) {
                jv.iter_mut().zip(column).for_each(|(jv, j)| *jv += j * v);
            }
            work[lane].jvps += 1;
        }
        self.block = block;
        Ok(())
    }

    fn structure(&self, curvature: Curvature) -> Structure {
        let (gauss_newton, exact) = self.equations.structure();
        match curvature {
            Curvature::GaussNewton => gauss_newton,
            Curvature::Exact => exact,
        }
    }
}
