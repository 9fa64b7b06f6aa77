//! Hashes of data and weights, so that a result can be told from another.

use std::path::Path;

use crate::IoError;
use gfe_model::Cols;
use gfe_model::columns::column;
use sha2::{Digest, Sha256};

/// Values that become bytes at a time.
const VALUES: usize = 512;

/// SHA-256 of the weights as little-endian f64, in lower-case hexadecimal.
pub fn params_sha256(params: &[f64]) -> String {
    hexadecimal(&of_values(std::iter::once(params)))
}

/// SHA-256 of the bytes of the file `path`, in lower-case hexadecimal; fails where it cannot be read.
pub fn file_sha256(path: &Path) -> Result<String, IoError> {
    let failed = |source| IoError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(failed)?;
    Ok(hexadecimal(&hash.finalize()))
}

/// SHA-256 of each row, of its values `[D, rows]` and then of its column of each matrix in `beside`, as little-endian f64.
pub fn row_sha256(y: Cols<'_>, beside: &[Cols<'_>]) -> Vec<[u8; 32]> {
    (0..y.ncols())
        .map(|b| {
            let matrices = std::iter::once(&y).chain(beside);
            of_values(matrices.map(|matrix| column(*matrix, b)))
        })
        .collect()
}

/// SHA-256 of the list of the SHA-256 of every row: it does not depend on how the rows are cut into blocks.
#[derive(Clone, Debug, Default)]
pub struct RowsHash(Sha256);

impl RowsHash {
    /// Takes the next rows, `[D, rows]`.
    pub fn push(&mut self, y: Cols<'_>) {
        self.push_hashes(&row_sha256(y, &[]));
    }

    /// Takes the hashes of the next rows.
    pub fn push_hashes(&mut self, hashes: &[[u8; 32]]) {
        hashes.iter().for_each(|hash| self.0.update(hash));
    }

    /// The hash of all rows, in lower-case hexadecimal.
    pub fn finish(self) -> String {
        hexadecimal(&self.0.finalize())
    }
}

/// SHA-256 of what a reader gives, in lower-case hexadecimal.
pub(crate) fn sha256_of(mut from: impl std::io::Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut from, &mut hash)?;
    Ok(hexadecimal(&hash.finalize()))
}

/// SHA-256 of bytes, in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

/// SHA-256 of these values one after another, as little-endian f64.
fn of_values<'a>(parts: impl Iterator<Item = &'a [f64]>) -> [u8; 32] {
    let (mut hash, mut bytes) = (Sha256::new(), [0; 8 * VALUES]);
    for values in parts.flat_map(|part| part.chunks(VALUES)) {
        let bytes = &mut bytes[..8 * values.len()];
        for (to, value) in bytes.chunks_exact_mut(8).zip(values) {
            to.copy_from_slice(&value.to_le_bytes());
        }
        hash.update(bytes);
    }
    hash.finalize().into()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_rows_depends_on_their_order_and_not_on_their_cut() {
        let values: Vec<f64> = (0..12).map(f64::from).collect();
        let of = |cuts: &[(usize, usize)]| {
            let mut hash = RowsHash::default();
            for &(first, rows) in cuts {
                hash.push(Cols::from_column_major_slice(
                    &values[3 * first..3 * (first + rows)],
                    3,
                    rows,
                ));
            }
            hash.finish()
        };
        assert_eq!(of(&[(0, 4)]), of(&[(0, 1), (1, 3)]));
        assert_ne!(of(&[(0, 4)]), of(&[(1, 3), (0, 1)]));
        // sha256 of nothing.
        assert!(RowsHash::default().finish().starts_with("e3b0c44298fc1c14"));
    }
}
