//! The C interface between gfe and its plugins, as Rust types: version 1.
//!
//! `include/gfe_plugin.h` is the same for C, C++, Fortran, Julia, ...: a test compiles it and compares every size and offset.
//!
//! A plugin is a shared library that exports one function, [`ENTRY_SYMBOL`]. It returns a [`PluginEntry`], from which the
//! host gets factories by id, from these decoders, and from these optional abilities (extensions), again by id. Every
//! table of functions begins with its size in bytes and only grows at its end, so that a newer minor version needs no
//! new symbol: a member that lies beyond `size` is absent.
//!
//! Rules that hold everywhere. Texts are UTF-8, and end with a NUL where they come without a length. Function members are
//! `Option`s because C may leave them null: the host checks, and treats a missing required member as a broken plugin.
//! Whatever the host passes in stays the host's and is valid during the call alone. No exception and no panic may cross.
//! A library is never unloaded, so tables and texts that belong to it live as long as the process.

mod dataset;
mod decoder;
mod entry;
mod status;
mod view;

pub use dataset::{
    Axis, DATASET_FACTORY, DatasetFactory, DatasetInfo, DatasetInstance, DatasetShape, DatasetTable, ELEMENT_F32,
    ELEMENT_F64, ELEMENT_U8,
};
pub use decoder::{
    At, DECODER_FACTORY, DecoderFactory, DecoderInfo, DecoderInstance, DecoderTable, GUESS, GuessTable, LATENTS,
    Latent, LatentsTable, OUTPUT_LOG_RATES, OUTPUT_LOGITS, OUTPUT_VALUES, PRECISION_F32, PRECISION_F64, SECOND_ORDER,
    SecondOrderTable, Shape, TANGENT, THREADS_INSTANCE, THREADS_PROCESS, THREADS_SHARED, TRAINABLE, TRANSFORM_IDENTITY,
    TRANSFORM_LOG, TRANSFORM_LOGIT, TangentTable, Tensor, TrainableTable,
};
pub use entry::{ENTRY_SYMBOL, EntryFunction, HostInfo, MAGIC, PluginEntry, VERSION, Version};
pub use status::Status;
pub use view::{Matrix, MatrixMut, Slice, SliceMut, Text, TextMut};
