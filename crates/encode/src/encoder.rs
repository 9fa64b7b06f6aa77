//! Encodes data that come in blocks: a reader, one integration loop per worker thread, and results block by block.
//!
//! The caller's thread alone reads and delivers, so that files need no locks; the workers share the samples of a few
//! blocks ahead. A worker takes the next sample of whatever block is there as soon as a lane is free: lanes stay full
//! across the edges of blocks, reading and writing happen while others compute, and memory is bounded by the blocks in
//! flight.

use crate::Precision;
use crate::batch::fresh_version;
use crate::encoding::{Encoding, Order, TracePoint};
use crate::gradient_flow::GradientFlow;
use crate::ledger::Ledger;
use crate::measure::Measure;
use crate::origin::Origin;
use crate::solver::Integrator;
use crate::starts::{Begin, Starter};
use crate::stream::{Desk, Feed, Stream, Word};
use crate::uncertainty::Uncertainty;
use faer::Mat;
use gfe_model::{Cols, Targets};
use gfe_ode::{Flow, FlowError, Method, Momentum, Status, Work, diffsol, integrate};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

/// What the system calls a thread that encodes.
const WORKER: &str = "encode";
/// Between two looks at whether to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// The result of one sample.
#[derive(Clone, Debug)]
pub struct Record {
    /// How it ended; everything else is NaN or 0 for `bad_input`.
    pub status: Status,
    /// Time reached; for `ptc` the sum of its steps.
    pub t: f64,
    /// Loss at z.
    pub loss: f64,
    /// Loss at z0.
    pub loss_initial: f64,
    /// Norm of the gradient of what is minimized.
    pub grad_norm: f64,
    /// Estimated distance to the minimum, (D/2) g^T (H~ + I/tau)^-1 g, from the Gauss-Newton Hessian at z.
    pub edm: f64,
    /// chi-squared at z, see [`Loss::chi2`](gfe_model::Loss::chi2).
    pub chi2: f64,
    /// Values that count: those not masked.
    pub n_valid: u32,
    /// Work done.
    pub work: Work,
    /// States on the way, if asked for.
    pub trace: Vec<TracePoint>,
    /// What the solver says of a failure, where it has more to say than the status.
    pub message: Option<String>,
    /// The start whose end was taken.
    pub start: u32,
    /// Different minima that the starts found within 9 of the lowest chi-squared; 0 where none succeeded.
    pub minima: u32,
}

impl Record {
    /// The record of a sample that has not been encoded.
    pub(crate) fn none() -> Record {
        Record {
            status: Status::BadInput,
            t: f64::NAN,
            loss: f64::NAN,
            loss_initial: f64::NAN,
            grad_norm: f64::NAN,
            edm: f64::NAN,
            chi2: f64::NAN,
            n_valid: 0,
            work: Work::default(),
            trace: Vec::new(),
            message: None,
            start: 0,
            minima: 0,
        }
    }
}

/// Codes and records, column b and entry b for sample b of the block.
#[derive(Debug)]
pub struct Encoded {
    /// Codes, `[d, samples]`; NaN for samples that could not be encoded.
    pub z: Mat<f64>,
    /// Records.
    pub records: Vec<Record>,
    /// D(z) in the data's own units, `[D, samples]`, where it was asked for; NaN like the codes.
    pub reconstruction: Option<Mat<f64>>,
    /// Error bars, where they were asked for.
    pub uncertainty: Option<Uncertainty>,
}

/// Samples in memory, a column each.
#[derive(Clone, Copy)]
pub struct Samples<'a> {
    /// Data `[D, samples]`, and their weights where there are any.
    pub data: Targets<'a>,
    /// What is known of each and enters the decoder, `[c, samples]`, unless c is 0.
    pub context: Option<Cols<'a>>,
    /// Initial latents, `[d, samples]`.
    pub z0: Cols<'a>,
}

impl<'a> Samples<'a> {
    /// `count` of the samples, from `first` on.
    pub(crate) fn part(self, first: usize, count: usize) -> Samples<'a> {
        Samples {
            data: Targets {
                y: self.data.y.subcols(first, count),
                w: self.data.w.map(|w| w.subcols(first, count)),
            },
            context: self.context.map(|context| context.subcols(first, count)),
            z0: self.z0.subcols(first, count),
        }
    }
}

/// Samples to encode.
#[derive(Clone, Debug)]
pub struct Block {
    /// The row of its first sample: random starts depend on the row alone.
    pub row: usize,
    /// Data, `[D, samples]`.
    pub y: Mat<f64>,
    /// Weights, `[D, samples]`, where there are any.
    pub w: Option<Mat<f64>>,
    /// What is known of each sample and enters the decoder, `[c, samples]`, unless c is 0.
    pub context: Option<Mat<f64>>,
    /// Initial latents, `[d, samples]`.
    pub z0: Mat<f64>,
    /// Where the integration starts instead, `[d, samples]`, or `[d, starts samples]` with those of a sample together: for a solver that goes to the steady state, and whose horizon
    /// stays tied to `z0`.
    pub start: Option<Mat<f64>>,
}

