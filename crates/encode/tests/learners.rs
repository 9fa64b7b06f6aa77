//! Ways to find codes while training: each with the gradient of what it minimizes.

use faer::Mat;
use gfe_encode::train::{
    Event, Every, FlowLearning, FlowStart, Gradient, Learning, LearningRate, Length, Optimizer, Outer, State, Trainer,
    Training, encoder_codes, losses_at,
};
use gfe_encode::{Encoding, HeldOut, Ptc, Samples, Solver, Steps, encode};
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{Decoder, LossKind, Output, Targets};
use gfe_ode::control::Grid;

const VALUES: usize = 6;
const LATENT: usize = 2;
const SAMPLES: usize = 4;
const T_END: f64 = 50.0;

fn dense(latent: usize, layers: &[usize]) -> Dense {
    let config = DenseConfig {
        decoder: DenseKind::Dense,
        latent,
        layers: layers.to_vec(),
        activation: Activation::Tanh,
        output: Output::Values,
    };
    Dense::new(config).expect("the sizes are valid")
}

fn open() -> Box<dyn Decoder> {
    Box::new(dense(LATENT, &[5, VALUES]))
}

fn data() -> Mat<f64> {
    Mat::from_fn(VALUES, SAMPLES, |r, b| (0.7 * r as f64 + 1.3 * b as f64).sin())
}

fn samples<'a>(y: &'a Mat<f64>, z0: &'a Mat<f64>) -> Samples<'a> {
    Samples {
        data: Targets { y: y.as_ref(), w: None },
        context: None,
        z0: z0.as_ref(),
    }
}

fn encoding() -> Encoding<'static> {
    Encoding {
        common_z0: Some(&[0.0; LATENT]),
        t_end: T_END,
        gtol: 1e-11,
        lanes: 3,
        ..Encoding::new(
            &open,
            LossKind::Mse.loss(),
            Solver::Ptc(Ptc {
                edm_tol: 0.0,
                ..Ptc::default()
            }),
        )
    }
}

/// With decay 0 and learning_rate = eps = 1e9 a step of RMSprop is minus the gradient, to 1e-9 relative.
const PLAIN: Optimizer = Optimizer::RmsProp {
    learning_rate: 1e9,
    decay: 0.0,
    eps: 1e9,
};

fn training<'a>(decoder: &'a dyn Decoder, learning: Learning<'a>) -> Training<'a> {
    Training {
        encoding: encoding(),
        decoder,
        learning,
        visit_steps: None,
        optimizer: PLAIN,
        learning_rate: LearningRate::default(),
        clip_norm: None,
        batch_size: SAMPLES,
        length: Length::Epochs(1),
        seed: 3,
        validate_every: Every::Epochs(1),
        patience: None,
        held_out: None,
    }
}

/// The states before and after.
fn run(how: &Training<'_>, y: &Mat<f64>) -> (State, State) {
    let z0 = Mat::zeros(LATENT, y.ncols());
    let mut trainer = Trainer::new(how, samples(y, &z0), None).expect("the decoder can be trained");
    let start = trainer.state().clone();
    while !matches!(
        trainer.advance(&|| false).expect("training goes through"),
        Event::Finished
    ) {}
    (start, trainer.state().clone())
}

/// Every value's step against central differences of `objective`, of step 1e-4: truncation of 1e-8, rounding of 1e-12.
fn compare(start: &[f64], end: &[f64], objective: impl Fn(&[f64]) -> f64) {
    for i in 0..start.len() {
        let at = |h: f64| {
            let mut values = start.to_vec();
            values[i] += h;
            objective(&values)
        };
        let difference = (at(1e-4) - at(-1e-4)) / 2e-4;
        let gradient = start[i] - end[i];
        assert!(
            (gradient - difference).abs() < 1e-7,
            "value {i}: {gradient} {difference}"
        );
    }
}

fn split(values: &[f64]) -> (&[f64], &[f64]) {
    values.split_at(open().shape().params)
}

#[test]
fn a_learned_z0_follows_the_gradient_of_the_minimum() {
    let (decoder, y) = (open(), data());
    let learning = Learning::Flow(FlowLearning {
        start: FlowStart::Learned,
        ..FlowLearning::default()
    });
    let how = training(&*decoder, learning);
    let (start, end) = run(&how, &y);
    assert_eq!(split(&start.values).1, [0.0; LATENT]);
    compare(&start.values, &end.values, |values| {
        let (params, shared) = split(values);
        let z0 = Mat::from_fn(LATENT, SAMPLES, |r, _| shared[r]);
        let encoded = encode(&encoding(), params, samples(&y, &z0)).expect("the decoder works");
        let each = (0..SAMPLES).map(|b| {
            let apart = (0..LATENT)
                .map(|r| (encoded.z[(r, b)] - shared[r]).powi(2))
                .sum::<f64>();
            encoded.records[b].loss + apart / (2.0 * T_END)
        });
        each.sum::<f64>() / SAMPLES as f64
    });
}

