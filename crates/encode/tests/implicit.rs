//! The implicit gradient on small decoders: that of the whole map from weights over codes to an outer loss.

use faer::{Mat, MatRef};
use gfe_encode::train::{Codes, Implicit, ImplicitError, frozen, implicit};
use gfe_encode::{Amd, Encoding, Ptc, Samples, Solver, encode};
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, LossKind, Output, SecondOrder, Seeds, Tangent, Taped,
    Targets, Trainable,
};
use gfe_ode::Status;

const VALUES: usize = 8;
const LATENT: usize = 2;

/// A context for which [`Shifted`] has no second-order product.
const FAILS: f64 = 0.125;

fn dense(latent: usize) -> Dense {
    let config = DenseConfig {
        decoder: DenseKind::Dense,
        latent,
        layers: vec![6, VALUES],
        activation: Activation::Tanh,
        output: Output::Values,
    };
    Dense::new(config).expect("the sizes are valid")
}

/// A dense network at z + context, with the abilities that it is left.
struct Shifted {
    inner: Dense,
    context: usize,
    trainable: bool,
    second_order: bool,
}

impl Shifted {
    fn new(latent: usize, context: usize) -> Self {
        Shifted {
            inner: dense(latent),
            context,
            trainable: true,
            second_order: true,
        }
    }

    fn z(&self, at: At<'_>) -> Mat<f64> {
        Mat::from_fn(at.z.nrows(), at.z.ncols(), |r, b| {
            at.z[(r, b)] + if r < self.context { at.context[(r, b)] } else { 0.0 }
        })
    }
}

impl Decoder for Shifted {
    fn shape(&self) -> DecoderShape {
        DecoderShape {
            context: self.context,
            ..self.inner.shape()
        }
    }

    fn tape_len(&self) -> usize {
        self.inner.tape_len()
    }

    fn scratch_len(&self, columns: usize) -> usize {
        self.inner.scratch_len(columns)
    }

    fn forward(&self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>, scratch: &mut [f64]) -> Result<(), DecodeError> {
        let z = self.z(at);
        self.inner.forward(At { z: z.as_ref(), ..at }, x, tape, scratch)
    }

    fn vjp(&self, taped: Taped<'_>, x_bar: Cols<'_>, z_bar: ColsMut<'_>, s: &mut [f64]) -> Result<(), DecodeError> {
        let z = self.z(taped.at);
        let at = At {
            z: z.as_ref(),
            ..taped.at
        };
        self.inner.vjp(Taped { at, ..taped }, x_bar, z_bar, s)
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        Some(self)
    }

    fn trainable(&self) -> Option<&dyn Trainable> {
        self.trainable.then_some(self as &dyn Trainable)
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        self.second_order.then_some(self as &dyn SecondOrder)
    }
}

impl Tangent for Shifted {
    fn jvp(&self, taped: Taped<'_>, z_dot: Cols<'_>, x_dot: ColsMut<'_>, s: &mut [f64]) -> Result<(), DecodeError> {
        let z = self.z(taped.at);
        let at = At {
            z: z.as_ref(),
            ..taped.at
        };
        self.inner.jvp(Taped { at, ..taped }, z_dot, x_dot, s)
    }
}

impl Trainable for Shifted {
    fn init(&self, seed: u64, params: &mut [f64]) -> Result<(), DecodeError> {
        self.inner.init(seed, params)
    }

    fn params_vjp(&self, taped: Taped<'_>, x_bar: Cols<'_>, bar: &mut [f64], s: &mut [f64]) -> Result<(), DecodeError> {
        let z = self.z(taped.at);
        let at = At {
            z: z.as_ref(),
            ..taped.at
        };
        self.inner.params_vjp(Taped { at, ..taped }, x_bar, bar, s)
    }
}

impl SecondOrder for Shifted {
    fn hvp(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        z_bar_dot: ColsMut<'_>,
        params_bar_dot: Option<&mut [f64]>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        if taped
            .at
            .context
            .col_iter()
            .any(|known| known.iter().any(|&value| value == FAILS))
        {
            return Err(DecodeError::Discard("no second derivatives here".into()));
        }
        let z = self.z(taped.at);
        let at = At {
            z: z.as_ref(),
            ..taped.at
        };
        self.inner
            .hvp(Taped { at, ..taped }, seeds, z_bar_dot, params_bar_dot, scratch)
    }
}

