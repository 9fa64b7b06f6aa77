//! Initial latents z0.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Where the flow of a sample starts. It depends on the sample's row alone, not on which rows are encoded with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Start {
    /// Every component has this value.
    Fill(f64),
    /// Every component is uniform in [0, 1): one ChaCha stream per row.
    Uniform {
        /// Of all rows.
        seed: u64,
    },
}

impl Start {
    /// Writes z0 of the sample in `row` of the input, `[d]`.
    pub fn write(&self, row: usize, z0: &mut [f64]) {
        match self {
            Start::Fill(value) => z0.fill(*value),
            Start::Uniform { seed } => {
                let mut random = ChaCha8Rng::seed_from_u64(*seed);
                random.set_stream(row as u64);
                z0.fill_with(|| (random.next_u64() >> 11) as f64 * (-53.0_f64).exp2());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Start;

    #[test]
    fn a_rows_uniform_start_depends_on_row_and_seed_alone_and_lies_in_the_unit_interval() {
        let of = |seed, row| {
            let mut z0 = [0.0; 50];
            Start::Uniform { seed }.write(row, &mut z0);
            z0
        };
        assert_eq!(of(1, 7), of(1, 7));
        assert_ne!(of(1, 7), of(1, 8));
        assert_ne!(of(1, 7), of(2, 7));
        assert!(of(1, 7).iter().all(|z| (0.0..1.0).contains(z)));
        let mean = of(3, 0).iter().sum::<f64>() / 50.0;
        // Standard error of the mean of 50: 0.04.
        assert!((mean - 0.5).abs() < 0.16, "{mean}");
    }
}
