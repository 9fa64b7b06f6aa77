//! The accepted steps of every sample, for those who take them again.

use gfe_ode::adjoint::Step;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Steps by the number of the sample; 16 bytes each are all that is kept of an integration.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<BTreeMap<usize, Vec<Step>>>);

impl Ledger {
    /// Takes the steps of a sample that is done.
    pub(crate) fn enter(&self, sample: usize, steps: Vec<Step>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert(sample, steps);
    }

    /// The steps of samples 0, 1, ...; none for those that were never integrated.
    pub(crate) fn close(self, samples: usize) -> Vec<Vec<Step>> {
        let mut entries = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let of = |sample| entries.remove(&sample).unwrap_or_default();
        (0..samples).map(of).collect()
    }
}
