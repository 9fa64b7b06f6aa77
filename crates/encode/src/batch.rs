//! Decoder calls on the columns of a batch, in memory asked for once.

use faer::{Mat, MatRef};
use gfe_model::{At, Cols, DecodeError, Decoder, Loss, Seeds, Taped, Targets};
use gfe_ode::{Curvature, FlowError};

/// Columns of latents with their data, and what the decoder gave.
pub(crate) struct Batch {
    pub(crate) z: Mat<f64>,
    pub(crate) y: Mat<f64>,
    pub(crate) w: Mat<f64>,
    pub(crate) x: Mat<f64>,
    pub(crate) tape: Mat<f64>,
    pub(crate) x_bar: Mat<f64>,
    pub(crate) z_bar: Mat<f64>,
    pub(crate) z_dot: Mat<f64>,
    pub(crate) value: Vec<f64>,
}

impl Batch {
    /// Column `to` takes over point, values, tape and gradient of column `from` of `other`.
    pub(crate) fn take(&mut self, other: &Batch, from: usize, to: usize) {
        self.z.as_mut().col_mut(to).copy_from(other.z.col(from));
        self.x.as_mut().col_mut(to).copy_from(other.x.col(from));
        self.tape.as_mut().col_mut(to).copy_from(other.tape.col(from));
        self.z_bar.as_mut().col_mut(to).copy_from(other.z_bar.col(from));
        self.value[to] = other.value[from];
    }

    /// Column `to` takes over everything that column `from` keeps between calls.
    pub(crate) fn relocate(&mut self, from: usize, to: usize) {
        for matrix in [&mut self.z, &mut self.y, &mut self.w, &mut self.x, &mut self.tape] {
            let (target, source) = matrix.as_mut().two_cols_mut(to, from);
            { target }.copy_from(source);
        }
    }

    /// Some columns of data and, where they count, of weights.
    fn targets(&self, first: usize, count: usize, weighted: bool) -> Targets<'_> {
        Targets {
            y: self.y.as_ref().subcols(first, count),
            w: weighted.then(|| self.w.as_ref().subcols(first, count)),
        }
    }
}

/// A decoder under its weights, with scratch memory.
pub(crate) struct Engine<'a> {
    decoder: Box<dyn Decoder>,
    params: &'a [f64],
    /// Directions and their images, d per column of a batch.
    z_dot: Mat<f64>,
    pub(crate) x_dot: Mat<f64>,
    x_bar_dot: Mat<f64>,
    scratch: Vec<f64>,
}

impl<'a> Engine<'a> {
    /// For batches of up to `width` columns, and `tangents` columns of directions.
    pub(crate) fn new(decoder: Box<dyn Decoder>, params: &'a [f64], width: usize, tangents: usize) -> Self {
        let shape = decoder.shape();
        Engine {
            params,
            z_dot: Mat::zeros(shape.latent, tangents),
            x_dot: Mat::zeros(shape.data, tangents.max(width)),
            x_bar_dot: Mat::zeros(shape.data, width),
            scratch: vec![0.0; decoder.scratch_len(width.max(tangents))],
            decoder,
        }
    }

    /// Memory for so many columns.
    pub(crate) fn batch(&self, width: usize) -> Batch {
        let shape = self.decoder.shape();
        Batch {
            z: Mat::zeros(shape.latent, width),
            y: Mat::zeros(shape.data, width),
            w: Mat::full(shape.data, width, 1.0),
            x: Mat::zeros(shape.data, width),
            tape: Mat::zeros(self.decoder.tape_len(), width),
            x_bar: Mat::zeros(shape.data, width),
            z_bar: Mat::zeros(shape.latent, width),
            z_dot: Mat::zeros(shape.latent, width),
            value: vec![0.0; width],
        }
    }

    /// x = D(z) and the tape of some columns; false where the decoder gave no result.
    pub(crate) fn forward(&mut self, batch: &mut Batch, first: usize, count: usize) -> Result<bool, FlowError> {
        let at = point(self.params, batch.z.as_ref().subcols(first, count));
        let x = batch.x.as_mut().subcols_mut(first, count);
        let tape = batch.tape.as_mut().subcols_mut(first, count);
        outcome(self.decoder.forward(at, x, tape, &mut self.scratch))
    }

    /// Loss and its gradient in z at the last forward pass of some columns.
    pub(crate) fn gradient(
        &mut self,
        loss: &dyn Loss,
        batch: &mut Batch,
        (first, count): (usize, usize),
        weighted: bool,
    ) -> Result<bool, FlowError> {
        let mut x_bar = std::mem::replace(&mut batch.x_bar, Mat::new());
        let mut value = std::mem::take(&mut batch.value);
        loss.eval(
            batch.x.as_ref().subcols(first, count),
            batch.targets(first, count, weighted),
            &mut value[first..first + count],
            Some(x_bar.as_mut().subcols_mut(first, count)),
        );
        (batch.x_bar, batch.value) = (x_bar, value);
        let taped = taped(self.params, (&batch.z, &batch.tape), first, count);
        let x_bar = batch.x_bar.as_ref().subcols(first, count);
        let z_bar = batch.z_bar.as_mut().subcols_mut(first, count);
        outcome(self.decoder.vjp(taped, x_bar, z_bar, &mut self.scratch))
    }

