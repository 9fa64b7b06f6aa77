//! Decoders: a Rust type behind the interface's tables.

use crate::guard::{Failure, c_text, forget, guarded, last_error, said};
use crate::view;
use core::ffi::{CStr, c_char, c_void};
use core::marker::PhantomData;
use core::mem::size_of;
use core::ptr;
use gfe_abi::{
    self as abi, DecoderInfo, DecoderInstance, DecoderTable, Matrix, MatrixMut, SliceMut, Status, Text, TextMut,
};
use gfe_model::{At, DecodeError, Decoder, DecoderShape, Output, Seeds, Taped, Targets, Transform};
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Which calls may overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Any: the host opens one instance for all workers.
    Shared,
    /// One at a time per instance: the host opens an instance per worker.
    Instance,
    /// One at a time in the whole library.
    Process,
}

/// In which precision a decoder computes: what its derivatives are checked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Double.
    F64,
    /// Single.
    F32,
}

/// A decoder that a library offers. `Sync`, since the host may share an instance among its threads.
pub trait DecoderPlugin: Decoder + Sync + Sized + 'static {
    /// The name by which it is asked for: letters, digits, `-` and `_`.
    const ID: &'static CStr;
    /// One line for people.
    const TITLE: &'static CStr;
    /// Its version, major and minor.
    const VERSION: (u32, u32) = (1, 0);
    /// Which calls may overlap; any, since Rust has checked it.
    const THREADS: Threads = Threads::Shared;
    /// In which precision it computes.
    const PRECISION: Precision = Precision::F64;

    /// Makes one from a configuration in JSON (an object; empty for none), see [`config`](crate::config); the error is a
    /// sentence for the user.
    fn create(config: &str) -> Result<Self, String>;
}

/// One entry of a library's list of decoders.
pub struct DecoderKind {
    info: DecoderInfo,
    create: fn(&str) -> Result<DecoderInstance, String>,
}

// SAFETY: its pointers are to constants of the library.
unsafe impl Sync for DecoderKind {}

impl DecoderKind {
    /// The entry of the decoder `D`.
    pub const fn of<D: DecoderPlugin>() -> DecoderKind {
        DecoderKind {
            info: DecoderInfo {
                size: size_of::<DecoderInfo>(),
                id: D::ID.as_ptr(),
                title: D::TITLE.as_ptr(),
                version: abi::Version {
                    major: D::VERSION.0,
                    minor: D::VERSION.1,
                },
                threads: match D::THREADS {
                    Threads::Shared => abi::THREADS_SHARED,
                    Threads::Instance => abi::THREADS_INSTANCE,
                    Threads::Process => abi::THREADS_PROCESS,
                },
                precision: match D::PRECISION {
                    Precision::F64 => abi::PRECISION_F64,
                    Precision::F32 => abi::PRECISION_F32,
                },
            },
            create: Instance::<D>::create,
        }
    }

    /// What the factory's `info` answers.
    pub fn info(kinds: &'static [DecoderKind], index: usize) -> *const DecoderInfo {
        kinds.get(index).map_or(ptr::null(), |kind| &raw const kind.info)
    }

    /// What the factory's `create` does.
    ///
    /// # Safety
    /// The arguments are as the interface promises.
    pub unsafe fn create(
        kinds: &'static [DecoderKind],
        id: *const c_char,
        config: Text,
        made: *mut DecoderInstance,
        message: TextMut,
    ) -> Status {
        // SAFETY: the host gives a text that ends with a NUL, and memory for what is made and told.
        unsafe {
            let id = CStr::from_ptr(id);
            let kind = kinds.iter().find(|kind| CStr::from_ptr(kind.info.id) == id);
            let create = || (kind.ok_or("the library has no such decoder")?.create)(view::text(config)?);
            match catch_unwind(AssertUnwindSafe(create)) {
                Ok(Ok(instance)) => {
                    made.write(instance);
                    Status::OK
                }
                Ok(Err(text)) => {
                    view::tell(message, &text);
                    Status::ERROR
                }
                Err(panic) => {
                    view::tell(message, &format!("the plugin panicked: {}", said(&*panic)));
                    Status::FATAL
                }
            }
        }
    }
}

