//! Calls of an instance as the products of a decoder.

use super::instance::Instance;
use crate::view::{matrix, matrix_mut, slice, slice_mut};
use gfe_abi as abi;
use gfe_model::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, Guess, Latent, Output, SecondOrder, Seeds, Tangent, Taped,
    Targets, TensorSpec, Trainable,
};
use std::sync::{Arc, Mutex, PoisonError};

/// A worker's view of an instance.
pub(super) struct PluginDecoder {
    pub(super) instance: Arc<Instance>,
    /// Where it goes back to.
    pub(super) idle: Option<Arc<Mutex<Vec<Arc<Instance>>>>>,
}

impl Drop for PluginDecoder {
    fn drop(&mut self) {
        if let Some(idle) = &self.idle {
            idle.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Arc::clone(&self.instance));
        }
    }
}

fn at(of: At<'_>) -> abi::At {
    abi::At {
        size: size_of::<abi::At>(),
        params_version: of.version,
        params: slice(of.params),
        z: matrix(of.z),
        context: matrix(of.context),
    }
}

/// A function whose table was seen to be complete when the instance was opened.
fn known<F>(function: Option<F>) -> Result<F, DecodeError> {
    function.ok_or_else(|| DecodeError::Fatal("a function of the plugin is gone".into()))
}

impl Decoder for PluginDecoder {
    fn shape(&self) -> DecoderShape {
        self.instance.shape()
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.instance.tensors.clone()
    }

    fn output(&self) -> Output {
        self.instance.output
    }

    fn latents(&self) -> &[Latent] {
        &self.instance.latents
    }

    fn tape_len(&self) -> usize {
        self.instance.shape.tape
    }

    fn scratch_len(&self, columns: usize) -> usize {
        self.instance.scratch(columns)
    }

    fn forward(
        &self,
        point: At<'_>,
        x: ColsMut<'_>,
        tape: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let (of, function) = (&self.instance, known(self.instance.table.forward)?);
        let (point, x, tape, scratch) = (at(point), matrix_mut(x), matrix_mut(tape), slice_mut(scratch));
        // SAFETY: everything passed in is borrowed for the call.
        of.call(|| unsafe { function(of.pointer, &point, x, tape, scratch) })
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        z_bar: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let (of, function) = (&self.instance, known(self.instance.table.vjp)?);
        let (point, tape, x_bar) = (at(taped.at), matrix(taped.tape), matrix(x_bar));
        let (z_bar, scratch) = (matrix_mut(z_bar), slice_mut(scratch));
        // SAFETY: everything passed in is borrowed for the call.
        of.call(|| unsafe { function(of.pointer, &point, tape, x_bar, z_bar, scratch) })
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        self.instance.tangent.as_ref().map(|_| self as &dyn Tangent)
    }

    fn trainable(&self) -> Option<&dyn Trainable> {
        self.instance.trainable.as_ref().map(|_| self as &dyn Trainable)
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        self.instance.second_order.as_ref().map(|_| self as &dyn SecondOrder)
    }

    fn guess(&self) -> Option<&dyn Guess> {
        self.instance.guess.as_ref().map(|_| self as &dyn Guess)
    }
}

impl Tangent for PluginDecoder {
    fn jvp(
        &self,
        taped: Taped<'_>,
        z_dot: Cols<'_>,
        x_dot: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let (of, function) = (
            &self.instance,
            known(self.instance.tangent.and_then(|table| table.jvp))?,
        );
        let (point, tape, z_dot) = (at(taped.at), matrix(taped.tape), matrix(z_dot));
        let (x_dot, scratch) = (matrix_mut(x_dot), slice_mut(scratch));
        // SAFETY: everything passed in is borrowed for the call.
        of.call(|| unsafe { function(of.pointer, &point, tape, z_dot, x_dot, scratch) })
    }
}

impl Trainable for PluginDecoder {
    fn init(&self, seed: u64, params: &mut [f64]) -> Result<(), DecodeError> {
        let of = &self.instance;
        let function = known(of.trainable.and_then(|table| table.init))?;
        // SAFETY: `params` is borrowed for the call.
        of.call(|| unsafe { function(of.pointer, seed, slice_mut(params)) })
    }

    fn params_vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        params_bar: &mut [f64],
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let of = &self.instance;
        let function = known(of.trainable.and_then(|table| table.params_vjp))?;
        let (point, tape, x_bar) = (at(taped.at), matrix(taped.tape), matrix(x_bar));
        let (params_bar, scratch) = (slice_mut(params_bar), slice_mut(scratch));
        // SAFETY: everything passed in is borrowed for the call.
        of.call(|| unsafe { function(of.pointer, &point, tape, x_bar, params_bar, scratch) })
    }
}

impl SecondOrder for PluginDecoder {
    fn hvp(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        z_bar_dot: ColsMut<'_>,
        params_bar_dot: Option<&mut [f64]>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let of = &self.instance;
        let function = known(of.second_order.and_then(|table| table.hvp))?;
        let (point, tape, z_dot) = (at(taped.at), matrix(taped.tape), matrix(seeds.z_dot));
        let (x_bar, x_bar_dot) = (matrix(seeds.x_bar), matrix(seeds.x_bar_dot));
        let (z_bar_dot, params, scratch) = (
            matrix_mut(z_bar_dot),
            slice_mut(params_bar_dot.unwrap_or_default()),
            slice_mut(scratch),
        );
        // SAFETY: everything passed in is borrowed for the call.
        of.call(|| unsafe {
            function(
                of.pointer, &point, tape, z_dot, x_bar, x_bar_dot, z_bar_dot, params, scratch,
            )
        })
    }
}

impl Guess for PluginDecoder {
    fn guess(
        &self,
        params: &[f64],
        context: Cols<'_>,
        data: Targets<'_>,
        start: usize,
        z: ColsMut<'_>,
    ) -> Result<(), DecodeError> {
        let of = &self.instance;
        let function = known(of.guess.and_then(|table| table.guess))?;
        let none = Cols::from_column_major_slice(&[], data.y.nrows(), 0);
        let (params, context) = (slice(params), matrix(context));
        let (y, w, z) = (matrix(data.y), matrix(data.w.unwrap_or(none)), matrix_mut(z));
        // SAFETY: everything passed in is borrowed for the call.
        of.call(|| unsafe { function(of.pointer, params, context, y, w, start, z) })
    }
}
