//! One lane of a flow in the form that diffsol asks for.
//!
//! Its operators return no errors: what goes wrong is kept here and looked at between steps, and a value that could not be
//! had is NaN.

use crate::{Cols, ColsMut, Curvature, Flow, FlowError, Point, Values, Work};
use ::diffsol::{
    ConstantOp, ConstantOpSensAdjoint, FaerContext, FaerMat, FaerVec, NonLinearOp, NonLinearOpAdjoint,
    NonLinearOpJacobian, NonLinearOpSensAdjoint, OdeEquations, OdeEquationsRef, Op, UnitCallable, VectorCommon,
};
use faer::Mat;
use std::cell::{RefCell, RefMut};

pub(super) type M = FaerMat<f64>;
pub(super) type V = FaerVec<f64>;
type C = FaerContext;

const LANE: [usize; 1] = [0];

/// The flow in lane 0, with what the last evaluations left.
pub(super) struct Lane<'f> {
    flow: &'f mut dyn Flow,
    curvature: Curvature,
    pub(super) work: Work,
    pub(super) values: Evaluated,
    /// The flow cannot go on at all.
    pub(super) fatal: Option<FlowError>,
    block: Vec<f64>,
}

/// The flow at one state.
pub(super) struct Evaluated {
    pub(super) t: f64,
    pub(super) z: Mat<f64>,
    pub(super) f: Mat<f64>,
    pub(super) objective: f64,
    pub(super) loss: f64,
    pub(super) grad_sq: f64,
    pub(super) failed: bool,
}

impl Evaluated {
    /// Whether the flow has a value there.
    pub(super) fn usable(&self) -> bool {
        let finite = |values: &Mat<f64>| values.col_as_slice(0).iter().all(|value| value.is_finite());
        !self.failed && !self.loss.is_infinite() && !self.objective.is_infinite() && finite(&self.z) && finite(&self.f)
    }
}

impl<'f> Lane<'f> {
    pub(super) fn new(flow: &'f mut dyn Flow, curvature: Curvature) -> Self {
        let dim = flow.dim();
        Lane {
            flow,
            curvature,
            work: Work::default(),
            values: Evaluated {
                t: f64::NAN,
                z: Mat::zeros(dim, 1),
                f: Mat::zeros(dim, 1),
                objective: f64::NAN,
                loss: f64::NAN,
                grad_sq: f64::NAN,
                failed: false,
            },
            fatal: None,
            block: vec![0.0; dim * dim],
        }
    }

    pub(super) fn flow(&mut self) -> &mut dyn Flow {
        self.flow
    }

    /// The flow at (t, z), if it is not the last point anyway.
    pub(super) fn eval(&mut self, t: f64, z: &[f64]) -> &Evaluated {
        let values = &mut self.values;
        if values.t == t && values.z.col_as_slice(0) == z {
            return &self.values;
        }
        values.t = t;
        values.z.col_as_slice_mut(0).copy_from_slice(z);
        let at = Point {
            lanes: &LANE,
            t: &[t],
            z: values.z.as_ref(),
        };
        let mut failed = [false];
        let to = Values {
            f: values.f.as_mut(),
            objective: std::slice::from_mut(&mut values.objective),
            loss: std::slice::from_mut(&mut values.loss),
            grad_sq: std::slice::from_mut(&mut values.grad_sq),
            failed: &mut failed,
        };
        // A state that is not finite is the integrator's own doing: no decoder need see it.
        let outcome = if z.iter().all(|z| z.is_finite()) {
            self.flow.eval(at, to, std::slice::from_mut(&mut self.work))
        } else {
            values.f.fill(f64::NAN);
            Ok(())
        };
        values.failed = failed[0] || outcome.is_err();
        if values.failed {
            values.f.fill(f64::NAN);
        }
        self.fatal = self.fatal.take().or(outcome.err());
        &self.values
    }

    /// The Jacobian at (t, z) into `block`, column-major.
    fn block(&mut self, t: f64, z: &V, curvature: Curvature) {
        let at = Point {
            lanes: &LANE,
            t: &[t],
            z: z.inner().as_ref(),
        };
        let work = std::slice::from_mut(&mut self.work);
        let outcome = self.flow.jacobian(at, curvature, &mut self.block, work);
        if let Err(error) = outcome {
            self.block.fill(f64::NAN);
            self.fatal.get_or_insert(error);
        }
    }

    fn jacobian(&mut self, t: f64, z: &V, jacobian: &mut M) {
        self.block(t, z, self.curvature);
        let dim = self.flow.dim();
        for j in 0..dim {
            for i in 0..dim {
                jacobian[(i, j)] = self.block[j * dim + i];
            }
        }
    }

    /// bar = (df/dz)^T v at (t, z) and, where it is asked for, params_bar += (df/dtheta)^T v; NaN where it could not be had.
    pub(super) fn vjp(&mut self, (t, z): (f64, &V), v: &[f64], bar: &mut [f64], params_bar: Option<&mut [f64]>) {
        let at = Point {
            lanes: &LANE,
            t: &[t],
            z: z.inner().as_ref(),
        };
        let work = std::slice::from_mut(&mut self.work);
        let column = |values| Cols::from_column_major_slice(values, v.len(), 1);
        let to = ColsMut::from_column_major_slice_mut(bar, v.len(), 1);
        let outcome = match self.flow.adjoint() {
            Some(adjoint) => adjoint.vjp(at, column(v), to, params_bar, work),
            None => Err(FlowError("the flow has no adjoint any more".into())),
        };
        if let Err(error) = outcome {
            bar.fill(f64::NAN);
            self.fatal.get_or_insert(error);
        }
    }

