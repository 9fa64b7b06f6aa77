//! The flow of second order against its exact solution, and its restart.

mod support;

use gfe_ode::control::{Decrease, Fixed, Grid, Pi, StepController};
use gfe_ode::explicit::{RK4, RungeKutta, SemiImplicit, TSIT5, Tableau};
use gfe_ode::stop::GradNorm;
use gfe_ode::{
    Cols, ColsMut, Curvature, Flow, FlowError, Inertial, Lanewise, Momentum, Point, Status, Stepper, Structure,
    Tolerance, Values, Work,
};
use support::{Kept, Quadratic, Setting, apart, assert_order, run, slope, until};

const EIGENVALUES: [f64; 2] = [1.0, 0.3];

/// The state of sample 1 at time t: with s = t sqrt(lambda), z = 1 - 2 J1(s) / s, and dz/dt = 2 sqrt(lambda) J2(s) / s.
fn exact(t: f64) -> Vec<f64> {
    let s = EIGENVALUES.map(|lambda| t * lambda.sqrt());
    let z = s.map(|s| 1.0 - 2.0 * libm::j1(s) / s);
    let m = s.map(|s| 2.0 * libm::jn(2, s) / s);
    vec![z[0], z[1], m[0] * EIGENVALUES[0].sqrt(), m[1] * EIGENVALUES[1].sqrt()]
}

fn nesterov(restart: bool) -> Momentum<Quadratic> {
    Momentum::new(Quadratic::new(&EIGENVALUES, 1), restart, 1)
}

fn integrated(method: (&mut dyn Stepper, &dyn StepController), t_end: f64) -> Kept {
    run(&mut nesterov(false), method, &mut (1..2), until(t_end))
}

fn errors(stepper: &mut dyn Stepper, counts: &[u32]) -> Vec<(f64, f64)> {
    let t_end = 10.0;
    let mut error = |&steps: &u32| {
        let grid = Grid::Uniform;
        let kept = integrated((&mut *stepper, &Fixed { t_end, steps, grid }), t_end);
        assert_eq!(
            (kept.done[0].status, kept.done[0].work.steps),
            (Status::HorizonReached, steps)
        );
        (t_end / f64::from(steps), apart(&kept.done[0].z, &exact(t_end)))
    };
    counts.iter().map(&mut error).collect()
}

fn explicit(tableau: &'static Tableau) -> RungeKutta {
    RungeKutta::new(tableau, Tolerance::default(), 4, 1)
}

#[test]
fn rk4_keeps_its_order_through_the_singular_start() {
    assert_order(
        "rk4 from rest",
        4.0,
        &errors(&mut explicit(&RK4), &[40, 80, 160, 320, 640]),
    );
}

#[test]
fn the_order_of_the_semi_implicit_euler_step_is_one() {
    let points = errors(&mut SemiImplicit::new(4), &[200, 400, 800, 1600, 3200]);
    assert_order("semi-implicit Euler", 1.0, &points);
}

#[test]
fn tsit5_meets_its_tolerance_from_rest() {
    let error = |exponent: &i32| {
        let tol = 10f64.powi(*exponent);
        let tolerance = Tolerance { rtol: tol, atol: tol };
        let mut stepper = RungeKutta::new(&TSIT5, tolerance, 4, 1);
        let kept = integrated((&mut stepper, &Pi::new(tolerance)), 10.0);
        assert_eq!(kept.done[0].status, Status::HorizonReached);
        let all = kept
            .steps
            .iter()
            .zip(&kept.states)
            .map(|(step, z)| apart(z, &exact(step.t)));
        (tol, all.fold(0.0, f64::max))
    };
    let points: Vec<(f64, f64)> = [-3, -4, -5, -6, -7, -8, -9].iter().map(error).collect();
    let found = slope(&points);
    println!("tsit5 from rest: slope {found:.3} of {points:?}");
    assert!((0.8..=1.2).contains(&found), "slope {found} of {points:?}");
    // Of some dozens of steps, each in error by the tolerance at most, over 10 units of time.
    assert!(points.iter().all(|(tol, error)| error < &(10.0 * tol)), "{points:?}");
}

