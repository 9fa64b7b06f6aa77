//! The first-order flow dz/dt = -alpha(t) grad_z [ l(y, D(z)) + |z - z0|^2 / (2 tau) ], its Jacobian with the Gauss-Newton
//! or the exact Hessian.
//!
//! A decoder's columns have the same bits at every width from two on, not at one: a single lane is therefore doubled. What
//! the forward pass left at a lane's last point is kept, so that products there need no further pass.

mod adjoint;
mod hessian;

use crate::batch::{Batch, Engine};
use crate::data::Data;
use crate::origin::Origin;
use crate::rate::Rate;
use faer::Mat;
use gfe_model::{Cols, ColsMut, Decoder, Loss, Targets};
use gfe_ode::{Curvature, Failure, Flow, FlowAdjoint, FlowError, Lanewise, Point, Structure, Values, Work};

/// Tangent columns in one product: enough to fill it, few enough to stay in cache.
const TANGENT_COLUMNS: usize = 512;

/// The gradient flow of a decoder, a loss and the data of the lanes.
pub struct GradientFlow<'a> {
    engine: Engine<'a>,
    loss: &'a dyn Loss,
    data: &'a dyn Data,
    /// 1/tau of the horizon's term; 0 without one.
    anchor: f64,
    rate: Rate,
    origin: Option<&'a Origin>,
    z0: Mat<f64>,
    /// Column = lane: the data, and what the last evaluation left.
    home: Batch,
    /// Whether `home` holds a forward pass of its z, per lane.
    taped: Vec<bool>,
    /// Gathered columns.
    part: Batch,
    /// Columns of which `home` holds no forward pass.
    absent: Vec<usize>,
    /// Whether any lane's datum had weights so far; those without then count with weight 1, which changes no bit.
    weighted: bool,
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
        let engine = Engine::new(decoder, params, width, tangents);
        GradientFlow {
            loss,
            data,
            anchor,
            rate: Rate::default(),
            origin: None,
            z0: Mat::zeros(shape.latent, width),
            home: engine.batch(width),
            taped: vec![false; width],
            absent: Vec::with_capacity(width),
            part: engine.batch(width),
            weighted: false,
            engine,
        }
    }

    /// The same with the number that stands for its weights, by which a decoder knows what it has made of them.
    pub(crate) fn with_version(self, version: u64) -> Self {
        GradientFlow {
            engine: self.engine.with_version(version),
            ..self
        }
    }

    /// The same to single precision, where the decoder offers it, or not; the exact Hessian is then refused.
    pub fn with_reduced(mut self, reduced: bool) -> Self {
        self.engine.set_reduced(reduced);
        self
    }

    /// Calls `with` to single precision, with what forward passes left in double.
    pub(crate) fn in_single<R>(&mut self, with: impl FnOnce(&mut Self) -> R) -> R {
        self.engine.set_reduced(true);
        let result = with(self);
        self.engine.set_reduced(false);
        result
    }

    /// The same with the factor alpha(t).
    pub fn with_rate(self, rate: Rate) -> Self {
        GradientFlow { rate, ..self }
    }

    /// The same, with the Jacobian known where many samples start.
    pub fn with_origin(self, origin: Option<&'a Origin>) -> Self {
        GradientFlow { origin, ..self }
    }

    /// The decoder's values, `[D]`, of the last evaluation of `lane`.
    pub(crate) fn decoded(&self, lane: usize) -> &[f64] {
        self.home.x.col_as_slice(lane)
    }

    /// The diagonal of d2l/dx2 at the last evaluation of `lane`, `[D]`.
    pub(crate) fn information(&self, lane: usize) -> Vec<f64> {
        let mut diagonal = Mat::zeros(self.home.x.nrows(), 1);
        let data = Targets {
            y: self.home.y.as_ref().subcols(lane, 1),
            w: self.weighted.then(|| self.home.w.as_ref().subcols(lane, 1)),
        };
        let x = self.home.x.as_ref().subcols(lane, 1);
        self.loss.curvature(x, data, diagonal.as_mut());
        diagonal.col_as_slice(0).to_vec()
    }

    /// Whether the decoder said, by NaN in its column, that it cannot decode the latent of `lane`.
    fn gave_nan(&self, lane: usize, loss: f64) -> bool {
        let asked = || self.home.z.col_as_slice(lane).iter().all(|z| z.is_finite());
        loss.is_nan() && asked() && self.decoded(lane).iter().any(|x| x.is_nan())
    }

    /// The datum and the weights of `lane`, `[D]` each.
    pub(crate) fn datum(&self, lane: usize) -> (&[f64], Option<&[f64]>) {
        let w = self.weighted.then(|| self.home.w.col_as_slice(lane));
        (self.home.y.col_as_slice(lane), w)
    }

    /// Copies lanes and their data from home to the front of `part`, with the latents of `at`; a single one twice. Gives
    /// the width.
    fn gather(&mut self, at: &Point<'_>, columns: std::ops::Range<usize>) -> usize {
        let width = columns.len().max(2);
        for i in 0..width {
            let b = columns.start + i.min(columns.len() - 1);
            let lane = at.lanes[b];
            self.part.z.as_mut().col_mut(i).copy_from(at.z.col(b));
            self.part
                .context
                .as_mut()
                .col_mut(i)
                .copy_from(self.home.context.col(lane));
            self.part.y.as_mut().col_mut(i).copy_from(self.home.y.col(lane));
            if self.weighted {
                self.part.w.as_mut().col_mut(i).copy_from(self.home.w.col(lane));
            }
        }
        width
    }

    /// x, tape, loss and its gradient at `at`, left in `home`; NaN where the decoder gave nothing.
    fn evaluate(&mut self, at: &Point<'_>) -> Result<(), FlowError> {
        let count = at.lanes.len();
        let first = at.lanes[0];
        for &lane in at.lanes {
            self.taped[lane] = false;
        }
        let contiguous = count > 1 && at.lanes[count - 1] == first + count - 1;
        if contiguous {
            self.home.z.as_mut().subcols_mut(first, count).copy_from(at.z);
            self.engine.forward(&mut self.home, first, count)?;
            self.engine
                .gradient(self.loss, &mut self.home, (first, count), self.weighted)?;
        } else {
            let width = self.gather(at, 0..count);
            self.engine.forward(&mut self.part, 0, width)?;
            self.engine
                .gradient(self.loss, &mut self.part, (0, width), self.weighted)?;
            for (b, &lane) in at.lanes.iter().enumerate() {
                self.home.take(&self.part, b, lane);
            }
        }
        for &lane in at.lanes {
            self.taped[lane] = self.home.trouble[lane].is_none();
        }
        Ok(())
    }

    /// Makes sure that `home` holds a forward pass at the points of `at`; NaN where the decoder gave nothing.
    pub(crate) fn pass(&mut self, at: &Point<'_>, work: &mut [Work]) -> Result<(), FlowError> {
        let missing = |flow: &Self, b: usize| {
            let lane = at.lanes[b];
            !flow.taped[lane] || flow.home.z.col(lane) != at.z.col(b)
        };
        let mut absent = std::mem::take(&mut self.absent);
        absent.clear();
        absent.extend((0..at.lanes.len()).filter(|&b| missing(self, b)));
        for chunk in absent.chunks(self.part.z.ncols()) {
            let width = chunk.len().max(2);
            for i in 0..width {
                let b = chunk[i.min(chunk.len() - 1)];
                self.part.z.as_mut().col_mut(i).copy_from(at.z.col(b));
                let context = self.home.context.col(at.lanes[b]);
                self.part.context.as_mut().col_mut(i).copy_from(context);
            }
            self.engine.forward(&mut self.part, 0, width)?;
            for (i, &b) in chunk.iter().enumerate() {
                let lane = at.lanes[b];
                self.home.take(&self.part, i, lane);
                self.taped[lane] = self.home.trouble[lane].is_none();
                work[lane].evaluations += 1;
            }
        }
        self.absent = absent;
        Ok(())
    }

    /// Copies the forward passes of some columns of `at` from home to the front of `part`; a single one twice. Gives the
    /// width.
    fn gather_passes(&mut self, at: &Point<'_>, columns: std::ops::Range<usize>) -> usize {
        let width = self.gather(at, columns.clone());
        for i in 0..width {
            let lane = at.lanes[columns.start + i.min(columns.len() - 1)];
            self.part.x.as_mut().col_mut(i).copy_from(self.home.x.col(lane));
            self.part.tape.as_mut().col_mut(i).copy_from(self.home.tape.col(lane));
        }
        width
    }

    /// Whether every one of these columns lies where many samples start.
    fn at_origin(&self, at: &Point<'_>, b: usize) -> bool {
        self.origin.is_some_and(|origin| {
            at.z.col(b)
                .iter()
                .zip(&origin.z)
                .all(|(a, b)| a.to_bits() == b.to_bits())
        })
    }
}

