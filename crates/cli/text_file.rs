//! Texts that people write: run files and configurations, which are short.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// Most bytes of one.
const LIMIT: u64 = 1 << 20;

/// The content of a regular file of at most 1 MiB; others may never end.
pub fn read(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file: name one"));
    }
    let mut text = String::new();
    File::open(path)?.take(LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LIMIT {
        return Err(io::Error::other(format!(
            "it has more than {LIMIT} bytes, which no such file needs"
        )));
    }
    Ok(text)
}
