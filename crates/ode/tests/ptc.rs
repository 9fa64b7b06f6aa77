//! Pseudo-transient continuation on nonlinear least squares.

mod support;

use gfe_ode::control::Trust;
use gfe_ode::implicit::{LinearEuler, MatrixFreeEuler};
use gfe_ode::problems::Equations;
use gfe_ode::stop::{Edm, GradNorm, Terminator};
use gfe_ode::{Status, Stepper, Work};
use support::equations::{Squares, exponentials, powell, rosenbrock, with_offset};
use support::{Kept, Setting, Starts, apart, flow, run};

fn solve(equations: Squares, stepper: &mut dyn Stepper, starts: &[Vec<f64>], stop: &[&dyn Terminator]) -> Kept {
    let with = Setting {
        stop,
        t_end: f64::INFINITY,
        lanes: 3,
        at: &[],
    };
    let mut flow = flow(equations);
    run(&mut flow, (stepper, &Trust::default()), &mut Starts(starts, 0), with)
}

/// Loss and |grad| at z.
fn place(equations: &Squares, z: &[f64]) -> (f64, f64) {
    let mut f = vec![0.0; z.len()];
    equations.slope(0.0, z, &mut f);
    let loss = equations.objective(z).expect("squares have an objective");
    (loss, f.iter().map(|f| f * f).sum::<f64>().sqrt())
}

/// Twelve states on a spiral of radius 0 to 3 about `center`.
fn spiral(center: &[f64]) -> Vec<Vec<f64>> {
    let state = |i: usize| {
        let far = 3.0 * i as f64 / 11.0;
        let component = |(j, c): (usize, &f64)| c + far * (0.7 * i as f64 + 1.9 * j as f64).sin();
        center.iter().enumerate().map(component).collect()
    };
    (0..12).map(state).collect()
}

