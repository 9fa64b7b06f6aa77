//! Bytes as a file, one for the whole process.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Writes `bytes` to a file in memory and gives its path.
pub fn of(bytes: &[u8]) -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    let path = FILE.get_or_init(|| {
        let folder = tempfile::tempdir_in("/dev/shm").expect("there is memory");
        folder.keep().join("fuzzed")
    });
    std::fs::write(path, bytes).expect("there is memory");
    path
}
