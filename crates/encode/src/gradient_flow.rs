//! The first-order flow dz/dt = -grad_z [ l(y, D(z)) + |z - z0|^2 / (2 tau) ], its Jacobian with the Gauss-Newton Hessian.
//!
//! A decoder's columns have the same bits at every width from two on, not at one: a single lane is therefore doubled.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};
use gfe_model::{At, Cols, ColsMut, DecodeError, Decoder, Loss, Taped, Targets};
use gfe_ode::{Flow, FlowError, Lanewise, Point, Structure, Values, Work};

/// Tangent columns in one product: enough to fill it, few enough to stay in cache.
const TANGENT_COLUMNS: usize = 512;

/// Where a flow finds the datum of a sample.
pub trait Data {
    /// Copies the datum of `sample` into `y` `[D]`, and its weights into `w` `[D]` where it has any (false: it has none).
    fn copy(&self, sample: usize, y: &mut [f64], w: &mut [f64]) -> bool;
}

/// A block in memory; column b is sample b.
impl Data for Targets<'_> {
    fn copy(&self, sample: usize, y: &mut [f64], w: &mut [f64]) -> bool {
        y.iter_mut()
            .zip(self.y.col(sample).iter())
            .for_each(|(to, from)| *to = *from);
        let Some(weights) = self.w else { return false };
        w.iter_mut()
            .zip(weights.col(sample).iter())
            .for_each(|(to, from)| *to = *from);
        true
    }
}

/// The gradient flow of a decoder, a loss and the data of the lanes.
pub struct GradientFlow<'a> {
    decoder: Box<dyn Decoder>,
    params: &'a [f64],
    loss: &'a dyn Loss,
    data: &'a dyn Data,
    /// 1/tau of the horizon's term; 0 without one.
    anchor: f64,
    z0: Mat<f64>,
    y: Mat<f64>,
    w: Mat<f64>,
    /// Whether any lane's datum had weights so far; those without then count with weight 1, which changes no bit.
    weighted: bool,
    z: Mat<f64>,
    x: Mat<f64>,
    x_bar: Mat<f64>,
    z_bar: Mat<f64>,
    tape: Mat<f64>,
    part_y: Mat<f64>,
    part_w: Mat<f64>,
    z_dot: Mat<f64>,
    x_dot: Mat<f64>,
    value: Vec<f64>,
    scratch: Vec<f64>,
}

impl<'a> GradientFlow<'a> {
    /// A flow over the samples of `data`, with up to `lanes` lanes; `anchor` is 1/tau, or 0.
    pub fn new(
        decoder: Box<dyn Decoder>,
        params: &'a [f64],
        (loss, data): (&'a dyn Loss, &'a dyn Data),
        anchor: f64,
        lanes: usize,
    ) -> Self {
        let shape = decoder.shape();
        let width = lanes.max(2);
        let tangents = TANGENT_COLUMNS.min(width * shape.latent).max(2 * shape.latent);
        GradientFlow {
            params,
            loss,
            data,
            anchor,
            z0: Mat::zeros(shape.latent, width),
            y: Mat::zeros(shape.data, width),
            w: Mat::full(shape.data, width, 1.0),
            weighted: false,
            z: Mat::zeros(shape.latent, width),
            x: Mat::zeros(shape.data, width),
            x_bar: Mat::zeros(shape.data, width),
            z_bar: Mat::zeros(shape.latent, width),
            tape: Mat::zeros(decoder.tape_len(), width),
            part_y: Mat::zeros(shape.data, width),
            part_w: Mat::full(shape.data, width, 1.0),
            z_dot: Mat::zeros(shape.latent, tangents),
            x_dot: Mat::zeros(shape.data, tangents),
            value: vec![0.0; width],
            scratch: vec![0.0; decoder.scratch_len(width.max(tangents))],
            decoder,
        }
    }

