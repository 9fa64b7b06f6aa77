//! The weights once more, in the layout and the precision that products are fast with, as long as they stay the same.
//!
//! `params` holds W by rows, as PyTorch does. W^T delta reads it as it lies; for W h a matrix product would gather its
//! columns anew in every call, which costs as much as the product itself where lanes are few: so W is kept by columns.
//! Clones of a decoder share what is kept: the workers of one encoding, and the trainer.

use super::layer::Layer;
use crate::{At, Cols};
use faer::MatRef;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Rows and columns of W copied at a time: both ends of the copy stay in cache.
const TILE: usize = 16;

/// Single precision is of use where no product can overflow it, nor all of them vanish: where both the product of the
/// layers' largest weights, and that of the bounds of their growth, lie here.
const SINGLE: std::ops::Range<f64> = 1e-30..1e36;

/// No activation's slope exceeds it, that of SELU being the steepest with 1.7581.
const STEEPEST: f64 = 1.8;

/// The copies made last, and single-precision scratch memory.
#[derive(Clone, Default)]
pub(super) struct Store {
    copies: Arc<Mutex<Option<Arc<Copies>>>>,
    scratch: Arc<Mutex<Vec<Vec<f32>>>>,
}

/// Copies of the weights of one version, each made when first asked for.
pub(super) struct Copies {
    version: u64,
    double: OnceLock<Vec<f64>>,
    single: OnceLock<Option<Single>>,
    /// Whether there was a product in double precision.
    used: AtomicBool,
    /// Memory of the copies made before.
    spare: Mutex<Spare>,
}

/// The weights in double precision.
#[derive(Clone, Copy)]
pub(super) enum Double<'a> {
    /// Every W by rows.
    Rows(&'a [f64]),
    /// Every W by columns.
    Columns(&'a [f64]),
}

impl<'a> Double<'a> {
    /// W of `layer`, `[outputs, inputs]`.
    pub fn weight(self, layer: Layer) -> Cols<'a> {
        match self {
            Double::Rows(params) => layer.transposed(params).transpose(),
            Double::Columns(columns) => weight(columns, layer),
        }
    }
}

/// Memory for copies.
#[derive(Default)]
struct Spare {
    double: Vec<f64>,
    single: [Vec<f32>; 2],
}

/// The weights in single precision, every tensor at the place that it has in `params`.
pub(super) struct Single {
    /// Every W by rows.
    rows: Vec<f32>,
    /// Every W by columns.
    columns: Vec<f32>,
}

impl Store {
    /// The copies of these weights; made anew where the version is another, or 0.
    pub fn copies(&self, at: At<'_>) -> Arc<Copies> {
        let mut kept = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some(copies) if copies.version == at.version && at.version != 0 => Arc::clone(copies),
            _ => {
                let spare = kept.take().and_then(Arc::into_inner).map(Copies::spare);
                let copies = Arc::new(Copies {
                    version: at.version,
                    double: OnceLock::new(),
                    single: OnceLock::new(),
                    used: AtomicBool::new(false),
                    spare: Mutex::new(spare.unwrap_or_default()),
                });
                *kept = Some(Arc::clone(&copies));
                copies
            }
        }
    }

    /// Calls `with` on so many values of scratch memory of any content.
    pub fn with_scratch<R>(&self, len: usize, with: impl FnOnce(&mut [f32]) -> R) -> R {
        let pool = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut memory = pool().pop().unwrap_or_default();
        if memory.len() < len {
            memory.resize(len, 0.0);
        }
        let result = with(&mut memory[..len]);
        pool().push(memory);
        result
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Copies {
    /// The weights to multiply with: by columns, or as they are for the first product, which a copy would cost more than it
    /// saves. The bits of a product do not depend on it.
    pub fn double<'a>(&'a self, params: &'a [f64], layers: &[Layer]) -> Double<'a> {
        if !self.used.swap(true, Ordering::Relaxed) {
            return Double::Rows(params);
        }
        let copy = || by_columns(params, layers, std::mem::take(&mut self.memory().double));
        Double::Columns(self.double.get_or_init(copy))
    }

    /// The weights in single precision; `None` where that has too small a range.
    pub fn single(&self, params: &[f64], layers: &[Layer]) -> Option<&Single> {
        let copy = || Single::new(params, layers, std::mem::take(&mut self.memory().single));
        self.single.get_or_init(copy).as_ref()
    }

    fn memory(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What memory there is, for copies of other weights.
    fn spare(self) -> Spare {
        let spare = self.spare.into_inner().unwrap_or_else(PoisonError::into_inner);
        let single = self.single.into_inner().flatten();
        Spare {
            double: self.double.into_inner().unwrap_or(spare.double),
            single: single.map_or(spare.single, |single| [single.rows, single.columns]),
        }
    }
}

impl Single {
    fn new(params: &[f64], layers: &[Layer], [mut rows, columns]: [Vec<f32>; 2]) -> Option<Self> {
        let (mut size, mut bound) = (1.0, 1.0);
        for layer in layers {
            let weights = &params[layer.weight..][..layer.outputs * layer.inputs];
            let largest = weights.iter().fold(0.0_f64, |most, w| most.max(w.abs()));
            size *= largest;
            bound *= largest.max(1.0) * layer.inputs as f64 * STEEPEST;
        }
        if !(SINGLE.contains(&size) && SINGLE.contains(&bound)) {
            return None;
        }
        rows.resize(params.len(), 0.0);
        rows.iter_mut().zip(params).for_each(|(to, &w)| *to = w as f32);
        let columns = by_columns(&rows, layers, columns);
        Some(Single { rows, columns })
    }

    /// W of `layer`, `[outputs, inputs]`.
    pub fn weight(&self, layer: Layer) -> MatRef<'_, f32> {
        weight(&self.columns, layer)
    }

    /// W^T of `layer`, `[inputs, outputs]`.
    pub fn transposed(&self, layer: Layer) -> MatRef<'_, f32> {
        let len = layer.outputs * layer.inputs;
        MatRef::from_column_major_slice(&self.rows[layer.weight..][..len], layer.inputs, layer.outputs)
    }
}

/// W of `layer`, `[outputs, inputs]`, in weights by columns.
fn weight<T>(columns: &[T], layer: Layer) -> MatRef<'_, T> {
    let len = layer.outputs * layer.inputs;
    MatRef::from_column_major_slice(&columns[layer.weight..][..len], layer.outputs, layer.inputs)
}

/// A copy of the weights with every W by columns, in `columns`; biases are left out.
fn by_columns<T: Copy + Default>(params: &[T], layers: &[Layer], mut columns: Vec<T>) -> Vec<T> {
    columns.resize(params.len(), T::default());
    for layer in layers {
        let tensor = layer.weight..layer.weight + layer.outputs * layer.inputs;
        transpose(
            &params[tensor.clone()],
            &mut columns[tensor],
            (layer.outputs, layer.inputs),
        );
    }
    columns
}

/// to = from^T, from `[rows, columns]` by rows.
fn transpose<T: Copy>(from: &[T], to: &mut [T], (rows, columns): (usize, usize)) {
    for first_row in (0..rows).step_by(TILE) {
        let last_row = (first_row + TILE).min(rows);
        for first_column in (0..columns).step_by(TILE) {
            for column in first_column..(first_column + TILE).min(columns) {
                let to = &mut to[column * rows..][first_row..last_row];
                for (row, to) in (first_row..last_row).zip(to) {
                    *to = from[row * columns + column];
                }
            }
        }
    }
}
