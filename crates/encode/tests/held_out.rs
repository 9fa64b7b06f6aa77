//! The loss on values that the encoder did not see.

use faer::Mat;
use gfe_encode::{Encoding, HeldOut, Ptc, Samples, Solver, encode, held_out, seen_values};
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{At, Decoder, LossKind, Output, Targets};

const VALUES: usize = 20;
const LATENT: usize = 2;
const WHAT: HeldOut = HeldOut { fraction: 0.4, seed: 9 };

fn dense() -> Dense {
    let config = DenseConfig {
        decoder: DenseKind::Dense,
        latent: LATENT,
        layers: vec![6, VALUES],
        activation: Activation::Tanh,
        output: Output::Logits,
    };
    Dense::new(config).expect("the sizes are valid")
}

fn open() -> Box<dyn Decoder> {
    Box::new(dense())
}

fn params() -> Vec<f64> {
    let decoder = dense();
    let mut params = vec![0.0; decoder.shape().params];
    let trainable = decoder.trainable().expect("it has weights");
    trainable.init(3, &mut params).expect("weights can be had");
    params
}

fn encoding(lanes: usize, threads: usize) -> Encoding<'static> {
    Encoding {
        t_end: 1e3,
        lanes,
        threads,
        ..Encoding::new(&open, LossKind::Bce.loss(), Solver::Ptc(Ptc::default()))
    }
}

/// Data in [0, 1], and weights of which every fifth is 0.
fn data(samples: usize) -> (Mat<f64>, Mat<f64>) {
    let y = Mat::from_fn(VALUES, samples, |i, b| {
        0.5 + 0.5 * (0.7 * i as f64 + 1.3 * b as f64).sin()
    });
    let w = Mat::from_fn(VALUES, samples, |i, b| ((i + b) % 5) as f64 / 2.0);
    (y, w)
}

fn run(how: &Encoding<'_>, (y, w): &(Mat<f64>, Mat<f64>), rows: &[usize]) -> gfe_encode::HeldOutLoss {
    let z0 = Mat::zeros(LATENT, y.ncols());
    let samples = Samples {
        data: Targets {
            y: y.as_ref(),
            w: Some(w.as_ref()),
        },
        context: None,
        z0: z0.as_ref(),
    };
    held_out(how, &params(), samples, (rows, WHAT), LossKind::Bce.loss()).expect("the decoder works")
}

/// One sample's losses on the values seen and on the others, written out.
fn by_hand(how: &Encoding<'_>, y: &[f64], w: &[f64], row: usize) -> [f64; 2] {
    let mut seen = [false; VALUES];
    seen_values(WHAT.fraction, WHAT.seed, row, Some(w), &mut seen);
    let column = |value: &dyn Fn(usize) -> f64| Mat::from_fn(VALUES, 1, |i, _| value(i));
    let datum = column(&|i| y[i]);
    let masked = column(&|i| if seen[i] { w[i] } else { 0.0 });
    let z0 = Mat::zeros(LATENT, 1);
    let samples = Samples {
        data: Targets {
            y: datum.as_ref(),
            w: Some(masked.as_ref()),
        },
        context: None,
        z0: z0.as_ref(),
    };
    let (decoder, params) = (dense(), params());
    let code = encode(how, &params, samples).expect("the decoder works").z;
    let z = Mat::from_fn(LATENT, 2, |r, _| code[(r, 0)]);
    let (context, mut x) = (Mat::zeros(0, 2), Mat::zeros(VALUES, 2));
    let mut tape = Mat::zeros(decoder.tape_len(), 2);
    let at = At {
        params: &params,
        version: 0,
        z: z.as_ref(),
        context: context.as_ref(),
    };
    let mut scratch = vec![0.0; decoder.scratch_len(2)];
    decoder
        .forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
        .expect("the decoder works");
    let mut sums = [(0.0, 0.0); 2];
    for i in (0..VALUES).filter(|&i| w[i] != 0.0) {
        let sum = &mut sums[usize::from(!seen[i])];
        sum.0 += w[i] * ((1.0 + x[(i, 0)].exp()).ln() - y[i] * x[(i, 0)]);
        sum.1 += 1.0;
    }
    sums.map(|(sum, count)| sum / count)
}

