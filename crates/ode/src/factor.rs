//! Cholesky factors of small symmetric blocks, one per lane, in memory asked for once.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::reborrow::{Reborrow as _, ReborrowMut as _};
use faer::{MatMut, Par};

/// Solves with (H + shift I), H positive semi-definite `[d, d]`.
pub struct Cholesky {
    dim: usize,
    matrix: Vec<f64>,
    memory: MemBuffer,
}

impl Cholesky {
    /// Memory for blocks of `[dim, dim]`.
    pub fn new(dim: usize) -> Self {
        let request = llt::factor::cholesky_in_place_scratch::<f64>(dim, Par::Seq, Default::default());
        Cholesky {
            dim,
            matrix: vec![0.0; dim * dim],
            memory: MemBuffer::new(request),
        }
    }

    /// Overwrites `rhs` with (H + shift I)^-1 rhs; false where the matrix is not positive definite to rounding.
    ///
    /// The shift never falls below d eps max|H_ii|: a rank-deficient H then gives the pseudo-inverse's solution up to
    /// rounding, instead of a division by zero.
    pub fn solve(&mut self, hessian: &[f64], shift: f64, rhs: &mut [f64]) -> bool {
        let dim = self.dim;
        let largest = (0..dim).map(|i| hessian[i * dim + i].abs()).fold(0.0, f64::max);
        let shift = shift.max(dim as f64 * f64::EPSILON * largest);
        self.matrix.copy_from_slice(hessian);
        for i in 0..dim {
            self.matrix[i * dim + i] += shift;
        }
        let stack = MemStack::new(&mut self.memory);
        let mut matrix = MatMut::from_column_major_slice_mut(&mut self.matrix, dim, dim);
        let factored =
            llt::factor::cholesky_in_place(matrix.rb_mut(), Default::default(), Par::Seq, stack, Default::default());
        if factored.is_err() {
            return false;
        }
        let rhs_column = MatMut::from_column_major_slice_mut(rhs, dim, 1);
        llt::solve::solve_in_place(matrix.rb(), rhs_column, Par::Seq, stack);
        rhs.iter().all(|value| value.is_finite())
    }

    /// (1/2) f^T H^-1 f, for f = -g: the distance to the minimum that the quadratic model sees.
    ///
    /// `solution` `[d]` is overwritten. NaN where the system cannot be solved.
    pub fn edm(&mut self, hessian: &[f64], f: &[f64], solution: &mut [f64]) -> f64 {
        solution.copy_from_slice(f);
        if f.iter().all(|&value| value == 0.0) {
            return 0.0;
        }
        if !self.solve(hessian, 0.0, solution) {
            return f64::NAN;
        }
        0.5 * solution.iter().zip(f).map(|(s, f)| s * f).sum::<f64>()
    }
}
