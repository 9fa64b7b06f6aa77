//! Data sets: a Rust type behind the interface's tables.

use crate::guard::{Failure, c_text, forget, guarded, last_error, said};
use crate::view;
use core::ffi::{CStr, c_char, c_void};
use core::marker::PhantomData;
use core::mem::size_of;
use core::ptr;
use gfe_abi::{self as abi, DatasetInfo, DatasetInstance, DatasetTable, MatrixMut, Status, Text, TextMut};
use gfe_model::{Axis, DatasetSource, Element, TargetsMut};
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A kind of data set that a library offers.
pub trait DatasetPlugin: DatasetSource + Sized + 'static {
    /// The name by which it is asked for: letters, digits, `-` and `_`.
    const ID: &'static CStr;
    /// One line for people, with the configuration's keys.
    const TITLE: &'static CStr;
    /// Its version, major and minor.
    const VERSION: (u32, u32) = (1, 0);

    /// Opens one from a configuration in JSON (an object; empty for none), see [`config`](crate::config); the error is a
    /// sentence for the user.
    fn open(config: &str) -> Result<Self, String>;
}

/// One entry of a library's list of kinds of data sets.
pub struct DatasetKind {
    info: DatasetInfo,
    open: fn(&str) -> Result<DatasetInstance, String>,
}

// SAFETY: its pointers are to constants of the library.
unsafe impl Sync for DatasetKind {}

impl DatasetKind {
    /// The entry of the kind `S`.
    pub const fn of<S: DatasetPlugin>() -> DatasetKind {
        DatasetKind {
            info: DatasetInfo {
                size: size_of::<DatasetInfo>(),
                id: S::ID.as_ptr(),
                title: S::TITLE.as_ptr(),
                version: abi::Version {
                    major: S::VERSION.0,
                    minor: S::VERSION.1,
                },
            },
            open: Instance::<S>::open,
        }
    }

    /// What the factory's `info` answers.
    pub fn info(kinds: &'static [DatasetKind], index: usize) -> *const DatasetInfo {
        kinds.get(index).map_or(ptr::null(), |kind| &raw const kind.info)
    }

    /// What the factory's `create` does.
    ///
    /// # Safety
    /// The arguments are as the interface promises.
    pub unsafe fn create(
        kinds: &'static [DatasetKind],
        id: *const c_char,
        config: Text,
        made: *mut DatasetInstance,
        message: TextMut,
    ) -> Status {
        // SAFETY: the host gives a text that ends with a NUL, and memory for what is made and told.
        unsafe {
            let id = CStr::from_ptr(id);
            let kind = kinds.iter().find(|kind| CStr::from_ptr(kind.info.id) == id);
            let open = || (kind.ok_or("the library has no such data set")?.open)(view::text(config)?);
            match catch_unwind(AssertUnwindSafe(open)) {
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

/// A data set with the constants and texts that the host may ask for.
struct Instance<S> {
    source: S,
    axes: Vec<(CString, Axis)>,
}

struct Tables<S>(PhantomData<S>);

impl<S: DatasetPlugin> Tables<S> {
    const DATASET: DatasetTable = DatasetTable {
        size: size_of::<DatasetTable>(),
        shape: Some(shape::<S>),
        axis: Some(axis::<S>),
        read: Some(read::<S>),
        last_error: Some(last_error),
        destroy: Some(destroy::<S>),
    };
}

impl<S: DatasetPlugin> Instance<S> {
    fn open(config: &str) -> Result<DatasetInstance, String> {
        let source = S::open(config)?;
        let axes = source
            .axes()
            .into_iter()
            .map(|axis| (c_text(&axis.dim.name), axis))
            .collect();
        Ok(DatasetInstance {
            table: &Tables::<S>::DATASET,
            instance: Box::into_raw(Box::new(Instance { source, axes })).cast(),
        })
    }

    /// The instance behind the host's pointer.
    ///
    /// # Safety
    /// `instance` came from `create`, `destroy` was not called, and no other call is under way.
    unsafe fn of<'a>(instance: *mut c_void) -> &'a mut Instance<S> {
        // SAFETY: the caller's promise.
        unsafe { &mut *instance.cast::<Instance<S>>() }
    }
}

unsafe extern "C" fn shape<S: DatasetPlugin>(instance: *mut c_void, to: *mut abi::DatasetShape) -> Status {
    // SAFETY: the host's promise about both pointers.
    guarded(instance, || unsafe {
        let source = &Instance::<S>::of(instance).source;
        to.write(abi::DatasetShape {
            samples: source.shape().samples,
            rank: source.shape().dims.len(),
            element: match source.element() {
                Element::F64 => abi::ELEMENT_F64,
                Element::F32 => abi::ELEMENT_F32,
                Element::U8 => abi::ELEMENT_U8,
            },
            weighted: source.weighted().into(),
        });
        Ok(())
    })
}

unsafe extern "C" fn axis<S: DatasetPlugin>(instance: *mut c_void, index: usize, to: *mut abi::Axis) -> Status {
    // SAFETY: the host's promise about both pointers; texts and coordinates live as long as the instance.
    guarded(instance, || unsafe {
        let missing = || Failure(Status::ERROR, format!("there is no axis {index}"));
        let (name, axis) = Instance::<S>::of(instance).axes.get(index).ok_or_else(missing)?;
        to.write(abi::Axis {
            name: name.as_ptr(),
            unit: c"".as_ptr(),
            values: axis.values.as_ref().map_or(ptr::null(), |values| values.as_ptr()),
            len: axis.dim.len,
        });
        Ok(())
    })
}

unsafe extern "C" fn read<S: DatasetPlugin>(
    instance: *mut c_void,
    ids: *const usize,
    len: usize,
    y: MatrixMut,
    w: MatrixMut,
) -> Status {
    // SAFETY: the host's promise about the pointers; shapes are checked.
    guarded(instance, || unsafe {
        let source = &mut Instance::<S>::of(instance).source;
        let ids = match len {
            0 => &[],
            _ if ids.is_null() => return Err(Failure::shape("ids")),
            len => core::slice::from_raw_parts(ids, len),
        };
        let (samples, values) = (source.shape().samples, source.shape().values());
        if let Some(id) = ids.iter().find(|id| **id >= samples) {
            return Err(Failure(
                Status::ERROR,
                format!("sample {id} was asked for, and there are {samples}"),
            ));
        }
        let y = view::cols_mut(y, values, len).ok_or_else(|| Failure::shape("y"))?;
        let w = match w.cols {
            0 => None,
            _ => Some(view::cols_mut(w, values, len).ok_or_else(|| Failure::shape("w"))?),
        };
        source
            .read(ids, TargetsMut { y, w })
            .map_err(|error| Failure(Status::ERROR, error.message))
    })
}

unsafe extern "C" fn destroy<S: DatasetPlugin>(instance: *mut c_void) {
    forget(instance);
    // SAFETY: the host's promise: it came from `create`, and this is its last use.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance<S>>()) };
    // Nobody could be told of a panic any more.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(instance)));
}
