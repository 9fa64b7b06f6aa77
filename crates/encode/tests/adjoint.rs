//! The adjoint gradient against central differences of the whole encode-then-loss map, and what it leaves untouched.

use faer::{Mat, Side};
use gfe_encode::train::{AdjointError, adjoint, encode_recording};
use gfe_encode::{
    Amd, Begin, Encoded, Encoding, ErrorControl, GradientFlow, Order, Ptc, Rate, Samples, Solver, Steps, Trace, encode,
};
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, LossKind, Output, SecondOrder, Seeds, Tangent, Taped,
    Targets, Trainable,
};
use gfe_ode::adjoint::{Path, Rule, Step, replay};
use gfe_ode::control::{Decrease, Grid};
use gfe_ode::diffsol::Scheme;
use gfe_ode::explicit::{EULER, RK4, TSIT5};
use gfe_ode::{Curvature, Flow, Lanewise, Momentum, Point, Status, Tolerance, Work};

const VALUES: usize = 7;
const LATENT: usize = 2;
const SAMPLES: usize = 5;

fn dense(activation: Activation) -> Dense {
    let config = DenseConfig {
        decoder: DenseKind::Dense,
        latent: LATENT,
        layers: vec![5, VALUES],
        activation,
        output: Output::Values,
    };
    Dense::new(config).expect("the sizes are valid")
}

fn weights(decoder: &dyn Decoder, size: f64) -> Vec<f64> {
    let mut params = vec![0.0; decoder.shape().params];
    let trainable = decoder.trainable().expect("it has weights");
    trainable.init(3, &mut params).expect("weights can be had");
    params.iter_mut().for_each(|weight| *weight *= size);
    params
}

/// Data in [0, 1], weights of which some are 0, and latents.
struct Set {
    y: Mat<f64>,
    w: Option<Mat<f64>>,
    context: Option<Mat<f64>>,
    z0: Mat<f64>,
}

impl Set {
    fn new(samples: usize, weighted: bool) -> Self {
        let wave = |r: usize, b: usize| 0.5 + 0.5 * ((r * r + 3 * b) as f64).sin();
        Set {
            y: Mat::from_fn(VALUES, samples, wave),
            w: weighted.then(|| Mat::from_fn(VALUES, samples, |r, b| ((r + b) % 4) as f64)),
            context: None,
            z0: Mat::from_fn(LATENT, samples, |r, b| 0.3 * (r as f64) - 0.1 * (b as f64)),
        }
    }

    fn samples(&self) -> Samples<'_> {
        Samples {
            data: Targets {
                y: self.y.as_ref(),
                w: self.w.as_ref().map(Mat::as_ref),
            },
            context: self.context.as_ref().map(Mat::as_ref),
            z0: self.z0.as_ref(),
        }
    }
}

fn encoding(open: &(dyn Fn() -> Box<dyn Decoder> + Sync), solver: Solver, t_end: f64) -> Encoding<'_> {
    Encoding {
        open,
        loss: LossKind::Mse.loss(),
        order: Order::default(),
        rate: Rate::default(),
        common_z0: None,
        solver,
        t_end,
        gtol: 1e-12,
        max_steps: 100_000,
        lanes: 3,
        threads: 2,
        trace: Trace::None,
        reconstruction: false,
        starts: 1,
        begin: Begin::Z0,
        uncertainty: None,
    }
}

/// params_bar, z0_bar and the encoding.
struct Gradient {
    params_bar: Vec<f64>,
    z0_bar: Mat<f64>,
    encoded: Encoded,
}

fn gradient(how: &Encoding<'_>, params: &[f64], set: &Set, stride: u32) -> Gradient {
    let mut params_bar = vec![f64::NAN; params.len()];
    let mut z0_bar = Mat::full(LATENT, set.y.ncols(), f64::NAN);
    let to = Some(z0_bar.as_mut());
    let encoded = adjoint(how, params, set.samples(), stride, &mut params_bar, to).expect("there is an adjoint");
    Gradient {
        params_bar,
        z0_bar,
        encoded,
    }
}