#[test]
fn it_is_the_mean_over_samples_of_the_mean_over_values_that_count() {
    let how = encoding(3, 2);
    let data = data(4);
    let rows = [5, 0, 11, 7];
    let found = run(&how, &data, &rows);
    let (mut seen, mut unseen) = (0.0, 0.0);
    for (b, &row) in rows.iter().enumerate() {
        let [on_seen, on_unseen] = by_hand(&how, data.0.col_as_slice(b), data.1.col_as_slice(b), row);
        seen += on_seen / 4.0;
        unseen += on_unseen / 4.0;
    }
    // Sums of the same terms in another order.
    assert!((found.seen() - seen).abs() < 1e-14, "{} {seen}", found.seen());
    assert!((found.unseen() - unseen).abs() < 1e-14, "{} {unseen}", found.unseen());
    assert_eq!((found.samples, found.usable, found.succeeded), (4, 4, 4));
    assert!(found.units > 4);
}

#[test]
fn it_has_the_same_bits_whatever_the_lanes_and_threads_and_a_sample_may_lie_in_any_place() {
    // More than a block.
    let (data, rows): (_, Vec<usize>) = (data(300), (0..300).collect());
    let all = run(&encoding(40, 1), &data, &rows);
    for (lanes, threads) in [(1, 1), (7, 2)] {
        assert_eq!(run(&encoding(lanes, threads), &data, &rows), all);
    }
    let some = |of: &Mat<f64>, from: usize| Mat::from_fn(VALUES, 1, |i, _| of[(i, from)]);
    let one = |b: usize| run(&encoding(40, 1), &(some(&data.0, b), some(&data.1, b)), &[b]).unseen();
    let (sum, total) = ((0..300).map(one).sum::<f64>(), 300.0 * all.unseen());
    assert!((sum - total).abs() < 1e-11, "{sum} {total}");
}

#[test]
fn a_sample_with_a_bad_value_is_left_out_wherever_that_lies() {
    let how = encoding(3, 1);
    let expected = run(&how, &data(3), &[0, 1, 2]);
    for i in 0..VALUES {
        let mut data = data(4);
        data.0[(i, 3)] = f64::NAN;
        let found = run(&how, &data, &[0, 1, 2, 3]);
        let counts = data.1[(i, 3)] != 0.0;
        assert_eq!(
            (found.samples, found.usable),
            (4, if counts { 3 } else { 4 }),
            "value {i}"
        );
        if counts {
            assert_eq!((found.unseen(), found.seen()), (expected.unseen(), expected.seen()));
        } else {
            assert!(found.unseen().is_finite());
        }
    }
    let mut nothing = data(2);
    nothing.1.fill(0.0);
    let found = run(&how, &nothing, &[0, 1]);
    assert!(found.unseen().is_nan() && found.seen().is_nan() && found.usable == 0);
}

#[test]
fn a_fraction_that_leaves_nothing_to_see_or_to_judge_by_is_an_error_that_says_so() {
    let ((y, _), z0) = (data(1), Mat::zeros(LATENT, 1));
    let samples = Samples {
        data: Targets { y: y.as_ref(), w: None },
        context: None,
        z0: z0.as_ref(),
    };
    for fraction in [0.0, 1.0, -0.1, 1.5, f64::NAN] {
        let what = HeldOut { fraction, ..WHAT };
        let error = held_out(&encoding(3, 1), &params(), samples, (&[0], what), LossKind::Bce.loss())
            .expect_err("it makes no sense");
        assert!(error.0.contains(&format!("{fraction}")), "{error}");
    }
}
