//! Decoders made of linear, convolutional and residual layers, read from a configuration: a plugin of gfe.
//!
//! The layers are PyTorch's, with its names of tensors, its order of values and its initial weights' bounds. All is
//! computed in double precision: convolutions as matrix products of tiles of the patch matrix, over all lanes. The
//! products of first and second order run the same list of steps (`program`) forwards and backwards.

mod build;
mod columns;
mod config;
mod layer;
mod memory;
mod products;
mod program;
mod random;

pub use config::{ConvError, Fault};

use columns::widest;
use config::Config;
use gfe_sdk::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderPlugin, DecoderShape, Output, SecondOrder, Tangent, Taped,
    TensorSpec, Trainable, plugin,
};
use program::Program;
use std::ffi::CStr;

/// Scratch values of a block of columns, about: 32 MiB.
const BLOCK_VALUES: usize = 1 << 22;
/// The widest block, as in the dense decoder.
const WIDEST_BLOCK: usize = 256;

/// A decoder x = D(z) made of a list of layers; it holds its architecture alone.
pub struct Conv {
    latent: usize,
    output: Output,
    program: Program,
}

impl Conv {
    /// The decoder of a configuration in JSON; the README of the plugin lists the layers.
    ///
    /// Fails where a key is unknown or missing, where shapes do not fit one another, and where a size is 0 or too large.
    pub fn new(config: &str) -> Result<Self, ConvError> {
        let config: Config = gfe_sdk::config(config).map_err(ConvError::Config)?;
        Ok(Conv {
            program: build::program(&config)?,
            latent: config.latent,
            output: config.output,
        })
    }

    /// Columns of a block where each takes so many values of scratch.
    fn block(&self, per_column: usize) -> usize {
        (BLOCK_VALUES / per_column.max(1)).clamp(2, WIDEST_BLOCK)
    }

    /// Scratch of a column in the products of first order that need no inputs of layers.
    fn first_order(&self) -> usize {
        self.program.slots
    }

    /// Scratch of a column in the parameter gradient: a value that is made again passes between two.
    fn gradient(&self) -> usize {
        self.program.slots + 2 * self.program.chain
    }

    /// Scratch of a column in the products of second order: tangents on a tape of their own, cotangents and their
    /// tangents, and values and tangents that are made again.
    fn second(&self) -> usize {
        self.program.tape + 2 * self.program.slots + 4 * self.program.chain
    }
}

impl DecoderPlugin for Conv {
    const ID: &'static CStr = c"conv";
    const TITLE: &'static CStr = c"Convolutional decoders from a list of layers";

    fn create(config: &str) -> Result<Self, String> {
        Conv::new(config).map_err(|error| error.to_string())
    }
}

impl Decoder for Conv {
    fn shape(&self) -> DecoderShape {
        DecoderShape {
            latent: self.latent,
            data: self.program.values[self.program.last()].len,
            params: self.program.params,
            context: 0,
        }
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.program.tensors.clone()
    }

    fn output(&self) -> Output {
        self.output
    }

    fn tape_len(&self) -> usize {
        self.program.tape
    }

    fn scratch_len(&self, columns: usize) -> usize {
        let kinds = [self.first_order(), self.gradient(), self.second()];
        let blocks = kinds.map(|per_column| per_column * widest(columns, self.block(per_column)));
        self.program.tile + self.program.widest_activation + blocks.into_iter().max().unwrap_or(0)
    }

    fn forward(&self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>, scratch: &mut [f64]) -> Result<(), DecodeError> {
        products::forward(self, at, x, tape, scratch);
        Ok(())
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        z_bar: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        products::vjp(self, taped, x_bar, z_bar, scratch);
        Ok(())
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        Some(self)
    }

    fn trainable(&self) -> Option<&dyn Trainable> {
        Some(self)
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        Some(self)
    }
}

plugin!(decoders: [Conv]);