impl Lanewise for GradientFlow<'_> {
    fn admit(&mut self, lane: usize, sample: usize, z0: &[f64]) {
        let w = self.home.w.col_as_slice_mut(lane);
        if self.data.copy(sample, self.home.y.col_as_slice_mut(lane), w) {
            self.weighted = true;
        } else {
            w.fill(1.0);
        }
        self.data.context(sample, self.home.context.col_as_slice_mut(lane));
        self.home.trouble[lane] = None;
        let anchor = self.z0.col_as_slice_mut(lane);
        if !self.data.anchor(sample, anchor) {
            anchor.copy_from_slice(z0);
        }
        self.taped[lane] = false;
    }

    fn relocate(&mut self, from: usize, to: usize) {
        self.home.relocate(from, to);
        let (target, source) = self.z0.as_mut().two_cols_mut(to, from);
        { target }.copy_from(source);
        self.taped[to] = self.taped[from];
    }
}

impl Flow for GradientFlow<'_> {
    fn dim(&self) -> usize {
        self.z0.nrows()
    }

    fn eval(&mut self, at: Point<'_>, mut to: Values<'_>, work: &mut [Work]) -> Result<(), FlowError> {
        self.evaluate(&at)?;
        for (b, &lane) in at.lanes.iter().enumerate() {
            work[lane].evaluations += 1;
            work[lane].vjps += 1;
            to.loss[b] = self.home.value[lane];
            to.failed[b] = self.home.trouble[lane].is_some() || self.gave_nan(lane, to.loss[b]);
            let alpha = self.rate.at(at.t[b]);
            let (mut square, mut grad_sq) = (0.0, 0.0);
            for r in 0..self.z0.nrows() {
                let distance = at.z[(r, b)] - self.z0[(r, lane)];
                square += distance * distance;
                let g = self.home.z_bar[(r, lane)] + self.anchor * distance;
                grad_sq += g * g;
                to.f[(r, b)] = -alpha * g;
            }
            to.grad_sq[b] = grad_sq;
            to.objective[b] = self.home.value[lane] + 0.5 * self.anchor * square;
        }
        Ok(())
    }

    fn jacobian(
        &mut self,
        at: Point<'_>,
        curvature: Curvature,
        blocks: &mut [f64],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        self.pass(&at, work)?;
        let chunk = self.engine.most_tangents().min(self.part.z.ncols());
        let mut first = 0;
        while first < at.lanes.len() {
            // Columns whose Jacobian is known are not counted: they stand in chunks of their own.
            let known = self.at_origin(&at, first);
            let most = (first + chunk).min(at.lanes.len());
            let last = (first..most).find(|&b| self.at_origin(&at, b) != known).unwrap_or(most);
            let width = self.gather_passes(&at, first..last);
            match curvature {
                Curvature::GaussNewton => {
                    self.engine.second(self.loss, &mut self.part, width, self.weighted);
                    self.roots(width);
                    self.gauss_newton(&at, first..last, blocks, work)?;
                }
                Curvature::Exact => self.exact(&at, first..last, blocks, work)?,
            }
            for &lane in &at.lanes[first..last] {
                work[lane].jacobians += 1;
            }
            first = last;
        }
        Ok(())
    }

    fn jvp(
        &mut self,
        at: Point<'_>,
        curvature: Curvature,
        v: Cols<'_>,
        mut jv: ColsMut<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        self.pass(&at, work)?;
        let count = at.lanes.len();
        let width = self.gather_passes(&at, 0..count);
        for i in 0..width {
            self.part.z_dot.as_mut().col_mut(i).copy_from(v.col(i.min(count - 1)));
        }
        self.engine
            .curve(self.loss, &mut self.part, width, (curvature, self.weighted))?;
        self.keep_troubles(&at, 0..count);
        for (b, &lane) in at.lanes.iter().enumerate() {
            let alpha = self.rate.at(at.t[b]);
            for r in 0..self.z0.nrows() {
                jv[(r, b)] = -alpha * (self.part.z_bar[(r, b)] + self.anchor * v[(r, b)]);
            }
            work[lane].jvps += 1;
            match curvature {
                Curvature::GaussNewton => work[lane].vjps += 1,
                Curvature::Exact => work[lane].hvps += 1,
            }
        }
        Ok(())
    }

    fn failure(&self, lane: usize) -> Option<Failure<'_>> {
        let trouble = self.home.trouble[lane].as_ref()?;
        Some(Failure {
            text: &trouble.text,
            last: trouble.last,
        })
    }

    fn adjoint(&mut self) -> Option<&mut dyn FlowAdjoint> {
        self.engine.differentiable().then_some(self as &mut dyn FlowAdjoint)
    }

    fn rounding(&self) -> f64 {
        self.engine.rounding()
    }

    fn autonomous(&self) -> bool {
        matches!(self.rate, Rate::Constant { .. })
    }

    /// 1 for a likelihood; else the loss of x = 0, (1/D) sum_i w_i y_i^2, so that neither the units of the data matter nor
    /// where the sample starts.
    fn gradient_unit(&self, lane: usize) -> f64 {
        if self.loss.is_likelihood() {
            return 1.0;
        }
        let (y, w) = self.datum(lane);
        let weight = |i: usize| w.map_or(1.0, |w| w[i]);
        let counts = (0..y.len()).filter(|&i| weight(i) != 0.0);
        let power = counts.map(|i| weight(i) * y[i] * y[i]).sum::<f64>() / y.len() as f64;
        if power > 0.0 { power } else { 1.0 }
    }

    fn least_curvature(&self) -> f64 {
        match self.rate {
            Rate::Constant { alpha0 } => alpha0 * self.anchor,
            Rate::ExpDecay { .. } => 0.0,
        }
    }

    fn structure(&self, curvature: Curvature) -> Structure {
        match curvature {
            Curvature::GaussNewton => Structure::NegativeSemidefinite,
            Curvature::Exact => Structure::Symmetric,
        }
    }
}
