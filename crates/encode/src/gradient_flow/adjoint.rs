//! Products with the transposed derivatives of the flow, and the gradient of the loss where it ends.
//!
//! f = -alpha grad_z l has a symmetric Jacobian, -alpha H. One second-order product along v gives both integrands of the
//! adjoint: H v, and d(v^T grad_z l)/dtheta.

use super::GradientFlow;
use crate::batch::ParamsBar;
use gfe_model::{Cols, ColsMut};
use gfe_ode::{FlowAdjoint, FlowError, Point, Work};

impl GradientFlow<'_> {
    /// z_bar = grad_z l and params_bar += the sum over columns of dl/dtheta at the points of `at`, `z_bar` `[d, lanes.len()]`,
    /// `params_bar` `[P]`. The loss is finite there; the decoder must be trainable.
    pub(crate) fn loss_gradient(
        &mut self,
        at: &Point<'_>,
        mut z_bar: ColsMut<'_>,
        params_bar: &mut [f64],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        self.pass(at, work)?;
        let count = at.lanes.len();
        let width = self.gather_passes(at, 0..count);
        let weighted = self.weighted;
        self.engine
            .pull_back(self.loss, &mut self.part, (width, weighted), (params_bar, count))?;
        z_bar.copy_from(self.part.z_bar.as_ref().subcols(0, count));
        at.lanes.iter().for_each(|&lane| work[lane].vjps += 1);
        Ok(())
    }

    /// The products of lanes 0, 1, ..., at least two, where they lie.
    fn curve_home(
        &mut self,
        at: &Point<'_>,
        v_bar: Cols<'_>,
        params_bar: Option<ParamsBar<'_>>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let count = at.lanes.len();
        let known = |lane: usize| self.taped[lane] && self.home.z.col(lane) == at.z.col(lane);
        if !(0..count).all(known) {
            self.home.z.as_mut().subcols_mut(0, count).copy_from(at.z);
            self.engine.forward(&mut self.home, 0, count)?;
            for lane in 0..count {
                self.taped[lane] = self.home.trouble[lane].is_none();
                work[lane].evaluations += 1;
            }
        }
        for lane in 0..count {
            let alpha = self.rate.at(at.t[lane]);
            let to = self.home.z_dot.col_as_slice_mut(lane).iter_mut();
            to.zip(v_bar.col(lane).iter()).for_each(|(to, v)| *to = -alpha * v);
        }
        self.engine
            .curve_back(self.loss, &mut self.home, (count, self.weighted), params_bar)
    }

    /// The products of any lanes, gathered.
    fn curve_part(
        &mut self,
        at: &Point<'_>,
        v_bar: Cols<'_>,
        params_bar: Option<ParamsBar<'_>>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        self.pass(at, work)?;
        let count = at.lanes.len();
        let width = self.gather_passes(at, 0..count);
        for i in 0..width {
            let b = i.min(count - 1);
            let alpha = self.rate.at(at.t[b]);
            let to = self.part.z_dot.col_as_slice_mut(i).iter_mut();
            to.zip(v_bar.col(b).iter()).for_each(|(to, v)| *to = -alpha * v);
        }
        self.engine
            .curve_back(self.loss, &mut self.part, (width, self.weighted), params_bar)?;
        self.keep_troubles(at, 0..count);
        Ok(())
    }
}

impl FlowAdjoint for GradientFlow<'_> {
    /// -alpha (H + I/tau) v, and the sum over columns of -alpha d(v^T grad_z l)/dtheta.
    fn vjp(
        &mut self,
        at: Point<'_>,
        v_bar: Cols<'_>,
        mut z_bar: ColsMut<'_>,
        params_bar: Option<&mut [f64]>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let count = at.lanes.len();
        let params_bar = params_bar.map(|params_bar| (params_bar, count));
        let first = count > 1 && at.lanes[count - 1] == count - 1;
        if first {
            self.curve_home(&at, v_bar, params_bar, work)?;
        } else {
            self.curve_part(&at, v_bar, params_bar, work)?;
        }
        let products = if first { &self.home.z_bar } else { &self.part.z_bar };
        for (b, &lane) in at.lanes.iter().enumerate() {
            let alpha = self.rate.at(at.t[b]);
            for r in 0..self.z0.nrows() {
                z_bar[(r, b)] = products[(r, b)] - alpha * self.anchor * v_bar[(r, b)];
            }
            work[lane].jvps += 1;
            work[lane].hvps += 1;
        }
        Ok(())
    }
}
