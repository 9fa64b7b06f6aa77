//! Explicit methods: one Runge-Kutta method, one file per tableau; and the semi-implicit step of flows of second order.

mod euler;
mod rk4;
mod semi_implicit;
mod tsit5;

use crate::columns::column;
use crate::{End, Flow, FlowError, Lanewise, Point, Span, Start, Stepper, Tolerance, Trial, Values, Work, hermite};
use faer::Mat;

pub use euler::EULER;
pub use rk4::RK4;
pub use semi_implicit::SemiImplicit;
pub use tsit5::TSIT5;

/// Coefficients of an explicit Runge-Kutta method: `a` row by row below the diagonal, weights `b`, nodes `c`.
///
/// The slope at the end of the step counts as one stage more, which costs nothing: every step is evaluated at its end.
#[derive(Clone, Copy, Debug)]
pub struct Tableau {
    /// Order of consistency.
    pub order: u32,
    /// Rows 1, 2, ... of the strictly lower triangle.
    pub a: &'static [&'static [f64]],
    /// Weights.
    pub b: &'static [f64],
    /// Nodes; the first is 0.
    pub c: &'static [f64],
    /// Weights less those of the embedded method, the slope at the end of the step last.
    pub d: Option<&'static [f64]>,
    /// Weights of all slopes, the one at the end last, for the state at a fraction of the step; else cubic Hermite.
    pub dense: Option<fn(f64, &mut [f64])>,
}

impl Tableau {
    /// Whether the coefficients are those of a method. Panics if not.
    fn check(&self) {
        let close = |sum: f64, to: f64| (sum - to).abs() <= 1e-13;
        assert!(close(self.b.iter().sum(), 1.0), "the weights of a tableau add up to 1");
        assert!(self.b.len() == self.c.len() && self.a.len() + 1 == self.b.len() && self.c[0] == 0.0);
        for (i, row) in self.a.iter().enumerate() {
            assert!(
                row.len() == i + 1 && close(row.iter().sum(), self.c[i + 1]),
                "row {i} of a tableau adds up to c"
            );
        }
        if let Some(d) = self.d {
            assert!(
                d.len() == self.b.len() + 1 && close(d.iter().sum(), 0.0),
                "error weights, one per slope, add up to 0"
            );
        }
        if let Some(dense) = self.dense {
            let mut weights = vec![0.0; self.b.len() + 1];
            dense(1.0, &mut weights);
            let ends = self.b.iter().chain(&[0.0]).zip(&weights);
            assert!(
                ends.into_iter().all(|(b, weight)| close(*weight, *b)),
                "the interpolant ends where the step does"
            );
        }
    }
}

/// An explicit Runge-Kutta method, z1 = z + h sum_i b_i k_i with k_i = f(t + c_i h, z + h sum_j a_ij k_j).
pub struct RungeKutta {
    tableau: &'static Tableau,
    tolerance: Tolerance,
    /// Of every stage; the last is the slope at the end of the step.
    slopes: Vec<Mat<f64>>,
    stage: Mat<f64>,
    t: Vec<f64>,
    ignored: Vec<f64>,
    failed: Vec<bool>,
    err: Vec<f64>,
    zero: Vec<f64>,
}

impl RungeKutta {
    /// A method for states of length `dim` and up to `lanes` lanes, whose error counts in units of `tolerance` if the
    /// tableau has an embedded method. Panics if the tableau is inconsistent.
    pub fn new(tableau: &'static Tableau, tolerance: Tolerance, dim: usize, lanes: usize) -> Self {
        tableau.check();
        RungeKutta {
            tableau,
            tolerance,
            slopes: (0..=tableau.b.len()).map(|_| Mat::zeros(dim, lanes)).collect(),
            stage: Mat::zeros(dim, lanes),
            t: vec![0.0; lanes],
            ignored: vec![0.0; 3 * lanes],
            failed: vec![false; lanes],
            err: vec![0.0; dim],
            zero: vec![0.0; dim],
        }
    }

    /// to = z + h sum_i weights_i k_i in column `b`.
    fn combine(&self, weights: &[f64], z: &[f64], h: f64, b: usize, to: &mut [f64]) {
        to.fill(0.0);
        for (weight, slopes) in weights.iter().zip(&self.slopes) {
            to.iter_mut()
                .zip(slopes.col_as_slice(b))
                .for_each(|(to, slope)| *to += weight * slope);
        }
        to.iter_mut().zip(z).for_each(|(to, z)| *to = z + h * *to);
    }
}

impl Lanewise for RungeKutta {
    fn admit(&mut self, _lane: usize, _sample: usize, _z0: &[f64]) {}
    fn relocate(&mut self, _from: usize, _to: usize) {}
}

impl Stepper for RungeKutta {
    fn order(&self) -> u32 {
        self.tableau.order
    }

    fn attempt(
        &mut self,
        flow: &mut dyn Flow,
        from: Start<'_>,
        mut to: Trial<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let live = from.lanes.len();
        to.predicted.fill(f64::NAN);
        to.solved.fill(true);
        self.slopes[0].as_mut().subcols_mut(0, live).copy_from(from.f);
        let mut stage = std::mem::replace(&mut self.stage, Mat::new());
        for (i, row) in self.tableau.a.iter().enumerate() {
            for b in 0..live {
                self.t[b] = from.t[b] + self.tableau.c[i + 1] * from.h[b];
                self.combine(row, column(from.z, b), from.h[b], b, stage.col_as_slice_mut(b));
            }
            let (objective, rest) = self.ignored[..3 * live].split_at_mut(live);
            let (loss, grad_sq) = rest.split_at_mut(live);
            let at = Point {
                lanes: from.lanes,
                t: &self.t[..live],
                z: stage.as_ref().subcols(0, live),
            };
            let values = Values {
                f: self.slopes[i + 1].as_mut().subcols_mut(0, live),
                objective,
                loss,
                grad_sq,
                failed: &mut self.failed[..live],
            };
            flow.eval(at, values, work)?;
            for b in 0..live {
                to.solved[b] &= !self.failed[b];
            }
        }
        for b in 0..live {
            self.combine(
                self.tableau.b,
                column(from.z, b),
                from.h[b],
                b,
                stage.col_as_slice_mut(b),
            );
            to.z.as_mut().col_mut(b).copy_from(stage.col(b));
        }
        self.stage = stage;
        Ok(())
    }

    fn assess(&mut self, from: Start<'_>, end: End<'_>, ratio: &mut [f64]) {
        let live = from.lanes.len();
        let last = self.tableau.b.len();
        self.slopes[last].as_mut().subcols_mut(0, live).copy_from(end.f);
        let Some(d) = self.tableau.d else {
            ratio.fill(f64::NAN);
            return;
        };
        let mut err = std::mem::take(&mut self.err);
        for b in 0..live {
            self.combine(d, &self.zero, from.h[b], b, &mut err);
            ratio[b] = self.tolerance.ratio(&err, column(from.z, b), column(end.z, b));
        }
        self.err = err;
    }

    fn interpolate(&self, span: &Span<'_>, theta: f64, z: &mut [f64]) {
        let Some(dense) = self.tableau.dense else {
            return hermite(span, theta, z);
        };
        let mut weights = vec![0.0; self.slopes.len()];
        dense(theta, &mut weights);
        self.combine(&weights, span.z[0], span.h, span.lane, z);
    }
}
