//! Columns of batches as slices.

use crate::{Cols, ColsMut};

/// Column `b` of a batch.
pub(crate) fn column(batch: Cols<'_>, b: usize) -> &[f64] {
    let column = batch.col(b).try_as_col_major();
    column.expect("batches have unit row stride").as_slice()
}

/// Column `b` of a batch, to write.
pub(crate) fn column_mut<'a>(batch: &'a mut ColsMut<'_>, b: usize) -> &'a mut [f64] {
    let column = batch.as_mut().col_mut(b).try_as_col_major_mut();
    column.expect("batches have unit row stride").as_slice_mut()
}
