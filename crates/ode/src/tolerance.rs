//! Error tolerances and the scaled error that they define.

/// Relative and absolute error tolerance, the same for every component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Relative.
    pub rtol: f64,
    /// Absolute.
    pub atol: f64,
}

impl Default for Tolerance {
    /// rtol 1e-6, atol 1e-8.
    fn default() -> Self {
        Tolerance { rtol: 1e-6, atol: 1e-8 }
    }
}

impl Tolerance {
    /// Root mean square of `err_i / (atol + rtol max(|z0_i|, |z1_i|))`: 1 or less is fine.
    ///
    /// `err`, `z0`, `z1`: `[d]`. A NaN anywhere gives infinity, so that the step is rejected and not the run.
    /// Hairer, Norsett & Wanner, Solving ODEs I, 2nd ed., eq. II.4.11.
    pub fn ratio(&self, err: &[f64], z0: &[f64], z1: &[f64]) -> f64 {
        let scaled = |(err, (z0, z1)): (&f64, (&f64, &f64))| err / (self.atol + self.rtol * z0.abs().max(z1.abs()));
        let sum: f64 = err.iter().zip(z0.iter().zip(z1)).map(|all| scaled(all).powi(2)).sum();
        let ratio = (sum / err.len() as f64).sqrt();
        if ratio.is_nan() { f64::INFINITY } else { ratio }
    }
}
