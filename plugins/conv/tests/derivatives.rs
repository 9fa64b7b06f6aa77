//! The products against one another and against central differences.

mod common;

use common::{SMALL, at, decoder, numbers, weights};
use gfe_sdk::Decoder;
use gfe_sdk::faer::Mat;
use gfe_sdk::model::check;

/// Pairings of products of one and the same linear map: rounding alone.
const EXACT: f64 = 1e-12;
/// Central differences: truncation and rounding are near 1e-10 for functions of unit size; products of second order
/// lose some more digits.
const DIFFERENCES: f64 = 1e-7;

#[test]
fn every_kind_of_layer_has_all_its_derivatives() {
    for (name, config) in SMALL {
        for lanes in [2, 5] {
            let conv = decoder(config);
            let params = weights(&conv, 3);
            let (z, context) = (numbers(conv.shape().latent, lanes, 1), Mat::zeros(0, lanes));
            let report = check::report(&conv, at(&params, &z, &context), 11).expect("it does not fail");
            println!("{name}, {lanes} lanes: {report:?}");
            assert!(report.adjoint.is_some_and(|error| error < EXACT), "{name}: {report:?}");
            let differences = [
                report.jvp,
                Some(report.vjp),
                report.params_vjp,
                report.hvp,
                report.params_hvp,
            ];
            for error in differences {
                assert!(error.is_some_and(|error| error < DIFFERENCES), "{name}: {report:?}");
            }
        }
    }
}

#[test]
fn the_rectified_decoders_of_cifar_pair_exactly() {
    // Differences would step over a kink somewhere among so many; the goldens compare these layers' derivatives.
    for (config, params) in [
        (include_str!("../cifar_residual.json"), 899_395),
        (include_str!("../cifar_transposed.json"), 206_195),
    ] {
        let conv = decoder(config);
        let shape = conv.shape();
        assert_eq!((shape.latent, shape.data, shape.params), (64, 3 * 32 * 32, params));
        let weights = weights(&conv, 4);
        let (z, context) = (numbers(64, 2, 2), Mat::zeros(0, 2));
        let error = check::adjoint(&conv, at(&weights, &z, &context), 5).expect("it does not fail");
        assert!(error.is_some_and(|error| error < EXACT), "{error:?}");
    }
}
