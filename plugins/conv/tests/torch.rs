//! Decoders and their derivatives against PyTorch's, from the files that `compare_torch.py` writes.
//!
//! `GFE_CONV_GOLDEN` names another folder of such files.

mod common;

use common::{at, decoder, forward, taped};
use conv::Conv;
use gfe_sdk::faer::Mat;
use gfe_sdk::{Decoder, Seeds};
use safetensors::{Dtype, SafeTensors};
use std::path::PathBuf;

/// Two summations of some thousand products in another order.
const DOUBLE: f64 = 1e-10;
/// PyTorch in single precision, rounded at every layer.
const SINGLE: f64 = 1e-5;

/// The values of a tensor, in C order.
fn values(file: &SafeTensors<'_>, name: &str) -> Vec<f64> {
    let tensor = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    let single = |bytes: &[u8]| f64::from(f32::from_le_bytes(bytes.try_into().expect("4 bytes")));
    let double = |bytes: &[u8]| f64::from_le_bytes(bytes.try_into().expect("8 bytes"));
    match tensor.dtype() {
        Dtype::F32 => tensor.data().chunks_exact(4).map(single).collect(),
        Dtype::F64 => tensor.data().chunks_exact(8).map(double).collect(),
        other => panic!("{name} is {other:?}"),
    }
}

/// The tensor `gfe.test.{name}`, `[lanes, rows]`, as a batch.
fn batch(file: &SafeTensors<'_>, name: &str) -> Mat<f64> {
    let name = &format!("gfe.test.{name}");
    let (values, shape) = (
        values(file, name),
        file.tensor(name).expect("it was just read").shape().to_vec(),
    );
    Mat::from_fn(shape[1], shape[0], |i, b| values[b * shape[1] + i])
}

/// The tensors of all weights, one after the other as in `params`; `prefix` comes before their names.
fn weights(file: &SafeTensors<'_>, conv: &Conv, prefix: &str) -> Vec<f64> {
    let mut all = Vec::new();
    for spec in conv.tensors() {
        let name = format!("{prefix}{}", spec.name);
        assert_eq!(
            file.tensor(&name).expect("it holds every weight").shape(),
            spec.shape,
            "{name}"
        );
        all.extend(values(file, &name));
    }
    all
}

/// |a - b| / |b|.
fn difference<'a>(a: impl IntoIterator<Item = &'a f64>, b: impl IntoIterator<Item = &'a f64>) -> f64 {
    let (mut error, mut size) = (0.0, 0.0);
    for (a, b) in a.into_iter().zip(b) {
        error += (a - b).powi(2);
        size += b * b;
    }
    assert!(size > 0.0);
    (error / size).sqrt()
}

fn all(batch: &Mat<f64>) -> impl Iterator<Item = &f64> {
    (0..batch.ncols()).flat_map(move |b| (0..batch.nrows()).map(move |i| &batch[(i, b)]))
}

/// Relative errors of x, x_dot, z_bar, params_bar, z_bar_dot and params_bar_dot.
fn errors(file: &SafeTensors<'_>, conv: &Conv) -> [(&'static str, f64); 6] {
    let params = weights(file, conv, "");
    let [z, z_dot, x_bar, x_bar_dot] = ["z", "z_dot", "x_bar", "x_bar_dot"].map(|name| batch(file, name));
    let context = Mat::zeros(0, z.ncols());
    let at = at(&params, &z, &context);
    let mut of = forward(conv, at, 1);
    let (point, scratch) = (taped(at, &of.tape), &mut of.scratch);
    let mut x_dot = Mat::zeros(x_bar.nrows(), z.ncols());
    let tangent = conv.tangent().expect("it has tangents");
    tangent
        .jvp(point, z_dot.as_ref(), x_dot.as_mut(), scratch)
        .expect("it does not fail");
    let mut z_bar = Mat::zeros(z.nrows(), z.ncols());
    conv.vjp(point, x_bar.as_ref(), z_bar.as_mut(), scratch)
        .expect("it does not fail");
    let mut params_bar = vec![0.0; params.len()];
    let trainable = conv.trainable().expect("it has weights");
    trainable
        .params_vjp(point, x_bar.as_ref(), &mut params_bar, scratch)
        .expect("it does not fail");
    let (mut z_bar_dot, mut params_bar_dot) = (Mat::zeros(z.nrows(), z.ncols()), vec![0.0; params.len()]);
    let seeds = Seeds {
        z_dot: z_dot.as_ref(),
        x_bar: x_bar.as_ref(),
        x_bar_dot: x_bar_dot.as_ref(),
    };
    let second = conv.second_order().expect("it has second-order products");
    second
        .hvp(point, seeds, z_bar_dot.as_mut(), Some(&mut params_bar_dot), scratch)
        .expect("it does not fail");
    [
        ("x", difference(all(&of.x), all(&batch(file, "x")))),
        ("x_dot", difference(all(&x_dot), all(&batch(file, "x_dot")))),
        ("z_bar", difference(all(&z_bar), all(&batch(file, "z_bar")))),
        (
            "params_bar",
            difference(&params_bar, &weights(file, conv, "gfe.test.params_bar.")),
        ),
        ("z_bar_dot", difference(all(&z_bar_dot), all(&batch(file, "z_bar_dot")))),
        (
            "params_bar_dot",
            difference(&params_bar_dot, &weights(file, conv, "gfe.test.params_bar_dot.")),
        ),
    ]
}

#[test]
fn values_and_all_derivatives_are_pytorchs() {
    let golden = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"));
    let folder = std::env::var_os("GFE_CONV_GOLDEN").map_or(golden, PathBuf::from);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the folder of goldens is there") {
        let path = entry.expect("it can be listed").path();
        let bytes = std::fs::read(&path).expect("it can be read");
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("it is a safetensors file");
        let text = &header.metadata().as_ref().expect("it has metadata")["gfe.decoder"];
        let said: serde_json::Value = serde_json::from_str(text).expect("it is JSON");
        assert_eq!(said["decoder"], "conv", "{}", path.display());
        let conv = decoder(&said["config"].to_string());
        let file = SafeTensors::deserialize(&bytes).expect("it is a safetensors file");
        let single = file.tensor("gfe.test.z").expect("it has codes").dtype() == Dtype::F32;
        for (name, error) in errors(&file, &conv) {
            println!("{} {name}: {error:.1e}", path.display());
            assert!(
                error < if single { SINGLE } else { DOUBLE },
                "{}, {name}: {error:e}",
                path.display()
            );
        }
        count += 1;
    }
    assert!(count > 0, "{} holds no golden", folder.display());
}
