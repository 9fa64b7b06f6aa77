//! Several starts, their minima, and error bars, on a decoder with two minima and a saddle between them.

use faer::Mat;
use gfe_encode::{Begin, Encoded, Encoding, Order, Ptc, Rate, Samples, Solver, Trace, encode};
use gfe_model::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, Guess, LossKind, SecondOrder, Seeds, Tangent, Taped, Targets,
};
use gfe_ode::{Curvature, Status};

/// D(z; c) = (z_0^2 - 1 + c, z_0/2 + z_1, z_1): the datum (0, y, 0) is decoded alike from z_0 and from -z_0 where y is small.
struct Valley {
    guesses: bool,
}

fn jacobian(z: f64) -> [[f64; 2]; 3] {
    [[2.0 * z, 0.0], [0.5, 1.0], [0.0, 1.0]]
}

impl Decoder for Valley {
    fn shape(&self) -> DecoderShape {
        DecoderShape {
            latent: 2,
            data: 3,
            params: 0,
            context: 1,
        }
    }

    fn forward(
        &self,
        at: At<'_>,
        mut x: ColsMut<'_>,
        _tape: ColsMut<'_>,
        _scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        for b in 0..x.ncols() {
            let (z, w) = (at.z[(0, b)], at.z[(1, b)]);
            x[(0, b)] = z * z - 1.0 + at.context[(0, b)];
            x[(1, b)] = 0.5 * z + w;
            x[(2, b)] = w;
        }
        Ok(())
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        mut z_bar: ColsMut<'_>,
        _scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        for b in 0..x_bar.ncols() {
            let j = jacobian(taped.at.z[(0, b)]);
            for r in 0..2 {
                z_bar[(r, b)] = (0..3).map(|i| j[i][r] * x_bar[(i, b)]).sum();
            }
        }
        Ok(())
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        Some(self)
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        Some(self)
    }

    fn guess(&self) -> Option<&dyn Guess> {
        self.guesses.then_some(self)
    }
}

impl Tangent for Valley {
    fn jvp(
        &self,
        taped: Taped<'_>,
        z_dot: Cols<'_>,
        mut x_dot: ColsMut<'_>,
        _scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let directions = z_dot.ncols() / taped.at.z.ncols();
        for c in 0..z_dot.ncols() {
            let j = jacobian(taped.at.z[(0, c / directions)]);
            for i in 0..3 {
                x_dot[(i, c)] = (0..2).map(|r| j[i][r] * z_dot[(r, c)]).sum();
            }
        }
        Ok(())
    }
}

impl SecondOrder for Valley {
    fn hvp(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        mut z_bar_dot: ColsMut<'_>,
        _params_bar_dot: Option<&mut [f64]>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        self.vjp(taped, seeds.x_bar_dot, z_bar_dot.as_mut(), scratch)?;
        for b in 0..z_bar_dot.ncols() {
            z_bar_dot[(0, b)] += 2.0 * seeds.z_dot[(0, b)] * seeds.x_bar[(0, b)];
        }
        Ok(())
    }
}

impl Guess for Valley {
    /// The saddle first, then places on either side; NaN for a second start.
    fn guess(
        &self,
        _params: &[f64],
        context: Cols<'_>,
        data: Targets<'_>,
        start: usize,
        mut z: ColsMut<'_>,
    ) -> Result<(), DecodeError> {
        assert!(context[(0, 0)].is_finite() && data.w.is_none_or(|w| w[(0, 0)] >= 0.0));
        z.fill(0.0);
        z[(0, 0)] = [0.0, f64::NAN, 2.0, -2.0, 0.5, -0.5][start % 6];
        Ok(())
    }
}

const SAMPLES: usize = 5;

