//! The gradient flow of a decoder with one hidden layer, with Hessians by hand.

use super::Equations;
use crate::Structure;

/// l(x, y) of one output.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// (x - y)^2.
    Squares,
    /// ln(1 + exp x) - y x: binary cross-entropy of the logit x.
    Bernoulli,
}

impl Loss {
    fn value(self, x: f64, y: f64) -> f64 {
        match self {
            Loss::Squares => (x - y).powi(2),
            Loss::Bernoulli => x.max(0.0) + (-x.abs()).exp().ln_1p() - y * x,
        }
    }

    /// dl/dx and its derivative.
    fn derivatives(self, x: f64, y: f64) -> (f64, f64) {
        match self {
            Loss::Squares => (2.0 * (x - y), 2.0),
            Loss::Bernoulli => {
                let sigma = 1.0 / (1.0 + (-x).exp());
                (sigma - y, sigma * (1.0 - sigma))
            }
        }
    }
}

/// objective = (1/D) sum_k l(x_k, y_k), x = W2 tanh(W1 z + b1) + b2, for one datum y `[D]`.
///
/// H = J^T L'' J + sum_k l'_k Hess x_k, of which the first term is the Gauss-Newton Hessian; the second is
/// W1^T diag(tanh'' W2^T l') W1.
pub(super) struct Network {
    /// W1 `[hidden, d]`, rows.
    pub(super) w1: Vec<Vec<f64>>,
    /// b1 `[hidden]`.
    pub(super) b1: Vec<f64>,
    /// W2 `[D, hidden]`, rows.
    pub(super) w2: Vec<Vec<f64>>,
    /// b2 `[D]`.
    pub(super) b2: Vec<f64>,
    /// The datum.
    pub(super) y: Vec<f64>,
    /// l.
    pub(super) loss: Loss,
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn affine(w: &[Vec<f64>], b: &[f64], z: &[f64]) -> Vec<f64> {
    w.iter().zip(b).map(|(row, b)| product(row, z) + b).collect()
}

impl Network {
    fn hidden(&self, z: &[f64]) -> Vec<f64> {
        let mut hidden = affine(&self.w1, &self.b1, z);
        hidden.iter_mut().for_each(|hidden| *hidden = hidden.tanh());
        hidden
    }

    /// x.
    pub(super) fn decode(&self, z: &[f64]) -> Vec<f64> {
        affine(&self.w2, &self.b2, &self.hidden(z))
    }

    /// (1/D) l' and (1/D) l'' of every output.
    fn derivatives(&self, hidden: &[f64]) -> Vec<(f64, f64)> {
        let count = self.y.len() as f64;
        let x = affine(&self.w2, &self.b2, hidden);
        let pairs = x.iter().zip(&self.y).map(|(x, y)| self.loss.derivatives(*x, *y));
        pairs.map(|(first, second)| (first / count, second / count)).collect()
    }

    /// (1/D) W2^T l'.
    fn pulled(&self, derivatives: &[(f64, f64)]) -> Vec<f64> {
        let pull = |j: usize| {
            self.w2
                .iter()
                .zip(derivatives)
                .map(|(row, (first, _))| row[j] * first)
                .sum()
        };
        (0..self.b1.len()).map(pull).collect()
    }

    /// jacobian -= sum_k weight_k row_k^T row_k.
    fn subtract(rows: &[Vec<f64>], weights: impl Iterator<Item = f64>, jacobian: &mut [f64]) {
        for (row, weight) in rows.iter().zip(weights) {
            for (column, left) in jacobian.chunks_mut(row.len()).zip(row) {
                column
                    .iter_mut()
                    .zip(row)
                    .for_each(|(to, right)| *to -= weight * left * right);
            }
        }
    }
}

impl Equations for Network {
    fn dim(&self) -> usize {
        self.w1[0].len()
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        let hidden = self.hidden(z);
        let pulled = self.pulled(&self.derivatives(&hidden));
        f.fill(0.0);
        for ((row, hidden), pulled) in self.w1.iter().zip(&hidden).zip(&pulled) {
            let weight = (1.0 - hidden * hidden) * pulled;
            f.iter_mut().zip(row).for_each(|(f, w)| *f -= weight * w);
        }
    }

    fn jacobian(&self, t: f64, z: &[f64], jacobian: &mut [f64]) {
        self.gauss_newton(t, z, jacobian);
        let hidden = self.hidden(z);
        let pulled = self.pulled(&self.derivatives(&hidden));
        let bend = hidden
            .iter()
            .zip(&pulled)
            .map(|(x, pulled)| -2.0 * x * (1.0 - x * x) * pulled);
        Self::subtract(&self.w1, bend, jacobian);
    }

    fn gauss_newton(&self, _t: f64, z: &[f64], jacobian: &mut [f64]) {
        let hidden = self.hidden(z);
        let mut decoder = vec![vec![0.0; self.dim()]; self.y.len()];
        for (row, weights) in decoder.iter_mut().zip(&self.w2) {
            for ((weight, x), w1) in weights.iter().zip(&hidden).zip(&self.w1) {
                let weight = weight * (1.0 - x * x);
                row.iter_mut().zip(w1).for_each(|(to, w)| *to += weight * w);
            }
        }
        jacobian.fill(0.0);
        let second = self.derivatives(&hidden).into_iter().map(|(_, second)| second);
        Self::subtract(&decoder, second, jacobian);
    }

    fn objective(&self, z: &[f64]) -> Option<f64> {
        let x = self.decode(z);
        let sum: f64 = x.iter().zip(&self.y).map(|(x, y)| self.loss.value(*x, *y)).sum();
        Some(sum / self.y.len() as f64)
    }

    fn structure(&self) -> (Structure, Structure) {
        (Structure::NegativeSemidefinite, Structure::Symmetric)
    }
}
