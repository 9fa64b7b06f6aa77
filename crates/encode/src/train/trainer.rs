//! The loop over mini-batches, as a machine whose whole state is plain data: it can stop after any mini-batch and go on in
//! another process with the same bits.

use super::evaluate::{Evaluation, evaluate};
use super::learner::{KeptCodes, Learner, Visit};
use super::mini_batch::MiniBatch;
use super::shuffle::shuffled;
use super::{Every, Length, OptimizerState, Tally, TrainError, Training, Trouble, Validation};
use crate::Samples;
use gfe_model::Loss;

/// An epoch whose mean loss lies so many times its scale above the lowest so far has diverged. The scale is the lowest itself, or
/// what the loss has fallen since the first epoch, whichever is larger: a loss may be negative, or fall by many powers of ten.
const BLOWN_UP: f64 = 9.0;

/// Everything that changes while a decoder is trained.
#[derive(Clone, Debug)]
pub struct State {
    /// What is trained: the decoder's weights `[P]`, then the learner's own (an encoder's weights, a learned z0).
    pub values: Vec<f64>,
    /// The optimizer's memory of them.
    pub optimizer: OptimizerState,
    /// What is kept of each training sample.
    pub codes: KeptCodes,
    /// Where training stands.
    pub position: Position,
    /// The encodings since the last record.
    pub tally: Tally,
    /// Sum of the norms of the gradients since the last record, before any clipping.
    pub grad_norms: f64,
    /// Mini-batches since the last record.
    pub steps: u64,
    /// The mean loss of the first mini-batch; infinite before its end.
    pub first: f64,
    /// The lowest mean loss of an epoch so far, or that of the first mini-batch; infinite before it.
    pub lowest: f64,
    /// The factor of the learning rate in the last mini-batch.
    pub rate: f64,
    /// The values with the lowest validation loss so far, kept where training may stop early.
    pub best: Option<Best>,
}

/// Where training stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Epochs finished.
    pub epoch: u32,
    /// Mini-batches done in the epoch under way.
    pub batch: usize,
    /// Samples seen since the start.
    pub seen: u64,
    /// Whether a record is due.
    pub due: bool,
    /// Whether that record comes with a validation.
    pub validates: bool,
    /// Validations without a lower loss in a row.
    pub waited: u32,
    /// Whether training is over.
    pub finished: bool,
}

/// The best values so far.
#[derive(Clone, Debug)]
pub struct Best {
    /// Their validation loss.
    pub loss: f64,
    /// Samples seen then.
    pub seen: u64,
    /// As [`State::values`].
    pub values: Vec<f64>,
}

/// What a call of [`Trainer::advance`] did.
#[derive(Clone, Debug)]
pub enum Event {
    /// A mini-batch.
    Batch,
    /// The end of an epoch or the time for a validation: the record of what happened since the last.
    Record(Box<Record>),
    /// Nothing: it was told to stop.
    Stopped,
    /// Nothing: training is over, and the values are final.
    Finished,
}

/// The mini-batches since the last record, and what they came to.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Epochs finished.
    pub epoch: u32,
    /// Samples seen since the start.
    pub seen: u64,
    /// The encodings, each under the weights of its moment.
    pub training: Tally,
    /// Mean norm of the gradients, before any clipping.
    pub grad_norm: f64,
    /// The learning rate of the last mini-batch.
    pub learning_rate: f64,
    /// The validation samples under the weights as they are, where it was time for them.
    pub validation: Option<Evaluation>,
}

/// A training under way.
pub struct Trainer<'a> {
    how: Training<'a>,
    training: Samples<'a>,
    validation: Option<Validation<'a>>,
    learner: Box<dyn Learner + 'a>,
    values_bar: Vec<f64>,
    state: State,
}

impl<'a> Trainer<'a> {
    /// A training from the start.
    ///
    /// Fails where the decoder cannot be trained in this way, or gives no initial weights.
    pub fn new(
        how: &Training<'a>,
        training: Samples<'a>,
        validation: Option<Validation<'a>>,
    ) -> Result<Self, TrainError> {
        let width = how.batch_size.clamp(1, training.data.y.ncols().max(1));
        // More would be memory for nothing: each worker takes its share of a mini-batch.
        let lanes = how.encoding.lanes.min(width.div_ceil(how.encoding.threads.max(1)));
        let learner = how.learner(lanes)?;
        let mut values = vec![0.0; learner.len()];
        let codes = learner
            .init(how.seed, training.data.y.ncols(), &mut values)
            .map_err(TrainError::Init)?;
        let state = State {
            optimizer: OptimizerState::new(how.optimizer, 1, values.len()),
            values,
            codes,
            position: Position::default(),
            tally: Tally::default(),
            grad_norms: 0.0,
            steps: 0,
            first: f64::INFINITY,
            lowest: f64::INFINITY,
            rate: 0.0,
            best: None,
        };
        Ok(Trainer {
            values_bar: vec![0.0; state.values.len()],
            how: *how,
            training,
            validation,
            learner,
            state,
        })
    }

