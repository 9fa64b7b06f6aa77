//! Files: decoders as safetensors, data sets and results as HDF5.
//!
//! Everything read here is taken for hostile until checked, and everything written appears under its name whole or not
//! at all. This crate computes nothing.
#![warn(missing_docs)]

mod atomic;
mod encoded;
mod error;
mod input;
mod listing;
mod model_file;
mod native;
mod scales;

pub use encoded::{EncodedLayout, EncodedRow, EncodedRows, EncodedWriter};
pub use error::IoError;
pub use input::{H5Input, InputPath};
pub use model_file::{ModelFile, StoredTensor, params_sha256};