type Open<'a> = &'a (dyn Fn() -> Box<dyn Decoder> + Sync);

/// To the last digit that can be had.
fn encoding(open: Open<'_>, loss: LossKind, t_end: f64) -> Encoding<'_> {
    Encoding {
        t_end,
        gtol: 1e-15,
        lanes: 2,
        threads: 2,
        ..Encoding::new(
            open,
            loss.loss(),
            Solver::Ptc(Ptc {
                edm_tol: 0.0,
                exact: true,
                ..Ptc::default()
            }),
        )
    }
}

/// What a problem is made of, each a column per sample.
#[derive(Clone)]
struct Problem {
    y: Mat<f64>,
    w: Mat<f64>,
    context: Option<Mat<f64>>,
    z0: Mat<f64>,
    outer: Mat<f64>,
    outer_w: Option<Mat<f64>>,
}

impl Problem {
    /// Data that the network has near codes of about 1, so that minima lie there at any horizon, and that are no exact
    /// fit; every other value is seen, and the outer data are all of them.
    fn new(loss: LossKind, samples: usize) -> Self {
        let decoder = dense(LATENT);
        let params = initial(&decoder);
        let width = samples.max(2);
        let z = Mat::from_fn(LATENT, width, |r, b| (1.7 * r as f64 + 0.9 * b as f64).cos());
        let (mut x, mut tape) = (Mat::zeros(VALUES, width), Mat::zeros(decoder.tape_len(), width));
        let at = At {
            params: &params,
            version: 0,
            z: z.as_ref(),
            context: MatRef::from_column_major_slice(&[], 0, width),
        };
        let mut scratch = vec![0.0; decoder.scratch_len(width)];
        decoder
            .forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
            .expect("the decoder works");
        let y = Mat::from_fn(VALUES, samples, |i, b| {
            loss.loss()
                .data_units(x[(i, b)] + 0.1 * (1.3 * i as f64 + 2.1 * b as f64).sin())
        });
        Problem {
            w: Mat::from_fn(VALUES, samples, |i, _| ((i + 1) % 2) as f64),
            context: None,
            z0: Mat::from_fn(LATENT, samples, |r, b| 0.2 * r as f64 - 0.1 * b as f64),
            outer: y.clone(),
            outer_w: None,
            y,
        }
    }

    fn samples(&self) -> Samples<'_> {
        Samples {
            data: Targets {
                y: self.y.as_ref(),
                w: Some(self.w.as_ref()),
            },
            context: self.context.as_ref().map(Mat::as_ref),
            z0: self.z0.as_ref(),
        }
    }

    fn targets(&self) -> Targets<'_> {
        Targets {
            y: self.outer.as_ref(),
            w: self.outer_w.as_ref().map(Mat::as_ref),
        }
    }

    /// The gradients in the weights and in z0.
    fn gradient(&self, how: &Encoding<'_>, params: &[f64]) -> (Implicit, Vec<f64>, Mat<f64>) {
        let mut params_bar = vec![f64::NAN; params.len()];
        let mut z0_bar = Mat::full(self.z0.nrows(), self.z0.ncols(), f64::NAN);
        let to = Some(z0_bar.as_mut());
        let result = implicit(how, params, self.samples(), self.targets(), &mut params_bar, to);
        (result.expect("the decoder has all products"), params_bar, z0_bar)
    }

    /// The outer loss after the encoder's own solve, summed over the samples.
    fn solve_then_loss(&self, how: &Encoding<'_>, params: &[f64]) -> f64 {
        let (count, decoder) = (self.y.ncols(), (how.open)());
        let encoded = encode(how, params, self.samples()).expect("the decoder works");
        let context = self.context.clone().unwrap_or_else(|| Mat::zeros(0, count));
        let at = At {
            params,
            version: 0,
            z: encoded.z.as_ref(),
            context: context.as_ref(),
        };
        let (mut x, mut tape) = (Mat::zeros(VALUES, count), Mat::zeros(decoder.tape_len(), count));
        let mut scratch = vec![0.0; decoder.scratch_len(count)];
        decoder
            .forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
            .expect("the decoder works");
        let mut value = vec![0.0; count];
        how.loss.eval(x.as_ref(), self.targets(), &mut value, None);
        value.iter().sum()
    }
}

