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
fn rectified_decoders_have_all_their_derivatives_away_from_kinks() {
    // With this seed no kink lies within a step of the differences.
    for config in [include_str!("../cifar_transposed.json"), RESIDUAL] {
        let conv = decoder(config);
        let params = weights(&conv, 4);
        let (z, context) = (numbers(conv.shape().latent, 2, 2), Mat::zeros(0, 2));
        let report = check::report(&conv, at(&params, &z, &context), 5).expect("it does not fail");
        println!("{report:?}");
        assert!(report.adjoint.is_some_and(|error| error < EXACT), "{report:?}");
    }
}

/// The residual decoder of CIFAR-10 with a sixteenth of the channels.
const RESIDUAL: &str = r#"{"latent": 6, "layers": [{"linear": {"out_features": 256}}, {"unflatten": [16, 4, 4]},
    {"residual": {
      "main": [{"upsample": {"scale_factor": 2}}, {"conv2d": {"out_channels": 8, "kernel_size": 3, "padding": 1}},
        {"leaky_relu": {"negative_slope": 0.2}}, {"conv2d": {"out_channels": 8, "kernel_size": 3, "padding": 1}}],
      "shortcut": [{"upsample": {"scale_factor": 2}}, {"conv2d": {"out_channels": 8, "kernel_size": 1}}]}},
    {"leaky_relu": {"negative_slope": 0.2}}, {"upsample": {"scale_factor": 2}},
    {"conv2d": {"out_channels": 3, "kernel_size": 3, "padding": 1}}, "sigmoid"]}"#;
