//! Encodes a block of data: one integration loop per worker thread over a shared queue of samples.

use crate::{GradientFlow, Solver};
use faer::Mat;
use gfe_model::{Cols, Decoder, Loss, Targets};
use gfe_ode::{
    Cholesky, Flow, FlowError, Lanewise, Method, Point, Queue, ResultSink, Retired, Status, StepRecord, Values, Work,
    integrate,
};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How samples are encoded, whatever the weights.
#[derive(Clone, Copy)]
pub struct Encoding<'a> {
    /// Opens a decoder for a worker.
    pub open: &'a (dyn Fn() -> Box<dyn Decoder> + Sync),
    /// The loss.
    pub loss: &'a dyn Loss,
    /// The method.
    pub solver: Solver,
    /// tau, or infinity.
    pub t_end: f64,
    /// A sample whose |grad| is at most this is done.
    pub gtol: f64,
    /// Steps attempted per sample at most.
    pub max_steps: u32,
    /// Lanes per worker.
    pub lanes: usize,
    /// Worker threads.
    pub threads: usize,
    /// Whether every accepted step is recorded.
    pub trace: bool,
}

/// The result of one sample.
#[derive(Clone, Debug, PartialEq)]
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
    /// Work done.
    pub work: Work,
    /// Accepted steps, if asked for.
    pub trace: Vec<StepRecord>,
}

/// Codes and records, column b and entry b for sample b of the block.
#[derive(Debug)]
pub struct Encoded {
    /// Codes, `[d, samples]`; NaN for samples that could not be encoded.
    pub z: Mat<f64>,
    /// Records.
    pub records: Vec<Record>,
}

