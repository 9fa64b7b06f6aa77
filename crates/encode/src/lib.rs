//! Gradient-flow encoding: where integrators and decoders meet.
//!
//! A datum y is encoded by integrating dz/dt = -grad_z l(y, D(z; theta)) from z0 to its steady state, or to a horizon.

#[doc = include_str!("../SOLVERS.md")]
pub mod which_solver {}

#[doc = include_str!("../TRAINING.md")]
pub mod training_guide {}

#[doc = include_str!("../UNCERTAINTY.md")]
pub mod trust_guide {}

mod at_codes;
mod batch;
mod data;
mod encoder;
mod encoding;
mod gradient_flow;
mod held_out;
mod ledger;
mod measure;
mod nearest;
mod noise;
mod origin;
mod pass;
mod rate;
mod reduced;
mod solver;
mod start;
mod starts;
mod stream;
pub mod train;
mod uncertainty;
mod warm_start;

pub use at_codes::{AtCode, at_codes};
pub use data::Data;
pub use encoder::{Block, Encoded, Record, Samples, encode, encode_blocks, encode_blocks_until, encode_from};
pub use encoding::{Encoding, Order, Trace, TracePoint, default_lanes};
pub use gradient_flow::GradientFlow;
pub use held_out::{HeldOut, HeldOutLoss, held_out, seen_values};
pub use nearest::{Nearest, kept_codes};
pub use noise::Noise;
pub use origin::Origin;
pub use rate::Rate;
pub use reduced::encode_reduced;
pub use solver::{Amd, ErrorControl, Precision, Ptc, Solver, Steps};
pub use start::Start;
pub use starts::Begin;
pub use uncertainty::Uncertainty;
pub use warm_start::WarmStart;
