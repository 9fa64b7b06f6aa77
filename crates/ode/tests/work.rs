//! Work is behavior: what every method does on three problems, counted.

mod support;

use gfe_ode::control::{Decrease, Fixed, Grid, Pi, StepController, Trust};
use gfe_ode::explicit::{EULER, RK4, RungeKutta, TSIT5};
use gfe_ode::implicit::{LinearEuler, MatrixFreeEuler};
use gfe_ode::stop::{GradNorm, LossSlope, Terminator};
use gfe_ode::{Stepper, Tolerance};
use support::equations::{Squares, exponentials, powell, rosenbrock};
use support::{Setting, Starts, flow, run, until};

/// Steps, rejections, forced steps, evaluations, vjps, jvps, Jacobians, factorizations.
type Counts = [u32; 8];

/// A method by name with its controller, and where it stops.
type Case = (&'static str, Box<dyn Stepper>, Box<dyn StepController>, f64);

fn methods(dim: usize) -> Vec<Case> {
    let tolerance = Tolerance { rtol: 1e-5, atol: 1e-8 };
    let fixed = |steps| {
        Box::new(Fixed {
            t_end: 1.0,
            steps,
            grid: Grid::Uniform,
        })
    };
    let explicit = |tableau| Box::new(RungeKutta::new(tableau, tolerance, dim, 1));
    vec![
        ("euler", explicit(&EULER), fixed(2000), 1.0),
        ("rk4", explicit(&RK4), fixed(1000), 1.0),
        ("tsit5", explicit(&TSIT5), Box::new(Pi::new(tolerance)), 1.0),
        ("amd", explicit(&EULER), Box::new(Decrease::default()), 1e4),
        (
            "ptc",
            Box::new(LinearEuler::new(None, dim, 1)),
            Box::new(Trust::default()),
            f64::INFINITY,
        ),
        (
            "ptc, fresh",
            Box::new(LinearEuler::new(Some(1), dim, 1)),
            Box::new(Trust::default()),
            f64::INFINITY,
        ),
        (
            "ptc, no Jacobian",
            Box::new(MatrixFreeEuler::new(dim, 1)),
            Box::new(Trust::default()),
            f64::INFINITY,
        ),
    ]
}

fn counts(equations: Squares, z0: &[f64]) -> Vec<(&'static str, Counts)> {
    let gtol = GradNorm { gtol: 1e-9 };
    let slope = LossSlope {
        loss_slope_tol: 1e-5,
        settle_fraction: 0.98,
    };
    let starts = [z0.to_vec()];
    let count = |(name, mut stepper, controller, t_end): Case| {
        let both: [&dyn Terminator; 2] = [&gtol, &slope];
        let stop = if name == "amd" { &both[..] } else { &both[..1] };
        let with = Setting { stop, ..until(t_end) };
        let kept = run(
            &mut flow(equations),
            (&mut *stepper, &*controller),
            &mut Starts(&starts, 0),
            with,
        );
        let (done, work) = (&kept.done[0], &kept.done[0].work);
        assert!(done.status.is_success() && work.hvps == 0, "{name} {done:?}");
        let all = [
            [work.steps, work.rejected, work.forced, work.evaluations],
            [work.vjps, work.jvps, work.jacobians, work.factorizations],
        ];
        (name, [all[0], all[1]].concat().try_into().expect("eight counts"))
    };
    methods(z0.len()).into_iter().map(count).collect()
}

#[test]
fn work_on_rosenbrocks_valley() {
    let expected = [
        ("euler", [2000, 0, 0, 2001, 2001, 0, 0, 0]),
        ("rk4", [1000, 0, 0, 4001, 4001, 0, 0, 0]),
        ("tsit5", [126, 2, 0, 770, 770, 0, 0, 0]),
        ("amd", [21440, 170453, 0, 191894, 191894, 0, 0, 0]),
        ("ptc", [34, 11, 0, 46, 46, 24, 12, 79]),
        ("ptc, fresh", [22, 4, 0, 27, 27, 44, 22, 48]),
        ("ptc, no Jacobian", [33, 15, 0, 49, 49, 81, 0, 0]),
    ];
    assert_eq!(counts(rosenbrock(), &[-1.2, 1.0]), expected);
}

#[test]
fn work_on_powells_singular_function() {
    let expected = [
        ("euler", [2000, 0, 0, 2001, 2001, 0, 0, 0]),
        ("rk4", [1000, 0, 0, 4001, 4001, 0, 0, 0]),
        ("tsit5", [61, 2, 0, 380, 380, 0, 0, 0]),
        ("amd", [9053, 50571, 0, 59625, 59625, 0, 0, 0]),
        ("ptc", [25, 0, 0, 26, 26, 28, 7, 50]),
        ("ptc, fresh", [19, 0, 0, 20, 20, 76, 19, 38]),
        ("ptc, no Jacobian", [20, 0, 0, 21, 21, 68, 0, 0]),
    ];
    assert_eq!(counts(powell(), &[3.0, -1.0, 0.0, 1.0]), expected);
}

#[test]
fn work_on_two_exponentials() {
    let expected = [
        ("euler", [2000, 0, 0, 2001, 2001, 0, 0, 0]),
        ("rk4", [1000, 0, 0, 4001, 4001, 0, 0, 0]),
        ("tsit5", [13, 0, 0, 80, 80, 0, 0, 0]),
        ("amd", [725, 1378, 0, 2104, 2104, 0, 0, 0]),
        ("ptc", [12, 1, 0, 14, 14, 12, 3, 25]),
        ("ptc, fresh", [9, 0, 0, 10, 10, 36, 9, 18]),
        ("ptc, no Jacobian", [11, 0, 0, 12, 12, 34, 0, 0]),
    ];
    assert_eq!(counts(exponentials(), &[1.0, 1.0, 0.5, 2.0]), expected);
}
