//! Host side of plugins: find, check, load, adapt.
