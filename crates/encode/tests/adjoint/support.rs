//! A small decoder, data for it, and its gradients.

use faer::Mat;
use gfe_encode::train::adjoint;
use gfe_encode::{Encoded, Encoding, Samples, Solver};
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{Decoder, LossKind, Output, Targets};

pub const VALUES: usize = 7;
pub const LATENT: usize = 2;
pub const SAMPLES: usize = 5;

pub fn dense(activation: Activation) -> Dense {
    let config = DenseConfig {
        decoder: DenseKind::Dense,
        latent: LATENT,
        layers: vec![5, VALUES],
        activation,
        output: Output::Values,
    };
    Dense::new(config).expect("the sizes are valid")
}

pub fn weights(decoder: &dyn Decoder, size: f64) -> Vec<f64> {
    let mut params = vec![0.0; decoder.shape().params];
    let trainable = decoder.trainable().expect("it has weights");
    trainable.init(3, &mut params).expect("weights can be had");
    params.iter_mut().for_each(|weight| *weight *= size);
    params
}

/// Data in [0, 1], weights of which some are 0, and latents.
pub struct Set {
    pub y: Mat<f64>,
    pub w: Option<Mat<f64>>,
    pub context: Option<Mat<f64>>,
    pub z0: Mat<f64>,
}

impl Set {
    pub fn new(samples: usize, weighted: bool) -> Self {
        let wave = |r: usize, b: usize| 0.5 + 0.5 * ((r * r + 3 * b) as f64).sin();
        Set {
            y: Mat::from_fn(VALUES, samples, wave),
            w: weighted.then(|| Mat::from_fn(VALUES, samples, |r, b| ((r + b) % 4) as f64)),
            context: None,
            z0: Mat::from_fn(LATENT, samples, |r, b| 0.3 * (r as f64) - 0.1 * (b as f64)),
        }
    }

    pub fn samples(&self) -> Samples<'_> {
        Samples {
            data: Targets {
                y: self.y.as_ref(),
                w: self.w.as_ref().map(Mat::as_ref),
            },
            context: self.context.as_ref().map(Mat::as_ref),
            z0: self.z0.as_ref(),
        }
    }
}

pub fn encoding(open: &(dyn Fn() -> Box<dyn Decoder> + Sync), solver: Solver, t_end: f64) -> Encoding<'_> {
    Encoding {
        t_end,
        gtol: 1e-12,
        max_steps: 100_000,
        lanes: 3,
        threads: 2,
        ..Encoding::new(open, LossKind::Mse.loss(), solver)
    }
}

/// params_bar, z0_bar and the encoding.
pub struct Gradient {
    pub params_bar: Vec<f64>,
    pub z0_bar: Mat<f64>,
    pub encoded: Encoded,
}

pub fn gradient(how: &Encoding<'_>, params: &[f64], set: &Set, stride: u32) -> Gradient {
    let mut params_bar = vec![f64::NAN; params.len()];
    let mut z0_bar = Mat::full(LATENT, set.y.ncols(), f64::NAN);
    let to = Some(z0_bar.as_mut());
    let encoded = adjoint(how, params, set.samples(), stride, &mut params_bar, to).expect("there is an adjoint");
    Gradient {
        params_bar,
        z0_bar,
        encoded,
    }
}

pub fn norm(v: impl Iterator<Item = f64>) -> f64 {
    v.map(|v| v * v).sum::<f64>().sqrt()
}

/// |a - b| / |b|.
pub fn apart(a: &[f64], b: &[f64]) -> f64 {
    norm(a.iter().zip(b).map(|(a, b)| a - b)) / norm(b.iter().copied())
}

/// Column after column.
pub fn flat(columns: &Mat<f64>) -> Vec<f64> {
    (0..columns.ncols())
        .flat_map(|b| columns.col_as_slice(b).to_vec())
        .collect()
}
