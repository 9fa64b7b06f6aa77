//! Files: decoders as safetensors, data sets and results as HDF5.
//!
//! Everything read here is taken for hostile until checked, and everything written appears under its name whole or not
//! at all. This crate computes nothing.
#![warn(missing_docs)]

mod access;
mod atomic;
mod attributes;
mod checkpoint;
mod chunks;
mod converted;
mod coordinate;
mod decoded;
mod encoded;
mod error;
mod guard;
mod hash;
mod heap;
mod history;
mod input;
mod listing;
mod missing;
mod model_file;
mod native;
mod output;
mod parts;
mod reader;
mod scales;
mod space;
mod tables;
mod texts;

pub use access::{Access, Locking, set_access};
pub use atomic::{check_creatable, write_whole};
pub use attributes::{Attributes, InputAttributes};
pub use checkpoint::Checkpoint;
pub use chunks::CHUNK_MEMORY;
pub use converted::DataWriter;
pub use coordinate::Coordinate;
pub use decoded::DecodedWriter;
pub use encoded::{EncodedLayout, EncodedRow, EncodedRows, EncodedWriter, ErrorBars, NamedLatent, TracePoint};
pub use error::IoError;
pub use hash::{RowsHash, file_sha256, params_sha256, row_sha256, sha256};
pub use history::{History, HistoryColumn, HistoryTable, Series};
pub use input::{H5Input, InputPath};
pub use missing::Missing;
pub use model_file::{ModelFile, StoredTensor};
pub use parts::{Hold, Manifest, Part, Parts, Peek, differences, write_merged};
pub use reader::{EncodedFile, Listed, list_datasets};
pub use space::{free_bytes, now};
pub use tables::{Column, Table, Values, write_tables};

/// Version of the HDF5 library in use.
pub fn hdf5_version() -> String {
    let (major, minor, patch) = hdf5::library_version();
    format!("{major}.{minor}.{patch}")
}
