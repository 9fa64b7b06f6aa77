//! Flows with exact solutions, queues, a sink that keeps everything, and the slope of a line.

#![allow(dead_code)] // Every file of tests uses a part of this.

pub mod equations;

use gfe_ode::control::StepController;
use gfe_ode::problems::Columns;
use gfe_ode::problems::Equations;
use gfe_ode::stop::Terminator;
use gfe_ode::{
    Cols, ColsMut, Curvature, Flow, FlowError, Lanewise, Method, Next, Point, Queue, ResultSink, Retired, Status,
    StepRecord, Stepper, Structure, Values, Work, integrate,
};
use std::sync::Arc;

/// objective = (1/2) sum_i lambda_i (z_i - sample)^2: dz/dt = -lambda (z - sample).
pub struct Quadratic {
    pub eigenvalues: Vec<f64>,
    pub sample: Vec<usize>,
    /// A sample whose evaluation always fails.
    pub broken: Option<usize>,
    /// The lower bound of the eigenvalues that is told; 0 for none.
    pub least: f64,
}

impl Quadratic {
    pub fn new(eigenvalues: &[f64], lanes: usize) -> Self {
        Quadratic {
            eigenvalues: eigenvalues.to_vec(),
            sample: vec![0; lanes],
            broken: None,
            least: 0.0,
        }
    }
}

impl Lanewise for Quadratic {
    fn admit(&mut self, lane: usize, sample: usize, _z0: &[f64]) {
        self.sample[lane] = sample;
    }

    fn relocate(&mut self, from: usize, to: usize) {
        self.sample[to] = self.sample[from];
    }
}

impl Flow for Quadratic {
    fn dim(&self) -> usize {
        self.eigenvalues.len()
    }

    fn eval(&mut self, at: Point<'_>, mut to: Values<'_>, work: &mut [Work]) -> Result<(), FlowError> {
        for (b, &lane) in at.lanes.iter().enumerate() {
            let center = self.sample[lane] as f64;
            (to.objective[b], to.grad_sq[b]) = (0.0, 0.0);
            for (r, lambda) in self.eigenvalues.iter().enumerate() {
                let distance = at.z[(r, b)] - center;
                to.f[(r, b)] = -lambda * distance;
                to.objective[b] += 0.5 * lambda * distance * distance;
                to.grad_sq[b] += (lambda * distance).powi(2);
            }
            to.loss[b] = to.objective[b];
            to.failed[b] = self.broken == Some(self.sample[lane]);
            work[lane].evaluations += 1;
            work[lane].vjps += 1;
        }
        Ok(())
    }

    fn jacobian(
        &mut self,
        at: Point<'_>,
        _curvature: Curvature,
        blocks: &mut [f64],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let dim = self.dim();
        blocks.fill(0.0);
        for (b, &lane) in at.lanes.iter().enumerate() {
            for r in 0..dim {
                blocks[b * dim * dim + r * dim + r] = -self.eigenvalues[r];
            }
            work[lane].jacobians += 1;
            work[lane].jvps += dim as u32;
        }
        Ok(())
    }

    fn jvp(
        &mut self,
        at: Point<'_>,
        _curvature: Curvature,
        v: Cols<'_>,
        mut jv: ColsMut<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        for (b, &lane) in at.lanes.iter().enumerate() {
            for (r, lambda) in self.eigenvalues.iter().enumerate() {
                jv[(r, b)] = -lambda * v[(r, b)];
            }
            work[lane].jvps += 1;
        }
        Ok(())
    }

    fn structure(&self, _curvature: Curvature) -> Structure {
        Structure::NegativeSemidefinite
    }

    fn least_curvature(&self) -> f64 {
        self.least
    }
}

/// A flow of which every lane is a copy of these equations.
pub fn flow(equations: impl Equations + 'static) -> Columns {
    Columns::new(Arc::new(equations))
}

/// Samples 0, 1, ... from these states.
pub struct Starts<'a>(pub &'a [Vec<f64>], pub usize);

impl Queue for Starts<'_> {
    fn next(&mut self, z0: &mut [f64], _idle: bool) -> Next {
        let Some(start) = self.0.get(self.1) else {
            return Next::Finished;
        };
        z0.copy_from_slice(start);
        self.1 += 1;
        Next::Sample(self.1 - 1)
    }
}

/// A finished sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    pub sample: usize,
    pub status: Status,
    pub t: f64,
    pub z: Vec<f64>,
    pub loss: f64,
    pub grad_norm: f64,
    pub edm: Option<f64>,
    pub work: Work,
}

#[derive(Default)]
pub struct Kept {
    pub done: Vec<Done>,
    pub steps: Vec<StepRecord>,
    pub states: Vec<Vec<f64>>,
}

impl ResultSink for Kept {
    fn retired(&mut self, result: &Retired<'_>) {
        self.done.push(Done {
            sample: result.sample,
            status: result.status,
            t: result.t,
            z: result.z.to_vec(),
            loss: result.loss,
            grad_norm: result.grad_norm,
            edm: Some(result.edm).filter(|edm| edm.is_finite()),
            work: result.work,
        });
    }

    fn stepped(&mut self, step: &StepRecord, z: &[f64]) {
        self.steps.push(*step);
        self.states.push(z.to_vec());
    }
}

/// How far and until when to integrate, in how many lanes, and when to look.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub stop: &'a [&'a dyn Terminator],
    pub t_end: f64,
    pub lanes: usize,
    pub at: &'a [f64],
}

/// One lane up to `t_end`.
pub fn until(t_end: f64) -> Setting<'static> {
    Setting {
        stop: &[],
        t_end,
        lanes: 1,
        at: &[],
    }
}

/// Integrates what the queue has.
pub fn run(
    flow: &mut dyn Flow,
    (stepper, controller): (&mut dyn Stepper, &dyn StepController),
    queue: &mut dyn Queue,
    with: Setting<'_>,
) -> Kept {
    let mut kept = Kept::default();
    let method = Method {
        stepper,
        controller,
        stop: with.stop,
        t_end: with.t_end,
        max_steps: 1_000_000,
        lanes: with.lanes,
        at: with.at,
    };
    integrate(flow, method, queue, &mut kept).expect("the test flow never fails");
    kept
}

/// Largest difference.
pub fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let largest = |most: f64, (a, b): (&f64, &f64)| if (a - b).abs() <= most { most } else { (a - b).abs() };
    a.iter().zip(b).fold(0.0, largest)
}

/// Least-squares slope of log y against log x.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    assert!(points.len() >= 4, "a slope needs at least 4 points");
    let points: Vec<(f64, f64)> = points.iter().map(|(x, y)| (x.ln(), y.ln())).collect();
    let n = points.len() as f64;
    let (mx, my) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let (sxy, sxx) = points.iter().fold((0.0, 0.0), |(a, b), p| {
        (a + (p.0 - mx) * (p.1 - my), b + (p.0 - mx).powi(2))
    });
    sxy / sxx
}

/// Asserts that the slope is within 0.15 of `nominal`.
pub fn assert_order(what: &str, nominal: f64, points: &[(f64, f64)]) {
    let found = slope(points);
    println!("{what}: slope {found:.3} of {points:?}");
    assert!(
        (found - nominal).abs() <= 0.15,
        "{what}: slope {found}, not {nominal}, of {points:?}"
    );
}
