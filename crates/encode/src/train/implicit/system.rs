//! The systems (H + I/tau) lambda = dL_out/dz of a few lanes, with the exact H at the minimum near each code.
//!
//! A code is as close to its minimum as the encoder's tolerance, and a gradient taken there is off by as much. A
//! Hessian costs 3 d units and is made once, at the code. With its factor a correction of the code costs 2 units and
//! one of lambda, by a product with H where the code then is, 3. By trial on 48 digits, a decoder of 20 latents, codes
//! from their upper halves at t_end 1e4, the outer loss on the whole: relative error of the gradient at the default
//! edm_tol 1e-2 without corrections (167 units a digit, encoding included), 1e-3 with one (172), 2e-4 with two (177),
//! 3e-5 with three (182), and 3e-5 too with one whole Newton step and a fresh Hessian (229); at edm_tol 0 and gtol 1e-9
//! 1e-7 without and 4e-14 with one. At t_end inf, where some codes of half a digit lie in flat valleys, it is 0.3 at
//! the default edm_tol whatever the corrections, and 2e-5 at gtol 1e-9 without, 5e-9 with one.

use crate::GradientFlow;
use faer::{Mat, MatRef, Side};
use gfe_model::Cols;
use gfe_ode::{Curvature, Flow, FlowError, Point, Status, Values, Work};

/// Corrections of a code and of its lambda at most; each ends where it no longer helps.
const CORRECTIONS: usize = 2;

/// A correction helps where it takes a squared norm to this part, by trial: at 0.01 some of these digits went
/// uncorrected, and the gradient stayed 1e-3 off.
const HELPS: f64 = 0.25;

/// A Hessian is singular where an eigenvalue is at most this part of the largest: its sums over D values are good to
/// about 1e-14 of that, and lambda would keep no more than two digits.
const SINGULAR: f64 = 1e-12;

/// The system of one sample, solved or left out.
pub(super) struct Solved {
    /// The minimum, `[d]`, as far as it could be approached.
    pub(super) z: Vec<f64>,
    /// lambda, `[d]`.
    pub(super) lambda: Vec<f64>,
    /// The outer objective at the minimum.
    pub(super) outer_loss: f64,
    /// What it cost.
    pub(super) work: Work,
    /// Or why it is left out.
    pub(super) outcome: Result<(), (Status, String)>,
}

impl Solved {
    /// What is left out for this.
    pub(super) fn left_out(z: &[f64], status: Status, message: String) -> Self {
        Solved {
            z: z.to_vec(),
            lambda: vec![0.0; z.len()],
            outer_loss: f64::NAN,
            work: Work::default(),
            outcome: Err((status, message)),
        }
    }
}

/// The systems of the lanes 0, 1, ...: `inner` is the flow of what is minimized, `target` that of the outer objective,
/// and `z` `[d, lanes]` are the codes.
pub(super) fn solve(
    inner: &mut GradientFlow<'_>,
    target: &mut GradientFlow<'_>,
    mut z: Mat<f64>,
) -> Result<Vec<Solved>, FlowError> {
    let count = z.ncols();
    let mut work = vec![Work::default(); count];
    let spectra = spectra(inner, z.as_ref(), &mut work)?;
    correct_codes(inner, &spectra, &mut z, &mut work)?;
    let lanes: Vec<usize> = (0..count).collect();
    let outer = Slope::new(target, &lanes, z.as_ref(), &mut work)?;
    let lambda = multipliers(inner, &spectra, (z.as_ref(), &outer), &mut work)?;
    let of = |(lane, lambda): (usize, Option<Vec<f64>>)| {
        let z = z.col_as_slice(lane);
        let mut solved = match lambda {
            Some(lambda) => Solved {
                z: z.to_vec(),
                lambda,
                outer_loss: outer.loss[lane],
                work: Work::default(),
                outcome: Ok(()),
            },
            None => {
                let unsolved = (spectra[lane].is_none(), outer.is_finite(lane));
                let (status, message) = why((&*inner, &*target), lane, unsolved);
                Solved::left_out(z, status, message)
            }
        };
        solved.work = work[lane];
        solved
    };
    Ok(lambda.into_iter().enumerate().map(of).collect())
}

/// Why the system of a lane has no solution: by whether it has no Hessian, and whether its outer gradient is finite.
fn why(
    (inner, target): (&GradientFlow<'_>, &GradientFlow<'_>),
    lane: usize,
    (formless, finite): (bool, bool),
) -> (Status, String) {
    let flow = if formless { inner } else { target };
    if let Some(failure) = flow.failure(lane) {
        return (Status::DecoderFailed, failure.text.into());
    }
    let (status, says) = match (formless, finite) {
        (true, _) => (
            Status::NotFinite,
            "the exact Hessian of the loss at the code is not finite",
        ),
        (_, false) => (Status::NotFinite, "the outer objective or its gradient is not finite"),
        _ => (
            Status::SolveFailed,
            "the exact Hessian of the loss at the code is singular: take a finite t_end",
        ),
    };
    (status, says.into())
}

