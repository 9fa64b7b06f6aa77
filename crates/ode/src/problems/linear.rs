//! Linear systems of a given spectrum, with their exact solution.

use super::{Equations, Problem, Trajectory};
use std::sync::Arc;

/// A real eigenvalue or a pair of complex ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    /// lambda.
    Real(f64),
    /// re + i im and re - i im.
    Pair {
        /// Real part.
        re: f64,
        /// Imaginary part.
        im: f64,
    },
}

impl Mode {
    fn dim(self) -> usize {
        match self {
            Mode::Real(_) => 1,
            Mode::Pair { .. } => 2,
        }
    }
}

/// dz/dt = A (z - c) with A = Q B Q, c_i = 1/(i + 1).
///
/// B has the eigenvalues on its diagonal and a block `[[re, im], [-im, re]]` for a pair; Q = I - 2 v v^T / v^T v with
/// v_i = i + 1 is a Householder reflection, so that every mode is seen in every component.
#[derive(Clone, Debug)]
pub struct Linear {
    spectrum: Vec<Mode>,
    dim: usize,
}

impl Linear {
    /// The system of this spectrum.
    pub fn new(spectrum: &[Mode]) -> Self {
        Linear {
            spectrum: spectrum.to_vec(),
            dim: spectrum.iter().map(|mode| mode.dim()).sum(),
        }
    }

    fn center(i: usize) -> f64 {
        1.0 / (i + 1) as f64
    }

    /// z = Q z.
    fn reflect(z: &mut [f64]) {
        let (mut product, mut square) = (0.0, 0.0);
        for (i, z) in z.iter().enumerate() {
            let v = (i + 1) as f64;
            product += v * z;
            square += v * v;
        }
        for (i, z) in z.iter_mut().enumerate() {
            *z -= 2.0 * product / square * (i + 1) as f64;
        }
    }

    /// z = Q B Q z. A is never formed: rounding it would move its small eigenvalues by as much as its large ones.
    fn apply(&self, z: &mut [f64]) {
        Self::reflect(z);
        let mut i = 0;
        for mode in &self.spectrum {
            match *mode {
                Mode::Real(lambda) => z[i] *= lambda,
                Mode::Pair { re, im } => (z[i], z[i + 1]) = (re * z[i] + im * z[i + 1], re * z[i + 1] - im * z[i]),
            }
            i += mode.dim();
        }
        Self::reflect(z);
    }

    /// z(t) = c + Q exp(B t) (1, 1, ...), from z(0) = c + Q (1, 1, ...).
    pub fn exact(&self, t: f64) -> Vec<f64> {
        let mut z = Vec::with_capacity(self.dim);
        for mode in &self.spectrum {
            match *mode {
                Mode::Real(lambda) => z.push((lambda * t).exp()),
                Mode::Pair { re, im } => {
                    let ((sin, cos), size) = ((im * t).sin_cos(), (re * t).exp());
                    z.extend([size * (cos + sin), size * (cos - sin)]);
                }
            }
        }
        Self::reflect(&mut z);
        z.iter_mut().enumerate().for_each(|(i, z)| *z += Self::center(i));
        z
    }
}

impl Equations for Linear {
    fn dim(&self) -> usize {
        self.dim
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        for (i, (f, z)) in f.iter_mut().zip(z).enumerate() {
            *f = z - Self::center(i);
        }
        self.apply(f);
    }

    fn jacobian(&self, _t: f64, _z: &[f64], jacobian: &mut [f64]) {
        jacobian.fill(0.0);
        for (j, column) in jacobian.chunks_mut(self.dim).enumerate() {
            column[j] = 1.0;
            self.apply(column);
        }
    }
}

/// The linear problem of this spectrum, all of its modes of size 1 at first, to `t_end`.
pub fn problem(name: &str, spectrum: &[Mode], t_end: f64) -> Problem {
    let linear = Linear::new(spectrum);
    let t: Vec<f64> = (0..=20).map(|i| t_end * (f64::from(i) / 20.0)).collect();
    Problem {
        name: name.into(),
        about: format!("linear system in {} dimensions with given eigenvalues", linear.dim),
        source: "exact: z = c + Q exp(B t) Q (z0 - c)".into(),
        z0: linear.exact(0.0),
        t_end,
        stiff: false,
        atol_per_rtol: 1.0,
        reference: Trajectory {
            z: t.iter().flat_map(|&t| linear.exact(t)).collect(),
            t,
        },
        published: None,
        minimizer: None,
        equations: Arc::new(linear),
    }
}

/// Eigenvalues -1, -30, -2 + 5i and -2 - 5i; to t = 4.
pub(super) fn mild() -> Problem {
    let spectrum = [Mode::Real(-1.0), Mode::Real(-30.0), Mode::Pair { re: -2.0, im: 5.0 }];
    problem("linear", &spectrum, 4.0)
}
