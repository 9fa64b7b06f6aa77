//! Van der Pol's oscillator, in its own time and in that of its slow parts.

use super::{Equations, Problem, table};
use std::sync::Arc;

/// y1' = y2, y2' = fast (1 - y1^2) y2 - slow y1.
struct VanDerPol {
    fast: f64,
    slow: f64,
}

impl Equations for VanDerPol {
    fn dim(&self) -> usize {
        2
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        f[0] = z[1];
        f[1] = self.fast * ((1.0 - z[0] * z[0]) * z[1]) - self.slow * z[0];
    }

    fn jacobian(&self, _t: f64, z: &[f64], jacobian: &mut [f64]) {
        let bend = -2.0 * self.fast * z[0] * z[1] - self.slow;
        jacobian.copy_from_slice(&[0.0, bend, 1.0, self.fast * (1.0 - z[0] * z[0])]);
    }
}

fn with(name: &str, about: &str, equations: VanDerPol, text: &str, published: [f64; 2]) -> Problem {
    let (reference, _) = table::read(text);
    Problem {
        name: name.into(),
        about: about.into(),
        source: "Mazzia & Magherini, Test Set for Initial Value Problem Solvers, release 2.4 (2008), problem VDPOL; \
                 Hairer & Wanner, Solving ODEs II, 2nd ed., section IV.10; reference by reference/make.py"
            .into(),
        z0: vec![2.0, 0.0],
        t_end: *reference.t.last().expect("a reference has times"),
        stiff: true,
        atol_per_rtol: 1.0,
        reference,
        published: Some(published.to_vec()),
        minimizer: None,
        equations: Arc::new(equations),
    }
}

/// y'' = mu (1 - y^2) y' - y with mu = 1000, from (2, 0) to t = 2000.
pub(super) fn plain() -> Problem {
    let about = "van der Pol's oscillator, mu = 1e3, stiff";
    let (equations, text) = (
        VanDerPol { fast: 1e3, slow: 1.0 },
        include_str!("reference/van-der-pol-1e3.txt"),
    );
    let published = [0.1706167732170469e1, -0.8928097010248125e-3];
    with("van-der-pol-1e3", about, equations, text, published)
}

/// y1' = y2, y2' = ((1 - y1^2) y2 - y1) / 1e-6, from (2, 0) to t = 2.
///
/// It is the problem above with t in units of mu = 1e3; of the two published states the other is right to more digits.
pub(super) fn scaled() -> Problem {
    let about = "van der Pol's oscillator, mu^2 = 1e6 (epsilon = 1e-6): van-der-pol-1e3 with t in units of mu, stiff";
    let (equations, text) = (
        VanDerPol { fast: 1e6, slow: 1e6 },
        include_str!("reference/van-der-pol-1e6.txt"),
    );
    let published = [0.1706167732170483e1, -0.8928097010247975];
    with("van-der-pol-1e6", about, equations, text, published)
}
