//! Columns as slices, and cutting scratch memory and batches.

use crate::{Cols, ColsMut};
use std::ops::Range;

/// Column `lane` of a batch.
pub(crate) fn column(batch: Cols<'_>, lane: usize) -> &[f64] {
    batch
        .col(lane)
        .try_as_col_major()
        .expect("batches have unit row stride")
        .as_slice()
}

/// Column `lane` of a batch, to write.
pub(crate) fn column_mut<'a>(batch: &'a mut ColsMut<'_>, lane: usize) -> &'a mut [f64] {
    let batch = batch.as_mut();
    batch
        .col_mut(lane)
        .try_as_col_major_mut()
        .expect("batches have unit row stride")
        .as_slice_mut()
}

/// The first `rows` x `columns` values of `memory` as a batch.
pub(crate) fn batch(memory: &[f64], rows: usize, columns: usize) -> Cols<'_> {
    Cols::from_column_major_slice(&memory[..rows * columns], rows, columns)
}

/// The first `rows` x `columns` values of `memory` as a batch, to write.
pub(crate) fn batch_mut(memory: &mut [f64], rows: usize, columns: usize) -> ColsMut<'_> {
    ColsMut::from_column_major_slice_mut(&mut memory[..rows * columns], rows, columns)
}

/// Some columns of a batch.
pub(crate) fn cut<'a>(batch: Cols<'a>, columns: &Range<usize>) -> Cols<'a> {
    batch.subcols(columns.start, columns.len())
}

/// Columns that a product treats at a time: bounds scratch, and is wide enough that packing the weights once per block
/// costs little beside the product.
const BLOCK: usize = 256;

/// The widest block of [`blocks`] for so many columns.
pub(crate) fn widest_block(columns: usize) -> usize {
    columns.min(BLOCK + 1)
}

/// Cuts `columns` into blocks, none of them a single column: faer's product of one column has other bits.
pub(crate) fn blocks(columns: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = columns - start;
        let width = if left <= BLOCK + 1 { left } else { BLOCK };
        let block = start..start + width;
        start += width;
        (width > 0).then_some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_column_once_and_leave_none_alone() {
        for columns in 0..3 * BLOCK + 3 {
            let cut: Vec<_> = blocks(columns).collect();
            assert!(cut.iter().cloned().flatten().eq(0..columns));
            assert!(cut.iter().all(|block| block.len() <= widest_block(columns)));
            assert!(columns == 1 || cut.iter().all(|block| block.len() >= 2));
        }
    }
}
