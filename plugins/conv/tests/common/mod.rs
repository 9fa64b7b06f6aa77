//! Decoders and batches that the tests share.
#![allow(dead_code)] // each test program uses a part

use conv::Conv;
use gfe_sdk::faer::Mat;
use gfe_sdk::{At, Decoder, Taped};

/// A decoder for every kind of layer, small; the names say what is new in each.
pub const SMALL: [(&str, &str); 10] = [
    (
        "linear and flatten",
        r#"{"latent": 3, "layers": [{"linear": {"out_features": 8}}, "tanh", {"unflatten": [2, 2, 2]}, "flatten",
            {"linear": {"out_features": 5, "bias": false}}], "output": "logits"}"#,
    ),
    (
        "conv2d with padding",
        r#"{"latent": 4, "layers": [{"linear": {"out_features": 48}}, {"unflatten": [3, 4, 4]}, "silu",
            {"conv2d": {"out_channels": 5, "kernel_size": 3, "padding": 1}}, "softplus",
            {"conv2d": {"out_channels": 2, "kernel_size": 3}}]}"#,
    ),
    (
        "conv2d with strides, unequal windows and without bias",
        r#"{"latent": 3, "layers": [{"linear": {"out_features": 126}}, {"unflatten": [2, 9, 7]}, "gelu",
            {"conv2d": {"out_channels": 4, "kernel_size": [3, 2], "stride": [2, 3], "padding": [2, 1], "bias": false}},
            "elu", {"conv2d": {"out_channels": 3, "kernel_size": [2, 3], "stride": [2, 1], "padding": [0, 1]}}]}"#,
    ),
    (
        "conv_transpose2d",
        r#"{"latent": 3, "layers": [{"unflatten": [3, 1, 1]}, {"conv_transpose2d": {"out_channels": 4, "kernel_size": 3}},
            "tanh", {"conv_transpose2d": {"out_channels": 3, "kernel_size": 4, "stride": 2, "padding": 1}}, "selu",
            {"conv_transpose2d": {"out_channels": 2, "kernel_size": [2, 3], "stride": [2, 3], "padding": [0, 1],
            "output_padding": [1, 2], "bias": false}}]}"#,
    ),
    (
        "upsample, twice in a row, after an activation and at the end",
        r#"{"latent": 2, "layers": [{"linear": {"out_features": 8}}, {"unflatten": [2, 2, 2]}, "sigmoid",
            {"upsample": {"scale_factor": 3}}, "tanh", {"upsample": {"scale_factor": 2}},
            {"conv2d": {"out_channels": 2, "kernel_size": 3}}, {"upsample": {"scale_factor": 2}}], "output": "log_rates"}"#,
    ),
    (
        "residual with shortcuts of both kinds, one within another",
        r#"{"latent": 3, "layers": [{"linear": {"out_features": 16}}, {"unflatten": [4, 2, 2]}, "silu",
            {"residual": {"main": [{"upsample": {"scale_factor": 2}},
                {"residual": {"main": [{"conv2d": {"out_channels": 4, "kernel_size": 3, "padding": 1}}, "tanh"]}},
                {"conv2d": {"out_channels": 2, "kernel_size": 1}}],
              "shortcut": [{"upsample": {"scale_factor": 2}}, {"conv2d": {"out_channels": 2, "kernel_size": 1}}]}},
            "softplus", {"conv2d": {"out_channels": 1, "kernel_size": 3, "padding": 1}}]}"#,
    ),
    (
        "residual around z, and activations of z and of x",
        r#"{"latent": 4, "layers": ["tanh", {"residual": {"main": [{"sequential": ["gelu", "identity",
            {"linear": {"out_features": 4}}]}]}}, {"residual": {"main": ["silu"], "shortcut": []}},
            {"linear": {"out_features": 6}}, "sigmoid"]}"#,
    ),
    (
        "an image of many tiles",
        r#"{"latent": 2, "layers": [{"linear": {"out_features": 108}}, {"unflatten": [3, 6, 6]}, "tanh",
            {"conv_transpose2d": {"out_channels": 2, "kernel_size": 4, "stride": 4}}, "silu",
            {"conv2d": {"out_channels": 3, "kernel_size": 5, "padding": 2}}, "tanh",
            {"conv2d": {"out_channels": 2, "kernel_size": 3, "stride": 2, "padding": 1}}]}"#,
    ),
    (
        "single channels and pixels",
        r#"{"latent": 2, "layers": [{"linear": {"out_features": 1}}, "tanh", {"unflatten": [1, 1, 1]},
            {"conv_transpose2d": {"out_channels": 1, "kernel_size": 3}}, "silu",
            {"conv2d": {"out_channels": 1, "kernel_size": 1}}, "tanh", {"conv2d": {"out_channels": 1, "kernel_size": 2}},
            "softplus", {"conv_transpose2d": {"out_channels": 1, "kernel_size": 1}}]}"#,
    ),
    (
        "sums of one value with itself",
        r#"{"latent": 3, "layers": [{"residual": {"main": []}}, {"linear": {"out_features": 4}},
            {"residual": {"main": ["identity"]}}, "tanh", {"residual": {"main": ["flatten"]}}]}"#,
    ),
];

/// The decoder of a configuration that is right.
pub fn decoder(config: &str) -> Conv {
    Conv::new(config).unwrap_or_else(|error| panic!("{error}\n{config}"))
}

/// Initial weights.
pub fn weights(conv: &Conv, seed: u64) -> Vec<f64> {
    let mut params = vec![f64::NAN; conv.shape().params];
    conv.trainable()
        .expect("it has weights")
        .init(seed, &mut params)
        .expect("weights can be had");
    params
}

/// Numbers of about unit size, without a pattern: a column's do not depend on how many there are.
pub fn numbers(rows: usize, columns: usize, seed: usize) -> Mat<f64> {
    Mat::from_fn(rows, columns, |i, b| {
        let t = (i * 7919 + b * 104_729 + seed * 1_299_709) % 65_521;
        2.0 * (t as f64 * 0.618_033_988_749_894_9).fract() - 1.0
    })
}

/// What `forward` gives.
pub struct Forward {
    pub x: Mat<f64>,
    pub tape: Mat<f64>,
    pub scratch: Vec<f64>,
}

/// D(z); scratch for `directions` columns per lane, of no useful content.
pub fn forward(conv: &Conv, at: At<'_>, directions: usize) -> Forward {
    let lanes = at.z.ncols();
    let mut of = Forward {
        x: Mat::zeros(conv.shape().data, lanes),
        tape: Mat::zeros(conv.tape_len(), lanes),
        scratch: vec![f64::NAN; conv.scratch_len(lanes * directions)],
    };
    conv.forward(at, of.x.as_mut(), of.tape.as_mut(), &mut of.scratch)
        .expect("it does not fail");
    of
}

/// A point without context.
pub fn at<'a>(params: &'a [f64], z: &'a Mat<f64>, context: &'a Mat<f64>) -> At<'a> {
    At {
        params,
        version: 0,
        z: z.as_ref(),
        context: context.as_ref(),
    }
}

/// The point with its tape.
pub fn taped<'a>(at: At<'a>, of: &'a Mat<f64>) -> Taped<'a> {
    Taped { at, tape: of.as_ref() }
}
