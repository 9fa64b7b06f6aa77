//! Implicit methods: one file per step.

mod linear_euler;
mod secant;

pub use linear_euler::{LinearEuler, Refresh};
pub use secant::damped_bfgs;
