//! Gradient-flow encoding: where integrators and decoders meet.
//!
//! A datum y is encoded by integrating dz/dt = -grad_z l(y, D(z; theta)) from z0 to its steady state, or to a horizon.

mod encoder;
mod gradient_flow;
mod solver;

pub use encoder::{Encoded, Encoding, Record, encode};
pub use gradient_flow::GradientFlow;
pub use solver::{Amd, Ptc, Solver};
