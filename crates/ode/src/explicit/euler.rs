//! The explicit Euler method.

use super::Tableau;

/// z1 = z + h f(t, z).
pub static EULER: Tableau = Tableau {
    order: 1,
    a: &[],
    b: &[1.0],
    c: &[0.0],
    d: None,
    dense: None,
};
