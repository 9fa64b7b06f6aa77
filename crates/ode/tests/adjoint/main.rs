//! The discrete adjoint against central differences of the same steps taken again, the states that it holds, and the adjoint of
//! diffsol's methods against it.

#[path = "../support/mod.rs"]
mod support;

mod by_diffsol;
mod discrete;
mod settings;
mod waves;
