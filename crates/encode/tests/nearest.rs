//! Starts at known codes whose decoded data are nearest.

use faer::{Mat, MatRef};
use gfe_encode::{Begin, Encoding, Nearest, Order, Ptc, Rate, Samples, Solver, Trace, encode_from, kept_codes};
use gfe_model::{At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, LossKind, Tangent, Taped, Targets};
use gfe_ode::Status;

/// D(z) = (z_0^2 - 1, z_1, z_1 z_0 / 10): from z_0 and -z_0 alike where z_1 is 0; nothing beyond z_0 = 10.
struct Mirror {
    context: usize,
}

impl Decoder for Mirror {
    fn shape(&self) -> DecoderShape {
        DecoderShape {
            latent: 2,
            data: 3,
            params: 0,
            context: self.context,
        }
    }

    fn forward(&self, at: At<'_>, mut x: ColsMut<'_>, _: ColsMut<'_>, _: &mut [f64]) -> Result<(), DecodeError> {
        for b in 0..x.ncols() {
            let (z, v) = (at.z[(0, b)], at.z[(1, b)]);
            x[(0, b)] = if z > 10.0 { f64::NAN } else { z * z - 1.0 };
            (x[(1, b)], x[(2, b)]) = (v, 0.1 * v * z);
        }
        Ok(())
    }

    fn vjp(&self, taped: Taped<'_>, x_bar: Cols<'_>, mut z_bar: ColsMut<'_>, _: &mut [f64]) -> Result<(), DecodeError> {
        for b in 0..x_bar.ncols() {
            let (z, v) = (taped.at.z[(0, b)], taped.at.z[(1, b)]);
            z_bar[(0, b)] = 2.0 * z * x_bar[(0, b)] + 0.1 * v * x_bar[(2, b)];
            z_bar[(1, b)] = x_bar[(1, b)] + 0.1 * z * x_bar[(2, b)];
        }
        Ok(())
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        Some(self)
    }
}

impl Tangent for Mirror {
    fn jvp(&self, taped: Taped<'_>, z_dot: Cols<'_>, mut x_dot: ColsMut<'_>, _: &mut [f64]) -> Result<(), DecodeError> {
        let directions = z_dot.ncols() / taped.at.z.ncols();
        for c in 0..z_dot.ncols() {
            let (z, v) = (taped.at.z[(0, c / directions)], taped.at.z[(1, c / directions)]);
            x_dot[(0, c)] = 2.0 * z * z_dot[(0, c)];
            x_dot[(1, c)] = z_dot[(1, c)];
            x_dot[(2, c)] = 0.1 * (z * z_dot[(1, c)] + v * z_dot[(0, c)]);
        }
        Ok(())
    }
}

