//! Order of convergence: the slope of log error against log step, in the asymptotic range.

mod support;

use gfe_ode::control::{Fixed, Grid, Pi};
use gfe_ode::explicit::{EULER, RK4, RungeKutta, TSIT5, Tableau};
use gfe_ode::implicit::LinearEuler;
use gfe_ode::{Status, Tolerance};
use support::equations::{Circle, Riccati, Squares};
use support::{Setting, Starts, apart, assert_order, flow, run, slope, until};

const UNIFORM: Grid = Grid::Uniform;
const LOGARITHMIC: Grid = Grid::Logarithmic { base: 20.0 };

/// Largest error at t = 3, for every number of steps, beside the mean step.
fn errors(tableau: &'static Tableau, grid: Grid, counts: &[u32]) -> Vec<(f64, f64)> {
    let error = |&steps: &u32| {
        let mut stepper = RungeKutta::new(tableau, Tolerance::default(), 2, 1);
        let t_end = 3.0;
        let fixed = Fixed { t_end, steps, grid };
        let start = [Riccati::exact(0.0)];
        let kept = run(
            &mut flow(Riccati),
            (&mut stepper, &fixed),
            &mut Starts(&start, 0),
            until(t_end),
        );
        let done = &kept.done[0];
        assert_eq!(
            (done.status, done.work.steps, done.t),
            (Status::HorizonReached, steps, t_end)
        );
        (t_end / f64::from(steps), apart(&done.z, &Riccati::exact(t_end)))
    };
    counts.iter().map(error).collect()
}

#[test]
fn the_order_of_euler_is_one_on_either_grid() {
    let counts = [64, 128, 256, 512, 1024];
    assert_order("euler", 1.0, &errors(&EULER, UNIFORM, &counts));
    assert_order("euler, logarithmic", 1.0, &errors(&EULER, LOGARITHMIC, &counts));
}

#[test]
fn the_order_of_rk4_is_four_on_either_grid() {
    let counts = [24, 48, 96, 192, 384];
    assert_order("rk4", 4.0, &errors(&RK4, UNIFORM, &counts));
    assert_order("rk4, logarithmic", 4.0, &errors(&RK4, LOGARITHMIC, &counts));
}

#[test]
fn the_order_of_tsit5_is_five_with_its_step_held() {
    let t_end = 3.0;
    let error = |&steps: &u32| {
        let mut stepper = RungeKutta::new(&TSIT5, Tolerance::default(), 2, 1);
        let fixed = Fixed {
            t_end,
            steps,
            grid: UNIFORM,
        };
        let start = [Circle::exact(0.0)];
        let kept = run(
            &mut flow(Circle),
            (&mut stepper, &fixed),
            &mut Starts(&start, 0),
            until(t_end),
        );
        assert_eq!(
            (kept.done[0].work.steps, kept.done[0].work.evaluations),
            (steps, 1 + 6 * steps)
        );
        (t_end / f64::from(steps), apart(&kept.done[0].z, &Circle::exact(t_end)))
    };
    let points: Vec<(f64, f64)> = [24, 48, 96, 192, 384].iter().map(error).collect();
    assert_order("tsit5", 5.0, &points);
}

#[test]
fn a_logarithmic_grid_has_the_times_it_promises() {
    let (t_end, steps, base) = (3.0, 7, 20f64);
    let mut stepper = RungeKutta::new(&EULER, Tolerance::default(), 2, 1);
    let fixed = Fixed {
        t_end,
        steps,
        grid: LOGARITHMIC,
    };
    let start = [Riccati::exact(0.0)];
    let kept = run(
        &mut flow(Riccati),
        (&mut stepper, &fixed),
        &mut Starts(&start, 0),
        until(t_end),
    );
    assert_eq!(kept.steps.len(), 7);
    for (i, step) in kept.steps.iter().enumerate() {
        let expected = t_end * (base.powf((i + 1) as f64 / 7.0) - 1.0) / (base - 1.0);
        // Seven sums, each rounded.
        assert!((step.t - expected).abs() <= 1e-14 * t_end, "{} {expected}", step.t);
    }
}

#[test]
fn a_grid_has_the_number_of_steps_it_promises_however_many() {
    for (steps, t_end) in [
        (1, 1.0),
        (3, 0.1),
        (801, 10.0),
        (1000, 1e4),
        (12_345, 7.3),
        (200_000, 0.3),
    ] {
        for grid in [UNIFORM, LOGARITHMIC] {
            let mut stepper = RungeKutta::new(&EULER, Tolerance::default(), 2, 1);
            let fixed = Fixed { t_end, steps, grid };
            let start = [Circle::exact(0.0)];
            let mut at_rest = flow(Squares {
                dim: 2,
                residuals: |_| Vec::new(),
            });
            let kept = run(
                &mut at_rest,
                (&mut stepper, &fixed),
                &mut Starts(&start, 0),
                until(t_end),
            );
            assert_eq!((kept.done[0].work.steps, kept.done[0].t), (steps, t_end), "{grid:?}");
        }
    }
}

