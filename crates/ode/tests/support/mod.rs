//! A gradient flow with an exact solution, a queue of numbers and a sink that keeps everything.

use gfe_ode::{
    Flow, FlowError, Lanewise, Next, Point, Queue, ResultSink, Retired, Status, StepRecord, Structure, Values, Work,
};

/// objective = (1/2) sum_i lambda_i (z_i - sample)^2: dz/dt = -lambda (z - sample).
pub struct Quadratic {
    pub eigenvalues: Vec<f64>,
    pub sample: Vec<usize>,
    /// A sample whose evaluation always fails.
    pub broken: Option<usize>,
}

impl Quadratic {
    pub fn new(eigenvalues: &[f64], lanes: usize) -> Self {
        Quadratic {
            eigenvalues: eigenvalues.to_vec(),
            sample: vec![0; lanes],
            broken: None,
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
            to.objective[b] = 0.0;
            for (r, lambda) in self.eigenvalues.iter().enumerate() {
                let distance = at.z[(r, b)] - center;
                to.f[(r, b)] = -lambda * distance;
                to.objective[b] += 0.5 * lambda * distance * distance;
            }
            to.loss[b] = to.objective[b];
            to.failed[b] = self.broken == Some(self.sample[lane]);
            work[lane].evaluations += 1;
            work[lane].vjps += 1;
        }
        Ok(())
    }

    fn jacobian(&mut self, at: Point<'_>, blocks: &mut [f64], work: &mut [Work]) -> Result<(), FlowError> {
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

    fn structure(&self) -> Structure {
        Structure::NegativeSemidefinite
    }
}

/// Samples 1, 2, ..., `last`, all from z0 = 0.
pub struct Numbers {
    pub next: usize,
    pub last: usize,
}

impl Queue for Numbers {
    fn next(&mut self, z0: &mut [f64], _idle: bool) -> Next {
        z0.fill(0.0);
        let sample = self.next;
        self.next += 1;
        if sample <= self.last {
            Next::Sample(sample)
        } else {
            Next::Finished
        }
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
    pub work: Work,
}

#[derive(Default)]
pub struct Kept {
    pub done: Vec<Done>,
    pub steps: Vec<StepRecord>,
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
            work: result.work,
        });
    }

    fn stepped(&mut self, step: &StepRecord) {
        self.steps.push(*step);
    }
}
