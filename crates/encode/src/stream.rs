//! What the workers of one encoding share: the samples of the blocks in flight and their results.

use crate::data::Data;
use crate::encoder::{Block, Encoded, Record, Shared};
use crate::encoding::{Encoding, Trace, TracePoint};
use crate::ledger::Ledger;
use crate::measure::{self, Measure};
use crate::starts;
use faer::Mat;
use gfe_ode::adjoint::Step;
use gfe_ode::{FlowError, Next, Queue, ResultSink, Retired, StepRecord};
use std::any::Any;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What a worker tells the reader's thread.
pub(crate) enum Word {
    /// Every sample of this block is done.
    Ready(Shared),
    /// The worker has ended: well, by a decoder that broke down, or by a panic.
    Stopped(Result<Result<(), FlowError>, Box<dyn Any + Send>>),
}

/// A block in memory with its results so far. Its samples are numbered from `first` on, across all blocks.
pub(crate) struct Loaded {
    index: usize,
    first: usize,
    block: Block,
    /// Starts of each sample, numbered one after another.
    starts: usize,
    results: Mutex<Results>,
}

struct Results {
    encoded: Encoded,
    left: usize,
}

impl Loaded {
    /// Position of the block among all.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// The block itself.
    pub(crate) fn block(&self) -> &Block {
        &self.block
    }

    /// The column of what is number `sample`.
    fn column(&self, sample: usize) -> usize {
        (sample - self.first) / self.starts
    }

    /// The results, once.
    pub(crate) fn take(&self) -> Encoded {
        let nothing = Encoded {
            z: Mat::zeros(0, 0),
            records: Vec::new(),
            reconstruction: None,
            uncertainty: None,
        };
        std::mem::replace(&mut locked(&self.results).encoded, nothing)
    }
}

/// The blocks in flight and where the queue stands in them.
struct State {
    blocks: VecDeque<Shared>,
    /// Samples still to hand out, by number.
    queue: VecDeque<usize>,
    /// Samples handed out and not back yet.
    flying: usize,
    read: usize,
    samples: usize,
    closed: bool,
}

/// The shared part of one encoding.
pub(crate) struct Stream<'a> {
    how: Encoding<'a>,
    state: Mutex<State>,
    changed: Condvar,
    speak: Mutex<Sender<Word>>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(how: &Encoding<'a>, speak: Sender<Word>) -> Self {
        Stream {
            how: *how,
            state: Mutex::new(State {
                blocks: VecDeque::new(),
                queue: VecDeque::new(),
                flying: 0,
                read: 0,
                samples: 0,
                closed: false,
            }),
            changed: Condvar::new(),
            speak: Mutex::new(speak),
        }
    }

    /// Tells the reader's thread; it may have gone, after an error of its own.
    pub(crate) fn say(&self, word: Word) {
        let _ = locked(&self.speak).send(word);
    }

    /// No more blocks will come.
    pub(crate) fn close(&self) {
        locked(&self.state).closed = true;
        self.changed.notify_all();
    }

    /// No more blocks will come, and no more samples are begun.
    pub(crate) fn abandon(&self) {
        locked(&self.state).queue.clear();
        self.close();
    }

    /// Adds a block; the samples that the loss does not admit are done at once.
    pub(crate) fn push(&self, block: Block) {
        let (columns, starts) = (block.y.ncols(), self.how.starts.max(1));
        let samples = starts * columns;
        let mut records = vec![Record::none(); samples];
        let mut good = Vec::with_capacity(samples);
        for column in 0..columns {
            if self.how.admits(&block, column) {
                let w = block.w.as_ref().map(|w| w.col_as_slice(column));
                let valid = w.map_or(block.y.nrows(), |w| w.iter().filter(|w| **w != 0.0).count());
                let own = column * starts..(column + 1) * starts;
                records[own.clone()]
                    .iter_mut()
                    .for_each(|record| record.n_valid = valid as u32);
                good.extend(own);
            }
        }
        let nan = |rows: usize| Mat::full(rows, samples, f64::NAN);
        let encoded = Encoded {
            z: nan(block.z0.nrows()),
            records,
            reconstruction: None,
            uncertainty: None,
        };
        let mut state = locked(&self.state);
        let first = state.samples;
        let left = good.len();
        let loaded = Arc::new(Loaded {
            index: state.read,
            first,
            block,
            starts,
            results: Mutex::new(Results { encoded, left }),
        });
        state.read += 1;
        state.samples += samples;
        if left == 0 {
            drop(state);
            finish_empty(&self.how, &loaded);
            return self.say(Word::Ready(loaded));
        }
        state.queue.extend(good.into_iter().map(|sample| first + sample));
        state.blocks.push_back(loaded);
        drop(state);
        self.changed.notify_all();
    }

    /// The block of a sample in flight.
    fn block_of(&self, sample: usize) -> Shared {
        let state = locked(&self.state);
        let after = state.blocks.partition_point(|loaded| loaded.first <= sample);
        Arc::clone(&state.blocks[after - 1])
    }

    /// Takes a finished block out of the stream and tells the reader.
    fn finish(&self, loaded: Shared) {
        locked(&self.state).blocks.retain(|other| other.index != loaded.index);
        self.say(Word::Ready(loaded));
    }
}

impl Data for Stream<'_> {
    fn copy(&self, sample: usize, y: &mut [f64], w: &mut [f64]) -> bool {
        let loaded = self.block_of(sample);
        let column = loaded.column(sample);
        y.copy_from_slice(loaded.block.y.col_as_slice(column));
        let weights = loaded.block.w.as_ref();
        weights
            .inspect(|from| w.copy_from_slice(from.col_as_slice(column)))
            .is_some()
    }

    fn anchor(&self, sample: usize, z0: &mut [f64]) -> bool {
        let loaded = self.block_of(sample);
        z0.copy_from_slice(loaded.block.z0.col_as_slice(loaded.column(sample)));
        true
    }

    fn context(&self, sample: usize, context: &mut [f64]) {
        let loaded = self.block_of(sample);
        if let Some(from) = &loaded.block.context {
            context.copy_from_slice(from.col_as_slice(loaded.column(sample)));
        }
    }
}

