//! Implicit methods: one file per step.

mod conjugate_gradients;
mod distance;
mod linear_euler;
mod matrix_free;
mod secant;

pub use conjugate_gradients::{ConjugateGradients, System, Until};
pub use distance::{DENSE, distances};
pub use linear_euler::LinearEuler;
pub use matrix_free::MatrixFreeEuler;
pub use secant::{damped_bfgs, scaled_bfgs};
