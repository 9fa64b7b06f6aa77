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
    /// What a gradient flow minimizes; NaN for other flows.
    pub objective: &'a mut [f64],
    /// The loss alone, without a horizon's term; NaN where there is none.
    pub loss: &'a mut [f64],
    /// |grad objective|^2; |f|^2 for flows that minimize nothing.
    pub grad_sq: &'a mut [f64],
    /// Whether the evaluation failed in this lane; its other outputs are then undefined.
    pub failed: &'a mut [bool],
}

/// Which second derivative a gradient flow's Jacobian -H is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curvature {
    /// H~ = J^T diag(l'') J: positive semi-definite, from first derivatives of the decoder alone.
    GaussNewton,
    /// H itself.
    Exact,
}

/// What is known of df/dz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Structure {
    /// Nothing.
    General,
    /// Symmetric: minus a Hessian.
    Symmetric,
    /// Symmetric and negative semi-definite: minus a Gauss-Newton Hessian.
    NegativeSemidefinite,
}

/// The flow cannot go on at all; a single lane's failure is reported in [`Values::failed`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FlowError(pub String);

/// Why a flow could not be had in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// A sentence.
    pub text: &'a str,
    /// Whether no smaller step is worth a try.
    pub last: bool,
}

/// dz/dt = f(t, z): column b of f depends on column b of z alone. Work is added to `work[lane]`.
pub trait Flow: Lanewise {
    /// d, the length of a state.
    fn dim(&self) -> usize;
    /// f and, for a gradient flow, what it minimizes.
    fn eval(&mut self, at: Point<'_>, to: Values<'_>, work: &mut [Work]) -> Result<(), FlowError>;
    /// df/dz, `[d, d]` per column of `at`, one after another in `blocks`; NaN in a column that failed.
    fn jacobian(
        &mut self,
        at: Point<'_>,
        curvature: Curvature,
        blocks: &mut [f64],
        work: &mut [Work],
    ) -> Result<(), FlowError>;
    /// (df/dz) v, one direction per column: `v` and `jv` are `[d, lanes.len()]`; NaN in a column that failed.
    fn jvp(
        &mut self,
        at: Point<'_>,
        curvature: Curvature,
        v: Cols<'_>,
        jv: ColsMut<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError>;
    /// What holds for df/dz.
    fn structure(&self, curvature: Curvature) -> Structure;
    /// A lower bound of the eigenvalues of the Gauss-Newton H at any state, such as a horizon's term gives; 0 for none.
    fn least_curvature(&self) -> f64 {
        0.0
    }
    /// Why the last call failed in `lane`, where there is more to say than that it did.
    fn failure(&self, _lane: usize) -> Option<Failure<'_>> {
        None
    }
    /// Whether f depends on z alone: a slope then holds at any time.
    fn autonomous(&self) -> bool {
        false
    }
    /// The relative rounding error of what is minimized: that of double precision, or of what it is computed in.
    fn rounding(&self) -> f64 {
        f64::EPSILON
    }
    /// What bounds of the gradient norm count in for the sample in `lane`; 1 where gradients have units of their own.
    fn gradient_unit(&self, _lane: usize) -> f64 {
        1.0
    }
    /// How many of a state's first components are positions; the rest, if any, are their velocities.
    fn positions(&self) -> usize {
        self.dim()
    }
    /// The flow as one of second order, if it is: see [`Inertial`].
    fn inertial(&self) -> Option<&dyn Inertial> {
        None
    }
    /// Products with the transposed derivatives of f, where the flow has them.
    fn adjoint(&mut self) -> Option<&mut dyn FlowAdjoint> {
        None
    }
    /// A step was accepted that ends in (t, z) with slope f; true where the flow changed z and f (a restart).
    fn accepted(&mut self, _lane: usize, _t: f64, _z: &mut [f64], _f: &mut [f64]) -> bool {
        false
    }
}

/// Products with the transposed derivatives of f in the state and in what f depends on besides, the parameters theta.
pub trait FlowAdjoint {
    /// z_bar = (df/dz)^T v_bar and, where `params_bar` `[P]` is given, params_bar += sum over columns of
    /// (df/dtheta)^T v_bar.
    ///
    /// `v_bar` is read and `z_bar` written, `[d, lanes.len()]` both. A column that failed is NaN in `z_bar`, and what was then
    /// added to `params_bar` is undefined.
    fn vjp(
        &mut self,
        at: Point<'_>,
        v_bar: Cols<'_>,
        z_bar: ColsMut<'_>,
        params_bar: Option<&mut [f64]>,
        work: &mut [Work],
    ) -> Result<(), FlowError>;
}

/// A flow of second order as a system: the state is `[z; m]`, dz/dt = m, dm/dt = force - c(t) m with friction c(t) >= 0.
pub trait Inertial {
    /// The force at a state, `[d/2]`, from the slope there.
    fn force(&self, lane: usize, t: f64, state: &[f64], f: &[f64], force: &mut [f64]);
    /// The derivative of dm/dt in the force at time t: 1, but where the friction's limit takes a part of it.
    fn share(&self, lane: usize, t: f64) -> f64;
    /// h c(t + h): what an implicit Euler step of length h divides the velocity by, less 1.
    fn friction(&self, lane: usize, t: f64, h: f64) -> f64;
}
