//! The problems are what they say: derivatives, objectives, references.

use super::network::Loss;
use super::*;
use crate::control::Pi;
use crate::explicit::{RungeKutta, TSIT5};
use crate::{Method, Next, Queue, ResultSink, Retired, Status, StepRecord, Tolerance, integrate};
use faer::{MatRef, Side};

/// The states of the reference.
fn states(problem: &Problem) -> impl Iterator<Item = &[f64]> {
    problem.reference.z.chunks(problem.z0.len())
}

/// The largest size of each component over the reference.
fn sizes(problem: &Problem) -> Vec<f64> {
    let mut sizes = vec![0.0; problem.z0.len()];
    for z in states(problem) {
        sizes.iter_mut().zip(z).for_each(|(size, z)| *size = z.abs().max(*size));
    }
    sizes
}

/// The same, or those of the minimizer where they are larger.
fn scales(problem: &Problem) -> Vec<f64> {
    let mut scales = sizes(problem);
    for (scale, z) in scales.iter_mut().zip(problem.minimizer.iter().flatten()) {
        *scale = z.abs().max(*scale);
    }
    scales
}

fn slope(problem: &Problem, z: &[f64]) -> Vec<f64> {
    let mut f = vec![0.0; z.len()];
    problem.equations.slope(0.0, z, &mut f);
    f
}

/// Gauss-Newton and exact, column-major.
fn jacobians(problem: &Problem, z: &[f64]) -> [Vec<f64>; 2] {
    let mut both = [vec![0.0; z.len() * z.len()], vec![0.0; z.len() * z.len()]];
    problem.equations.gauss_newton(0.0, z, &mut both[0]);
    problem.equations.jacobian(0.0, z, &mut both[1]);
    both
}

/// z less and plus a step in component j. Relative to the size of the component it is the cube root of eps, nearly.
fn either_side(z: &[f64], j: usize, size: f64) -> ([Vec<f64>; 2], f64) {
    let mut sides = [z.to_vec(), z.to_vec()];
    let h = 1e-5 * size;
    sides[0][j] -= h;
    sides[1][j] += h;
    let width = sides[1][j] - sides[0][j];
    (sides, width)
}

fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().map(f64::abs).fold(0.0, f64::max)
}

#[test]
fn every_name_is_its_own_and_finds_its_problem() {
    let mut names: Vec<String> = all().into_iter().map(|problem| problem.name).collect();
    for name in &names {
        assert_eq!(named(name).expect("a listed problem is found").name, *name);
        assert!(
            name.chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
            "{name}"
        );
    }
    assert!(named("nothing").is_none());
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}

#[test]
fn a_reference_leads_from_the_initial_state_to_the_end() {
    for problem in all() {
        let (name, Trajectory { t, z }) = (&problem.name, &problem.reference);
        assert_eq!(problem.equations.dim(), problem.z0.len(), "{name}");
        assert_eq!(z.len(), t.len() * problem.z0.len(), "{name}");
        assert!((15..=25).contains(&t.len()), "{name}: {} times", t.len());
        assert!(t.windows(2).all(|pair| pair[0] < pair[1]), "{name}");
        assert_eq!((t[0], t[t.len() - 1]), (0.0, problem.t_end), "{name}");
        assert_eq!(&z[..problem.z0.len()], problem.z0, "{name}");
        assert_eq!(
            problem.end(),
            states(&problem).last().expect("a reference has states"),
            "{name}"
        );
        assert!(problem.atol_per_rtol > 0.0, "{name}");
    }
}

#[test]
fn every_jacobian_is_the_derivative_of_the_slope() {
    for problem in all() {
        let (dim, scales) = (problem.z0.len(), scales(&problem));
        for z in states(&problem) {
            let [_, jacobian] = jacobians(&problem, z);
            for i in 0..dim {
                let scale = largest((0..dim).map(|j| jacobian[j * dim + i] * scales[j]));
                for j in 0..dim {
                    let (sides, width) = either_side(z, j, scales[j]);
                    let difference = (slope(&problem, &sides[1])[i] - slope(&problem, &sides[0])[i]) / width;
                    let error = (difference - jacobian[j * dim + i]).abs() * scales[j];
                    // Differences of steps of 1e-5: an error of 1e-10 by truncation, about as much by rounding.
                    assert!(
                        error <= 1e-8 * scale,
                        "{}: {error:e} of {scale:e} at {i}, {j}",
                        problem.name
                    );
                }
            }
        }
    }
}

