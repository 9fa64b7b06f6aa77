//! What the program writes: which files it may, and stdout, which is for machines.

use crate::error::CliError;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Fails where the output stands already and may not be replaced, is no file, or is one of the files `read` by the
/// command.
pub fn check(output: &Path, force: bool, read: &[&Path]) -> Result<(), CliError> {
    let folder = output.as_os_str().as_encoded_bytes().ends_with(b"/") || output.file_name().is_none();
    if folder || output.exists() && !output.is_file() {
        let output = output.display().to_string();
        return Err(CliError::NotAFile { output });
    }
    let Ok(standing) = output.canonicalize() else {
        return Ok(());
    };
    if read
        .iter()
        .any(|path| path.canonicalize().is_ok_and(|path| path == standing))
    {
        let output = output.display().to_string();
        return Err(CliError::SameFile { output });
    }
    if force {
        return Ok(());
    }
    Err(CliError::Exists(output.display().to_string()))
}

/// A text that may hold what a file chose, without the signs that a terminal would obey.
pub fn printable(text: &str) -> String {
    // A name out of an HDF5 file may be no UTF-8 at all.
    let text = String::from_utf8_lossy(text.as_bytes());
    let shown = |c: char| {
        if c.is_control() && c != '\n' && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

/// Prints a line on stdout; a reader that has gone is no error.
pub fn say(text: &str) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(CliError::Stdout(error)),
        _ => Ok(()),
    }
}
