//! A plugin of gfe in safe Rust: implement [`DecoderPlugin`] (and the traits of [`Decoder`]) or [`DatasetPlugin`], and name
//! the types in [`plugin!`]. Panics are caught and end the run with their text; shapes are checked before anything of yours
//! is called.
//!
//! ```
//! use gfe_sdk::*;
//!
//! /// x_i = a exp(-t_i / tau) on 64 times from 0 to 1; z = [a, tau].
//! struct Decay;
//!
//! impl DecoderPlugin for Decay {
//!     const ID: &'static std::ffi::CStr = c"decay";
//!     const TITLE: &'static std::ffi::CStr = c"An exponential decay";
//!
//!     fn create(_config: &str) -> Result<Self, String> {
//!         Ok(Decay)
//!     }
//! }
//!
//! impl Decoder for Decay {
//!     fn shape(&self) -> DecoderShape {
//!         DecoderShape { latent: 2, data: 64, params: 0, context: 0 }
//!     }
//!
//!     fn forward(&self, at: At<'_>, mut x: ColsMut<'_>, _tape: ColsMut<'_>, _scratch: &mut [f64]) -> Result<(), DecodeError> {
//!         for lane in 0..x.ncols() {
//!             for i in 0..64 {
//!                 x[(i, lane)] = at.z[(0, lane)] * (-(i as f64 / 63.0) / at.z[(1, lane)]).exp();
//!             }
//!         }
//!         Ok(())
//!     }
//!
//!     fn vjp(&self, taped: Taped<'_>, x_bar: Cols<'_>, mut z_bar: ColsMut<'_>, _scratch: &mut [f64]) -> Result<(), DecodeError> {
//!         for lane in 0..x_bar.ncols() {
//!             let (a, tau) = (taped.at.z[(0, lane)], taped.at.z[(1, lane)]);
//!             let mut sums = [0.0; 2];
//!             for i in 0..64 {
//!                 let (t, bar) = (i as f64 / 63.0, x_bar[(i, lane)]);
//!                 let part = bar * (-t / tau).exp();
//!                 sums[0] += part;
//!                 sums[1] += part * a * t / (tau * tau);
//!             }
//!             (z_bar[(0, lane)], z_bar[(1, lane)]) = (sums[0], sums[1]);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! plugin!(decoders: [Decay]);
//! # fn main() {}
//! ```
#![allow(unsafe_code)] // the border to C, each block with its reason

mod dataset;
mod decoder;
mod guard;
mod view;

pub use dataset::{DatasetKind, DatasetPlugin};
pub use decoder::{DecoderKind, DecoderPlugin, Precision, Threads};
pub use faer;
pub use gfe_abi as abi;
pub use gfe_model as model;
pub use gfe_model::{
    At, Axis, Cols, ColsMut, DataError, DataShape, DatasetSource, DecodeError, Decoder, DecoderShape, Dim, Element,
    Guess, Latent, Output, SecondOrder, Seeds, Tangent, Taped, Targets, TargetsMut, TensorSpec, Trainable, Transform,
};
pub use serde;
pub use serde_json;

/// Reads a configuration; an empty text is an empty object. The error names the key that is wrong.
pub fn config<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// The plugin's entry: the decoders and data sets that the library holds.
///
/// `plugin!(decoders: [A, B]);`, `plugin!(datasets: [C]);` or both, in this order; once in a library.
#[macro_export]
macro_rules! plugin {
    (decoders: [$($decoder:ty),* $(,)?] $(,)?) => {
        $crate::plugin!(decoders: [$($decoder),*], datasets: []);
    };
    (datasets: [$($dataset:ty),* $(,)?] $(,)?) => {
        $crate::plugin!(decoders: [], datasets: [$($dataset),*]);
    };
    (decoders: [$($decoder:ty),* $(,)?], datasets: [$($dataset:ty),* $(,)?] $(,)?) => {
        #[allow(unsafe_code)]
        const _: () = {
            static DECODERS: &[$crate::DecoderKind] = &[$($crate::DecoderKind::of::<$decoder>()),*];
            static DATASETS: &[$crate::DatasetKind] = &[$($crate::DatasetKind::of::<$dataset>()),*];

            unsafe extern "C" fn decoder_count() -> usize {
                DECODERS.len()
            }
            unsafe extern "C" fn decoder_info(index: usize) -> *const $crate::abi::DecoderInfo {
                $crate::DecoderKind::info(DECODERS, index)
            }
            unsafe extern "C" fn decoder_create(
                id: *const ::core::ffi::c_char,
                config: $crate::abi::Text,
                made: *mut $crate::abi::DecoderInstance,
                message: $crate::abi::TextMut,
            ) -> $crate::abi::Status {
                // SAFETY: the host keeps the interface's promises about its arguments.
                unsafe { $crate::DecoderKind::create(DECODERS, id, config, made, message) }
            }
            unsafe extern "C" fn dataset_count() -> usize {
                DATASETS.len()
            }
            unsafe extern "C" fn dataset_info(index: usize) -> *const $crate::abi::DatasetInfo {
                $crate::DatasetKind::info(DATASETS, index)
            }
            unsafe extern "C" fn dataset_create(
                id: *const ::core::ffi::c_char,
                config: $crate::abi::Text,
                made: *mut $crate::abi::DatasetInstance,
                message: $crate::abi::TextMut,
            ) -> $crate::abi::Status {
                // SAFETY: the host keeps the interface's promises about its arguments.
                unsafe { $crate::DatasetKind::create(DATASETS, id, config, made, message) }
            }

            static DECODER_FACTORY: $crate::abi::DecoderFactory = $crate::abi::DecoderFactory {
                size: ::core::mem::size_of::<$crate::abi::DecoderFactory>(),
                count: Some(decoder_count),
                info: Some(decoder_info),
                create: Some(decoder_create),
            };
            static DATASET_FACTORY: $crate::abi::DatasetFactory = $crate::abi::DatasetFactory {
                size: ::core::mem::size_of::<$crate::abi::DatasetFactory>(),
                count: Some(dataset_count),
                info: Some(dataset_info),
                create: Some(dataset_create),
            };

            unsafe extern "C" fn get_factory(id: *const ::core::ffi::c_char) -> *const ::core::ffi::c_void {
                // SAFETY: the host gives a text that ends with a NUL.
                let id = unsafe { ::core::ffi::CStr::from_ptr(id) };
                if id == $crate::abi::DECODER_FACTORY && !DECODERS.is_empty() {
                    (&raw const DECODER_FACTORY).cast()
                } else if id == $crate::abi::DATASET_FACTORY && !DATASETS.is_empty() {
                    (&raw const DATASET_FACTORY).cast()
                } else {
                    ::core::ptr::null()
                }
            }

            static ENTRY: $crate::abi::PluginEntry = $crate::abi::PluginEntry {
                magic: $crate::abi::MAGIC,
                size: ::core::mem::size_of::<$crate::abi::PluginEntry>(),
                version: $crate::abi::VERSION,
                get_factory: Some(get_factory),
            };

            #[unsafe(no_mangle)]
            unsafe extern "C" fn gfe_plugin_entry(_host: *const $crate::abi::HostInfo) -> *const $crate::abi::PluginEntry {
                &raw const ENTRY
            }
        };
    };
}
