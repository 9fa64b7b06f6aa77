//! Whether error bars are as long as they say: data are made from known codes and noise of known size, and the codes found are held against
//! those that the data were made from.
//!
//! Two figures each: how often |z - z_true| <= z_std, which is 68.3% for the normal distribution; and whether
//! (z - z_true)^T C^-1 (z - z_true) follows chi-squared with d degrees of freedom, by the test of Kolmogorov and Smirnov.
//! `make coverage` prints them.

use faer::linalg::solvers::Solve;
use faer::{Mat, MatRef, Side};
use gfe_encode::{Encoded, Encoding, Noise, Ptc, Samples, Solver, encode_from};
use gfe_model::dense::{Activation, Dense, DenseConfig};
use gfe_model::{At, Cols, Decoder, LossKind, Output, Targets, Trainable};
use gfe_ode::Curvature;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const LATENT: usize = 4;
const VALUES: usize = 64;
const SAMPLES: usize = 2000;

/// Standard normal deviates (Box & Muller 1958), `[rows, columns]`.
fn normal(seed: u64, rows: usize, columns: usize) -> Mat<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = || ((random.next_u64() >> 11) as f64 + 0.5) * (-53.0_f64).exp2();
    Mat::from_fn(rows, columns, |_, _| {
        (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()
    })
}

/// A decoder with its weights.
struct Made {
    decoder: Dense,
    params: Vec<f64>,
}

impl Made {
    /// A network with one hidden layer, bent over a unit of z, or a linear map.
    fn new(activation: Activation) -> Made {
        let config = DenseConfig {
            decoder: Default::default(),
            latent: LATENT,
            layers: vec![32, VALUES],
            activation,
            output: Output::Values,
        };
        let decoder = Dense::new(config).expect("its sizes are valid");
        let mut params = vec![0.0; decoder.shape().params];
        let trainable: &dyn Trainable = decoder.trainable().expect("it can be trained");
        trainable.init(3, &mut params).expect("it never fails");
        params.iter_mut().for_each(|weight| *weight *= 2.0);
        Made { decoder, params }
    }

    fn decode(&self, z: &Mat<f64>) -> Mat<f64> {
        let (mut x, none) = (
            Mat::zeros(VALUES, z.ncols()),
            MatRef::from_column_major_slice(&[], 0, z.ncols()),
        );
        let mut tape = Mat::zeros(self.decoder.tape_len(), z.ncols());
        let mut scratch = vec![0.0; self.decoder.scratch_len(z.ncols())];
        let at = At {
            params: &self.params,
            version: 1,
            z: z.as_ref(),
            context: none,
        };
        self.decoder
            .forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
            .expect("it never fails");
        x
    }
}

/// Data of known codes.
struct Known {
    z: Mat<f64>,
    y: Mat<f64>,
}

/// `z` decoded, with noise of standard deviation `sigma` `[D]`.
fn with_noise(made: &Made, z: Mat<f64>, sigma: &[f64], seed: u64) -> Known {
    let (mut y, noise) = (made.decode(&z), normal(seed, VALUES, z.ncols()));
    for b in 0..z.ncols() {
        for (i, sigma) in sigma.iter().enumerate() {
            y[(i, b)] += sigma * noise[(i, b)];
        }
    }
    Known { z, y }
}

/// How data are encoded.
struct How<'a> {
    made: &'a Made,
    loss: LossKind,
    t_end: f64,
    noise: Option<&'a Noise>,
}

impl How<'_> {
    fn run<T>(&self, what: impl FnOnce(&Encoding<'_>) -> T) -> T {
        let decoder = self.made.decoder.clone();
        let open = move || -> Box<dyn Decoder> { Box::new(decoder.clone()) };
        let solver = Solver::Ptc(Ptc {
            edm_tol: 1e-6,
            ..Ptc::default()
        });
        what(&Encoding {
            t_end: self.t_end,
            lanes: 64,
            threads: 2,
            uncertainty: Some(Curvature::Exact),
            noise: self.noise,
            ..Encoding::new(&open, self.loss.loss(), solver)
        })
    }

    /// From z0 = 0, the integration begun at the truth, so that it ends in the minimum beside it.
    fn encode(&self, known: &Known, w: Option<Cols<'_>>) -> Encoded {
        let z0 = Mat::zeros(LATENT, known.z.ncols());
        let samples = Samples {
            data: Targets { y: known.y.as_ref(), w },
            context: None,
            z0: z0.as_ref(),
        };
        self.run(|how| encode_from(how, &self.made.params, samples, Some(known.z.as_ref())))
            .expect("it never breaks down")
    }
}

/// 1/sigma^2 for every sample.
fn weights(sigma: &[f64], samples: usize) -> Mat<f64> {
    Mat::from_fn(VALUES, samples, |i, _| sigma[i].powi(-2))
}

