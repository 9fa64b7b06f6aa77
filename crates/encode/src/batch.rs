//! Decoder calls on the columns of a batch, in memory asked for once.
//!
//! A decoder's error speaks of a whole call: it is repeated column by column, and those that fail again get NaN, and the
//! reason. So one sample's failure touches no other.

mod back;

pub(crate) use back::ParamsBar;
use faer::Mat;
use gfe_model::{At, DecodeError, Decoder, Loss, Tangent, Taped, Targets};
use gfe_ode::{Curvature, FlowError};
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that no weights had before: decoders may keep what they make of weights as long as it stays the same.
pub(crate) fn fresh_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Why a decoder gave nothing for a column.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// What it said.
    pub(crate) text: String,
    /// Whether no smaller step is worth a try.
    pub(crate) last: bool,
}

/// Columns of latents with their data, and what the decoder gave.
pub(crate) struct Batch {
    pub(crate) z: Mat<f64>,
    pub(crate) context: Mat<f64>,
    pub(crate) y: Mat<f64>,
    pub(crate) w: Mat<f64>,
    pub(crate) x: Mat<f64>,
    pub(crate) tape: Mat<f64>,
    pub(crate) x_bar: Mat<f64>,
    pub(crate) z_bar: Mat<f64>,
    pub(crate) z_dot: Mat<f64>,
    pub(crate) value: Vec<f64>,
    /// Why the last calls gave nothing, per column.
    pub(crate) trouble: Vec<Option<Trouble>>,
}

impl Batch {
    /// Column `to` takes over point, values, tape and gradient of column `from` of `other`.
    pub(crate) fn take(&mut self, other: &Batch, from: usize, to: usize) {
        self.z.as_mut().col_mut(to).copy_from(other.z.col(from));
        self.x.as_mut().col_mut(to).copy_from(other.x.col(from));
        self.tape.as_mut().col_mut(to).copy_from(other.tape.col(from));
        self.z_bar.as_mut().col_mut(to).copy_from(other.z_bar.col(from));
        self.value[to] = other.value[from];
        self.trouble[to].clone_from(&other.trouble[from]);
    }

    /// Column `to` takes over everything that column `from` keeps between calls.
    pub(crate) fn relocate(&mut self, from: usize, to: usize) {
        for matrix in [
            &mut self.z,
            &mut self.context,
            &mut self.y,
            &mut self.w,
            &mut self.x,
            &mut self.tape,
        ] {
            let (target, source) = matrix.as_mut().two_cols_mut(to, from);
            { target }.copy_from(source);
        }
        self.trouble.swap(from, to);
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
    version: u64,
    /// Whether single precision is enough, where the decoder offers it.
    reduced: bool,
    /// Directions and their images, d per column of a batch.
    z_dot: Mat<f64>,
    pub(crate) x_dot: Mat<f64>,
    x_bar_dot: Mat<f64>,
    /// Made by the first call that asks for it: in single precision none does.
    scratch: Vec<f64>,
    scratch_len: usize,
    /// Two equal columns, and their images, for calls of a single column; made when the first call fails.
    alone: Option<Box<(Batch, Mat<f64>)>>,
}

/// A call of the decoder on some columns.
#[derive(Clone, Copy)]
enum Call {
    /// x and tape.
    Forward,
    /// z_bar = J^T x_bar.
    PullBack,
    /// x_dot = J, d columns for each.
    Jacobian,
    /// x_dot = J z_dot, a column for each.
    PushForward,
    /// z_bar = the second-order product along z_dot with x_bar and x_bar_dot.
    Curve,
    /// z_bar = J^T x_bar_dot.
    PullBackDot,
}

impl<'a> Engine<'a> {
    /// For batches of up to `width` columns, and `tangents` columns of directions.
    pub(crate) fn new(decoder: Box<dyn Decoder>, params: &'a [f64], width: usize, tangents: usize) -> Self {
        let shape = decoder.shape();
        Engine {
            params,
            version: fresh_version(),
            reduced: false,
            z_dot: Mat::zeros(shape.latent, tangents),
            x_dot: Mat::zeros(shape.data, tangents.max(width)),
            x_bar_dot: Mat::zeros(shape.data, width.max(2)),
            scratch: Vec::new(),
            scratch_len: decoder.scratch_len(width.max(tangents).max(2)),
            alone: None,
            decoder,
        }
    }

