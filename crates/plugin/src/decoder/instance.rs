//! One instance of a plugin's decoder: its tables, its constants, and how it is called.

use crate::library::DecoderListed;
use crate::table::{self, Table};
use crate::{Library, PluginError, Threads};
use core::ffi::{CStr, c_void};
use gfe_abi::{
    self as abi, DecoderInstance, DecoderTable, GuessTable, LatentsTable, SecondOrderTable, Status, TangentTable,
    TrainableTable,
};
use gfe_model::{DecodeError, DecoderShape, Latent, Output, TensorSpec, Transform};
use std::sync::Arc;

/// Scratch values that a call for 64 columns may ask for: 2 GiB.
const MOST_SCRATCH: usize = 1 << 28;
/// Most latents, values, weights or context of a decoder.
const MOST: usize = 1 << 32;

/// One instance of a plugin's decoder, with its tables and constants.
pub(super) struct Instance {
    library: Arc<Library>,
    id: String,
    /// Whether one call at a time is made in the whole library.
    alone: bool,
    pub(super) pointer: *mut c_void,
    pub(super) table: DecoderTable,
    pub(super) tangent: Option<TangentTable>,
    pub(super) trainable: Option<TrainableTable>,
    pub(super) second_order: Option<SecondOrderTable>,
    pub(super) guess: Option<GuessTable>,
    pub(super) shape: abi::Shape,
    pub(super) output: Output,
    pub(super) tensors: Vec<TensorSpec>,
    pub(super) latents: Vec<Latent>,
}

