//! The derivative itself.

use crate::support::{LATENT, SAMPLES, Set, VALUES, apart, dense, encoding, flat, gradient, norm, weights};
use faer::{Mat, Side};
use gfe_encode::train::encode_recording;
use gfe_encode::{Amd, Encoding, ErrorControl, GradientFlow, Order, Rate, Samples, Solver, Steps, encode};
use gfe_model::dense::Activation;
use gfe_model::{At, Cols, Decoder, LossKind, Taped, Targets};
use gfe_ode::adjoint::{Path, Rule, Step, replay};
use gfe_ode::control::{Decrease, Grid};
use gfe_ode::diffsol::Scheme;
use gfe_ode::explicit::{EULER, RK4, TSIT5};
use gfe_ode::{Curvature, Flow, Lanewise, Momentum, Point, Tolerance, Work};

/// Central differences of a sum over samples in every `every`-th weight and every component of z0.
fn differences(
    params: &[f64],
    set: &Set,
    (h, every): (f64, usize),
    map: impl Fn(&[f64], &Mat<f64>) -> f64,
) -> (Vec<f64>, Vec<f64>) {
    let weights = (0..params.len()).step_by(every).map(|i| {
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

/// The ends of the same steps taken again, `[d, samples]`.
fn ends(how: &Encoding<'_>, rule: Rule, (set, steps): (&Set, &[Vec<Step>]), params: &[f64], z0: &Mat<f64>) -> Mat<f64> {
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
    ends.as_ref().subrows(0, LATENT).to_owned()
}

/// The sum of the losses there.
fn frozen(how: &Encoding<'_>, rule: Rule, of: (&Set, &[Vec<Step>]), params: &[f64], z0: &Mat<f64>) -> f64 {
    let z = ends(how, rule, of, params, z0);
    losses(how, params, z.as_ref(), of.0.samples().data).iter().sum()
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
            let again = ends(&how, rule, (&set, &steps), &params, &set.z0);
            assert_eq!(encoded.z, again, "{name}: the same steps end in the same bits");
            if name.contains("forced") {
                assert!(encoded.records.iter().all(|record| record.work.forced > 5));
            }
            // Central differences of step 1e-5: truncation of 1e-10 and rounding of 1e-11. The second derivative of elu jumps at
            // 0, and one of the thousands of states on the way may lie within a step of that: a smaller one, rounding of 1e-9.
            let h = if activation == Activation::Elu { 3e-7 } else { 1e-5 };
            let map = |params: &[f64], z0: &Mat<f64>| frozen(&how, rule, (&set, &steps), params, z0);
            let (weights, latents) = differences(&params, &set, (h, 1), map);
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
            (Scheme::TrBdf2, 1e-8),
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
            let some: Vec<f64> = found.params_bar.iter().copied().step_by(4).collect();
            // Step 1e-3: truncation of 1e-6; the noise of the tolerance a thousandfold.
            let (weights, latents) = differences(&params, &set, (1e-3, 4), map);
            let (weights, latents) = (apart(&some, &weights), apart(&flat(&found.z0_bar), &latents));
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
