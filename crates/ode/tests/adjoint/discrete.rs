//! Explicit methods.

use crate::settings::{loss, paths, settings};
use crate::waves::{DIM, PARAMS, THETA, Waves};
use faer::Mat;
use gfe_ode::adjoint::{Discrete, Path, Rule, Step, pull_back};
use gfe_ode::{Flow, Momentum, Work};

#[test]
fn steps_taken_again_end_in_the_same_bits_for_every_method() {
    for setting in settings() {
        for lanes in [1, 3, 7] {
            let kept = setting.integrate(5, lanes);
            let ends = setting.replay(&THETA, &setting.starts(5), &kept.steps);
            for (b, end) in kept.ends.iter().enumerate() {
                let bits = |z: &[f64]| z.iter().map(|z| z.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(ends.col_as_slice(b)), bits(end), "{}, sample {b}", setting.name);
            }
        }
    }
}

#[test]
fn the_adjoint_is_the_derivative_of_the_steps_for_every_method_and_both_orders() {
    for setting in settings() {
        let kept = setting.integrate(5, 3);
        let (z0, steps) = (setting.starts(5), &kept.steps);
        let (z_bar, params_bar, outcome) = setting.gradient(&Discrete::new(setting.rule), &z0, steps);
        assert_eq!(outcome.failed, [false; 5]);
        // Central differences of step 1e-5: truncation of 1e-10 and rounding of 1e-11.
        let close = |a: f64, b: f64| (a - b).abs() < 1e-8 * (1.0 + b.abs());
        for i in 0..PARAMS {
            let at = |h: f64| {
                let mut theta = THETA;
                theta[i] += h;
                loss(&setting.replay(&theta, &z0, steps)).0
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!(
                close(params_bar[i], difference),
                "{}, parameter {i}: {} {difference}",
                setting.name,
                params_bar[i]
            );
        }
        for b in 0..5 {
            for r in 0..z0.nrows() {
                let at = |h: f64| {
                    let mut z0 = z0.clone();
                    z0[(r, b)] += h;
                    loss(&setting.replay(&THETA, &z0, steps)).0
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!(
                    close(z_bar[(r, b)], difference),
                    "{}, sample {b}, component {r}: {} {difference}",
                    setting.name,
                    z_bar[(r, b)]
                );
            }
        }
    }
}

#[test]
fn forced_steps_are_there_and_samples_differ_in_their_number_of_steps() {
    let settings = settings();
    let of = |name: &str| {
        let setting = settings.iter().find(|setting| setting.name == name);
        setting.expect("it is in the list").integrate(5, 3).steps
    };
    let forced = of("amd, forced");
    assert!(forced[0].windows(2).all(|pair| pair[1].t - pair[0].t > 4.0 * pair[0].h));
    let counts: Vec<usize> = of("tsit5").iter().map(Vec::len).collect();
    assert!(counts.iter().any(|count| *count != counts[0]), "{counts:?}");
}

#[test]
fn ten_thousand_steps_hold_a_few_hundred_states_and_give_the_bits_of_all_states_kept() {
    let setting = &settings()[0];
    let step = |i: usize| Step {
        t: 6e-4 * i as f64,
        h: 6e-4,
    };
    let steps: Vec<Vec<Step>> = [10_000, 9_000, 129, 1, 0]
        .iter()
        .map(|&n| (0..n).map(step).collect())
        .collect();
    let z0 = setting.starts(5);
    let all = Discrete {
        keep: 20_000,
        ..Discrete::new(setting.rule)
    };
    let (z_bar, params_bar, outcome) = setting.gradient(&all, &z0, &steps);
    assert_eq!(outcome.states, 10_000);
    let bits = |z: &Mat<f64>| {
        (0..5)
            .flat_map(|b| z.col_as_slice(b).iter().map(|z| z.to_bits()).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    for (keep, most, evaluations) in [(128, 79 + 129, 19_921), (64, 3 + 64 + 66, 29_000), (7, 40, 50_000)] {
        let how = Discrete { keep, ..all };
        let (z, params, outcome) = setting.gradient(&how, &z0, &steps);
        assert_eq!((bits(&z), &params), (bits(&z_bar), &params_bar), "keep {keep}");
        assert!(outcome.states <= most, "keep {keep}: {} states", outcome.states);
        assert!(
            (outcome.work[0].evaluations as usize) <= evaluations,
            "keep {keep}: {} evaluations",
            outcome.work[0].evaluations
        );
        assert_eq!(outcome.work[4], Work::default());
    }
}

#[test]
fn a_stride_of_the_quadrature_saves_products_and_converges_as_steps_get_finer() {
    let setting = &settings()[0];
    let z0 = setting.starts(3);
    let error = |count: usize, stride: u32| {
        let h = 6.0 / count as f64;
        // The second sample has fewer steps: blocks end at different places.
        let of = |count: usize| (0..count).map(|i| Step { t: h * i as f64, h }).collect::<Vec<_>>();
        let steps = [of(count), of(count - 3), of(count)];
        let exact = setting.gradient(&Discrete::new(setting.rule), &z0, &steps);
        let how = Discrete {
            quadrature_stride: stride,
            ..Discrete::new(setting.rule)
        };
        let coarse = setting.gradient(&how, &z0, &steps);
        // A weight divides the state's part as it has multiplied it: to rounding.
        let apart = (&exact.0 - &coarse.0).norm_max();
        assert!(apart < 1e-12, "{apart}");
        let square: f64 = exact.1.iter().zip(&coarse.1).map(|(a, b)| (a - b).powi(2)).sum();
        square.sqrt() / exact.1.iter().map(|g| g * g).sum::<f64>().sqrt()
    };
    assert_eq!(error(60, 1), 0.0);
    for stride in [3, 5] {
        let (coarse, fine) = (error(60, stride), error(480, stride));
        assert!(coarse < 0.05 && coarse > 0.0, "stride {stride}: {coarse}");
        // Steps 8 times finer: the middle of a block is right to the second order.
        assert!(fine < coarse / 30.0, "stride {stride}: {coarse} {fine}");
    }
    let steps = vec![
        (0..100)
            .map(|i| Step {
                t: 0.06 * i as f64,
                h: 0.06
            })
            .collect::<Vec<_>>();
        3
    ];
    for (stride, products) in [(1, 100), (4, 25), (7, 15)] {
        let mut flow = Waves::new(&THETA, 3);
        let how = Discrete {
            quadrature_stride: stride,
            ..Discrete::new(setting.rule)
        };
        let mut z_bar = Mat::full(DIM, 3, 1.0);
        let outcome = pull_back(&mut flow, &how, &paths(&z0, &steps), z_bar.as_mut(), &mut [0.0; PARAMS]);
        assert_eq!(outcome.expect("the flow never breaks down").work[0].hvps, 100);
        assert_eq!(flow.products_with_params, products);
    }
}

#[test]
fn a_sample_whose_product_is_nan_is_named() {
    let setting = &settings()[0];
    let kept = setting.integrate(5, 3);
    let z0 = setting.starts(5);
    let mut flow = Waves::new(&THETA, 5);
    flow.broken = Some(3);
    let mut z_bar = Mat::full(DIM, 5, 1.0);
    let how = Discrete::new(setting.rule);
    let outcome = pull_back(
        &mut flow,
        &how,
        &paths(&z0, &kept.steps),
        z_bar.as_mut(),
        &mut [0.0; PARAMS],
    );
    assert_eq!(
        outcome.expect("the flow never breaks down").failed,
        [false, false, false, true, false]
    );
}

#[test]
fn a_flow_of_second_order_with_a_restart_has_no_adjoint() {
    assert!(Momentum::new(Waves::new(&THETA, 2), false, 2).adjoint().is_some());
    let mut flow = Momentum::new(Waves::new(&THETA, 2), true, 2);
    assert!(flow.adjoint().is_none());
    let mut z_bar = Mat::zeros(2 * DIM, 1);
    let path = Path {
        sample: 0,
        z0: &[0.0; 2 * DIM],
        steps: &[],
    };
    let how = Discrete::new(Rule::SemiImplicit);
    let refused = pull_back(&mut flow, &how, &[path], z_bar.as_mut(), &mut [0.0; PARAMS]);
    assert!(refused.is_err_and(|error| error.0.contains("cannot be differentiated")));
}
