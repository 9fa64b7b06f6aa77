//! Our matrices, slices and texts as the interface passes them.

use core::ffi::CStr;
use gfe_abi::{Matrix, MatrixMut, Slice, SliceMut, Status, Text, TextMut};
use gfe_model::{Cols, ColsMut};

/// Values from one column's start to the next one's. Panics where rows do not lie side by side, or columns overlap.
fn stride((rows, columns): (usize, usize), (row_stride, col_stride): (isize, isize)) -> usize {
    assert!(rows <= 1 || row_stride == 1, "rows lie side by side");
    // A single column may have any stride.
    if columns <= 1 {
        return rows;
    }
    assert!(col_stride >= rows as isize, "columns follow one another");
    col_stride as usize
}

pub(crate) fn matrix(of: Cols<'_>) -> Matrix {
    Matrix {
        data: of.as_ptr(),
        rows: of.nrows(),
        cols: of.ncols(),
        col_stride: stride((of.nrows(), of.ncols()), (of.row_stride(), of.col_stride())),
    }
}

pub(crate) fn matrix_mut(of: ColsMut<'_>) -> MatrixMut {
    let col_stride = stride((of.nrows(), of.ncols()), (of.row_stride(), of.col_stride()));
    MatrixMut {
        rows: of.nrows(),
        cols: of.ncols(),
        col_stride,
        data: of.as_ptr_mut(),
    }
}

pub(crate) fn slice(of: &[f64]) -> Slice {
    Slice {
        data: of.as_ptr(),
        len: of.len(),
    }
}

pub(crate) fn slice_mut(of: &mut [f64]) -> SliceMut {
    SliceMut {
        data: of.as_mut_ptr(),
        len: of.len(),
    }
}

/// Calls a factory's `create` with a configuration and room for its sentence; what it says on any status but OK.
pub(crate) fn create(config: &str, call: impl FnOnce(Text, TextMut) -> Status) -> Result<(), (Status, String)> {
    let mut message = vec![0u8; 4096];
    let config = Text {
        data: config.as_ptr().cast(),
        len: config.len(),
    };
    // One byte stays 0 whatever is written.
    let room = TextMut {
        data: message.as_mut_ptr().cast(),
        len: message.len() - 1,
    };
    let status = call(config, room);
    if status == Status::OK {
        return Ok(());
    }
    let said = CStr::from_bytes_until_nul(&message)
        .map(CStr::to_string_lossy)
        .unwrap_or_default();
    let said = if said.is_empty() {
        "it does not say why".into()
    } else {
        said
    };
    Err((status, said.into_owned()))
}