/// Central difference of fourth order.
fn difference(h: f64, at: impl Fn(f64) -> f64) -> f64 {
    (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
}

fn initial(decoder: &dyn Decoder) -> Vec<f64> {
    let mut params = vec![0.0; decoder.shape().params];
    let trainable = decoder.trainable().expect("it has weights");
    trainable.init(3, &mut params).expect("weights can be had");
    // Twice the usual size: the network bends within reach of the data.
    params.iter_mut().for_each(|p| *p *= 2.0);
    params
}

fn norm(of: &[f64]) -> f64 {
    of.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn apart(a: &[f64], b: &[f64]) -> f64 {
    let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    norm(&difference) / norm(b)
}

/// Step of the differences in weights: the encoder's own rounding leaves a loss right to 1e-12 or so.
const STEP: f64 = 1e-3;

/// That of the differences in z0, to which codes answer by their part of 1/tau alone.
fn z0_step(t_end: f64) -> f64 {
    if t_end <= 100.0 { 1e-2 } else { 0.3 }
}

/// Compares both gradients with differences, to 1e-6 relative.
fn compare(problem: &Problem, how: &Encoding<'_>, name: &str) {
    let params = initial(&*(how.open)());
    let (result, params_bar, z0_bar) = problem.gradient(how, &params);
    assert_eq!(result.usable(), problem.y.ncols(), "{name}");
    let total: f64 = result.outer_loss.iter().sum();
    let expected = problem.solve_then_loss(how, &params);
    assert!(
        (total - expected).abs() <= 1e-12 * expected.abs(),
        "{name}: {total} {expected}"
    );
    let differences: Vec<f64> = (0..params.len())
        .map(|i| {
            difference(STEP, |h| {
                let mut params = params.clone();
                params[i] += h;
                problem.solve_then_loss(how, &params)
            })
        })
        .collect();
    let error = apart(&params_bar, &differences);
    println!("{name}: |dL/dtheta| {:.3e}, off by {error:.1e}", norm(&params_bar));
    assert!(error <= 1e-6, "{name}: {error:e}");
    let mut worst: f64 = 0.0;
    for b in 0..z0_bar.ncols() {
        let differences: Vec<f64> = (0..LATENT)
            .map(|r| {
                difference(z0_step(how.t_end), |h| {
                    let mut problem = problem.clone();
                    problem.z0[(r, b)] += h;
                    problem.solve_then_loss(how, &params)
                })
            })
            .collect();
        if how.t_end.is_infinite() {
            assert!(z0_bar.col_as_slice(b).iter().all(|&bar| bar == 0.0), "{name}");
            // What is left is rounding.
            assert!(norm(&differences) <= 1e-9, "{name}: {differences:?}");
        } else {
            let error = apart(z0_bar.col_as_slice(b), &differences);
            // A difference is right to 1e-12 of a loss of 1, and z0_bar gets as small as 1/tau.
            assert!(
                error <= 1e-6 + 1e-11 / norm(&differences),
                "{name}, sample {b}: {error:e}"
            );
            worst = worst.max(error);
        }
    }
    println!("{name}: dL/dz0 off by {worst:.1e}");
}

#[test]
fn it_is_the_derivative_of_the_loss_of_the_whole_after_codes_from_half_of_it() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(LATENT)) };
    for loss in [LossKind::Mse, LossKind::Bce] {
        for t_end in [1e4, 50.0, f64::INFINITY] {
            let how = encoding(&open, loss, t_end);
            compare(&Problem::new(loss, 3), &how, &format!("{loss:?} at {t_end}"));
        }
    }
}

#[test]
fn it_is_the_derivative_for_weighted_outer_data_of_another_kind_and_for_a_context() {
    let open = || -> Box<dyn Decoder> { Box::new(Shifted::new(LATENT, 1)) };
    let mut problem = Problem::new(LossKind::Bce, 3);
    problem.context = Some(Mat::from_fn(1, 3, |_, b| 0.3 * b as f64 - 0.2));
    problem.outer = Mat::from_fn(VALUES, 3, |i, b| ((2 * i + b) % 3) as f64 / 2.0);
    problem.outer_w = Some(Mat::from_fn(VALUES, 3, |i, b| [2.5, 0.0, 0.7][(i + b) % 3]));
    compare(&problem, &encoding(&open, LossKind::Bce, 50.0), "weighted");
}

