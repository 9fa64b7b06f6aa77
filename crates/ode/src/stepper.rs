//! One attempted step of every live lane, each with its own time and step size.

use crate::{Cols, ColsMut, Flow, FlowError, Lanewise, Work};

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
    /// (1/2) g^T H^-1 g at the start of the step; NaN where the method has no H.
    pub edm: &'a mut [f64],
    /// Whether the step's equations were solved; where not, `z` is undefined.
    pub solved: &'a mut [bool],
}

/// A method. It accepts nothing and rejects nothing: that is the controller's part.
pub trait Stepper: Lanewise {
    /// Order of consistency.
    fn order(&self) -> u32;
    /// Attempts a step of size `from.h` in every live lane.
    fn attempt(
        &mut self,
        flow: &mut dyn Flow,
        from: Start<'_>,
        to: Trial<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError>;
    /// The step of `lane` was accepted: what was kept of its start no longer holds.
    fn accepted(&mut self, lane: usize);
}
