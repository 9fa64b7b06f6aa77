//! The host's memory as matrices and slices.

use gfe_abi::{Matrix, MatrixMut, Slice, SliceMut, Text, TextMut};
use gfe_model::{Cols, ColsMut};

/// `matrix` as columns, if it has `rows` rows; `cols` is checked where it is given.
///
/// # Safety
/// The host's promise: `data` holds the columns, which nobody writes while the result lives.
pub(crate) unsafe fn cols<'a>(matrix: Matrix, rows: usize, cols: Option<usize>) -> Option<Cols<'a>> {
    if matrix.rows != rows || cols.is_some_and(|cols| cols != matrix.cols) {
        return None;
    }
    if rows == 0 || matrix.cols == 0 {
        return Some(Cols::from_column_major_slice(&[], rows, matrix.cols));
    }
    if matrix.data.is_null() || matrix.col_stride < rows {
        return None;
    }
    // SAFETY: not null, of these sizes by the host's promise; rows lie side by side.
    Some(unsafe { Cols::from_raw_parts(matrix.data, rows, matrix.cols, 1, matrix.col_stride as isize) })
}

/// The same, to write.
///
/// # Safety
/// The host's promise: `data` holds the columns, which nobody else touches while the result lives.
pub(crate) unsafe fn cols_mut<'a>(matrix: MatrixMut, rows: usize, cols: usize) -> Option<ColsMut<'a>> {
    if matrix.rows != rows || matrix.cols != cols {
        return None;
    }
    if rows == 0 || cols == 0 {
        return Some(ColsMut::from_column_major_slice_mut(&mut [], rows, cols));
    }
    if matrix.data.is_null() || matrix.col_stride < rows {
        return None;
    }
    // SAFETY: not null, of these sizes by the host's promise; rows lie side by side.
    Some(unsafe { ColsMut::from_raw_parts_mut(matrix.data, rows, cols, 1, matrix.col_stride as isize) })
}

/// # Safety
/// The host's promise: `data` holds `len` values, which nobody writes while the result lives.
pub(crate) unsafe fn slice<'a>(slice: Slice) -> Option<&'a [f64]> {
    match slice.len {
        0 => Some(&[]),
        _ if slice.data.is_null() => None,
        // SAFETY: not null, and of this length by the host's promise.
        len => Some(unsafe { core::slice::from_raw_parts(slice.data, len) }),
    }
}

/// # Safety
/// The host's promise: `data` holds `len` values, which nobody else touches while the result lives.
pub(crate) unsafe fn slice_mut<'a>(slice: SliceMut) -> Option<&'a mut [f64]> {
    match slice.len {
        0 => Some(&mut []),
        _ if slice.data.is_null() => None,
        // SAFETY: not null, and of this length by the host's promise.
        len => Some(unsafe { core::slice::from_raw_parts_mut(slice.data, len) }),
    }
}

/// # Safety
/// The host's promise: `data` holds `len` bytes, which nobody writes while the result lives.
pub(crate) unsafe fn text<'a>(text: Text) -> Result<&'a str, String> {
    if text.len == 0 {
        return Ok("");
    }
    if text.data.is_null() {
        return Err("the configuration is a null pointer".into());
    }
    // SAFETY: not null, and of this length by the host's promise.
    let bytes = unsafe { core::slice::from_raw_parts(text.data.cast::<u8>(), text.len) };
    core::str::from_utf8(bytes).map_err(|error| format!("the configuration is not UTF-8: {error}"))
}

/// Writes `text` and a NUL, cut at a character's edge.
///
/// # Safety
/// The host's promise: `to` has room for `len` bytes.
pub(crate) unsafe fn tell(to: TextMut, text: &str) {
    if to.len == 0 || to.data.is_null() {
        return;
    }
    let clean = text.replace('\0', " ");
    let mut end = clean.len().min(to.len - 1);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    // SAFETY: end + 1 <= len bytes have room.
    unsafe {
        core::ptr::copy_nonoverlapping(clean.as_ptr(), to.data.cast::<u8>(), end);
        to.data.add(end).write(0);
    }
}