/// The flow itself, with its restarts watched: no restart may come where grad . m <= 0, and none may be left out.
struct Watched {
    flow: Momentum<Quadratic>,
    restarts: u32,
    accepted: u32,
    uphill: u32,
}

impl Watched {
    fn new(restart: bool) -> Self {
        Watched {
            flow: nesterov(restart),
            restarts: 0,
            accepted: 0,
            uphill: 0,
        }
    }
}

impl Lanewise for Watched {
    fn admit(&mut self, lane: usize, sample: usize, z0: &[f64]) {
        self.flow.admit(lane, sample, z0);
    }

    fn relocate(&mut self, from: usize, to: usize) {
        self.flow.relocate(from, to);
    }
}

impl Flow for Watched {
    fn dim(&self) -> usize {
        self.flow.dim()
    }

    fn eval(&mut self, at: Point<'_>, to: Values<'_>, work: &mut [Work]) -> Result<(), FlowError> {
        self.flow.eval(at, to, work)
    }

    fn jacobian(
        &mut self,
        at: Point<'_>,
        c: Curvature,
        blocks: &mut [f64],
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        self.flow.jacobian(at, c, blocks, work)
    }

    fn jvp(
        &mut self,
        at: Point<'_>,
        c: Curvature,
        v: Cols<'_>,
        jv: ColsMut<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        self.flow.jvp(at, c, v, jv, work)
    }

    fn structure(&self, curvature: Curvature) -> Structure {
        self.flow.structure(curvature)
    }

    fn positions(&self) -> usize {
        self.flow.positions()
    }

    fn inertial(&self) -> Option<&dyn Inertial> {
        self.flow.inertial()
    }

    fn accepted(&mut self, lane: usize, t: f64, z: &mut [f64], f: &mut [f64]) -> bool {
        let before = z.to_vec();
        let gradient: Vec<f64> = (0..2).map(|i| EIGENVALUES[i] * (z[i] - 1.0)).collect();
        let along = gradient[0] * z[2] + gradient[1] * z[3];
        let changed = self.flow.accepted(lane, t, z, f);
        self.accepted += 1;
        self.uphill += u32::from(along > 0.0);
        self.restarts += u32::from(changed);
        if changed {
            assert!(along > 0.0, "dropped at {along}");
            assert_eq!(z, [before[0], before[1], 0.0, 0.0]);
            // As at t = 0: the velocity is zero and the friction's limit leaves a quarter of the force.
            let quarter: Vec<f64> = gradient.iter().map(|g| -0.25 * g).collect();
            assert!(
                f[..2] == [0.0; 2] && apart(&f[2..], &quarter) < 1e-12,
                "{f:?} {quarter:?}"
            );
        } else {
            assert_eq!(z, before);
        }
        changed
    }
}

#[test]
fn momentum_is_dropped_where_it_points_uphill_and_the_oscillation_ends_sooner() {
    let gtol = GradNorm { gtol: 1e-6 };
    let with = Setting {
        stop: &[&gtol],
        ..until(1e4)
    };
    let fixed = Fixed {
        t_end: 1e4,
        steps: 100_000,
        grid: Grid::Uniform,
    };
    let steps = [false, true].map(|restart| {
        let (mut flow, mut stepper) = (Watched::new(restart), SemiImplicit::new(4));
        let kept = run(&mut flow, (&mut stepper, &fixed), &mut (1..2), with);
        let done = &kept.done[0];
        assert_eq!((done.status, flow.accepted), (Status::Converged, done.work.steps));
        assert_eq!(flow.restarts, if restart { flow.uphill } else { 0 });
        assert!(flow.uphill > 0);
        done.work.steps
    });
    println!("steps without and with restart: {steps:?}");
    assert!(2 * steps[1] < steps[0], "{steps:?}");
}

