//! The methods that go to a minimum, on every problem that has one.

mod support;

use gfe_ode::control::{Decrease, Trust};
use gfe_ode::explicit::{EULER, RungeKutta};
use gfe_ode::implicit::LinearEuler;
use gfe_ode::problems::{self, Problem};
use gfe_ode::stop::{Edm, GradNorm, LossSlope, Terminator};
use gfe_ode::{Status, Tolerance};
use support::{Setting, Starts, apart, run, until};

fn with_minimum() -> Vec<(Problem, Vec<f64>)> {
    let all = problems::all().into_iter();
    let found: Vec<_> = all
        .filter_map(|problem| problem.minimizer.clone().map(|minimizer| (problem, minimizer)))
        .collect();
    assert!(found.len() >= 8, "there are problems with a minimum");
    found
}

#[test]
fn ptc_reaches_every_minimizer() {
    for exact in [false, true] {
        for (problem, minimizer) in with_minimum() {
            let dim = problem.z0.len();
            let mut stepper = LinearEuler::new(None, dim, 1).with_exact(exact);
            // |g| <= 1e-16 bounds the distance along the flattest direction of the worst, 1e-8, by 1e-8.
            let gtol = GradNorm {
                gtol: if problem.name == "quadratic-1e8" { 1e-16 } else { 1e-13 },
            };
            let stop: &[&dyn Terminator] = &[&gtol];
            let with = Setting {
                stop,
                ..until(f64::INFINITY)
            };
            let starts = [problem.z0.clone()];
            let kept = run(
                &mut problem.flow(),
                (&mut stepper, &Trust::default()),
                &mut Starts(&starts, 0),
                with,
            );
            let done = &kept.done[0];
            println!(
                "{} exact {exact}: {:?} {} steps",
                problem.name, done.status, done.work.steps
            );
            assert!(
                apart(&done.z, &minimizer) <= 1e-8,
                "{}: {done:?} instead of {minimizer:?}",
                problem.name
            );
            assert!(
                matches!(done.status, Status::Converged | Status::Stagnated),
                "{}: {done:?}",
                problem.name
            );
        }
    }
}

/// Where no step changes z any more, nothing is left to be gained by them: that is a minimum if the distance to it says so.
#[test]
fn a_start_that_no_step_can_move_has_converged_by_its_distance_alone() {
    let edm = Edm {
        edm_tol: 1e-6,
        values: 1.0,
        relative: false,
    };
    let mut seen = 0;
    for (problem, _) in with_minimum() {
        let end = |z0: &[f64], stop: &[&dyn Terminator]| {
            let mut stepper = LinearEuler::new(None, z0.len(), 1);
            let with = Setting {
                stop,
                ..until(f64::INFINITY)
            };
            let starts = [z0.to_vec()];
            let kept = run(
                &mut problem.flow(),
                (&mut stepper, &Trust::default()),
                &mut Starts(&starts, 0),
                with,
            );
            (kept.done[0].status, kept.done[0].z.clone())
        };
        let (status, z) = end(&problem.z0, &[]);
        if status == Status::Stagnated && end(&z, &[]).0 == Status::Stagnated {
            assert_eq!(end(&z, &[&edm]).0, Status::Converged, "{}", problem.name);
            seen += 1;
        }
    }
    assert!(seen > 2, "some problems have a minimum that is not where a number is");
}

#[test]
fn amd_reaches_those_of_condition_number_up_to_100() {
    for name in ["quadratic-1e0", "quadratic-1e2"] {
        let (problem, minimizer) = with_minimum()
            .into_iter()
            .find(|(problem, _)| problem.name == name)
            .unwrap_or_else(|| panic!("there is a problem {name}"));
        let mut stepper = RungeKutta::new(&EULER, Tolerance::default(), problem.z0.len(), 1);
        let slope = LossSlope {
            loss_slope_tol: 0.0,
            settle_fraction: 0.98,
        };
        let stop: &[&dyn Terminator] = &[&slope];
        let with = Setting { stop, ..until(1e5) };
        let starts = [problem.z0.clone()];
        let kept = run(
            &mut problem.flow(),
            (&mut stepper, &Decrease::default()),
            &mut Starts(&starts, 0),
            with,
        );
        let done = &kept.done[0];
        assert!(done.status.is_success(), "{name}: {done:?}");
        assert!(apart(&done.z, &minimizer) <= 1e-6, "{name}: {done:?}");
    }
}
