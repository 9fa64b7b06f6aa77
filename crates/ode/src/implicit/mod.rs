//! Implicit methods on gradient flows, whose Jacobian is negative semi-definite.

mod linear_euler;

pub use linear_euler::LinearEuler;