fn norm(v: impl Iterator<Item = f64>) -> f64 {
    v.map(|v| v * v).sum::<f64>().sqrt()
}

/// |a - b| / |b|.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    norm(a.iter().zip(b).map(|(a, b)| a - b)) / norm(b.iter().copied())
}

/// Central differences of a sum over samples in every weight and every component of z0.
fn differences(params: &[f64], set: &Set, h: f64, map: impl Fn(&[f64], &Mat<f64>) -> f64) -> (Vec<f64>, Vec<f64>) {
    let weights = (0..params.len()).map(|i| {
        let at = |h: f64| {
            let mut params = params.to_vec();
            params[i] += h;
            map(&params, &set.z0)
        };
        (at(h) - at(-h)) / (2.0 * h)
    });
    let components = (0..set.z0.ncols()).flat_map(|b| (0..LATENT).map(move |r| (r, b)));
    let latents = components.map(|(r, b)| {
        let at = |h: f64| {
            let mut z0 = set.z0.clone();
            z0[(r, b)] += h;
            map(params, &z0)
        };
        (at(h) - at(-h)) / (2.0 * h)
    });
    (weights.collect(), latents.collect())
}

fn flat(columns: &Mat<f64>) -> Vec<f64> {
    (0..columns.ncols())
        .flat_map(|b| columns.col_as_slice(b).to_vec())
        .collect()
}

/// The sum of losses at the ends of the same steps taken again.
fn frozen(how: &Encoding<'_>, rule: Rule, (set, steps): (&Set, &[Vec<Step>]), params: &[f64], z0: &Mat<f64>) -> f64 {
    let (samples, data) = (set.y.ncols(), set.samples().data);
    let first = GradientFlow::new((how.open)(), params, (how.loss, &data), 0.0, samples).with_rate(how.rate);
    let mut flow: Box<dyn Flow> = match how.order {
        Order::Gradient => Box::new(first),
        Order::Nesterov { restart } => Box::new(Momentum::new(first, restart, samples)),
    };
    let dim = flow.dim();
    let start = |b: usize| (0..dim).map(|r| if r < LATENT { z0[(r, b)] } else { 0.0 }).collect();
    let starts: Vec<Vec<f64>> = (0..samples).map(start).collect();
    let paths: Vec<Path<'_>> = (0..samples)
        .map(|sample| Path {
            sample,
            z0: &starts[sample],
            steps: &steps[sample],
        })
        .collect();
    let mut ends = Mat::zeros(dim, samples);
    replay(&mut *flow, rule, &paths, ends.as_mut()).expect("the decoder works");
    let z = ends.as_ref().subrows(0, LATENT);
    losses(how, params, z, data).iter().sum()
}

fn losses(how: &Encoding<'_>, params: &[f64], z: Cols<'_>, data: Targets<'_>) -> Vec<f64> {
    let decoder = (how.open)();
    let samples = z.ncols();
    let mut x = Mat::zeros(VALUES, samples);
    let mut tape = Mat::zeros(decoder.tape_len(), samples);
    let mut scratch = vec![0.0; decoder.scratch_len(samples)];
    let context = Mat::zeros(decoder.shape().context, samples);
    let at = At {
        params,
        version: 0,
        z,
        context: context.as_ref(),
    };
    decoder
        .forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
        .expect("the decoder works");
    let mut value = vec![0.0; samples];
    how.loss.eval(x.as_ref(), data, &mut value, None);
    value
}

