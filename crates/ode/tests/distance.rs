//! The estimated distance to the minimum ends a sample only by a Hessian of the state that the sample ends at.

mod support;

use gfe_ode::control::Trust;
use gfe_ode::implicit::{LinearEuler, MatrixFreeEuler};
use gfe_ode::problems::Columns;
use gfe_ode::stop::Edm;
use gfe_ode::{Cols, ColsMut, Curvature, Flow, FlowError, Lanewise, Point, Status, Structure, Values, Work};
use support::equations::{exponentials, rosenbrock};
use support::{Setting, Starts, flow, run, until};

/// Remembers where the last Jacobian of a single lane was computed.
struct Watched {
    flow: Columns,
    last: Vec<f64>,
    jacobians: u32,
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
        assert_eq!((at.lanes, c), (&[0usize][..], Curvature::GaussNewton));
        self.last = at.z.col(0).iter().copied().collect();
        self.jacobians += 1;
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
        self.last = at.z.col(0).iter().copied().collect();
        self.flow.jvp(at, c, v, jv, work)
    }

    fn structure(&self, curvature: Curvature) -> Structure {
        self.flow.structure(curvature)
    }
}

#[test]
fn the_distance_ends_a_sample_only_by_a_hessian_of_that_very_state() {
    let edm_rule = Edm {
        edm_tol: 1e-6,
        values: 1.0,
        relative: false,
    };
    let with = Setting {
        stop: &[&edm_rule],
        ..until(f64::INFINITY)
    };
    for every in [Some(3), Some(1000), None] {
        for start in (0..6).map(|i| vec![1.0 + 0.1 * f64::from(i), 1.0, 0.5, 2.0 - 0.1 * f64::from(i)]) {
            let mut flow = Watched {
                flow: flow(exponentials()),
                last: Vec::new(),
                jacobians: 0,
            };
            let mut stepper = LinearEuler::new(every, 4, 1);
            let starts = [start.clone()];
            let kept = run(
                &mut flow,
                (&mut stepper, &Trust::default()),
                &mut Starts(&starts, 0),
                with,
            );
            let done = &kept.done[0];
            assert_eq!(
                (done.status, &done.z),
                (Status::Converged, &flow.last),
                "{every:?} {start:?}"
            );
            assert!(done.edm.is_some_and(|edm| edm <= 1e-6) && done.work.jacobians == flow.jacobians);
            assert!(flow.jacobians < done.work.steps, "most steps reuse a Hessian");
        }
    }
    let starts = [vec![-1.2, 1.0]];
    let mut watched = Watched {
        flow: flow(rosenbrock()),
        last: Vec::new(),
        jacobians: 0,
    };
    let mut stepper = MatrixFreeEuler::new(2, 1);
    let kept = run(
        &mut watched,
        (&mut stepper, &Trust::default()),
        &mut Starts(&starts, 0),
        with,
    );
    assert_eq!(
        (kept.done[0].status, &kept.done[0].z),
        (Status::Converged, &watched.last)
    );
    assert!(kept.done[0].edm.is_some());
}
