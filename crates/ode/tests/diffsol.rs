//! diffsol's methods behind our queue and sink: their accuracy, their stops, and what becomes of their failures.

mod support;

use gfe_ode::diffsol::{Integration, Scheme, integrate};
use gfe_ode::problems::{self, Equations, Problem};
use gfe_ode::stop::{GradNorm, Terminator};
use gfe_ode::study::{Contender, methods};
use gfe_ode::{Curvature, Status, Tolerance};
use support::{Kept, Quadratic, Starts, apart, flow, slope};

fn how(scheme: Scheme) -> Integration<'static> {
    Integration {
        scheme,
        tolerance: Tolerance { rtol: 1e-6, atol: 1e-8 },
        curvature: Curvature::Exact,
        stop: &[],
        t_end: 1.0,
        max_steps: 100_000,
        at: &[],
    }
}

fn problem(name: &str) -> Problem {
    problems::named(name).unwrap_or_else(|| panic!("there is no problem {name}"))
}

fn solver(name: &str) -> Box<dyn Contender> {
    methods::named(name).unwrap_or_else(|| panic!("there is no method {name}"))
}

/// Error over tolerance, on a nonlinear and on a linear problem.
#[test]
fn the_error_follows_the_tolerance() {
    for (name, least, most) in [("tsit45", 0.8, 1.2), ("tr_bdf2", 0.5, 0.85), ("esdirk34", 0.6, 0.95)] {
        for problem in [problem("brusselator"), problem("linear")] {
            let mut points = Vec::new();
            for digits in 4..=9 {
                let tolerance = 10f64.powi(-digits);
                let solved = solver(name).solve(&problem, tolerance).expect("the flow never fails");
                assert_eq!(solved.status, Status::HorizonReached);
                points.push((tolerance, apart(&solved.z, problem.end())));
            }
            let found = slope(&points);
            println!("{name} on {}: {found:.3}", problem.name);
            assert!(
                (least..=most).contains(&found),
                "{name} on {}: {found} of {points:?}",
                problem.name
            );
        }
    }
}

/// Where a method of order 2 ends beyond 1000 times the tolerance: error over tolerance grows as tolerance^(-1/3).
const BEYOND: [(&str, f64); 3] = [
    ("hires by tr_bdf2 at 1e-8", 1600.0),
    ("oregonator by tr_bdf2 at 1e-7", 1700.0),
    ("oregonator by tr_bdf2 at 1e-8", 5500.0),
];