#[test]
fn the_slope_is_minus_the_gradient_of_the_objective() {
    for problem in all().iter().filter(|problem| problem.minimizer.is_some()) {
        let scales = scales(problem);
        let objective = |z: &[f64]| {
            problem
                .equations
                .objective(z)
                .expect("a gradient flow has an objective")
        };
        for z in states(problem) {
            let f = slope(problem, z);
            let [_, jacobian] = jacobians(problem, z);
            // What the gradient changes by over the whole of a component.
            let scale = largest(jacobian) * largest(scales.iter().copied());
            for j in 0..z.len() {
                let (sides, width) = either_side(z, j, scales[j]);
                let error = ((objective(&sides[1]) - objective(&sides[0])) / width + f[j]).abs();
                // Steps of 1e-5: third derivatives, as large as the second, times their square, and rounding as much.
                assert!(error <= 1e-9 * scale, "{}: {error:e} of {scale:e} at {j}", problem.name);
            }
        }
    }
}

#[test]
fn jacobians_have_the_structure_that_they_claim() {
    for problem in all() {
        let dim = problem.z0.len();
        let (gauss_newton, exact) = problem.equations.structure();
        if problem.minimizer.is_some() {
            assert_eq!(gauss_newton, Structure::NegativeSemidefinite, "{}", problem.name);
        }
        for z in states(&problem) {
            for (jacobian, structure) in jacobians(&problem, z).iter().zip([gauss_newton, exact]) {
                if structure == Structure::General {
                    continue;
                }
                let scale = largest(jacobian.iter().copied());
                let matrix = MatRef::from_column_major_slice(jacobian, dim, dim);
                let asymmetry = largest((0..dim * dim).map(|k| jacobian[k] - jacobian[k % dim * dim + k / dim]));
                assert!(
                    asymmetry <= 1e-14 * scale,
                    "{}: {asymmetry:e} of {scale:e}",
                    problem.name
                );
                if structure == Structure::NegativeSemidefinite {
                    let values = matrix
                        .self_adjoint_eigenvalues(Side::Lower)
                        .expect("small matrices have eigenvalues");
                    let highest = values.into_iter().fold(f64::NEG_INFINITY, f64::max);
                    assert!(highest <= 1e-14 * scale, "{}: {highest:e} of {scale:e}", problem.name);
                }
            }
        }
    }
}

#[test]
fn hessians_are_those_of_gauss_and_newton_where_the_residuals_vanish() {
    let rosenbrock = named("rosenbrock").expect("a listed problem is found");
    let mut pairs = vec![jacobians(&rosenbrock, &[1.0, 1.0])];
    let z = [0.5, -0.25, 0.125, 0.75];
    for loss in [Loss::Squares, Loss::Bernoulli] {
        let mut network = mlp::decoder(loss, vec![0.0; 12]);
        network.y = network.decode(&z);
        if let Loss::Bernoulli = loss {
            network.y.iter_mut().for_each(|y| *y = 1.0 / (1.0 + (-*y).exp()));
        }
        let equations = Arc::new(network);
        pairs.push(jacobians(
            &Problem {
                equations,
                ..mlp::squares()
            },
            &z,
        ));
    }
    for [gauss_newton, exact] in pairs {
        let scale = largest(exact.iter().copied());
        let error = largest(gauss_newton.iter().zip(&exact).map(|(a, b)| a - b));
        assert!(error <= 1e-14 * scale, "{error:e} of {scale:e}");
    }
}

#[test]
fn the_slope_vanishes_at_every_minimizer() {
    for problem in all() {
        let Some(minimizer) = &problem.minimizer else { continue };
        let [_, jacobian] = jacobians(&problem, minimizer);
        let f = largest(slope(&problem, minimizer));
        let scale = largest(jacobian) * largest(minimizer.iter().copied()).max(1.0);
        assert!(f <= 1e-14 * scale, "{}: {f:e} of {scale:e}", problem.name);
    }
}

