//! The dense decoder: its products against one another and differences, and column by column.

use faer::Mat;
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseError, DenseKind};
use gfe_model::{At, Cols, Decoder, LossKind, Output, Taped, check};

fn config(latent: usize, layers: &[usize], activation: Activation) -> DenseConfig {
    DenseConfig {
        decoder: DenseKind::Dense,
        latent,
        layers: layers.to_vec(),
        activation,
        output: Output::Logits,
    }
}

fn dense(latent: usize, layers: &[usize], activation: Activation) -> (Dense, Vec<f64>) {
    let dense = Dense::new(config(latent, layers, activation)).expect("a valid configuration");
    let mut params = vec![0.0; dense.shape().params];
    dense
        .trainable()
        .expect("it has weights")
        .init(7, &mut params)
        .expect("weights can be had");
    (dense, params)
}

/// Latents of size 1 that differ in every entry.
fn latents(d: usize, lanes: usize) -> Mat<f64> {
    Mat::from_fn(d, lanes, |i, b| (1.7 * i as f64 + 0.9 * b as f64 + 0.3).sin() * 1.5)
}

fn at<'a>(params: &'a [f64], z: &'a Mat<f64>) -> At<'a> {
    At {
        params,
        version: 0,
        z: z.as_ref(),
        context: Cols::from_column_major_slice(&[], 0, z.ncols()),
    }
}

#[test]
fn products_agree_with_one_another_and_with_differences() {
    // Central differences of step 6e-6 leave about 1e-10 on functions of size 1; cancellation in a norm may cost a digit.
    let tolerance = 1e-8;
    for activation in Activation::ALL {
        for layers in [&[5][..], &[9, 5], &[7, 12, 5], &[6, 11, 8, 5]] {
            let (dense, mut params) = dense(3, layers, activation);
            // Differences of x lose to rounding where J is small beside x, as behind three sigmoids with initial weights.
            params.iter_mut().for_each(|p| *p *= 3.0);
            let z = latents(3, 4);
            let report = check::report(&dense, at(&params, &z), 11).expect("a dense decoder never fails");
            let said = format!("{activation:?} {layers:?}: {report:?}");
            assert!(report.adjoint.is_some_and(|error| error <= 1e-12), "{said}");
            assert!(report.vjp <= tolerance, "{said}");
            for error in [report.jvp, report.params_vjp] {
                assert!(error.is_some_and(|error| error <= tolerance), "{said}");
            }
            for error in [report.hvp, report.params_hvp] {
                assert!(error.is_some_and(|error| error <= tolerance), "{said}");
            }
        }
    }
}

#[test]
fn one_layer_is_an_affine_map() {
    let (dense, _) = dense(2, &[2], Activation::Elu);
    let params = [1.0, 2.0, 3.0, 4.0, 10.0, 20.0];
    let z = Mat::from_fn(2, 2, |i, b| (1 + i + 2 * b) as f64);
    let mut x = Mat::zeros(2, 2);
    dense
        .forward(at(&params, &z), x.as_mut(), Mat::zeros(0, 2).as_mut(), &mut [])
        .expect("never fails");
    assert_eq!(x, faer::mat![[15.0, 21.0], [31.0, 45.0]]);
}

/// x, z_bar (of the cotangent x) and x_dot (three directions a lane) at `z`.
fn outputs(dense: &Dense, params: &[f64], z: &Mat<f64>) -> [Mat<f64>; 3] {
    let (shape, lanes) = (dense.shape(), z.ncols());
    let at = at(params, z);
    let mut scratch = vec![f64::NAN; dense.scratch_len(3 * lanes)];
    let mut x = Mat::zeros(shape.data, lanes);
    let mut tape = Mat::zeros(dense.tape_len(), lanes);
    dense
        .forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
        .expect("never fails");
    let taped = Taped {
        at,
        tape: tape.as_ref(),
    };
    let mut z_bar = Mat::zeros(shape.latent, lanes);
    dense
        .vjp(taped, x.as_ref(), z_bar.as_mut(), &mut scratch)
        .expect("never fails");
    let z_dot = Mat::from_fn(shape.latent, 3 * lanes, |i, c| {
        (z[(i, c / 3)] * (c % 3 + 1) as f64).cos()
    });
    let mut x_dot = Mat::zeros(shape.data, 3 * lanes);
    dense
        .tangent()
        .expect("it has one")
        .jvp(taped, z_dot.as_ref(), x_dot.as_mut(), &mut scratch)
        .expect("never fails");
    [x, z_bar, x_dot]
}

