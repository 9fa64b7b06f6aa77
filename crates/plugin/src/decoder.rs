//! A plugin's decoder as one of ours.

use crate::library::DecoderListed;
use crate::table::{self, Table};
use crate::{Library, PluginError};
use core::ffi::{CStr, c_void};
use gfe_abi::{
    self as abi, DecoderInstance, DecoderTable, GuessTable, LatentsTable, Matrix, MatrixMut, SecondOrderTable, Slice,
    SliceMut, Status, TangentTable, Text, TextMut, TrainableTable,
};
use gfe_model::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, Guess, Latent, Output, SecondOrder, Seeds, Tangent, Taped,
    Targets, TensorSpec, Trainable, Transform,
};
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

/// Which calls of a decoder may overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Any: one instance serves all workers.
    Shared,
    /// One at a time per instance: every worker has its own.
    Instance,
    /// One at a time in the whole library: there is one worker.
    Process,
}

impl Threads {
    pub(crate) fn of(number: u32) -> Option<Threads> {
        match number {
            abi::THREADS_SHARED => Some(Threads::Shared),
            abi::THREADS_INSTANCE => Some(Threads::Instance),
            abi::THREADS_PROCESS => Some(Threads::Process),
            _ => None,
        }
    }

    /// Its name in the interface.
    pub fn name(self) -> &'static str {
        match self {
            Threads::Shared => "shared",
            Threads::Instance => "instance",
            Threads::Process => "process",
        }
    }
}

/// In which precision a decoder computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Double.
    F64,
    /// Single.
    F32,
}

impl Precision {
    pub(crate) fn of(number: u32) -> Option<Precision> {
        match number {
            abi::PRECISION_F64 => Some(Precision::F64),
            abi::PRECISION_F32 => Some(Precision::F32),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F64 => "f64",
            Precision::F32 => "f32",
        }
    }
}

/// Scratch values that a call for 64 columns may ask for: 2 GiB.
const MOST_SCRATCH: usize = 1 << 28;
/// Most latents, values, weights or context of a decoder.
const MOST: usize = 1 << 32;

/// A decoder of a library with its configuration: opens instances for workers, and keeps those handed back.
pub struct DecoderPlugin {
    library: Arc<Library>,
    listed: DecoderListed,
    config: String,
    idle: Arc<Mutex<Vec<Arc<Instance>>>>,
}

impl DecoderPlugin {
    /// The decoder `id` of a library, or its only one, set up from a configuration in JSON (empty for none).
    ///
    /// Fails where there is none, it refuses the configuration, or what it says of itself cannot be.
    pub fn open(library: &Arc<Library>, id: Option<&str>, config: &str) -> Result<DecoderPlugin, PluginError> {
        let listed = library.decoders()?;
        let available = || listed.iter().map(|one| one.id.clone()).collect();
        let found = match id {
            Some(id) => listed
                .iter()
                .find(|one| one.id == id)
                .ok_or_else(|| PluginError::NoSuchId {
                    path: library.path().to_owned(),
                    kind: "decoder",
                    id: id.to_owned(),
                    available: available(),
                })?,
            None if listed.len() > 1 => {
                return Err(PluginError::Ambiguous {
                    path: library.path().to_owned(),
                    kind: "decoder",
                    available: available(),
                });
            }
            None => listed.first().ok_or_else(|| PluginError::NotAPlugin {
                path: library.path().to_owned(),
                what: "it has no decoder".into(),
            })?,
        };
        let plugin = DecoderPlugin {
            library: Arc::clone(library),
            listed: found.clone(),
            config: config.to_owned(),
            idle: Arc::default(),
        };
        let first = plugin.create()?;
        plugin.keep(first);
        Ok(plugin)
    }

    /// What the library says of it.
    pub fn listed(&self) -> &DecoderListed {
        &self.listed
    }

    /// The library.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// A decoder for a worker: the shared instance, or one of its own. Latents are physical: see
    /// [`Unbounded`](gfe_model::Unbounded).
    pub fn decoder(&self) -> Result<Box<dyn Decoder>, PluginError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = match self.listed.threads {
            Threads::Shared => idle.first().cloned(),
            Threads::Instance | Threads::Process => idle.pop(),
        };
        drop(idle);
        let instance = match instance {
            Some(instance) => instance,
            None => Arc::new(self.create()?),
        };
        Ok(Box::new(PluginDecoder {
            idle: (self.listed.threads != Threads::Shared).then(|| Arc::clone(&self.idle)),
            instance,
        }))
    }

    fn keep(&self, instance: Instance) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::new(instance));
    }

    fn create(&self) -> Result<Instance, PluginError> {
        let (library, id) = (&self.library, &self.listed.id);
        let failed = |message: String| PluginError::Create {
            id: id.clone(),
            message,
        };
        if !library.alive() {
            return Err(failed("it has broken down before".into()));
        }
        let factory = library
            .decoder_factory()
            .ok_or_else(|| failed("the library has no decoders".into()))?;
        let create = library.has("gfe_decoder_factory", "create", factory.create)?;
        let name = CString::new(id.as_str()).map_err(|_| failed("its name has a NUL in it".into()))?;
        let mut made = DecoderInstance {
            table: core::ptr::null(),
            instance: core::ptr::null_mut(),
        };
        let mut message = vec![0u8; 4096];
        // SAFETY: everything passed in is valid during the call; one byte of `message` stays 0 whatever is written.
        let status = unsafe {
            let text = Text {
                data: self.config.as_ptr().cast(),
                len: self.config.len(),
            };
            let room = TextMut {
                data: message.as_mut_ptr().cast(),
                len: message.len() - 1,
            };
            create(name.as_ptr(), text, &mut made, room)
        };
        if status != Status::OK {
            if status != Status::ERROR && status != Status::DISCARD {
                library.die();
            }
            let said = CStr::from_bytes_until_nul(&message)
                .map(CStr::to_string_lossy)
                .unwrap_or_default();
            let said = if said.is_empty() {
                "it does not say why".into()
            } else {
                said
            };
            return Err(failed(said.into_owned()));
        }
        Instance::new(library, id, made)
    }
}

