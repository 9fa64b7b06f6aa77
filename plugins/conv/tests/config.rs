//! Configurations: what a wrong one is told, and what a right one gives.

mod common;

use common::{SMALL, decoder, weights};
use conv::Conv;
use gfe_sdk::{Decoder, DecoderPlugin, Output};

#[test]
fn a_wrong_configuration_is_told_where_and_why() {
    for (config, said) in [
        ("", "missing field `latent`"),
        ("[]", "invalid"),
        (
            r#"{"latent": 2, "layers": ["relu"], "padding": 1}"#,
            "unknown field `padding`, expected one of",
        ),
        (
            r#"{"latent": 2, "layers": ["relu"], "output": "rates"}"#,
            "unknown variant `rates`",
        ),
        (
            r#"{"latent": 0, "layers": ["relu"]}"#,
            "`latent` is 0: a code has at least one value",
        ),
        (r#"{"latent": 2, "layers": []}"#, "`layers` computes nothing"),
        (
            r#"{"latent": 2, "layers": ["identity", "flatten"]}"#,
            "`layers` computes nothing",
        ),
        (
            r#"{"latent": 2, "layers": ["relu", 7]}"#,
            "layers[1]: a layer is a name, as in \"relu\", or an object of one key",
        ),
        (
            r#"{"latent": 2, "layers": [{"relu": {}, "tanh": {}}]}"#,
            "layers[0]: a layer is a name",
        ),
        (
            r#"{"latent": 2, "layers": ["swish"]}"#,
            "layers[0]: there is no layer `swish`; there are linear, conv2d,",
        ),
        (
            r#"{"latent": 2, "layers": [{"relu": {"slope": 1}}]}"#,
            "layers[0]: `relu`: unknown field `slope`",
        ),
        (
            r#"{"latent": 2, "layers": ["linear"]}"#,
            "layers[0]: `linear`: missing field `out_features`",
        ),
        (
            r#"{"latent": 2, "layers": [{"linear": {"out": 3}}]}"#,
            "layers[0]: `linear`: unknown field `out`, expected `out_features` or `bias`",
        ),
        (
            r#"{"latent": 2, "layers": [{"linear": {"out_features": -1}}]}"#,
            "invalid value: integer `-1`",
        ),
        (
            r#"{"latent": 2, "layers": [{"linear": {"out_features": 0}}]}"#,
            "layers[0]: `out_features` is 0",
        ),
        (
            r#"{"latent": 2, "layers": [{"leaky_relu": {"alpha": 0.2}}]}"#,
            "unknown field `alpha`, expected `negative_slope`",
        ),
        (
            r#"{"latent": 2, "layers": [{"conv2d": {"out_channels": 1, "kernel_size": 1}}]}"#,
            "layers[0]: `conv2d` takes an image, and 2 values in a row come: put {\"unflatten\"",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1]}]}"#,
            "layers[0]: `unflatten`: invalid length 2",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 2]}]}"#,
            "layers[0]: `unflatten` to [2, 1, 2] takes 4 values, and 2 come",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 1]}, {"unflatten": [1, 2, 1]}]}"#,
            "layers[1]: `unflatten` takes values in a row, and an image [2, 1, 1] comes: put \"flatten\" before it",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 1]}, {"linear": {"out_features": 1}}]}"#,
            "layers[1]: `linear` takes values in a row",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 1]}, {"conv2d": {"out_channels": 1, "kernel_size": [1, 4], "padding": 1}}]}"#,
            "layers[1]: a kernel of 4 does not fit a side of 1 with 1 of padding at each end: enlarge `padding`",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 1]}, {"conv2d": {"out_channels": 1, "kernel_size": [1, 2, 3]}}]}"#,
            "expected a whole number, or two, [vertical, horizontal]",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 1]}, {"conv2d": {"out_channels": 1, "kernel_size": 1, "stride": 0}}]}"#,
            "layers[1]: `stride` is 0",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 1]}, {"conv_transpose2d": {"out_channels": 1, "kernel_size": 2, "padding": 1}}]}"#,
            "layers[1]: with `padding` 1 no pixel is left of 2",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 1]}, {"conv_transpose2d": {"out_channels": 1, "kernel_size": 2, "output_padding": 1}}]}"#,
            "layers[1]: `output_padding` 1 is not below `stride` 1",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 1]}, {"residual": {"main": [{"conv2d": {"out_channels": 1, "kernel_size": 1}}]}}]}"#,
            "layers[1]: `residual` adds 1 x 1 x 1 from `main` and 2 x 1 x 1 from `shortcut`",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 1]}, {"residual": {"main": [], "shortcut": ["relu", "linear"]}}]}"#,
            "layers[1].residual.shortcut[1]: `linear`: missing field",
        ),
        (
            r#"{"latent": 2, "layers": [{"sequential": ["relu", {"upsample": {"scale_factor": 2}}]}]}"#,
            "layers[0].sequential[1]: `upsample` takes an image",
        ),
        (
            r#"{"latent": 2, "layers": [{"linear": {"out_features": 1000000000000}}]}"#,
            "layers[0]: too large",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 1]}, {"upsample": {"scale_factor": 9223372036854775807}}]}"#,
            "layers[1]: too large",
        ),
        (
            r#"{"latent": 2, "layers": [{"unflatten": [2, 1, 1]}, {"conv2d": {"out_channels": 1, "kernel_size": 1, "padding": 18446744073709551615}}]}"#,
            "layers[1]: too large",
        ),
    ] {
        let error = <Conv as DecoderPlugin>::create(config)
            .err()
            .unwrap_or_else(|| panic!("accepted: {config}"));
        assert!(error.contains(said), "{config}\nsays: {error}\nnot: {said}");
    }
}

