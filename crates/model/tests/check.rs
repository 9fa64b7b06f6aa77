//! The derivative checks find a product that is wrong, and only that one.

use faer::Mat;
use gfe_model::{At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, Tangent, Taped, TensorSpec, check};

/// x = sin(w z), elementwise, with products wrong by these factors.
struct Sine {
    vjp: f64,
    jvp: Option<f64>,
}

impl Sine {
    fn scaled_slope(&self, taped: Taped<'_>, from: Cols<'_>, mut to: ColsMut<'_>, factor: f64) {
        for (i, b) in (0..2).flat_map(|i| (0..from.ncols()).map(move |b| (i, b))) {
            let w = taped.at.params[i];
            to[(i, b)] = factor * w * (w * taped.at.z[(i, b)]).cos() * from[(i, b)];
        }
    }
}

impl Decoder for Sine {
    fn shape(&self) -> DecoderShape {
        DecoderShape {
            latent: 2,
            data: 2,
            params: 2,
            context: 0,
        }
    }
    fn tensors(&self) -> Vec<TensorSpec> {
        vec![TensorSpec {
            name: "w".into(),
            shape: vec![2],
        }]
    }
    fn tape_len(&self) -> usize {
        0
    }
    fn scratch_len(&self, _columns: usize) -> usize {
        0
    }
    fn forward(&self, at: At<'_>, mut x: ColsMut<'_>, _: ColsMut<'_>, _: &mut [f64]) -> Result<(), DecodeError> {
        for (i, b) in (0..2).flat_map(|i| (0..at.z.ncols()).map(move |b| (i, b))) {
            x[(i, b)] = (at.params[i] * at.z[(i, b)]).sin();
        }
        Ok(())
    }
    fn vjp(&self, taped: Taped<'_>, x_bar: Cols<'_>, z_bar: ColsMut<'_>, _: &mut [f64]) -> Result<(), DecodeError> {
        self.scaled_slope(taped, x_bar, z_bar, self.vjp);
        Ok(())
    }
    fn tangent(&self) -> Option<&dyn Tangent> {
        self.jvp.map(|_| self as &dyn Tangent)
    }
}

impl Tangent for Sine {
    fn jvp(&self, taped: Taped<'_>, z_dot: Cols<'_>, x_dot: ColsMut<'_>, _: &mut [f64]) -> Result<(), DecodeError> {
        self.scaled_slope(
            taped,
            z_dot,
            x_dot,
            self.jvp.expect("asked for only where it is offered"),
        );
        Ok(())
    }
}

fn report(decoder: Sine) -> check::Report {
    let z = Mat::from_fn(2, 3, |i, b| 0.2 + 0.3 * i as f64 - 0.1 * b as f64);
    let context = Mat::zeros(0, 3);
    let at = At {
        params: &[1.0, 1.5],
        version: 0,
        z: z.as_ref(),
        context: context.as_ref(),
    };
    check::report(&decoder, at, 5).expect("it never fails")
}

#[test]
fn right_products_pass_and_absent_ones_are_not_measured() {
    let report = report(Sine { vjp: 1.0, jvp: None });
    // Central differences of step 6e-6 on values of size 1 leave about 1e-10.
    assert!(report.vjp < 1e-9, "{report:?}");
    assert_eq!((report.adjoint, report.jvp, report.params_vjp), (None, None, None));
    assert_eq!((report.hvp, report.params_hvp), (None, None));
}

#[test]
fn a_wrong_vjp_shows_and_leaves_the_jvp_alone() {
    let report = report(Sine {
        vjp: 1.001,
        jvp: Some(1.0),
    });
    assert!(
        report.vjp > 1e-5 && report.adjoint.is_some_and(|error| error > 1e-5),
        "{report:?}"
    );
    assert!(report.jvp.is_some_and(|error| error < 1e-9), "{report:?}");
}

#[test]
fn a_wrong_jvp_shows_and_leaves_the_vjp_alone() {
    let report = report(Sine {
        vjp: 1.0,
        jvp: Some(1.001),
    });
    assert!(report.adjoint.is_some_and(|error| error > 1e-5), "{report:?}");
    assert!(
        report.jvp.is_some_and(|error| (error - 1e-3).abs() < 1e-8),
        "{report:?}"
    );
    assert!(report.vjp < 1e-9, "{report:?}");
}

#[test]
fn a_product_that_is_nan_is_an_error_of_nan() {
    assert!(
        report(Sine {
            vjp: f64::NAN,
            jvp: None
        })
        .vjp
        .is_nan()
    );
}
