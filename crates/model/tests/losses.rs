//! The losses against central differences and their definitions.

use faer::Mat;
use gfe_model::{BadDatum, Loss, LossKind, Targets};

/// Decoded values with data that every loss admits.
fn point() -> (Mat<f64>, Mat<f64>, Mat<f64>) {
    let x = Mat::from_fn(5, 3, |i, b| (1.3 * i as f64 - 2.0 * b as f64 + 0.4).sin() * 2.0);
    let y = Mat::from_fn(5, 3, |i, b| 0.5 + 0.4 * (0.7 * i as f64 + b as f64).cos());
    let w = Mat::from_fn(5, 3, |i, b| if i == 1 { 0.0 } else { 0.3 + 0.2 * (i + b) as f64 });
    (x, y, w)
}

fn eval(loss: &dyn Loss, x: &Mat<f64>, y: Targets<'_>) -> (Vec<f64>, Mat<f64>) {
    let mut value = vec![f64::NAN; x.ncols()];
    let mut x_bar = Mat::from_fn(x.nrows(), x.ncols(), |_, _| f64::NAN);
    loss.eval(x.as_ref(), y, &mut value, Some(x_bar.as_mut()));
    (value, x_bar)
}

fn moved(x: &Mat<f64>, at: (usize, usize), h: f64) -> Mat<f64> {
    let mut x = x.clone();
    x[at] += h;
    x
}

#[test]
fn gradient_and_curvature_agree_with_central_differences() {
    // Step 1e-5 on values of size 1: truncation and rounding are near 1e-10.
    let (h, tolerance) = (1e-5, 1e-9);
    let (x, y, w) = point();
    for kind in LossKind::ALL {
        let loss = kind.loss();
        for w in [None, Some(w.as_ref())] {
            let targets = Targets { y: y.as_ref(), w };
            let (_, x_bar) = eval(loss, &x, targets);
            let mut diagonal = Mat::from_fn(5, 3, |_, _| f64::NAN);
            loss.curvature(x.as_ref(), targets, diagonal.as_mut());
            for (i, b) in (0..5).flat_map(|i| (0..3).map(move |b| (i, b))) {
                let (above, slope_above) = eval(loss, &moved(&x, (i, b), h), targets);
                let (below, slope_below) = eval(loss, &moved(&x, (i, b), -h), targets);
                let slope = (above[b] - below[b]) / (2.0 * h);
                let second = (slope_above[(i, b)] - slope_below[(i, b)]) / (2.0 * h);
                assert!(
                    (slope - x_bar[(i, b)]).abs() < tolerance,
                    "{kind:?} gradient of value {i} of lane {b}"
                );
                assert!(
                    (second - diagonal[(i, b)]).abs() < tolerance,
                    "{kind:?} curvature of value {i} of lane {b}"
                );
                assert!(diagonal[(i, b)] >= 0.0);
            }
        }
    }
}

#[test]
fn a_masked_value_is_never_read() {
    let (x, y, w) = point();
    let mut holes = y.clone();
    (0..3).for_each(|b| holes[(1, b)] = f64::NAN);
    for kind in LossKind::ALL {
        let loss = kind.loss();
        let whole = eval(
            loss,
            &x,
            Targets {
                y: y.as_ref(),
                w: Some(w.as_ref()),
            },
        );
        let masked = eval(
            loss,
            &x,
            Targets {
                y: holes.as_ref(),
                w: Some(w.as_ref()),
            },
        );
        assert_eq!(whole, masked, "{kind:?}");
        assert_eq!(masked.1[(1, 0)], 0.0);
        let (y, w) = (holes.col_as_slice(0), Some(w.col_as_slice(0)));
        assert_eq!(loss.admits(y, w), Ok(()), "{kind:?}");
        assert_eq!(loss.chi2(x.col_as_slice(0), y, w).is_nan(), kind == LossKind::Bce);
    }
}

#[test]
fn a_loss_divides_by_all_values_however_many_are_masked() {
    let x = Mat::from_fn(4, 2, |_, _| 3.0);
    let y = Mat::from_fn(4, 2, |_, _| 1.0);
    let w = Mat::from_fn(4, 2, |i, _| if i == 0 { 1.0 } else { 0.0 });
    let value = |kind: LossKind| {
        eval(
            kind.loss(),
            &x,
            Targets {
                y: y.as_ref(),
                w: Some(w.as_ref()),
            },
        )
        .0[0]
    };
    assert_eq!(value(LossKind::Mse), 4.0 / 4.0);
    assert_eq!(value(LossKind::Gaussian), 2.0 / 4.0);
    assert_eq!(value(LossKind::Poisson), (3.0_f64.exp() - 3.0) / 4.0);
    assert_eq!(value(LossKind::Bce), (-3.0_f64).exp().ln_1p() / 4.0);
}