fn cases() -> [(&'static str, Squares, Vec<Vec<f64>>); 3] {
    [
        ("rosenbrock", rosenbrock(), spiral(&[-1.2, 1.0])),
        ("powell", powell(), spiral(&[3.0, -1.0, 0.0, 1.0])),
        ("exponentials", exponentials(), spiral(&[1.0, 1.0, 0.5, 2.0])),
    ]
}

#[test]
fn no_accepted_step_raises_the_objective_beyond_rounding_and_within_it_the_gradient_falls() {
    let gtol = GradNorm { gtol: 1e-11 };
    let (mut checked, mut within) = (0, 0);
    for (name, equations, starts) in cases() {
        let dim = equations.dim();
        let steppers: [Box<dyn Stepper>; 3] = [
            Box::new(LinearEuler::new(None, dim, 3)),
            Box::new(LinearEuler::new(Some(1), dim, 3)),
            Box::new(MatrixFreeEuler::new(dim, 3)),
        ];
        for (kind, mut stepper) in steppers.into_iter().enumerate() {
            let kept = solve(equations, &mut *stepper, &starts, &[&gtol]);
            let mut now: Vec<(f64, f64)> = starts.iter().map(|z| place(&equations, z)).collect();
            for (step, z) in kept.steps.iter().zip(&kept.states) {
                let (loss, norm) = now[step.sample];
                let what = format!("{name} {kind} {step:?} after {loss} {norm}");
                assert_eq!((step.loss, step.grad_norm), place(&equations, z), "{what}");
                if (loss - step.loss).abs() <= 8.0 * f64::EPSILON * loss {
                    assert!(step.grad_norm < norm, "{what}");
                    within += 1;
                } else {
                    assert!(step.loss < loss, "{what}");
                }
                checked += 1;
                now[step.sample] = (step.loss, step.grad_norm);
            }
            let ends: Vec<Status> = kept.done.iter().map(|done| done.status).collect();
            println!("{name} {kind}: {} steps, {ends:?}", kept.steps.len());
        }
    }
    println!("{checked} steps, {within} within rounding");
    // Residuals remain at the minimum of the exponentials: some steps there must have been judged by the gradient.
    assert!(checked > 300 && within > 0);
}

#[test]
fn a_sample_at_its_optimum_takes_no_step() {
    let gtol = GradNorm { gtol: 1e-12 };
    let steppers: [Box<dyn Stepper>; 2] = [
        Box::new(LinearEuler::new(None, 2, 3)),
        Box::new(MatrixFreeEuler::new(2, 3)),
    ];
    for mut stepper in steppers {
        let starts = [vec![1.0, 1.0], vec![-1.2, 1.0]];
        let kept = solve(rosenbrock(), &mut *stepper, &starts, &[&gtol]);
        let at = kept.done.iter().find(|done| done.sample == 0).expect("it was done");
        assert_eq!(
            (at.status, at.work),
            (
                Status::Converged,
                Work {
                    evaluations: 1,
                    vjps: 1,
                    ..Work::default()
                }
            )
        );
        let far = kept.done.iter().find(|done| done.sample == 1).expect("it was done");
        assert!(far.status == Status::Converged && apart(&far.z, &[1.0, 1.0]) < 1e-10 && far.work.steps > 3);
    }
}

#[test]
fn a_large_constant_latent_does_not_stop_the_others_early() {
    // The third latent is 1e8 and stays there: a step that is small beside |z| is 1e-8 of it and more for the others.
    let gtol = GradNorm { gtol: 1e-9 };
    let starts = [vec![-1.2, 1.0, 1e8], vec![3.0, -2.0, 1e8], vec![-1.2, 1.0, 1e8 + 1.0]];
    let steppers: [Box<dyn Stepper>; 2] = [
        Box::new(LinearEuler::new(None, 3, 3)),
        Box::new(MatrixFreeEuler::new(3, 3)),
    ];
    for (kind, mut stepper) in steppers.into_iter().enumerate() {
        let kept = solve(with_offset(), &mut *stepper, &starts, &[&gtol]);
        assert_eq!(kept.done.len(), 3);
        for done in &kept.done {
            // |g| <= 1e-9 with a least eigenvalue of 0.4 at the minimum.
            let exact = [1.0, 1.0, 1e8];
            assert!(
                done.status == Status::Converged && apart(&done.z, &exact) < 1e-8,
                "{kind} {done:?}"
            );
        }
    }
}

#[test]
fn a_flow_whose_hessian_is_singular_at_the_minimum_or_everywhere_converges() {
    let valley = Squares {
        dim: 3,
        residuals: |z| vec![(z[0] + 2.0 * z[1] - z[2] - 3.0, vec![1.0, 2.0, -1.0])],
    };
    let gtol = GradNorm { gtol: 1e-9 };
    let edm = Edm {
        edm_tol: 1e-6,
        values: 1.0,
        relative: false,
    };
    for rule in [&gtol as &dyn Terminator, &edm] {
        for every in [Some(1), None] {
            let mut stepper = LinearEuler::new(every, 3, 3);
            let kept = solve(valley, &mut stepper, &spiral(&[0.0; 3]), &[rule]);
            assert_eq!(kept.done.len(), 12);
            assert!(
                kept.done
                    .iter()
                    .all(|done| done.status == Status::Converged && done.loss < 1e-6),
                "{:?}",
                kept.done
            );
            let mut stepper = LinearEuler::new(every, 4, 3);
            let kept = solve(powell(), &mut stepper, &spiral(&[3.0, -1.0, 0.0, 1.0]), &[rule]);
            assert!(
                kept.done.iter().all(|done| done.status == Status::Converged),
                "{every:?} {:?}",
                kept.done
            );
        }
    }
}

#[test]
fn a_trial_far_off_does_not_wreck_the_hessian() {
    // From some of these the first trials end where an exponent is positive and the slope of the order of 1e50: secant
    // updates by them once left a Hessian by which no step moved.
    let start = |i: i32| {
        let sine = |rate: f64, size: f64| size * (rate * f64::from(i)).sin();
        vec![
            1.0 + sine(0.7, 1.0),
            1.0 + sine(1.3, 0.9),
            0.5 + sine(2.1, 1.0),
            2.0 + sine(0.3, 1.5),
        ]
    };
    let starts: Vec<Vec<f64>> = (0..400).map(start).collect();
    // Well above what rounding leaves of the gradient in the flattest places.
    let gtol = GradNorm { gtol: 1e-7 };
    for every in [Some(1), Some(5), None, Some(1000)] {
        let mut stepper = LinearEuler::new(every, 4, 3);
        let kept = solve(exponentials(), &mut stepper, &starts, &[&gtol]);
        let failed: Vec<_> = kept
            .done
            .iter()
            .filter(|done| done.status != Status::Converged)
            .collect();
        assert!(failed.is_empty(), "{every:?}: {} of 400, {:?}", failed.len(), failed[0]);
    }
}
