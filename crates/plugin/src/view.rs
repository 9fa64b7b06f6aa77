//! Our matrices and slices as the interface passes them.

use gfe_abi::{Matrix, MatrixMut, Slice, SliceMut};
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
