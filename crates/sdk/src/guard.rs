//! What every function of a plugin does: shapes first, panics caught, the reason of a failure kept.

use core::ffi::{c_char, c_void};
use gfe_abi::Status;
use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    /// Why the last call of an instance on this thread failed.
    static ERRORS: RefCell<HashMap<usize, CString>> = RefCell::new(HashMap::new());
}

/// How a call ended, and why.
pub(crate) struct Failure(pub Status, pub String);

impl Failure {
    /// An argument does not have the shape that the interface asks for.
    pub(crate) fn shape(what: &str) -> Failure {
        Failure(
            Status::ERROR,
            format!("{what} is not of the shape that the interface asks for"),
        )
    }
}

/// Runs `call`, turns a panic into FATAL, and keeps the reason of a failure for `last_error` of `instance`.
pub(crate) fn guarded(instance: *mut c_void, call: impl FnOnce() -> Result<(), Failure>) -> Status {
    let result = catch_unwind(AssertUnwindSafe(call));
    let Failure(status, text) = match result {
        Ok(Ok(())) => Failure(Status::OK, String::new()),
        Ok(Err(failure)) => failure,
        Err(panic) => Failure(Status::FATAL, format!("the plugin panicked: {}", said(&*panic))),
    };
    // A thread that is ending has no such place any more; the status still tells.
    let _ = ERRORS.try_with(|errors| {
        let mut errors = errors.borrow_mut();
        if status == Status::OK {
            errors.remove(&(instance as usize));
        } else {
            errors.insert(instance as usize, c_text(&text));
        }
    });
    status
}

/// The text of a panic.
pub(crate) fn said(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}

/// `text` for C: a NUL inside becomes a space.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

/// The text that [`guarded`] kept.
pub(crate) unsafe extern "C" fn last_error(instance: *mut c_void) -> *const c_char {
    let kept = ERRORS.try_with(|errors| errors.borrow().get(&(instance as usize)).map(|text| text.as_ptr()));
    kept.ok().flatten().unwrap_or(c"".as_ptr())
}

/// Forgets the text of an instance that ends.
pub(crate) fn forget(instance: *mut c_void) {
    let _ = ERRORS.try_with(|errors| errors.borrow_mut().remove(&(instance as usize)));
}