/// Encodes every block that `next` gives under the weights `params` `[P]`, and hands block and result to `done`, in order.
///
/// `next` and `done` run on the caller's thread while the workers compute; four blocks are in memory, or as many as fill all
/// lanes twice ([`Encoding::blocks_in_memory`]). A sample's result has the same bits whatever its neighbors, lanes, threads
/// and the cut into blocks. A datum that the loss does not admit gets the status `bad_input` and touches no other. Fails
/// where `next` or `done` does, where the decoder breaks down, or where a worker cannot be started. Gives the work that all
/// samples share, which no record counts: the Jacobian at a common z0.
pub fn encode_blocks<E: From<FlowError>>(
    how: &Encoding<'_>,
    params: &[f64],
    next: impl FnMut() -> Result<Option<Block>, E>,
    done: impl FnMut(&Block, Encoded) -> Result<(), E>,
) -> Result<Work, E> {
    encode_into(how, params, (None, None), next, done)
}

/// The same until `stop` is true: then no more samples are begun, those under way end, and what is not delivered is lost.
pub fn encode_blocks_until<E: From<FlowError>>(
    how: &Encoding<'_>,
    params: &[f64],
    stop: &AtomicBool,
    next: impl FnMut() -> Result<Option<Block>, E>,
    done: impl FnMut(&Block, Encoded) -> Result<(), E>,
) -> Result<Work, E> {
    encode_into(how, params, (None, Some(stop)), next, done)
}

/// The same, with the accepted steps of every sample written to `ledger`.
fn encode_into<E: From<FlowError>>(
    how: &Encoding<'_>,
    params: &[f64],
    (ledger, stop): (Option<&Ledger>, Option<&AtomicBool>),
    mut next: impl FnMut() -> Result<Option<Block>, E>,
    mut done: impl FnMut(&Block, Encoded) -> Result<(), E>,
) -> Result<Work, E> {
    let how = &how.settled(ledger.is_some());
    let single = how.precision() != Precision::Double;
    let version = fresh_version();
    let origin = match how.common_z0 {
        Some(z0) if how.solver.makes_hessians(z0.len()) && how.starts <= 1 && how.begin == Begin::Z0 => {
            Origin::new((how.open)(), (params, version), z0, single)?
        }
        _ => None,
    };
    let starter = Starter::new(how, params);
    let mut next = || -> Result<Option<Block>, E> {
        let mut block = next()?;
        block.as_mut().map_or(Ok(()), |block| starter.begin(block))?;
        Ok(block)
    };
    let (speak, hear) = mpsc::channel();
    let stream = Stream::new(how, speak);
    std::thread::scope(|scope| {
        for _ in 0..how.threads.max(1) {
            let worker = || {
                let result = catch_unwind(AssertUnwindSafe(|| {
                    work(how, (params, version), origin.as_ref(), (&stream, ledger))
                }));
                stream.say(Word::Stopped(result));
            };
            let started = std::thread::Builder::new()
                .name(WORKER.into())
                .spawn_scoped(scope, worker);
            if let Err(error) = started {
                // Those that were started wait for blocks.
                stream.abandon();
                return Err(FlowError(format!("a worker thread cannot be started: {error}")).into());
            }
        }
        let result = catch_unwind(AssertUnwindSafe(|| {
            carry(how, (&stream, &hear, stop), &mut next, &mut done)
        }));
        // Whatever happened, a panic here or there included, no worker may wait for more or begin what nobody wants.
        stream.abandon();
        result.unwrap_or_else(|panic| resume_unwind(panic))
    })?;
    Ok(origin.map_or_else(Work::default, |origin| origin.work))
}

/// Encodes samples that are all in memory; see [`encode_blocks`].
pub fn encode(how: &Encoding<'_>, params: &[f64], samples: Samples<'_>) -> Result<Encoded, FlowError> {
    encode_with(how, params, None, samples, None)
}

/// The same with the points `[d, samples]` where the integrations begin, if elsewhere than at z0; see [`Block::start`].
pub fn encode_from(
    how: &Encoding<'_>,
    params: &[f64],
    samples: Samples<'_>,
    start: Option<Cols<'_>>,
) -> Result<Encoded, FlowError> {
    encode_with(how, params, None, samples, start)
}

/// The same, with the accepted steps of every sample written to `ledger`.
pub(crate) fn encode_with(
    how: &Encoding<'_>,
    params: &[f64],
    ledger: Option<&Ledger>,
    samples: Samples<'_>,
    start: Option<Cols<'_>>,
) -> Result<Encoded, FlowError> {
    let Samples { data, context, z0 } = samples;
    let block = Block {
        row: 0,
        y: data.y.to_owned(),
        w: data.w.map(|w| w.to_owned()),
        context: context.map(|context| context.to_owned()),
        z0: z0.to_owned(),
        start: start.map(|start| start.to_owned()),
    };
    encode_block(how, params, ledger, block)
}