fn assert_columns_ignore_the_width(dense: &Dense, params: &[f64], widths: &[usize]) {
    let widest = widths.iter().copied().max().expect("some width");
    let z = latents(dense.shape().latent, widest);
    let whole = outputs(dense, params, &z);
    for &width in widths {
        // The last lanes rather than the first, so that a column changes its place too.
        let tail = z.subcols(widest - width, width).to_owned();
        for (name, (whole, part)) in ["forward", "vjp", "jvp"]
            .iter()
            .zip(whole.iter().zip(outputs(dense, params, &tail)))
        {
            let expected = whole.subcols(whole.ncols() - part.ncols(), part.ncols());
            let differing = (0..part.ncols())
                .filter(|&b| (0..part.nrows()).any(|i| part[(i, b)].to_bits() != expected[(i, b)].to_bits()));
            assert_eq!(differing.count(), 0, "columns of {name} at width {width}");
        }
    }
}

#[test]
fn a_column_has_the_same_bits_at_every_width() {
    for layers in [&[32, 64][..], &[1, 64], &[32, 1], &[33, 17, 5]] {
        let (dense, params) = dense(8, layers, Activation::Elu);
        assert_columns_ignore_the_width(&dense, &params, &[2, 3, 7, 64, 257, 5120]);
    }
    let (dense, params) = dense(1, &[32, 64], Activation::Elu);
    assert_columns_ignore_the_width(&dense, &params, &[2, 3, 7, 64, 5120]);
}

/// Few rows of many terms: a product of a few columns is small to faer, one of more columns is not.
#[test]
fn a_column_of_few_rows_and_many_terms_has_the_same_bits_at_every_width() {
    for (latent, layers) in [(2, &[600, 30][..]), (1, &[1100, 1]), (3, &[30, 600, 3]), (100, &[9, 4])] {
        let (dense, params) = dense(latent, layers, Activation::Elu);
        assert_columns_ignore_the_width(&dense, &params, &[2, 3, 7, 64, 300]);
    }
}

#[test]
fn a_column_of_the_large_decoder_has_the_same_bits_at_every_width() {
    let (dense, params) = dense(20, &[150, 300, 600, 784], Activation::Elu);
    assert_columns_ignore_the_width(&dense, &params, &[2, 3, 7, 64, 300]);
}

#[test]
fn a_nan_stays_in_its_column() {
    for activation in Activation::ALL {
        let (dense, params) = dense(3, &[9, 5], activation);
        let clean = latents(3, 4);
        let mut z = clean.clone();
        z[(1, 2)] = f64::NAN;
        let [x, z_bar, _] = outputs(&dense, &params, &z);
        let [clean_x, clean_z_bar, _] = outputs(&dense, &params, &clean);
        assert!((0..5).any(|i| x[(i, 2)].is_nan()), "{activation:?}");
        for lane in [0, 1, 3] {
            assert_eq!(x.col(lane), clean_x.col(lane), "{activation:?}");
            assert_eq!(z_bar.col(lane), clean_z_bar.col(lane), "{activation:?}");
        }
    }
}