    /// The state: what a checkpoint holds.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Goes on from the state of a training of the same decoder, data and settings.
    ///
    /// Fails where its sizes are others.
    pub fn restore(&mut self, state: State) -> Result<(), TrainError> {
        let sizes = |state: &State| {
            let optimizer = |of: &OptimizerState| (of.mean.len(), of.square.len(), of.steps.len());
            (
                state.values.len(),
                optimizer(&state.optimizer),
                state.codes.z.shape(),
                optimizer(&state.codes.optimizer),
            )
        };
        let (expected, found) = (sizes(&self.state), sizes(&state));
        let best = state.best.as_ref().map_or(expected.0, |best| best.values.len());
        if expected != found || best != expected.0 {
            return Err(TrainError::OtherState {
                expected: format!("{expected:?}"),
                found: format!("{found:?}, the best {best}"),
            });
        }
        let mut state = state;
        // Rules are settings, of which some may change.
        (state.optimizer, state.codes.optimizer) = (
            self.state.optimizer.with_memory_of(state.optimizer),
            self.state.codes.optimizer.with_memory_of(state.codes.optimizer),
        );
        self.state = state;
        Ok(())
    }

    /// The decoder's weights, `[P]`.
    pub fn params(&self) -> &[f64] {
        &self.state.values[..self.how.decoder.shape().params]
    }

    /// What is trained beside them: an encoder's weights, a learned z0.
    pub fn others(&self) -> &[f64] {
        &self.state.values[self.how.decoder.shape().params..]
    }

    /// Mini-batches in an epoch.
    fn batches(&self) -> usize {
        self.training.data.y.ncols().div_ceil(self.how.batch_size.max(1))
    }

    /// Samples of the whole training.
    pub fn length(&self) -> u64 {
        match self.how.length {
            Length::Epochs(epochs) => u64::from(epochs) * self.training.data.y.ncols() as u64,
            Length::Samples(samples) => samples,
        }
    }

    /// Does the next thing: a mini-batch, or the record that is due; nothing where `stop` says so, or at the end.
    ///
    /// After an error the state is that before the call: a checkpoint of it is good.
    pub fn advance(&mut self, stop: &dyn Fn() -> bool) -> Result<Event, TrainError> {
        if self.state.position.finished {
            return Ok(Event::Finished);
        }
        if stop() {
            return Ok(Event::Stopped);
        }
        if self.state.position.due {
            return self.record(stop);
        }
        self.mini_batch()?;
        Ok(Event::Batch)
    }

    fn mini_batch(&mut self) -> Result<(), TrainError> {
        let count = self.training.data.y.ncols();
        let Position { epoch, batch, seen, .. } = self.state.position;
        let size = self.how.batch_size.max(1);
        let order = shuffled(count, self.how.seed, u64::from(epoch) + 1);
        let length = self.length();
        let left = (length - seen).min(size as u64) as usize;
        let ids = &order[batch * size..count.min((batch + 1) * size)];
        let ids = &ids[..ids.len().min(left)];
        let rate = self.rate();
        let gathered = MiniBatch::new(self.training, ids);
        let visit = Visit { epoch };
        let state = &mut self.state;
        let bar = &mut self.values_bar;
        let tally = self
            .learner
            .gradient(&state.values, &gathered, visit, &state.codes, bar)?;
        let grad_norm = bar.iter().map(|g| g * g).sum::<f64>().sqrt();
        let trouble = |trouble| {
            let mut rows = ids.to_vec();
            rows.sort_unstable();
            TrainError::Diverged {
                epoch: epoch + 1,
                batch: batch + 1,
                trouble,
                samples: rows,
            }
        };
        if !grad_norm.is_finite() {
            return Err(trouble(Trouble::Gradient));
        }
        // Samples that no decoder could encode say nothing of this one.
        let lost = tally.usable == 0 && state.first.is_finite();
        if lost && admits_any(self.how.encoding.loss, &gathered) {
            return Err(trouble(Trouble::Codes));
        }
        if tally.usable > 0 {
            if let Some(most) = self.how.clip_norm.filter(|most| grad_norm > *most) {
                bar.iter_mut().for_each(|g| *g *= most / grad_norm);
            }
            state.optimizer.step(0, &mut state.values, bar, rate);
            self.learner.commit(rate, &mut state.codes);
            if !state.first.is_finite() {
                (state.first, state.lowest) = (tally.loss(), tally.loss());
            }
        }
        state.rate = rate;
        state.tally.add(&tally);
        state.grad_norms += grad_norm;
        state.steps += 1;
        let position = &mut state.position;
        position.seen += ids.len() as u64;
        position.batch += 1;
        let ends = position.batch * size >= count;
        if ends {
            position.epoch += 1;
            position.batch = 0;
        }
        let over = position.seen >= length;
        position.validates = over || self.how.validate_every.is_due(*position, seen);
        position.due = ends || position.validates;
        Ok(())
    }

