//! A decoder that fails where it is told to, or lacks abilities.

use crate::support::dense;
use gfe_model::dense::{Activation, Dense};
use gfe_model::{At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, SecondOrder, Seeds, Tangent, Taped, Trainable};

/// How a decoder with a context fails where that is 1.
#[derive(Clone, Copy, PartialEq)]
pub enum Fails {
    /// NaN in the column of the second-order product.
    Column,
    /// An error for the whole call.
    Call,
}

/// A dense decoder that reads a context, or lacks abilities.
pub struct Fragile {
    pub dense: Dense,
    pub fails: Option<Fails>,
    pub trainable: bool,
    pub second_order: bool,
}

impl Fragile {
    pub fn boxed(fails: Option<Fails>) -> Box<dyn Decoder> {
        Box::new(Fragile {
            dense: dense(Activation::Tanh),
            fails,
            trainable: true,
            second_order: true,
        })
    }
}

impl Decoder for Fragile {
    fn shape(&self) -> DecoderShape {
        DecoderShape {
            context: usize::from(self.fails.is_some()),
            ..self.dense.shape()
        }
    }

    fn tape_len(&self) -> usize {
        self.dense.tape_len()
    }

    fn scratch_len(&self, columns: usize) -> usize {
        self.dense.scratch_len(columns)
    }

    fn forward(&self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>, scratch: &mut [f64]) -> Result<(), DecodeError> {
        self.dense.forward(at, x, tape, scratch)
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        z_bar: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        self.dense.vjp(taped, x_bar, z_bar, scratch)
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        self.dense.tangent()
    }

    fn trainable(&self) -> Option<&dyn Trainable> {
        self.trainable.then_some(&self.dense as &dyn Trainable)
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        self.second_order.then_some(self as &dyn SecondOrder)
    }
}

impl SecondOrder for Fragile {
    fn hvp(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        mut z_bar_dot: ColsMut<'_>,
        params_bar_dot: Option<&mut [f64]>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let context = taped.at.context;
        let broken: Vec<usize> = match self.fails {
            Some(_) => (0..context.ncols()).filter(|&b| context[(0, b)] == 1.0).collect(),
            None => Vec::new(),
        };
        if !broken.is_empty() && self.fails == Some(Fails::Call) {
            return Err(DecodeError::Failed("no second order here".into()));
        }
        self.dense
            .hvp(taped, seeds, z_bar_dot.as_mut(), params_bar_dot, scratch)?;
        for b in broken {
            z_bar_dot.as_mut().col_mut(b).fill(f64::NAN);
        }
        Ok(())
    }
}