fn explicit() -> Vec<(&'static str, Solver, Order, Rule)> {
    let steps = |steps| Steps {
        steps,
        grid: Grid::Logarithmic { base: 8.0 },
    };
    let amd = |decrease: Decrease| {
        Solver::Amd(Amd {
            decrease,
            loss_slope_tol: 1e-12,
            ..Amd::default()
        })
    };
    let plain = Decrease::default();
    // No step passes the test: time runs, and the code hardly moves.
    let forced = Decrease {
        armijo: 1e9,
        max_backtracks: 2,
        fallback_dt: 1.5,
        ..plain
    };
    let (first, second) = (Order::Gradient, Order::Nesterov { restart: false });
    let rk = Rule::RungeKutta;
    let tolerance = Tolerance { rtol: 1e-4, atol: 1e-6 };
    vec![
        ("euler", Solver::Euler(steps(40)), first, rk(&EULER)),
        ("rk4", Solver::Rk4(steps(15)), first, rk(&RK4)),
        ("amd", amd(plain), first, rk(&EULER)),
        ("amd, forced", amd(forced), first, rk(&EULER)),
        ("tsit5", Solver::Tsit5(tolerance), first, rk(&TSIT5)),
        ("euler, nesterov", Solver::Euler(steps(60)), second, rk(&EULER)),
        ("rk4, nesterov", Solver::Rk4(steps(30)), second, rk(&RK4)),
        ("amd, nesterov", amd(plain), second, Rule::SemiImplicit),
        ("amd, nesterov, forced", amd(forced), second, Rule::SemiImplicit),
        ("tsit5, nesterov", Solver::Tsit5(tolerance), second, rk(&TSIT5)),
    ]
}

#[test]
fn the_adjoint_is_the_derivative_of_encoding_with_frozen_steps_for_every_explicit_solver_flow_and_loss() {
    // Long enough for all kinds of steps, short enough that z0 still matters.
    let t_end = 12.0;
    let decay = Rate::ExpDecay { alpha0: 1.5, t_end };
    for (name, solver, order, rule) in explicit() {
        for (kind, weighted, rate, activation) in [
            (LossKind::Mse, false, Rate::default(), Activation::Tanh),
            (LossKind::Bce, false, decay, Activation::Elu),
            (LossKind::Mse, true, decay, Activation::Elu),
            (LossKind::Bce, true, Rate::default(), Activation::Tanh),
        ] {
            let open = || -> Box<dyn Decoder> { Box::new(dense(activation)) };
            let params = weights(&*open(), 1.5);
            let set = Set::new(SAMPLES, weighted);
            let how = Encoding {
                loss: kind.loss(),
                order,
                rate,
                ..encoding(&open, solver, t_end)
            };
            let found = gradient(&how, &params, &set, 1);
            let (encoded, steps) = encode_recording(&how, &params, set.samples()).expect("the decoder works");
            let total: f64 = encoded.records.iter().map(|record| record.loss).sum();
            let again = frozen(&how, rule, (&set, &steps), &params, &set.z0);
            assert!((total - again).abs() < 1e-14 * total, "{name}: {total} {again}");
            if name.contains("forced") {
                assert!(encoded.records.iter().all(|record| record.work.forced > 5));
            }
            // Central differences of step 1e-5: truncation of 1e-10 and rounding of 1e-11. The second derivative of elu jumps at
            // 0, and one of the thousands of states on the way may lie within a step of that: a smaller one, rounding of 1e-9.
            let h = if activation == Activation::Elu { 3e-7 } else { 1e-5 };
            let map = |params: &[f64], z0: &Mat<f64>| frozen(&how, rule, (&set, &steps), params, z0);
            let (weights, latents) = differences(&params, &set, h, map);
            let (weights, latents) = (
                apart(&found.params_bar, &weights),
                apart(&flat(&found.z0_bar), &latents),
            );
            println!("{name}, {kind:?}, weights {weighted}: {weights:.1e} {latents:.1e}");
            assert!(
                weights < 1e-6 && latents < 1e-6,
                "{name}, {kind:?}: {weights:e} {latents:e}"
            );
        }
    }
}