    /// The same with the number that stands for these weights.
    pub(crate) fn with_version(self, version: u64) -> Self {
        Engine { version, ..self }
    }

    /// The most columns whose directions fit one call of [`Engine::tangents`].
    pub(crate) fn most_tangents(&self) -> usize {
        self.z_dot.ncols() / self.z_dot.nrows()
    }

    /// Whether the decoder has the products that an adjoint is made of.
    pub(crate) fn differentiable(&self) -> bool {
        self.decoder.tangent().is_some() && self.decoder.second_order().is_some()
    }

    /// From now on to single precision, where the decoder offers it, or not; the exact Hessian is then refused.
    pub(crate) fn set_reduced(&mut self, reduced: bool) {
        self.reduced = reduced;
    }

    /// The relative rounding error of decoded values.
    pub(crate) fn rounding(&self) -> f64 {
        if self.reduced && self.decoder.reduced().is_some() {
            f64::from(f32::EPSILON)
        } else {
            f64::EPSILON
        }
    }

    /// Memory for so many columns.
    pub(crate) fn batch(&self, width: usize) -> Batch {
        let shape = self.decoder.shape();
        Batch {
            z: Mat::zeros(shape.latent, width),
            context: Mat::zeros(shape.context, width),
            y: Mat::zeros(shape.data, width),
            w: Mat::full(shape.data, width, 1.0),
            x: Mat::zeros(shape.data, width),
            tape: Mat::zeros(self.decoder.tape_len(), width),
            x_bar: Mat::zeros(shape.data, width),
            z_bar: Mat::zeros(shape.latent, width),
            z_dot: Mat::zeros(shape.latent, width),
            value: vec![0.0; width],
            trouble: vec![None; width],
        }
    }

    /// x = D(z) and the tape of some columns; NaN where the decoder gave nothing.
    pub(crate) fn forward(&mut self, batch: &mut Batch, first: usize, count: usize) -> Result<(), FlowError> {
        batch.trouble[first..first + count].fill(None);
        self.each(batch, (first, count), Call::Forward)
    }

