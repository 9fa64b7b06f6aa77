//! Training on a small decoder: its gradient is that of the whole encode-then-loss map.

use faer::Mat;
use gfe_encode::train::{
    Event, Every, FlowLearning, Learning, LearningRate, Length, Optimizer, Tally, Trainer, Training,
};
use gfe_encode::{Encoding, Ptc, Samples, Solver, encode};
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
fn one_plain_step<'a>(
    open: &'a (dyn Fn() -> Box<dyn Decoder> + Sync),
    decoder: &'a dyn Decoder,
    t_end: f64,
) -> Training<'a> {
    Training {
        encoding: Encoding {
            t_end,
            gtol: 1e-11,
            lanes: 3,
            threads: 2,
            ..Encoding::new(
                open,
                LossKind::Mse.loss(),
                Solver::Ptc(Ptc {
                    edm_tol: 0.0,
                    ..Ptc::default()
                }),
            )
        },
        decoder,
        learning: Learning::Flow(FlowLearning::default()),
        visit_steps: None,
        optimizer: Optimizer::RmsProp {
            learning_rate: 1e9,
            decay: 0.0,
            eps: 1e9,
        },
        learning_rate: LearningRate::default(),
        clip_norm: None,
        batch_size: 10,
        length: Length::Epochs(1),
        seed: 3,
        validate_every: Every::Epochs(1),
        patience: None,
        held_out: None,
    }
}

fn data(samples: usize) -> Mat<f64> {
    Mat::from_fn(VALUES, samples, |r, b| (0.7 * r as f64 + 1.3 * b as f64).sin())
}

/// Trains from the weights of the seed; gives those at the start and at the end, and the last record's encodings.
fn run(how: &Training<'_>, y: &Mat<f64>) -> (Vec<f64>, Vec<f64>, Tally) {
    let z0 = Mat::zeros(LATENT, y.ncols());
    let samples = Samples {
        data: Targets { y: y.as_ref(), w: None },
        context: None,
        z0: z0.as_ref(),
    };
    let mut trainer = Trainer::new(how, samples, None).expect("the decoder can be trained");
    let start = trainer.params().to_vec();
    let mut last = Tally::default();
    loop {
        match trainer.advance(&|| false).expect("training goes through") {
            Event::Record(record) => last = record.training,
            Event::Finished => return (start, trainer.params().to_vec(), last),
            Event::Batch | Event::Stopped => {}
        }
    }
}

#[test]
fn the_gradient_is_that_of_what_is_minimized_over_the_codes() {
    let open = || -> Box<dyn Decoder> { Box::new(decoder()) };
    let decoder = decoder();
    for (t_end, samples) in [(50.0, 4), (1e4, 4), (50.0, 1)] {
        let how = one_plain_step(&open, &decoder, t_end);
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
        let (start, stepped, _) = run(&how, &y);
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
    let decoder = decoder();
    let how = one_plain_step(&open, &decoder, 1e3);
    let mut with = data(4);
    with[(2, 3)] = f64::NAN;
    let (_, stepped, tally) = run(&how, &with);
    let (_, expected, _) = run(&how, &data(3));
    assert_eq!((tally.samples, tally.usable, tally.succeeded), (4, 3, 3));
    // The order of the sum differs with the number of samples shuffled.
    assert!(stepped.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-14));
}

#[test]
fn the_loss_of_a_low_rank_data_set_falls() {
    let open = || -> Box<dyn Decoder> { Box::new(decoder()) };
    let decoder = decoder();
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
                weight_decay: 0.0,
            },
            batch_size: 16,
            length: Length::Epochs(epochs),
            ..one_plain_step(&open, &decoder, 1e3)
        };
        run(&how, &y).2.loss()
    };
    let (first, last) = (with(1), with(20));
    assert!(last < 0.1 * first, "{first} {last}");
}
