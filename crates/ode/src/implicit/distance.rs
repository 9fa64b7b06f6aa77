//! The estimated distance to the minimum where lanes stand.

use super::conjugate_gradients::{ConjugateGradients, System, Until};
use crate::columns::column;
use crate::{Cholesky, Curvature, Flow, FlowError, Point, Start, Work};

/// The longest state for which a Jacobian is made: beyond it products with it are cheaper, and its memory matters.
pub const DENSE: usize = 128;

/// The part of f^T H^-1 f that may be in doubt.
const DISTANCE: f64 = 0.1;

/// The longest state for which a Jacobian is made where nothing but all of it tells the distance.
const LONGEST: usize = 4096;

/// (1/2) f^T H^-1 f of every lane of `from`, with the Gauss-Newton H at its states; NaN where it cannot be had.
///
/// By a Cholesky factor up to a length of [`DENSE`], and beyond where the flow knows no [`Flow::least_curvature`]: products
/// alone would miss directions that count much because H is small there. With one, by conjugate gradients: an upper bound,
/// too large by 10% at most.
pub fn distances(flow: &mut dyn Flow, from: &Start<'_>, edm: &mut [f64], work: &mut [Work]) -> Result<(), FlowError> {
    let (dim, least) = (flow.dim(), flow.least_curvature());
    if dim > DENSE && (least > 0.0 || dim > LONGEST) {
        return by_products(flow, from, least, (edm, work));
    }
    // Of long states one Jacobian at a time.
    let together = if dim > DENSE { 1 } else { from.lanes.len().max(1) };
    let (mut blocks, mut solution) = (vec![0.0; dim * dim * together], vec![0.0; dim]);
    let mut cholesky = Cholesky::new(dim);
    for first in (0..from.lanes.len()).step_by(together) {
        let count = together.min(from.lanes.len() - first);
        let lanes = &from.lanes[first..first + count];
        let at = Point {
            lanes,
            t: &from.t[first..first + count],
            z: from.z.subcols(first, count),
        };
        flow.jacobian(at, Curvature::GaussNewton, &mut blocks[..count * dim * dim], work)?;
        blocks.iter_mut().for_each(|j| *j = -*j);
        for (b, &lane) in lanes.iter().enumerate() {
            let hessian = &blocks[b * dim * dim..(b + 1) * dim * dim];
            edm[first + b] = cholesky.edm(hessian, column(from.f, first + b), &mut solution);
            work[lane].factorizations += 1;
        }
    }
    Ok(())
}

/// The same by conjugate gradients; NaN where `least` is 0: there is no bound then.
fn by_products(
    flow: &mut dyn Flow,
    from: &Start<'_>,
    least: f64,
    (edm, work): (&mut [f64], &mut [Work]),
) -> Result<(), FlowError> {
    let count = from.lanes.len();
    if least == 0.0 {
        edm.fill(f64::NAN);
        return Ok(());
    }
    let mut solver = ConjugateGradients::new(flow.dim(), count);
    let (shift, until) = (0.0, Until::Energy { part: DISTANCE, least });
    let systems: Vec<System> = (0..count).map(|lane| System { lane, shift, until }).collect();
    solver.solve(flow, from, &systems, work)?;
    for (b, edm) in edm.iter_mut().enumerate() {
        *edm = 0.5 * solver.quadratic_form(b);
    }
    Ok(())
}