#[test]
fn hidden_values_have_the_gradient_of_the_loss_of_all() {
    let (decoder, y) = (open(), data());
    let learning = Learning::Flow(FlowLearning {
        gradient: Gradient::Implicit,
        outer: Outer::Loss,
        hidden: Some(HeldOut { fraction: 0.5, seed: 5 }),
        ..FlowLearning::default()
    });
    let how = training(&*decoder, learning);
    let (start, end) = run(&how, &y);
    let mut w = Mat::zeros(VALUES, SAMPLES);
    for b in 0..SAMPLES {
        let mut seen = [false; VALUES];
        gfe_encode::seen_values(0.5, 5, b, None, &mut seen);
        (0..VALUES).for_each(|i| w[(i, b)] = f64::from(seen[i]));
    }
    compare(&start.values, &end.values, |params| {
        let z0 = Mat::zeros(LATENT, SAMPLES);
        let mut given = samples(&y, &z0);
        given.data.w = Some(w.as_ref());
        let encoded = encode(&encoding(), params, given).expect("the decoder works");
        let loss = LossKind::Mse.loss();
        let all = losses_at(&*open(), loss, params, samples(&y, &z0), encoded.z.as_ref()).expect("the decoder works");
        all.iter().sum::<f64>() / SAMPLES as f64
    });
}

#[test]
fn an_autoencoder_follows_the_gradient_of_its_own_reconstructions() {
    let (decoder, encoder, y) = (open(), dense(VALUES, &[4, LATENT]), data());
    let learning = Learning::Autoencoder {
        encoder: &encoder,
        judged_by_encoder: false,
    };
    let (start, end) = run(&training(&*decoder, learning), &y);
    compare(&start.values, &end.values, |values| {
        let (params, phi) = split(values);
        let z0 = Mat::zeros(LATENT, SAMPLES);
        let given = samples(&y, &z0);
        let z = encoder_codes(&encoder, phi, given.data).expect("the network works");
        let loss = LossKind::Mse.loss();
        let all = losses_at(&*open(), loss, params, given, z.as_ref()).expect("the decoder works");
        all.iter().sum::<f64>() / SAMPLES as f64
    });
}

#[test]
fn free_codes_follow_the_gradient_of_the_loss_and_the_horizons_term() {
    let (decoder, y) = (open(), data());
    let (start, end) = run(&training(&*decoder, Learning::AutoDecoder { optimizer: PLAIN }), &y);
    let flat = |state: &State| {
        let z = (0..SAMPLES).flat_map(|b| state.codes.z.col_as_slice(b).to_vec());
        [state.values.clone(), z.collect()].concat()
    };
    compare(&flat(&start), &flat(&end), |values| {
        let (params, z) = split(values);
        let z = Mat::from_fn(LATENT, SAMPLES, |r, b| z[b * LATENT + r]);
        let z0 = Mat::zeros(LATENT, SAMPLES);
        let loss = LossKind::Mse.loss();
        let all = losses_at(&*open(), loss, params, samples(&y, &z0), z.as_ref()).expect("the decoder works");
        let each = (0..SAMPLES).map(|b| all[b] + z.col(b).squared_norm_l2() / (2.0 * T_END));
        each.sum::<f64>() / SAMPLES as f64
    });
}

/// The codes after many visits by weights that do not move, and these weights.
fn visited(how: &mut Training<'_>, y: &Mat<f64>, visits: u32) -> (Mat<f64>, Vec<f64>) {
    how.optimizer = Optimizer::RmsProp {
        learning_rate: 1e-300,
        decay: 0.9,
        eps: 1e-6,
    };
    how.length = Length::Epochs(visits);
    let (first, last) = run(how, y);
    assert!(first.codes.z.col_as_slice(0).iter().all(|z| z.is_nan()));
    assert_eq!(first.values, last.values);
    (last.codes.z, last.values)
}

fn flow_from(start: FlowStart) -> Learning<'static> {
    Learning::Flow(FlowLearning {
        start,
        ..FlowLearning::default()
    })
}

#[test]
fn a_flow_that_continues_arrives_where_an_unbroken_one_does() {
    let (decoder, y) = (open(), data());
    let euler = |steps, t_end| Encoding {
        solver: Solver::Euler(Steps {
            steps,
            grid: Grid::Uniform,
        }),
        t_end,
        ..encoding()
    };
    let mut how = training(&*decoder, flow_from(FlowStart::Previous));
    how.encoding = euler(10, 1.0);
    let (z, params) = visited(&mut how, &y, 5);
    let z0 = Mat::zeros(LATENT, SAMPLES);
    let whole = encode(&euler(50, 5.0), &params, samples(&y, &z0)).expect("the decoder works");
    // The same steps, but for the rounding of their length.
    assert!((&z - &whole.z).norm_max() < 1e-13, "{}", (&z - &whole.z).norm_max());
}