    /// x_bar = the diagonal of d2l/dx2 at the first columns.
    pub(crate) fn second(&self, loss: &dyn Loss, batch: &mut Batch, width: usize, weighted: bool) {
        let mut x_bar = std::mem::replace(&mut batch.x_bar, Mat::new());
        let x = batch.x.as_ref().subcols(0, width);
        loss.curvature(
            x,
            batch.targets(0, width, weighted),
            x_bar.as_mut().subcols_mut(0, width),
        );
        batch.x_bar = x_bar;
    }

    /// x_dot = J, all directions of the first columns: d columns for each.
    pub(crate) fn tangents(&mut self, batch: &Batch, width: usize) -> Result<bool, FlowError> {
        let dim = batch.z.nrows();
        self.z_dot.fill(0.0);
        for b in 0..width {
            for r in 0..dim {
                self.z_dot[(r, b * dim + r)] = 1.0;
            }
        }
        let Some(tangent) = self.decoder.tangent() else {
            return Err(FlowError(
                "ptc needs Jacobian-vector products, which this decoder lacks: take solver amd".into(),
            ));
        };
        let z_dot = self.z_dot.as_ref().subcols(0, width * dim);
        let x_dot = self.x_dot.as_mut().subcols_mut(0, width * dim);
        outcome(tangent.jvp(
            taped(self.params, (&batch.z, &batch.tape), 0, width),
            z_dot,
            x_dot,
            &mut self.scratch,
        ))
    }

    /// z_bar = H z_dot, or the Gauss-Newton part of it, for one direction in each of the first columns.
    pub(crate) fn curve(
        &mut self,
        loss: &dyn Loss,
        batch: &mut Batch,
        width: usize,
        (curvature, weighted): (Curvature, bool),
    ) -> Result<bool, FlowError> {
        let Some(tangent) = self.decoder.tangent() else {
            return Err(FlowError(
                "this solver needs Jacobian-vector products, which this decoder lacks: take solver amd".into(),
            ));
        };
        let z_dot = batch.z_dot.as_ref().subcols(0, width);
        let x_dot = self.x_dot.as_mut().subcols_mut(0, width);
        if !outcome(tangent.jvp(
            taped(self.params, (&batch.z, &batch.tape), 0, width),
            z_dot,
            x_dot,
            &mut self.scratch,
        ))? {
            return Ok(false);
        }
        self.second(loss, batch, width, weighted);
        for b in 0..width {
            let (to, from) = (self.x_bar_dot.col_as_slice_mut(b), self.x_dot.col_as_slice(b));
            let second = batch.x_bar.col_as_slice(b).iter().zip(from);
            to.iter_mut().zip(second).for_each(|(to, (c, x_dot))| *to = c * x_dot);
        }
        if curvature == Curvature::GaussNewton {
            let at = taped(self.params, (&batch.z, &batch.tape), 0, width);
            let x_bar_dot = self.x_bar_dot.as_ref().subcols(0, width);
            let z_bar = batch.z_bar.as_mut().subcols_mut(0, width);
            return outcome(self.decoder.vjp(at, x_bar_dot, z_bar, &mut self.scratch));
        }
        let mut x_bar = std::mem::replace(&mut batch.x_bar, Mat::new());
        let mut value = std::mem::take(&mut batch.value);
        let x = batch.x.as_ref().subcols(0, width);
        let slopes = Some(x_bar.as_mut().subcols_mut(0, width));
        loss.eval(x, batch.targets(0, width, weighted), &mut value[..width], slopes);
        (batch.x_bar, batch.value) = (x_bar, value);
        let Some(second) = self.decoder.second_order() else {
            return Err(FlowError(
                "the exact Hessian needs second-order products, which this decoder lacks: take the Gauss-Newton one"
                    .into(),
            ));
        };
        let seeds = Seeds {
            z_dot: batch.z_dot.as_ref().subcols(0, width),
            x_bar: batch.x_bar.as_ref().subcols(0, width),
            x_bar_dot: self.x_bar_dot.as_ref().subcols(0, width),
        };
        let at = taped(self.params, (&batch.z, &batch.tape), 0, width);
        let z_bar = batch.z_bar.as_mut().subcols_mut(0, width);
        outcome(second.hvp(at, seeds, z_bar, None, &mut self.scratch))
    }
}

/// Some columns with their tape.
fn taped<'b>(params: &'b [f64], (z, tape): (&'b Mat<f64>, &'b Mat<f64>), first: usize, count: usize) -> Taped<'b> {
    Taped {
        at: point(params, z.as_ref().subcols(first, count)),
        tape: tape.as_ref().subcols(first, count),
    }
}

/// Latents without context.
fn point<'b>(params: &'b [f64], z: Cols<'b>) -> At<'b> {
    At {
        params,
        version: 0,
        z,
        context: MatRef::from_column_major_slice(&[], 0, z.ncols()),
    }
}

/// Whether a decoder call gave a result; what speaks of the whole call fails its columns, a breakdown fails the flow.
fn outcome(result: Result<(), DecodeError>) -> Result<bool, FlowError> {
    match result {
        Ok(()) => Ok(true),
        Err(DecodeError::Discard(_) | DecodeError::Failed(_)) => Ok(false),
        Err(error @ DecodeError::Fatal(_)) => Err(FlowError(error.to_string())),
    }
}
