//! A file that appears under its name whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::IoError;

/// Writes `bytes` to a temporary file beside `path`, fsyncs it, renames it to `path` and fsyncs the folder.
///
/// On error the temporary file is gone and whatever stood at `path` still stands.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let path = &target(path);
    let temporary = beside(path);
    let mut file = File::create(&temporary).map_err(|source| IoError::Create {
        path: path.to_owned(),
        source,
    })?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| publish(&temporary, path));
    written.map_err(|source| {
        // The first error is the one worth telling; a leftover temporary file does no harm.
        let _ = fs::remove_file(&temporary);
        IoError::Write {
            path: path.to_owned(),
            source,
        }
    })
}

/// Fails now rather than after hours where no file can be created beside `path`.
pub(crate) fn check_creatable(path: &Path) -> Result<(), IoError> {
    let temporary = beside(path);
    let created = File::create(&temporary).and_then(|_| fs::remove_file(&temporary));
    created.map_err(|source| IoError::Create {
        path: path.to_owned(),
        source,
    })
}

/// The file that `path` means: what a symbolic link leads to, so that the link stays.
pub(crate) fn target(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// `NAME.tmp-PID` in the folder of `path`: a rename does not cross file systems.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(format!(".tmp-{}", std::process::id()));
    path.with_file_name(name)
}

/// Renames `temporary` to `path` and fsyncs the folder, without which the rename itself could be lost.
pub(crate) fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path)?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}
