//! The methods on a flow whose solution is known.

mod support;

use gfe_ode::control::{Decrease, Fixed, Grid, Pi, Trust};
use gfe_ode::explicit::{EULER, RungeKutta, TSIT5};
use gfe_ode::implicit::LinearEuler;
use gfe_ode::problems::Equations;
use gfe_ode::stop::{Edm, GradNorm, LossSlope};
use gfe_ode::{Status, Tolerance};
use support::equations::{Uphill, exponentials};
use support::{Quadratic, Setting, Starts, flow, run, until};

fn explicit(dim: usize, lanes: usize) -> RungeKutta {
    RungeKutta::new(&EULER, Tolerance::default(), dim, lanes)
}

#[test]
fn ptc_reaches_the_minimizer_even_where_the_condition_number_is_1e8() {
    let mut flow = Quadratic::new(&[1.0, 1e-4, 1e-8], 4);
    let mut stepper = LinearEuler::new(Some(3), 3, 4);
    let gtol = GradNorm { gtol: 1e-16 };
    let with = Setting {
        stop: &[&gtol],
        t_end: f64::INFINITY,
        lanes: 4,
        at: &[],
    };
    let kept = run(&mut flow, (&mut stepper, &Trust::default()), &mut (1..10), with);
    assert_eq!(kept.done.len(), 9);
    for done in &kept.done {
        assert_eq!(done.status, Status::Converged);
        // |g| <= 1e-16 bounds the distance along the flattest direction by 1e-16 / 1e-8.
        assert!(
            done.z.iter().all(|z| (z - done.sample as f64).abs() <= 1e-8),
            "{done:?}"
        );
    }
}

#[test]
fn a_rank_deficient_flow_converges_by_edm() {
    let mut flow = Quadratic::new(&[1.0, 0.0], 2);
    let mut stepper = LinearEuler::new(Some(2), 2, 2);
    let edm = Edm {
        edm_tol: 1e-3,
        values: 1.0,
        relative: false,
    };
    let with = Setting {
        stop: &[&edm],
        t_end: f64::INFINITY,
        lanes: 2,
        at: &[],
    };
    let kept = run(&mut flow, (&mut stepper, &Trust::default()), &mut (1..4), with);
    assert!(
        kept.done
            .iter()
            .all(|done| done.status == Status::Converged && done.z[1] == 0.0)
    );
}

#[test]
fn the_loss_never_rises_over_a_step_that_the_decrease_rule_accepts() {
    let mut flow = Quadratic::new(&[0.9, 0.01], 3);
    let mut stepper = explicit(2, 3);
    let slope = LossSlope {
        loss_slope_tol: 1e-5,
        settle_fraction: 0.98,
    };
    let with = Setting {
        stop: &[&slope],
        t_end: 1e4,
        lanes: 3,
        at: &[],
    };
    let kept = run(&mut flow, (&mut stepper, &Decrease::default()), &mut (1..6), with);
    assert!(
        kept.done
            .iter()
            .all(|done| done.status == Status::Converged && done.work.rejected > 0)
    );
    for sample in 1..=5 {
        let losses: Vec<f64> = kept
            .steps
            .iter()
            .filter(|s| s.sample == sample)
            .map(|s| s.loss)
            .collect();
        assert!(losses.len() > 5 && losses.windows(2).all(|pair| pair[1] <= pair[0]));
    }
}

#[test]
fn a_sample_that_starts_at_its_optimum_takes_no_step() {
    let mut flow = Quadratic::new(&[1.0], 1);
    let gtol = GradNorm { gtol: 1e-9 };
    let with = Setting {
        stop: &[&gtol],
        ..until(1e4)
    };
    let mut stepper = LinearEuler::new(Some(1), 1, 1);
    let queue = &mut (0..1);
    let kept = run(&mut flow, (&mut stepper, &Trust::default()), queue, with);
    assert_eq!(
        (
            kept.done[0].status,
            kept.done[0].work.steps,
            kept.done[0].work.evaluations
        ),
        (Status::Converged, 0, 1)
    );
}

#[test]
fn a_sample_does_not_feel_its_neighbors() {
    let sorted = |lanes: usize| {
        let mut flow = Quadratic::new(&[1.0, 0.3, 0.001], lanes);
        let mut stepper = LinearEuler::new(Some(3), 3, lanes);
        let gtol = GradNorm { gtol: 1e-9 };
        let with = Setting {
            stop: &[&gtol],
            t_end: f64::INFINITY,
            lanes,
            at: &[],
        };
        let trust = Trust {
            h0: Some(1.0),
            ..Trust::default()
        };
        let mut done = run(&mut flow, (&mut stepper, &trust), &mut (1..41), with).done;
        done.sort_by_key(|done| done.sample);
        done
    };
    let alone = sorted(1);
    assert_eq!(alone.len(), 40);
    assert_eq!(alone, sorted(7));
    assert_eq!(alone, sorted(40));
}