    /// The factor of the learning rate for the next mini-batch.
    fn rate(&self) -> f64 {
        let epoch = self.training.data.y.ncols().max(1) as f64;
        let part = |samples: f64| samples / epoch;
        let seen = part(self.state.position.seen as f64);
        self.how
            .learning_rate
            .factor(seen, part(self.how.batch_size as f64), part(self.length() as f64))
    }

    fn record(&mut self, stop: &dyn Fn() -> bool) -> Result<Event, TrainError> {
        let Position { epoch, batch, seen, .. } = self.state.position;
        let tally = self.state.tally;
        if tally.usable == 0 {
            let samples = tally.samples;
            return Err(TrainError::NothingUsable { epoch, samples });
        }
        let over = seen >= self.length();
        let State { first, lowest, .. } = self.state;
        let scale = lowest.abs().max(first - lowest);
        if batch == 0 && lowest.is_finite() && tally.loss() - lowest > BLOWN_UP * scale {
            return Err(TrainError::Diverged {
                epoch,
                batch: self.batches(),
                trouble: Trouble::Loss {
                    found: tally.loss(),
                    lowest,
                },
                samples: Vec::new(),
            });
        }
        let validation = match self.validation {
            Some(held) if self.state.position.validates => {
                let encoding = &self.how.encoding;
                let with = self.how.evaluated(self.others());
                match evaluate(encoding, self.params(), (held.samples, held.rows), &with, stop)? {
                    Some(evaluation) => Some(evaluation),
                    None => return Ok(Event::Stopped),
                }
            }
            _ => None,
        };
        let record = Record {
            epoch,
            seen,
            training: tally,
            grad_norm: self.state.grad_norms / self.state.steps.max(1) as f64,
            learning_rate: self.state.rate * self.how.optimizer.learning_rate(),
            validation,
        };
        let state = &mut self.state;
        if batch == 0 {
            state.lowest = state.lowest.min(tally.loss());
        }
        (state.tally, state.grad_norms, state.steps) = (Tally::default(), 0.0, 0);
        state.position.due = false;
        state.position.finished = over;
        if let (Some(evaluation), Some(patience)) = (validation, self.how.patience) {
            self.look_for_improvement(self.how.judged(&evaluation), patience);
        }
        let state = &mut self.state;
        if state.position.finished
            && let Some(best) = &state.best
        {
            state.values.clone_from(&best.values);
        }
        Ok(Event::Record(Box::new(record)))
    }

    /// Keeps the values if their validation loss is the lowest, and ends training after `patience` validations without one.
    fn look_for_improvement(&mut self, loss: f64, patience: u32) {
        let state = &mut self.state;
        if loss.is_finite() && state.best.as_ref().is_none_or(|best| loss < best.loss) {
            state.best = Some(Best {
                loss,
                seen: state.position.seen,
                values: state.values.clone(),
            });
            state.position.waited = 0;
        } else {
            state.position.waited += 1;
            state.position.finished |= state.position.waited >= patience;
        }
    }
}

/// Whether the loss admits the datum of any sample.
fn admits_any(loss: &dyn Loss, batch: &MiniBatch<'_>) -> bool {
    (0..batch.ids.len()).any(|b| {
        let w = batch.w.as_ref().map(|w| w.col_as_slice(b));
        loss.admits(batch.y.col_as_slice(b), w).is_ok()
    })
}

impl Every {
    /// Whether a validation is due at `now`, with `before` samples seen before the last mini-batch.
    fn is_due(self, now: Position, before: u64) -> bool {
        match self {
            Every::Epochs(every) => now.batch == 0 && now.epoch.is_multiple_of(every.max(1)),
            Every::Samples(every) => before / every.max(1) < now.seen / every.max(1),
        }
    }
}
