//! Training: min over theta of (1/M) sum_m l(y_m, D(z*_m(theta); theta)), by mini-batches.
//!
//! The gradient is the approximate one: z* is taken as constant, dL/dtheta = dl/dtheta at z*. It is exact where z* is a
//! steady state of the loss, and under a solver that minimizes l + |z - z0|^2 / (2 tau) it is the exact gradient of that
//! minimum: the envelope theorem. The sum over a mini-batch is taken in its order on one thread, so that trained weights
//! have the same bits whatever the lanes and threads.

mod adjoint;
mod optimizer;
mod shuffle;
mod sum;

pub use adjoint::{AdjointError, adjoint, encode_recording};
pub use optimizer::{Optimizer, OptimizerState};
pub use shuffle::split;

use crate::batch::fresh_version;
use crate::encoder::{Encoding, Samples, encode};
use faer::Mat;
use gfe_model::{At, Cols, DecodeError, Decoder, Taped, Targets, Trainable};
use gfe_ode::{FlowError, Work};
use shuffle::shuffled;

/// How a decoder is trained.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// How samples are encoded.
    pub encoding: Encoding<'a>,
    /// The rule of the weights.
    pub optimizer: Optimizer,
    /// Samples in a mini-batch.
    pub batch_size: usize,
    /// Passes over the data.
    pub epochs: u32,
    /// Of the order of the samples.
    pub seed: u64,
    /// The validation samples are encoded after so many epochs, and after the last.
    pub validate_every: u32,
}

/// What encodings came to, over some samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Samples encoded.
    pub samples: usize,
    /// Those whose status is a success.
    pub succeeded: usize,
    /// Those with a finite code, which count in `loss` and in gradients.
    pub usable: usize,
    /// Mean loss of the usable; NaN without any.
    pub loss: f64,
    /// Evaluations of the decoder.
    pub evaluations: u64,
    /// Products with the transposed Jacobian.
    pub vjps: u64,
    /// Products with the Jacobian, directions counted.
    pub jvps: u64,
}

impl Tally {
    fn add(&mut self, other: &Tally) {
        let sum = |tally: &Tally| {
            if tally.usable > 0 {
                tally.loss * tally.usable as f64
            } else {
                0.0
            }
        };
        let total = sum(self) + sum(other);
        self.samples += other.samples;
        self.succeeded += other.succeeded;
        self.usable += other.usable;
        self.loss = total / self.usable as f64;
        self.evaluations += other.evaluations;
        self.vjps += other.vjps;
        self.jvps += other.jvps;
    }

    fn count(&mut self, work: &Work) {
        self.evaluations += u64::from(work.evaluations);
        self.vjps += u64::from(work.vjps);
        self.jvps += u64::from(work.jvps);
    }
}

/// Where training stands, told after every mini-batch and after every epoch.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// A mini-batch was done.
    Batch {
        /// Samples seen since the start.
        seen: u64,
    },
    /// An epoch was done.
    Epoch {
        /// Its number, from 1.
        epoch: u32,
        /// Its encodings, each under the weights of its moment.
        training: Tally,
        /// The validation samples under the weights at its end, where it was time for them.
        validation: Option<Tally>,
    },
}

/// Why training stopped; the weights are those of the last good step.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The decoder has no weights to train.
    #[error("this decoder gives no parameter gradients: it cannot be trained")]
    NotTrainable,
    /// The decoder broke down.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// A gradient was NaN or infinite.
    #[error("epoch {epoch}, mini-batch {batch}: the gradient is not finite; lower learning_rate")]
    Diverged {
        /// From 1.
        epoch: u32,
        /// From 1.
        batch: usize,
    },
    /// No sample can be encoded.
    #[error("epoch {epoch}: none of its {samples} samples could be encoded; look at the data's range and the loss")]
    NothingUsable {
        /// From 1.
        epoch: u32,
        /// How many there were.
        samples: usize,
    },
}

/// Trains the weights `params` `[P]` in place and tells `watch` how it goes.
///
/// Samples without a finite code are left out of the gradient, and counted. Fails where the decoder cannot be trained or
/// breaks down, where a gradient is not finite, or where no sample of an epoch can be encoded.
pub fn train(
    how: &Training<'_>,
    params: &mut [f64],
    training: Samples<'_>,
    validation: Option<Samples<'_>>,
    watch: &mut dyn FnMut(&Event),
) -> Result<(), TrainError> {
    let decoder = (how.encoding.open)();
    let count = training.data.y.ncols();
    let mut how = *how;
    let width = how.batch_size.clamp(1, count.max(1));
    // With more lanes the first worker would take the whole mini-batch, and the others none of it.
    how.encoding.lanes = how.encoding.lanes.min(width.div_ceil(how.encoding.threads.max(1)));
    let how = &how;
    let mut gradient = Gradient::new(&*decoder)?;
    let mut optimizer = OptimizerState::new(how.optimizer, params.len());
    let mut seen = 0;
    for epoch in 1..=how.epochs {
        let mut tally = Tally::default();
        for (batch, ids) in shuffled(count, how.seed, u64::from(epoch))
            .chunks(how.batch_size.max(1))
            .enumerate()
        {
            let gathered = Gathered::new(training, ids);
            let (part, finite) = gradient.of(how, params, &gathered)?;
            tally.add(&part);
            if part.usable > 0 {
                if !finite {
                    let batch = batch + 1;
                    return Err(TrainError::Diverged { epoch, batch });
                }
                optimizer.step(params, &gradient.params_bar);
            }
            seen += ids.len() as u64;
            watch(&Event::Batch { seen });
        }
        if tally.usable == 0 {
            let samples = count;
            return Err(TrainError::NothingUsable { epoch, samples });
        }
        let due = epoch == how.epochs || epoch.is_multiple_of(how.validate_every.max(1));
        let validation = match validation {
            Some(samples) if due => Some(validate(how, params, samples)?),
            _ => None,
        };
        watch(&Event::Epoch {
            epoch,
            training: tally,
            validation,
        });
    }
    Ok(())
}