/// A decoder with the constants and texts that the host may ask for.
struct Instance<D> {
    decoder: D,
    shape: DecoderShape,
    tensors: Vec<(CString, Vec<usize>)>,
    latents: Vec<(CString, CString)>,
}

/// The tables of `D`.
struct Tables<D>(PhantomData<D>);

impl<D: DecoderPlugin> Tables<D> {
    const DECODER: DecoderTable = DecoderTable {
        size: size_of::<DecoderTable>(),
        shape: Some(shape::<D>),
        tensor: Some(tensor::<D>),
        scratch_len: Some(scratch_len::<D>),
        forward: Some(forward::<D>),
        vjp: Some(vjp::<D>),
        last_error: Some(last_error),
        destroy: Some(destroy::<D>),
        extension: Some(extension::<D>),
    };
    const TANGENT: abi::TangentTable = abi::TangentTable {
        size: size_of::<abi::TangentTable>(),
        jvp: Some(jvp::<D>),
    };
    const TRAINABLE: abi::TrainableTable = abi::TrainableTable {
        size: size_of::<abi::TrainableTable>(),
        init: Some(init::<D>),
        params_vjp: Some(params_vjp::<D>),
    };
    const SECOND_ORDER: abi::SecondOrderTable = abi::SecondOrderTable {
        size: size_of::<abi::SecondOrderTable>(),
        hvp: Some(hvp::<D>),
    };
    const LATENTS: abi::LatentsTable = abi::LatentsTable {
        size: size_of::<abi::LatentsTable>(),
        latent: Some(latent::<D>),
    };
    const GUESS: abi::GuessTable = abi::GuessTable {
        size: size_of::<abi::GuessTable>(),
        guess: Some(guess::<D>),
    };
}

impl<D: DecoderPlugin> Instance<D> {
    fn create(config: &str) -> Result<DecoderInstance, String> {
        let decoder = D::create(config)?;
        let shape = decoder.shape();
        let tensors = decoder
            .tensors()
            .into_iter()
            .map(|spec| (c_text(&spec.name), spec.shape))
            .collect();
        let latents = decoder
            .latents()
            .iter()
            .map(|latent| (c_text(&latent.name), c_text(&latent.unit)))
            .collect();
        let instance = Box::new(Instance {
            decoder,
            shape,
            tensors,
            latents,
        });
        Ok(DecoderInstance {
            table: &Tables::<D>::DECODER,
            instance: Box::into_raw(instance).cast(),
        })
    }

    /// The instance behind the host's pointer.
    ///
    /// # Safety
    /// `instance` came from `create` and `destroy` was not called.
    unsafe fn of<'a>(instance: *mut c_void) -> &'a Instance<D> {
        // SAFETY: the caller's promise; nothing writes to an instance.
        unsafe { &*instance.cast::<Instance<D>>() }
    }

    /// The point, with the shapes checked.
    ///
    /// # Safety
    /// `at` is as the interface promises.
    unsafe fn at<'a>(&self, at: *const abi::At) -> Result<At<'a>, Failure> {
        // SAFETY: the caller's promise.
        unsafe {
            let at = &*at;
            let lanes = at.z.cols;
            let params = view::slice(at.params).filter(|params| params.len() == self.shape.params);
            Ok(At {
                params: params.ok_or_else(|| Failure::shape("params"))?,
                version: at.params_version,
                z: view::cols(at.z, self.shape.latent, None).ok_or_else(|| Failure::shape("z"))?,
                context: view::cols(at.context, self.shape.context, Some(lanes))
                    .ok_or_else(|| Failure::shape("context"))?,
            })
        }
    }

    /// The point and its tape.
    ///
    /// # Safety
    /// Both are as the interface promises.
    unsafe fn taped<'a>(&self, at: *const abi::At, tape: Matrix) -> Result<Taped<'a>, Failure> {
        // SAFETY: the caller's promise.
        unsafe {
            let at = self.at(at)?;
            let tape = view::cols(tape, self.decoder.tape_len(), Some(at.z.ncols()));
            Ok(Taped {
                at,
                tape: tape.ok_or_else(|| Failure::shape("the tape"))?,
            })
        }
    }