    /// The decoder's values, `[D, columns]`, of the last evaluation.
    pub(crate) fn decoded(&self) -> Cols<'_> {
        self.x.as_ref()
    }

    /// The datum and the weights of `lane`, `[D]` each.
    pub(crate) fn datum(&self, lane: usize) -> (&[f64], Option<&[f64]>) {
        let w = self.weighted.then(|| self.w.col_as_slice(lane));
        (self.y.col_as_slice(lane), w)
    }

    /// Copies the columns of a point and of its lanes' data to the front; a single one twice. Gives the width.
    fn gather(&mut self, at: &Point<'_>, columns: std::ops::Range<usize>) -> usize {
        let width = columns.len().max(2);
        for i in 0..width {
            let b = columns.start + i.min(columns.len() - 1);
            let lane = at.lanes[b];
            self.z.as_mut().col_mut(i).copy_from(at.z.col(b));
            self.part_y.as_mut().col_mut(i).copy_from(self.y.col(lane));
            if self.weighted {
                self.part_w.as_mut().col_mut(i).copy_from(self.w.col(lane));
            }
        }
        width
    }

    /// x = D(z) and the tape, for the gathered columns; false where the decoder gave no result.
    fn forward(&mut self, width: usize) -> Result<bool, FlowError> {
        let at = point(self.params, &self.z, width);
        let x = self.x.as_mut().subcols_mut(0, width);
        let tape = self.tape.as_mut().subcols_mut(0, width);
        outcome(self.decoder.forward(at, x, tape, &mut self.scratch))
    }

    /// Loss and its gradient in z for the gathered columns.
    fn gradient(&mut self, width: usize) -> Result<bool, FlowError> {
        let y = targets((&self.part_y, &self.part_w), self.weighted, width);
        let x_bar = self.x_bar.as_mut().subcols_mut(0, width);
        self.loss.eval(
            self.x.as_ref().subcols(0, width),
            y,
            &mut self.value[..width],
            Some(x_bar),
        );
        let at = point(self.params, &self.z, width);
        let taped = Taped {
            at,
            tape: self.tape.as_ref().subcols(0, width),
        };
        let x_bar = self.x_bar.as_ref().subcols(0, width);
        outcome(self.decoder.vjp(
            taped,
            x_bar,
            self.z_bar.as_mut().subcols_mut(0, width),
            &mut self.scratch,
        ))
    }

    /// x_dot = J, column by column, for the gathered columns.
    fn tangents(&mut self, width: usize) -> Result<bool, FlowError> {
        let dim = self.z.nrows();
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
        let at = point(self.params, &self.z, width);
        let taped = Taped {
            at,
            tape: self.tape.as_ref().subcols(0, width),
        };
        let z_dot = self.z_dot.as_ref().subcols(0, width * dim);
        outcome(tangent.jvp(
            taped,
            z_dot,
            self.x_dot.as_mut().subcols_mut(0, width * dim),
            &mut self.scratch,
        ))
    }

    /// -(J^T diag(l'') J + I/tau) of gathered column `b` into `block`.
    fn block(&mut self, b: usize, block: &mut [f64]) {
        let dim = self.z.nrows();
        for r in 0..dim {
            let curvature = self.x_bar.col_as_slice(b);
            for (x_dot, c) in self.x_dot.col_as_slice_mut(b * dim + r).iter_mut().zip(curvature) {
                *x_dot *= c.sqrt();
            }
        }
        let rows = self.x_dot.as_ref().subcols(b * dim, dim);
        let mut to = ColsMut::from_column_major_slice_mut(block, dim, dim);
        matmul(to.as_mut(), Accum::Replace, rows.transpose(), rows, -1.0, Par::Seq);
        for r in 0..dim {
            to[(r, r)] -= self.anchor;
        }
    }
}

/// The first `width` columns of `z`, without context.
fn point<'a>(params: &'a [f64], z: &'a Mat<f64>, width: usize) -> At<'a> {
    At {
        params,
        version: 0,
        z: z.as_ref().subcols(0, width),
        context: none(width),
    }
}

