//! The dense decoder in single precision, against double precision and column by column.

use faer::Mat;
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{At, Cols, Decoder, Output, Taped};

fn dense(latent: usize, layers: &[usize], activation: Activation) -> (Dense, Vec<f64>) {
    let config = DenseConfig {
        decoder: DenseKind::Dense,
        latent,
        layers: layers.to_vec(),
        activation,
        output: Output::Logits,
    };
    let dense = Dense::new(config).expect("a valid configuration");
    let mut params = vec![0.0; dense.shape().params];
    let trainable = dense.trainable().expect("it has weights");
    trainable.init(7, &mut params).expect("weights can be had");
    (dense, params)
}

fn latents(d: usize, lanes: usize) -> Mat<f64> {
    Mat::from_fn(d, lanes, |i, b| (1.7 * i as f64 + 0.9 * b as f64 + 0.3).sin() * 1.5)
}

/// x, z_bar of the cotangent cos(i) and x_dot of three directions a lane, in single or in double precision.
fn outputs(dense: &Dense, params: &[f64], version: u64, z: &Mat<f64>, single: bool) -> [Mat<f64>; 3] {
    outputs_of(dense, params, version, z, [single, single])
}

/// The same with a choice for the forward pass and one for the products at it.
fn outputs_of(
    dense: &Dense,
    params: &[f64],
    version: u64,
    z: &Mat<f64>,
    [forward, single]: [bool; 2],
) -> [Mat<f64>; 3] {
    let (shape, lanes) = (dense.shape(), z.ncols());
    let at = At {
        params,
        version,
        z: z.as_ref(),
        context: Cols::from_column_major_slice(&[], 0, lanes),
    };
    let (mut x, mut tape) = (Mat::zeros(shape.data, lanes), Mat::zeros(dense.tape_len(), lanes));
    let (mut z_bar, mut x_dot) = (Mat::zeros(shape.latent, lanes), Mat::zeros(shape.data, 3 * lanes));
    let x_bar = Mat::from_fn(shape.data, lanes, |i, _| (i as f64).cos());
    let z_dot = Mat::from_fn(shape.latent, 3 * lanes, |i, c| {
        (z[(i, c / 3)] * (c % 3 + 1) as f64).cos()
    });
    let mut scratch = vec![f64::NAN; dense.scratch_len(3 * lanes)];
    match dense.reduced().filter(|_| forward) {
        Some(reduced) => reduced.forward(at, x.as_mut(), tape.as_mut()),
        None => dense.forward(at, x.as_mut(), tape.as_mut(), &mut scratch),
    }
    .expect("never fails");
    let taped = Taped {
        at,
        tape: tape.as_ref(),
    };
    let reduced = dense.reduced().filter(|_| single);
    match reduced {
        Some(reduced) => reduced.vjp(taped, x_bar.as_ref(), z_bar.as_mut()),
        None => dense.vjp(taped, x_bar.as_ref(), z_bar.as_mut(), &mut scratch),
    }
    .expect("never fails");
    match (reduced, dense.tangent()) {
        (Some(reduced), _) => reduced.jvp(taped, z_dot.as_ref(), x_dot.as_mut()),
        (None, Some(tangent)) => tangent.jvp(taped, z_dot.as_ref(), x_dot.as_mut(), &mut scratch),
        (None, None) => panic!("it has tangents"),
    }
    .expect("never fails");
    [x, z_bar, x_dot]
}

#[test]
fn single_precision_is_off_by_its_rounding_alone() {
    for activation in Activation::ALL {
        for layers in [&[5][..], &[9, 5], &[60, 120, 50]] {
            let (dense, params) = dense(3, layers, activation);
            let z = latents(3, 4);
            let [single, double] = [true, false].map(|single| outputs(&dense, &params, 1, &z, single));
            // Products in single precision read tapes of either.
            let [_, z_bar, x_dot] = outputs_of(&dense, &params, 1, &z, [false, true]);
            for (mixed, double) in [(z_bar, &double[1]), (x_dot, &double[2])] {
                let error = (&mixed - double).norm_max() / double.norm_max();
                assert!(error > 0.0 && error < 2e-6, "{activation:?} {layers:?} mixed: {error}");
            }
            for (name, (single, double)) in ["x", "z_bar", "x_dot"].iter().zip(single.iter().zip(&double)) {
                let error = (single - double).norm_max() / double.norm_max();
                // Sums of 120 terms of random sign, three layers: some 30 roundings of 6e-8.
                assert!(error > 0.0 && error < 2e-6, "{activation:?} {layers:?} {name}: {error}");
            }
        }
    }
}

#[test]
fn a_column_has_the_same_bits_at_every_width_in_single_precision() {
    for (latent, layers, widths) in [
        (8, &[33, 17, 5][..], &[2, 3, 7, 64, 257, 5120][..]),
        (1, &[32, 1], &[2, 3, 7, 300]),
        (2, &[600, 30], &[2, 3, 7, 300]),
        (3, &[30, 600, 3], &[2, 3, 7, 300]),
        (20, &[150, 300, 600, 784], &[2, 3, 7, 64, 300]),
    ] {
        let (dense, params) = dense(latent, layers, Activation::Elu);
        let widest = widths[widths.len() - 1];
        let z = latents(latent, widest);
        let whole = outputs(&dense, &params, 1, &z, true);
        for &width in widths {
            let tail = z.subcols(widest - width, width).to_owned();
            for (whole, part) in whole.iter().zip(outputs(&dense, &params, 1, &tail, true)) {
                let expected = whole.subcols(whole.ncols() - part.ncols(), part.ncols());
                assert!(part == expected, "{layers:?} at width {width}");
            }
        }
    }
}

#[test]
fn weights_out_of_range_of_single_precision_give_the_bits_of_double_precision() {
    let (dense, params) = dense(3, &[9, 5], Activation::Elu);
    let z = latents(3, 4);
    for (version, factor) in [(1, 1e-20), (2, 1e20)] {
        let params: Vec<f64> = params.iter().map(|p| p * factor).collect();
        let [single, double] = [true, false].map(|single| outputs(&dense, &params, version, &z, single));
        assert!(single == double, "{factor}");
    }
}

#[test]
fn copies_follow_the_version_and_none_is_kept_without() {
    let (dense, params) = dense(3, &[9, 5], Activation::Elu);
    let other: Vec<f64> = params.iter().map(|p| 2.0 * p).collect();
    let z = latents(3, 4);
    for single in [true, false] {
        let fresh = |params: &[f64]| outputs(&self::dense(3, &[9, 5], Activation::Elu).0, params, 0, &z, single);
        for (version, params) in [
            (0, &params),
            (0, &other),
            (5, &params),
            (6, &other),
            (5, &params),
            (0, &other),
        ] {
            assert!(
                outputs(&dense, params, version, &z, single) == fresh(params),
                "{version}"
            );
        }
        // The first product with some weights makes no copies, those after it have the same bits.
        let all: Vec<_> = (0..3).map(|_| outputs(&dense, &params, 8, &z, single)).collect();
        assert!(all.iter().all(|found| *found == fresh(&params)));
        // Within a version the copies stand for the weights.
        outputs(&dense, &params, 7, &z, single);
        assert!(outputs(&dense, &other, 7, &z, single)[2] != fresh(&other)[2]);
    }
}