    /// Scratch for `columns` columns.
    ///
    /// # Safety
    /// `scratch` is as the interface promises.
    unsafe fn scratch<'a>(&self, scratch: SliceMut, columns: usize) -> Result<&'a mut [f64], Failure> {
        // SAFETY: the caller's promise.
        let scratch = unsafe { view::slice_mut(scratch) };
        let enough = scratch.filter(|scratch| scratch.len() >= self.decoder.scratch_len(columns));
        enough.ok_or_else(|| Failure::shape("scratch"))
    }
}

fn failure(error: DecodeError) -> Failure {
    let status = match error {
        DecodeError::Discard(_) => Status::DISCARD,
        DecodeError::Failed(_) => Status::ERROR,
        DecodeError::Fatal(_) => Status::FATAL,
    };
    let (DecodeError::Discard(text) | DecodeError::Failed(text) | DecodeError::Fatal(text)) = error;
    Failure(status, text)
}

unsafe extern "C" fn shape<D: DecoderPlugin>(instance: *mut c_void, to: *mut abi::Shape) -> Status {
    // SAFETY: the host's promise about both pointers.
    guarded(instance, || unsafe {
        let of = Instance::<D>::of(instance);
        to.write(abi::Shape {
            latent: of.shape.latent,
            data: of.shape.data,
            params: of.shape.params,
            context: of.shape.context,
            tape: of.decoder.tape_len(),
            output: match of.decoder.output() {
                Output::Values => abi::OUTPUT_VALUES,
                Output::Logits => abi::OUTPUT_LOGITS,
                Output::LogRates => abi::OUTPUT_LOG_RATES,
            },
            reserved: 0,
        });
        Ok(())
    })
}

unsafe extern "C" fn tensor<D: DecoderPlugin>(instance: *mut c_void, index: usize, to: *mut abi::Tensor) -> Status {
    // SAFETY: the host's promise about both pointers; the texts live as long as the instance.
    guarded(instance, || unsafe {
        let missing = || Failure(Status::ERROR, format!("there is no tensor {index}"));
        let (name, shape) = Instance::<D>::of(instance).tensors.get(index).ok_or_else(missing)?;
        to.write(abi::Tensor {
            name: name.as_ptr(),
            shape: shape.as_ptr(),
            rank: shape.len(),
        });
        Ok(())
    })
}

unsafe extern "C" fn scratch_len<D: DecoderPlugin>(instance: *mut c_void, columns: usize) -> usize {
    // SAFETY: the host's promise about the pointer. A panic here is an absurd length, which no host grants.
    let of = unsafe { Instance::<D>::of(instance) };
    catch_unwind(AssertUnwindSafe(|| of.decoder.scratch_len(columns))).unwrap_or(usize::MAX)
}

unsafe extern "C" fn forward<D: DecoderPlugin>(
    instance: *mut c_void,
    at: *const abi::At,
    x: MatrixMut,
    tape: MatrixMut,
    scratch: SliceMut,
) -> Status {
    // SAFETY: the host's promise about the pointers; shapes are checked.
    guarded(instance, || unsafe {
        let of = Instance::<D>::of(instance);
        let at = of.at(at)?;
        let lanes = at.z.ncols();
        let x = view::cols_mut(x, of.shape.data, lanes).ok_or_else(|| Failure::shape("x"))?;
        let tape = view::cols_mut(tape, of.decoder.tape_len(), lanes).ok_or_else(|| Failure::shape("the tape"))?;
        of.decoder
            .forward(at, x, tape, of.scratch(scratch, lanes)?)
            .map_err(failure)
    })
}

unsafe extern "C" fn vjp<D: DecoderPlugin>(
    instance: *mut c_void,
    at: *const abi::At,
    tape: Matrix,
    x_bar: Matrix,
    z_bar: MatrixMut,
    scratch: SliceMut,
) -> Status {
    // SAFETY: the host's promise about the pointers; shapes are checked.
    guarded(instance, || unsafe {
        let of = Instance::<D>::of(instance);
        let taped = of.taped(at, tape)?;
        let lanes = taped.at.z.ncols();
        let x_bar = view::cols(x_bar, of.shape.data, Some(lanes)).ok_or_else(|| Failure::shape("x_bar"))?;
        let z_bar = view::cols_mut(z_bar, of.shape.latent, lanes).ok_or_else(|| Failure::shape("z_bar"))?;
        of.decoder
            .vjp(taped, x_bar, z_bar, of.scratch(scratch, lanes)?)
            .map_err(failure)
    })
}