#[test]
fn tensors_have_the_names_of_a_state_dict_and_fill_the_weights() {
    let conv = decoder(
        r#"{"latent": 4, "prefix": "decoder.", "layers": [{"unflatten": [4, 1, 1]}, "relu",
            {"residual": {"main": ["tanh", {"conv_transpose2d": {"out_channels": 4, "kernel_size": [1, 3], "padding": [0, 1]}}],
              "shortcut": [{"sequential": [{"conv2d": {"out_channels": 4, "kernel_size": 1, "bias": false}}]}]}},
            "flatten", {"linear": {"out_features": 3}}], "output": "log_rates"}"#,
    );
    let named: Vec<(String, Vec<usize>)> = conv.tensors().into_iter().map(|spec| (spec.name, spec.shape)).collect();
    let expected = [
        ("decoder.2.main.1.weight", vec![4, 4, 1, 3]),
        ("decoder.2.main.1.bias", vec![4]),
        ("decoder.2.shortcut.0.0.weight", vec![4, 4, 1, 1]),
        ("decoder.4.weight", vec![3, 4]),
        ("decoder.4.bias", vec![3]),
    ];
    assert!(
        named
            .iter()
            .map(|(name, shape)| (name.as_str(), shape.clone()))
            .eq(expected)
    );
    assert_eq!(conv.output(), Output::LogRates);
    for (name, config) in SMALL {
        let conv = decoder(config);
        let sum: usize = conv.tensors().iter().map(|spec| spec.len()).sum();
        assert_eq!(sum, conv.shape().params, "{name}");
    }
}

#[test]
fn initial_weights_follow_from_the_seed_and_stay_within_pytorchs_bounds() {
    let conv = decoder(include_str!("../cifar_transposed.json"));
    let (first, again, other) = (weights(&conv, 1), weights(&conv, 1), weights(&conv, 2));
    assert_eq!(first, again);
    assert!(first.iter().zip(&other).all(|(a, b)| a != b));
    // nn.Linear(64, 512) is bound by 1/8, nn.ConvTranspose2d(128, 64, 4) by 1/sqrt(64 * 16) = 1/32, its bias as well.
    let (linear, rest) = first.split_at(65 * 512);
    for (values, bound) in [(linear, 1.0 / 8.0), (&rest[..128 * 64 * 16 + 64], 1.0 / 32.0)] {
        let largest = values.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        assert!(largest <= bound && largest > 0.99 * bound, "{largest} against {bound}");
    }
}

#[test]
fn the_dense_part_computes_what_the_dense_decoder_does() {
    use gfe_sdk::model::dense::Dense;
    let ours = decoder(
        r#"{"latent": 5, "prefix": "decoder.", "layers": [{"linear": {"out_features": 30}}, "elu", {"linear": {"out_features": 20}},
            "elu", {"linear": {"out_features": 40}}], "output": "logits"}"#,
    );
    let config = r#"{"latent": 5, "layers": [30, 20, 40], "activation": "elu", "output": "logits"}"#;
    let dense = Dense::new(gfe_sdk::config(config).expect("it is right")).expect("it is right");
    assert_eq!(ours.tensors(), dense.tensors());
    let mut params = vec![0.0; dense.shape().params];
    dense
        .trainable()
        .expect("it has weights")
        .init(7, &mut params)
        .expect("weights can be had");
    assert_eq!(params, weights(&ours, 7));
    let (z, context) = (common::numbers(5, 9, 1), gfe_sdk::faer::Mat::zeros(0, 9));
    let at = common::at(&params, &z, &context);
    let x = common::forward(&ours, at, 1).x;
    let mut expected = gfe_sdk::faer::Mat::zeros(40, 9);
    let mut tape = gfe_sdk::faer::Mat::zeros(dense.tape_len(), 9);
    dense
        .forward(at, expected.as_mut(), tape.as_mut(), &mut [])
        .expect("it does not fail");
    assert_eq!(x, expected);
}
