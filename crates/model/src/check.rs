//! Derivative checks: how far a decoder's products are from one another and from central differences.
//!
//! Everything is an error relative to the sizes of what is compared, the worst of all lanes. Directions and cotangents
//! are random numbers in [-1, 1), the same for the same seed. Memory is allocated freely here.

use crate::columns::{column, column_mut};
use crate::random::Uniform;
use crate::{At, Cols, DecodeError, Decoder, Seeds, Taped};
use faer::Mat;

/// Step of the central differences: near the cube root of 2^-53, where truncation and rounding are alike.
const STEP: f64 = 6e-6;

/// Relative errors of a decoder's products; `None` where it does not offer the product.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// <x_bar, J z_dot> against <J^T x_bar, z_dot>, over |x_bar| |J z_dot|.
    pub adjoint: Option<f64>,
    /// J z_dot against differences of `forward`.
    pub jvp: Option<f64>,
    /// <J^T x_bar, z_dot> against <x_bar, differences of `forward`>.
    pub vjp: f64,
    /// <params_bar, params_dot> against <x_bar, differences of `forward` along params_dot>.
    pub params_vjp: Option<f64>,
    /// z_bar_dot against differences of `vjp`.
    pub hvp: Option<f64>,
    /// params_bar_dot against differences of `params_vjp`.
    pub params_hvp: Option<f64>,
}

/// Measures all products at `at`; `context` must have as many columns as `z`.
///
/// Fails where the decoder does.
pub fn report(decoder: &dyn Decoder, at: At<'_>, seed: u64) -> Result<Report, DecodeError> {
    let check = Check::new(decoder, at, seed);
    Ok(Report {
        adjoint: check.adjoint()?,
        jvp: check.jvp()?,
        vjp: check.vjp()?,
        params_vjp: check.params_vjp()?,
        hvp: check.hvp()?,
        params_hvp: check.params_hvp()?,
    })
}

/// <x_bar, J z_dot> against <J^T x_bar, z_dot>, over |x_bar| |J z_dot|: see [`Report::adjoint`].
///
/// Fails where the decoder does.
pub fn adjoint(decoder: &dyn Decoder, at: At<'_>, seed: u64) -> Result<Option<f64>, DecodeError> {
    Check::new(decoder, at, seed).adjoint()
}

/// A point with random directions.
struct Check<'a> {
    decoder: &'a dyn Decoder,
    at: At<'a>,
    z_dot: Mat<f64>,
    x_bar: Mat<f64>,
    x_bar_dot: Mat<f64>,
    params_dot: Vec<f64>,
}

/// What `forward` gives at a point, or near it.
struct Forward {
    x: Mat<f64>,
    tape: Mat<f64>,
    scratch: Vec<f64>,
}

/// What `hvp` gives; `params_bar_dot` as one column.
struct SecondOrderProducts {
    z_bar_dot: Mat<f64>,
    params_bar_dot: Mat<f64>,
}

impl<'a> Check<'a> {
    fn new(decoder: &'a dyn Decoder, at: At<'a>, seed: u64) -> Self {
        let (shape, lanes) = (decoder.shape(), at.z.ncols());
        let mut uniform = Uniform::new(seed);
        let mut random = |rows| {
            let mut batch = Mat::zeros(rows, lanes);
            (0..lanes).for_each(|lane| uniform.fill(1.0, column_mut(&mut batch.as_mut(), lane)));
            batch
        };
        let (z_dot, x_bar, x_bar_dot) = (random(shape.latent), random(shape.data), random(shape.data));
        let mut params_dot = vec![0.0; shape.params];
        uniform.fill(1.0, &mut params_dot);
        Check {
            decoder,
            at,
            z_dot,
            x_bar,
            x_bar_dot,
            params_dot,
        }
    }

    fn forward(&self, at: At<'_>) -> Result<Forward, DecodeError> {
        let lanes = at.z.ncols();
        let mut x = Mat::zeros(self.decoder.shape().data, lanes);
        let mut tape = Mat::zeros(self.decoder.tape_len(), lanes);
        let mut scratch = vec![0.0; self.decoder.scratch_len(lanes)];
        self.decoder.forward(at, x.as_mut(), tape.as_mut(), &mut scratch)?;
        Ok(Forward { x, tape, scratch })
    }