#[test]
fn a_sample_does_not_feel_its_neighbors_under_error_control() {
    let sorted = |lanes: usize| {
        let mut flow = Quadratic::new(&[1.0, 0.3, 0.01], lanes);
        let tolerance = Tolerance::default();
        let mut stepper = RungeKutta::new(&TSIT5, tolerance, 3, lanes);
        // Samples finish at different times, so that lanes move: |g| at the start differs.
        let gtol = GradNorm { gtol: 0.1 };
        let with = Setting {
            stop: &[&gtol],
            t_end: 1e3,
            lanes,
            at: &[1.0, 50.0],
        };
        let mut kept = run(&mut flow, (&mut stepper, &Pi::new(tolerance)), &mut (1..41), with);
        kept.done.sort_by_key(|done| done.sample);
        let mut inside: Vec<_> = kept
            .steps
            .iter()
            .map(|step| (step.sample, *step))
            .zip(kept.states)
            .collect();
        inside.sort_by_key(|((sample, step), _)| (*sample, step.t as u64));
        (kept.done, inside)
    };
    let alone = sorted(1);
    assert!(alone.0.len() == 40 && alone.1.len() > 40);
    assert_eq!(alone, sorted(7));
    assert_eq!(alone, sorted(40));
}

#[test]
fn one_broken_sample_ends_alone() {
    let mut flow = Quadratic::new(&[1.0], 3);
    flow.broken = Some(4);
    let mut stepper = LinearEuler::new(Some(1), 1, 3);
    let gtol = GradNorm { gtol: 1e-9 };
    let with = Setting {
        stop: &[&gtol],
        t_end: f64::INFINITY,
        lanes: 3,
        at: &[],
    };
    let kept = run(&mut flow, (&mut stepper, &Trust::default()), &mut (1..10), with);
    assert_eq!(kept.done.len(), 9);
    for done in kept.done {
        let expected = if done.sample == 4 {
            Status::DecoderFailed
        } else {
            Status::Converged
        };
        assert_eq!(done.status, expected);
    }
}

#[test]
fn an_unstable_fixed_step_ends_as_not_finite() {
    let mut flow = Quadratic::new(&[1e3], 2);
    let mut stepper = explicit(1, 2);
    let with = Setting {
        stop: &[],
        t_end: 1e4,
        lanes: 2,
        at: &[],
    };
    let (t_end, steps, grid) = (1e4, 10_000, Grid::Uniform);
    let kept = run(
        &mut flow,
        (&mut stepper, &Fixed { t_end, steps, grid }),
        &mut (1..4),
        with,
    );
    assert!(kept.done.iter().all(|done| done.status == Status::NotFinite));
}

#[test]
fn where_no_step_lowers_the_loss_every_step_is_forced_and_counted() {
    let with = until(30.0);
    let starts = [vec![2.0]];
    let kept = run(
        &mut flow(Uphill),
        (&mut explicit(1, 1), &Decrease::default()),
        &mut Starts(&starts, 0),
        with,
    );
    let done = &kept.done[0];
    // Three times twenty rejections and a step of 2^-20 that lets 10 units of time pass.
    assert_eq!((done.status, done.t), (Status::HorizonReached, 30.0));
    assert_eq!((done.work.steps, done.work.forced, done.work.rejected), (3, 3, 60));
    assert_eq!(done.z, [2.0 + 3.0 * 2f64.powi(-20)]);
    let times: Vec<f64> = kept.steps.iter().map(|step| step.t).collect();
    assert_eq!(times, [10.0, 20.0, 30.0]);
}

#[test]
fn the_decrease_rule_rejects_and_lets_no_loss_rise_unless_forced() {
    let starts: Vec<Vec<f64>> = (0..9).map(|i| vec![1.0 + 0.1 * f64::from(i), 1.0, 0.5, 2.0]).collect();
    // A regular step is at most 1 long: one that lets more time pass was forced.
    let decrease = Decrease {
        dt0: 0.5,
        dt_max: 1.0,
        ..Decrease::default()
    };
    let with = Setting { lanes: 4, ..until(1e4) };
    let mut stepper = explicit(4, 4);
    let kept = run(
        &mut flow(exponentials()),
        (&mut stepper, &decrease),
        &mut Starts(&starts, 0),
        with,
    );
    assert_eq!(kept.done.len(), 9);
    for done in &kept.done {
        let mut last = (0.0, exponentials().objective(&starts[done.sample]).expect("it has one"));
        let mut forced = 0;
        for step in kept.steps.iter().filter(|step| step.sample == done.sample) {
            let long = step.t > last.0 + 1.0;
            forced += u32::from(long);
            assert!(long || step.loss <= last.1, "{step:?} after {last:?}");
            last = (step.t, step.loss);
        }
        // A forced step may be cut at the end.
        assert!(
            forced == done.work.forced || forced + 1 == done.work.forced,
            "{forced} {:?}",
            done.work
        );
    }
    let total = kept.done.iter().fold((0, 0), |sum, done| {
        (sum.0 + done.work.rejected, sum.1 + done.work.forced)
    });
    println!("rejected and forced: {total:?}");
    assert!(total.0 > 0 && total.1 > 0, "nothing was put to the test: {total:?}");
}