unsafe extern "C" fn destroy<D: DecoderPlugin>(instance: *mut c_void) {
    forget(instance);
    // SAFETY: the host's promise: it came from `create`, and this is its last use.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance<D>>()) };
    // Nobody could be told of a panic any more.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(instance)));
}

unsafe extern "C" fn extension<D: DecoderPlugin>(instance: *mut c_void, id: *const c_char) -> *const c_void {
    // SAFETY: the host's promise about both pointers.
    let (of, id) = unsafe { (Instance::<D>::of(instance), CStr::from_ptr(id)) };
    let table = || -> *const c_void {
        let decoder = &of.decoder;
        if id == abi::TANGENT && decoder.tangent().is_some() {
            ptr::from_ref(&Tables::<D>::TANGENT).cast()
        } else if id == abi::TRAINABLE && decoder.trainable().is_some() {
            ptr::from_ref(&Tables::<D>::TRAINABLE).cast()
        } else if id == abi::SECOND_ORDER && decoder.second_order().is_some() {
            ptr::from_ref(&Tables::<D>::SECOND_ORDER).cast()
        } else if id == abi::LATENTS && !of.latents.is_empty() {
            ptr::from_ref(&Tables::<D>::LATENTS).cast()
        } else if id == abi::GUESS && decoder.guess().is_some() {
            ptr::from_ref(&Tables::<D>::GUESS).cast()
        } else {
            ptr::null()
        }
    };
    catch_unwind(AssertUnwindSafe(table)).unwrap_or(ptr::null())
}

/// An ability that `extension` announced.
fn ability<T>(found: Option<T>) -> Result<T, Failure> {
    found.ok_or_else(|| Failure(Status::ERROR, "the decoder lacks this ability".into()))
}

unsafe extern "C" fn jvp<D: DecoderPlugin>(
    instance: *mut c_void,
    at: *const abi::At,
    tape: Matrix,
    z_dot: Matrix,
    x_dot: MatrixMut,
    scratch: SliceMut,
) -> Status {
    // SAFETY: the host's promise about the pointers; shapes are checked.
    guarded(instance, || unsafe {
        let of = Instance::<D>::of(instance);
        let taped = of.taped(at, tape)?;
        let lanes = taped.at.z.ncols();
        let z_dot = view::cols(z_dot, of.shape.latent, None).ok_or_else(|| Failure::shape("z_dot"))?;
        let columns = z_dot.ncols();
        if columns != 0 && (lanes == 0 || columns % lanes != 0) {
            return Err(Failure::shape("z_dot"));
        }
        let x_dot = view::cols_mut(x_dot, of.shape.data, columns).ok_or_else(|| Failure::shape("x_dot"))?;
        let scratch = of.scratch(scratch, columns.max(lanes))?;
        ability(of.decoder.tangent())?
            .jvp(taped, z_dot, x_dot, scratch)
            .map_err(failure)
    })
}

unsafe extern "C" fn init<D: DecoderPlugin>(instance: *mut c_void, seed: u64, params: SliceMut) -> Status {
    // SAFETY: the host's promise about the pointers; shapes are checked.
    guarded(instance, || unsafe {
        let of = Instance::<D>::of(instance);
        let params = view::slice_mut(params).filter(|params| params.len() == of.shape.params);
        ability(of.decoder.trainable())?.init(seed, params.ok_or_else(|| Failure::shape("params"))?);
        Ok(())
    })
}

unsafe extern "C" fn params_vjp<D: DecoderPlugin>(
    instance: *mut c_void,
    at: *const abi::At,
    tape: Matrix,
    x_bar: Matrix,
    params_bar: SliceMut,
    scratch: SliceMut,
) -> Status {
    // SAFETY: the host's promise about the pointers; shapes are checked.
    guarded(instance, || unsafe {
        let of = Instance::<D>::of(instance);
        let taped = of.taped(at, tape)?;
        let lanes = taped.at.z.ncols();
        let x_bar = view::cols(x_bar, of.shape.data, Some(lanes)).ok_or_else(|| Failure::shape("x_bar"))?;
        let params_bar = view::slice_mut(params_bar).filter(|params_bar| params_bar.len() == of.shape.params);
        let params_bar = params_bar.ok_or_else(|| Failure::shape("params_bar"))?;
        let scratch = of.scratch(scratch, lanes)?;
        ability(of.decoder.trainable())?
            .params_vjp(taped, x_bar, params_bar, scratch)
            .map_err(failure)
    })
}