fn run(guesses: bool, starts: usize, (lanes, threads): (usize, usize)) -> Encoded {
    let open = move || -> Box<dyn Decoder> { Box::new(Valley { guesses }) };
    let how = Encoding {
        open: &open,
        loss: LossKind::Gaussian.loss(),
        order: Order::Gradient,
        rate: Rate::default(),
        common_z0: None,
        solver: Solver::Ptc(Ptc {
            edm_tol: 0.0,
            ..Ptc::default()
        }),
        t_end: f64::INFINITY,
        gtol: 1e-10,
        max_steps: 1000,
        lanes,
        threads,
        trace: Trace::None,
        reconstruction: false,
        starts,
        begin: if guesses { Begin::Guess } else { Begin::Z0 },
        uncertainty: Some(Curvature::Exact),
        noise: None,
    };
    // The errors are such that both minima of the first samples are as good as each other, and of the last are not.
    let y = Mat::from_fn(3, SAMPLES, |i, b| if i == 1 { 0.02 * b as f64 } else { 0.0 });
    let w = Mat::from_fn(3, SAMPLES, |i, b| if i == 1 && b == 4 { 1e6 } else { 4.0 });
    let mut context = Mat::zeros(1, SAMPLES);
    context[(0, 2)] = f64::NAN;
    let z0 = Mat::zeros(2, SAMPLES);
    let samples = Samples {
        data: Targets {
            y: y.as_ref(),
            w: Some(w.as_ref()),
        },
        context: Some(context.as_ref()),
        z0: z0.as_ref(),
    };
    encode(&how, &[], samples).expect("the decoder never breaks down")
}

#[test]
fn minima_are_counted_without_the_saddle_and_the_lowest_is_taken() {
    for guesses in [true, false] {
        let found = run(guesses, 12, (64, 1));
        for (b, record) in found.records.iter().enumerate() {
            if b == 2 {
                // Nothing is known of it: it is not even guessed at.
                assert_eq!((record.status, record.minima), (Status::BadInput, 0));
                continue;
            }
            assert_eq!(record.status, Status::Converged);
            let z = found.z.col_as_slice(b);
            assert!((z[0].abs() - 1.0).abs() < 0.2, "{z:?}");
            assert_eq!(record.minima, 2, "sample {b}, guesses {guesses}: {record:?}");
        }
        // With y > 0 the positive root is the lower one.
        assert!(found.z[(0, 4)] > 0.0 && found.z[(0, 3)] > 0.0);
    }
    // Alone, the start on the saddle stays there; and one start is one end.
    let alone = run(true, 1, (64, 1));
    assert_eq!(alone.z[(0, 0)], 0.0);
    assert!(
        alone
            .records
            .iter()
            .all(|record| record.start == 0 && record.minima <= 1)
    );
}

#[test]
fn starts_have_the_same_bits_whatever_lanes_and_threads_and_their_work_adds_up() {
    let of = |encoded: &Encoded| -> Vec<(Vec<u64>, u32, u32, u32)> {
        let bits = |b: usize| encoded.z.col_as_slice(b).iter().map(|value| value.to_bits()).collect();
        let records = encoded.records.iter().enumerate();
        records
            .map(|(b, record)| (bits(b), record.start, record.minima, record.work.evaluations))
            .collect()
    };
    let first = run(false, 6, (64, 1));
    for how in [(1, 1), (3, 2), (64, 2)] {
        assert_eq!(of(&run(false, 6, how)), of(&first), "{how:?}");
    }
    let one = run(false, 1, (64, 1));
    for (many, one) in first.records.iter().zip(&one.records) {
        assert!(many.status == Status::BadInput || many.work.evaluations > 3 * one.work.evaluations);
    }
}

#[test]
fn error_bars_are_those_of_the_second_derivative_of_the_likelihood() {
    let found = run(true, 12, (64, 1));
    let bars = found.uncertainty.as_ref().expect("they were asked for");
    // D l = 2 (z^2 - 1)^2 + (w/2) (z/2 + v - y)^2 + 2 v^2 for weights 4, w, 4; its Hessian is the inverse covariance.
    for b in [0, 1, 3, 4] {
        let (z, w) = (found.z[(0, b)], if b == 4 { 1e6 } else { 4.0 });
        let h = [[24.0 * z * z - 8.0 + 0.25 * w, 0.5 * w], [0.5 * w, w + 4.0]];
        let determinant = h[0][0] * h[1][1] - h[0][1] * h[1][0];
        let expected = [h[1][1], -h[0][1], -h[1][0], h[0][0]].map(|value| value / determinant);
        for (k, expected) in expected.into_iter().enumerate() {
            let value = bars.z_cov[(k, b)];
            assert!(
                (value - expected).abs() < 1e-9 * expected.abs(),
                "{b} {k}: {value}, not {expected}"
            );
        }
        assert!((bars.dof[b] - 2.0).abs() < 1e-12 && bars.h_min[b] > 0.0);
    }
    assert!(bars.z_std[(0, 2)].is_nan() && bars.dof[2].is_nan());
}