// SAFETY: the plugin lets its functions be called from any thread, and DecoderPlugin keeps calls from overlapping where it
// does not allow that.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    pub(super) fn new(
        library: &Arc<Library>,
        listed: &DecoderListed,
        made: DecoderInstance,
    ) -> Result<Instance, PluginError> {
        let id = &listed.id;
        // SAFETY: the plugin answered OK, so the table is null or one of the interface.
        let table = unsafe { table::read(made.table) };
        let table = table.ok_or_else(|| library.broken(id, "it was made without a table of functions"))?;
        let has = |member, there: bool| library.has("gfe_decoder_table", member, there.then_some(()));
        has("shape", table.shape.is_some())?;
        has("scratch_len", table.scratch_len.is_some())?;
        has("forward", table.forward.is_some())?;
        has("vjp", table.vjp.is_some())?;
        has("last_error", table.last_error.is_some())?;
        has("destroy", table.destroy.is_some())?;
        let mut instance = Instance {
            library: Arc::clone(library),
            id: id.clone(),
            // The library's turn is held by whoever makes an instance.
            alone: false,
            pointer: made.instance,
            table,
            tangent: None,
            trainable: None,
            second_order: None,
            guess: None,
            shape: abi::Shape {
                latent: 0,
                data: 0,
                params: 0,
                context: 0,
                tape: 0,
                output: 0,
                reserved: 0,
            },
            output: Output::Values,
            tensors: Vec::new(),
            latents: Vec::new(),
        };
        instance.read_shape()?;
        instance.tangent = instance.extension(abi::TANGENT, "jvp", |table: &TangentTable| table.jvp.is_some())?;
        instance.trainable = instance.extension(abi::TRAINABLE, "init and params_vjp", |table: &TrainableTable| {
            table.init.is_some() && table.params_vjp.is_some()
        })?;
        instance.second_order =
            instance.extension(abi::SECOND_ORDER, "hvp", |table: &SecondOrderTable| table.hvp.is_some())?;
        instance.guess = instance.extension(abi::GUESS, "guess", |table: &GuessTable| table.guess.is_some())?;
        instance.read_tensors()?;
        instance.read_latents()?;
        instance.alone = listed.threads == Threads::Process;
        Ok(instance)
    }

    fn broken(&self, what: &str) -> PluginError {
        self.library.broken(&self.id, what)
    }

    fn read_shape(&mut self) -> Result<(), PluginError> {
        let shape = self.library.has("gfe_decoder_table", "shape", self.table.shape)?;
        // SAFETY: both pointers are valid.
        let status = unsafe { shape(self.pointer, &mut self.shape) };
        self.said(status)
            .map_err(|error| self.broken(&format!("it does not tell its sizes: {error}")))?;
        let sizes = &self.shape;
        if sizes.latent == 0 || sizes.data == 0 {
            return Err(self.broken("it has no latents or no values"));
        }
        let all = [sizes.latent, sizes.data, sizes.params, sizes.context, sizes.tape];
        if all.iter().any(|&size| size > MOST) {
            return Err(self.broken(&format!("its sizes are absurd: {all:?}")));
        }
        self.output = match sizes.output {
            abi::OUTPUT_VALUES => Output::Values,
            abi::OUTPUT_LOGITS => Output::Logits,
            abi::OUTPUT_LOG_RATES => Output::LogRates,
            other => return Err(self.broken(&format!("its `output` is {other}, which there is not"))),
        };
        if self.scratch(64) > MOST_SCRATCH {
            return Err(self.broken(&format!(
                "it asks for {} scratch values for 64 columns",
                self.scratch(64)
            )));
        }
        Ok(())
    }

    pub(super) fn scratch(&self, columns: usize) -> usize {
        let _turn = self.alone.then(|| self.library.turn());
        // SAFETY: the pointer is that of the instance.
        self.table
            .scratch_len
            .map_or(0, |scratch_len| unsafe { scratch_len(self.pointer, columns) })
    }

    fn extension<T: Table>(
        &self,
        id: &CStr,
        members: &str,
        complete: fn(&T) -> bool,
    ) -> Result<Option<T>, PluginError> {
        let Some(extension) = self.table.extension else {
            return Ok(None);
        };
        // SAFETY: the pointers are valid; what comes is null or a table of the type that follows from the id.
        let table = unsafe {
            let found = extension(self.pointer, id.as_ptr());
            if found.is_null() {
                return Ok(None);
            }
            table::read(found.cast::<T>())
        };
        match table {
            Some(table) if complete(&table) => Ok(Some(table)),
            _ => Err(self.broken(&format!("its {} lacks {members}", T::NAME))),
        }
    }

    fn read_tensors(&mut self) -> Result<(), PluginError> {
        let mut left = self.shape.params;
        let Some(tensor) = self.table.tensor.filter(|_| left > 0) else {
            if left > 0 {
                return Err(self
                    .library
                    .has::<()>("gfe_decoder_table", "tensor", None)
                    .expect_err("it is absent"));
            }
            return Ok(());
        };
        while left > 0 {
            let mut to = abi::Tensor {
                name: core::ptr::null(),
                shape: core::ptr::null(),
                rank: 0,
            };
            // SAFETY: both pointers are valid.
            let status = unsafe { tensor(self.pointer, self.tensors.len(), &mut to) };
            if self.said(status).is_err() {
                return Err(self.broken(&format!("its tensors hold {left} values fewer than `params`")));
            }
            if to.rank > 8 || (to.shape.is_null() && to.rank > 0) {
                return Err(self.broken("one of its tensors has no shape"));
            }
            // SAFETY: the plugin answered OK: the shape has `rank` entries, the name ends with a NUL.
            let spec = unsafe {
                TensorSpec {
                    name: table::text(to.name),
                    shape: (0..to.rank).map(|axis| to.shape.add(axis).read()).collect(),
                }
            };
            let len = spec.shape.iter().try_fold(1_usize, |len, &axis| len.checked_mul(axis));
            left = match len.and_then(|len| left.checked_sub(len)) {
                Some(rest) if rest < left && !spec.name.is_empty() => rest,
                _ => return Err(self.broken("its tensors do not add up to `params`, or one has no name")),
            };
            if self.tensors.iter().any(|other| other.name == spec.name) {
                return Err(self.broken(&format!("it has two tensors `{}`", spec.name)));
            }
            self.tensors.push(spec);
        }
        Ok(())
    }

    fn read_latents(&mut self) -> Result<(), PluginError> {
        let table = self.extension(abi::LATENTS, "latent", |table: &LatentsTable| table.latent.is_some())?;
        let Some(latent) = table.and_then(|table| table.latent) else {
            return Ok(());
        };
        for index in 0..self.shape.latent {
            let mut to = abi::Latent {
                name: core::ptr::null(),
                unit: core::ptr::null(),
                lower: f64::NAN,
                upper: f64::NAN,
                scale: f64::NAN,
                default_value: f64::NAN,
                transform: u32::MAX,
                reserved: 0,
            };
            // SAFETY: both pointers are valid.
            let status = unsafe { latent(self.pointer, index, &mut to) };
            self.said(status)
                .map_err(|error| self.broken(&format!("it does not tell what latent {index} is: {error}")))?;
            let transform = match to.transform {
                abi::TRANSFORM_IDENTITY => Transform::Identity,
                abi::TRANSFORM_LOG => Transform::Log,
                abi::TRANSFORM_LOGIT => Transform::Logit,
                other => return Err(self.broken(&format!("the transform {other} of latent {index} is none"))),
            };
            // SAFETY: the plugin answered OK: the texts end with a NUL.
            let latent = unsafe {
                Latent {
                    name: table::text(to.name),
                    unit: table::text(to.unit),
                    lower: to.lower,
                    upper: to.upper,
                    transform,
                    scale: to.scale,
                    default: to.default_value,
                }
            };
            if let Some(fault) = latent.fault() {
                return Err(self.broken(&fault));
            }
            if self.latents.iter().any(|other| other.name == latent.name) {
                return Err(self.broken(&format!("it has two latents `{}`", latent.name)));
            }
            self.latents.push(latent);
        }
        Ok(())
    }

    /// What a status means; after FATAL nothing of the library is called again.
    fn said(&self, status: Status) -> Result<(), DecodeError> {
        let text = || {
            let Some(last_error) = self.table.last_error else {
                return String::new();
            };
            // SAFETY: the pointer is that of the instance; the text is copied before the next call.
            unsafe { table::text(last_error(self.pointer)) }
        };
        match status {
            Status::OK => Ok(()),
            Status::DISCARD => Err(DecodeError::Discard(text())),
            Status::ERROR => Err(DecodeError::Failed(text())),
            other => {
                // The reason is the one thing that may still be asked for.
                let mut said = text();
                if other != Status::FATAL {
                    said = format!("it answered {}, which is no status; {said}", other.0);
                }
                let words = format!("plugin {}: {said}", self.id);
                self.library.die(&words);
                Err(DecodeError::Fatal(words))
            }
        }
    }

    /// Makes a call, unless the library has broken down.
    pub(super) fn call(&self, call: impl FnOnce() -> Status) -> Result<(), DecodeError> {
        // Beside the worker's calls the host makes a few of its own: guesses, measurements.
        let _turn = self.alone.then(|| self.library.turn());
        if let Some(words) = self.library.last_words() {
            return Err(DecodeError::Fatal(words.to_owned()));
        }
        self.said(call())
    }

    pub(super) fn shape(&self) -> DecoderShape {
        DecoderShape {
            latent: self.shape.latent,
            data: self.shape.data,
            params: self.shape.params,
            context: self.shape.context,
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _turn = self.alone.then(|| self.library.turn());
        if let Some(destroy) = self.table.destroy.filter(|_| self.library.last_words().is_none()) {
            // SAFETY: the instance is not used again.
            unsafe { destroy(self.pointer) };
        }
    }
}