#[test]
fn the_adjoint_of_diffsols_methods_is_the_derivative_of_encoding_to_1e_4() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(Activation::Tanh)) };
    let params = weights(&*open(), 1.5);
    let set = Set::new(3, true);
    for order in [Order::Gradient, Order::Nesterov { restart: false }] {
        for (scheme, rtol) in [
            (Scheme::Bdf, 1e-10),
            (Scheme::Tsit45, 1e-10),
            (Scheme::Esdirk34, 1e-10),
            (Scheme::TrBdf2, 1e-7),
        ] {
            let solver = Solver::ErrorControl(ErrorControl {
                scheme,
                tolerance: Tolerance { rtol, atol: rtol },
                curvature: Curvature::Exact,
            });
            let how = Encoding {
                order,
                loss: LossKind::Bce.loss(),
                ..encoding(&open, solver, 20.0)
            };
            let found = gradient(&how, &params, &set, 1);
            let map = |params: &[f64], z0: &Mat<f64>| {
                let samples = Samples {
                    z0: z0.as_ref(),
                    ..set.samples()
                };
                let encoded = encode(&how, params, samples).expect("the decoder works");
                encoded.records.iter().map(|record| record.loss).sum()
            };
            // Step 1e-3: truncation of 1e-6; the noise of the tolerance a thousandfold.
            let (weights, latents) = differences(&params, &set, 1e-3, map);
            let (weights, latents) = (
                apart(&found.params_bar, &weights),
                apart(&flat(&found.z0_bar), &latents),
            );
            println!("{scheme:?}, {order:?}: {weights:.1e} {latents:.1e}");
            assert!(
                weights < 1e-4 && latents < 1e-4,
                "{scheme:?}, {order:?}: {weights:e} {latents:e}"
            );
        }
    }
}

/// dl/dtheta at the codes, summed over samples.
fn approximate(how: &Encoding<'_>, params: &[f64], set: &Set, z: &Mat<f64>) -> Vec<f64> {
    let decoder = (how.open)();
    let samples = set.y.ncols();
    let (mut x, mut x_bar) = (Mat::zeros(VALUES, samples), Mat::zeros(VALUES, samples));
    let mut tape = Mat::zeros(decoder.tape_len(), samples);
    let mut scratch = vec![0.0; decoder.scratch_len(samples)];
    let context = Mat::zeros(0, samples);
    let at = At {
        params,
        version: 0,
        z: z.as_ref(),
        context: context.as_ref(),
    };
    decoder
        .forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
        .expect("the decoder works");
    how.loss.eval(
        x.as_ref(),
        set.samples().data,
        &mut vec![0.0; samples],
        Some(x_bar.as_mut()),
    );
    let mut params_bar = vec![0.0; params.len()];
    let taped = Taped {
        at,
        tape: tape.as_ref(),
    };
    let trainable = decoder.trainable().expect("it has weights");
    trainable
        .params_vjp(taped, x_bar.as_ref(), &mut params_bar, &mut scratch)
        .expect("the decoder works");
    params_bar
}

/// The largest condition number of H over samples.
fn condition(how: &Encoding<'_>, params: &[f64], set: &Set, z: &Mat<f64>) -> f64 {
    let (samples, data) = (set.y.ncols(), set.samples().data);
    let mut flow = GradientFlow::new((how.open)(), params, (how.loss, &data), 0.0, samples);
    (0..samples).for_each(|b| flow.admit(b, b, z.col_as_slice(b)));
    let (lanes, t): (Vec<usize>, Vec<f64>) = ((0..samples).collect(), vec![0.0; samples]);
    let at = Point {
        lanes: &lanes,
        t: &t,
        z: z.as_ref(),
    };
    let mut blocks = vec![0.0; samples * LATENT * LATENT];
    flow.jacobian(at, Curvature::Exact, &mut blocks, &mut vec![Work::default(); samples])
        .expect("the decoder works");
    let of = |block: &[f64]| {
        let h = Mat::from_fn(LATENT, LATENT, |r, c| -block[c * LATENT + r]);
        let values = h.self_adjoint_eigenvalues(Side::Lower).expect("it is finite");
        // Infinite where it is no minimum.
        values[LATENT - 1] / values[0].max(0.0)
    };
    blocks.chunks(LATENT * LATENT).map(of).fold(0.0, f64::max)
}

