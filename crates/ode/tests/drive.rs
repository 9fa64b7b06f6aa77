//! The loop with a stepper and a controller that play back a script: exact times, exact counts.

mod support;

use gfe_ode::control::{Evidence, First, StepController, Trust, Verdict};
use gfe_ode::implicit::LinearEuler;
use gfe_ode::problems::Equations;
use gfe_ode::stop::Edm;
use gfe_ode::{
    Flow, FlowError, History, Lanewise, Method, Next, Queue, Start, Status, Stepper, Structure, Trial, Work, integrate,
};
use support::equations::exponentials;
use support::{Kept, Quadratic, Starts, flow};

/// Moves every state by its step size and records which lanes it was asked for.
#[derive(Default)]
struct Shift {
    widths: Vec<usize>,
    relocations: Vec<(usize, usize)>,
}

impl Lanewise for Shift {
    fn admit(&mut self, _lane: usize, _sample: usize, _z0: &[f64]) {}

    fn relocate(&mut self, from: usize, to: usize) {
        self.relocations.push((from, to));
    }
}

impl Stepper for Shift {
    fn order(&self) -> u32 {
        1
    }

    fn attempt(
        &mut self,
        _flow: &mut dyn Flow,
        from: Start<'_>,
        mut to: Trial<'_>,
        _work: &mut [Work],
    ) -> Result<(), FlowError> {
        self.widths.push(from.lanes.len());
        to.solved.fill(true);
        for b in 0..from.lanes.len() {
            to.z[(0, b)] = from.z[(0, b)] + from.h[b];
        }
        Ok(())
    }
}

/// Rejects the first attempt of every step and then accepts with a doubled step.
struct EverySecond;

impl StepController for EverySecond {
    fn first(&self) -> First {
        First::Given(2.0)
    }

    fn judge(&self, seen: &Evidence, past: &History) -> Verdict {
        if past.rejected_in_a_row == 0 {
            return Verdict::Reject { h_next: seen.h / 2.0 };
        }
        Verdict::Accept {
            h_next: 4.0 * seen.h,
            t_step: seen.h,
            forced: false,
        }
    }
}

/// Gives up on sample 1, whose loss at z0 = 0 is 1/2, at once.
struct NotTheFirst;

impl StepController for NotTheFirst {
    fn first(&self) -> First {
        First::Given(1.0)
    }

    fn judge(&self, seen: &Evidence, past: &History) -> Verdict {
        if past.accepted == 0 && seen.objective[0] == 0.5 {
            return Verdict::GiveUp(Status::Stagnated);
        }
        Verdict::Accept {
            h_next: 1.0,
            t_step: 1.0,
            forced: true,
        }
    }
}

#[test]
fn times_and_counts_are_those_of_the_script() {
    let (mut flow, mut stepper, mut kept) = (Quadratic::new(&[1.0], 1), Shift::default(), Kept::default());
    let method = Method {
        stepper: &mut stepper,
        controller: &EverySecond,
        stop: &[],
        t_end: 6.0,
        max_steps: 100,
        lanes: 1,
        at: &[],
    };
    integrate(&mut flow, method, &mut (1..2), &mut kept).expect("nothing fails");
    // 2 rejected, 1 accepted; 4 rejected, 2 accepted; 8 cut to 3 and rejected, 1.5 accepted; 6 cut to 1.5, halved ...
    let times: Vec<f64> = kept.steps.iter().map(|step| step.t).collect();
    assert_eq!(times[..4], [1.0, 3.0, 4.5, 5.25]);
    assert!(times.windows(2).all(|pair| pair[0] <= pair[1]));
    let work = kept.done[0].work;
    assert_eq!(work.steps, work.rejected);
    assert_eq!(work.evaluations, 1 + work.steps + work.rejected);
}

#[test]
fn max_steps_counts_attempts() {
    let (mut flow, mut stepper, mut kept) = (Quadratic::new(&[1.0], 1), Shift::default(), Kept::default());
    let method = Method {
        stepper: &mut stepper,
        controller: &EverySecond,
        stop: &[],
        t_end: 1e9,
        max_steps: 7,
        lanes: 1,
        at: &[],
    };
    integrate(&mut flow, method, &mut (1..2), &mut kept).expect("nothing fails");
    let done = &kept.done[0];
    assert_eq!(
        (done.status, done.work.steps, done.work.rejected),
        (Status::MaxSteps, 3, 4)
    );
}

#[test]
fn free_lanes_are_refilled_and_holes_closed_by_the_last_lane() {
    let (mut flow, mut stepper, mut kept) = (Quadratic::new(&[1.0], 3), Shift::default(), Kept::default());
    let method = Method {
        stepper: &mut stepper,
        controller: &NotTheFirst,
        stop: &[],
        t_end: 2.0,
        max_steps: 100,
        lanes: 3,
        at: &[],
    };
    integrate(&mut flow, method, &mut (1..6), &mut kept).expect("nothing fails");
    // Sample 1 leaves lane 0 after one attempt; lane 2 (sample 3) moves there and sample 4 takes lane 2.
    assert_eq!(stepper.relocations[0], (2, 0));
    assert_eq!(stepper.widths, [3, 3, 2, 1]);
    let order: Vec<(usize, Status)> = kept.done.iter().map(|done| (done.sample, done.status)).collect();
    let reached = Status::HorizonReached;
    assert_eq!(
        order,
        [
            (1, Status::Stagnated),
            (3, reached),
            (2, reached),
            (4, reached),
            (5, reached)
        ]
    );
    assert!(kept.done[1..].iter().all(|done| done.work.forced == 2 && done.t == 2.0));
}

