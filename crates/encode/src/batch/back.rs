//! Derivatives in the weights: of the loss, and of its gradient along a direction.

use super::{Batch, Call, Engine, Trouble, lost};
use gfe_model::{At, DecodeError, Loss, Seeds, Taped};
use gfe_ode::FlowError;

/// The derivative of a product in the weights: where it is added, and how many of the first columns count.
pub(crate) type ParamsBar<'p> = (&'p mut [f64], usize);

impl Engine<'_> {
    /// z_bar = H z_dot of the first columns and, where it is asked for, params_bar += the sum over columns of the derivative of
    /// z_dot^T grad_z l in the weights.
    ///
    /// NaN in the columns for which the decoder gave nothing; what was then added to `params_bar` is undefined.
    pub(crate) fn curve_back(
        &mut self,
        loss: &dyn Loss,
        batch: &mut Batch,
        (width, weighted): (usize, bool),
        params_bar: Option<ParamsBar<'_>>,
    ) -> Result<(), FlowError> {
        self.push_forward(loss, batch, width, weighted)?;
        self.slopes(loss, batch, width, weighted);
        let Some((params_bar, counting)) = params_bar else {
            return self.each(batch, (0, width), Call::Curve);
        };
        for b in counting..width {
            batch.z_dot.as_mut().col_mut(b).fill(0.0);
            batch.x_bar.as_mut().col_mut(b).fill(0.0);
            self.x_bar_dot.as_mut().col_mut(b).fill(0.0);
        }
        match self.second_order(batch, (0, width), Some(params_bar)) {
            Ok(()) => Ok(()),
            Err(error @ DecodeError::Fatal(_)) => Err(FlowError(error.to_string())),
            Err(error) => {
                self.each(batch, (0, width), Call::Curve)?;
                let known = batch.trouble[..counting].iter().any(Option::is_some);
                if !known {
                    // Column by column nothing is wrong, but what the call left in the sum cannot be taken back.
                    batch.z_bar.as_mut().subcols_mut(0, width).fill(f64::NAN);
                    let text = error.to_string();
                    batch.trouble[..width].fill(Some(Trouble { text, last: true }));
                }
                Ok(())
            }
        }
    }

    /// z_bar = grad_z l and params_bar += the sum over columns of dl/dtheta, at the last forward pass of the first columns, of
    /// which `counting` count; value = l.
    pub(crate) fn pull_back(
        &mut self,
        loss: &dyn Loss,
        batch: &mut Batch,
        (width, weighted): (usize, bool),
        (params_bar, counting): ParamsBar<'_>,
    ) -> Result<(), FlowError> {
        self.gradient(loss, batch, (0, width), weighted)?;
        for b in counting..width {
            batch.x_bar.as_mut().col_mut(b).fill(0.0);
        }
        let at = At {
            params: self.params,
            version: self.version,
            z: batch.z.as_ref().subcols(0, width),
            context: batch.context.as_ref().subcols(0, width),
        };
        let taped = Taped {
            at,
            tape: batch.tape.as_ref().subcols(0, width),
        };
        let x_bar = batch.x_bar.as_ref().subcols(0, width);
        let added = match self.decoder.trainable() {
            Some(trainable) => trainable.params_vjp(taped, x_bar, params_bar, &mut self.scratch),
            None => Err(lost("parameter gradients")),
        };
        added.map_err(|error| FlowError(error.to_string()))
    }

    /// The second-order product of some columns and, where it is asked for, the part of the weights.
    pub(super) fn second_order(
        &mut self,
        batch: &mut Batch,
        (first, count): (usize, usize),
        params_bar_dot: Option<&mut [f64]>,
    ) -> Result<(), DecodeError> {
        let at = At {
            params: self.params,
            version: self.version,
            z: batch.z.as_ref().subcols(first, count),
            context: batch.context.as_ref().subcols(first, count),
        };
        let taped = Taped {
            at,
            tape: batch.tape.as_ref().subcols(first, count),
        };
        let seeds = Seeds {
            z_dot: batch.z_dot.as_ref().subcols(first, count),
            x_bar: batch.x_bar.as_ref().subcols(first, count),
            x_bar_dot: self.x_bar_dot.as_ref().subcols(0, count),
        };
        let z_bar = batch.z_bar.as_mut().subcols_mut(first, count);
        let second = self.decoder.second_order();
        let second = second.ok_or_else(|| lost("second-order products"))?;
        second.hvp(taped, seeds, z_bar, params_bar_dot, &mut self.scratch)
    }
}