#[test]
fn at_a_steady_state_the_approximate_gradient_is_the_adjoint() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(Activation::Tanh)) };
    let params = weights(&*open(), 1.0);
    let set = Set::new(SAMPLES, false);
    let of = |t_end: f64| {
        let steps = Steps {
            steps: 2 * t_end as u32,
            grid: Grid::Uniform,
        };
        let how = encoding(&open, Solver::Euler(steps), t_end);
        let found = gradient(&how, &params, &set, 1);
        let cond = condition(&how, &params, &set, &found.encoded.z);
        let approximate = approximate(&how, &params, &set, &found.encoded.z);
        (
            apart(&approximate, &found.params_bar),
            cond,
            norm(flat(&found.z0_bar).into_iter()),
        )
    };
    let (far, _, _) = of(10.0);
    let (at, cond, z0_bar) = of(4000.0);
    println!("{far:.1e} at 10, {at:.1e} at 4000, condition number {cond:.1}, |z0_bar| {z0_bar:.1e}");
    assert!(cond <= 100.0, "{cond}");
    assert!(far > 1e-2 && at < 1e-6, "{far:e} {at:e}");
    // A steady state forgets where it came from.
    assert!(z0_bar < 1e-6, "{z0_bar:e}");
}

fn bits(gradient: &Gradient) -> (Vec<u64>, Vec<u64>, String) {
    let of = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect();
    (
        of(&gradient.params_bar),
        of(&flat(&gradient.z0_bar)),
        format!("{:?}", gradient.encoded.records),
    )
}

#[test]
fn the_gradient_has_the_same_bits_whatever_the_lanes_and_threads() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(Activation::Elu)) };
    let params = weights(&*open(), 1.5);
    // Six groups, the last of one sample: a column alone.
    let set = Set::new(41, true);
    for solver in [
        Solver::Tsit5(Tolerance { rtol: 1e-4, atol: 1e-6 }),
        Solver::Amd(Amd::default()),
        Solver::ErrorControl(ErrorControl {
            scheme: Scheme::Bdf,
            tolerance: Tolerance { rtol: 1e-4, atol: 1e-6 },
            curvature: Curvature::Exact,
        }),
    ] {
        let with = |lanes, threads| {
            let how = Encoding {
                lanes,
                threads,
                ..encoding(&open, solver, 30.0)
            };
            bits(&gradient(&how, &params, &set, 1))
        };
        let all = with(41, 1);
        for (lanes, threads) in [(1, 1), (5, 2), (7, 3)] {
            assert_eq!(with(lanes, threads), all, "{lanes} lanes, {threads} threads");
        }
    }
}

#[test]
fn a_datum_that_cannot_be_encoded_leaves_the_other_gradients_untouched() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(Activation::Tanh)) };
    let params = weights(&*open(), 1.5);
    let how = encoding(&open, Solver::Amd(Amd::default()), 30.0);
    let mut set = Set::new(SAMPLES, false);
    let last = SAMPLES - 1;
    set.y[(3, last)] = f64::NAN;
    let with = gradient(&how, &params, &set, 1);
    let others = Set::new(last, false);
    let without = gradient(&how, &params, &others, 1);
    assert_eq!(with.encoded.records[last].status, Status::BadInput);
    assert_eq!(with.z0_bar.col_as_slice(last), [0.0; LATENT]);
    assert_eq!(bits(&with).0, bits(&without).0);
    for b in 0..last {
        assert_eq!(with.z0_bar.col_as_slice(b), without.z0_bar.col_as_slice(b));
    }
}