/// Moves each code towards its minimum by steps with the Hessian at hand, as long as they help; not where that is
/// indefinite.
fn correct_codes(
    flow: &mut GradientFlow<'_>,
    spectra: &[Option<Spectrum>],
    z: &mut Mat<f64>,
    work: &mut [Work],
) -> Result<(), FlowError> {
    let convex = |lane: usize| spectra[lane].as_ref().filter(|spectrum| spectrum.is_positive());
    let mut lanes: Vec<usize> = (0..z.ncols()).filter(|&lane| convex(lane).is_some()).collect();
    if lanes.is_empty() {
        return Ok(());
    }
    let start = columns(z.as_ref(), &lanes);
    let mut here = Slope::new(flow, &lanes, start.as_ref(), work)?;
    for _ in 0..CORRECTIONS {
        let mut trial = columns(z.as_ref(), &lanes);
        for (i, &lane) in lanes.iter().enumerate() {
            let step = convex(lane).and_then(|spectrum| spectrum.solve(here.f.col_as_slice(i)));
            let step = step.unwrap_or_else(|| vec![0.0; z.nrows()]);
            let to = trial.col_as_slice_mut(i).iter_mut();
            to.zip(step).for_each(|(z, s)| *z += s);
        }
        let there = Slope::new(flow, &lanes, trial.as_ref(), work)?;
        let helps = |i: usize| there.is_finite(i) && there.grad_sq[i] <= HELPS * here.grad_sq[i];
        let helped: Vec<usize> = (0..lanes.len()).filter(|&i| helps(i)).collect();
        for &i in &helped {
            z.as_mut().col_mut(lanes[i]).copy_from(trial.col(i));
        }
        here = there.some(&helped);
        lanes = helped.into_iter().map(|i| lanes[i]).collect();
        if lanes.is_empty() {
            break;
        }
    }
    Ok(())
}

