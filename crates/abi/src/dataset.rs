//! Data sets: how they are opened, and what they hand out.

use core::ffi::{CStr, c_char, c_void};

use crate::{MatrixMut, Status, Text, TextMut, Version};

/// Id of a [`DatasetFactory`].
pub const DATASET_FACTORY: &CStr = c"gfe.dataset-factory/1";

/// The stored values are doubles.
pub const ELEMENT_F64: u32 = 0;
/// The stored values are floats.
pub const ELEMENT_F32: u32 = 1;
/// The stored values are unsigned bytes.
pub const ELEMENT_U8: u32 = 2;

/// What a factory tells about a kind of data set before one is opened. Its texts belong to the library and end with a NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DatasetInfo {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// The name by which the kind is asked for.
    pub id: *const c_char,
    /// One line for people, with the configuration's keys.
    pub title: *const c_char,
    /// Version of the source itself.
    pub version: Version,
}

/// Lists and opens data sets. Any thread, one call at a time. All members are required.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DatasetFactory {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// Number of kinds.
    pub count: Option<unsafe extern "C" fn() -> usize>,
    /// The kind at `index`, a constant of the library; null from `count()` on.
    pub info: Option<unsafe extern "C" fn(index: usize) -> *const DatasetInfo>,
    /// Opens a data set of a kind from a configuration in JSON (empty for none), and writes it to `made`.
    ///
    /// On any status but OK nothing was made, and `message` holds a sentence for the user.
    pub create: Option<
        unsafe extern "C" fn(id: *const c_char, config: Text, made: *mut DatasetInstance, message: TextMut) -> Status,
    >,
}

/// A data set: its functions, and what they get as their first argument.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DatasetInstance {
    /// A constant of the library.
    pub table: *const DatasetTable,
    /// The plugin's own; the host only hands it back.
    pub instance: *mut c_void,
}

/// Sizes of a data set; constant for an instance.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatasetShape {
    /// Number of samples.
    pub samples: usize,
    /// Number of axes of one sample; 0 for scalars.
    pub rank: usize,
    /// Type of the stored values, one of `ELEMENT_*`.
    pub element: u32,
    /// 1 if the values have weights, else 0.
    pub weighted: u32,
}

/// One axis of a sample. Its pointers belong to the instance.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// A word, empty for none; ends with a NUL.
    pub name: *const c_char,
    /// As UDUNITS writes it, empty for none; ends with a NUL.
    pub unit: *const c_char,
    /// Coordinates `[len]`; null where there are none.
    pub values: *const f64,
    /// Its length.
    pub len: usize,
}

/// A data set that hands out samples by index, used by one thread at a time. `destroy` is its last call. All members are
/// required.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DatasetTable {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// Writes the sizes to `shape`.
    pub shape: Option<unsafe extern "C" fn(instance: *mut c_void, shape: *mut DatasetShape) -> Status>,
    /// Writes axis `index` < rank of a sample to `axis`, slowest first.
    pub axis: Option<unsafe extern "C" fn(instance: *mut c_void, index: usize, axis: *mut Axis) -> Status>,
    /// Reads the samples `ids[0]`, `ids[1]`, ... into the columns of `y` `[D, len]`, and their weights into `w` `[D, len]`
    /// where the data are weighted (else `w` has 0 columns). Values are as stored, without any factor.
    pub read: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            ids: *const usize,
            len: usize,
            y: MatrixMut,
            w: MatrixMut,
        ) -> Status,
    >,
    /// Why the last call failed: ends with a NUL, valid until the next call, never null. Empty if nothing failed.
    pub last_error: Option<unsafe extern "C" fn(instance: *mut c_void) -> *const c_char>,
    /// Ends the instance. It is not used again.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
}