/// Two steps of ptc at each visit.
#[test]
fn a_warm_start_arrives_at_the_minimum_that_the_horizon_ties_to_z0() {
    let (decoder, y) = (open(), data());
    let mut how = training(&*decoder, flow_from(FlowStart::Warm));
    how.visit_steps = Some(2);
    let (z, params) = visited(&mut how, &y, 60);
    let z0 = Mat::zeros(LATENT, SAMPLES);
    let whole = encode(&encoding(), &params, samples(&y, &z0)).expect("the decoder works");
    // Both have |grad| of 1e-11, and Hessians of at least 1/50.
    assert!((&z - &whole.z).norm_max() < 1e-8, "{}", (&z - &whole.z).norm_max());
}

#[test]
fn patience_ends_training_with_the_best_weights() {
    let (decoder, y) = (open(), data());
    let mut how = training(&*decoder, Learning::Flow(FlowLearning::default()));
    // Steps so long that the loss soon rises.
    how.optimizer = Optimizer::RmsProp {
        learning_rate: 0.05,
        decay: 0.9,
        eps: 1e-6,
    };
    (how.length, how.patience) = (Length::Epochs(1000), Some(3));
    let z0 = Mat::zeros(LATENT, SAMPLES);
    let rows = [0, 1, 2, 3];
    let held = gfe_encode::train::Validation {
        samples: samples(&y, &z0),
        rows: &rows,
    };
    let mut trainer = Trainer::new(&how, samples(&y, &z0), Some(held)).expect("the decoder can be trained");
    let mut losses = Vec::new();
    loop {
        match trainer.advance(&|| false).expect("training goes through") {
            Event::Record(record) => losses.push(record.validation.expect("every epoch has one").codes.loss()),
            Event::Finished => break,
            Event::Batch | Event::Stopped => {}
        }
    }
    let lowest = losses.iter().copied().fold(f64::INFINITY, f64::min);
    let at = losses
        .iter()
        .position(|loss| *loss == lowest)
        .expect("one is the lowest");
    assert!(losses.len() < 1000 && at + 4 == losses.len(), "{at} of {losses:?}");
    let encoded = encode(&encoding(), trainer.params(), samples(&y, &z0)).expect("the decoder works");
    let found = encoded.records.iter().map(|record| record.loss).sum::<f64>() / SAMPLES as f64;
    assert!((found - lowest).abs() < 1e-12, "{found} {lowest}");
}

#[test]
fn gradients_that_do_not_go_with_the_solver_are_refused() {
    let (decoder, y) = (open(), data());
    let z0 = Mat::zeros(LATENT, SAMPLES);
    let asked = |solver: Solver, learning: FlowLearning| {
        let mut how = training(&*decoder, Learning::Flow(learning));
        how.encoding.solver = solver;
        Trainer::new(&how, samples(&y, &z0), None)
            .err()
            .map(|error| error.to_string())
    };
    let ptc = || Solver::Ptc(Ptc::default());
    let amd = || Solver::Amd(gfe_encode::Amd::default());
    let plain = FlowLearning::default();
    let adjoint = Gradient::Adjoint { quadrature_stride: 1 };
    let of = |gradient, outer| FlowLearning {
        gradient,
        outer,
        ..plain
    };
    let starting = |start, gradient| FlowLearning {
        start,
        gradient,
        ..plain
    };
    for (solver, learning, words) in [
        (
            ptc(),
            of(adjoint, Outer::Objective),
            "take gradient implicit or approximate with ptc",
        ),
        (amd(), of(Gradient::Implicit, Outer::Loss), "take solver ptc"),
        (ptc(), of(Gradient::Approximate, Outer::Loss), "take gradient implicit"),
        (ptc(), of(Gradient::Implicit, Outer::Objective), "take outer loss"),
        (
            amd(),
            starting(FlowStart::Learned, Gradient::Approximate),
            "take gradient adjoint",
        ),
        (
            amd(),
            starting(FlowStart::Warm, Gradient::Approximate),
            "take start previous",
        ),
    ] {
        let told = asked(solver, learning).unwrap_or_else(|| panic!("{learning:?} is refused"));
        assert!(told.contains(words), "{told}");
    }
    assert_eq!(asked(ptc(), plain), None);
    assert_eq!(asked(amd(), of(adjoint, Outer::Objective)), None);
    assert_eq!(asked(amd(), starting(FlowStart::Learned, adjoint)), None);
}
