//! Systems of one state.

use gfe_ode::Structure;
use gfe_ode::problems::Equations;

/// z0' = -z0^2 and z1' = cos(t + 1/2) + sin(t + 1/2)^3 - z1^3: nonlinear, the second not autonomous.
///
/// From (1, sin(1/2)) the solution is (1 / (1 + t), sin(t + 1/2)).
pub struct Riccati;

impl Riccati {
    pub fn exact(t: f64) -> Vec<f64> {
        vec![1.0 / (1.0 + t), (t + 0.5).sin()]
    }
}

impl Equations for Riccati {
    fn dim(&self) -> usize {
        2
    }

    fn slope(&self, t: f64, z: &[f64], f: &mut [f64]) {
        f[0] = -z[0] * z[0];
        f[1] = (t + 0.5).cos() + (t + 0.5).sin().powi(3) - z[1].powi(3);
    }

    fn jacobian(&self, _t: f64, z: &[f64], jacobian: &mut [f64]) {
        jacobian.copy_from_slice(&[-2.0 * z[0], 0.0, 0.0, -3.0 * z[1] * z[1]]);
    }
}

/// z0' = -|z|^2 z1, z1' = |z|^2 z0: from (1, 0) the solution is (cos t, sin t).
pub struct Circle;

impl Circle {
    pub fn exact(t: f64) -> Vec<f64> {
        vec![t.cos(), t.sin()]
    }
}

impl Equations for Circle {
    fn dim(&self) -> usize {
        2
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        let square = z[0] * z[0] + z[1] * z[1];
        (f[0], f[1]) = (-square * z[1], square * z[0]);
    }

    fn jacobian(&self, _t: f64, _z: &[f64], _jacobian: &mut [f64]) {
        unreachable!("only explicit methods are tried on it");
    }
}

/// z' = 1 with an objective z, which no step lowers.
pub struct Uphill;

impl Equations for Uphill {
    fn dim(&self) -> usize {
        1
    }

    fn slope(&self, _t: f64, _z: &[f64], f: &mut [f64]) {
        f[0] = 1.0;
    }

    fn jacobian(&self, _t: f64, _z: &[f64], jacobian: &mut [f64]) {
        jacobian[0] = 0.0;
    }

    fn objective(&self, z: &[f64]) -> Option<f64> {
        Some(z[0])
    }
}

/// Residuals at z, each with its gradient.
type Residuals = Vec<(f64, Vec<f64>)>;

/// objective = (1/2) sum_i r_i(z)^2, with its Gauss-Newton Hessian.
#[derive(Clone, Copy)]
pub struct Squares {
    pub dim: usize,
    pub residuals: fn(&[f64]) -> Residuals,
}

impl Equations for Squares {
    fn dim(&self) -> usize {
        self.dim
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        f.fill(0.0);
        for (r, gradient) in (self.residuals)(z) {
            f.iter_mut().zip(&gradient).for_each(|(f, g)| *f -= r * g);
        }
    }

    fn jacobian(&self, _t: f64, _z: &[f64], _jacobian: &mut [f64]) {
        unreachable!("ptc asks for Gauss-Newton alone");
    }

    fn gauss_newton(&self, _t: f64, z: &[f64], jacobian: &mut [f64]) {
        jacobian.fill(0.0);
        for (_, gradient) in (self.residuals)(z) {
            for (column, g_j) in jacobian.chunks_mut(self.dim).zip(&gradient) {
                column.iter_mut().zip(&gradient).for_each(|(j, g_i)| *j -= g_i * g_j);
            }
        }
    }

    fn objective(&self, z: &[f64]) -> Option<f64> {
        Some((self.residuals)(z).iter().map(|(r, _)| 0.5 * r * r).sum())
    }

    fn structure(&self) -> (Structure, Structure) {
        (Structure::NegativeSemidefinite, Structure::Symmetric)
    }
}

/// Rosenbrock's valley, minimum 0 at (1, 1).
pub fn rosenbrock() -> Squares {
    let residuals = |z: &[f64]| {
        vec![
            (1.0 - z[0], vec![-1.0, 0.0]),
            (10.0 * (z[1] - z[0] * z[0]), vec![-20.0 * z[0], 10.0]),
        ]
    };
    Squares { dim: 2, residuals }
}

/// Powell's singular function: J has rank 2 at the minimum 0 at the origin.
pub fn powell() -> Squares {
    let residuals = |z: &[f64]| {
        let (a, b) = (z[1] - 2.0 * z[2], z[0] - z[3]);
        let (r5, r10) = (5f64.sqrt(), 10f64.sqrt());
        vec![
            (z[0] + 10.0 * z[1], vec![1.0, 10.0, 0.0, 0.0]),
            (r5 * (z[2] - z[3]), vec![0.0, 0.0, r5, -r5]),
            (a * a, vec![0.0, 2.0 * a, -4.0 * a, 0.0]),
            (r10 * b * b, vec![2.0 * r10 * b, 0.0, 0.0, -2.0 * r10 * b]),
        ]
    };
    Squares { dim: 4, residuals }
}

/// Two exponentials through twelve values that they cannot meet: residuals are left at the minimum.
pub fn exponentials() -> Squares {
    let residuals = |z: &[f64]| {
        let value = |i: u8| {
            let s = f64::from(i) / 4.0;
            let (fast, slow) = ((-z[1] * s).exp(), (-z[3] * s).exp());
            let y = 2.0 * (-3.0 * s).exp() + (-0.5 * s).exp() + if i.is_multiple_of(2) { 0.02 } else { -0.02 };
            let gradient = vec![fast, -z[0] * s * fast, slow, -z[2] * s * slow];
            (z[0] * fast + z[2] * slow - y, gradient)
        };
        (0..12).map(value).collect()
    };
    Squares { dim: 4, residuals }
}

/// Rosenbrock's valley and (z2 - 1e8)^2 / 2.
pub fn with_offset() -> Squares {
    let residuals = |z: &[f64]| {
        let mut all = (rosenbrock().residuals)(z);
        all.iter_mut().for_each(|(_, gradient)| gradient.push(0.0));
        all.push((z[2] - 1e8, vec![0.0, 0.0, 1.0]));
        all
    };
    Squares { dim: 3, residuals }
}