#[test]
fn minima_are_isolated_but_in_the_problem_of_deficient_rank() {
    for name in ["mlp", "mlp-bce", "rosenbrock", "rank-deficient"] {
        let problem = named(name).expect("a listed problem is found");
        let minimizer = problem.minimizer.as_ref().expect("a gradient flow tends to a minimum");
        let dim = minimizer.len();
        let [_, jacobian] = jacobians(&problem, minimizer);
        let values = MatRef::from_column_major_slice(&jacobian, dim, dim)
            .self_adjoint_eigenvalues(Side::Lower)
            .expect("small matrices have eigenvalues");
        let sizes: Vec<f64> = values.into_iter().map(|value| -value).collect();
        let (low, high) = sizes
            .iter()
            .fold((f64::INFINITY, 0.0f64), |(low, high), &x| (low.min(x), high.max(x)));
        if name == "rank-deficient" {
            assert!(low.abs() <= 1e-14 * high, "{name}: {low:e} to {high:e}");
        } else {
            assert!(high <= 1e4 * low, "{name}: {low:e} to {high:e}");
        }
    }
}

#[test]
fn references_end_at_the_published_states() {
    let mut compared = 0;
    for problem in all() {
        let Some(published) = &problem.published else { continue };
        for (ours, theirs) in problem.end().iter().zip(published) {
            let error = (ours / theirs - 1.0).abs();
            // The least precise published number is the Oregonator's last, right to 2e-13.
            assert!(error <= 1e-12, "{}: {ours:e}, published {theirs:e}", problem.name);
        }
        compared += 1;
    }
    assert_eq!(compared, 6);
}

/// One sample, and the states that it was seen in.
struct Single<'a> {
    z0: Option<&'a [f64]>,
    seen: Vec<f64>,
    status: Option<Status>,
}

impl Queue for Single<'_> {
    fn next(&mut self, to: &mut [f64], _idle: bool) -> Next {
        let Some(z0) = self.z0.take() else {
            return Next::Finished;
        };
        to.copy_from_slice(z0);
        Next::Sample(0)
    }
}

impl ResultSink for Single<'_> {
    fn retired(&mut self, result: &Retired<'_>) {
        self.seen.extend(result.z);
        self.status = Some(result.status);
    }

    fn stepped(&mut self, _step: &StepRecord, _z: &[f64]) {}
}

/// The state at `t_end` by Tsitouras' method.
fn integrated(problem: &Problem, z0: &[f64], t_end: f64) -> Vec<f64> {
    let rtol = 1e-10;
    let tolerance = Tolerance {
        rtol,
        atol: rtol * problem.atol_per_rtol,
    };
    let mut flow = problem.flow();
    let mut stepper = RungeKutta::new(&TSIT5, tolerance, z0.len(), 1);
    let controller = Pi::new(tolerance);
    let method = Method {
        stepper: &mut stepper,
        controller: &controller,
        stop: &[],
        t_end,
        max_steps: 10_000_000,
        lanes: 1,
        at: &[],
    };
    let mut queue = Single {
        z0: Some(z0),
        seen: Vec::new(),
        status: None,
    };
    let mut sink = Single {
        z0: None,
        seen: Vec::new(),
        status: None,
    };
    integrate(&mut flow, method, &mut queue, &mut sink).expect("a test problem can be evaluated");
    assert_eq!(sink.status, Some(Status::HorizonReached), "{}", problem.name);
    sink.seen
}

/// The largest row sum of the Jacobian, in units of the sizes: not less than the largest eigenvalue.
fn rate(problem: &Problem, z: &[f64], sizes: &[f64]) -> f64 {
    let dim = z.len();
    let [_, jacobian] = jacobians(problem, z);
    let sum = |i: usize| (0..dim).map(|j| jacobian[j * dim + i].abs() * sizes[j]).sum::<f64>() / sizes[i];
    largest((0..dim).map(sum))
}

#[test]
fn references_satisfy_their_equations() {
    for problem in all() {
        let (sizes, t) = (sizes(&problem), &problem.reference.t);
        let rows: Vec<&[f64]> = states(&problem).collect();
        let mut walked = 0;
        for (k, row) in rows.windows(2).enumerate() {
            let h = t[k + 1] - t[k];
            let rate = rate(&problem, row[0], &sizes).max(rate(&problem, row[1], &sizes));
            // Of the stiff ones, the rows that take an explicit method less than some 1e5 steps.
            if problem.stiff && rate * h > 2e5 {
                continue;
            }
            walked += 1;
            let ours = integrated(&problem, row[0], h);
            for ((ours, theirs), size) in ours.iter().zip(row[1]).zip(&sizes) {
                let error = (ours - theirs).abs() / size;
                assert!(
                    error <= 1e-8,
                    "{}: {ours:e}, not {theirs:e}, at t = {}",
                    problem.name,
                    t[k + 1]
                );
            }
        }
        assert!(walked > 0, "{}", problem.name);
    }
}
