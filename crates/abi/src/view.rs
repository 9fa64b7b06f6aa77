//! Borrowed memory: matrices with a sample per column, vectors, texts.

use core::ffi::c_char;

/// A matrix to read: element (i, j) is at `data + i + j col_stride`, so rows lie side by side.
///
/// `col_stride >= rows`, counted in values; what lies between the columns belongs to nobody. With `rows` or `cols` 0,
/// `data` may be anything.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    /// The first element.
    pub data: *const f64,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Values from one column's start to the next one's.
    pub col_stride: usize,
}

/// A matrix to write, laid out as [`Matrix`]; the callee leaves alone what lies between the columns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MatrixMut {
    /// The first element.
    pub data: *mut f64,
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Values from one column's start to the next one's.
    pub col_stride: usize,
}

/// `len` values to read, side by side. With `len` 0, `data` may be anything.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// The first value.
    pub data: *const f64,
    /// Number of values.
    pub len: usize,
}

/// `len` values to write, side by side. With `len` 0, `data` may be anything.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SliceMut {
    /// The first value.
    pub data: *mut f64,
    /// Number of values.
    pub len: usize,
}

/// `len` bytes of UTF-8 to read, with no NUL at the end.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// The first byte.
    pub data: *const c_char,
    /// Number of bytes.
    pub len: usize,
}

/// Room for `len` bytes, into which the callee writes a text and a NUL, cut at a character's edge where it is too long.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TextMut {
    /// The first byte.
    pub data: *mut c_char,
    /// Number of bytes, the NUL's included.
    pub len: usize,
}