#[test]
fn parameter_gradients_are_added_and_do_not_depend_on_the_cut_into_blocks() {
    let (dense, params) = dense(3, &[9, 5], Activation::Tanh);
    let trainable = dense.trainable().expect("it has weights");
    let gradient = |z: &Mat<f64>, bar: &mut [f64]| {
        let at = at(&params, z);
        let mut scratch = vec![f64::NAN; dense.scratch_len(z.ncols())];
        let (mut x, mut tape) = (Mat::zeros(5, z.ncols()), Mat::zeros(dense.tape_len(), z.ncols()));
        dense
            .forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
            .expect("never fails");
        trainable
            .params_vjp(
                Taped {
                    at,
                    tape: tape.as_ref(),
                },
                x.as_ref(),
                bar,
                &mut scratch,
            )
            .expect("never fails");
    };
    let z = latents(3, 600);
    let (mut whole, mut parts) = (vec![1.0; params.len()], vec![1.0; params.len()]);
    gradient(&z, &mut whole);
    for start in (0..600).step_by(100) {
        gradient(&z.subcols(start, 100).to_owned(), &mut parts);
    }
    for (a, b) in whole.iter().zip(&parts) {
        // The same 600 terms in another order.
        assert!((a - b).abs() <= 1e-12 * (600.0 + a.abs()), "{a} and {b}");
    }
}

#[test]
fn initial_weights_are_bounded_and_follow_the_seed() {
    let (dense, params) = dense(4, &[100, 25], Activation::Elu);
    let (first, second) = params.split_at(5 * 100);
    assert!(first.iter().all(|p| p.abs() <= 0.5) && first.iter().any(|p| p.abs() > 0.45));
    assert!(second.iter().all(|p| p.abs() <= 0.1) && second.iter().any(|p| p.abs() > 0.095));
    let mut other = vec![0.0; params.len()];
    dense
        .trainable()
        .expect("it has weights")
        .init(7, &mut other)
        .expect("weights can be had");
    assert_eq!(params, other);
    dense
        .trainable()
        .expect("it has weights")
        .init(8, &mut other)
        .expect("weights can be had");
    assert_ne!(params, other);
}

#[test]
fn tensors_are_named_as_in_pytorch_and_fill_the_parameters() {
    let (dense, params) = dense(20, &[150, 300, 600, 784], Activation::Elu);
    let tensors = dense.tensors();
    assert_eq!(tensors.iter().map(|tensor| tensor.len()).sum::<usize>(), params.len());
    assert_eq!(
        (tensors[2].name.as_str(), tensors[2].shape.as_slice()),
        ("decoder.2.weight", &[300, 150][..])
    );
    assert_eq!(
        (tensors[7].name.as_str(), tensors[7].shape.as_slice()),
        ("decoder.6.bias", &[784][..])
    );
}

#[test]
fn a_configuration_survives_json_and_an_unknown_key_is_an_error() {
    let text = r#"{"decoder":"dense","latent":20,"layers":[150,300,600,784],"activation":"elu","output":"logits"}"#;
    let parsed: DenseConfig = serde_json::from_str(text).expect("the documented form");
    assert_eq!(parsed, config(20, &[150, 300, 600, 784], Activation::Elu));
    assert_eq!(serde_json::to_string(&parsed).expect("plain data"), text);
    assert!(serde_json::from_str::<DenseConfig>(&text.replace("latent", "latents")).is_err());
    assert!(serde_json::from_str::<DenseConfig>(&text.replace("dense", "conv")).is_err());
    assert_eq!(parsed.output.loss(), LossKind::Bce);
    assert_eq!(Output::LogRates.loss(), LossKind::Poisson);
    assert_eq!(Output::Values.loss(), LossKind::Mse);
}

#[test]
fn impossible_sizes_are_refused() {
    let refused = |latent, layers: &[usize]| Dense::new(config(latent, layers, Activation::Elu)).err();
    assert_eq!(refused(2, &[]), Some(DenseError::NoLayers));
    assert_eq!(refused(0, &[3]), Some(DenseError::NoLatent));
    assert_eq!(refused(2, &[3, 0, 4]), Some(DenseError::EmptyLayer { index: 1 }));
    let huge = 1 << 40;
    assert_eq!(
        refused(huge, &[huge]),
        Some(DenseError::TooLarge {
            latent: huge,
            layers: vec![huge]
        })
    );
}