fn with<T>(loss: LossKind, context: usize, starts: usize, what: impl FnOnce(&Encoding<'_>) -> T) -> T {
    let open = move || -> Box<dyn Decoder> { Box::new(Mirror { context }) };
    what(&Encoding {
        open: &open,
        loss: loss.loss(),
        order: Order::Gradient,
        rate: Rate::default(),
        common_z0: None,
        solver: Solver::Ptc(Ptc {
            edm_tol: 1e-9,
            ..Ptc::default()
        }),
        t_end: 1e3,
        gtol: 1e-9,
        max_steps: 100,
        lanes: 4,
        threads: 2,
        trace: Trace::None,
        reconstruction: false,
        starts,
        begin: Begin::Z0,
        uncertainty: None,
        noise: None,
    })
}

/// Codes all over the plane, one of them beyond what can be decoded, and two the same.
fn codes(count: usize) -> Mat<f64> {
    let mut z = Mat::from_fn(2, count, |r, b| 2.0 * ((1.7 + r as f64) * b as f64 + 0.3).sin());
    z[(0, 5)] = 11.0;
    for r in 0..2 {
        z[(r, 40)] = z[(r, 20)];
    }
    z
}

#[test]
fn the_nearest_are_those_of_the_lowest_loss_whatever_is_missing_and_whoever_is_beside() {
    let (count, samples, starts) = (1100, 130, 7);
    let z = codes(count);
    let w = Mat::from_fn(3, samples, |i, b| if (i + b) % 4 == 0 { 0.0 } else { 0.5 + i as f64 });
    for kind in LossKind::ALL {
        // Sample 9 is what codes 20 and 40 decode to.
        let y = Mat::from_fn(3, samples, |i, b| 0.5 + 0.5 * (b as f64 * 0.7 + i as f64).sin());
        let masked = Mat::from_fn(3, samples, |i, b| if w[(i, b)] == 0.0 { f64::NAN } else { y[(i, b)] });
        for data in [
            Targets { y: y.as_ref(), w: None },
            Targets {
                y: masked.as_ref(),
                w: Some(w.as_ref()),
            },
        ] {
            with(kind, 0, starts, |how| {
                let nearest = Nearest::new(how, &[], z.as_ref()).expect("it never breaks down");
                assert_eq!(nearest.len(), count - 1);
                let found = nearest.starts(data, starts);
                for b in 0..samples {
                    let mut losses: Vec<(f64, usize)> = (0..count)
                        .filter(|c| *c != 5)
                        .map(|c| (loss_of(kind, &z, c, data, b), c))
                        .collect();
                    losses.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                    let limit = losses[starts - 1].0;
                    let own = found.as_ref().subcols(b * starts, starts);
                    let mut last = f64::NEG_INFINITY;
                    for k in 0..starts {
                        let loss = loss_of(kind, &own.to_owned(), k, data, b);
                        // Nearest first, and none of the others nearer, but for rounding.
                        assert!(
                            loss >= last - 1e-13 && loss <= limit + 1e-13,
                            "{} {b} {k}: {loss} {limit}",
                            kind.loss().name()
                        );
                        last = loss;
                    }
                }
                // One sample alone, or a few, find the same with the same bits.
                for (first, width) in [(0, 1), (63, 2), (100, 30)] {
                    let part = Targets {
                        y: data.y.subcols(first, width),
                        w: data.w.map(|w| w.subcols(first, width)),
                    };
                    let part = nearest.starts(part, starts);
                    assert_eq!(part.as_ref(), found.as_ref().subcols(first * starts, width * starts));
                }
            });
        }
    }
}

/// l(y_b, D(z_c)).
fn loss_of(kind: LossKind, z: &Mat<f64>, c: usize, data: Targets<'_>, b: usize) -> f64 {
    let (a, v) = (z[(0, c)], z[(1, c)]);
    let x = [a * a - 1.0, v, 0.1 * v * a];
    let mut value = [0.0];
    let data = Targets {
        y: data.y.subcols(b, 1),
        w: data.w.map(|w| w.subcols(b, 1)),
    };
    kind.loss()
        .eval(MatRef::from_column_major_slice(&x, 3, 1), data, &mut value, None);
    value[0]
}

#[test]
fn of_equal_ones_the_first_is_taken() {
    let z = codes(64);
    with(LossKind::Mse, 0, 2, |how| {
        let nearest = Nearest::new(how, &[], z.as_ref()).expect("it never breaks down");
        let (a, v) = (z[(0, 20)], z[(1, 20)]);
        let y = Mat::from_fn(3, 1, |i, _| [a * a - 1.0, v, 0.1 * v * a][i]);
        let found = nearest.starts(Targets { y: y.as_ref(), w: None }, 2);
        assert_eq!((found.col(0), found.col(1)), (z.col(20), z.col(40)));
    });
}

#[test]
fn two_mirrored_minima_are_found_from_codes_beside_both_and_the_horizon_stays_at_z0() {
    let z = Mat::from_fn(2, 4, |r, b| if r == 0 { [1.2, -1.3, 0.8, -0.7][b] } else { 0.0 });
    // The third value, z_0 z_1 / 10, tells the two apart, and both miss its datum by as much.
    let y = Mat::from_fn(3, 6, |i, b| [0.1 * b as f64, 3.0, 0.0][i]);
    let z0 = Mat::from_fn(2, 6, |r, _| if r == 0 { 0.1 } else { 0.0 });
    let samples = Samples {
        data: Targets { y: y.as_ref(), w: None },
        context: None,
        z0: z0.as_ref(),
    };
    for starts in [1, 4] {
        let encoded = with(LossKind::Gaussian, 0, starts, |how| {
            let nearest = Nearest::new(how, &[], z.as_ref()).expect("it never breaks down");
            let start = nearest.starts(samples.data, starts);
            encode_from(how, &[], samples, Some(start.as_ref())).expect("it never breaks down")
        });
        for b in 0..6 {
            let record = &encoded.records[b];
            assert_eq!(
                (record.status, record.minima),
                (Status::Converged, if starts == 4 { 2 } else { 1 })
            );
            // The minima of ((z^2 - r^2)^2 + (v - 3)^2 + (z v)^2 / 100) / 6 + ((z - 0.1)^2 + v^2) / (2 tau), near z = +-r and v = 3: the
            // horizon draws to z0, and of the two takes that on its side.
            let (root, z_end, v_end) = ((1.0 + 0.1 * b as f64).sqrt(), encoded.z[(0, b)], encoded.z[(1, b)]);
            let slopes = [
                (4.0 * z_end * (z_end * z_end - root * root) + 0.02 * v_end * v_end * z_end) / 6.0
                    + (z_end - 0.1) / 1e3,
                (2.0 * (v_end - 3.0) + 0.02 * v_end * z_end * z_end) / 6.0 + v_end / 1e3,
            ];
            assert!(
                (z_end.abs() - root).abs() < 0.05 && slopes.iter().all(|slope| slope.abs() < 1e-4),
                "{slopes:?}"
            );
            if starts == 4 {
                assert!(z_end > 0.0);
                assert_on_the_positive_side(&z, root, record.start);
            }
        }
    }
}

/// The start of this rank is on the positive side, where the lower minimum is.
fn assert_on_the_positive_side(z: &Mat<f64>, root: f64, start: u32) {
    let mut order: Vec<usize> = (0..4).collect();
    let apart = |c: usize| (z[(0, c)] * z[(0, c)] - root * root).abs();
    order.sort_by(|a, b| apart(*a).total_cmp(&apart(*b)));
    let from = z[(0, order[start as usize])];
    assert!(from > 0.0, "the end on the positive side came from {from}");
}

#[test]
fn decoders_with_a_context_are_refused_and_too_many_codes_chosen_from() {
    let z = codes(64);
    let refused = with(LossKind::Mse, 1, 1, |how| {
        Nearest::new(how, &[], z.as_ref()).map(|nearest| nearest.len())
    });
    assert!(refused.expect_err("it takes a context").to_string().contains("context"));
    assert_eq!(kept_codes(1000, 784), (0..1000).collect::<Vec<_>>());
    let kept = kept_codes(100_000, 784);
    assert!(kept.len() == (128 << 20) / 8 / 784 && kept.is_sorted() && kept[kept.len() - 1] > 99_000);
    assert_eq!(kept, kept_codes(100_000, 784));
    assert_eq!(kept_codes(100_000, 1).len(), 65_536);
}
