//! Heun's method of order 2, from a crate of its own, beside rk4 in the table of work and precision.

use gfe_ode::control::{Fixed, Grid};
use gfe_ode::problems::{self, Problem};
use gfe_ode::study::{Batched, Contender, Goal, Parts, methods, work_precision};
use gfe_ode::{Flow, FlowError, Lanewise, Point, Start, Stepper, Trial, Values, Work};

/// z1 = z + (h/2) (f(t, z) + f(t + h, z + h f(t, z))), for one lane.
struct Heun {
    dim: usize,
}

impl Lanewise for Heun {
    fn admit(&mut self, _lane: usize, _sample: usize, _z0: &[f64]) {}
    fn relocate(&mut self, _from: usize, _to: usize) {}
}

impl Stepper for Heun {
    fn order(&self) -> u32 {
        2
    }

    fn attempt(
        &mut self,
        flow: &mut dyn Flow,
        from: Start<'_>,
        mut to: Trial<'_>,
        work: &mut [Work],
    ) -> Result<(), FlowError> {
        let h = from.h[0];
        for i in 0..self.dim {
            to.z[(i, 0)] = from.z[(i, 0)] + h * from.f[(i, 0)];
        }
        let mut slope = from.f.to_owned();
        let (mut objective, mut loss, mut grad_sq, mut failed) = ([0.0], [0.0], [0.0], [false]);
        let values = Values {
            f: slope.as_mut(),
            objective: &mut objective,
            loss: &mut loss,
            grad_sq: &mut grad_sq,
            failed: &mut failed,
        };
        let at = Point {
            lanes: from.lanes,
            t: &[from.t[0] + h],
            z: to.z.as_ref(),
        };
        flow.eval(at, values, work)?;
        for i in 0..self.dim {
            to.z[(i, 0)] = from.z[(i, 0)] + 0.5 * h * (from.f[(i, 0)] + slope[(i, 0)]);
        }
        to.predicted.fill(f64::NAN);
        to.solved.fill(!failed[0]);
        Ok(())
    }
}

fn main() -> Result<(), FlowError> {
    let heun = Batched {
        name: "heun".to_owned(),
        goal: Goal::Trajectory,
        stiff: false,
        make: |problem: &Problem, tolerance: f64| {
            let steps = (10.0 / tolerance.sqrt()) as u32;
            let (t_end, grid) = (problem.t_end, Grid::Uniform);
            Parts {
                stepper: Box::new(Heun { dim: problem.z0.len() }),
                controller: Box::new(Fixed { t_end, steps, grid }),
                stop: Vec::new(),
                t_end,
                max_steps: steps + 1,
            }
        },
    };
    let rk4 = methods::named("rk4").ok_or_else(|| FlowError("rk4 is there".into()))?;
    let problems: Vec<Problem> = problems::named("brusselator").into_iter().collect();
    let contenders: [&dyn Contender; 2] = [&heun, &*rk4];
    for row in work_precision(&problems, &contenders, &[1e-4, 1e-6, 1e-8]) {
        println!(
            "{} {} {:e} {:e} {}",
            row.problem, row.solver, row.tolerance, row.error, row.work.evaluations
        );
    }
    Ok(())
}
