//! The first mini-batches of a training on 64 digits, on one thread.
//!
//! `cargo bench --bench train`. An element is a training image. The decoder begins with the same random weights each time.

mod support;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use faer::Mat;
use gfe_encode::train::{
    Event, Every, FlowLearning, Gradient, Learning, LearningRate, Length, Optimizer, Trainer, Training,
};
use gfe_encode::{Amd, Encoding, Ptc, Samples, Solver};
use gfe_model::dense::{Dense, DenseConfig};
use gfe_model::{Decoder, LossKind, Output, Targets};
use support::{CpuTime, Reference, Units};

const BATCHES: usize = 4;
const BATCH: usize = 16;

/// The encoder network that mirrors the decoder.
fn mirrored(decoder: &DenseConfig) -> Dense {
    let mut layers: Vec<usize> = decoder.layers.iter().rev().skip(1).copied().collect();
    layers.push(decoder.latent);
    let encoder = DenseConfig {
        latent: 784,
        layers,
        output: Output::Values,
        ..decoder.clone()
    };
    Dense::new(encoder).expect("its sizes are valid")
}

fn bench(criterion: &mut Criterion<CpuTime>, units: &mut Units, from: &Reference) {
    let open = || -> Box<dyn Decoder> { Box::new(from.dense.clone()) };
    let zeros = Mat::zeros(20, BATCHES * BATCH);
    let samples = Samples {
        data: Targets {
            y: from.digits.as_ref().subcols(0, BATCHES * BATCH),
            w: None,
        },
        context: None,
        z0: zeros.as_ref(),
    };
    let encoder = mirrored(from.dense.config());
    let flow = |gradient, mixed| {
        Learning::Flow(FlowLearning {
            gradient,
            mixed,
            ..FlowLearning::default()
        })
    };
    let (ptc, amd) = (Solver::Ptc(Ptc::default()), Solver::Amd(Amd::default()));
    let adjoint = Gradient::Adjoint { quadrature_stride: 1 };
    let autoencoder = Learning::Autoencoder {
        encoder: &encoder,
        judged_by_encoder: false,
    };
    let cases = [
        ("flow, ptc, mixed", flow(Gradient::Approximate, true), ptc, 1e4),
        ("flow, ptc, f64", flow(Gradient::Approximate, false), ptc, 1e4),
        ("flow, amd to t = 100, adjoint", flow(adjoint, false), amd, 100.0),
        ("autoencoder", autoencoder, ptc, 1e4),
        (
            "auto-decoder",
            Learning::AutoDecoder {
                optimizer: Optimizer::ADAM,
            },
            ptc,
            1e4,
        ),
    ];
    let mut group = criterion.benchmark_group("train");
    group
        .sample_size(10)
        .throughput(Throughput::Elements((BATCHES * BATCH) as u64));
    for (name, learning, solver, t_end) in cases {
        let how = training(from, &open, (solver, t_end), learning);
        let mut last = None;
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            let begin = || Trainer::new(&how, samples, None).expect("the decoder can be trained");
            let go = |trainer| {
                let trainer = advanced(trainer);
                last = Some(trainer.state().tally.units_per_sample());
                trainer
            };
            bencher.iter_batched(begin, go, BatchSize::PerIteration);
        });
        units.note(&format!("train/{name}"), last);
    }
    group.finish();
}

/// The same after the mini-batches.
fn advanced(mut trainer: Trainer<'_>) -> Trainer<'_> {
    for _ in 0..BATCHES {
        let event = trainer.advance(&|| false).expect("it trains");
        assert!(matches!(event, Event::Batch));
    }
    trainer
}

fn training<'a>(
    from: &'a Reference,
    open: &'a (dyn Fn() -> Box<dyn Decoder> + Sync),
    (solver, t_end): (Solver, f64),
    learning: Learning<'a>,
) -> Training<'a> {
    let encoding = Encoding {
        common_z0: Some(&[0.0; 20]),
        t_end,
        lanes: BATCH,
        ..Encoding::new(open, LossKind::Bce.loss(), solver)
    };
    Training {
        encoding,
        decoder: &from.dense,
        learning,
        visit_steps: None,
        optimizer: Optimizer::ADAM,
        learning_rate: LearningRate::default(),
        clip_norm: None,
        batch_size: BATCH,
        length: Length::Epochs(2),
        seed: 1,
        validate_every: Every::Epochs(2),
        patience: None,
        held_out: None,
    }
}

fn main() {
    let reference = Reference::read();
    support::run(|criterion, units| bench(criterion, units, &reference));
}