#[test]
fn a_single_sample_has_the_gradient_of_that_sample_alone() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(LATENT)) };
    compare(
        &Problem::new(LossKind::Mse, 1),
        &encoding(&open, LossKind::Mse, 50.0),
        "one",
    );
}

#[test]
fn where_the_outer_objective_is_the_inner_one_at_its_minimum_it_is_the_approximate_gradient() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(LATENT)) };
    let mut problem = Problem::new(LossKind::Mse, 4);
    problem.outer_w = Some(problem.w.clone());
    let how = encoding(&open, LossKind::Mse, f64::INFINITY);
    let decoder = dense(LATENT);
    let params = initial(&decoder);
    let (result, params_bar, _) = problem.gradient(&how, &params);
    let codes = Codes {
        z: result.encoded.z.as_ref(),
        context: None,
        usable: &[0, 1, 2, 3],
    };
    let mut approximate = vec![f64::NAN; params.len()];
    frozen(
        &decoder,
        &params,
        (how.loss, problem.targets()),
        codes,
        &mut approximate,
    )
    .expect("it can be trained");
    let error = apart(&params_bar, &approximate);
    println!("off by {error:e}");
    assert!(error <= 1e-11, "{error:e}");
    // With other outer data the two are not the same.
    problem.outer_w = None;
    let (_, params_bar, _) = problem.gradient(&how, &params);
    frozen(
        &decoder,
        &params,
        (how.loss, problem.targets()),
        codes,
        &mut approximate,
    )
    .expect("it can be trained");
    assert!(apart(&params_bar, &approximate) > 1e-2);
}

#[test]
fn at_a_loose_tolerance_corrections_bring_it_close_to_that_at_the_minimum() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(LATENT)) };
    let problem = Problem::new(LossKind::Bce, 4);
    let params = initial(&dense(LATENT));
    let tight = encoding(&open, LossKind::Bce, 50.0);
    let loose = Encoding { gtol: 1e-4, ..tight };
    let (_, exact, _) = problem.gradient(&tight, &params);
    let (result, params_bar, _) = problem.gradient(&loose, &params);
    let left = result.encoded.records.iter().map(|record| record.grad_norm);
    assert!(
        left.fold(0.0, f64::max) > 1e-5,
        "the codes are to be short of the minimum"
    );
    let error = apart(&params_bar, &exact);
    println!("off by {error:e}");
    assert!(error <= 1e-6, "{error:e}");
}

#[test]
fn a_sample_that_is_left_out_changes_no_others_contribution_and_its_record_says_why() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(LATENT)) };
    let how = encoding(&open, LossKind::Bce, f64::INFINITY);
    let params = initial(&dense(LATENT));
    let (_, expected, _) = Problem::new(LossKind::Bce, 3).gradient(&how, &params);
    let bits = |of: &[f64]| of.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let bad_inner = |problem: &mut Problem| problem.y[(2, 3)] = f64::NAN;
    let bad_outer = |problem: &mut Problem| problem.outer[(1, 3)] = 1.5;
    // One value of 0.5 does not determine two latents.
    let too_few = |problem: &mut Problem| {
        (0..VALUES).for_each(|i| problem.w[(i, 3)] = f64::from(u8::from(i == 0)));
    };
    type Spoil<'a> = &'a dyn Fn(&mut Problem);
    let cases: [(Spoil<'_>, Status, &str); 3] = [
        (&bad_inner, Status::BadInput, ""),
        (&bad_outer, Status::BadInput, "the outer objective: value 1 is 1.5"),
        (&too_few, Status::SolveFailed, "singular"),
    ];
    for (spoil, status, says) in cases {
        let mut problem = Problem::new(LossKind::Bce, 4);
        spoil(&mut problem);
        let (result, params_bar, z0_bar) = problem.gradient(&how, &params);
        let record = &result.encoded.records[3];
        assert_eq!(result.usable(), 3);
        assert!(result.outer_loss[3].is_nan());
        assert_eq!(record.status, status);
        assert!(
            record.message.as_deref().unwrap_or_default().contains(says),
            "{record:?}"
        );
        assert_eq!(bits(&params_bar), bits(&expected));
        assert!(z0_bar.col_as_slice(3).iter().all(|&bar| bar == 0.0));
    }
    let mut nothing = Problem::new(LossKind::Mse, 2);
    nothing.y.fill(f64::NAN);
    let (result, params_bar, _) = nothing.gradient(&how, &params);
    assert_eq!(result.usable(), 0);
    assert!(params_bar.iter().all(|&bar| bar == 0.0));
}

