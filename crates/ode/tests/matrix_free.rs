//! The step without a Jacobian: long states, and agreement with the dense step.

mod support;

use gfe_ode::control::Trust;
use gfe_ode::implicit::{DENSE, LinearEuler, MatrixFreeEuler, distances};
use gfe_ode::problems::Equations;
use gfe_ode::stop::{Edm, GradNorm};
use gfe_ode::{Flow, Start, Status, Stepper, Work};
use support::equations::{exponentials, rosenbrock};
use support::{Quadratic, Setting, Starts, apart, flow, run, until};

/// From 1 down to 1/condition, evenly spaced in their logarithm.
fn spectrum(dim: usize, condition: f64) -> Vec<f64> {
    let part = |i: usize| i as f64 / (dim - 1) as f64;
    (0..dim).map(|i| condition.powf(-part(i))).collect()
}

#[test]
fn a_long_quadratic_flow_reaches_its_minimizer() {
    let eigenvalues = spectrum(784, 1e4);
    // |g| <= 1e-12 bounds the distance along the flattest direction by 1e-12 / 1e-4.
    let gtol = GradNorm { gtol: 1e-12 };
    let with = Setting {
        stop: &[&gtol],
        lanes: 2,
        ..until(f64::INFINITY)
    };
    let (mut flow, mut stepper) = (Quadratic::new(&eigenvalues, 2), MatrixFreeEuler::new(784, 2));
    let kept = run(&mut flow, (&mut stepper, &Trust::default()), &mut (1..4), with);
    assert_eq!(kept.done.len(), 3);
    for done in &kept.done {
        let minimizer = vec![done.sample as f64; 784];
        println!("{:?} in {:?}", apart(&done.z, &minimizer), done.work);
        assert!(done.status == Status::Converged && apart(&done.z, &minimizer) <= 1e-8);
        assert_eq!((done.work.jacobians, done.work.factorizations), (0, 0));
    }
}

#[test]
fn both_steppers_end_at_the_same_minimizer() {
    let gtol = GradNorm { gtol: 1e-11 };
    let with = Setting {
        stop: &[&gtol],
        ..until(f64::INFINITY)
    };
    for (equations, z0) in [
        (rosenbrock(), vec![-1.2, 1.0]),
        (exponentials(), vec![1.0, 1.0, 0.5, 2.0]),
    ] {
        let dim = equations.dim();
        let steppers: [Box<dyn Stepper>; 2] = [
            Box::new(LinearEuler::new(None, dim, 1)),
            Box::new(MatrixFreeEuler::new(dim, 1)),
        ];
        let starts = [z0];
        let ends = steppers.map(|mut stepper| {
            let mut flow = flow(equations);
            let kept = run(
                &mut flow,
                (&mut *stepper, &Trust::default()),
                &mut Starts(&starts, 0),
                with,
            );
            assert_eq!(kept.done[0].status, Status::Converged);
            kept.done[0].z.clone()
        });
        // The least eigenvalues of the Hessians there are 0.4 and about 1e-4.
        println!("apart by {:?}", apart(&ends[0], &ends[1]));
        assert!(apart(&ends[0], &ends[1]) < 1e-6, "{ends:?}");
    }
}

#[test]
fn a_sample_does_not_feel_its_neighbors_without_a_jacobian() {
    let sorted = |lanes: usize| {
        let (mut flow, mut stepper) = (Quadratic::new(&spectrum(9, 1e3), lanes), MatrixFreeEuler::new(9, lanes));
        let rule = Edm {
            edm_tol: 1e-9,
            values: 1.0,
            relative: false,
        };
        let with = Setting {
            stop: &[&rule],
            lanes,
            ..until(f64::INFINITY)
        };
        let mut done = run(&mut flow, (&mut stepper, &Trust::default()), &mut (1..21), with).done;
        done.sort_by_key(|done| done.sample);
        done
    };
    let alone = sorted(1);
    assert!(
        alone.len() == 20
            && alone
                .iter()
                .all(|done| done.status == Status::Converged && done.edm.is_some())
    );
    assert_eq!(alone, sorted(3));
    assert_eq!(alone, sorted(20));
}

#[test]
fn the_distance_is_exact_with_a_jacobian_and_a_close_upper_bound_without() {
    // (1/2) sum_i lambda_i distance_i^2, with as many eigenvalues as a Jacobian is always made for, and one more.
    let cases = [
        (DENSE, 100.0, 0.0),
        (DENSE + 1, 1e8, 0.0),
        (DENSE + 1, 100.0, 0.01),
        (DENSE + 1, 1e6, 1e-6),
        (784, 1e6, 1e-7),
    ];
    for (dim, condition, least) in cases {
        let eigenvalues = spectrum(dim, condition);
        let mut flow = Quadratic::new(&eigenvalues, 1);
        flow.least = least;
        // As much of the distance in the flattest directions as in the steepest.
        let z = faer::Mat::from_fn(dim, 1, |i, _| (i as f64).sin() / eigenvalues[i].sqrt());
        let f = faer::Mat::from_fn(dim, 1, |i, _| -eigenvalues[i] * z[(i, 0)]);
        let exact: f64 = (0..dim).map(|i| 0.5 * eigenvalues[i] * z[(i, 0)].powi(2)).sum();
        let from = Start {
            lanes: &[0],
            t: &[0.0],
            h: &[1.0],
            z: z.as_ref(),
            f: f.as_ref(),
        };
        let (mut edm, mut work) = ([f64::NAN], [Work::default()]);
        distances(&mut flow as &mut dyn Flow, &from, &mut edm, &mut work).expect("the test flow never fails");
        println!("{dim} {condition:e}: {} of {exact}, {:?}", edm[0], work[0]);
        assert_eq!(work[0].jacobians, u32::from(least == 0.0));
        let ratio = edm[0] / exact;
        // Cholesky's shift of d eps is 3e-6 of an eigenvalue of 1e-8.
        let right = if least == 0.0 {
            (ratio - 1.0).abs() < 3e-6
        } else {
            (1.0 - 1e-6..=1.1).contains(&ratio)
        };
        assert!(right, "{} {exact}", edm[0]);
    }
}
