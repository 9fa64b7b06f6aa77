//! Orders and splits from a seed, the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// 0, ..., count - 1 in the random order of `seed` and `stream` (Fisher-Yates).
pub(crate) fn shuffled(count: usize, seed: u64, stream: u64) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // The upper half of the product is uniform in 0..=last but for a bias below 2^-40.
        let draw = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, draw as usize);
    }
    order
}

/// Splits 0, ..., count - 1 in training and validation, both in ascending order; `fraction` of them go to validation.
pub fn split(count: usize, fraction: f64, seed: u64) -> (Vec<usize>, Vec<usize>) {
    let held = ((count as f64 * fraction).round() as usize).min(count);
    // Streams 1, 2, ... are the epochs'.
    let mut training = shuffled(count, seed, 0);
    let mut validation = training.split_off(count - held);
    training.sort_unstable();
    validation.sort_unstable();
    (training, validation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_holds_every_index_once_and_depends_on_seed_and_stream() {
        let order = shuffled(100, 5, 1);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert!(sorted.into_iter().eq(0..100));
        assert_eq!(order, shuffled(100, 5, 1));
        assert_ne!(order, shuffled(100, 5, 2));
        assert_ne!(order, shuffled(100, 6, 1));
    }

    #[test]
    fn a_split_is_complete_disjoint_and_sorted() {
        let (training, validation) = split(1000, 0.1, 7);
        assert_eq!((training.len(), validation.len()), (900, 100));
        assert!(training.is_sorted() && validation.is_sorted());
        let mut all = [training, validation].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..1000));
        assert_eq!(split(3, 0.0, 7).0, [0, 1, 2]);
    }
}
