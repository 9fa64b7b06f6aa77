//! A gradient flow whose Hessian is singular everywhere.

use super::network::{Loss, Network};
use super::{Problem, table};
use std::sync::Arc;

/// x = tanh(W z), 3 latents, 6 outputs, W = L R / 16 of rank 2: z moves in z0 + the row space of R alone.
///
/// The entries of W are exact, so that its rank is.
fn decoder() -> Network {
    const LEFT: [[f64; 2]; 6] = [
        [4.0, 1.0],
        [-3.0, 2.0],
        [1.0, -5.0],
        [2.0, 3.0],
        [-1.0, 4.0],
        [5.0, -2.0],
    ];
    const RIGHT: [[f64; 3]; 2] = [[2.0, -1.0, 1.0], [1.0, 3.0, -2.0]];
    let row = |l: &[f64; 2]| {
        (0..3)
            .map(|j| (l[0] * RIGHT[0][j] + l[1] * RIGHT[1][j]) / 16.0)
            .collect()
    };
    let unit = |i: usize| (0..6).map(|j| if i == j { 1.0 } else { 0.0 }).collect();
    Network {
        w1: LEFT.iter().map(row).collect(),
        b1: vec![0.0; 6],
        w2: (0..6).map(unit).collect(),
        b2: vec![0.0; 6],
        y: vec![0.5, -0.25, 0.75, 0.125, -0.5, 0.25],
        loss: Loss::Squares,
    }
}

/// To t = 40. The minimizer is the one that the flow from z0 tends to, out of a line of them.
pub(super) fn problem() -> Problem {
    let (reference, minimizer) = table::read(include_str!("reference/rank-deficient.txt"));
    Problem {
        name: "rank-deficient".into(),
        about: "gradient flow of a decoder of rank 2 with 3 latents: a line of minima".into(),
        source: "own; reference by reference/make.py".into(),
        z0: vec![1.0, -1.0, 0.5],
        t_end: 40.0,
        stiff: false,
        atol_per_rtol: 1.0,
        reference,
        published: None,
        minimizer,
        equations: Arc::new(decoder()),
    }
}