#[test]
fn a_sample_without_second_derivatives_is_left_out_and_the_decoders_reason_is_kept() {
    let open = || -> Box<dyn Decoder> { Box::new(Shifted::new(LATENT, 1)) };
    let how = encoding(&open, LossKind::Mse, 50.0);
    let params = initial(&dense(LATENT));
    let with = |context: &[f64]| {
        let mut problem = Problem::new(LossKind::Mse, context.len());
        problem.context = Some(Mat::from_fn(1, context.len(), |_, b| context[b]));
        problem.gradient(&how, &params)
    };
    let (result, params_bar, _) = with(&[0.2, -0.1, FAILS]);
    let record = &result.encoded.records[2];
    assert_eq!((result.usable(), record.status), (2, Status::DecoderFailed));
    assert_eq!(record.message.as_deref(), Some("no second derivatives here"));
    assert_eq!(params_bar, with(&[0.2, -0.1]).1);
}

#[test]
fn it_has_the_same_bits_whatever_the_lanes_and_threads() {
    let open = || -> Box<dyn Decoder> { Box::new(dense(LATENT)) };
    let params = initial(&dense(LATENT));
    let problem = Problem::new(LossKind::Bce, 11);
    let of = |lanes: usize, threads: usize| {
        let how = Encoding {
            lanes,
            threads,
            gtol: 1e-4,
            ..encoding(&open, LossKind::Bce, 50.0)
        };
        let (result, params_bar, z0_bar) = problem.gradient(&how, &params);
        let z0_bar = (0..11).flat_map(|b| z0_bar.col_as_slice(b).to_vec());
        let numbers = params_bar.into_iter().chain(z0_bar).chain(result.outer_loss);
        (
            numbers.map(f64::to_bits).collect::<Vec<_>>(),
            format!("{:?}", result.encoded.records),
        )
    };
    let all = of(11, 1);
    for (lanes, threads) in [(1, 1), (3, 2), (40, 3), (1, 11), (2, 40)] {
        assert!(of(lanes, threads) == all, "{lanes} lanes, {threads} threads");
    }
}

#[test]
fn what_it_cannot_do_it_says_before_it_encodes() {
    let problem = Problem::new(LossKind::Mse, 2);
    let ask = |open: Open<'_>, solver: Solver| {
        let params = vec![0.0; open().shape().params];
        let how = Encoding {
            solver,
            ..encoding(open, LossKind::Mse, 1e4)
        };
        let mut params_bar = vec![0.0; params.len()];
        implicit(
            &how,
            &params,
            problem.samples(),
            problem.targets(),
            &mut params_bar,
            None,
        )
        .map(|_| ())
    };
    let ptc = Solver::Ptc(Ptc::default());
    let whole = || -> Box<dyn Decoder> { Box::new(dense(LATENT)) };
    let frozen = || -> Box<dyn Decoder> {
        Box::new(Shifted {
            trainable: false,
            ..Shifted::new(LATENT, 0)
        })
    };
    let first_order = || -> Box<dyn Decoder> {
        Box::new(Shifted {
            second_order: false,
            ..Shifted::new(LATENT, 0)
        })
    };
    let long = || -> Box<dyn Decoder> { Box::new(dense(129)) };
    assert_eq!(
        ask(&whole, Solver::Amd(Amd::default())),
        Err(ImplicitError::NotPtc { solver: "amd" })
    );
    assert_eq!(ask(&frozen, ptc), Err(ImplicitError::NotTrainable));
    assert_eq!(ask(&first_order, ptc), Err(ImplicitError::NoSecondOrder));
    assert_eq!(ask(&long, ptc), Err(ImplicitError::TooLong { latent: 129 }));
}