/// What error bars come to.
#[derive(Debug)]
struct Coverage {
    /// Part of the values within one standard error.
    within: f64,
    /// Probability of a distance from the distribution of chi-squared as large as that found, or larger.
    p: f64,
    /// Mean of chi-squared over its degrees of freedom.
    ratio: f64,
    /// Mean effective degrees of freedom.
    dof: f64,
}

/// The distribution of chi-squared with an even number of degrees of freedom d: 1 - e^(-x/2) sum_{k < d/2} (x/2)^k / k!.
fn chi_squared(x: f64, d: usize) -> f64 {
    let (mut term, mut sum) = (1.0, 0.0);
    for k in 0..d / 2 {
        sum += term;
        term *= 0.5 * x / (k + 1) as f64;
    }
    1.0 - (-0.5 * x).exp() * sum
}

/// The probability that n numbers of this distribution lie as far from it as `probabilities`, or farther (Stephens 1970, J. R. Stat. Soc. B 32).
fn kolmogorov_smirnov(mut probabilities: Vec<f64>) -> f64 {
    probabilities.sort_by(f64::total_cmp);
    let n = probabilities.len() as f64;
    let apart = |(i, p): (usize, &f64)| (p - i as f64 / n).max((i + 1) as f64 / n - p);
    let most = probabilities.iter().enumerate().map(apart).fold(0.0, f64::max);
    let lambda = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * most;
    let term = |k: i32| f64::from(1 - 2 * ((k - 1) % 2)) * (-2.0 * (f64::from(k) * lambda).powi(2)).exp();
    (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}

fn coverage(name: &str, known: &Known, encoded: &Encoded) -> Coverage {
    let bars = encoded.uncertainty.as_ref().expect("they were asked for");
    let (mut within, mut squares) = (0, Vec::new());
    for b in 0..known.z.ncols() {
        assert!(
            encoded.records[b].status.is_success(),
            "sample {b}: {:?}",
            encoded.records[b]
        );
        let apart = Mat::from_fn(LATENT, 1, |r, _| encoded.z[(r, b)] - known.z[(r, b)]);
        within += (0..LATENT)
            .filter(|&r| apart[(r, 0)].abs() <= bars.z_std[(r, b)])
            .count();
        let covariance = MatRef::from_column_major_slice(bars.z_cov.col_as_slice(b), LATENT, LATENT);
        let solved = covariance
            .llt(Side::Lower)
            .expect("it is positive definite")
            .solve(&apart);
        squares.push((0..LATENT).map(|r| apart[(r, 0)] * solved[(r, 0)]).sum::<f64>());
    }
    let n = squares.len() as f64;
    let found = Coverage {
        within: within as f64 / (n * LATENT as f64),
        ratio: squares.iter().sum::<f64>() / (n * LATENT as f64),
        p: kolmogorov_smirnov(squares.iter().map(|x| chi_squared(*x, LATENT)).collect()),
        dof: bars.dof.iter().sum::<f64>() / n,
    };
    let Coverage { within, p, ratio, dof } = found;
    println!("| {name} | {:.1}% | {ratio:.3} | {p:.2} | {dof:.2} |", 100.0 * within);
    found
}

/// The acceptance: of 68.3% of 8,000 the standard deviation is 0.5%.
fn assert_good(found: &Coverage) {
    assert!((0.65..=0.71).contains(&found.within) && found.p > 0.01, "{found:?}");
}

/// The root mean square of what codes of unit spread decode to.
fn signal(made: &Made) -> f64 {
    let x = made.decode(&normal(1, LATENT, 500));
    (x.norm_l2().powi(2) / (500 * VALUES) as f64).sqrt()
}

/// Codes of a normal distribution, and their data at this ratio of signal to noise in a value, the
/// same for all values; found with the loss gaussian.
fn gaussian(made: &Made, ratio: f64, t_end: f64) -> Coverage {
    let sigma = vec![signal(made) / ratio; VALUES];
    // D l + D |z|^2 / (2 tau) is the negative log posterior of codes whose prior has the variance tau / D.
    let prior = if t_end.is_finite() {
        (t_end / VALUES as f64).sqrt()
    } else {
        1.0
    };
    let known = with_noise(made, normal(11, LATENT, SAMPLES) * faer::Scale(prior), &sigma, 12);
    let how = How {
        made,
        loss: LossKind::Gaussian,
        t_end,
        noise: None,
    };
    let encoded = how.encode(&known, Some(weights(&sigma, SAMPLES).as_ref()));
    let linear = if made.decoder.config().activation == Activation::Identity {
        ", a linear decoder"
    } else {
        ""
    };
    let name = format!("{ratio}, t_end {t_end}{linear}");
    coverage(&name, &known, &encoded)
}

#[test]
fn error_bars_hold_the_truth_as_often_as_they_say() {
    for ratio in [1000.0, 30.0] {
        assert_good(&gaussian(&Made::new(Activation::Tanh), ratio, f64::INFINITY));
    }
}

#[test]
fn with_a_horizon_they_are_those_of_the_prior_that_it_stands_for() {
    let tau = VALUES as f64;
    assert_good(&gaussian(&Made::new(Activation::Tanh), 30.0, tau));
    // The data determine two latents of the four: the rest of the error bar is the prior's.
    let found = gaussian(&Made::new(Activation::Identity), 0.3, tau);
    assert_good(&found);
    assert!((1.5..2.5).contains(&found.dof), "{found:?}");
}

#[test]
fn they_fall_short_where_the_decoder_bends_within_one() {
    let made = Made::new(Activation::Tanh);
    for ratio in [10.0, 3.0] {
        gaussian(&made, ratio, f64::INFINITY);
    }
    let found = [10.0, 3.0, 1.0, 0.3].map(|ratio| gaussian(&made, ratio, VALUES as f64));
    assert!(
        found[0].within > found[1].within && found[1].within > found[2].within,
        "{found:?}"
    );
    assert!(found[2].within < 0.65 && found[2].p < 1e-6, "{found:?}");
}

/// Standard errors that are large in some values and small in the others.
fn unlike(size: f64) -> Vec<f64> {
    (0..VALUES)
        .map(|i| if i < 8 { 4.0 * size } else { 0.5 * size })
        .collect()
}

#[test]
fn those_of_least_squares_hold_the_truth_whatever_the_errors_of_the_values() {
    let made = Made::new(Activation::Tanh);
    let sigma = unlike(signal(&made) / 30.0);
    let known = with_noise(&made, normal(11, LATENT, SAMPLES), &sigma, 12);
    let encode = |sigma: &[f64]| {
        let noise = Noise {
            sigma: sigma.to_vec(),
            samples: 0,
        };
        let how = How {
            made: &made,
            loss: LossKind::Mse,
            t_end: f64::INFINITY,
            noise: Some(&noise),
        };
        how.encode(&known, None)
    };
    let encoded = encode(&sigma);
    assert_good(&coverage("least squares, known errors", &known, &encoded));
    let x = made.decode(&encoded.z);
    for b in 0..SAMPLES {
        let square = |i: usize| ((known.y[(i, b)] - x[(i, b)]) / sigma[i]).powi(2);
        let chi2: f64 = (0..VALUES).map(square).sum();
        assert!((encoded.records[b].chi2 - chi2).abs() < 1e-9 * chi2);
    }
    // The codes do not feel what their errors are taken for.
    let mean = (sigma.iter().map(|sigma| sigma * sigma).sum::<f64>() / VALUES as f64).sqrt();
    let alike = encode(&[mean; VALUES]);
    assert_eq!(alike.z, encoded.z);
    let found = coverage("the same, one error for all", &known, &alike);
    assert!(found.p < 1e-6 && found.within > 0.71, "{found:?}");
}

#[test]
fn a_horizon_of_least_squares_is_a_prior_in_units_of_the_mean_error() {
    let (made, tau) = (Made::new(Activation::Identity), 1.5);
    let size = 2.0 * signal(&made);
    // D l / (2 sigma^2) + D |z|^2 / (4 sigma^2 tau): a prior of variance 2 sigma^2 tau / D.
    let prior = (2.0 * size * size * tau / VALUES as f64).sqrt();
    let noise = Noise {
        sigma: vec![size; VALUES],
        samples: 0,
    };
    let known = with_noise(
        &made,
        normal(11, LATENT, SAMPLES) * faer::Scale(prior),
        &noise.sigma,
        12,
    );
    let how = How {
        made: &made,
        loss: LossKind::Mse,
        t_end: tau,
        noise: Some(&noise),
    };
    let found = coverage("least squares, a horizon", &known, &how.encode(&known, None));
    assert_good(&found);
    assert!((1.0..3.0).contains(&found.dof), "{found:?}");
}

/// Estimated from so many samples of noise `sigma`, of which a fifth of the values is missing.
fn estimated(made: &Made, sigma: &[f64], samples: usize, (lanes, threads): (usize, usize)) -> Noise {
    let held = with_noise(made, normal(21, LATENT, samples), sigma, 22);
    let hidden = normal(23, VALUES, samples);
    // The last value is never there; what stands in its place is not looked at.
    let missing = |i: usize, b: usize| i == VALUES - 1 || hidden[(i, b)] > 0.8416;
    let w = Mat::from_fn(VALUES, samples, |i, b| if missing(i, b) { 0.0 } else { 1.0 });
    let y = Mat::from_fn(
        VALUES,
        samples,
        |i, b| if missing(i, b) { 1e30 } else { held.y[(i, b)] },
    );
    let z0 = Mat::zeros(LATENT, samples);
    let samples = Samples {
        data: Targets {
            y: y.as_ref(),
            w: Some(w.as_ref()),
        },
        context: None,
        z0: z0.as_ref(),
    };
    let how = How {
        made,
        loss: LossKind::Mse,
        t_end: f64::INFINITY,
        noise: None,
    };
    let estimate = |how: &Encoding<'_>| {
        let how = Encoding { lanes, threads, ..*how };
        Noise::estimate(&how, &made.params, samples)
    };
    how.run(estimate).expect("it never breaks down")
}