/// Error over atol + rtol |y|, or what diffsol says, on the published problems at rtol 1e-4 to 1e-8.
#[test]
fn the_published_values_are_reached() {
    let mut failed = Vec::new();
    for problem in problems::all() {
        let Some(published) = &problem.published else { continue };
        for (name, most) in [
            ("bdf", 100.0),
            ("tr_bdf2", 1000.0),
            ("esdirk34", 1000.0),
            ("tsit45", 1000.0),
        ] {
            let method = solver(name);
            if !method.suits(&problem) {
                continue;
            }
            for digits in 4..=8 {
                let rtol = 10f64.powi(-digits);
                let solved = method.solve(&problem, rtol).expect("the flow never fails");
                if solved.status == Status::SolveFailed && name != "bdf" {
                    let said = solved.message.expect("diffsol's message");
                    assert!(
                        said.starts_with(&format!("{name}: ")) && said.len() > name.len() + 10,
                        "{said}"
                    );
                    failed.push(format!("{} by {name} at {rtol:e}: {said}", problem.name));
                    continue;
                }
                assert_eq!(
                    solved.status,
                    Status::HorizonReached,
                    "{} by {name} at {rtol:e}",
                    problem.name
                );
                let atol = problem.atol_per_rtol * rtol;
                let scaled = solved
                    .z
                    .iter()
                    .zip(published)
                    .map(|(z, y)| (z - y).abs() / (atol + rtol * y.abs()));
                let worst = scaled.fold(0.0, f64::max);
                let run = format!("{} by {name} at {rtol:e}", problem.name);
                println!("{run}: {worst:.1}");
                let beyond = BEYOND.iter().find(|(known, _)| *known == run);
                let most = beyond.map_or(most, |(_, most)| *most);
                assert!(worst <= most, "{} by {name} at {rtol:e}: {worst}", problem.name);
            }
        }
    }
    // None is left to diffsol 0.18's limit of failures over a whole integration: a change here is news.
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn a_small_gradient_ends_a_sample_and_one_at_its_optimum_takes_no_step() {
    let gtol = GradNorm { gtol: 1e-6 };
    let stop: &[&dyn Terminator] = &[&gtol];
    for scheme in Scheme::ALL {
        let mut kept = Kept::default();
        let how = Integration {
            stop,
            t_end: 1e4,
            // The gradient of a looser solution may stay above gtol for ever.
            tolerance: Tolerance { rtol: 1e-9, atol: 1e-9 },
            ..how(scheme)
        };
        integrate(&mut Quadratic::new(&[1.0, 0.1], 1), &how, &mut (0..3), &mut kept).expect("the flow never fails");
        let steps: Vec<u32> = kept.done.iter().map(|done| done.work.steps).collect();
        assert!(
            kept.done
                .iter()
                .all(|done| done.status == Status::Converged && done.grad_norm <= 1e-6)
        );
        assert!(steps[0] == 0 && steps[1] > 5 && steps[2] > 5, "{scheme:?}: {steps:?}");
        assert!(kept.done[2].t < 1e3);
    }
}

#[test]
fn states_are_told_at_the_times_asked_for() {
    let at = [0.0, 0.25, 0.5, 1.0];
    for scheme in Scheme::ALL {
        let mut kept = Kept::default();
        let how = Integration { at: &at, ..how(scheme) };
        integrate(&mut Quadratic::new(&[2.0], 1), &how, &mut (1..2), &mut kept).expect("the flow never fails");
        let times: Vec<f64> = kept.steps.iter().map(|step| step.t).collect();
        assert_eq!(times, at, "{scheme:?}");
        for (t, z) in at.iter().zip(&kept.states) {
            let exact = 1.0 - (-2.0 * t).exp();
            assert!((z[0] - exact).abs() < 2e-4, "{scheme:?} at {t}: {} {exact}", z[0]);
        }
    }
}

/// z' = z^2 from 1 ends at t = 1; with `hole`, NaN beyond z = 2.
struct Blowup {
    hole: bool,
}

impl Equations for Blowup {
    fn dim(&self) -> usize {
        1
    }

    fn slope(&self, _t: f64, z: &[f64], f: &mut [f64]) {
        f[0] = if self.hole && z[0] > 2.0 { f64::NAN } else { z[0] * z[0] };
    }

    fn jacobian(&self, _t: f64, z: &[f64], jacobian: &mut [f64]) {
        jacobian[0] = 2.0 * z[0];
    }
}

#[test]
fn what_diffsol_gives_up_or_passes_in_silence_ends_one_sample_alone() {
    for scheme in Scheme::ALL {
        for hole in [false, true] {
            let mut kept = Kept::default();
            let starts = [vec![1.0], vec![0.1]];
            let how = Integration {
                t_end: 2.0,
                max_steps: 5000,
                ..how(scheme)
            };
            integrate(&mut flow(Blowup { hole }), &how, &mut Starts(&starts, 0), &mut kept)
                .expect("the flow never fails");
            let [broken, fine] = &kept.done[..] else {
                panic!("two samples")
            };
            println!("{scheme:?} {hole}: {:?} at {}", broken.status, broken.t);
            assert!(
                matches!(
                    broken.status,
                    Status::SolveFailed | Status::NotFinite | Status::MaxSteps
                ),
                "{scheme:?}: {broken:?}"
            );
            assert!(
                broken.z[0].is_finite() && broken.t < 1.0 + 1e-3,
                "the last good state: {broken:?}"
            );
            assert_eq!(fine.status, Status::HorizonReached);
            assert!((fine.z[0] - 0.125).abs() < 1e-5);
        }
    }
}

#[test]
fn a_broken_flow_and_too_few_steps_have_their_own_status() {
    for scheme in Scheme::ALL {
        let mut broken = Quadratic::new(&[1.0], 1);
        broken.broken = Some(2);
        let mut kept = Kept::default();
        let how = Integration {
            max_steps: 3,
            ..how(scheme)
        };
        integrate(&mut broken, &how, &mut (1..3), &mut kept).expect("one sample is no flow");
        assert_eq!(
            (kept.done[0].status, kept.done[0].work.steps),
            (Status::MaxSteps, 3),
            "{scheme:?}"
        );
        assert_eq!(kept.done[1].status, Status::DecoderFailed, "{scheme:?}");
    }
}