    /// [f(z + h z_dot, h) - f(z - h z_dot, -h)] / 2h.
    fn along_z<F>(&self, f: F) -> Result<Mat<f64>, DecodeError>
    where
        F: Fn(At<'_>, f64) -> Result<Mat<f64>, DecodeError>,
    {
        let moved = |h: f64| {
            let z = Mat::from_fn(self.z_dot.nrows(), self.z_dot.ncols(), |i, b| {
                self.at.z[(i, b)] + h * self.z_dot[(i, b)]
            });
            f(
                At {
                    z: z.as_ref(),
                    ..self.at
                },
                h,
            )
        };
        let (above, below) = (moved(STEP)?, moved(-STEP)?);
        Ok(Mat::from_fn(above.nrows(), above.ncols(), |i, b| {
            (above[(i, b)] - below[(i, b)]) / (2.0 * STEP)
        }))
    }

    fn x_dot_measured(&self) -> Result<Mat<f64>, DecodeError> {
        self.along_z(|at, _| Ok(self.forward(at)?.x))
    }

    fn x_dot(&self) -> Result<Option<Mat<f64>>, DecodeError> {
        let Some(tangent) = self.decoder.tangent() else {
            return Ok(None);
        };
        let Forward {
            mut x,
            tape,
            mut scratch,
        } = self.forward(self.at)?;
        let taped = Taped {
            at: self.at,
            tape: tape.as_ref(),
        };
        tangent.jvp(taped, self.z_dot.as_ref(), x.as_mut(), &mut scratch)?;
        Ok(Some(x))
    }

    /// J^T x_bar at a point.
    fn z_bar(&self, at: At<'_>, x_bar: Cols<'_>) -> Result<Mat<f64>, DecodeError> {
        let Forward { tape, mut scratch, .. } = self.forward(at)?;
        let mut z_bar = Mat::zeros(at.z.nrows(), at.z.ncols());
        self.decoder.vjp(
            Taped {
                at,
                tape: tape.as_ref(),
            },
            x_bar,
            z_bar.as_mut(),
            &mut scratch,
        )?;
        Ok(z_bar)
    }

    /// The parameter gradient at a point, as one column; `None` without weights to train.
    fn params_bar(&self, at: At<'_>, x_bar: Cols<'_>) -> Result<Option<Mat<f64>>, DecodeError> {
        let Some(trainable) = self.decoder.trainable() else {
            return Ok(None);
        };
        let Forward { tape, mut scratch, .. } = self.forward(at)?;
        let mut bar = Mat::zeros(self.params_dot.len(), 1);
        let taped = Taped {
            at,
            tape: tape.as_ref(),
        };
        trainable.params_vjp(taped, x_bar, column_mut(&mut bar.as_mut(), 0), &mut scratch)?;
        Ok(Some(bar))
    }

    /// What `hvp` gives.
    fn second_order(&self) -> Result<Option<SecondOrderProducts>, DecodeError> {
        let Some(second_order) = self.decoder.second_order() else {
            return Ok(None);
        };
        let Forward { tape, mut scratch, .. } = self.forward(self.at)?;
        let mut z_bar_dot = Mat::zeros(self.z_dot.nrows(), self.z_dot.ncols());
        let mut params = Mat::zeros(self.params_dot.len(), 1);
        let taped = Taped {
            at: self.at,
            tape: tape.as_ref(),
        };
        let seeds = Seeds {
            z_dot: self.z_dot.as_ref(),
            x_bar: self.x_bar.as_ref(),
            x_bar_dot: self.x_bar_dot.as_ref(),
        };
        second_order.hvp(
            taped,
            seeds,
            z_bar_dot.as_mut(),
            Some(column_mut(&mut params.as_mut(), 0)),
            &mut scratch,
        )?;
        Ok(Some(SecondOrderProducts {
            z_bar_dot,
            params_bar_dot: params,
        }))
    }

    /// x_bar + h x_bar_dot.
    fn x_bar_moved(&self, h: f64) -> Mat<f64> {
        &self.x_bar + faer::Scale(h) * &self.x_bar_dot
    }

    fn adjoint(&self) -> Result<Option<f64>, DecodeError> {
        let Some(x_dot) = self.x_dot()? else { return Ok(None) };
        Ok(Some(
            self.pairing_error(&x_dot, &self.z_bar(self.at, self.x_bar.as_ref())?),
        ))
    }

    fn jvp(&self) -> Result<Option<f64>, DecodeError> {
        let Some(x_dot) = self.x_dot()? else { return Ok(None) };
        Ok(Some(worst_column(&x_dot, &self.x_dot_measured()?)))
    }

    fn vjp(&self) -> Result<f64, DecodeError> {
        Ok(self.pairing_error(&self.x_dot_measured()?, &self.z_bar(self.at, self.x_bar.as_ref())?))
    }

    fn params_vjp(&self) -> Result<Option<f64>, DecodeError> {
        let Some(bar) = self.params_bar(self.at, self.x_bar.as_ref())? else {
            return Ok(None);
        };
        let moved = |h: f64, version: u64| {
            let params: Vec<f64> = self
                .at
                .params
                .iter()
                .zip(&self.params_dot)
                .map(|(p, dot)| p + h * dot)
                .collect();
            self.forward(At {
                params: &params,
                version,
                ..self.at
            })
        };
        let version = self.at.version;
        let (above, below) = (
            moved(STEP, version.wrapping_add(1))?.x,
            moved(-STEP, version.wrapping_add(2))?.x,
        );
        let (mut measured, mut size) = (0.0, 0.0);
        for lane in 0..above.ncols() {
            let x_dot: Vec<f64> = (0..above.nrows())
                .map(|i| (above[(i, lane)] - below[(i, lane)]) / (2.0 * STEP))
                .collect();
            let x_bar = column(self.x_bar.as_ref(), lane);
            measured += dot(x_bar, &x_dot);
            size += norm(x_bar) * norm(&x_dot);
        }
        Ok(Some(relative(
            (measured - dot(column(bar.as_ref(), 0), &self.params_dot)).abs(),
            size,
        )))
    }

    fn hvp(&self) -> Result<Option<f64>, DecodeError> {
        let Some(SecondOrderProducts { z_bar_dot, .. }) = self.second_order()? else {
            return Ok(None);
        };
        let measured = self.along_z(|at, h| self.z_bar(at, self.x_bar_moved(h).as_ref()))?;
        Ok(Some(worst_column(&z_bar_dot, &measured)))
    }

    fn params_hvp(&self) -> Result<Option<f64>, DecodeError> {
        let Some(SecondOrderProducts { params_bar_dot, .. }) = self.second_order()? else {
            return Ok(None);
        };
        if self.decoder.trainable().is_none() {
            return Ok(None);
        }
        let measured = self.along_z(|at, h| {
            let bar = self.params_bar(at, self.x_bar_moved(h).as_ref())?;
            Ok(bar.expect("a decoder that is trainable stays so"))
        })?;
        Ok(Some(worst_column(&params_bar_dot, &measured)))
    }

    /// The worst |<x_bar, x_dot> - <z_bar, z_dot>| / (|x_bar| |x_dot|).
    fn pairing_error(&self, x_dot: &Mat<f64>, z_bar: &Mat<f64>) -> f64 {
        let lanes = (0..x_dot.ncols()).map(|lane| {
            let (x_bar, x_dot) = (column(self.x_bar.as_ref(), lane), column(x_dot.as_ref(), lane));
            let (z_bar, z_dot) = (column(z_bar.as_ref(), lane), column(self.z_dot.as_ref(), lane));
            relative((dot(x_bar, x_dot) - dot(z_bar, z_dot)).abs(), norm(x_bar) * norm(x_dot))
        });
        worst(lanes)
    }
}

/// The worst |a - b| / |b| of all columns.
fn worst_column(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    worst((0..a.ncols()).map(|lane| {
        let (a, b) = (column(a.as_ref(), lane), column(b.as_ref(), lane));
        let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        relative(norm(&difference), norm(b))
    }))
}

/// The largest; NaN if there is one, so that a broken product never looks right.
fn worst(errors: impl Iterator<Item = f64>) -> f64 {
    errors.fold(
        0.0,
        |worst, error| if error > worst || error.is_nan() { error } else { worst },
    )
}

/// `error / size`, where nothing over nothing is no error.
fn relative(error: f64, size: f64) -> f64 {
    if error == 0.0 { 0.0 } else { error / size }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}
