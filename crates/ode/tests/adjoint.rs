//! The discrete adjoint against central differences of the same steps taken again, and the states that it holds.

mod support;

use faer::Mat;
use gfe_ode::adjoint::{Discrete, Outcome, Path, Rule, Step, pull_back, replay};
use gfe_ode::control::{Decrease, Fixed, Grid, Pi, StepController};
use gfe_ode::diffsol::{Integration, Scheme};
use gfe_ode::explicit::{EULER, RK4, RungeKutta, SemiImplicit, TSIT5};
use gfe_ode::{
    Cols, ColsMut, Curvature, Flow, FlowAdjoint, FlowError, Lanewise, Method, Momentum, Point, ResultSink, Retired,
    StepRecord, Stepper, Structure, Tolerance, Values, Work, diffsol, integrate,
};
use support::Starts;

const DIM: usize = 3;
const PARAMS: usize = 2 * DIM;

/// dz_i/dt = -alpha(t) (theta_i sin(z_i + z_(i+1) / 2) + theta_(d+i) (z_i - sample / 10)), alpha = exp(-decay t).
struct Waves {
    theta: Vec<f64>,
    decay: f64,
    sample: Vec<usize>,
    /// A sample whose products are NaN.
    broken: Option<usize>,
    products_with_params: usize,
}

impl Waves {
    fn new(theta: &[f64], lanes: usize) -> Self {
        Waves {
            theta: theta.to_vec(),
            decay: 0.05,
            sample: vec![0; lanes],
            broken: None,
            products_with_params: 0,
        }
    }

    fn alpha(&self, t: f64) -> f64 {
        (-self.decay * t).exp()
    }

    fn phase(z: Cols<'_>, i: usize, b: usize) -> f64 {
        z[(i, b)] + 0.5 * z[((i + 1) % DIM, b)]
    }
}

impl Lanewise for Waves {
    fn admit(&mut self, lane: usize, sample: usize, _z0: &[f64]) {
        self.sample[lane] = sample;
    }

    fn relocate(&mut self, from: usize, to: usize) {
        self.sample[to] = self.sample[from];
    }
}

impl Flow for Waves {
    fn dim(&self) -> usize {
        DIM
    }