/// The results of a block of which no sample can be encoded.
fn finish_empty(how: &Encoding<'_>, loaded: &Loaded) {
    let mut results = locked(&loaded.results);
    let none: Vec<(usize, u32)> = (0..loaded.block.y.ncols())
        .map(|sample| (sample * loaded.starts, 0))
        .collect();
    starts::take(how, &mut results.encoded, &none);
    measure::make_room(how, &loaded.block, &mut results.encoded);
}

/// The queue as one worker sees it. Where there are fewer samples than lanes, each worker takes its share.
pub(crate) struct Feed<'a> {
    stream: &'a Stream<'a>,
    held: &'a Cell<usize>,
}

impl<'a> Feed<'a> {
    /// `held` counts the samples that the worker has; see [`Desk::new`].
    pub(crate) fn new(stream: &'a Stream<'a>, held: &'a Cell<usize>) -> Self {
        Feed { stream, held }
    }
}

impl Queue for Feed<'_> {
    fn next(&mut self, z0: &mut [f64], idle: bool) -> Next {
        let mut state = locked(&self.stream.state);
        let sample = loop {
            let share = (state.queue.len() + state.flying).div_ceil(self.stream.how.threads.max(1));
            if self.held.get() >= share && !state.queue.is_empty() {
                return Next::NotYet;
            }
            match state.queue.pop_front() {
                Some(sample) => break sample,
                None if state.closed => return Next::Finished,
                None if !idle => return Next::NotYet,
                None => {
                    let changed = &self.stream.changed;
                    state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        };
        state.flying += 1;
        drop(state);
        self.held.set(self.held.get() + 1);
        let loaded = self.stream.block_of(sample);
        let from = match &loaded.block.start {
            Some(start) => start.col_as_slice(sample - loaded.first),
            None => loaded.block.z0.col_as_slice(loaded.column(sample)),
        };
        let (positions, velocities) = z0.split_at_mut(from.len());
        positions.copy_from_slice(from);
        velocities.fill(0.0);
        Next::Sample(sample)
    }
}

/// Where one worker puts results; whoever brings the last of a block measures its codes.
pub(crate) struct Desk<'a> {
    stream: &'a Stream<'a>,
    trace: Trace<'a>,
    measure: Measure<'a>,
    outcome: Result<(), FlowError>,
    held: &'a Cell<usize>,
    ledger: Option<&'a Ledger>,
    /// Accepted steps of the samples under way, where there is a ledger for them.
    steps: BTreeMap<usize, Vec<Step>>,
}

impl<'a> Desk<'a> {
    /// `held` counts the samples that the worker has; see [`Feed::new`].
    pub(crate) fn new(
        (stream, held): (&'a Stream<'a>, &'a Cell<usize>),
        trace: Trace<'a>,
        measure: Measure<'a>,
        ledger: Option<&'a Ledger>,
    ) -> Self {
        Desk {
            stream,
            held,
            trace,
            measure,
            outcome: Ok(()),
            ledger,
            steps: BTreeMap::new(),
        }
    }

    /// Whether every block could be measured.
    pub(crate) fn outcome(self) -> Result<(), FlowError> {
        self.outcome
    }
}

impl ResultSink for Desk<'_> {
    fn retired(&mut self, result: &Retired<'_>) {
        if let Some(ledger) = self.ledger {
            ledger.enter(result.sample, self.steps.remove(&result.sample).unwrap_or_default());
        }
        locked(&self.stream.state).flying -= 1;
        self.held.set(self.held.get() - 1);
        let loaded = self.stream.block_of(result.sample);
        let column = result.sample - loaded.first;
        let mut results = locked(&loaded.results);
        let z = results.encoded.z.col_as_slice_mut(column);
        // A flow of second order keeps its velocities behind the positions.
        z.copy_from_slice(&result.z[..z.len()]);
        let record = &mut results.encoded.records[column];
        record.status = result.status;
        record.t = result.t;
        record.loss = result.loss;
        record.loss_initial = result.loss_initial;
        record.grad_norm = result.grad_norm;
        record.edm = result.edm * loaded.block.y.nrows() as f64;
        record.work = result.work;
        record.message = result.message.map(str::to_owned);
        results.left -= 1;
        if results.left > 0 {
            return;
        }
        let (first, block) = (loaded.first, &loaded.block);
        let measured = self.measure.finish(first, block, &mut results.encoded);
        drop(results);
        if self.outcome.is_ok() {
            self.outcome = measured;
        }
        self.stream.finish(loaded);
    }

    fn accepted(&mut self, sample: usize, step: Step) {
        if self.ledger.is_some() {
            self.steps.entry(sample).or_default().push(step);
        }
    }

    fn stepped(&mut self, step: &StepRecord, z: &[f64]) {
        if self.trace == Trace::None {
            return;
        }
        let loaded = self.stream.block_of(step.sample);
        let latent = loaded.block.z0.nrows();
        let z = match self.trace {
            Trace::At(_) => z[..latent].to_vec(),
            _ => Vec::new(),
        };
        let mut results = locked(&loaded.results);
        let trace = &mut results.encoded.records[step.sample - loaded.first].trace;
        trace.push(TracePoint { step: *step, z });
    }
}

/// A panic elsewhere ends the encoding anyway: what it left is still consistent, each sample's result being written once.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
