//! Decoders, losses and data sets: what gradient-flow encoding asks of a model, and the built-in dense network.
//!
//! Symbols, everywhere: `z` latent `[d, lanes]`, `y` datum `[D, lanes]`, `x` decoded `[D, lanes]`, `params` weights
//! (flat), `_bar` a cotangent, `_dot` a tangent. Matrices are `f64` and column-major, one sample per column, so that
//! `[D, lanes]` has the same bytes as an HDF5 C-order `[lanes, D]` dataset. This crate reads no file and integrates
//! nothing.
#![warn(missing_docs)]

pub mod check;
pub mod columns;
mod dataset;
mod decoder;
pub mod dense;
mod elementary;
mod latent;
pub mod loss;
mod random;
mod unbounded;

pub use dataset::{Axis, DataError, DataShape, DatasetSource, Dim, Element, Targets, TargetsMut};
pub use decoder::{
    At, DecodeError, Decoder, DecoderShape, Guess, Output, Reduced, SecondOrder, Seeds, Tangent, Taped, TensorSpec,
    Trainable,
};
pub use elementary::vectorized;
pub use latent::{Latent, Transform};
pub use loss::{BadDatum, Loss, LossKind};
pub use unbounded::Unbounded;

/// A batch read column by column: `[rows, lanes]`, column-major with unit row stride; column b belongs to lane b.
pub type Cols<'a> = faer::MatRef<'a, f64>;
/// A batch written column by column; see [`Cols`].
pub type ColsMut<'a> = faer::MatMut<'a, f64>;