/// (1/4) (u^4 + v^4) in coordinates u, v turned by 45 degrees: as squares, r = u^2 / sqrt(2) and v^2 / sqrt(2).
///
/// The flow is u' = -u^3, so u(t) = u0 / sqrt(1 + 2 t u0^2).
fn quartic() -> Squares {
    let residuals = |z: &[f64]| {
        let c = 0.5f64.sqrt();
        let (u, v) = (c * (z[0] + z[1]), c * (z[0] - z[1]));
        vec![(c * u * u, vec![u, u]), (c * v * v, vec![v, -v])]
    };
    Squares { dim: 2, residuals }
}

#[test]
fn the_order_of_the_linearly_implicit_euler_step_is_one_whatever_the_age_of_its_hessian() {
    let (u0, v0, t_end) = (1.5f64, 0.5f64, 2.0);
    let c = 0.5f64.sqrt();
    let turned = |u: f64, v: f64| vec![c * (u + v), c * (u - v)];
    let at_end = |u: f64| u / (1.0 + 2.0 * t_end * u * u).sqrt();
    let (start, exact) = ([turned(u0, v0)], turned(at_end(u0), at_end(v0)));
    for every in [Some(1), Some(5), None] {
        let error = |&steps: &u32| {
            let mut stepper = LinearEuler::new(every, 2, 1);
            let grid = Grid::Uniform;
            let fixed = Fixed { t_end, steps, grid };
            let kept = run(
                &mut flow(quartic()),
                (&mut stepper, &fixed),
                &mut Starts(&start, 0),
                until(t_end),
            );
            assert_eq!(kept.done[0].work.steps, steps);
            (t_end / f64::from(steps), apart(&kept.done[0].z, &exact))
        };
        let points: Vec<(f64, f64)> = [128, 256, 512, 1024, 2048].iter().map(error).collect();
        assert_order(&format!("linearly implicit Euler, {every:?}"), 1.0, &points);
    }
}

/// Error of the interpolated state at the fraction `theta` of one step from an exact state.
fn inside(tableau: &'static Tableau, theta: f64) -> Vec<(f64, f64)> {
    let error = |h: &f64| {
        let mut stepper = RungeKutta::new(tableau, Tolerance::default(), 2, 1);
        let fixed = Fixed {
            t_end: *h,
            steps: 1,
            grid: UNIFORM,
        };
        let at = [theta * h];
        let with = Setting { at: &at, ..until(*h) };
        let start = [Riccati::exact(0.0)];
        let kept = run(&mut flow(Riccati), (&mut stepper, &fixed), &mut Starts(&start, 0), with);
        assert_eq!((kept.states.len(), kept.steps[0].t), (1, at[0]));
        (*h, apart(&kept.states[0], &Riccati::exact(at[0])))
    };
    [0.08, 0.04, 0.02, 0.01, 0.005].iter().map(error).collect()
}

#[test]
fn inside_a_step_tsit5_is_in_error_by_h_to_the_fifth_and_hermite_by_h_to_the_fourth() {
    for theta in [0.37, 0.8] {
        assert_order("tsit5 inside", 5.0, &inside(&TSIT5, theta));
        assert_order("hermite inside", 4.0, &inside(&RK4, theta));
    }
}

#[test]
fn the_interpolants_meet_both_ends_of_a_step() {
    for tableau in [&TSIT5, &RK4] {
        let end = |at: &[f64]| {
            let mut stepper = RungeKutta::new(tableau, Tolerance::default(), 2, 1);
            let fixed = Fixed {
                t_end: 0.5,
                steps: 1,
                grid: UNIFORM,
            };
            let start = [Riccati::exact(0.0)];
            let with = Setting { at, ..until(0.5) };
            run(&mut flow(Riccati), (&mut stepper, &fixed), &mut Starts(&start, 0), with)
        };
        let (ends, plain) = (end(&[0.0, 0.5]), end(&[]));
        assert_eq!(ends.states[0], Riccati::exact(0.0));
        // The weights at theta = 1 add up to those of the step but for rounding.
        assert!(apart(&ends.states[1], &plain.done[0].z) < 1e-14);
    }
}

#[test]
fn the_error_of_tsit5_is_proportional_to_the_tolerance() {
    let t_end = 10.0;
    let error = |exponent: &i32| {
        let tol = 10f64.powi(*exponent);
        let tolerance = Tolerance { rtol: tol, atol: tol };
        let mut stepper = RungeKutta::new(&TSIT5, tolerance, 2, 1);
        let start = [Riccati::exact(0.0)];
        let pi = Pi::new(tolerance);
        let kept = run(
            &mut flow(Riccati),
            (&mut stepper, &pi),
            &mut Starts(&start, 0),
            until(t_end),
        );
        assert_eq!(kept.done[0].status, Status::HorizonReached);
        let largest = kept
            .steps
            .iter()
            .zip(&kept.states)
            .map(|(step, z)| apart(z, &Riccati::exact(step.t)));
        (tol, largest.fold(0.0, f64::max))
    };
    let points: Vec<(f64, f64)> = [-3, -4, -5, -6, -7, -8, -9].iter().map(error).collect();
    let found = slope(&points);
    println!("tsit5 against tolerance: slope {found:.3} of {points:?}");
    assert!((0.8..=1.2).contains(&found), "slope {found} of {points:?}");
    // The error per step is held below the tolerance; over 10 units of time of a contracting flow it adds up to little.
    assert!(points.iter().all(|(tol, error)| error < &(10.0 * tol)), "{points:?}");
}