unsafe extern "C" fn hvp<D: DecoderPlugin>(
    instance: *mut c_void,
    at: *const abi::At,
    tape: Matrix,
    z_dot: Matrix,
    x_bar: Matrix,
    x_bar_dot: Matrix,
    z_bar_dot: MatrixMut,
    params_bar_dot: SliceMut,
    scratch: SliceMut,
) -> Status {
    // SAFETY: the host's promise about the pointers; shapes are checked.
    guarded(instance, || unsafe {
        let of = Instance::<D>::of(instance);
        let taped = of.taped(at, tape)?;
        let lanes = taped.at.z.ncols();
        let (latent, data) = (of.shape.latent, of.shape.data);
        let seeds = Seeds {
            z_dot: view::cols(z_dot, latent, Some(lanes)).ok_or_else(|| Failure::shape("z_dot"))?,
            x_bar: view::cols(x_bar, data, Some(lanes)).ok_or_else(|| Failure::shape("x_bar"))?,
            x_bar_dot: view::cols(x_bar_dot, data, Some(lanes)).ok_or_else(|| Failure::shape("x_bar_dot"))?,
        };
        let z_bar_dot = view::cols_mut(z_bar_dot, latent, lanes).ok_or_else(|| Failure::shape("z_bar_dot"))?;
        let params_bar_dot = match params_bar_dot.len {
            0 => None,
            len if len != of.shape.params => return Err(Failure::shape("params_bar_dot")),
            _ => view::slice_mut(params_bar_dot),
        };
        let scratch = of.scratch(scratch, lanes)?;
        ability(of.decoder.second_order())?
            .hvp(taped, seeds, z_bar_dot, params_bar_dot, scratch)
            .map_err(failure)
    })
}

unsafe extern "C" fn latent<D: DecoderPlugin>(instance: *mut c_void, index: usize, to: *mut abi::Latent) -> Status {
    // SAFETY: the host's promise about both pointers; the texts live as long as the instance.
    guarded(instance, || unsafe {
        let of = Instance::<D>::of(instance);
        let missing = || Failure(Status::ERROR, format!("there is no latent {index}"));
        let latent = of.decoder.latents().get(index).ok_or_else(missing)?;
        let (name, unit) = of.latents.get(index).ok_or_else(missing)?;
        to.write(abi::Latent {
            name: name.as_ptr(),
            unit: unit.as_ptr(),
            lower: latent.lower,
            upper: latent.upper,
            scale: latent.scale,
            default_value: latent.default,
            transform: match latent.transform {
                Transform::Identity => abi::TRANSFORM_IDENTITY,
                Transform::Log => abi::TRANSFORM_LOG,
                Transform::Logit => abi::TRANSFORM_LOGIT,
            },
            reserved: 0,
        });
        Ok(())
    })
}

unsafe extern "C" fn guess<D: DecoderPlugin>(
    instance: *mut c_void,
    params: abi::Slice,
    context: Matrix,
    y: Matrix,
    w: Matrix,
    start: usize,
    z: MatrixMut,
) -> Status {
    // SAFETY: the host's promise about the pointers; shapes are checked.
    guarded(instance, || unsafe {
        let of = Instance::<D>::of(instance);
        let lanes = z.cols;
        let params = view::slice(params).filter(|params| params.len() == of.shape.params);
        let params = params.ok_or_else(|| Failure::shape("params"))?;
        let context = view::cols(context, of.shape.context, Some(lanes)).ok_or_else(|| Failure::shape("context"))?;
        let y = view::cols(y, of.shape.data, Some(lanes)).ok_or_else(|| Failure::shape("y"))?;
        let w = match w.cols {
            0 => None,
            _ => Some(view::cols(w, of.shape.data, Some(lanes)).ok_or_else(|| Failure::shape("w"))?),
        };
        let z = view::cols_mut(z, of.shape.latent, lanes).ok_or_else(|| Failure::shape("z"))?;
        let guess = ability(of.decoder.guess())?;
        guess
            .guess(params, context, Targets { y, w }, start, z)
            .map_err(failure)
    })
}
