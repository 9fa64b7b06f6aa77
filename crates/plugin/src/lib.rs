//! Host side of plugins: find, check, load, adapt.
//!
//! A library is loaded where the user names it, by its path or by a name on `GFE_PLUGIN_PATH`; nothing is scanned, and
//! nothing is ever unloaded. What it offers becomes a [`Decoder`](gfe_model::Decoder) or a
//! [`DatasetSource`](gfe_model::DatasetSource) like any other. This crate reads no file but the library and knows nothing of
//! flows.
#![allow(unsafe_code)] // the border to C, each block with its reason

pub mod check;
mod crash;
mod dataset;
mod decoder;
mod error;
mod find;
mod library;
mod table;
mod view;

pub use crash::{finished, guard_against_crashes, signal_name, unlink_on_crash};
pub use dataset::PluginDataset;
pub use decoder::{DecoderPlugin, Precision, Threads};
pub use error::PluginError;
pub use find::{PATH_VARIABLE, candidates, load};
pub use library::{DatasetListed, DecoderListed, Library, Version};
