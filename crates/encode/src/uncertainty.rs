//! How well the data determine a code: the Laplace approximation at the minimum.

use faer::{Mat, MatRef, Side};

/// Error bars of the codes of a block; NaN where there are none.
///
/// Under a likelihood the covariance is (D A)^-1 with A = H + I/tau, that of the posterior's Gaussian approximation, H the Hessian of the loss
/// per value and I/tau the horizon's term (0 at t_end inf). Where the errors of the values are estimated and the loss is mse, codes are
/// not those of the highest likelihood, and the covariance is A^-1 M A^-1 with M = J^T diag(l''^2 s) J + c I/tau: what errors of
/// variances s do to the minimum of this loss (Huber 1967; White 1982, Econometrica 50(1), eq. 3.2), and with c the horizon's term the pull
/// towards z0. c = mean(s) mean(l'') makes it (c A^-1), the posterior's, where all variances are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Uncertainty {
    /// Standard errors, `[d, samples]`.
    pub z_std: Mat<f64>,
    /// Covariances, `[d d, samples]`.
    pub z_cov: Mat<f64>,
    /// The smallest eigenvalue of H.
    pub h_min: Vec<f64>,
    /// The largest.
    pub h_max: Vec<f64>,
    /// tr H (H + I/tau)^-1: how many latents the data determine.
    pub dof: Vec<f64>,
}

impl Uncertainty {
    /// Of so many samples, all unknown.
    pub(crate) fn unknown(dim: usize, samples: usize) -> Self {
        Uncertainty {
            z_std: Mat::full(dim, samples, f64::NAN),
            z_cov: Mat::full(dim * dim, samples, f64::NAN),
            h_min: vec![f64::NAN; samples],
            h_max: vec![f64::NAN; samples],
            dof: vec![f64::NAN; samples],
        }
    }

    /// Takes over that of another's sample `from`.
    pub(crate) fn take(&mut self, sample: usize, (other, from): (&Uncertainty, usize)) {
        self.z_std.as_mut().col_mut(sample).copy_from(other.z_std.col(from));
        self.z_cov.as_mut().col_mut(sample).copy_from(other.z_cov.col(from));
        for (to, of) in [
            (&mut self.h_min, &other.h_min),
            (&mut self.h_max, &other.h_max),
            (&mut self.dof, &other.dof),
        ] {
            to[sample] = of[from];
        }
    }

    /// Sets that of `sample` from `hessian` = H + I/tau `[d, d]`, with anchor = 1/tau, and from D or M. Where it is not positive
    /// definite there is no minimum and no error bar: its eigenvalues tell.
    pub(crate) fn set(&mut self, sample: usize, hessian: &[f64], anchor: f64, errors: Errors<'_>) {
        let dim = self.z_std.nrows();
        let matrix = Mat::from_fn(dim, dim, |i, j| 0.5 * (hessian[j * dim + i] + hessian[i * dim + j]));
        if hessian.iter().any(|value| !value.is_finite()) {
            return;
        }
        let Ok(eigen) = matrix.self_adjoint_eigen(Side::Lower) else {
            return;
        };
        let (vectors, mu) = (eigen.U(), eigen.S().column_vector());
        (self.h_min[sample], self.h_max[sample]) = (mu[0] - anchor, mu[dim - 1] - anchor);
        if mu[0] <= dim as f64 * f64::EPSILON * mu[dim - 1] {
            return;
        }
        self.dof[sample] = (0..dim).map(|k| (mu[k] - anchor) / mu[k]).sum();
        let inverse = Mat::from_fn(dim, dim, |i, j| {
            (0..dim).map(|k| vectors[(i, k)] * vectors[(j, k)] / mu[k]).sum::<f64>()
        });
        let covariance = match errors {
            Errors::Likelihood { values } => Mat::from_fn(dim, dim, |i, j| inverse[(i, j)] / values),
            Errors::Spread(spread) => &inverse * MatRef::from_column_major_slice(spread, dim, dim) * &inverse,
        };
        for j in 0..dim {
            for i in 0..dim {
                self.z_cov[(j * dim + i, sample)] = covariance[(i, j)];
            }
            self.z_std[(j, sample)] = covariance[(j, j)].sqrt();
        }
    }
}

/// How large the errors of the values are.
pub(crate) enum Errors<'a> {
    /// The loss of all D values is a negative log likelihood.
    Likelihood {
        /// D.
        values: f64,
    },
    /// M, `[d, d]`: see [`Uncertainty`].
    Spread(&'a [f64]),
}

#[cfg(test)]
mod tests {
    use super::{Errors, Uncertainty};

    #[test]
    fn the_covariance_is_the_inverse_and_a_saddle_has_none() {
        // H + I/tau = [[3, 1], [1, 2]] with 1/tau = 1/2 and D = 10.
        let mut found = Uncertainty::unknown(2, 2);
        found.set(0, &[3.0, 1.0, 1.0, 2.0], 0.5, Errors::Likelihood { values: 10.0 });
        let expected = [0.04, -0.02, -0.02, 0.06];
        for (k, expected) in expected.into_iter().enumerate() {
            assert!((found.z_cov[(k, 0)] - expected).abs() < 1e-15);
        }
        assert!((found.z_std[(1, 0)] - 0.06_f64.sqrt()).abs() < 1e-15);
        // tr (A - I/2) A^-1 = 2 - tr A^-1 / 2 = 2 - (0.4 + 0.6)/2.
        assert!((found.dof[0] - 1.5).abs() < 1e-14);
        found.set(1, &[1.0, 2.0, 2.0, 1.0], 0.0, Errors::Likelihood { values: 10.0 });
        assert!(
            found.z_std[(0, 1)].is_nan()
                && (found.h_min[1] + 1.0).abs() < 1e-14
                && (found.h_max[1] - 3.0).abs() < 1e-14
        );
    }

    #[test]
    fn errors_of_unlike_size_are_carried_through_the_minimum() {
        // A = [[2, 1], [1, 3]] with the inverse [[3, -1], [-1, 2]]/5, and M = diag(5, 10).
        let mut found = Uncertainty::unknown(2, 1);
        found.set(0, &[2.0, 1.0, 1.0, 3.0], 0.0, Errors::Spread(&[5.0, 0.0, 0.0, 10.0]));
        let expected = [55.0, -35.0, -35.0, 45.0].map(|value| value / 25.0);
        for (k, expected) in expected.into_iter().enumerate() {
            assert!((found.z_cov[(k, 0)] - expected).abs() < 1e-14, "{k}");
        }
        assert!((found.z_std[(0, 0)] - 2.2_f64.sqrt()).abs() < 1e-14);
    }
}