/// lambda of each lane, `[d]`; `None` where there is none. The Hessian at hand is that of the code before its
/// corrections: residuals with the one after them correct lambda as long as they fall.
fn multipliers(
    flow: &mut GradientFlow<'_>,
    spectra: &[Option<Spectrum>],
    (z, outer): (Cols<'_>, &Slope),
    work: &mut [Work],
) -> Result<Vec<Option<Vec<f64>>>, FlowError> {
    let (dim, count) = z.shape();
    let right = -&outer.f;
    let solved = |lane: usize, right: &[f64]| spectra[lane].as_ref().and_then(|spectrum| spectrum.solve(right));
    let first = |lane: usize| solved(lane, right.col_as_slice(lane)).filter(|_| outer.is_finite(lane));
    let mut lambda: Vec<Option<Vec<f64>>> = (0..count).map(first).collect();
    let mut size: Vec<f64> = (0..count).map(|lane| square(right.col_as_slice(lane))).collect();
    let mut lanes: Vec<usize> = (0..count).filter(|&lane| lambda[lane].is_some()).collect();
    for _ in 0..CORRECTIONS {
        if lanes.is_empty() {
            break;
        }
        let v = Mat::from_fn(dim, lanes.len(), |r, i| lambda[lanes[i]].as_ref().map_or(0.0, |l| l[r]));
        let (at, t) = (columns(z, &lanes), vec![0.0; lanes.len()]);
        let point = Point {
            lanes: &lanes,
            t: &t,
            z: at.as_ref(),
        };
        let mut product = Mat::zeros(dim, lanes.len());
        flow.jvp(point, Curvature::Exact, v.as_ref(), product.as_mut(), work)?;
        // The product is with -(H + I/tau).
        let residual = product + columns(right.as_ref(), &lanes);
        let mut helped = Vec::with_capacity(lanes.len());
        for (i, &lane) in lanes.iter().enumerate() {
            let residual = residual.col_as_slice(i);
            let left = square(residual);
            let correction = solved(lane, residual).filter(|_| left <= HELPS * size[lane]);
            if let (Some(lambda), Some(correction)) = (&mut lambda[lane], correction) {
                lambda.iter_mut().zip(correction).for_each(|(l, c)| *l += c);
                size[lane] = left;
                helped.push(lane);
            }
        }
        lanes = helped;
    }
    Ok(lambda)
}

fn square(of: &[f64]) -> f64 {
    of.iter().map(|value| value * value).sum()
}

fn columns(of: Cols<'_>, lanes: &[usize]) -> Mat<f64> {
    Mat::from_fn(of.nrows(), lanes.len(), |r, i| of[(r, lanes[i])])
}

/// Minus the gradient of a flow's objective at some lanes, `[d, lanes]`, and what comes with it.
struct Slope {
    f: Mat<f64>,
    loss: Vec<f64>,
    grad_sq: Vec<f64>,
    failed: Vec<bool>,
}

impl Slope {
    fn new(flow: &mut GradientFlow<'_>, lanes: &[usize], z: Cols<'_>, work: &mut [Work]) -> Result<Self, FlowError> {
        let count = lanes.len();
        let mut slope = Slope {
            f: Mat::zeros(z.nrows(), count),
            loss: vec![0.0; count],
            grad_sq: vec![0.0; count],
            failed: vec![false; count],
        };
        let to = Values {
            f: slope.f.as_mut(),
            objective: &mut vec![0.0; count],
            loss: &mut slope.loss,
            grad_sq: &mut slope.grad_sq,
            failed: &mut slope.failed,
        };
        let t = &vec![0.0; count];
        flow.eval(Point { lanes, t, z }, to, work)?;
        Ok(slope)
    }

    /// Some of its columns.
    fn some(&self, columns: &[usize]) -> Slope {
        Slope {
            f: self::columns(self.f.as_ref(), columns),
            loss: columns.iter().map(|&i| self.loss[i]).collect(),
            grad_sq: columns.iter().map(|&i| self.grad_sq[i]).collect(),
            failed: columns.iter().map(|&i| self.failed[i]).collect(),
        }
    }

    fn is_finite(&self, column: usize) -> bool {
        !self.failed[column] && self.loss[column].is_finite() && self.grad_sq[column].is_finite()
    }
}

/// A symmetric matrix as sum over k of mu_k u_k u_k^T, mu ascending.
///
/// Beside a Hessian its d^3 are small, and it solves with indefinite matrices and tells singular ones.
struct Spectrum {
    u: Mat<f64>,
    mu: Vec<f64>,
}

/// H + I/tau of the lanes 0, 1, ... at the columns of `z`; `None` where it is not finite.
fn spectra(flow: &mut GradientFlow<'_>, z: Cols<'_>, work: &mut [Work]) -> Result<Vec<Option<Spectrum>>, FlowError> {
    let (dim, count) = z.shape();
    let (lanes, t): (Vec<usize>, Vec<f64>) = (0..count).map(|lane| (lane, 0.0)).unzip();
    let at = Point {
        lanes: &lanes,
        t: &t,
        z,
    };
    let mut blocks = vec![0.0; count * dim * dim];
    flow.jacobian(at, Curvature::Exact, &mut blocks, work)?;
    work.iter_mut().for_each(|work| work.factorizations += 1);
    Ok(blocks.chunks(dim * dim).map(Spectrum::of_minus).collect())
}

impl Spectrum {
    /// Of minus a block `[d, d]`, symmetric to rounding; `None` where it is not finite.
    fn of_minus(block: &[f64]) -> Option<Self> {
        if block.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let dim = block.len().isqrt();
        let block = MatRef::from_column_major_slice(block, dim, dim);
        let matrix = Mat::from_fn(dim, dim, |i, j| -0.5 * (block[(i, j)] + block[(j, i)]));
        let eigen = matrix.self_adjoint_eigen(Side::Lower).ok()?;
        Some(Spectrum {
            u: eigen.U().to_owned(),
            mu: eigen.S().column_vector().iter().copied().collect(),
        })
    }

    fn is_positive(&self) -> bool {
        self.mu[0] > 0.0
    }

    /// The solution for the right side `right` `[d]`; `None` where the matrix is [`SINGULAR`] or the solution not
    /// finite.
    fn solve(&self, right: &[f64]) -> Option<Vec<f64>> {
        let sizes = self.mu.iter().map(|mu| mu.abs());
        let (least, most) = sizes.fold((f64::INFINITY, 0.0_f64), |(least, most), mu| {
            (least.min(mu), most.max(mu))
        });
        if least <= SINGULAR * most {
            return None;
        }
        let mut solution = vec![0.0; right.len()];
        for (k, mu) in self.mu.iter().enumerate() {
            let u = self.u.col_as_slice(k);
            let part = u.iter().zip(right).map(|(u, right)| u * right).sum::<f64>() / mu;
            solution.iter_mut().zip(u).for_each(|(to, u)| *to += part * u);
        }
        solution.iter().all(|value| value.is_finite()).then_some(solution)
    }
}

#[cfg(test)]
mod tests {
    use super::Spectrum;

    #[test]
    fn an_indefinite_matrix_is_solved_and_a_singular_one_is_told() {
        // Minus [[1, 2], [2, 1]], of eigenvalues -1 and 3.
        let indefinite = Spectrum::of_minus(&[-1.0, -2.0, -2.0, -1.0]).expect("it is finite");
        assert!(!indefinite.is_positive());
        let solution = indefinite.solve(&[5.0, 4.0]).expect("it is regular");
        assert!((solution[0] - 1.0).abs() < 1e-14 && (solution[1] - 2.0).abs() < 1e-14);
        let singular = Spectrum::of_minus(&[-1.0, -2.0, -2.0, -4.0]).expect("it is finite");
        assert!(singular.solve(&[1.0, 2.0]).is_none());
        assert!(Spectrum::of_minus(&[f64::NAN, 0.0, 0.0, 1.0]).is_none());
    }
}
