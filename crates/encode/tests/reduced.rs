//! ptc in single precision: it stops by the same rule at the same codes, and is not used for what it is too coarse for.

use faer::Mat;
use gfe_encode::{Begin, Encoded, Encoding, Order, Precision, Ptc, Rate, Samples, Solver, Trace, encode, encode_reduced};
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{Decoder, LossKind, Output, Targets};
use gfe_ode::Status;

const VALUES: usize = 100;
const SAMPLES: usize = 40;

fn dense() -> (Dense, Vec<f64>) {
    let config = DenseConfig {
        decoder: DenseKind::Dense,
        latent: 6,
        layers: vec![40, VALUES],
        activation: Activation::Elu,
        output: Output::Logits,
    };
    let dense = Dense::new(config).expect("a valid configuration");
    let mut params = vec![0.0; dense.shape().params];
    let trainable = dense.trainable().expect("it has weights");
    trainable.init(3, &mut params).expect("weights can be had");
    params.iter_mut().for_each(|p| *p *= 3.0);
    (dense, params)
}

fn codes(ptc: Ptc, lanes: usize, threads: usize) -> Encoded {
    with(|how, params, samples| {
        let solver = Solver::Ptc(ptc);
        let how = Encoding {
            solver,
            lanes,
            threads,
            ..*how
        };
        encode(&how, params, samples).expect("a dense decoder never breaks down")
    })
}

/// Calls `run` with ptc's defaults and the samples.
fn with<R>(run: impl FnOnce(&Encoding<'_>, &[f64], Samples<'_>) -> R) -> R {
    let (dense, params) = dense();
    let open = || -> Box<dyn Decoder> { Box::new(dense.clone()) };
    let how = Encoding {
        open: &open,
        loss: LossKind::Bce.loss(),
        order: Order::default(),
        rate: Rate::default(),
        common_z0: None,
        solver: Solver::Ptc(Ptc::default()),
        t_end: 1e4,
        gtol: 1e-9,
        max_steps: 200,
        lanes: 16,
        threads: 1,
        trace: Trace::None,
        reconstruction: false,
        starts: 1,
        begin: Begin::Z0,
        uncertainty: None,
        noise: None,
    };
    // Brighter and darker stripes, different for every sample.
    let y = Mat::from_fn(VALUES, SAMPLES, |i, b| {
        0.5 + 0.5 * (0.1 * (i * (b % 7 + 1)) as f64 + b as f64).sin()
    });
    let z0 = Mat::zeros(6, SAMPLES);
    let samples = Samples {
        data: Targets { y: y.as_ref(), w: None },
        context: None,
        z0: z0.as_ref(),
    };
    run(&how, &params, samples)
}

fn reduced() -> Ptc {
    Ptc {
        precision: Precision::Single,
        ..Ptc::default()
    }
}

#[test]
fn single_precision_stops_at_the_codes_of_double_precision() {
    let (single, double) = (codes(reduced(), 16, 1), codes(Ptc::default(), 16, 1));
    assert!(single.z != double.z);
    for (b, (single, double)) in single.records.iter().zip(&double.records).enumerate() {
        assert_eq!(single.status, Status::Converged, "sample {b}");
        // Both are within edm_tol / D = 1e-5 of the same minimum.
        assert!(
            (single.loss - double.loss).abs() < 1e-5,
            "sample {b}: {} {}",
            single.loss,
            double.loss
        );
        let (one, other) = (single.work.units() as f64, double.work.units() as f64);
        assert!(
            one <= 1.2 * other,
            "sample {b}: {one} units, {other} in double precision"
        );
    }
}

#[test]
fn a_code_in_single_precision_has_the_same_bits_whatever_its_neighbors_lanes_and_threads() {
    let first = codes(reduced(), 16, 1);
    for (lanes, threads) in [(3, 1), (64, 1), (7, 2)] {
        assert!(
            codes(reduced(), lanes, threads).z == first.z,
            "{lanes} lanes, {threads} threads"
        );
    }
}

#[test]
fn a_tight_tolerance_and_the_exact_hessian_take_double_precision() {
    for ptc in [
        Ptc {
            edm_tol: 0.0,
            ..Ptc::default()
        },
        Ptc {
            exact: true,
            ..Ptc::default()
        },
    ] {
        let asked = codes(Ptc { precision: Precision::Single, ..ptc }, 16, 1);
        assert!(asked.z == codes(ptc, 16, 1).z, "{ptc:?}");
    }
}

#[test]
fn what_fails_in_single_precision_is_encoded_again_in_double_precision() {
    with(|how, params, samples| {
        // Enough steps for some of them.
        let double = encode(how, params, samples).expect("it never breaks down");
        let mut steps: Vec<u32> = double.records.iter().map(|record| record.work.steps).collect();
        steps.sort_unstable();
        let how = Encoding {
            max_steps: steps[SAMPLES / 2],
            ..*how
        };
        let double = encode(&how, params, samples).expect("it never breaks down");
        let single = codes_of(&how, params, samples);
        let both = encode_reduced(&how, params, samples, None).expect("it never breaks down");
        let mut again = 0;
        for b in 0..SAMPLES {
            let succeeded = single.records[b].status.is_success();
            let expected = if succeeded { &single } else { &double };
            assert!(both.z.col(b) == expected.z.col(b), "sample {b}");
            assert_eq!(both.records[b].status, expected.records[b].status);
            let mut work = single.records[b].work;
            if !succeeded {
                work += double.records[b].work;
                again += 1;
            }
            assert_eq!(both.records[b].work, work);
        }
        assert!(again > 0 && again < SAMPLES, "{again}");
    });
}

fn codes_of(how: &Encoding<'_>, params: &[f64], samples: Samples<'_>) -> Encoded {
    let solver = Solver::Ptc(reduced());
    encode(&Encoding { solver, ..*how }, params, samples).expect("it never breaks down")
}
