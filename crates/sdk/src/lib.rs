//! Guest side: a plugin in safe Rust.
