//! The integration loop: admit, attempt, judge, retire.

use crate::adjoint::Step;
use crate::control::{Evidence, StepController, Verdict};
use crate::first::{first_steps, scale_first_steps};
use crate::state::State;
use crate::stop::Terminator;
use crate::{Distance, End, Flow, FlowError, History, Span, Start, Status, Stepper, Trial, Work};
use std::ops::Range;

/// What a queue answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// This sample; its initial state was written.
    Sample(usize),
    /// None at the moment: go on with the live lanes and ask again after a step.
    NotYet,
    /// None any more.
    Finished,
}

/// Hands out samples, each once.
pub trait Queue {
    /// The next sample, with its initial state written to `z0` `[d]`.
    ///
    /// With `idle` no lane is live and the caller has nothing else to do: the call waits for a sample, and never answers
    /// [`Next::NotYet`]. Without it a call that waited could wait for a result that its own caller has yet to bring.
    fn next(&mut self, z0: &mut [f64], idle: bool) -> Next;
}

/// The samples of a range, each from z0 = 0.
impl Queue for Range<usize> {
    fn next(&mut self, z0: &mut [f64], _idle: bool) -> Next {
        z0.fill(0.0);
        Iterator::next(self).map_or(Next::Finished, Next::Sample)
    }
}

/// Which method integrates, and how far.
pub struct Method<'a> {
    /// Takes the steps.
    pub stepper: &'a mut dyn Stepper,
    /// Judges them.
    pub controller: &'a dyn StepController,
    /// Any of these ends a sample.
    pub stop: &'a [&'a dyn Terminator],
    /// The horizon; infinity for none.
    pub t_end: f64,
    /// Steps attempted per sample at most.
    pub max_steps: u32,
    /// Number of lanes.
    pub lanes: usize,
    /// Times at which the sink is told of a state, ascending, up to the end of the sample; empty: at the end of every
    /// accepted step.
    pub at: &'a [f64],
}

/// A sample that is done.
#[derive(Debug)]
pub struct Retired<'a> {
    /// Its index.
    pub sample: usize,
    /// How it ended.
    pub status: Status,
    /// Time reached.
    pub t: f64,
    /// State reached, `[d]`.
    pub z: &'a [f64],
    /// Loss there.
    pub loss: f64,
    /// Loss at the initial state.
    pub loss_initial: f64,
    /// The norm of the gradient of what is minimized, or |f|.
    pub grad_norm: f64,
    /// (1/2) g^T H^-1 g with the Gauss-Newton H of this very z; NaN where it is not at hand.
    pub edm: f64,
    /// Work done.
    pub work: Work,
    /// What the solver says of a failure, where it has more to say than the status.
    pub message: Option<&'a str>,
}

/// The end of an accepted step, or a time inside one, for traces.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRecord {
    /// Sample.
    pub sample: usize,
    /// Time.
    pub t: f64,
    /// Loss there.
    pub loss: f64,
    /// Norm of the gradient of what is minimized, or |f|, there.
    pub grad_norm: f64,
}