    fn jvp(&mut self, t: f64, z: &V, v: &V, jv: &mut V) {
        let at = Point {
            lanes: &LANE,
            t: &[t],
            z: z.inner().as_ref(),
        };
        let work = std::slice::from_mut(&mut self.work);
        let mut product = Mat::full(self.flow.dim(), 1, f64::NAN);
        let outcome = self
            .flow
            .jvp(at, self.curvature, v.inner().as_ref(), product.as_mut(), work);
        self.fatal = self.fatal.take().or(outcome.err());
        for i in 0..product.nrows() {
            jv[i] = product[(i, 0)];
        }
    }
}

/// dz/dt = f(t, z) from z0.
pub(super) struct Equations<'f> {
    lane: RefCell<Lane<'f>>,
    dim: usize,
    z0: Vec<f64>,
    pub(super) context: C,
}

impl<'f> Equations<'f> {
    pub(super) fn new(lane: Lane<'f>, z0: Vec<f64>) -> Self {
        Equations {
            dim: z0.len(),
            lane: RefCell::new(lane),
            z0,
            context: C::default(),
        }
    }

    pub(super) fn lane(&self) -> RefMut<'_, Lane<'f>> {
        self.lane.borrow_mut()
    }
}

/// The slope.
pub(super) struct Slope<'a, 'f>(&'a Equations<'f>);
/// The initial state.
pub(super) struct Initial<'a, 'f>(&'a Equations<'f>);

macro_rules! op {
    ($type:ty, $self:ident => $equations:expr) => {
        impl Op for $type {
            type T = f64;
            type V = V;
            type M = M;
            type C = C;
            fn nstates(&$self) -> usize {
                $equations.dim
            }
            fn nout(&$self) -> usize {
                $equations.dim
            }
            fn nparams(&$self) -> usize {
                0
            }
            fn context(&$self) -> &C {
                &$equations.context
            }
        }
    };
}
op!(Equations<'_>, self => self);
op!(Slope<'_, '_>, self => self.0);
op!(Initial<'_, '_>, self => self.0);

impl NonLinearOp for Slope<'_, '_> {
    fn call_inplace(&self, z: &V, t: f64, f: &mut V) {
        let mut lane = self.0.lane();
        let values = lane.eval(t, z.inner().col_as_slice(0));
        for (i, value) in values.f.col_as_slice(0).iter().enumerate() {
            f[i] = *value;
        }
    }
}

impl NonLinearOpJacobian for Slope<'_, '_> {
    fn jac_mul_inplace(&self, z: &V, t: f64, v: &V, jv: &mut V) {
        self.0.lane().jvp(t, z, v, jv);
    }

    fn jacobian_inplace(&self, z: &V, t: f64, jacobian: &mut M) {
        self.0.lane().jacobian(t, z, jacobian);
    }
}

/// Minus the transpose products, as diffsol asks for them.
impl NonLinearOpAdjoint for Slope<'_, '_> {
    fn jac_transpose_mul_inplace(&self, z: &V, t: f64, v: &V, to: &mut V) {
        let mut bar = vec![0.0; self.0.dim];
        self.0.lane().vjp((t, z), v.inner().col_as_slice(0), &mut bar, None);
        for (i, value) in bar.iter().enumerate() {
            to[i] = -value;
        }
    }

    fn adjoint_inplace(&self, z: &V, t: f64, to: &mut M) {
        let mut lane = self.0.lane();
        lane.block(t, z, Curvature::Exact);
        let dim = self.0.dim;
        for j in 0..dim {
            for i in 0..dim {
                to[(i, j)] = -lane.block[i * dim + j];
            }
        }
    }
}

/// To diffsol there are no parameters: their integral is taken beside it.
impl NonLinearOpSensAdjoint for Slope<'_, '_> {
    fn sens_transpose_mul_inplace(&self, _z: &V, _t: f64, _v: &V, _to: &mut V) {}
}

impl ConstantOpSensAdjoint for Initial<'_, '_> {
    fn sens_transpose_mul_inplace(&self, _t: f64, _v: &V, _to: &mut V) {}
}

impl ConstantOp for Initial<'_, '_> {
    fn call_inplace(&self, _t: f64, z: &mut V) {
        for (i, value) in self.0.z0.iter().enumerate() {
            z[i] = *value;
        }
    }
}

impl<'a, 'f> OdeEquationsRef<'a> for Equations<'f> {
    type Rhs = Slope<'a, 'f>;
    type Mass = UnitCallable<M>;
    type Init = Initial<'a, 'f>;
    type Root = UnitCallable<M>;
    type Out = UnitCallable<M>;
    type Reset = UnitCallable<M>;
}

impl<'f> OdeEquations for Equations<'f> {
    fn rhs(&self) -> Slope<'_, 'f> {
        Slope(self)
    }

    fn mass(&self) -> Option<UnitCallable<M>> {
        None
    }

    fn init(&self) -> Initial<'_, 'f> {
        Initial(self)
    }

    fn set_params(&mut self, _params: &V) {}
    fn get_params(&self, _params: &mut V) {}
}
