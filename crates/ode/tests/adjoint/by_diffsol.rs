//! diffsol's methods.

use crate::settings::{Setting, loss, settings};
use crate::waves::{DIM, PARAMS, THETA};
use faer::Mat;
use gfe_ode::adjoint::{Discrete, Step};
use gfe_ode::diffsol::{Integration, Scheme};
use gfe_ode::{Curvature, Tolerance, diffsol};

/// The exact gradient for one sample, by many small steps.
fn fine(setting: &Setting, t_end: f64) -> (Mat<f64>, Mat<f64>, Vec<f64>) {
    let h = t_end / 4000.0;
    let steps = vec![(0..4000).map(|i| Step { t: h * f64::from(i), h }).collect::<Vec<_>>()];
    let z0 = setting.starts(1);
    let ends = setting.replay(&THETA, &z0, &steps);
    let (z_bar, params_bar, _) = setting.gradient(&Discrete::new(setting.rule), &z0, &steps);
    (ends, z_bar, params_bar)
}

fn relative(a: &[f64], b: &[f64]) -> f64 {
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    norm(&mut a.iter().zip(b).map(|(a, b)| a - b)) / norm(&mut b.iter().copied())
}

#[test]
fn the_adjoint_of_each_of_diffsols_methods_is_right_to_its_tolerance_for_both_orders() {
    for (name, second_order) in [("rk4", false), ("rk4 of second order", true)] {
        let mut settings = settings();
        let setting = settings.iter_mut().find(|setting| setting.name == name);
        let setting = setting.expect("it is in the list");
        if second_order {
            // With a rate that decays esdirk34 itself goes astray from the singular start, whatever the tolerance.
            setting.decay = 0.0;
        }
        let (ends, z_bar, params_bar) = fine(setting, 6.0);
        let z0 = setting.starts(1);
        for scheme in Scheme::ALL {
            for (rtol, most) in [(1e-5, 3e-4), (1e-8, 3e-6)] {
                let how = Integration {
                    scheme,
                    tolerance: Tolerance {
                        rtol,
                        atol: 1e-2 * rtol,
                    },
                    curvature: Curvature::Exact,
                    stop: &[],
                    t_end: 6.0,
                    max_steps: 100_000,
                    at: &[],
                };
                let mut flow = setting.flow(&THETA, 1);
                let (_, bar) = loss(&ends);
                let (mut z, mut params) = (bar.col_as_slice(0).to_vec(), vec![0.0; PARAMS]);
                let start = (0, z0.col_as_slice(0));
                let outcome = diffsol::adjoint::pull_back(&mut *flow, &how, 1, start, &mut z, &mut params);
                let outcome = outcome.expect("the flow never breaks down");
                assert_eq!(
                    outcome.failed, None,
                    "{scheme:?} at {rtol:e}, second order {second_order}"
                );
                // A velocity of 0 at the start is no choice: its derivative is not asked for.
                let apart = relative(&z[..DIM], &z_bar.col_as_slice(0)[..DIM]);
                let params_apart = relative(&params, &params_bar);
                println!(
                    "{scheme:?} at {rtol:e}, second order {second_order}: {apart:.1e} {params_apart:.1e}, {} products",
                    outcome.work.hvps
                );
                assert!(apart < most && params_apart < most);
            }
        }
    }
}
