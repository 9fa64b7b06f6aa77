//! The gradient flow of a small dense decoder, for either loss.

use super::network::{Loss, Network};
use super::{Problem, table};
use std::sync::Arc;

/// The same double as in `reference/make.py`, between -0.5 and 0.5.
fn ratio(i: usize, j: usize) -> f64 {
    ((i * 37 + j * 101) % 97) as f64 / 97.0 - 0.5
}

/// Latent 4, hidden 16, output 12; the entries of the weights are rational numbers without meaning.
pub(super) fn decoder(loss: Loss, y: Vec<f64>) -> Network {
    let w1 = |i: usize| (0..4).map(|j| 4.0 * ratio(i * i, j * j + i)).collect();
    let w2 = |i: usize| (0..16).map(|j| 2.0 * ratio(i * i + 7, j * j + 3 * i)).collect();
    Network {
        w1: (0..16).map(w1).collect(),
        b1: (0..16).map(|i| ratio(i, 50)).collect(),
        w2: (0..12).map(w2).collect(),
        b2: (0..12).map(|i| ratio(i, 77)).collect(),
        y,
        loss,
    }
}

fn with(name: &str, about: &str, network: Network, text: &str) -> Problem {
    let (reference, minimizer) = table::read(text);
    Problem {
        name: name.into(),
        about: about.into(),
        source: "own; reference by reference/make.py".into(),
        z0: vec![0.5, -0.5, 0.25, 0.0],
        t_end: *reference.t.last().expect("a reference has times"),
        stiff: false,
        atol_per_rtol: 1.0,
        reference,
        published: None,
        minimizer,
        equations: Arc::new(network),
    }
}

/// Squared error; the Hessian at the minimum has condition number 161.
pub(super) fn squares() -> Problem {
    let y = (0..12).map(|i| ratio(i * i, 5)).collect();
    let about = "gradient flow of a dense decoder, 4 latents, 12 outputs, mean squared error";
    with(
        "mlp",
        about,
        decoder(Loss::Squares, y),
        include_str!("reference/mlp.txt"),
    )
}

/// Binary cross-entropy of the outputs as logits; the Hessian at the minimum has condition number 84.
pub(super) fn bernoulli() -> Problem {
    let y = [6, 2, 6, 5, 3, 5, 2, 3, 1, 7, 4, 2]
        .map(|y| f64::from(y) / 8.0)
        .to_vec();
    let about = "gradient flow of a dense decoder, 4 latents, 12 outputs, binary cross-entropy";
    let network = decoder(Loss::Bernoulli, y);
    with("mlp-bce", about, network, include_str!("reference/mlp-bce.txt"))
}
