//! How samples are encoded: everything that may be chosen, with what `gfe encode` takes by default.

use crate::encoder::Block;
use crate::noise::Noise;
use crate::starts::Begin;
use crate::{Precision, Rate, Solver};
use gfe_model::{Decoder, Loss};
use gfe_ode::{Curvature, StepRecord};

/// Lanes that fill a product; twice as many gain 5% at most.
const MOST_LANES: usize = 128;
/// Lanes below which products are too slow whatever the memory.
const LEAST_LANES: usize = 16;
/// Memory of a worker's batches.
const LANE_BYTES: usize = 64 << 20;

/// Blocks read and not yet delivered, at the least: enough that a slow sample of the oldest keeps no worker waiting.
const BLOCKS_IN_FLIGHT: usize = 4;

/// Lanes for a decoder: as many as fill its products, fewer where its values are so many that their memory counts.
pub fn default_lanes(decoder: &dyn Decoder) -> usize {
    // Two batches of y, w, x, dl/dx and the tape.
    let values = 2 * (4 * decoder.shape().data + decoder.tape_len());
    (LANE_BYTES / (8 * values).max(1)).clamp(LEAST_LANES, MOST_LANES)
}

/// How samples are encoded, whatever the weights.
#[derive(Clone, Copy)]
pub struct Encoding<'a> {
    /// Opens a decoder for a worker.
    pub open: &'a (dyn Fn() -> Box<dyn Decoder> + Sync),
    /// The loss.
    pub loss: &'a dyn Loss,
    /// The flow's order.
    pub order: Order,
    /// The factor alpha(t).
    pub rate: Rate,
    /// Where every sample starts, `[d]`, if all start there: the Jacobian at it is then computed once for all.
    pub common_z0: Option<&'a [f64]>,
    /// The method.
    pub solver: Solver,
    /// tau, or infinity.
    pub t_end: f64,
    /// A sample whose |grad| is at most this is done; for a loss that is no likelihood, this times the loss of D(z) = 0.
    pub gtol: f64,
    /// Steps attempted per sample at most.
    pub max_steps: u32,
    /// Lanes per worker.
    pub lanes: usize,
    /// Worker threads.
    pub threads: usize,
    /// Which states on the way are recorded.
    pub trace: Trace<'a>,
    /// Whether D(z) is given beside z.
    pub reconstruction: bool,
    /// Starts of each sample; the lowest end is taken.
    pub starts: usize,
    /// Where they begin.
    pub begin: Begin,
    /// With which Hessian error bars are given beside z, if any.
    pub uncertainty: Option<Curvature>,
    /// What errors of the values are taken for in error bars and chi-squared, for a loss that says nothing of them: mse.
    pub noise: Option<&'a Noise>,
}

/// Which flow is integrated.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Order {
    /// dz/dt = -alpha grad l.
    #[default]
    Gradient,
    /// d2z/dt2 + (3/t) dz/dt + alpha grad l = 0, see [`gfe_ode::Momentum`].
    Nesterov {
        /// Whether the momentum is dropped where it points uphill.
        restart: bool,
    },
}

/// Which states on the way are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Trace<'a> {
    /// None.
    #[default]
    None,
    /// The end of every accepted step.
    Steps,
    /// Those at these times, ascending, with their latents; between steps by the method's own interpolation.
    At(&'a [f64]),
}

impl<'a> Trace<'a> {
    /// Times asked for.
    pub(crate) fn times(self) -> &'a [f64] {
        if let Trace::At(times) = self { times } else { &[] }
    }
}

/// A state on the way.
#[derive(Clone, Debug, PartialEq)]
pub struct TracePoint {
    /// Time, loss and gradient norm.
    pub step: StepRecord,
    /// Latent, `[d]`, for times asked for; else empty.
    pub z: Vec<f64>,
}

impl<'a> Encoding<'a> {
    /// The flow of first order by `solver`, a worker with 128 lanes, everything else as `gfe encode` has it by default for ptc.
    pub fn new(open: &'a (dyn Fn() -> Box<dyn Decoder> + Sync), loss: &'a dyn Loss, solver: Solver) -> Self {
        Encoding {
            open,
            loss,
            order: Order::Gradient,
            rate: Rate::default(),
            common_z0: None,
            solver,
            t_end: 1e4,
            gtol: 1e-9,
            max_steps: 1000,
            lanes: MOST_LANES,
            threads: 1,
            trace: Trace::None,
            reconstruction: false,
            starts: 1,
            begin: Begin::Z0,
            uncertainty: None,
            noise: None,
        }
    }
}

impl Encoding<'_> {
    /// 1/tau where the solver minimizes l + |z - z0|^2 / (2 tau), else 0.
    pub(crate) fn anchor(&self) -> f64 {
        if self.solver.anchors() { 1.0 / self.t_end } else { 0.0 }
    }

    /// The same with this precision, where the solver has a choice.
    pub(crate) fn with_precision(&self, precision: Precision) -> Self {
        Encoding {
            solver: self.solver.with_precision(precision),
            ..*self
        }
    }

    /// The same with the precision in which it is done: double where steps are recorded.
    pub(crate) fn settled(&self, recorded: bool) -> Self {
        if recorded || self.trace != Trace::None {
            return self.with_precision(Precision::Double);
        }
        self.with_precision(self.precision())
    }

    /// The precision in which it is done, but for a decoder that offers no other than double.
    pub(crate) fn precision(&self) -> Precision {
        self.solver.precision(self.gtol, self.loss)
    }

    /// Whether to read one more block, with so many blocks of so many samples in all in flight: those for another load of
    /// every lane have to be there.
    pub(crate) fn reads_on(&self, blocks: usize, samples: usize) -> bool {
        let lanes = self.threads.max(1) * self.solver.lanes(self.lanes);
        blocks < BLOCKS_IN_FLIGHT || samples < 2 * lanes
    }

    /// Blocks in memory at most, of `rows` samples each.
    pub fn blocks_in_memory(&self, rows: usize) -> usize {
        let samples = rows.max(1) * self.starts.max(1);
        let mut in_flight = 1;
        while self.reads_on(in_flight, in_flight * samples) {
            in_flight += 1;
        }
        in_flight
    }

    /// Whether a sample of a block can be encoded: the loss admits its datum, and what is known of it is finite.
    pub(crate) fn admits(&self, block: &Block, sample: usize) -> bool {
        let w = block.w.as_ref().map(|w| w.col_as_slice(sample));
        let known = block.context.as_ref().is_none_or(|context| {
            let mut context = context.col_as_slice(sample).iter();
            context.all(|value| value.is_finite())
        });
        known && self.loss.admits(block.y.col_as_slice(sample), w).is_ok()
    }
}
