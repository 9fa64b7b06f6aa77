//! Implicit methods: one file per step.

mod distance;
mod linear_euler;
mod matrix_free;
mod secant;

pub use distance::{DENSE, distances};
pub use linear_euler::LinearEuler;
pub use matrix_free::{ConjugateGradients, MatrixFreeEuler, System, Until};
pub use secant::{damped_bfgs, scaled_bfgs};
