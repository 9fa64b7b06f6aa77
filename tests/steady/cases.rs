//! Decoders that make it hard.

use crate::{DEFAULT, GTOL, Model, Samples, Setting, data, digits, encode_model, units};
use faer::{Mat, Side};
use gfe_model::{Decoder, LossKind};

/// Numbers between -1 and 1 that look random.
fn noise(seed: usize) -> f64 {
    let mixed = (seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03;
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    ((mixed ^ (mixed >> 32)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

#[test]
fn a_rank_deficient_decoder_converges() {
    let mut model = Model::read("mnist_decoder");
    // The second half of the latents reaches nothing: the first tensor is [150, 20].
    let first = &mut model.params[..150 * 20];
    first.chunks_mut(20).for_each(|row| row[10..].fill(0.0));
    let samples = Samples { y: digits(), w: None };
    for (what, with) in [
        ("10 of 20 latents idle", DEFAULT),
        ("the same, t_end inf, gtol 1e-5", GTOL),
    ] {
        let encoded = encode_model(&model, &samples, None, with);
        units(what, &encoded);
        let idle = (0..200).flat_map(|b| encoded.0.z.col_as_slice(b)[10..].to_vec());
        assert!(
            idle.into_iter().all(|z| z == 0.0),
            "nothing moves what the data do not determine"
        );
    }
}

#[test]
fn an_ill_conditioned_spectrum_at_a_signal_to_noise_of_1000_converges() {
    let (latent, values, count) = (8, 512, 64);
    let mut model = Model::random(latent, &[64, values], "values", 3);
    // Latent r counts 10^(-4 r/7): H spans 8 decades.
    let scale = |r: usize| 10f64.powf(-4.0 * r as f64 / (latent - 1) as f64);
    let first = &mut model.params[..64 * latent];
    first
        .chunks_mut(latent)
        .for_each(|row| row.iter_mut().enumerate().for_each(|(r, w)| *w *= scale(r)));
    let truth = Mat::from_fn(latent, count, |r, b| noise(1 + r + b * latent) / scale(r));
    let clean = model.decode(truth.as_ref());
    let signal = (clean.squared_norm_l2() / (values * count) as f64).sqrt();
    let sigma = signal / 1000.0;
    // The sum of 12 numbers has a variance of 4.
    let normal = |seed: usize| (0..12).map(|i| noise(777 + 12 * seed + i)).sum::<f64>() / 2.0;
    let y = Mat::from_fn(values, count, |i, b| clean[(i, b)] + sigma * normal(i + b * values));
    let w = Some(Mat::full(values, count, 1.0 / (sigma * sigma)));
    let samples = Samples { y, w };
    for t_end in [1e4, f64::INFINITY] {
        let with = Setting {
            t_end,
            loss: LossKind::Gaussian,
            ..DEFAULT
        };
        let encoded = encode_model(&model, &samples, None, with);
        units(&format!("512 values, cond(H) 1e8, S/N 1000, t_end {t_end:e}"), &encoded);
        if t_end.is_infinite() {
            // chi-squared per value near 1: the spectra are fitted to their noise.
            let chi2: f64 = encoded.0.records.iter().map(|record| record.chi2).sum::<f64>() / (values * count) as f64;
            assert!((0.9..1.1).contains(&chi2), "chi-squared per value {chi2}");
        }
    }
    // J^T J at the truth, by central differences.
    let mut jacobian = Mat::zeros(values, latent);
    for r in 0..latent {
        let h = 1e-4 / scale(r);
        let moved = |sign: f64| {
            model.decode(Mat::from_fn(latent, 2, |i, _| truth[(i, 0)] + if i == r { sign * h } else { 0.0 }).as_ref())
        };
        let (up, down) = (moved(1.0), moved(-1.0));
        for i in 0..values {
            jacobian[(i, r)] = (up[(i, 0)] - down[(i, 0)]) / (2.0 * h);
        }
    }
    let hessian = jacobian.transpose() * &jacobian;
    let eigenvalues = hessian.self_adjoint_eigenvalues(Side::Lower).expect("it is symmetric");
    let condition = eigenvalues[latent - 1] / eigenvalues[0];
    println!("condition number {condition:.1e}");
    assert!((1e7..1e10).contains(&condition), "{condition}");
}

#[test]
fn few_and_many_latents_converge() {
    let samples = Samples { y: digits(), w: None };
    for latent in [2, 8, 64, 784] {
        let few = Samples {
            y: samples
                .y
                .as_ref()
                .subcols(0, if latent > 128 { 20 } else { 200 })
                .to_owned(),
            w: None,
        };
        let model = Model::random(latent, &[128, 784], "logits", 5);
        assert_eq!(model.dense.shape().latent, latent);
        units(
            &format!("{latent} latents, random weights, digits"),
            &encode_model(&model, &few, None, DEFAULT),
        );
    }
}

/// 200 clothes of Fashion-MNIST with a decoder trained on others by `gfe train datasets/mnist.toml`.
#[test]
fn clothes_converge() {
    let model = Model::read("fashion_t_end_1e4");
    let file = hdf5::File::open(data("fashion_test_200.h5")).expect("the clothes can be read");
    let bytes = file
        .dataset("images")
        .and_then(|images| images.read_raw::<u8>())
        .expect("it holds images");
    let y = Mat::from_fn(784, 200, |i, b| f64::from(bytes[b * 784 + i]) / 255.0);
    let samples = Samples { y, w: None };
    let inf = Setting {
        t_end: f64::INFINITY,
        ..DEFAULT
    };
    for (what, with) in [
        ("Fashion-MNIST", DEFAULT),
        ("the same, t_end inf", inf),
        ("the same, gtol 1e-5 alone", GTOL),
    ] {
        units(what, &encode_model(&model, &samples, None, with));
    }
}

/// Data and decoder in other units: the same codes for the same work, to rounding.
#[test]
fn the_units_of_the_data_do_not_matter() {
    let model = Model::random(4, &[32, 128], "values", 11);
    let truth = Mat::from_fn(4, 20, |r, b| noise(5 + r + 4 * b));
    let clean = model.decode(truth.as_ref());
    let y = Mat::from_fn(128, 20, |i, b| clean[(i, b)] + 0.05 * noise(99 + i + 128 * b));
    for t_end in [f64::INFINITY, 1e4] {
        let mut first: Option<(Mat<f64>, u64)> = None;
        for digits in [0, -17, -6, 9, 12] {
            // A horizon ties the loss to z0 and so has its units.
            if t_end.is_finite() && digits != 0 {
                continue;
            }
            let unit = 10f64.powi(digits);
            let mut scaled = Model {
                dense: model.dense.clone(),
                params: model.params.clone(),
            };
            let last = scaled.params.len() - 128 * 33;
            scaled.params[last..].iter_mut().for_each(|w| *w *= unit);
            let samples = Samples {
                y: Mat::from_fn(128, 20, |i, b| unit * y[(i, b)]),
                w: None,
            };
            let with = Setting {
                t_end,
                loss: LossKind::Mse,
                ..DEFAULT
            };
            let encoded = encode_model(&scaled, &samples, None, with);
            let (mean, _) = units(&format!("mse, data in units of 1e{digits}, t_end {t_end:e}"), &encoded);
            assert!(encoded.0.records.iter().all(|record| record.work.steps > 2));
            let work = (mean * 20.0).round() as u64;
            let (z, cost) = first.get_or_insert((encoded.0.z.clone(), work));
            assert!((&*z - &encoded.0.z).norm_max() < 1e-3, "1e{digits}");
            assert!(
                work.abs_diff(*cost) < *cost / 20,
                "1e{digits}: {work} units, {cost} in others"
            );
        }
    }
}

/// A linear decoder whose H has condition number 1e8, too many latents for a matrix: the distance told is the true one.
#[test]
fn the_distance_without_a_matrix_is_the_true_one() {
    let (latent, values) = (160, 200);
    let mut model = Model::random(latent, &[values], "values", 1);
    let mixed = |rows: usize, seed: usize| {
        Mat::from_fn(rows, latent, |i, j| noise(seed + i + rows * j))
            .qr()
            .compute_thin_Q()
    };
    let (left, right) = (mixed(values, 7), mixed(latent, 70_000));
    let matrix = Mat::from_fn(values, latent, |i, r| {
        left[(i, r)] * 10f64.powf(-4.0 * r as f64 / 159.0)
    }) * right.transpose();
    for i in 0..values {
        for r in 0..latent {
            model.params[i * latent + r] = matrix[(i, r)];
        }
        model.params[values * latent + i] = 0.0;
    }
    let truth = Mat::from_fn(latent, 8, |r, b| noise(3 + r + latent * b));
    let y = &matrix * &truth + Mat::from_fn(values, 8, |i, b| 1e-3 * noise(31 + i + values * b));
    let samples = Samples {
        w: Some(Mat::full(values, 8, 1e6)),
        y,
    };
    let with = Setting {
        t_end: f64::INFINITY,
        loss: LossKind::Gaussian,
        ..DEFAULT
    };
    let encoded = encode_model(&model, &samples, None, with);
    units("160 latents, cond(H) 1e8", &encoded);
    // edm = (1/2) sum w r^T A (A^T A)^-1 A^T r with the residual r: half its squared projection on the columns of A.
    let (projector, z) = (left, &encoded.0.z);
    for (b, record) in encoded.0.records.iter().enumerate() {
        let residual = Mat::from_fn(values, 1, |i, _| {
            samples.y[(i, b)] - (0..latent).map(|r| matrix[(i, r)] * z[(r, b)]).sum::<f64>()
        });
        let edm = 0.5e6 * (projector.transpose() * residual).squared_norm_l2();
        println!("  edm {:.2e}, truly {edm:.2e}", record.edm);
        assert!((record.edm - edm).abs() <= 0.3 * edm + 1e-12, "{} {edm}", record.edm);
        assert!(edm <= 2e-3, "{edm}");
    }
}