#[test]
fn errors_are_estimated_from_what_codes_leave_without_their_freedom_and_what_is_missing() {
    let mut made = Made::new(Activation::Tanh);
    // A value that the decoder always gets right, by no weights and a bias of its own.
    let (weights, bias) = made.params.split_at_mut(LATENT * 32 + 32 + 32 * VALUES);
    weights[LATENT * 32 + 32..][..32].fill(0.0);
    bias[0] = 0.25;
    let mut sigma = vec![signal(&made) / 100.0; VALUES];
    sigma[0] = 0.0;
    let noise = estimated(&made, &sigma, 500, (64, 1));
    assert_eq!(noise.samples, 500);
    assert!(noise.sigma[0] == 0.0 && noise.sigma[VALUES - 1].is_nan(), "{noise:?}");
    let squares: Vec<f64> = (1..VALUES - 1).map(|i| (noise.sigma[i] / sigma[i]).powi(2)).collect();
    let mean = squares.iter().sum::<f64>() / squares.len() as f64;
    // Of 400 squares in each of 62 values the mean has a standard deviation of 0.9%; the freedom of the codes is 8%.
    assert!((mean - 1.0).abs() < 0.03, "{mean}");
    assert!(squares.iter().all(|square| (0.7..1.35).contains(square)), "{squares:?}");
    let bits = |noise: &Noise| -> Vec<u64> { noise.sigma.iter().map(|sigma| sigma.to_bits()).collect() };
    for how in [(1, 1), (7, 2)] {
        assert_eq!(bits(&estimated(&made, &sigma, 500, how)), bits(&noise), "{how:?}");
    }
    // A row that has a value of unknown error has no error bars; one without has.
    let known = with_noise(&made, normal(11, LATENT, SAMPLES), &sigma, 12);
    let w = Mat::from_fn(VALUES, SAMPLES, |i, b| if i == VALUES - 1 && b > 0 { 0.0 } else { 1.0 });
    let how = How {
        made: &made,
        loss: LossKind::Mse,
        t_end: f64::INFINITY,
        noise: Some(&noise),
    };
    let encoded = how.encode(&known, Some(w.as_ref()));
    let bars = encoded.uncertainty.as_ref().expect("they were asked for");
    assert!(bars.z_std[(0, 0)].is_nan() && bars.dof[0].is_finite());
    assert!((1..SAMPLES).all(|b| bars.z_std[(0, b)] > 0.0 && encoded.records[b].chi2.is_finite()));
}

