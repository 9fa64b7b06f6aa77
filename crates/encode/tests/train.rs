//! Training on a small decoder: its gradient is that of the whole encode-then-loss map.

use faer::Mat;
use gfe_encode::train::{Event, Optimizer, Tally, Training, train};
use gfe_encode::{Begin, Encoding, Order, Ptc, Rate, Samples, Solver, Trace, encode};
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{Decoder, LossKind, Output, Targets};

const VALUES: usize = 6;
const LATENT: usize = 2;

fn decoder() -> Dense {
    let config = DenseConfig {
        decoder: DenseKind::Dense,
        latent: LATENT,
        layers: vec![5, VALUES],
        activation: Activation::Tanh,
        output: Output::Values,
    };
    Dense::new(config).expect("the sizes are valid")
}

/// One pass over the data; with decay 0 and learning_rate = eps = 1e9 a step of RMSprop is minus the gradient, to 1e-9
/// relative.
fn one_plain_step<'a>(open: &'a (dyn Fn() -> Box<dyn Decoder> + Sync), t_end: f64) -> Training<'a> {
    Training {
        encoding: Encoding {
            open,
            loss: LossKind::Mse.loss(),
            order: Order::default(),
            rate: Rate::default(),
            common_z0: None,
            solver: Solver::Ptc(Ptc {
                edm_tol: 0.0,
                ..Ptc::default()
            }),
            t_end,
            gtol: 1e-11,
            max_steps: 1000,
            lanes: 3,
            threads: 2,
            trace: Trace::None,
            reconstruction: false,
            starts: 1,
            begin: Begin::Z0,
            uncertainty: None,
        },
        optimizer: Optimizer::RmsProp {
            learning_rate: 1e9,
            decay: 0.0,
            eps: 1e9,
        },
        batch_size: 10,
        epochs: 1,
        seed: 0,
        validate_every: 1,
    }
}

fn data(samples: usize) -> Mat<f64> {
    Mat::from_fn(VALUES, samples, |r, b| (0.7 * r as f64 + 1.3 * b as f64).sin())
}

fn initial() -> Vec<f64> {
    let decoder = decoder();
    let mut params = vec![0.0; decoder.shape().params];
    decoder
        .trainable()
        .expect("it has weights")
        .init(3, &mut params)
        .expect("weights can be had");
    params
}

fn run(how: &Training<'_>, y: &Mat<f64>, params: &mut [f64]) -> Tally {
    let z0 = Mat::zeros(LATENT, y.ncols());
    let samples = Samples {
        data: Targets { y: y.as_ref(), w: None },
        context: None,
        z0: z0.as_ref(),
    };
    let mut last = Tally::default();
    let mut keep = |event: &Event| {
        if let Event::Epoch { training, .. } = event {
            last = *training;
        }
    };
    train(how, params, samples, None, &mut keep).expect("training goes through");
    last
}

#[test]
fn the_gradient_is_that_of_what_is_minimized_over_the_codes() {
    let open = || -> Box<dyn Decoder> { Box::new(decoder()) };
    for (t_end, samples) in [(50.0, 4), (1e4, 4), (50.0, 1)] {
        let how = one_plain_step(&open, t_end);
        let y = data(samples);
        let minimum = |params: &[f64]| {
            let z0 = Mat::zeros(LATENT, samples);
            let given = Samples {
                data: Targets { y: y.as_ref(), w: None },
                context: None,
                z0: z0.as_ref(),
            };
            let encoded = encode(&how.encoding, params, given).expect("the decoder works");
            let anchored = encoded.records.iter().enumerate().map(|(b, record)| {
                let square: f64 = encoded.z.col_as_slice(b).iter().map(|z| z * z).sum();
                record.loss + square / (2.0 * t_end)
            });
            anchored.sum::<f64>() / samples as f64
        };
        let start = initial();
        let mut stepped = start.clone();
        run(&how, &y, &mut stepped);
        for i in 0..start.len() {
            let at = |h: f64| {
                let mut params = start.clone();
                params[i] += h;
                minimum(&params)
            };
            // Central differences of step 1e-4: truncation of 1e-8 and rounding of 1e-12.
            let difference = (at(1e-4) - at(-1e-4)) / 2e-4;
            let gradient = start[i] - stepped[i];
            assert!(
                (gradient - difference).abs() < 1e-7,
                "weight {i} at {t_end}: {gradient} {difference}"
            );
        }
    }
}

#[test]
fn a_datum_that_cannot_be_encoded_is_left_out_of_the_gradient_and_counted() {
    let open = || -> Box<dyn Decoder> { Box::new(decoder()) };
    let how = one_plain_step(&open, 1e3);
    let mut with = data(4);
    with[(2, 3)] = f64::NAN;
    let (mut stepped, mut expected) = (initial(), initial());
    let tally = run(&how, &with, &mut stepped);
    run(&how, &data(3), &mut expected);
    assert_eq!((tally.samples, tally.usable, tally.succeeded), (4, 3, 3));
    // The order of the sum differs with the number of samples shuffled.
    assert!(stepped.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-14));
}

#[test]
fn the_loss_of_a_low_rank_data_set_falls() {
    let open = || -> Box<dyn Decoder> { Box::new(decoder()) };
    let y = Mat::from_fn(VALUES, 60, |r, b| {
        0.5 * ((b as f64) * 0.9).sin() * (r as f64 - 2.0) / 3.0
    });
    let with = |epochs| {
        let how = Training {
            optimizer: Optimizer::Adam {
                learning_rate: 1e-2,
                beta1: 0.9,
                beta2: 0.999,
                eps: 1e-8,
            },
            batch_size: 16,
            epochs,
            ..one_plain_step(&open, 1e3)
        };
        run(&how, &y, &mut initial()).loss
    };
    let (first, last) = (with(1), with(20));
    assert!(last < 0.1 * first, "{first} {last}");
}