/// One instance of a plugin's decoder, with its tables and constants.
struct Instance {
    library: Arc<Library>,
    id: String,
    pointer: *mut c_void,
    table: DecoderTable,
    tangent: Option<TangentTable>,
    trainable: Option<TrainableTable>,
    second_order: Option<SecondOrderTable>,
    guess: Option<GuessTable>,
    shape: abi::Shape,
    output: Output,
    tensors: Vec<TensorSpec>,
    latents: Vec<Latent>,
}

// SAFETY: the plugin lets its functions be called from any thread, and DecoderPlugin keeps calls from overlapping where it
// does not allow that.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    fn new(library: &Arc<Library>, id: &str, made: DecoderInstance) -> Result<Instance, PluginError> {
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
            id: id.to_owned(),
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

    fn scratch(&self, columns: usize) -> usize {
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
        let text = |alive: bool| {
            let Some(last_error) = self.table.last_error.filter(|_| alive) else {
                return String::new();
            };
            // SAFETY: the pointer is that of the instance; the text is copied before the next call.
            unsafe { table::text(last_error(self.pointer)) }
        };
        match status {
            Status::OK => Ok(()),
            Status::DISCARD => Err(DecodeError::Discard(text(true))),
            Status::ERROR => Err(DecodeError::Failed(text(true))),
            other => {
                // The reason is the one thing that may still be asked for.
                let mut said = text(self.library.alive());
                if other != Status::FATAL {
                    said = format!("it answered {}, which is no status; {said}", other.0);
                }
                self.library.die();
                Err(DecodeError::Fatal(format!("plugin {}: {said}", self.id)))
            }
        }
    }

    /// Makes a call, unless the library has broken down.
    fn call(&self, call: impl FnOnce() -> Status) -> Result<(), DecodeError> {
        if !self.library.alive() {
            return Err(DecodeError::Fatal(format!("plugin {} has broken down before", self.id)));
        }
        self.said(call())
    }

    fn shape(&self) -> DecoderShape {
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
        if let Some(destroy) = self.table.destroy.filter(|_| self.library.alive()) {
            // SAFETY: the instance is not used again.
            unsafe { destroy(self.pointer) };
        }
    }
}

/// A worker's view of an instance.
struct PluginDecoder {
    instance: Arc<Instance>,
    /// Where it goes back to.
    idle: Option<Arc<Mutex<Vec<Arc<Instance>>>>>,
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

fn matrix(of: Cols<'_>) -> Matrix {
    Matrix {
        data: of.as_ptr(),
        rows: of.nrows(),
        cols: of.ncols(),
        col_stride: stride(of.col_stride(), of.nrows()),
    }
}

fn matrix_mut(of: ColsMut<'_>) -> MatrixMut {
    let (rows, cols, col_stride) = (of.nrows(), of.ncols(), of.col_stride());
    MatrixMut {
        data: of.as_ptr_mut(),
        rows,
        cols,
        col_stride: stride(col_stride, rows),
    }
}

/// A single column may have any stride.
fn stride(stride: isize, rows: usize) -> usize {
    usize::try_from(stride).unwrap_or(rows).max(rows)
}

fn slice(of: &[f64]) -> Slice {
    Slice {
        data: of.as_ptr(),
        len: of.len(),
    }
}

fn slice_mut(of: &mut [f64]) -> SliceMut {
    SliceMut {
        data: of.as_mut_ptr(),
        len: of.len(),
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
    /// NaN where the plugin fails.
    fn init(&self, seed: u64, params: &mut [f64]) {
        let of = &self.instance;
        let function = known(of.trainable.and_then(|table| table.init));
        // SAFETY: `params` is borrowed for the call.
        let done = function.and_then(|function| of.call(|| unsafe { function(of.pointer, seed, slice_mut(params)) }));
        if done.is_err() {
            params.fill(f64::NAN);
        }
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
