//! The vector field dz/dt = f(t, z), lane by lane.

use crate::{Cols, ColsMut, Lanewise, Work};

/// Where a flow is evaluated: any subset of lanes. Column i belongs to lane `lanes[i]`.
#[derive(Clone, Copy)]
pub struct Point<'a> {
    /// Lanes, in ascending order.
    pub lanes: &'a [usize],
    /// Times, one per column.
    pub t: &'a [f64],
    /// States, `[d, lanes.len()]`.
    pub z: Cols<'a>,
}

/// What an evaluation writes; every slice has an entry per column.
pub struct Values<'a> {
    /// dz/dt, `[d, lanes.len()]`.
    pub f: ColsMut<'a>,
    /// What a gradient flow minimizes (f = -grad objective); NaN for other flows.
    pub objective: &'a mut [f64],
    /// The loss alone, without a horizon's term; NaN where there is none.
    pub loss: &'a mut [f64],
    /// Whether the evaluation failed in this lane; its other outputs are then undefined.
    pub failed: &'a mut [bool],
}

/// What is known of df/dz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Nothing.
    General,
    /// Symmetric and negative semi-definite: minus a Gauss-Newton Hessian.
    NegativeSemidefinite,
}

/// The flow cannot go on at all; a single lane's failure is reported in [`Values::failed`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FlowError(pub String);

/// dz/dt = f(t, z): column b of f depends on column b of z alone. Work is added to `work[lane]`.
pub trait Flow: Lanewise {
    /// d, the length of a state.
    fn dim(&self) -> usize;
    /// f and, for a gradient flow, what it minimizes.
    fn eval(&mut self, at: Point<'_>, to: Values<'_>, work: &mut [Work]) -> Result<(), FlowError>;
    /// df/dz, `[d, d]` per column of `at`, one after another in `blocks`.
    fn jacobian(&mut self, at: Point<'_>, blocks: &mut [f64], work: &mut [Work]) -> Result<(), FlowError>;
    /// What holds for df/dz.
    fn structure(&self) -> Structure;
}
