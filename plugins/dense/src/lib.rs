//! The built-in dense decoder once more, from the same source, behind the plugin interface.
//!
//! It computes the same numbers, bit for bit: what differs between the two is what the interface costs.

use gfe_sdk::model::dense;
use gfe_sdk::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderPlugin, DecoderShape, Output, SecondOrder, Tangent, Taped,
    TensorSpec, Trainable, plugin,
};
use std::ffi::CStr;

/// The dense decoder of `gfe_model`; its configuration is a `DenseConfig` in JSON.
pub struct Dense(dense::Dense);

impl DecoderPlugin for Dense {
    const ID: &'static CStr = c"dense";
    const TITLE: &'static CStr = c"Linear layers with one nonlinearity between them";

    fn create(config: &str) -> Result<Self, String> {
        let config = gfe_sdk::config(config)?;
        dense::Dense::new(config).map(Dense).map_err(|error| error.to_string())
    }
}

impl Decoder for Dense {
    fn shape(&self) -> DecoderShape {
        self.0.shape()
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.0.tensors()
    }

    fn output(&self) -> Output {
        self.0.output()
    }

    fn tape_len(&self) -> usize {
        self.0.tape_len()
    }

    fn scratch_len(&self, columns: usize) -> usize {
        self.0.scratch_len(columns)
    }

    fn forward(&self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>, scratch: &mut [f64]) -> Result<(), DecodeError> {
        self.0.forward(at, x, tape, scratch)
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        z_bar: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        self.0.vjp(taped, x_bar, z_bar, scratch)
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        self.0.tangent()
    }

    fn trainable(&self) -> Option<&dyn Trainable> {
        self.0.trainable()
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        self.0.second_order()
    }
}

plugin!(decoders: [Dense]);
