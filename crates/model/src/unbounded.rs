//! A decoder of physical latents p, as one of the unbounded coordinates u in which flows run: D(p(u)).
//!
//! Every latent has its own map p(u), so the chain rule needs p' and p'' alone; they lie in the tape, behind the decoder's own.

use crate::columns::{batch, batch_mut, column, column_mut};
use crate::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, Guess, Latent, Output, SecondOrder, Seeds, Tangent, Taped,
    Targets, TensorSpec, Trainable,
};
use faer::prelude::IntoConst;

/// u -> D(p(u)).
pub struct Unbounded {
    inner: Box<dyn Decoder>,
    /// Rows of the inner tape; behind it stand p, p' and p'', d rows each.
    tape: usize,
    latent: usize,
}

impl Unbounded {
    /// `inner` in unbounded coordinates; itself where all of its latents are unbounded already.
    pub fn of(inner: Box<dyn Decoder>) -> Box<dyn Decoder> {
        if inner.latents().is_empty() {
            return inner;
        }
        Box::new(Unbounded {
            tape: inner.tape_len(),
            latent: inner.shape().latent,
            inner,
        })
    }

    /// p, p' or p'' of every lane.
    fn row<'a>(&self, tape: Cols<'a>, derivative: usize) -> Cols<'a> {
        tape.subrows(self.tape + derivative * self.latent, self.latent)
    }

    /// The point and tape as the decoder itself knows them.
    fn inside<'a>(&self, taped: Taped<'a>) -> Taped<'a> {
        Taped {
            at: At {
                z: self.row(taped.tape, 0),
                ..taped.at
            },
            tape: taped.tape.subrows(0, self.tape),
        }
    }
}

/// to *= from, a column of `from` for `directions` columns of `to`.
fn times(mut to: ColsMut<'_>, from: Cols<'_>, directions: usize) {
    for b in 0..to.ncols() {
        let factors = column(from, b / directions);
        column_mut(&mut to, b)
            .iter_mut()
            .zip(factors)
            .for_each(|(to, factor)| *to *= factor);
    }
}

impl Decoder for Unbounded {
    fn shape(&self) -> DecoderShape {
        self.inner.shape()
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.inner.tensors()
    }

    fn output(&self) -> Output {
        self.inner.output()
    }

    fn latents(&self) -> &[Latent] {
        self.inner.latents()
    }

    fn tape_len(&self) -> usize {
        self.tape + 3 * self.latent
    }

    fn scratch_len(&self, columns: usize) -> usize {
        self.inner.scratch_len(columns) + 2 * self.latent * columns
    }

    fn forward(&self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>, scratch: &mut [f64]) -> Result<(), DecodeError> {
        let (inner, mut own) = tape.split_at_row_mut(self.tape);
        for lane in 0..at.z.ncols() {
            let (u, own) = (column(at.z, lane), column_mut(&mut own, lane));
            for (r, latent) in self.inner.latents().iter().enumerate() {
                let [p, slope, bend] = latent.physical(u[r]);
                (own[r], own[self.latent + r], own[2 * self.latent + r]) = (p, slope, bend);
            }
        }
        let z = own.into_const().subrows(0, self.latent);
        self.inner.forward(At { z, ..at }, x, inner, scratch)
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        mut z_bar: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        self.inner.vjp(self.inside(taped), x_bar, z_bar.as_mut(), scratch)?;
        times(z_bar, self.row(taped.tape, 1), 1);
        Ok(())
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        self.inner.tangent().map(|_| self as &dyn Tangent)
    }

    fn trainable(&self) -> Option<&dyn Trainable> {
        self.inner.trainable().map(|_| self as &dyn Trainable)
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        self.inner.second_order().map(|_| self as &dyn SecondOrder)
    }

    fn guess(&self) -> Option<&dyn Guess> {
        self.inner.guess().map(|_| self as &dyn Guess)
    }
}

/// An ability that the inner decoder was seen to have when this one was asked for it.
fn had<T>(ability: Option<T>) -> Result<T, DecodeError> {
    ability.ok_or_else(|| DecodeError::Fatal("an ability that it had is gone".into()))
}

impl Tangent for Unbounded {
    fn jvp(
        &self,
        taped: Taped<'_>,
        z_dot: Cols<'_>,
        x_dot: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let columns = z_dot.ncols();
        let (own, rest) = scratch.split_at_mut(self.latent * columns);
        let mut p_dot = batch_mut(own, self.latent, columns);
        p_dot.as_mut().copy_from(z_dot);
        let directions = columns / taped.tape.ncols().max(1);
        times(p_dot.as_mut(), self.row(taped.tape, 1), directions);
        let tangent = had(self.inner.tangent())?;
        tangent.jvp(self.inside(taped), p_dot.into_const(), x_dot, rest)
    }
}

impl Trainable for Unbounded {
    fn init(&self, seed: u64, params: &mut [f64]) -> Result<(), DecodeError> {
        had(self.inner.trainable())?.init(seed, params)
    }

    fn params_vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        params_bar: &mut [f64],
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let trainable = had(self.inner.trainable())?;
        trainable.params_vjp(self.inside(taped), x_bar, params_bar, scratch)
    }
}

impl SecondOrder for Unbounded {
    /// With g = J_p^T x_bar: p' (z_bar_dot of the decoder along p' u_dot) + p'' u_dot g.
    fn hvp(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        mut z_bar_dot: ColsMut<'_>,
        params_bar_dot: Option<&mut [f64]>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let lanes = seeds.z_dot.ncols();
        let (p_dot, rest) = scratch.split_at_mut(self.latent * lanes);
        let (gradient, rest) = rest.split_at_mut(self.latent * lanes);
        let mut p_dot = batch_mut(p_dot, self.latent, lanes);
        p_dot.as_mut().copy_from(seeds.z_dot);
        times(p_dot.as_mut(), self.row(taped.tape, 1), 1);
        let inside = self.inside(taped);
        self.inner
            .vjp(inside, seeds.x_bar, batch_mut(gradient, self.latent, lanes), rest)?;
        let seeds_inside = Seeds {
            z_dot: p_dot.into_const(),
            ..seeds
        };
        let second = had(self.inner.second_order())?;
        second.hvp(inside, seeds_inside, z_bar_dot.as_mut(), params_bar_dot, rest)?;
        times(z_bar_dot.as_mut(), self.row(taped.tape, 1), 1);
        let (gradient, bend) = (batch(gradient, self.latent, lanes), self.row(taped.tape, 2));
        for lane in 0..lanes {
            let (g, bend, u_dot) = (column(gradient, lane), column(bend, lane), column(seeds.z_dot, lane));
            for (r, to) in column_mut(&mut z_bar_dot, lane).iter_mut().enumerate() {
                *to += bend[r] * u_dot[r] * g[r];
            }
        }
        Ok(())
    }
}

impl Guess for Unbounded {
    fn guess(
        &self,
        params: &[f64],
        context: Cols<'_>,
        data: Targets<'_>,
        start: usize,
        mut z: ColsMut<'_>,
    ) -> Result<(), DecodeError> {
        had(self.inner.guess())?.guess(params, context, data, start, z.as_mut())?;
        for lane in 0..z.ncols() {
            let column = column_mut(&mut z, lane);
            for (z, latent) in column.iter_mut().zip(self.inner.latents()) {
                // One out of bounds is none: far out the flow would not come back.
                let within = (latent.lower..=latent.upper).contains(&*z);
                *z = if within { latent.unbounded(*z) } else { f64::NAN };
            }
        }
        Ok(())
    }
}