/// Encodes one block.
pub(crate) fn encode_block(
    how: &Encoding<'_>,
    params: &[f64],
    ledger: Option<&Ledger>,
    block: Block,
) -> Result<Encoded, FlowError> {
    let mut encoded = Encoded {
        z: Mat::zeros(block.z0.nrows(), 0),
        records: Vec::new(),
        reconstruction: None,
        uncertainty: None,
    };
    let mut block = Some(block);
    encode_into(
        how,
        params,
        (ledger, None),
        || Ok(block.take()),
        |_, result| {
            encoded = result;
            Ok::<(), FlowError>(())
        },
    )?;
    Ok(encoded)
}

/// Reads ahead and delivers in order until both ends are dry, or `stop` is true.
fn carry<E: From<FlowError>>(
    how: &Encoding<'_>,
    (stream, hear, stop): (&Stream<'_>, &Receiver<Word>, Option<&AtomicBool>),
    next: &mut dyn FnMut() -> Result<Option<Block>, E>,
    done: &mut dyn FnMut(&Block, Encoded) -> Result<(), E>,
) -> Result<(), E> {
    let (mut read, mut delivered, mut dry) = (0, 0, false);
    let (mut samples, mut running) = (0, how.threads.max(1));
    let starts_of = |block: &Block| how.starts.max(1) * block.y.ncols();
    let mut waiting = BTreeMap::new();
    loop {
        let stopped = || stop.is_some_and(|stop| stop.load(Ordering::Relaxed));
        while !stopped() && !dry && how.reads_on(read - delivered, samples) {
            match next()? {
                Some(block) => {
                    samples += starts_of(&block);
                    stream.push(block);
                    read += 1;
                }
                None => {
                    dry = true;
                    stream.close();
                }
            }
        }
        if stopped() || read == delivered {
            return Ok(());
        }
        match hear.recv_timeout(PATIENCE) {
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => running = 0,
            Ok(Word::Ready(loaded)) => {
                waiting.insert(loaded.index(), loaded);
            }
            Ok(Word::Stopped(Err(panic))) => resume_unwind(panic),
            Ok(Word::Stopped(Ok(result))) => {
                result?;
                running -= 1;
            }
        }
        while let Some(loaded) = waiting.remove(&delivered) {
            let encoded = loaded.take();
            done(loaded.block(), encoded)?;
            samples -= starts_of(loaded.block());
            delivered += 1;
        }
        if running == 0 && delivered < read {
            return Err(FlowError("every worker has stopped with blocks still to encode".into()).into());
        }
    }
}

/// One worker: integrates samples of the stream until it is closed and empty.
fn work(
    how: &Encoding<'_>,
    (params, version): (&[f64], u64),
    origin: Option<&Origin>,
    (stream, ledger): (&Stream<'_>, Option<&Ledger>),
) -> Result<(), FlowError> {
    let decoder = (how.open)();
    let shape = decoder.shape();
    let lanes = how.solver.lanes(how.lanes);
    let first_order = GradientFlow::new(decoder, params, (how.loss, stream), how.anchor(), lanes)
        .with_version(version)
        .with_rate(how.rate)
        .with_reduced(how.precision() != Precision::Double)
        .with_origin(origin);
    let mut flow: Box<dyn Flow + '_> = match how.order {
        Order::Gradient => Box::new(first_order),
        Order::Nesterov { restart } => Box::new(Momentum::new(first_order, restart, lanes)),
    };
    let rules = how.solver.stop(how.gtol, how.loss, shape.data);
    let stop: Vec<_> = rules.iter().map(|rule| &**rule).collect();
    let held = Cell::new(0);
    let measure = Measure::new(how, (params, version), stream);
    let mut desk = Desk::new((stream, &held), how.trace, measure, ledger);
    let mut feed = Feed::new(stream, &held);
    let integrated = match how.solver.integrator(&*flow, lanes, how.t_end) {
        Integrator::ErrorControl(control) => {
            let how = control.integration(&stop, how);
            diffsol::integrate(&mut *flow, &how, &mut feed, &mut desk)
        }
        Integrator::Batched(mut stepper, controller) => {
            let method = Method {
                stepper: &mut *stepper,
                controller: &*controller,
                stop: &stop,
                // The pseudo-time of an anchored flow has no end: the horizon is in its objective.
                t_end: if how.solver.anchors() { f64::INFINITY } else { how.t_end },
                max_steps: how.max_steps,
                lanes,
                at: how.trace.times(),
            };
            integrate(&mut *flow, method, &mut feed, &mut desk)
        }
    };
    integrated.and(desk.outcome())
}

/// A shared block with its results.
pub(crate) type Shared = Arc<crate::stream::Loaded>;
