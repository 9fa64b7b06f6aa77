//! What every decoder does with batches: columns as slices, memory as batches, and cuts into blocks of columns.

use crate::{At, Cols, ColsMut, Taped};
use std::ops::Range;

/// Column `lane` of a batch.
pub fn column(batch: Cols<'_>, lane: usize) -> &[f64] {
    batch
        .col(lane)
        .try_as_col_major()
        .expect("batches have unit row stride")
        .as_slice()
}

/// Column `lane` of a batch, to write.
pub fn column_mut<'a>(batch: &'a mut ColsMut<'_>, lane: usize) -> &'a mut [f64] {
    let batch = batch.as_mut();
    batch
        .col_mut(lane)
        .try_as_col_major_mut()
        .expect("batches have unit row stride")
        .as_slice_mut()
}

/// The first `rows` x `columns` values of `memory` as a batch.
pub fn batch(memory: &[f64], rows: usize, columns: usize) -> Cols<'_> {
    Cols::from_column_major_slice(&memory[..rows * columns], rows, columns)
}

/// The first `rows` x `columns` values of `memory` as a batch, to write.
pub fn batch_mut(memory: &mut [f64], rows: usize, columns: usize) -> ColsMut<'_> {
    ColsMut::from_column_major_slice_mut(&mut memory[..rows * columns], rows, columns)
}

/// Some columns of a batch.
pub fn cut<'a>(batch: Cols<'a>, columns: &Range<usize>) -> Cols<'a> {
    batch.subcols(columns.start, columns.len())
}

/// The same point and tape for some of the lanes.
pub fn lanes_of<'a>(taped: Taped<'a>, lanes: &Range<usize>) -> Taped<'a> {
    let at = At {
        z: cut(taped.at.z, lanes),
        context: cut(taped.at.context, lanes),
        ..taped.at
    };
    Taped {
        at,
        tape: cut(taped.tape, lanes),
    }
}

/// The widest block of [`blocks`] for so many columns.
pub fn widest(columns: usize, width: usize) -> usize {
    columns.min(width + 1)
}

/// Cuts `columns` into blocks of `width`, at least 2, none of them a single column: faer's product of one column has
/// other bits.
pub fn blocks(columns: usize, width: usize) -> impl Iterator<Item = Range<usize>> {
    debug_assert!(width >= 2);
    let mut start = 0;
    std::iter::from_fn(move || {
        let left = columns - start;
        let taken = if left <= width + 1 { left } else { width };
        let block = start..start + taken;
        start += taken;
        (taken > 0).then_some(block)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_cover_every_column_once_and_leave_none_alone() {
        for width in 2..9 {
            for columns in 0..40 {
                let cut: Vec<_> = blocks(columns, width).collect();
                assert!(cut.iter().cloned().flatten().eq(0..columns));
                assert!(cut.iter().all(|block| block.len() <= widest(columns, width)));
                assert!(columns == 1 || cut.iter().all(|block| block.len() >= 2));
            }
        }
    }
}