/// Encodes every column of `data` under the weights `params` `[P]`, starting from the columns of `z0` `[d, samples]`.
///
/// A sample's result has the same bits whatever its neighbors, lanes and threads. A datum that the loss does not admit
/// gets the status `bad_input` and touches no other. Fails only where the decoder breaks down.
pub fn encode(how: &Encoding<'_>, params: &[f64], data: Targets<'_>, z0: Cols<'_>) -> Result<Encoded, FlowError> {
    let samples = data.y.ncols();
    let none = Record {
        status: Status::BadInput,
        t: f64::NAN,
        loss: f64::NAN,
        loss_initial: f64::NAN,
        grad_norm: f64::NAN,
        edm: f64::NAN,
        work: Work::default(),
        trace: Vec::new(),
    };
    let encoded = Encoded {
        z: Mat::full(z0.nrows(), samples, f64::NAN),
        records: vec![none; samples],
    };
    let results = Mutex::new(encoded);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..how.threads.max(1))
            .map(|_| {
                scope.spawn(|| {
                    let feed = Feed {
                        how,
                        params,
                        data,
                        z0,
                        next: &next,
                    };
                    work(
                        feed,
                        Results {
                            into: &results,
                            trace: how.trace,
                        },
                    )
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| match worker.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    let mut encoded = results
        .into_inner()
        .expect("no worker panicked while it held the results");
    measure_edm(how, params, (data, z0), &mut encoded)?;
    Ok(encoded)
}

/// Adds the estimated distance to the minimum where it is defined: at finite codes of decoders with tangents.
fn measure_edm(
    how: &Encoding<'_>,
    params: &[f64],
    (data, z0): (Targets<'_>, Cols<'_>),
    encoded: &mut Encoded,
) -> Result<(), FlowError> {
    let decoder = (how.open)();
    if decoder.tangent().is_none() {
        return Ok(());
    }
    let (dim, values) = (decoder.shape().latent, decoder.shape().data);
    let lanes = how.lanes.clamp(1, data.y.ncols().max(1));
    let anchor = if how.solver.anchors() { 1.0 / how.t_end } else { 0.0 };
    let mut flow = GradientFlow::new(decoder, params, (how.loss, data), anchor, lanes);
    let mut cholesky = Cholesky::new(dim);
    let mut blocks = vec![0.0; dim * dim * lanes];
    let (mut f, mut z, mut scalars) = (Mat::zeros(dim, lanes), Mat::zeros(dim, lanes), vec![0.0; 2 * lanes]);
    let (mut failed, mut work, mut solution) = (vec![false; lanes], vec![Work::default(); lanes], vec![0.0; dim]);
    let (all, t) = ((0..lanes).collect::<Vec<_>>(), vec![0.0; lanes]);
    let finite = encoded.records.iter().map(|record| record.loss.is_finite());
    let done: Vec<usize> = finite
        .enumerate()
        .filter_map(|(sample, finite)| finite.then_some(sample))
        .collect();
    for samples in done.chunks(lanes) {
        let count = samples.len();
        work.fill(Work::default());
        for (lane, &sample) in samples.iter().enumerate() {
            z.as_mut().col_mut(lane).copy_from(encoded.z.col(sample));
            let start: Vec<f64> = z0.col(sample).iter().copied().collect();
            flow.admit(lane, sample, &start);
        }
        let at = Point {
            lanes: &all[..count],
            t: &t[..count],
            z: z.as_ref().subcols(0, count),
        };
        let (objective, loss) = scalars[..2 * count].split_at_mut(count);
        let to = Values {
            f: f.as_mut().subcols_mut(0, count),
            objective,
            loss,
            failed: &mut failed[..count],
        };
        flow.eval(at, to, &mut work)?;
        flow.jacobian(at, &mut blocks[..count * dim * dim], &mut work)?;
        for (lane, &sample) in samples.iter().enumerate() {
            let block = &blocks[lane * dim * dim..(lane + 1) * dim * dim];
            let record = &mut encoded.records[sample];
            record.edm = values as f64 * cholesky.edm(block, f.col_as_slice(lane), &mut solution);
            record.work.evaluations += work[lane].evaluations;
            record.work.vjps += work[lane].vjps;
            record.work.jvps += work[lane].jvps;
            record.work.jacobians += work[lane].jacobians;
            record.work.factorizations += 1;
        }
    }
    Ok(())
}

fn work(mut feed: Feed<'_>, mut results: Results<'_>) -> Result<(), FlowError> {
    let how = feed.how;
    let decoder = (how.open)();
    let shape = decoder.shape();
    let lanes = how.lanes.clamp(1, feed.data.y.ncols().max(1));
    let anchor = if how.solver.anchors() { 1.0 / how.t_end } else { 0.0 };
    let mut flow = GradientFlow::new(decoder, feed.params, (how.loss, feed.data), anchor, lanes);
    let mut stepper = how.solver.stepper(shape.latent, lanes);
    let controller = how.solver.controller(how.t_end);
    let rules = how.solver.stop(how.gtol, how.loss, shape.data);
    let stop: Vec<_> = rules.iter().map(|rule| &**rule).collect();
    let method = Method {
        stepper: &mut *stepper,
        controller: &*controller,
        stop: &stop,
        // The pseudo-time of an anchored flow has no end: the horizon is in its objective.
        t_end: if how.solver.anchors() { f64::INFINITY } else { how.t_end },
        max_steps: how.max_steps,
        lanes,
    };
    integrate(&mut flow, method, &mut feed, &mut results)
}

/// Hands out the samples that the loss admits.
struct Feed<'a> {
    how: &'a Encoding<'a>,
    params: &'a [f64],
    data: Targets<'a>,
    z0: Cols<'a>,
    next: &'a AtomicUsize,
}

impl Queue for Feed<'_> {
    fn next(&mut self, z0: &mut [f64]) -> Option<usize> {
        loop {
            let sample = self.next.fetch_add(1, Ordering::Relaxed);
            if sample >= self.data.y.ncols() {
                return None;
            }
            let y: Vec<f64> = self.data.y.col(sample).iter().copied().collect();
            let w: Option<Vec<f64>> = self.data.w.map(|w| w.col(sample).iter().copied().collect());
            if self.how.loss.admits(&y, w.as_deref()).is_ok() {
                z0.iter_mut().enumerate().for_each(|(r, z)| *z = self.z0[(r, sample)]);
                return Some(sample);
            }
        }
    }
}

/// Writes results where they belong.
struct Results<'a> {
    into: &'a Mutex<Encoded>,
    trace: bool,
}

impl ResultSink for Results<'_> {
    fn retired(&mut self, result: &Retired<'_>) {
        let mut encoded = self.into.lock().expect("no worker panics while it holds the results");
        encoded.z.col_as_slice_mut(result.sample).copy_from_slice(result.z);
        let record = &mut encoded.records[result.sample];
        record.status = result.status;
        record.t = result.t;
        record.loss = result.loss;
        record.loss_initial = result.loss_initial;
        record.grad_norm = result.grad_norm;
        record.work = result.work;
    }

    fn stepped(&mut self, step: &StepRecord) {
        if self.trace {
            let mut encoded = self.into.lock().expect("no worker panics while it holds the results");
            encoded.records[step.sample].trace.push(*step);
        }
    }
}
