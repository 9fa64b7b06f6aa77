//! One attempted step of every live lane, each with its own time and step size.

use crate::{Cols, ColsMut, Flow, FlowError, Lanewise, Work};

/// What a stepper knows of the distance to a minimum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// (1/2) g^T H^-1 g; NaN where the method has no H.
    pub edm: f64,
    /// Whether H is that of this very point.
    pub fresh: bool,
    /// Whether H is the exact Hessian and not its Gauss-Newton part.
    pub exact: bool,
    /// g^T H g / g^T g, of which only the first step is made; NaN where it is not known.
    pub curvature: f64,
}

impl Distance {
    /// Of a method without H.
    pub const UNKNOWN: Distance = Distance {
        edm: f64::NAN,
        fresh: false,
        exact: false,
        curvature: f64::NAN,
    };
}

/// Where a step starts: one entry per live lane.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    /// The live lanes, 0, 1, ...
    pub lanes: &'a [usize],
    /// Times.
    pub t: &'a [f64],
    /// Step sizes.
    pub h: &'a [f64],
    /// States, `[d, lanes]`.
    pub z: Cols<'a>,
    /// Slopes there, `[d, lanes]`.
    pub f: Cols<'a>,
}

/// What an attempt writes: one entry per live lane.
pub struct Trial<'a> {
    /// States at t + h, `[d, lanes]`.
    pub z: ColsMut<'a>,
    /// Decrease of the objective that the method's own model expects; NaN where it has none.
    pub predicted: &'a mut [f64],
    /// Whether the step's equations were solved; where not, `z` is undefined.
    pub solved: &'a mut [bool],
}

/// The end of an attempted step: one entry per live lane.
#[derive(Clone, Copy)]
pub struct End<'a> {
    /// States, `[d, lanes]`.
    pub z: Cols<'a>,
    /// Slopes there, `[d, lanes]`.
    pub f: Cols<'a>,
}

/// One lane's accepted step, for values inside it.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// The lane.
    pub lane: usize,
    /// Step size.
    pub h: f64,
    /// States at both ends, `[d]` each.
    pub z: [&'a [f64]; 2],
    /// Slopes at both ends, `[d]` each.
    pub f: [&'a [f64]; 2],
}

/// A method. It accepts nothing and rejects nothing: that is the controller's part.
///
/// In every step the loop calls `prepare`, `attempt`, evaluates the flow at the trial states, and calls `assess`; then
/// `accepted` for each lane whose step stands.
pub trait Stepper: Lanewise {
    /// Order of consistency.
    fn order(&self) -> u32;
    /// Brings what the step needs at its start, a Jacobian for instance, and tells what that says of the distance to the
    /// minimum, per live lane. By default: nothing, and nothing.
    fn prepare(
        &mut self,
        _flow: &mut dyn Flow,
        _from: Start<'_>,
        distance: &mut [Distance],
        _work: &mut [Work],
    ) -> Result<(), FlowError> {
        distance.fill(Distance::UNKNOWN);
        Ok(())
    }
    /// What `prepare` kept for `lane` from an earlier point is not to be used again: the next call computes it anew, and a
    /// distance that is fresh. False for a method that keeps nothing.
    fn expire(&mut self, _lane: usize) -> bool {
        false
    }
    /// Attempts a step of size `from.h` in every live lane.
    fn attempt(
        &mut self,
        flow: &mut dyn Flow,
        from: Start<'_>,
        to: Trial<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError>;
    /// The scaled error of every attempted step (1 or less is fine, see [`Tolerance`](crate::Tolerance)), now that the
    /// slopes at its end are known; NaN where the method has no estimate, as by default.
    fn assess(&mut self, _from: Start<'_>, _end: End<'_>, ratio: &mut [f64]) {
        ratio.fill(f64::NAN);
    }
    /// The step of `lane` was accepted.
    fn accepted(&mut self, _lane: usize) {}
    /// The state at the fraction `theta` of an accepted step, `[d]`; by default [`hermite`].
    fn interpolate(&self, span: &Span<'_>, theta: f64, z: &mut [f64]) {
        hermite(span, theta, z);
    }
}

/// Cubic Hermite interpolation between the ends of a step.
///
/// z(t + theta h) from the states and slopes at both ends, an error of O(h^4). Hairer, Norsett & Wanner, Solving ODEs I,
/// 2nd ed., eq. II.6.7.
pub fn hermite(span: &Span<'_>, theta: f64, z: &mut [f64]) {
    let (a, b) = (1.0 - theta, theta);
    for (i, z) in z.iter_mut().enumerate() {
        let (z0, z1, h) = (span.z[0][i], span.z[1][i], span.h);
        let (left, right) = (h * span.f[0][i], h * span.f[1][i]);
        *z = a * z0
            + b * z1
            + theta * (theta - 1.0) * ((1.0 - 2.0 * theta) * (z1 - z0) + (theta - 1.0) * left + theta * right);
    }
}
