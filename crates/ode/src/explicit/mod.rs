//! Explicit methods: one Runge-Kutta method, one file per tableau.

mod euler;
mod rk4;

use crate::{Flow, FlowError, Lanewise, Point, Start, Stepper, Trial, Values, Work};
use faer::Mat;

pub use euler::EULER;
pub use rk4::RK4;

/// Coefficients of an explicit Runge-Kutta method: `a` row by row below the diagonal, weights `b`, nodes `c`.
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
}

impl Tableau {
    fn check(&self) {
        let close = |sum: f64, to: f64| (sum - to).abs() <= 1e-14;
        assert!(close(self.b.iter().sum(), 1.0), "the weights of a tableau add up to 1");
        assert!(self.b.len() == self.c.len() && self.a.len() + 1 == self.b.len() && self.c[0] == 0.0);
        for (i, row) in self.a.iter().enumerate() {
            assert!(
                row.len() == i + 1 && close(row.iter().sum(), self.c[i + 1]),
                "row {i} of a tableau adds up to c"
            );
        }
    }
}

/// An explicit Runge-Kutta method, z1 = z + h sum_i b_i k_i with k_i = f(t + c_i h, z + h sum_j a_ij k_j).
pub struct RungeKutta {
    tableau: &'static Tableau,
    slopes: Vec<Mat<f64>>,
    stage: Mat<f64>,
    t: Vec<f64>,
    ignored: Vec<f64>,
    failed: Vec<bool>,
}

impl RungeKutta {
    /// A method for states of length `dim` and up to `lanes` lanes. Panics if the tableau is inconsistent.
    pub fn new(tableau: &'static Tableau, dim: usize, lanes: usize) -> Self {
        tableau.check();
        RungeKutta {
            tableau,
            slopes: (1..tableau.b.len()).map(|_| Mat::zeros(dim, lanes)).collect(),
            stage: Mat::zeros(dim, lanes),
            t: vec![0.0; lanes],
            ignored: vec![0.0; 2 * lanes],
            failed: vec![false; lanes],
        }
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
        let (dim, live) = (from.z.nrows(), from.lanes.len());
        to.predicted.fill(f64::NAN);
        to.edm.fill(f64::NAN);
        to.solved.fill(true);
        for (i, row) in self.tableau.a.iter().enumerate() {
            for b in 0..live {
                self.t[b] = from.t[b] + self.tableau.c[i + 1] * from.h[b];
                for r in 0..dim {
                    let mut sum = row[0] * from.f[(r, b)];
                    for j in 1..row.len() {
                        sum += row[j] * self.slopes[j - 1][(r, b)];
                    }
                    self.stage[(r, b)] = from.z[(r, b)] + from.h[b] * sum;
                }
            }
            let (objective, loss) = self.ignored[..2 * live].split_at_mut(live);
            let at = Point {
                lanes: from.lanes,
                t: &self.t[..live],
                z: self.stage.as_ref().subcols(0, live),
            };
            let f = self.slopes[i].as_mut().subcols_mut(0, live);
            let failed = &mut self.failed[..live];
            flow.eval(
                at,
                Values {
                    f,
                    objective,
                    loss,
                    failed,
                },
                work,
            )?;
            for b in 0..live {
                to.solved[b] &= !self.failed[b];
            }
        }
        for b in 0..live {
            for r in 0..dim {
                let mut sum = self.tableau.b[0] * from.f[(r, b)];
                for j in 1..self.tableau.b.len() {
                    sum += self.tableau.b[j] * self.slopes[j - 1][(r, b)];
                }
                to.z[(r, b)] = from.z[(r, b)] + from.h[b] * sum;
            }
        }
        Ok(())
    }

    fn accepted(&mut self, _lane: usize) {}
}