/// Encodes the samples under the weights as they are.
fn validate(how: &Training<'_>, params: &[f64], samples: Samples<'_>) -> Result<Tally, TrainError> {
    let encoded = encode(&how.encoding, params, samples)?;
    Ok(tally(&encoded))
}

fn tally(encoded: &crate::Encoded) -> Tally {
    let mut tally = Tally::default();
    let mut sum = 0.0;
    for record in &encoded.records {
        tally.samples += 1;
        tally.succeeded += usize::from(record.status.is_success());
        if record.loss.is_finite() {
            tally.usable += 1;
            sum += record.loss;
        }
        tally.count(&record.work);
    }
    tally.loss = sum / tally.usable as f64;
    tally
}

/// A mini-batch in memory of its own.
struct Gathered {
    y: Mat<f64>,
    w: Option<Mat<f64>>,
    context: Option<Mat<f64>>,
    z0: Mat<f64>,
}

impl Gathered {
    fn new(from: Samples<'_>, ids: &[usize]) -> Self {
        let columns = |matrix: Cols<'_>| Mat::from_fn(matrix.nrows(), ids.len(), |r, b| matrix[(r, ids[b])]);
        Gathered {
            y: columns(from.data.y),
            w: from.data.w.map(columns),
            context: from.context.map(columns),
            z0: columns(from.z0),
        }
    }
}

/// dl/dtheta at the codes of a mini-batch.
struct Gradient<'a> {
    decoder: &'a dyn Decoder,
    trainable: &'a dyn Trainable,
    params_bar: Vec<f64>,
}

impl<'a> Gradient<'a> {
    fn new(decoder: &'a dyn Decoder) -> Result<Self, TrainError> {
        Ok(Gradient {
            decoder,
            trainable: decoder.trainable().ok_or(TrainError::NotTrainable)?,
            params_bar: vec![0.0; decoder.shape().params],
        })
    }

    /// Encodes the mini-batch and leaves the mean gradient of its usable samples in `params_bar`; says whether it is
    /// finite.
    fn of(&mut self, how: &Training<'_>, params: &[f64], batch: &Gathered) -> Result<(Tally, bool), TrainError> {
        let data = Targets {
            y: batch.y.as_ref(),
            w: batch.w.as_ref().map(Mat::as_ref),
        };
        let samples = Samples {
            data,
            context: batch.context.as_ref().map(Mat::as_ref),
            z0: batch.z0.as_ref(),
        };
        let encoded = encode(&how.encoding, params, samples)?;
        let tally = tally(&encoded);
        let usable = encoded.records.iter().enumerate();
        let usable: Vec<usize> = usable
            .filter_map(|(b, record)| record.loss.is_finite().then_some(b))
            .collect();
        if usable.is_empty() {
            return Ok((tally, true));
        }
        self.pull_back(how, params, samples, (encoded.z.as_ref(), &usable))
            .map_err(|error| FlowError(error.to_string()))?;
        let mean = 1.0 / usable.len() as f64;
        self.params_bar.iter_mut().for_each(|g| *g *= mean);
        Ok((tally, self.params_bar.iter().all(|g| g.is_finite())))
    }

    /// params_bar = sum over the samples `usable` of dl/dtheta at the columns of `z`.
    fn pull_back(
        &mut self,
        how: &Training<'_>,
        params: &[f64],
        Samples { data, context, .. }: Samples<'_>,
        (z, usable): (Cols<'_>, &[usize]),
    ) -> Result<(), DecodeError> {
        let decoder = self.decoder;
        let shape = decoder.shape();
        // A decoder's column has other bits alone: a single sample is doubled, and the double given no weight.
        let width = usable.len().max(2);
        let column = |b: usize| usable[b.min(usable.len() - 1)];
        let columns = |matrix: Cols<'_>| Mat::from_fn(matrix.nrows(), width, |r, b| matrix[(r, column(b))]);
        let (z, y, w) = (columns(z), columns(data.y), data.w.map(columns));
        let context = context.map_or_else(|| Mat::zeros(0, width), columns);
        let (mut x, mut x_bar) = (Mat::zeros(shape.data, width), Mat::zeros(shape.data, width));
        let mut tape = Mat::zeros(decoder.tape_len(), width);
        let mut scratch = vec![0.0; decoder.scratch_len(width)];
        let mut value = vec![0.0; width];
        let at = At {
            params,
            version: fresh_version(),
            z: z.as_ref(),
            context: context.as_ref(),
        };
        decoder.forward(at, x.as_mut(), tape.as_mut(), &mut scratch)?;
        let y = Targets {
            y: y.as_ref(),
            w: w.as_ref().map(Mat::as_ref),
        };
        how.encoding.loss.eval(x.as_ref(), y, &mut value, Some(x_bar.as_mut()));
        for extra in usable.len()..width {
            x_bar.col_as_slice_mut(extra).fill(0.0);
        }
        self.params_bar.fill(0.0);
        let taped = Taped {
            at,
            tape: tape.as_ref(),
        };
        self.trainable
            .params_vjp(taped, x_bar.as_ref(), &mut self.params_bar, &mut scratch)
    }
}
