//! The methods on a flow whose solution is known.

mod support;

use gfe_ode::control::{Decrease, Fixed, StepController, Trust};
use gfe_ode::explicit::{EULER, RK4, RungeKutta, Tableau};
use gfe_ode::implicit::LinearEuler;
use gfe_ode::stop::{Edm, GradNorm, LossSlope, Terminator};
use gfe_ode::{Method, Status, Stepper, integrate};
use support::{Kept, Numbers, Quadratic};

struct Setting<'a> {
    stop: &'a [&'a dyn Terminator],
    t_end: f64,
    lanes: usize,
    samples: usize,
}

fn run(flow: &mut Quadratic, stepper: &mut dyn Stepper, controller: &dyn StepController, with: Setting<'_>) -> Kept {
    let mut kept = Kept::default();
    let method = Method {
        stepper,
        controller,
        stop: with.stop,
        t_end: with.t_end,
        max_steps: 100_000,
        lanes: with.lanes,
    };
    integrate(
        flow,
        method,
        &mut Numbers {
            next: 1,
            last: with.samples,
        },
        &mut kept,
    )
    .expect("the test flow never fails");
    kept
}

/// Largest error at t = 1 with steps of 1/n.
fn error(tableau: &'static Tableau, n: u32) -> f64 {
    let mut flow = Quadratic::new(&[0.5, 1.0], 2);
    let mut stepper = RungeKutta::new(tableau, 2, 2);
    let with = Setting {
        stop: &[],
        t_end: 1.0,
        lanes: 2,
        samples: 1,
    };
    let kept = run(&mut flow, &mut stepper, &Fixed { h: 1.0 / f64::from(n) }, with);
    assert_eq!(
        (kept.done[0].status, kept.done[0].work.steps),
        (Status::HorizonReached, n)
    );
    let exact = [0.5f64, 1.0].map(|lambda| 1.0 - (-lambda).exp());
    kept.done[0]
        .z
        .iter()
        .zip(exact)
        .map(|(z, exact)| (z - exact).abs())
        .fold(0.0, f64::max)
}

/// Least-squares slope of log error against log step.
fn slope(tableau: &'static Tableau, counts: &[u32]) -> f64 {
    let points: Vec<(f64, f64)> = counts
        .iter()
        .map(|&n| (-f64::from(n).ln(), error(tableau, n).ln()))
        .collect();
    let n = points.len() as f64;
    let (mx, my) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0 / n, y + p.1 / n));
    let (sxy, sxx) = points.iter().fold((0.0, 0.0), |(a, b), p| {
        (a + (p.0 - mx) * (p.1 - my), b + (p.0 - mx).powi(2))
    });
    sxy / sxx
}

#[test]
fn the_order_of_euler_is_one() {
    assert!((slope(&EULER, &[16, 32, 64, 128, 256]) - 1.0).abs() < 0.15);
}

#[test]
fn the_order_of_rk4_is_four() {
    assert!((slope(&RK4, &[8, 16, 32, 64]) - 4.0).abs() < 0.15);
}

#[test]
fn ptc_reaches_the_minimizer_even_where_the_condition_number_is_1e8() {
    let mut flow = Quadratic::new(&[1.0, 1e-4, 1e-8], 4);
    let mut stepper = LinearEuler::new(3, 4);
    let gtol = GradNorm { gtol: 1e-16 };
    let with = Setting {
        stop: &[&gtol],
        t_end: f64::INFINITY,
        lanes: 4,
        samples: 9,
    };
    let kept = run(&mut flow, &mut stepper, &Trust::default(), with);
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
    let mut stepper = LinearEuler::new(2, 2);
    let edm = Edm {
        edm_tol: 1e-3,
        values: 1.0,
        relative: false,
    };
    let with = Setting {
        stop: &[&edm],
        t_end: f64::INFINITY,
        lanes: 2,
        samples: 3,
    };
    let kept = run(&mut flow, &mut stepper, &Trust::default(), with);
    assert!(
        kept.done
            .iter()
            .all(|done| done.status == Status::Converged && done.z[1] == 0.0)
    );
}

#[test]
fn the_loss_never_rises_over_a_step_that_the_decrease_rule_accepts() {
    let mut flow = Quadratic::new(&[0.9, 0.01], 3);
    let mut stepper = RungeKutta::new(&EULER, 2, 3);
    let slope = LossSlope {
        loss_slope_tol: 1e-5,
        settle_fraction: 0.98,
    };
    let with = Setting {
        stop: &[&slope],
        t_end: 1e4,
        lanes: 3,
        samples: 5,
    };
    let kept = run(&mut flow, &mut stepper, &Decrease::default(), with);
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
    let mut kept = Kept::default();
    let gtol = GradNorm { gtol: 1e-9 };
    let stop: &[&dyn Terminator] = &[&gtol];
    let mut stepper = LinearEuler::new(1, 1);
    let controller = Trust::default();
    let method = Method {
        stepper: &mut stepper,
        controller: &controller,
        stop,
        t_end: 1e4,
        max_steps: 9,
        lanes: 1,
    };
    integrate(&mut flow, method, &mut Numbers { next: 0, last: 0 }, &mut kept).expect("the test flow never fails");
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
        let mut stepper = LinearEuler::new(3, lanes);
        let gtol = GradNorm { gtol: 1e-9 };
        let with = Setting {
            stop: &[&gtol],
            t_end: f64::INFINITY,
            lanes,
            samples: 40,
        };
        let mut done = run(
            &mut flow,
            &mut stepper,
            &Trust {
                h0: 1.0,
                ..Trust::default()
            },
            with,
        )
        .done;
        done.sort_by_key(|done| done.sample);
        done
    };
    let alone = sorted(1);
    assert_eq!(alone.len(), 40);
    assert_eq!(alone, sorted(7));
    assert_eq!(alone, sorted(40));
}

#[test]
fn one_broken_sample_ends_alone() {
    let mut flow = Quadratic::new(&[1.0], 3);
    flow.broken = Some(4);
    let mut stepper = LinearEuler::new(1, 3);
    let gtol = GradNorm { gtol: 1e-9 };
    let with = Setting {
        stop: &[&gtol],
        t_end: f64::INFINITY,
        lanes: 3,
        samples: 9,
    };
    let kept = run(&mut flow, &mut stepper, &Trust::default(), with);
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
    let mut stepper = RungeKutta::new(&EULER, 1, 2);
    let with = Setting {
        stop: &[],
        t_end: 1e4,
        lanes: 2,
        samples: 3,
    };
    let kept = run(&mut flow, &mut stepper, &Fixed { h: 1.0 }, with);
    assert!(kept.done.iter().all(|done| done.status == Status::NotFinite));
}
