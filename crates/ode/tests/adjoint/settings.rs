//! Methods with their step rules, and the gradients of what they reach.

use crate::support::Starts;
use crate::waves::{DIM, PARAMS, THETA, Waves};
use faer::Mat;
use gfe_ode::adjoint::{Discrete, Outcome, Path, Rule, Step, pull_back, replay};
use gfe_ode::control::{Decrease, Fixed, Grid, Pi, StepController};
use gfe_ode::explicit::{EULER, RK4, RungeKutta, SemiImplicit, TSIT5};
use gfe_ode::{Flow, Method, Momentum, ResultSink, Retired, StepRecord, Stepper, Tolerance, integrate};

/// What a sink keeps: accepted steps and ends.
#[derive(Default)]
pub struct Kept {
    pub steps: Vec<Vec<Step>>,
    pub ends: Vec<Vec<f64>>,
}

impl ResultSink for Kept {
    fn retired(&mut self, result: &Retired<'_>) {
        self.ends[result.sample] = result.z.to_vec();
    }

    fn stepped(&mut self, _step: &StepRecord, _z: &[f64]) {}

    fn accepted(&mut self, sample: usize, step: Step) {
        self.steps[sample].push(step);
    }
}

/// A flow, a stepper, a controller and the rule of its steps.
pub struct Setting {
    pub name: &'static str,
    pub rule: Rule,
    pub second_order: bool,
    pub decay: f64,
    pub controller: Box<dyn StepController>,
}

pub fn settings() -> Vec<Setting> {
    let grid = |steps| {
        Box::new(Fixed {
            t_end: 6.0,
            steps,
            grid: Grid::Logarithmic { base: 20.0 },
        })
    };
    let tolerance = Tolerance { rtol: 1e-4, atol: 1e-6 };
    let amd = || Decrease {
        dt0: 0.3,
        dt_max: 1.0,
        ..Decrease::default()
    };
    // Steps that never pass the test: time runs and the state hardly moves.
    let forced = || Decrease {
        armijo: 1e3,
        max_backtracks: 2,
        fallback_dt: 0.5,
        ..amd()
    };
    let of = |name, rule, second_order, controller: Box<dyn StepController>| Setting {
        name,
        rule,
        second_order,
        decay: 0.05,
        controller,
    };
    let rk = Rule::RungeKutta;
    vec![
        of("euler", rk(&EULER), false, grid(30)),
        of("rk4", rk(&RK4), false, grid(12)),
        of("tsit5", rk(&TSIT5), false, Box::new(Pi::new(tolerance))),
        of("amd", rk(&EULER), false, Box::new(amd())),
        of("amd, forced", rk(&EULER), false, Box::new(forced())),
        of("euler of second order", rk(&EULER), true, grid(30)),
        of("rk4 of second order", rk(&RK4), true, grid(12)),
        of("tsit5 of second order", rk(&TSIT5), true, Box::new(Pi::new(tolerance))),
        of("amd of second order", Rule::SemiImplicit, true, Box::new(amd())),
        of(
            "amd of second order, forced",
            Rule::SemiImplicit,
            true,
            Box::new(forced()),
        ),
    ]
}

impl Setting {
    pub fn flow(&self, theta: &[f64], lanes: usize) -> Box<dyn Flow> {
        let waves = Waves {
            decay: self.decay,
            ..Waves::new(theta, lanes)
        };
        if self.second_order {
            Box::new(Momentum::new(waves, false, lanes))
        } else {
            Box::new(waves)
        }
    }

    /// Initial states: the velocities are 0.
    pub fn starts(&self, samples: usize) -> Mat<f64> {
        let rows = if self.second_order { 2 * DIM } else { DIM };
        Mat::from_fn(rows, samples, |r, b| {
            if r < DIM {
                0.3 + 0.2 * r as f64 - 0.4 * b as f64
            } else {
                0.0
            }
        })
    }

    pub fn integrate(&self, samples: usize, lanes: usize) -> Kept {
        let mut flow = self.flow(&THETA, lanes);
        let dim = flow.dim();
        let mut stepper: Box<dyn Stepper> = match self.rule {
            Rule::RungeKutta(tableau) => {
                let tolerance = Tolerance { rtol: 1e-4, atol: 1e-6 };
                Box::new(RungeKutta::new(tableau, tolerance, dim, lanes))
            }
            Rule::SemiImplicit => Box::new(SemiImplicit::new(dim)),
        };
        let method = Method {
            stepper: &mut *stepper,
            controller: &*self.controller,
            stop: &[],
            t_end: 6.0,
            max_steps: 400,
            lanes,
            at: &[],
        };
        let z0 = self.starts(samples);
        let z0: Vec<Vec<f64>> = (0..samples).map(|b| z0.col_as_slice(b).to_vec()).collect();
        let mut kept = Kept {
            steps: vec![Vec::new(); samples],
            ends: vec![Vec::new(); samples],
        };
        let mut queue = Starts(&z0, 0);
        integrate(&mut *flow, method, &mut queue, &mut kept).expect("the flow never breaks down");
        kept
    }
}

pub fn paths<'a>(z0: &'a Mat<f64>, steps: &'a [Vec<Step>]) -> Vec<Path<'a>> {
    let of = |(sample, steps): (usize, &'a Vec<Step>)| Path {
        sample,
        z0: z0.col_as_slice(sample),
        steps,
    };
    steps.iter().enumerate().map(of).collect()
}

/// L = sum over samples of sum_i (i + 1) z_i + |z|^2 / 2 at the ends, and its derivative there.
pub fn loss(ends: &Mat<f64>) -> (f64, Mat<f64>) {
    let term = |r: usize, z: f64| (r + 1) as f64 * z + 0.5 * z * z;
    let sum = (0..ends.ncols()).flat_map(|b| (0..ends.nrows()).map(move |r| (r, b)));
    let value = sum.map(|(r, b)| term(r, ends[(r, b)])).sum();
    (
        value,
        Mat::from_fn(ends.nrows(), ends.ncols(), |r, b| (r + 1) as f64 + ends[(r, b)]),
    )
}

impl Setting {
    pub fn replay(&self, theta: &[f64], z0: &Mat<f64>, steps: &[Vec<Step>]) -> Mat<f64> {
        let mut ends = Mat::zeros(z0.nrows(), z0.ncols());
        let mut flow = self.flow(theta, steps.len());
        replay(&mut *flow, self.rule, &paths(z0, steps), ends.as_mut()).expect("the flow never breaks down");
        ends
    }

    /// dL/dz0, dL/dtheta, and what became of it.
    pub fn gradient(&self, how: &Discrete, z0: &Mat<f64>, steps: &[Vec<Step>]) -> (Mat<f64>, Vec<f64>, Outcome) {
        let (_, mut z_bar) = loss(&self.replay(&THETA, z0, steps));
        let mut params_bar = vec![0.0; PARAMS];
        let mut flow = self.flow(&THETA, steps.len());
        let outcome = pull_back(&mut *flow, how, &paths(z0, steps), z_bar.as_mut(), &mut params_bar);
        (z_bar, params_bar, outcome.expect("the flow never breaks down"))
    }
}