/// Samples 1 and 2, then nothing for two calls, then sample 3; panics where it may wait while a lane is live.
struct Trickle {
    calls: usize,
    idle: Vec<bool>,
}

impl Queue for Trickle {
    fn next(&mut self, z0: &mut [f64], idle: bool) -> Next {
        z0.fill(0.0);
        self.calls += 1;
        self.idle.push(idle);
        match self.calls {
            1 | 2 => Next::Sample(self.calls),
            3 | 4 => Next::NotYet,
            5 => Next::Sample(3),
            _ => Next::Finished,
        }
    }
}

#[test]
fn live_lanes_go_on_while_the_queue_has_nothing_yet() {
    let (mut flow, mut stepper, mut kept) = (Quadratic::new(&[1.0], 3), Shift::default(), Kept::default());
    let method = Method {
        stepper: &mut stepper,
        controller: &NotTheFirst,
        stop: &[],
        t_end: 2.0,
        max_steps: 100,
        lanes: 3,
        at: &[],
    };
    let mut queue = Trickle {
        calls: 0,
        idle: Vec::new(),
    };
    integrate(&mut flow, method, &mut queue, &mut kept).expect("nothing fails");
    // Samples 1 and 2 start; 1 leaves after an attempt, 2 after two; only then is the loop idle.
    assert_eq!(stepper.widths, [2, 1, 1, 1]);
    assert_eq!(queue.idle, [true, false, false, false, true, false]);
    let order: Vec<usize> = kept.done.iter().map(|done| done.sample).collect();
    assert_eq!(order, [1, 2, 3]);
}

/// dz/dt = t.
struct Clock;

impl Equations for Clock {
    fn dim(&self) -> usize {
        1
    }

    fn slope(&self, t: f64, _z: &[f64], f: &mut [f64]) {
        f[0] = t;
    }

    fn jacobian(&self, _t: f64, _z: &[f64], block: &mut [f64]) {
        block[0] = 0.0;
    }

    fn structure(&self) -> (Structure, Structure) {
        (Structure::General, Structure::General)
    }
}

/// Keeps the time and the slope at which every attempt starts.
#[derive(Default)]
struct Watch(Vec<(f64, f64)>);

impl Lanewise for Watch {
    fn admit(&mut self, _lane: usize, _sample: usize, _z0: &[f64]) {}

    fn relocate(&mut self, _from: usize, _to: usize) {}
}

impl Stepper for Watch {
    fn order(&self) -> u32 {
        1
    }

    fn attempt(
        &mut self,
        _flow: &mut dyn Flow,
        from: Start<'_>,
        mut to: Trial<'_>,
        _work: &mut [Work],
    ) -> Result<(), FlowError> {
        self.0.push((from.t[0], from.f[(0, 0)]));
        to.solved.fill(true);
        to.z.copy_from(from.z);
        Ok(())
    }
}

/// Steps of length 1, after which time has run on by 3.
struct Ahead;

impl StepController for Ahead {
    fn first(&self) -> First {
        First::Given(1.0)
    }

    fn judge(&self, _seen: &Evidence, _past: &History) -> Verdict {
        Verdict::Accept {
            h_next: 1.0,
            t_step: 3.0,
            forced: true,
        }
    }
}

#[test]
fn where_time_runs_on_further_than_a_step_the_next_one_starts_with_the_slope_of_its_own_time() {
    let (mut stepper, mut kept) = (Watch::default(), Kept::default());
    let method = Method {
        stepper: &mut stepper,
        controller: &Ahead,
        stop: &[],
        t_end: 9.0,
        max_steps: 100,
        lanes: 1,
        at: &[],
    };
    integrate(&mut flow(Clock), method, &mut (1..2), &mut kept).expect("nothing fails");
    assert_eq!(stepper.0, [(0.0, 0.0), (3.0, 3.0), (6.0, 6.0)]);
    assert_eq!(kept.done[0].work.evaluations, 1 + 2 * 3);
}

#[test]
fn a_sample_that_converges_with_its_last_step_has_converged() {
    let end = |max_steps: u32| {
        let mut kept = Kept::default();
        let edm = Edm {
            edm_tol: 1e-8,
            values: 1.0,
            relative: false,
        };
        let method = Method {
            stepper: &mut LinearEuler::new(None, 4, 1),
            controller: &Trust::default(),
            stop: &[&edm],
            t_end: f64::INFINITY,
            max_steps,
            lanes: 1,
            at: &[],
        };
        let starts = [vec![1.5, 0.5, 1.0, 2.5]];
        integrate(&mut flow(exponentials()), method, &mut Starts(&starts, 0), &mut kept).expect("nothing fails");
        kept.done.remove(0)
    };
    let done = end(1000);
    assert_eq!(done.status, Status::Converged);
    let attempts = done.work.steps + done.work.rejected;
    assert_eq!(end(attempts), done);
    assert_eq!(end(attempts - 1).status, Status::MaxSteps);
}
