//! A file that appears under its name whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::IoError;

/// Writes `bytes` to a temporary file beside `path`, fsyncs it, renames it to `path` and fsyncs the folder.
///
/// On error the temporary file is gone and whatever stood at `path` still stands, unless only the fsync of the folder
/// failed: then the new file stands. Temporary files that killed writers of `path` left are removed.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), IoError> {
    let path = &target(path);
    clear_leftovers(path);
    let temporary = beside(path);
    let mut file = File::create(&temporary).map_err(|source| IoError::Create {
        path: path.to_owned(),
        source,
    })?;
    // Only tells other machines that share the folder that the file is in use; not every file system has locks.
    let _ = file.try_lock();
    let synced = file.write_all(bytes).and_then(|()| file.sync_all());
    // Whoever opens the file by its name must not meet the lock.
    drop(file);
    let written = synced.and_then(|()| publish(&temporary, path));
    written.map_err(|source| {
        // The first error is the one worth telling; a leftover temporary file does no harm.
        let _ = fs::remove_file(&temporary);
        IoError::Write {
            path: path.to_owned(),
            source,
        }
    })
}

/// Fails now rather than after hours where no file can be created beside `path`; clears leftovers as [`write_whole`] does.
pub fn check_creatable(path: &Path) -> Result<(), IoError> {
    clear_leftovers(path);
    let temporary = beside(path);
    let created = File::create(&temporary).and_then(|_| fs::remove_file(&temporary));
    created.map_err(|source| IoError::Create {
        path: path.to_owned(),
        source,
    })
}

/// Links followed, one after another, until they count for a circle.
const LINKS: usize = 40;

/// The file that `path` means: what a symbolic link leads to, there or not, so that the link stays.
pub(crate) fn target(path: &Path) -> PathBuf {
    if let Ok(path) = fs::canonicalize(path) {
        return path;
    }
    let mut at = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&at) {
            Ok(link) => at = folder(&at).join(link),
            Err(_) => return at,
        }
    }
    path.to_owned()
}

/// `NAME.tmp-PID` in the folder of `path`: a rename does not cross file systems.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, ToOwned::to_owned);
    name.push(format!(".tmp-{}", std::process::id()));
    path.with_file_name(name)
}

/// Removes the files `NAME.tmp-PID` beside `path` whose process is gone and which no process, here or on another machine
/// that shares the folder, has locked. What cannot be removed stays: it does no harm.
pub(crate) fn clear_leftovers(path: &Path) {
    let (Some(name), Ok(entries)) = (path.file_name(), fs::read_dir(folder(path))) else {
        return;
    };
    for entry in entries.flatten() {
        let Some(pid) = writer(&entry.file_name(), name) else {
            continue;
        };
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_file && is_gone(pid) && is_unlocked(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The process that wrote the temporary file `found` of a file `name`; none where it is not called exactly that.
fn writer(found: &OsStr, name: &OsStr) -> Option<u32> {
    let (found, name) = (found.as_encoded_bytes(), name.as_encoded_bytes());
    let digits = std::str::from_utf8(found.strip_prefix(name)?.strip_prefix(b".tmp-")?).ok()?;
    let pid: u32 = digits.parse().ok()?;
    (pid.to_string() == digits).then_some(pid)
}

/// Whether no process has this id; without /proc nobody knows.
fn is_gone(pid: u32) -> bool {
    Path::new("/proc/self").exists() && !Path::new(&format!("/proc/{pid}")).exists()
}

fn is_unlocked(path: &Path) -> bool {
    // NFS locks nothing for itself in a file that is not open for writing.
    let opened = fs::OpenOptions::new().read(true).write(true).open(path);
    opened.is_ok_and(|file| !matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Fsyncs the folder that `path` is in.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

/// Renames `temporary` to `path` and fsyncs the folder, without which the rename itself could be lost.
pub(crate) fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    fs::rename(temporary, path)?;
    sync_folder(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process id that is no longer anybody's.
    fn gone() -> u32 {
        let mut child = std::process::Command::new("true").spawn().expect("it starts");
        child.wait().expect("it ends");
        child.id()
    }

    #[test]
    fn a_link_is_followed_to_a_file_that_is_not_there_yet_and_a_circle_of_links_is_not() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let at = |name: &str| folder.path().join(name);
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, at(name)).expect("a link can be made");
        link("second", "first");
        link("to-come.h5", "second");
        write_whole(&at("first"), b"bytes").expect("there is room");
        assert_eq!(fs::read(at("to-come.h5")).expect("it is there"), b"bytes");
        assert!(at("first").is_symlink() && at("second").is_symlink());
        link("right", "left");
        link("left", "right");
        assert_eq!(target(&at("left")), at("left"));
    }

    #[test]
    fn leftovers_of_killed_writers_go_and_nothing_else_does() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let make = |name: String| {
            let path = folder.path().join(name);
            fs::write(&path, "half").expect("there is room");
            path
        };
        let gone = gone();
        let leftover = make(format!("a.h5.tmp-{gone}"));
        // Of the process that runs the tests' parent, of another file, and of nobody.
        let alive = make(format!("a.h5.tmp-{}", std::os::unix::process::parent_id()));
        let other = make(format!("b.h5.tmp-{gone}"));
        let mut kept = vec![alive, other];
        kept.extend(
            [
                "a.h5.tmp-",
                "a.h5.tmp-x1",
                "a.h5.tmp-+1",
                "a.h5.tmp-1.bak",
                "a.h5.tmp--1",
            ]
            .map(|n| make(n.into())),
        );
        kept.push(make(format!("a.h5.tmp-0{gone}")));
        let folder_of_that_name = folder.path().join("a.h5.tmp-4194303");
        fs::create_dir(&folder_of_that_name).expect("there is room");
        write_whole(&folder.path().join("a.h5"), b"whole").expect("there is room");
        assert!(!leftover.exists());
        kept.push(folder_of_that_name);
        for path in kept {
            assert!(path.exists(), "{} is gone", path.display());
        }
    }

    #[test]
    fn a_leftover_that_is_locked_belongs_to_somebody() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join(format!("a.h5.tmp-{}", gone()));
        let held = File::create(&path).expect("there is room");
        held.try_lock().expect("nobody else holds it");
        let write = || write_whole(&folder.path().join("a.h5"), b"whole").expect("there is room");
        write();
        assert!(path.exists());
        // A process that another test starts just then has the lock for an instant more.
        held.unlock().expect("it is held");
        drop(held);
        write();
        assert!(!path.exists());
    }
}
