//! The functions of the extensions.

use super::functions::failure;
use super::{DecoderPlugin, Instance};
use crate::guard::{Failure, guarded};
use crate::view;
use core::ffi::c_void;
use gfe_abi::{self as abi, Matrix, MatrixMut, SliceMut, Status};
use gfe_model::{Seeds, Targets, Transform};

/// An ability that `extension` announced.
fn ability<T>(found: Option<T>) -> Result<T, Failure> {
    found.ok_or_else(|| Failure(Status::ERROR, "the decoder lacks this ability".into()))
}

pub(super) unsafe extern "C" fn jvp<D: DecoderPlugin>(
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

pub(super) unsafe extern "C" fn init<D: DecoderPlugin>(instance: *mut c_void, seed: u64, params: SliceMut) -> Status {
    // SAFETY: the host's promise about the pointers; shapes are checked.
    guarded(instance, || unsafe {
        let of = Instance::<D>::of(instance);
        let params = view::slice_mut(params).filter(|params| params.len() == of.shape.params);
        let params = params.ok_or_else(|| Failure::shape("params"))?;
        ability(of.decoder.trainable())?.init(seed, params).map_err(failure)
    })
}

pub(super) unsafe extern "C" fn params_vjp<D: DecoderPlugin>(
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

pub(super) unsafe extern "C" fn hvp<D: DecoderPlugin>(
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

pub(super) unsafe extern "C" fn latent<D: DecoderPlugin>(
    instance: *mut c_void,
    index: usize,
    to: *mut abi::Latent,
) -> Status {
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

pub(super) unsafe extern "C" fn guess<D: DecoderPlugin>(
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