    /// Loss and its gradient in z at the last forward pass of some columns.
    pub(crate) fn gradient(
        &mut self,
        loss: &dyn Loss,
        batch: &mut Batch,
        (first, count): (usize, usize),
        weighted: bool,
    ) -> Result<(), FlowError> {
        let mut x_bar = std::mem::replace(&mut batch.x_bar, Mat::new());
        let mut value = std::mem::take(&mut batch.value);
        loss.eval(
            batch.x.as_ref().subcols(first, count),
            batch.targets(first, count, weighted),
            &mut value[first..first + count],
            Some(x_bar.as_mut().subcols_mut(first, count)),
        );
        (batch.x_bar, batch.value) = (x_bar, value);
        self.each(batch, (first, count), Call::PullBack)
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
    pub(crate) fn tangents(&mut self, batch: &mut Batch, width: usize) -> Result<(), FlowError> {
        if self.decoder.tangent().is_none() {
            return Err(FlowError(
                "ptc needs Jacobian-vector products, which this decoder lacks: take solver amd".into(),
            ));
        }
        let dim = batch.z.nrows();
        self.z_dot.fill(0.0);
        for b in 0..width.max(2) {
            for r in 0..dim {
                self.z_dot[(r, b * dim + r)] = 1.0;
            }
        }
        self.each(batch, (0, width), Call::Jacobian)
    }

    /// z_bar = H z_dot, or the Gauss-Newton part of it, for one direction in each of the first columns.
    pub(crate) fn curve(
        &mut self,
        loss: &dyn Loss,
        batch: &mut Batch,
        width: usize,
        (curvature, weighted): (Curvature, bool),
    ) -> Result<(), FlowError> {
        if self.decoder.tangent().is_none() {
            return Err(FlowError(
                "this solver needs Jacobian-vector products, which this decoder lacks: take solver amd".into(),
            ));
        }
        self.push_forward(loss, batch, width, weighted)?;
        if curvature == Curvature::GaussNewton {
            return self.each(batch, (0, width), Call::PullBackDot);
        }
        self.slopes(loss, batch, width, weighted);
        if self.decoder.second_order().is_none() {
            return Err(FlowError(
                "the exact Hessian needs second-order products, which this decoder lacks: take the Gauss-Newton one"
                    .into(),
            ));
        }
        self.each(batch, (0, width), Call::Curve)
    }

    /// x_dot = J z_dot and x_bar_dot = l'' x_dot of the first columns.
    fn push_forward(
        &mut self,
        loss: &dyn Loss,
        batch: &mut Batch,
        width: usize,
        weighted: bool,
    ) -> Result<(), FlowError> {
        self.each(batch, (0, width), Call::PushForward)?;
        self.second(loss, batch, width, weighted);
        for b in 0..width {
            let (to, from) = (self.x_bar_dot.col_as_slice_mut(b), self.x_dot.col_as_slice(b));
            let second = batch.x_bar.col_as_slice(b).iter().zip(from);
            to.iter_mut().zip(second).for_each(|(to, (c, x_dot))| *to = c * x_dot);
        }
        Ok(())
    }

    /// value = l and x_bar = dl/dx of the first columns.
    fn slopes(&self, loss: &dyn Loss, batch: &mut Batch, width: usize, weighted: bool) {
        let mut x_bar = std::mem::replace(&mut batch.x_bar, Mat::new());
        let mut value = std::mem::take(&mut batch.value);
        let x = batch.x.as_ref().subcols(0, width);
        let slopes = Some(x_bar.as_mut().subcols_mut(0, width));
        loss.eval(x, batch.targets(0, width, weighted), &mut value[..width], slopes);
        (batch.x_bar, batch.value) = (x_bar, value);
    }

    /// Makes a call for some columns; where it fails as a whole, one by one.
    fn each(&mut self, batch: &mut Batch, (first, count): (usize, usize), call: Call) -> Result<(), FlowError> {
        match self.call(batch, (first, count), call) {
            Ok(()) => Ok(()),
            Err(error @ DecodeError::Fatal(_)) => Err(FlowError(error.to_string())),
            Err(_) => (first..first + count).try_for_each(|column| self.alone(batch, (first, column), call)),
        }
    }

    /// Makes a call for one column, as a pair of equal ones; `first` is the first column of the call that it was part of.
    fn alone(&mut self, batch: &mut Batch, (first, column): (usize, usize), call: Call) -> Result<(), FlowError> {
        let dim = batch.z.nrows();
        let mut alone = self.alone.take().unwrap_or_else(|| {
            let shape = self.decoder.shape();
            Box::new((self.batch(2), Mat::zeros(shape.data, 2 * shape.latent.max(1))))
        });
        let (pair, images) = &mut *alone;
        for b in 0..2 {
            pair.take(batch, column, b);
            for (to, from) in [
                (&mut pair.context, &batch.context),
                (&mut pair.x_bar, &batch.x_bar),
                (&mut pair.z_dot, &batch.z_dot),
            ] {
                to.as_mut().col_mut(b).copy_from(from.col(column));
            }
        }
        // Cotangents of the call are kept by its columns, and images are written where those of the first columns stand.
        let kept = [0, 1].map(|b| self.x_bar_dot.col(b).to_owned());
        for b in 0..2 {
            let (source, mut to) = (
                self.x_bar_dot.col(column - first).to_owned(),
                self.x_bar_dot.as_mut().col_mut(b),
            );
            to.copy_from(source);
        }
        std::mem::swap(&mut self.x_dot, images);
        let result = self.call(pair, (0, 2), call);
        std::mem::swap(&mut self.x_dot, images);
        for (b, kept) in kept.iter().enumerate() {
            self.x_bar_dot.as_mut().col_mut(b).copy_from(kept);
        }
        let nan = match result {
            Ok(()) => false,
            Err(error @ DecodeError::Fatal(_)) => return Err(FlowError(error.to_string())),
            Err(DecodeError::Discard(text)) => {
                batch.trouble[column] = Some(Trouble { text, last: false });
                true
            }
            Err(DecodeError::Failed(text)) => {
                batch.trouble[column] = Some(Trouble { text, last: true });
                true
            }
        };
        let give = |to: &mut Mat<f64>, column: usize, from: &Mat<f64>, source: usize| {
            let mut to = to.as_mut().col_mut(column);
            if nan {
                to.fill(f64::NAN);
            } else {
                to.copy_from(from.col(source));
            }
        };
        match call {
            Call::Forward => {
                give(&mut batch.x, column, &pair.x, 0);
                give(&mut batch.tape, column, &pair.tape, 0);
            }
            Call::PullBack | Call::Curve | Call::PullBackDot => give(&mut batch.z_bar, column, &pair.z_bar, 0),
            Call::PushForward => give(&mut self.x_dot, column - first, images, 0),
            Call::Jacobian => {
                (0..dim).for_each(|r| give(&mut self.x_dot, (column - first) * dim + r, images, r));
            }
        }
        self.alone = Some(alone);
        Ok(())
    }

    /// The call itself.
    fn call(&mut self, batch: &mut Batch, (first, count): (usize, usize), call: Call) -> Result<(), DecodeError> {
        let (decoder, dim) = (&*self.decoder, batch.z.nrows());
        let reduced = decoder.reduced().filter(|_| self.reduced);
        if reduced.is_none() && self.scratch.is_empty() {
            self.scratch = vec![0.0; self.scratch_len];
        }
        let scratch = &mut self.scratch[..];
        let at = At {
            params: self.params,
            version: self.version,
            z: batch.z.as_ref().subcols(first, count),
            context: batch.context.as_ref().subcols(first, count),
        };
        if let Call::Forward = call {
            let x = batch.x.as_mut().subcols_mut(first, count);
            let tape = batch.tape.as_mut().subcols_mut(first, count);
            if let Some(reduced) = reduced {
                return reduced.forward(at, x, tape);
            }
            return decoder.forward(at, x, tape, scratch);
        }
        let taped = Taped {
            at,
            tape: batch.tape.as_ref().subcols(first, count),
        };
        let x_bar = batch.x_bar.as_ref().subcols(first, count);
        let z_dot = batch.z_dot.as_ref().subcols(first, count);
        let z_bar = batch.z_bar.as_mut().subcols_mut(first, count);
        let x_bar_dot = self.x_bar_dot.as_ref();
        match call {
            Call::Forward => Ok(()),
            Call::PullBack | Call::PullBackDot => {
                let x_bar = match call {
                    Call::PullBack => x_bar,
                    _ => x_bar_dot.subcols(0, count),
                };
                match reduced {
                    Some(reduced) => reduced.vjp(taped, x_bar, z_bar),
                    None => decoder.vjp(taped, x_bar, z_bar, scratch),
                }
            }
            Call::Jacobian => {
                let z_dot = self.z_dot.as_ref().subcols(0, count * dim);
                let x_dot = self.x_dot.as_mut().subcols_mut(0, count * dim);
                match reduced {
                    Some(reduced) => reduced.jvp(taped, z_dot, x_dot),
                    None => tangent(decoder)?.jvp(taped, z_dot, x_dot, scratch),
                }
            }
            Call::PushForward => {
                let x_dot = self.x_dot.as_mut().subcols_mut(0, count);
                match reduced {
                    Some(reduced) => reduced.jvp(taped, z_dot, x_dot),
                    None => tangent(decoder)?.jvp(taped, z_dot, x_dot, scratch),
                }
            }
            Call::Curve if reduced.is_some() => Err(DecodeError::Fatal(
                "the exact Hessian was asked for to single precision, which has none".into(),
            )),
            Call::Curve => self.second_order(batch, (first, count), None),
        }
    }
}

/// An ability that was seen to be there is gone.
fn lost(what: &str) -> DecodeError {
    DecodeError::Fatal(format!("the decoder has no {what} any more"))
}

fn tangent(decoder: &dyn Decoder) -> Result<&dyn Tangent, DecodeError> {
    decoder.tangent().ok_or_else(|| lost("Jacobian-vector products"))
}
