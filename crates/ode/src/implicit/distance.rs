//! The estimated distance to the minimum where lanes stand.

use super::matrix_free::{ConjugateGradients, DISTANCE, System};
use super::secant::dot;
use crate::columns::column;
use crate::{Cholesky, Curvature, Flow, FlowError, Point, Start, Work};

/// The longest state for which a Jacobian is made: beyond it products with it are cheaper, and its memory matters.
pub const DENSE: usize = 128;

/// (1/2) f^T H^-1 f of every lane of `from`, with the Gauss-Newton H at its states; NaN where it cannot be had.
///
/// Up to a length of [`DENSE`] by a Cholesky factor, beyond by conjugate gradients to a few percent.
pub fn distances(flow: &mut dyn Flow, from: &Start<'_>, edm: &mut [f64], work: &mut [Work]) -> Result<(), FlowError> {
    let (dim, count) = (flow.dim(), from.lanes.len());
    if dim > DENSE {
        let mut solver = ConjugateGradients::new(dim, count);
        let (shift, residual) = (0.0, DISTANCE);
        let systems: Vec<System> = (0..count).map(|lane| System { lane, shift, residual }).collect();
        solver.solve(flow, from, &systems, work)?;
        for (b, edm) in edm.iter_mut().enumerate() {
            *edm = solver.solution(b).map_or(f64::NAN, |s| 0.5 * dot(s, column(from.f, b)));
        }
        return Ok(());
    }
    let mut blocks = vec![0.0; dim * dim * count];
    let at = Point {
        lanes: from.lanes,
        t: from.t,
        z: from.z,
    };
    flow.jacobian(at, Curvature::GaussNewton, &mut blocks, work)?;
    blocks.iter_mut().for_each(|j| *j = -*j);
    let (mut cholesky, mut solution) = (Cholesky::new(dim), vec![0.0; dim]);
    for (b, edm) in edm.iter_mut().enumerate() {
        let hessian = &blocks[b * dim * dim..(b + 1) * dim * dim];
        *edm = cholesky.edm(hessian, column(from.f, b), &mut solution);
        work[from.lanes[b]].factorizations += 1;
    }
    Ok(())
}