/// How a decoder with a context fails where that is 1.
#[derive(Clone, Copy, PartialEq)]
enum Fails {
    /// NaN in the column of the second-order product.
    Column,
    /// An error for the whole call.
    Call,
}

/// A dense decoder that reads a context, or lacks abilities.
struct Fragile {
    dense: Dense,
    fails: Option<Fails>,
    trainable: bool,
    second_order: bool,
}

impl Fragile {
    fn boxed(fails: Option<Fails>) -> Box<dyn Decoder> {
        Box::new(Fragile {
            dense: dense(Activation::Tanh),
            fails,
            trainable: true,
            second_order: true,
        })
    }
}

impl Decoder for Fragile {
    fn shape(&self) -> DecoderShape {
        DecoderShape {
            context: usize::from(self.fails.is_some()),
            ..self.dense.shape()
        }
    }

    fn tape_len(&self) -> usize {
        self.dense.tape_len()
    }

    fn scratch_len(&self, columns: usize) -> usize {
        self.dense.scratch_len(columns)
    }

    fn forward(&self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>, scratch: &mut [f64]) -> Result<(), DecodeError> {
        self.dense.forward(at, x, tape, scratch)
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        z_bar: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        self.dense.vjp(taped, x_bar, z_bar, scratch)
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        self.dense.tangent()
    }

    fn trainable(&self) -> Option<&dyn Trainable> {
        self.trainable.then_some(&self.dense as &dyn Trainable)
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        self.second_order.then_some(self as &dyn SecondOrder)
    }
}

impl SecondOrder for Fragile {
    fn hvp(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        mut z_bar_dot: ColsMut<'_>,
        params_bar_dot: Option<&mut [f64]>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let context = taped.at.context;
        let broken: Vec<usize> = match self.fails {
            Some(_) => (0..context.ncols()).filter(|&b| context[(0, b)] == 1.0).collect(),
            None => Vec::new(),
        };
        if !broken.is_empty() && self.fails == Some(Fails::Call) {
            return Err(DecodeError::Failed("no second order here".into()));
        }
        self.dense
            .hvp(taped, seeds, z_bar_dot.as_mut(), params_bar_dot, scratch)?;
        for b in broken {
            z_bar_dot.as_mut().col_mut(b).fill(f64::NAN);
        }
        Ok(())
    }
}

#[test]
fn a_sample_whose_adjoint_fails_is_told_and_leaves_the_other_gradients_untouched() {
    let plain = || Fragile::boxed(None);
    let params = weights(&*plain(), 1.5);
    let bdf = Solver::ErrorControl(ErrorControl {
        scheme: Scheme::Bdf,
        tolerance: Tolerance { rtol: 1e-5, atol: 1e-7 },
        curvature: Curvature::GaussNewton,
    });
    for solver in [Solver::Amd(Amd::default()), bdf] {
        let last = SAMPLES - 1;
        let others = Set::new(last, false);
        let without = gradient(&encoding(&plain, solver, 30.0), &params, &others, 1);
        for fails in [Fails::Column, Fails::Call] {
            let open = || Fragile::boxed(Some(fails));
            let how = encoding(&open, solver, 30.0);
            let mut set = Set::new(SAMPLES, false);
            set.context = Some(Mat::from_fn(1, SAMPLES, |_, b| f64::from(u8::from(b == last))));
            let with = gradient(&how, &params, &set, 1);
            let record = &with.encoded.records[last];
            assert!(record.loss.is_nan() && !record.status.is_success() && record.message.is_some());
            assert_eq!(with.z0_bar.col_as_slice(last), [0.0; LATENT]);
            assert_eq!(bits(&with).0, bits(&without).0);
            for b in 0..last {
                assert!(with.encoded.records[b].loss.is_finite());
                assert_eq!(with.z0_bar.col_as_slice(b), without.z0_bar.col_as_slice(b));
            }
        }
    }
}

