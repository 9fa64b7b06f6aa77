//! What every decoder does with batches: columns as slices, memory as batches, cuts into blocks of columns, and products.

use crate::{At, Cols, ColsMut, Taped};
use faer::linalg::matmul::matmul;
use faer::prelude::IntoConst;
use faer::traits::ComplexField;
use faer::{Accum, MatMut, MatRef, Par};
use std::ops::{AddAssign, Mul, Range};

/// Terms that faer's large product sums before it adds them to the result.
const DEPTH: usize = 512;

/// Multiplications up to which faer takes its small product. It sums all terms at once, or 64 where the left matrix is not
/// stored by columns.
const SMALL: usize = 4096;

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

/// to = left right, or to += left right, on this thread; with the bits of every column the same at all numbers of
/// columns from two on.
///
/// Which of faer's products is taken depends on that number, and with it how an element of many terms is summed: here a
/// small product sums as a large one does.
pub fn product<T: ComplexField + Copy + AddAssign + Mul<Output = T>>(
    mut to: MatMut<'_, T>,
    accum: Accum,
    left: MatRef<'_, T>,
    right: MatRef<'_, T>,
) {
    let (rows, columns, terms) = (to.nrows(), to.ncols(), left.ncols());
    // A single row or column is a product with a vector, of whatever length.
    if rows < 2 || columns < 2 || rows * columns * terms > SMALL {
        matmul(to, accum, left, right, T::one_impl(), Par::Seq);
        return;
    }
    let mut memory;
    let left = if left.row_stride() == 1 {
        left
    } else {
        memory = [T::zero_impl(); SMALL / 2];
        let mut by_columns = MatMut::from_column_major_slice_mut(&mut memory[..rows * terms], rows, terms);
        by_columns.copy_from(left);
        by_columns.into_const()
    };
    let whole = terms.min(DEPTH);
    matmul(
        to.as_mut(),
        accum,
        left.subcols(0, whole),
        right.subrows(0, whole),
        T::one_impl(),
        Par::Seq,
    );
    for first in (whole..terms).step_by(DEPTH) {
        let count = DEPTH.min(terms - first);
        let (left, right) = (left.subcols(first, count), right.subrows(first, count));
        if count > 1 {
            matmul(to.as_mut(), Accum::Add, left, right, T::one_impl(), Par::Seq);
            continue;
        }
        // Of a single term faer rounds the sum alone, but the product too where it is the last of many.
        for column in 0..columns {
            for row in 0..rows {
                to[(row, column)] += left[(row, 0)] * right[(0, column)];
            }
        }
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
    use faer::Mat;

    /// However the left matrix is stored, at numbers of terms around those by which faer's products differ.
    #[test]
    fn a_column_of_a_product_has_the_same_bits_at_every_width() {
        const TERMS: [usize; 10] = [1, 2, 63, 64, 65, 257, 512, 513, 700, 1100];
        for (rows, terms) in [1, 2, 3, 5, 17]
            .iter()
            .flat_map(|&rows| TERMS.map(|terms| (rows, terms)))
        {
            let value = |i: usize| (0.7 * i as f64).sin();
            let by_columns: Vec<f64> = (0..rows * terms).map(value).collect();
            let by_rows: Vec<f64> = (0..rows * terms).map(|i| value(i / terms + i % terms * rows)).collect();
            let stored = [
                MatRef::from_column_major_slice(&by_columns, rows, terms),
                MatRef::from_row_major_slice(&by_rows, rows, terms),
            ];
            let right = Mat::from_fn(terms, 90, |i, b| (0.3 * i as f64 + 1.1 * b as f64).cos());
            for accum in [Accum::Replace, Accum::Add] {
                let of = |left: MatRef<'_, f64>, width: usize| {
                    let mut to = Mat::full(rows, width, 0.1);
                    product(to.as_mut(), accum, left, right.subcols(0, width));
                    to
                };
                let whole = of(stored[0], 90);
                for (left, width) in stored.iter().flat_map(|&left| (2..=90).map(move |width| (left, width))) {
                    let expected = whole.subcols(0, width);
                    assert!(of(left, width) == expected, "{rows} x {terms}, {width} columns");
                }
            }
        }
    }

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