/// Error bars of least squares by errors estimated from 500 other samples.
fn by_estimated(name: &str, made: &Made, mut sigma: Vec<f64>) -> Coverage {
    let mut noise = estimated(made, &sigma, 500, (64, 2));
    // The last value is missing in what they are estimated from, and so it is here.
    (noise.sigma[VALUES - 1], sigma[VALUES - 1]) = (f64::NAN, 0.0);
    let known = with_noise(made, normal(11, LATENT, SAMPLES), &sigma, 12);
    let w = Mat::from_fn(VALUES, SAMPLES, |i, _| if i == VALUES - 1 { 0.0 } else { 1.0 });
    let how = How {
        made,
        loss: LossKind::Mse,
        t_end: f64::INFINITY,
        noise: Some(&noise),
    };
    coverage(name, &known, &how.encode(&known, Some(w.as_ref())))
}

#[test]
fn error_bars_by_estimated_errors_hold_the_truth_too() {
    let made = Made::new(Activation::Tanh);
    let size = signal(&made) / 100.0;
    // Within a factor of 3 to either side.
    let mild: Vec<f64> = (0..VALUES)
        .map(|i| size * 3.0_f64.powf((1.7 * i as f64).sin()))
        .collect();
    assert_good(&by_estimated("least squares, estimated errors", &made, mild));
    // Some of the large errors ends up in the estimates of the small ones: error bars are then too long, not too short.
    let found = by_estimated("the same, 64-fold variances", &made, unlike(size));
    assert!((0.9..1.0).contains(&found.ratio), "{found:?}");
}
