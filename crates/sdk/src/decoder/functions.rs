//! The functions that every decoder has.

use super::{DecoderPlugin, Instance, Tables};
use crate::guard::{Failure, forget, guarded};
use crate::view;
use core::ffi::{CStr, c_char, c_void};
use core::ptr;
use gfe_abi::{self as abi, Matrix, MatrixMut, SliceMut, Status};
use gfe_model::{DecodeError, Output};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a decoder's error is to the host.
pub(super) fn failure(error: DecodeError) -> Failure {
    let status = match error {
        DecodeError::Discard(_) => Status::DISCARD,
        DecodeError::Failed(_) => Status::ERROR,
        DecodeError::Fatal(_) => Status::FATAL,
    };
    let (DecodeError::Discard(text) | DecodeError::Failed(text) | DecodeError::Fatal(text)) = error;
    Failure(status, text)
}

pub(super) unsafe extern "C" fn shape<D: DecoderPlugin>(instance: *mut c_void, to: *mut abi::Shape) -> Status {
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

pub(super) unsafe extern "C" fn tensor<D: DecoderPlugin>(
    instance: *mut c_void,
    index: usize,
    to: *mut abi::Tensor,
) -> Status {
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

pub(super) unsafe extern "C" fn scratch_len<D: DecoderPlugin>(instance: *mut c_void, columns: usize) -> usize {
    // SAFETY: the host's promise about the pointer. A panic here is an absurd length, which no host grants.
    let of = unsafe { Instance::<D>::of(instance) };
    catch_unwind(AssertUnwindSafe(|| of.decoder.scratch_len(columns))).unwrap_or(usize::MAX)
}

pub(super) unsafe extern "C" fn forward<D: DecoderPlugin>(
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

pub(super) unsafe extern "C" fn vjp<D: DecoderPlugin>(
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

pub(super) unsafe extern "C" fn destroy<D: DecoderPlugin>(instance: *mut c_void) {
    forget(instance);
    // SAFETY: the host's promise: it came from `create`, and this is its last use.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance<D>>()) };
    // Nobody could be told of a panic any more.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(instance)));
}

pub(super) unsafe extern "C" fn extension<D: DecoderPlugin>(instance: *mut c_void, id: *const c_char) -> *const c_void {
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