/// Where results go.
pub trait ResultSink {
    /// A sample is done.
    fn retired(&mut self, result: &Retired<'_>);
    /// A sample took a step and is at state `z` `[d]`, or was there at a time asked for.
    fn stepped(&mut self, step: &StepRecord, z: &[f64]);
    /// A step of a sample stands: where it started and how far its state went, which is what it takes to repeat it. By
    /// default nobody listens.
    fn accepted(&mut self, _sample: usize, _step: Step) {}
}

/// Integrates every sample of `queue` and hands each to `sink`, with its status, once.
///
/// Results come in the order in which samples finish. A sample's numbers do not depend on the other samples if the
/// flow's columns do not. Fails only where the flow says that it cannot go on at all.
pub fn integrate(
    flow: &mut dyn Flow,
    mut method: Method<'_>,
    queue: &mut dyn Queue,
    sink: &mut dyn ResultSink,
) -> Result<(), FlowError> {
    let mut state = State::new(flow.dim(), method.lanes);
    let mut open = true;
    loop {
        if open && state.live < method.lanes {
            open = admit(&mut state, flow, &mut method, queue, sink)?;
        }
        if state.live > 0 {
            prepare(&mut state, flow, &mut method)?;
            retire(&mut state, flow, &mut method, sink);
        }
        if state.live > 0 {
            attempt(&mut state, flow, &mut method)?;
            judge(&mut state, flow, &mut method, sink)?;
            retire(&mut state, flow, &mut method, sink);
        } else if !open {
            return Ok(());
        }
    }
}

/// Fills the free lanes with what there is, and hands back what is done where it starts; false when the queue is finished.
fn admit(
    state: &mut State,
    flow: &mut dyn Flow,
    method: &mut Method<'_>,
    queue: &mut dyn Queue,
    sink: &mut dyn ResultSink,
) -> Result<bool, FlowError> {
    let first = state.live;
    let mut open = true;
    while open && state.live < method.lanes {
        let lane = state.live;
        let z0 = state.now.z.col_as_slice_mut(lane);
        let sample = match queue.next(z0, lane == 0) {
            Next::Sample(sample) => sample,
            Next::NotYet => break,
            Next::Finished => {
                open = false;
                continue;
            }
        };
        flow.admit(lane, sample, z0);
        method.stepper.admit(lane, sample, z0);
        state.sample[lane] = sample;
        state.t[lane] = 0.0;
        state.gradient_unit[lane] = flow.gradient_unit(lane);
        state.history[lane] = History::default();
        state.work[lane] = Work::default();
        state.distance[lane] = Distance::UNKNOWN;
        state.live += 1;
    }
    if state.live > first {
        let at = (&state.lanes[first..state.live], &state.t[first..state.live], first);
        state.now.eval(flow, at, &mut state.work)?;
    }
    for lane in first..state.live {
        state.loss_initial[lane] = state.now.loss[lane];
        state.status[lane] = if state.now.failed[lane] {
            Some(Status::DecoderFailed)
        } else if !state.now.usable(lane) {
            Some(Status::NotFinite)
        } else {
            state.check(method, lane)
        };
        let started = !state.now.failed[lane] && state.now.usable(lane);
        if started && method.at.first() == Some(&0.0) {
            let record = StepRecord {
                sample: state.sample[lane],
                t: 0.0,
                loss: state.now.loss[lane],
                grad_norm: state.now.grad_sq[lane].sqrt(),
            };
            sink.stepped(&record, state.now.z.col_as_slice(lane));
        }
    }
    retire(state, flow, method, sink);
    first_steps(state, flow, method, first)?;
    Ok(open)
}

/// Lets the method get ready where each lane stands, and ends those that are done by what it then knows of the distance to
/// the minimum; that knowledge has to be fresh.
fn prepare(state: &mut State, flow: &mut dyn Flow, method: &mut Method<'_>) -> Result<(), FlowError> {
    loop {
        let mut distance = std::mem::take(&mut state.distance);
        let mut work = std::mem::take(&mut state.work);
        let prepared = method
            .stepper
            .prepare(flow, state.start(), &mut distance[..state.live], &mut work);
        (state.distance, state.work) = (distance, work);
        prepared?;
        scale_first_steps(state, method);
        let mut doubtful = false;
        for lane in 0..state.live {
            state.status[lane] = state.check(method, lane);
            if state.status[lane].is_some() && !state.distance[lane].fresh {
                state.status[lane] = None;
                method.stepper.expire(lane);
                doubtful = true;
            }
        }
        if !doubtful {
            break;
        }
    }
    for lane in 0..state.live {
        let spent = state.history[lane].attempts >= method.max_steps;
        state.status[lane] = state.status[lane].or(spent.then_some(Status::MaxSteps));
    }
    Ok(())
}

/// One trial step of every live lane, and the flow at its end.
fn attempt(state: &mut State, flow: &mut dyn Flow, method: &mut Method<'_>) -> Result<(), FlowError> {
    let live = state.live;
    for lane in 0..live {
        let left = method.t_end - state.t[lane];
        // A remainder within rounding of the step would leave a sliver for a further one.
        state.h[lane] = if state.h[lane] * (1.0 + 1e-12) >= left {
            left
        } else {
            state.h[lane]
        };
        state.step[lane] = state.t[lane] + state.h[lane];
    }
    let from = Start {
        lanes: &state.lanes[..live],
        t: &state.t[..live],
        h: &state.h[..live],
        z: state.now.z.as_ref().subcols(0, live),
        f: state.now.f.as_ref().subcols(0, live),
    };
    let to = Trial {
        z: state.trial.z.as_mut().subcols_mut(0, live),
        predicted: &mut state.predicted[..live],
        solved: &mut state.solved[..live],
    };
    method.stepper.attempt(flow, from, to, &mut state.work)?;
    let at = (&state.lanes[..live], &state.step[..live], 0);
    state.trial.eval(flow, at, &mut state.work)?;
    let end = End {
        z: state.trial.z.as_ref().subcols(0, live),
        f: state.trial.f.as_ref().subcols(0, live),
    };
    method.stepper.assess(from, end, &mut state.error[..live]);
    Ok(())
}

/// Accepts or rejects every lane's trial.
fn judge(
    state: &mut State,
    flow: &mut dyn Flow,
    method: &mut Method<'_>,
    sink: &mut dyn ResultSink,
) -> Result<(), FlowError> {
    let positions = flow.positions();
    for lane in 0..state.live {
        let (now, trial) = (&state.now, &state.trial);
        let seen = Evidence {
            t: state.t[lane],
            h: state.h[lane],
            objective: [now.objective[lane], trial.objective[lane]],
            rounding: flow.rounding(),
            grad_sq: [now.grad_sq[lane], trial.grad_sq[lane]],
            speed_sq: [now.speed_sq(lane, positions), trial.speed_sq(lane, positions)],
            error: state.error[lane],
            order: method.stepper.order(),
            predicted: state.predicted[lane],
            usable: state.solved[lane] && trial.usable(lane),
            moved: now.z.col_as_slice(lane) != trial.z.col_as_slice(lane),
        };
        let failed = trial.failed[lane];
        let failure = flow.failure(lane);
        let past = &mut state.history[lane];
        past.attempts += 1;
        if past.attempts == 1 {
            past.h_first = seen.h;
        }
        if failed && failure.is_some_and(|failure| failure.last) {
            state.status[lane] = Some(Status::DecoderFailed);
            continue;
        }
        match method.controller.judge(&seen, past) {
            Verdict::Accept { h_next, t_step, forced } => {
                past.accept(trial.loss[lane], state.distance[lane].edm, seen.ratio(), seen.error);
                state.work[lane].steps += 1;
                state.work[lane].forced += u32::from(forced);
                let (before, left) = (state.t[lane], method.t_end - state.t[lane]);
                sink.accepted(state.sample[lane], Step { t: before, h: seen.h });
                state.t[lane] = if t_step >= left { method.t_end } else { before + t_step };
                state.h[lane] = h_next;
                tell(state, flow, method, sink, (lane, before, forced))?;
                method.stepper.accepted(lane);
                state.now.take(&state.trial, lane, lane);
                if t_step != seen.h && !flow.autonomous() {
                    // Time ran further than the step: the slope at its end is not that of this time.
                    state
                        .trial
                        .eval(flow, (&[lane], &state.t[lane..=lane], lane), &mut state.work)?;
                    state.now.take(&state.trial, lane, lane);
                }
                let z = state.now.z.col_as_slice_mut(lane);
                flow.accepted(lane, state.t[lane], z, state.now.f.col_as_slice_mut(lane));
                state.distance[lane] = Distance::UNKNOWN;
                state.status[lane] = state.check(method, lane);
            }
            Verdict::Reject { h_next } => {
                past.rejected_in_a_row += 1;
                state.work[lane].rejected += 1;
                state.h[lane] = h_next;
            }
            Verdict::GiveUp(Status::Stagnated) if !state.distance[lane].fresh && method.stepper.expire(lane) => {
                // The step of a Jacobian of elsewhere does not move it: that of its own may, or can tell how far it is.
                state.h[lane] = seen.h.max(past.h_first);
                past.rejected_in_a_row = 0;
                state.work[lane].rejected += 1;
            }
            Verdict::GiveUp(status) => {
                let cause = if !state.solved[lane] && !failed && failure.is_none() {
                    Status::SolveFailed
                } else {
                    Status::DecoderFailed
                };
                let blamed = status == Status::NotFinite && (failed || !state.solved[lane]);
                let settled = (status == Status::Stagnated)
                    .then(|| state.settled(method, lane))
                    .flatten();
                state.status[lane] = Some(if blamed { cause } else { settled.unwrap_or(status) });
            }
        }
    }
    Ok(())
}

/// Tells the sink of the step that `lane` has just taken from time `before`: of its end, or of the times asked for in it.
fn tell(
    state: &mut State,
    flow: &mut dyn Flow,
    method: &Method<'_>,
    sink: &mut dyn ResultSink,
    (lane, before, forced): (usize, f64, bool),
) -> Result<(), FlowError> {
    let (sample, after) = (state.sample[lane], state.t[lane]);
    let record = |t: f64, place: &crate::state::Place, column: usize| StepRecord {
        sample,
        t,
        loss: place.loss[column],
        grad_norm: place.grad_sq[column].sqrt(),
    };
    if method.at.is_empty() {
        let step = record(after, &state.trial, lane);
        sink.stepped(&step, state.trial.z.col_as_slice(lane));
        return Ok(());
    }
    for &t in method.at.iter().filter(|&&t| t > before && t <= after) {
        let span = Span {
            lane,
            h: after - before,
            z: [state.now.z.col_as_slice(lane), state.trial.z.col_as_slice(lane)],
            f: [state.now.f.col_as_slice(lane), state.trial.f.col_as_slice(lane)],
        };
        let theta = (t - before) / (after - before);
        let inside = state.inside.z.col_as_slice_mut(0);
        if forced {
            // Time ran further than the step: the slopes say nothing of what lies between.
            for (i, inside) in inside.iter_mut().enumerate() {
                *inside = span.z[0][i] + theta * (span.z[1][i] - span.z[0][i]);
            }
        } else {
            method.stepper.interpolate(&span, theta, inside);
        }
        state.inside.eval(flow, (&[lane], &[t], 0), &mut state.work)?;
        sink.stepped(&record(t, &state.inside, 0), state.inside.z.col_as_slice(0));
    }
    Ok(())
}

/// Hands finished lanes to the sink and closes the holes they leave.
fn retire(state: &mut State, flow: &mut dyn Flow, method: &mut Method<'_>, sink: &mut dyn ResultSink) {
    let mut lane = 0;
    while lane < state.live {
        let Some(status) = state.status[lane] else {
            lane += 1;
            continue;
        };
        sink.retired(&Retired {
            sample: state.sample[lane],
            status,
            t: state.t[lane],
            z: state.now.z.col_as_slice(lane),
            loss: state.now.loss[lane],
            loss_initial: state.loss_initial[lane],
            grad_norm: state.now.grad_sq[lane].sqrt(),
            edm: match state.distance[lane] {
                Distance {
                    fresh: true,
                    exact: false,
                    edm,
                    ..
                } => edm,
                _ => f64::NAN,
            },
            work: state.work[lane],
            message: match status {
                Status::DecoderFailed => flow.failure(lane).map(|failure| failure.text),
                _ => None,
            },
        });
        state.live -= 1;
        let last = state.live;
        if lane < last {
            state.relocate(last, lane);
            flow.relocate(last, lane);
            method.stepper.relocate(last, lane);
        }
    }
}