#[test]
fn the_work_of_the_adjoint_is_in_the_records() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(Activation::Tanh)) };
    let params = weights(&*open(), 1.5);
    let set = Set::new(SAMPLES, false);
    let steps = Steps {
        steps: 50,
        grid: Grid::Uniform,
    };
    let how = encoding(&open, Solver::Euler(steps), 20.0);
    let alone = encode(&how, &params, set.samples()).expect("the decoder works");
    let found = gradient(&how, &params, &set, 1);
    for (with, without) in found.encoded.records.iter().zip(&alone.records) {
        assert_eq!(with.work.hvps, without.work.hvps + 50);
        assert_eq!(with.work.jvps, without.work.jvps + 50);
        // 49 steps again, a pass at each of 50 states, and one at the end.
        assert_eq!(with.work.evaluations, without.work.evaluations + 49 + 50 + 1);
        assert_eq!(with.work.vjps, without.work.vjps + 49 + 1);
        assert_eq!(with.work.steps, without.work.steps);
    }
}

#[test]
fn a_stride_changes_the_weights_part_alone_and_a_little() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(Activation::Tanh)) };
    let params = weights(&*open(), 1.5);
    let set = Set::new(SAMPLES, false);
    let bdf = Solver::ErrorControl(ErrorControl {
        scheme: Scheme::Bdf,
        tolerance: Tolerance { rtol: 1e-6, atol: 1e-8 },
        curvature: Curvature::Exact,
    });
    let steps = Steps {
        steps: 300,
        grid: Grid::Logarithmic { base: 20.0 },
    };
    for solver in [Solver::Euler(steps), bdf] {
        let how = encoding(&open, solver, 20.0);
        let (exact, strided) = (gradient(&how, &params, &set, 1), gradient(&how, &params, &set, 4));
        assert!(apart(&flat(&strided.z0_bar), &flat(&exact.z0_bar)) < 1e-12);
        let error = apart(&strided.params_bar, &exact.params_bar);
        println!("{error:.1e}");
        assert!(error > 0.0 && error < 1e-2, "{error}");
    }
}

#[test]
fn what_has_no_adjoint_is_refused_with_the_option_to_change() {
    let plain = || Fragile::boxed(None);
    let frozen = || -> Box<dyn Decoder> {
        Box::new(Fragile {
            trainable: false,
            dense: dense(Activation::Tanh),
            fails: None,
            second_order: true,
        })
    };
    let first_order = || -> Box<dyn Decoder> {
        Box::new(Fragile {
            second_order: false,
            dense: dense(Activation::Tanh),
            fails: None,
            trainable: true,
        })
    };
    let params = weights(&*plain(), 1.5);
    let set = Set::new(2, false);
    let amd = Solver::Amd(Amd::default());
    let refused = |how: &Encoding<'_>| {
        let mut params_bar = vec![0.0; params.len()];
        adjoint(how, &params, set.samples(), 1, &mut params_bar, None).expect_err("there is none")
    };
    let ptc = encoding(&plain, Solver::Ptc(Ptc::default()), 1e3);
    let restart = Encoding {
        order: Order::Nesterov { restart: true },
        ..encoding(&plain, amd, 10.0)
    };
    let starts = Encoding {
        starts: 3,
        ..encoding(&plain, amd, 10.0)
    };
    for (error, option) in [
        (refused(&ptc), "implicit"),
        (refused(&restart), "restart = false"),
        (refused(&starts), "3 starts"),
        (refused(&encoding(&first_order, amd, 10.0)), "second-order products"),
        (refused(&encoding(&frozen, amd, 10.0)), "cannot be trained"),
    ] {
        assert!(error.to_string().contains(option), "{error}");
    }
    assert!(matches!(refused(&ptc), AdjointError::Ptc));
}