/// The first `width` columns of data and, where they count, of weights.
fn targets<'a>((y, w): (&'a Mat<f64>, &'a Mat<f64>), weighted: bool, width: usize) -> Targets<'a> {
    Targets {
        y: y.as_ref().subcols(0, width),
        w: weighted.then(|| w.as_ref().subcols(0, width)),
    }
}

/// An empty context for `width` columns.
fn none<'a>(width: usize) -> Cols<'a> {
    MatRef::from_column_major_slice(&[], 0, width)
}

/// Whether a decoder call gave a result; what speaks of the whole call fails its columns, a breakdown fails the flow.
fn outcome(result: Result<(), DecodeError>) -> Result<bool, FlowError> {
    match result {
        Ok(()) => Ok(true),
        Err(DecodeError::Discard(_) | DecodeError::Failed(_)) => Ok(false),
        Err(error @ DecodeError::Fatal(_)) => Err(FlowError(error.to_string())),
    }
}

impl Lanewise for GradientFlow<'_> {
    fn admit(&mut self, lane: usize, sample: usize, z0: &[f64]) {
        let w = self.w.col_as_slice_mut(lane);
        if self.data.copy(sample, self.y.col_as_slice_mut(lane), w) {
            self.weighted = true;
        } else {
            w.fill(1.0);
        }
        self.z0.col_as_slice_mut(lane).copy_from_slice(z0);
    }

    fn relocate(&mut self, from: usize, to: usize) {
        for matrix in [&mut self.y, &mut self.w, &mut self.z0] {
            for r in 0..matrix.nrows() {
                matrix[(r, to)] = matrix[(r, from)];
            }
        }
    }
}

impl Flow for GradientFlow<'_> {
    fn dim(&self) -> usize {
        self.z.nrows()
    }

    fn eval(&mut self, at: Point<'_>, mut to: Values<'_>, work: &mut [Work]) -> Result<(), FlowError> {
        let count = at.lanes.len();
        let width = self.gather(&at, 0..count);
        let done = self.forward(width)? && self.gradient(width)?;
        for (b, &lane) in at.lanes.iter().enumerate() {
            work[lane].evaluations += 1;
            work[lane].vjps += 1;
            to.failed[b] = !done;
            to.loss[b] = self.value[b];
            let mut square = 0.0;
            for r in 0..self.z.nrows() {
                let distance = at.z[(r, b)] - self.z0[(r, lane)];
                square += distance * distance;
                to.f[(r, b)] = -(self.z_bar[(r, b)] + self.anchor * distance);
            }
            to.objective[b] = self.value[b] + 0.5 * self.anchor * square;
        }
        Ok(())
    }

    fn jacobian(&mut self, at: Point<'_>, blocks: &mut [f64], work: &mut [Work]) -> Result<(), FlowError> {
        let dim = self.dim();
        let chunk = (self.z_dot.ncols() / dim).min(self.z.ncols());
        let mut first = 0;
        while first < at.lanes.len() {
            let last = (first + chunk).min(at.lanes.len());
            let width = self.gather(&at, first..last);
            let done = self.forward(width)? && self.tangents(width)?;
            let y = targets((&self.part_y, &self.part_w), self.weighted, width);
            self.loss.curvature(
                self.x.as_ref().subcols(0, width),
                y,
                self.x_bar.as_mut().subcols_mut(0, width),
            );
            for b in first..last {
                let block = &mut blocks[b * dim * dim..(b + 1) * dim * dim];
                self.block(b - first, block);
                if !done {
                    block.fill(f64::NAN);
                }
                let work = &mut work[at.lanes[b]];
                work.evaluations += 1;
                work.jvps += dim as u32;
                work.jacobians += 1;
            }
            first = last;
        }
        Ok(())
    }

    fn structure(&self) -> Structure {
        Structure::NegativeSemidefinite
    }
}
