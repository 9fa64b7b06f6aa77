//! Lanes, threads and failures of others leave a sample's gradient alone; what has no adjoint is refused.

use crate::fragile::{Fails, Fragile};
use crate::support::{Gradient, LATENT, SAMPLES, Set, apart, dense, encoding, flat, gradient, weights};
use faer::Mat;
use gfe_encode::train::{AdjointError, adjoint};
use gfe_encode::{Amd, Encoding, ErrorControl, Order, Ptc, Solver, Steps, encode};
use gfe_model::Decoder;
use gfe_model::dense::Activation;
use gfe_ode::control::Grid;
use gfe_ode::diffsol::Scheme;
use gfe_ode::{Curvature, Status, Tolerance};

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