    fn eval(&mut self, at: Point<'_>, mut to: Values<'_>, work: &mut [Work]) -> Result<(), FlowError> {
        for (b, &lane) in at.lanes.iter().enumerate() {
            to.grad_sq[b] = 0.0;
            for i in 0..DIM {
                let away = at.z[(i, b)] - 0.1 * self.sample[lane] as f64;
                let g = self.theta[i] * Self::phase(at.z, i, b).sin() + self.theta[DIM + i] * away;
                to.f[(i, b)] = -self.alpha(at.t[b]) * g;
                to.grad_sq[b] += g * g;
            }
            to.objective[b] = to.grad_sq[b];
            to.loss[b] = to.grad_sq[b];
            to.failed[b] = false;
            work[lane].evaluations += 1;
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
        for (direction, block) in blocks.chunks_mut(DIM * at.lanes.len()).enumerate() {
            assert_eq!(at.lanes.len(), 1, "diffsol's methods ask for one lane");
            let v = Mat::from_fn(DIM, 1, |r, _| f64::from(u8::from(r == direction)));
            let jv = ColsMut::from_column_major_slice_mut(block, DIM, 1);
            self.jvp(at, curvature, v.as_ref(), jv, work)?;
        }
        Ok(())
    }

    fn jvp(
        &mut self,
        at: Point<'_>,
        _: Curvature,
        v: Cols<'_>,
        mut jv: ColsMut<'_>,
        _: &mut [Work],
    ) -> Result<(), FlowError> {
        for b in 0..at.lanes.len() {
            for i in 0..DIM {
                let slope = self.theta[i] * Self::phase(at.z, i, b).cos();
                let along = slope * (v[(i, b)] + 0.5 * v[((i + 1) % DIM, b)]) + self.theta[DIM + i] * v[(i, b)];
                jv[(i, b)] = -self.alpha(at.t[b]) * along;
            }
        }
        Ok(())
    }

    fn structure(&self, _: Curvature) -> Structure {
        Structure::General
    }

    fn adjoint(&mut self) -> Option<&mut dyn FlowAdjoint> {
        Some(self)
    }
}

impl FlowAdjoint for Waves {
    fn vjp(
        &mut self,
        at: Point<'_>,
        v_bar: Cols<'_>,
        mut z_bar: ColsMut<'_>,
        mut params_bar: Option<&mut [f64]>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        z_bar.fill(0.0);
        for (b, &lane) in at.lanes.iter().enumerate() {
            for i in 0..DIM {
                let (phase, v) = (Self::phase(at.z, i, b), -self.alpha(at.t[b]) * v_bar[(i, b)]);
                z_bar[(i, b)] += v * (self.theta[i] * phase.cos() + self.theta[DIM + i]);
                z_bar[((i + 1) % DIM, b)] += 0.5 * v * self.theta[i] * phase.cos();
                if let Some(params) = &mut params_bar {
                    params[i] += v * phase.sin();
                    params[DIM + i] += v * (at.z[(i, b)] - 0.1 * self.sample[lane] as f64);
                }
            }
            if self.broken == Some(self.sample[lane]) {
                z_bar[(0, b)] = f64::NAN;
            }
            work[lane].hvps += 1;
        }
        self.products_with_params += usize::from(params_bar.is_some());
        Ok(())
    }
}

const THETA: [f64; PARAMS] = [0.9, -0.4, 0.6, 0.5, 0.8, 0.3];

/// What a sink keeps: accepted steps and ends.
#[derive(Default)]
struct Kept {
    steps: Vec<Vec<Step>>,
    ends: Vec<Vec<f64>>,
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
struct Setting {
    name: &'static str,
    rule: Rule,
    second_order: bool,
    decay: f64,
    controller: Box<dyn StepController>,
}

fn settings() -> Vec<Setting> {
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
    fn flow(&self, theta: &[f64], lanes: usize) -> Box<dyn Flow> {
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
    fn starts(&self, samples: usize) -> Mat<f64> {
        let rows = if self.second_order { 2 * DIM } else { DIM };
        Mat::from_fn(rows, samples, |r, b| {
            if r < DIM {
                0.3 + 0.2 * r as f64 - 0.4 * b as f64
            } else {
                0.0
            }
        })
    }

    fn integrate(&self, samples: usize, lanes: usize) -> Kept {
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

fn paths<'a>(z0: &'a Mat<f64>, steps: &'a [Vec<Step>]) -> Vec<Path<'a>> {
    let of = |(sample, steps): (usize, &'a Vec<Step>)| Path {
        sample,
        z0: z0.col_as_slice(sample),
        steps,
    };
    steps.iter().enumerate().map(of).collect()
}

/// L = sum over samples of sum_i (i + 1) z_i + |z|^2 / 2 at the ends, and its derivative there.
fn loss(ends: &Mat<f64>) -> (f64, Mat<f64>) {
    let term = |r: usize, z: f64| (r + 1) as f64 * z + 0.5 * z * z;
    let sum = (0..ends.ncols()).flat_map(|b| (0..ends.nrows()).map(move |r| (r, b)));
    let value = sum.map(|(r, b)| term(r, ends[(r, b)])).sum();
    (
        value,
        Mat::from_fn(ends.nrows(), ends.ncols(), |r, b| (r + 1) as f64 + ends[(r, b)]),
    )
}

impl Setting {
    fn replay(&self, theta: &[f64], z0: &Mat<f64>, steps: &[Vec<Step>]) -> Mat<f64> {
        let mut ends = Mat::zeros(z0.nrows(), z0.ncols());
        let mut flow = self.flow(theta, steps.len());
        replay(&mut *flow, self.rule, &paths(z0, steps), ends.as_mut()).expect("the flow never breaks down");
        ends
    }

    /// dL/dz0, dL/dtheta, and what became of it.
    fn gradient(&self, how: &Discrete, z0: &Mat<f64>, steps: &[Vec<Step>]) -> (Mat<f64>, Vec<f64>, Outcome) {
        let (_, mut z_bar) = loss(&self.replay(&THETA, z0, steps));
        let mut params_bar = vec![0.0; PARAMS];
        let mut flow = self.flow(&THETA, steps.len());
        let outcome = pull_back(&mut *flow, how, &paths(z0, steps), z_bar.as_mut(), &mut params_bar);
        (z_bar, params_bar, outcome.expect("the flow never breaks down"))
    }
}

#[test]
fn steps_taken_again_end_in_the_same_bits_for_every_method() {
    for setting in settings() {
        for lanes in [1, 3, 7] {
            let kept = setting.integrate(5, lanes);
            let ends = setting.replay(&THETA, &setting.starts(5), &kept.steps);
            for (b, end) in kept.ends.iter().enumerate() {
                let bits = |z: &[f64]| z.iter().map(|z| z.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(ends.col_as_slice(b)), bits(end), "{}, sample {b}", setting.name);
            }
        }
    }
}

#[test]
fn the_adjoint_is_the_derivative_of_the_steps_for_every_method_and_both_orders() {
    for setting in settings() {
        let kept = setting.integrate(5, 3);
        let (z0, steps) = (setting.starts(5), &kept.steps);
        let (z_bar, params_bar, outcome) = setting.gradient(&Discrete::new(setting.rule), &z0, steps);
        assert_eq!(outcome.failed, [false; 5]);
        // Central differences of step 1e-5: truncation of 1e-10 and rounding of 1e-11.
        let close = |a: f64, b: f64| (a - b).abs() < 1e-8 * (1.0 + b.abs());
        for i in 0..PARAMS {
            let at = |h: f64| {
                let mut theta = THETA;
                theta[i] += h;
                loss(&setting.replay(&theta, &z0, steps)).0
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                close(params_bar[i], difference),
                "{}, parameter {i}: {} {difference}",
                setting.name,
                params_bar[i]
            );
        }
        for b in 0..5 {
            for r in 0..z0.nrows() {
                let at = |h: f64| {
                    let mut z0 = z0.clone();
                    z0[(r, b)] += h;
                    loss(&setting.replay(&THETA, &z0, steps)).0
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    close(z_bar[(r, b)], difference),
                    "{}, sample {b}, component {r}: {} {difference}",
                    setting.name,
                    z_bar[(r, b)]
                );
            }
        }
    }
}

#[test]
fn forced_steps_are_there_and_samples_differ_in_their_number_of_steps() {
    let settings = settings();
    let of = |name: &str| {
        let setting = settings.iter().find(|setting| setting.name == name);
        setting.expect("it is in the list").integrate(5, 3).steps
    };
    let forced = of("amd, forced");
    assert!(forced[0].windows(2).all(|pair| pair[1].t - pair[0].t > 4.0 * pair[0].h));
    let counts: Vec<usize> = of("tsit5").iter().map(Vec::len).collect();
    assert!(counts.iter().any(|count| *count != counts[0]), "{counts:?}");
}

#[test]
fn ten_thousand_steps_hold_a_few_hundred_states_and_give_the_bits_of_all_states_kept() {
    let setting = &settings()[0];
    let step = |i: usize| Step {
        t: 6e-4 * i as f64,
        h: 6e-4,
    };
    let steps: Vec<Vec<Step>> = [10_000, 9_000, 129, 1, 0]
        .iter()
        .map(|&n| (0..n).map(step).collect())
        .collect();
    let z0 = setting.starts(5);
    let all = Discrete {
        keep: 20_000,
        ..Discrete::new(setting.rule)
    };
    let (z_bar, params_bar, outcome) = setting.gradient(&all, &z0, &steps);
    assert_eq!(outcome.states, 10_000);
    let bits = |z: &Mat<f64>| {
        (0..5)
            .flat_map(|b| z.col_as_slice(b).iter().map(|z| z.to_bits()).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    for (keep, most, evaluations) in [(128, 79 + 129, 19_921), (64, 3 + 64 + 66, 29_000), (7, 40, 50_000)] {
        let how = Discrete { keep, ..all };
        let (z, params, outcome) = setting.gradient(&how, &z0, &steps);
        assert_eq!((bits(&z), &params), (bits(&z_bar), &params_bar), "keep {keep}");
        assert!(outcome.states <= most, "keep {keep}: {} states", outcome.states);
        assert!(
            (outcome.work[0].evaluations as usize) <= evaluations,
            "keep {keep}: {} evaluations",
            outcome.work[0].evaluations
        );
        assert_eq!(outcome.work[4], Work::default());
    }
}

#[test]
fn a_stride_of_the_quadrature_saves_products_and_converges_as_steps_get_finer() {
    let setting = &settings()[0];
    let z0 = setting.starts(3);
    let error = |count: usize, stride: u32| {
        let h = 6.0 / count as f64;
        // The second sample has fewer steps: blocks end at different places.
        let of = |count: usize| (0..count).map(|i| Step { t: h * i as f64, h }).collect::<Vec<_>>();
        let steps = [of(count), of(count - 3), of(count)];
        let exact = setting.gradient(&Discrete::new(setting.rule), &z0, &steps);
        let how = Discrete {
            quadrature_stride: stride,
            ..Discrete::new(setting.rule)
        };
        let coarse = setting.gradient(&how, &z0, &steps);
        // A weight divides the state's part as it has multiplied it: to rounding.
        let apart = (&exact.0 - &coarse.0).norm_max();
        assert!(apart < 1e-12, "{apart}");
        let square: f64 = exact.1.iter().zip(&coarse.1).map(|(a, b)| (a - b).powi(2)).sum();
        square.sqrt() / exact.1.iter().map(|g| g * g).sum::<f64>().sqrt()
    };
    assert_eq!(error(60, 1), 0.0);
    for stride in [3, 5] {
        let (coarse, fine) = (error(60, stride), error(480, stride));
        assert!(coarse < 0.05 && coarse > 0.0, "stride {stride}: {coarse}");
        // Steps 8 times finer: the middle of a block is right to the second order.
        assert!(fine < coarse / 30.0, "stride {stride}: {coarse} {fine}");
    }
    let steps = vec![
        (0..100)
            .map(|i| Step {
                t: 0.06 * i as f64,
                h: 0.06
            })
            .collect::<Vec<_>>();
        3
    ];
    for (stride, products) in [(1, 100), (4, 25), (7, 15)] {
        let mut flow = Waves::new(&THETA, 3);
        let how = Discrete {
            quadrature_stride: stride,
            ..Discrete::new(setting.rule)
        };
        let mut z_bar = Mat::full(DIM, 3, 1.0);
        let outcome = pull_back(&mut flow, &how, &paths(&z0, &steps), z_bar.as_mut(), &mut [0.0; PARAMS]);
        assert_eq!(outcome.expect("the flow never breaks down").work[0].hvps, 100);
        assert_eq!(flow.products_with_params, products);
    }
}

#[test]
fn a_sample_whose_product_is_nan_is_named() {
    let setting = &settings()[0];
    let kept = setting.integrate(5, 3);
    let z0 = setting.starts(5);
    let mut flow = Waves::new(&THETA, 5);
    flow.broken = Some(3);
    let mut z_bar = Mat::full(DIM, 5, 1.0);
    let how = Discrete::new(setting.rule);
    let outcome = pull_back(
        &mut flow,
        &how,
        &paths(&z0, &kept.steps),
        z_bar.as_mut(),
        &mut [0.0; PARAMS],
    );
    assert_eq!(
        outcome.expect("the flow never breaks down").failed,
        [false, false, false, true, false]
    );
}

#[test]
fn a_flow_of_second_order_with_a_restart_has_no_adjoint() {
    assert!(Momentum::new(Waves::new(&THETA, 2), false, 2).adjoint().is_some());
    let mut flow = Momentum::new(Waves::new(&THETA, 2), true, 2);
    assert!(flow.adjoint().is_none());
    let mut z_bar = Mat::zeros(2 * DIM, 1);
    let path = Path {
        sample: 0,
        z0: &[0.0; 2 * DIM],
        steps: &[],
    };
    let how = Discrete::new(Rule::SemiImplicit);
    let refused = pull_back(&mut flow, &how, &[path], z_bar.as_mut(), &mut [0.0; PARAMS]);
    assert!(refused.is_err_and(|error| error.0.contains("cannot be differentiated")));
}

/// The exact gradient for one sample, by many small steps.
fn fine(setting: &Setting, t_end: f64) -> (Mat<f64>, Mat<f64>, Vec<f64>) {
    let h = t_end / 4000.0;
    let steps = vec![(0..4000).map(|i| Step { t: h * f64::from(i), h }).collect::<Vec<_>>()];
    let z0 = setting.starts(1);
    let ends = setting.replay(&THETA, &z0, &steps);
    let (z_bar, params_bar, _) = setting.gradient(&Discrete::new(setting.rule), &z0, &steps);
    (ends, z_bar, params_bar)
}

fn relative(a: &[f64], b: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

#[test]
fn the_adjoint_of_each_of_diffsols_methods_is_right_to_its_tolerance_for_both_orders() {
    for (name, second_order) in [("rk4", false), ("rk4 of second order", true)] {
        let mut settings = settings();
        let setting = settings.iter_mut().find(|setting| setting.name == name);
        let setting = setting.expect("it is in the list");
        if second_order {
            // With a rate that decays esdirk34 itself goes astray from the singular start, whatever the tolerance.
            setting.decay = 0.0;
        }
        let (ends, z_bar, params_bar) = fine(setting, 6.0);
        let z0 = setting.starts(1);
        for scheme in Scheme::ALL {
            for (rtol, most) in [(1e-5, 3e-4), (1e-8, 3e-6)] {
                let how = Integration {
                    scheme,
                    tolerance: Tolerance {
                        rtol,
                        atol: 1e-2 * rtol,
                    },
                    curvature: Curvature::Exact,
                    stop: &[],
                    t_end: 6.0,
                    max_steps: 100_000,
                    at: &[],
                };
                let mut flow = setting.flow(&THETA, 1);
                let (_, bar) = loss(&ends);
                let (mut z, mut params) = (bar.col_as_slice(0).to_vec(), vec![0.0; PARAMS]);
                let start = (0, z0.col_as_slice(0));
                let outcome = diffsol::adjoint::pull_back(&mut *flow, &how, 1, start, &mut z, &mut params);
                let outcome = outcome.expect("the flow never breaks down");
                assert_eq!(
                    outcome.failed, None,
                    "{scheme:?} at {rtol:e}, second order {second_order}"
                );
                // A velocity of 0 at the start is no choice: its derivative is not asked for.
                let apart = relative(&z[..DIM], &z_bar.col_as_slice(0)[..DIM]);
                let params_apart = relative(&params, &params_bar);
                println!(
                    "{scheme:?} at {rtol:e}, second order {second_order}: {apart:.1e} {params_apart:.1e}, {} products",
                    outcome.work.hvps
                );
                assert!(apart < most && params_apart < most);
            }
        }
    }
}
