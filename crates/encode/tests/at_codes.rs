//! What an encoding reports of its codes can be had again from the codes alone.

use faer::Mat;
use gfe_encode::{Encoding, Ptc, Samples, Solver, at_codes, encode};
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{Decoder, LossKind, Output, Targets};

#[test]
fn loss_gradient_and_chi_squared_at_written_codes_have_the_bits_of_the_report() {
    let config = DenseConfig {
        decoder: DenseKind::Dense,
        latent: 3,
        layers: vec![8, 12],
        activation: Activation::Tanh,
        output: Output::Values,
    };
    let decoder = Dense::new(config).expect("it can be built");
    let mut params = vec![0.0; decoder.shape().params];
    decoder
        .trainable()
        .expect("it trains")
        .init(1, &mut params)
        .expect("weights");
    let mut y = Mat::from_fn(12, 7, |r, b| ((r * 7 + 3 * b) as f64).sin());
    y[(4, 2)] = f64::NAN;
    let w = Mat::from_fn(12, 7, |r, b| if (r + b) % 5 == 0 { 0.0 } else { 4.0 });
    let z0 = Mat::full(3, 7, 0.1);
    let samples = Samples {
        data: Targets {
            y: y.as_ref(),
            w: Some(w.as_ref()),
        },
        context: None,
        z0: z0.as_ref(),
    };
    let open = || -> Box<dyn Decoder> { Box::new(decoder.clone()) };
    for t_end in [10.0, f64::INFINITY] {
        let how = Encoding {
            t_end,
            max_steps: 50,
            lanes: 4,
            ..Encoding::new(&open, LossKind::Gaussian.loss(), Solver::Ptc(Ptc::default()))
        };
        let encoded = encode(&how, &params, samples).expect("the decoder works");
        let found = at_codes(&how, &params, samples, encoded.z.as_ref()).expect("the decoder works");
        for (b, (at, record)) in found.iter().zip(&encoded.records).enumerate() {
            assert_eq!(at.admitted, b != 2 || w[(4, 2)] == 0.0, "sample {b}");
            assert_eq!(at.loss.to_bits(), record.loss.to_bits(), "loss of sample {b}");
            assert_eq!(
                at.grad_norm.to_bits(),
                record.grad_norm.to_bits(),
                "gradient of sample {b}"
            );
            assert_eq!(at.chi2.to_bits(), record.chi2.to_bits(), "chi-squared of sample {b}");
            assert_eq!(at.n_valid, record.n_valid, "sample {b}");
        }
        let moved = Mat::from_fn(3, 7, |r, b| encoded.z[(r, b)] + 1e-3);
        let other = at_codes(&how, &params, samples, moved.as_ref()).expect("the decoder works");
        assert!(other.iter().zip(&found).any(|(a, b)| a.loss != b.loss));
    }
}
