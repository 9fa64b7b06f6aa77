//! The adjoint gradient against central differences of the whole encode-then-loss map, and what it leaves untouched.

mod derivative;
mod fragile;
mod support;
mod untouched;