#[test]
fn with_restart_the_decrease_rule_ends_the_oscillation_without_a_forced_step() {
    let gtol = GradNorm { gtol: 1e-6 };
    let with = Setting {
        stop: &[&gtol],
        ..until(1e4)
    };
    let decrease = Decrease {
        dt0: 0.1,
        dt_max: 0.5,
        ..Decrease::default()
    };
    let (mut flow, mut stepper) = (Watched::new(true), SemiImplicit::new(4));
    let kept = run(&mut flow, (&mut stepper, &decrease), &mut (1..2), with);
    let done = &kept.done[0];
    assert_eq!((done.status, done.work.forced), (Status::Converged, 0), "{done:?}");
    // |g| <= 1e-6 with a least eigenvalue of 0.3.
    assert!(flow.restarts > 0 && apart(&done.z[..2], &[1.0, 1.0]) < 4e-6, "{done:?}");
    assert!(kept.steps.windows(2).all(|pair| pair[1].loss <= pair[0].loss));
}

/// Jacobian and products against central differences of the slope: at the limit t = 0, later, and on a restarted clock.
#[test]
fn the_jacobian_of_the_second_order_flow_is_its_derivative() {
    let mut flow = nesterov(true);
    flow.admit(0, 1, &[0.0; 4]);
    let slope_at = |flow: &mut Momentum<Quadratic>, t: f64, state: &[f64]| -> Vec<f64> {
        let (mut f, mut work) = (faer::Mat::zeros(4, 1), [Work::default()]);
        let (mut objective, mut loss, mut grad_sq, mut failed) = ([0.0], [0.0], [0.0], [false]);
        let values = Values {
            f: f.as_mut(),
            objective: &mut objective,
            loss: &mut loss,
            grad_sq: &mut grad_sq,
            failed: &mut failed,
        };
        let z = faer::Mat::from_fn(4, 1, |i, _| state[i]);
        let at = Point {
            lanes: &[0],
            t: &[t],
            z: z.as_ref(),
        };
        flow.eval(at, values, &mut work).expect("the test flow never fails");
        f.col_as_slice(0).to_vec()
    };
    let check = |flow: &mut Momentum<Quadratic>, t: f64| {
        let state = [0.3, -0.7, 0.2, 0.5];
        let z = faer::Mat::from_fn(4, 1, |i, _| state[i]);
        let at = Point {
            lanes: &[0],
            t: &[t],
            z: z.as_ref(),
        };
        let (mut block, mut work) = ([f64::NAN; 16], [Work::default()]);
        flow.jacobian(at, Curvature::Exact, &mut block, &mut work)
            .expect("the test flow never fails");
        for j in 0..4 {
            let moved = |h: f64| {
                (0..4)
                    .map(|i| if i == j { state[i] + h } else { state[i] })
                    .collect::<Vec<_>>()
            };
            let (up, down) = (slope_at(flow, t, &moved(1e-3)), slope_at(flow, t, &moved(-1e-3)));
            let direction = faer::Mat::from_fn(4, 1, |i, _| f64::from(u8::from(i == j)));
            let mut product = faer::Mat::zeros(4, 1);
            let to = product.as_mut();
            flow.jvp(at, Curvature::Exact, direction.as_ref(), to, &mut work)
                .expect("the test flow never fails");
            for i in 0..4 {
                let difference = (up[i] - down[i]) / 2e-3;
                assert!(
                    (block[4 * j + i] - difference).abs() < 1e-9,
                    "t {t}, ({i}, {j}): {} {difference}",
                    block[4 * j + i]
                );
                assert!((product[(i, 0)] - difference).abs() < 1e-9);
            }
        }
    };
    check(&mut flow, 0.0);
    check(&mut flow, 2.5);
    // Uphill: the gradient at z = (5, 5) points away from the minimum at (1, 1), and so does m.
    let mut state = [5.0, 5.0, 1.0, 1.0];
    let mut f = slope_at(&mut flow, 4.0, &state);
    assert!(flow.accepted(0, 4.0, &mut state, &mut f) && state[2..] == [0.0, 0.0]);
    assert_eq!(
        f,
        slope_at(&mut flow, 4.0, &state),
        "the slope told after a restart is that of its limit"
    );
    check(&mut flow, 4.0);
    check(&mut flow, 5.0);
}
