//! Random numbers that are the same everywhere for the same seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A stream of numbers.
pub(crate) struct Uniform(ChaCha8Rng);

impl Uniform {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Uniform(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Fills `values` from U(-bound, bound), each from the upper 53 bits of one draw.
    pub fn fill(&mut self, bound: f64, values: &mut [f64]) {
        for value in values {
            let unit = (self.0.next_u64() >> 11) as f64 * (-53.0_f64).exp2();
            *value = bound * (2.0 * unit - 1.0);
        }
    }
}
