//! Batches with gaps between their columns and walls around them, which nobody may write to.

use gfe_model::{Cols, ColsMut};

/// Values between two columns, and on either side.
const GAP: usize = 3;
/// A NaN that no computation makes.
const WALL: u64 = 0x7ff8_dead_beef_0042;

/// A matrix in memory of its own.
#[derive(Clone)]
pub(crate) struct Batch {
    memory: Vec<f64>,
    rows: usize,
    columns: usize,
}

impl Batch {
    /// Filled with a number that a function which forgets to write would leave there.
    pub(crate) fn new(rows: usize, columns: usize) -> Batch {
        let mut memory = vec![f64::from_bits(WALL); GAP + (rows + GAP) * columns];
        for column in 0..columns {
            let first = GAP + column * (rows + GAP);
            memory[first..first + rows].fill(1.2345e67);
        }
        Batch { memory, rows, columns }
    }

    pub(crate) fn from_fn(rows: usize, columns: usize, value: impl Fn(usize, usize) -> f64) -> Batch {
        let mut batch = Batch::new(rows, columns);
        for column in 0..columns {
            for (row, to) in batch.column_mut(column).iter_mut().enumerate() {
                *to = value(row, column);
            }
        }
        batch
    }

    pub(crate) fn column(&self, column: usize) -> &[f64] {
        let first = GAP + column * (self.rows + GAP);
        &self.memory[first..first + self.rows]
    }

    pub(crate) fn column_mut(&mut self, column: usize) -> &mut [f64] {
        let first = GAP + column * (self.rows + GAP);
        &mut self.memory[first..first + self.rows]
    }

    pub(crate) fn cols(&self) -> Cols<'_> {
        Cols::from_column_major_slice_with_stride(&self.memory[GAP..], self.rows, self.columns, self.rows + GAP)
    }

    pub(crate) fn cols_mut(&mut self) -> ColsMut<'_> {
        let stride = self.rows + GAP;
        ColsMut::from_column_major_slice_with_stride_mut(&mut self.memory[GAP..], self.rows, self.columns, stride)
    }

    /// Whether every wall stands.
    pub(crate) fn intact(&self) -> bool {
        let wall = |values: &[f64]| values.iter().all(|value| value.to_bits() == WALL);
        let stride = self.rows + GAP;
        wall(&self.memory[..GAP])
            && (0..self.columns).all(|column| {
                let end = GAP + column * stride + self.rows;
                wall(&self.memory[end..end + GAP])
            })
    }

    /// Some columns, in this order.
    pub(crate) fn pick(&self, columns: &[usize]) -> Batch {
        Batch::from_fn(self.rows, columns.len(), |row, column| {
            self.column(columns[column])[row]
        })
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Every value of every column.
    pub(crate) fn values(&self) -> impl Iterator<Item = f64> + '_ {
        (0..self.columns).flat_map(|column| self.column(column).iter().copied())
    }
}

/// Scratch of the length asked for, with a wall behind it.
pub(crate) struct Scratch {
    memory: Vec<f64>,
    len: usize,
}

impl Scratch {
    pub(crate) fn new(len: usize, content: f64) -> Scratch {
        let mut memory = vec![content; len];
        memory.resize(len + GAP, f64::from_bits(WALL));
        Scratch { memory, len }
    }

    pub(crate) fn get(&mut self) -> &mut [f64] {
        &mut self.memory[..self.len]
    }

    pub(crate) fn intact(&self) -> bool {
        self.memory[self.len..].iter().all(|value| value.to_bits() == WALL)
    }
}
