//! The C interface between gfe and its plugins, as Rust types.
