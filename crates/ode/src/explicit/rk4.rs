//! The classical Runge-Kutta method of order 4.

use super::Tableau;

/// Hairer, Norsett & Wanner, Solving ODEs I, 2nd ed., table II.1.2.
pub static RK4: Tableau = Tableau {
    order: 4,
    a: &[&[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    c: &[0.0, 0.5, 0.5, 1.0],
    d: None,
    dense: None,
};
