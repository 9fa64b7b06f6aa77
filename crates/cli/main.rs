//! The program `gfe`.
fn main() {}
