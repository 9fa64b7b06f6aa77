//! Decoders: a Rust type behind the interface's tables.

mod extensions;
mod functions;

use crate::guard::{Failure, c_text, last_error, said};
use crate::view;
use core::ffi::{CStr, c_char, c_void};
use core::marker::PhantomData;
use core::mem::size_of;
use core::ptr;
use extensions::{guess, hvp, init, jvp, latent, params_vjp};
use functions::{destroy, extension, forward, scratch_len, shape, tensor, vjp};
use gfe_abi::{self as abi, DecoderInfo, DecoderInstance, DecoderTable, Matrix, SliceMut, Status, Text, TextMut};
use gfe_model::{At, Decoder, DecoderShape, Taped};
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