#[test]
fn cross_entropy_is_finite_for_every_finite_logit() {
    for logit in [f64::MAX, 1e300, 750.0, 40.0, 0.0, -40.0, -750.0, -1e300, f64::MIN] {
        for datum in [0.0, 0.3, 1.0] {
            let (x, y) = (Mat::from_fn(1, 2, |_, _| logit), Mat::from_fn(1, 2, |_, _| datum));
            let (value, x_bar) = eval(LossKind::Bce.loss(), &x, Targets { y: y.as_ref(), w: None });
            assert!(
                value[0].is_finite() && value[0] >= 0.0,
                "logit {logit}, datum {datum}: {}",
                value[0]
            );
            assert!(x_bar[(0, 0)].abs() <= 1.0);
        }
    }
}

#[test]
fn a_datum_that_a_loss_cannot_use_is_named() {
    let loss = LossKind::Bce.loss();
    assert_eq!(loss.admits(&[0.0, 1.0], None), Ok(()));
    assert!(matches!(
        loss.admits(&[0.0, 1.5], None),
        Err(BadDatum::OutOfRange {
            index: 1,
            value: 1.5,
            ..
        })
    ));
    let counts = LossKind::Poisson.loss();
    assert_eq!(counts.admits(&[0.0, 250.0], None), Ok(()));
    assert!(matches!(
        counts.admits(&[-1.0], None),
        Err(BadDatum::OutOfRange {
            index: 0,
            value: -1.0,
            ..
        })
    ));
    for kind in LossKind::ALL {
        let loss = kind.loss();
        assert!(matches!(
            loss.admits(&[0.5, f64::NAN], None),
            Err(BadDatum::NotFinite { index: 1, .. })
        ));
        assert!(matches!(
            loss.admits(&[0.5], Some(&[f64::INFINITY])),
            Err(BadDatum::NotFinite { index: 0, .. })
        ));
        assert!(matches!(
            loss.admits(&[0.5], Some(&[-1.0])),
            Err(BadDatum::OutOfRange { index: 0, .. })
        ));
        assert_eq!(loss.admits(&[f64::NAN], Some(&[0.0])), Err(BadDatum::Empty));
        assert_eq!(loss.admits(&[], None), Err(BadDatum::Empty));
    }
}

#[test]
fn chi_squared_counts_in_standard_errors() {
    let (x, y, w) = ([2.0, 5.0], [1.0, 7.0], [4.0, 0.25]);
    assert_eq!(LossKind::Gaussian.loss().chi2(&x, &y, Some(&w)), 5.0);
    assert_eq!(LossKind::Mse.loss().chi2(&x, &y, None), 5.0);
    assert_eq!(LossKind::Poisson.loss().chi2(&[0.0], &[3.0], None), 4.0);
    assert!(LossKind::Bce.loss().chi2(&[0.0], &[1.0], None).is_nan());
}

#[test]
fn names_are_those_of_files_and_only_mse_is_no_likelihood() {
    for kind in LossKind::ALL {
        let name = serde_json::to_value(kind).expect("a unit variant is a string");
        assert_eq!(name, kind.loss().name());
        assert_eq!(kind.loss().is_likelihood(), kind != LossKind::Mse);
    }
    assert_eq!(LossKind::Bce.loss().data_units(0.0), 0.5);
    assert_eq!(LossKind::Poisson.loss().data_units(0.0), 1.0);
    assert_eq!(LossKind::Mse.loss().data_units(-2.0), -2.0);
}

#[test]
fn losses_of_many_against_many_are_made_of_their_terms() {
    let (x, y, w) = point();
    let clipped = gfe_model::loss::ClippedBce::default();
    for loss in LossKind::ALL
        .iter()
        .map(|kind| kind.loss())
        .chain([&clipped as &dyn Loss])
    {
        let targets = |y| Targets { y, w: Some(w.as_ref()) };
        let of = |x: &Mat<f64>, b: usize| -> f64 {
            let term = |i: usize| {
                let [a, slope] = loss.terms(x[(i, b)]);
                w[(i, b)] * (a - slope * y[(i, b)])
            };
            (0..5).map(term).sum::<f64>() / 5.0
        };
        // What depends on y alone is the same at two x.
        let other = moved(&moved(&x, (0, 0), 0.3), (4, 2), -0.2);
        let (one, _) = eval(loss, &x, targets(y.as_ref()));
        let (two, _) = eval(loss, &other, targets(y.as_ref()));
        for b in 0..3 {
            let (expected, found) = (two[b] - one[b], of(&other, b) - of(&x, b));
            assert!(
                (expected - found).abs() < 1e-14,
                "{}: {found}, not {expected}",
                loss.name()
            );
        }
    }
}
