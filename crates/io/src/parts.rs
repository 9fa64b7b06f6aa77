//! The parts of an encoded output while it comes about: `OUT.parts/` beside OUT.
//!
//! Each part is a file of layout 1.0 for a range of rows, called `rows-FIRST-END-HASH.h5`, with the first 16 digits of
//! its SHA-256: it appears under that name whole and synced, and the name alone says what is done, so that nothing else has to be written at the same moment. `manifest.json`
//! says what the output is to be, `skeleton.h5` is the output before it has rows, and `lock` keeps a second run away.
//! Without a manifest whatever is in the folder counts for nothing.

mod manifest;
mod merge;

pub use manifest::{Manifest, differences};
pub use merge::write_merged;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{IoError, atomic, hash};

const MANIFEST: &str = "manifest.json";
const SKELETON: &str = "skeleton.h5";
const LOCK: &str = "lock";

/// A part that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Rows of the input that it holds.
    pub rows: Range<usize>,
    /// Its file.
    pub path: PathBuf,
    /// The first digits of its SHA-256.
    sha256: String,
}

impl Part {
    /// The part that a file of this name is; none where it is not called so.
    fn named(path: &Path) -> Option<Part> {
        let name = path.file_name()?.to_str()?;
        let mut words = name.strip_prefix("rows-")?.strip_suffix(".h5")?.split('-');
        let (first, end, sha256) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?);
        let part = Part {
            rows: first..end,
            path: path.to_owned(),
            sha256: sha256.to_owned(),
        };
        (first < end && part.name() == name).then_some(part)
    }

    fn name(&self) -> String {
        format!("rows-{:012}-{:012}-{}.h5", self.rows.start, self.rows.end, self.sha256)
    }

    /// Whether its bytes are those that its name promises.
    fn is_sound(&self) -> bool {
        fs::read(&self.path).is_ok_and(|bytes| short(&bytes) == self.sha256)
    }
}

/// The first 16 digits of a SHA-256.
fn short(bytes: &[u8]) -> String {
    hash::sha256(bytes)[..16].to_owned()
}

/// Which rows a run takes for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// All: nobody else may be at work.
    Whole,
    /// The share `i` of `n`, from 1, beside runs of other shares.
    Share {
        /// Which.
        i: usize,
        /// Of how many.
        n: usize,
    },
}

/// The parts of an output, held against other runs as long as this lives.
#[derive(Debug)]
pub struct Parts {
    output: PathBuf,
    folder: PathBuf,
    manifest: Manifest,
    parts: Vec<Part>,
    damaged: usize,
    dropped: usize,
    _locks: Vec<File>,
}

impl Parts {
    /// The folder of the parts of `output`.
    pub fn folder(output: &Path) -> PathBuf {
        let output = atomic::target(output);
        let mut name = output.file_name().map_or_else(OsString::new, ToOwned::to_owned);
        name.push(".parts");
        output.with_file_name(name)
    }

    /// Begins the output that `manifest` describes, or goes on with what is there of it; `skeleton` is the output without rows.
    ///
    /// Parts whose bytes are not those of their names are removed. Fails where another run is at work
    /// ([`IoError::Held`]), or where the folder holds parts of another output ([`IoError::OtherParts`]) and these are not
    /// to be dropped.
    pub fn begin(
        output: &Path,
        (manifest, skeleton): (Manifest, &[u8]),
        hold: Hold,
        drop_others: bool,
    ) -> Result<Parts, IoError> {
        let folder = Parts::folder(output);
        atomic::clear_leftovers(output);
        let create = |source| IoError::Create {
            path: folder.clone(),
            source,
        };
        match fs::create_dir(&folder) {
            Ok(()) => atomic::sync_folder(&folder).map_err(create)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) => return Err(create(error)),
        }
        let manifest = Manifest {
            skeleton_sha256: hash::sha256(skeleton),
            ..manifest
        };
        let mut parts = Parts {
            output: output.to_owned(),
            manifest,
            folder,
            parts: Vec::new(),
            damaged: 0,
            dropped: 0,
            _locks: Vec::new(),
        };
        match (lock(&parts.folder, Hold::Whole), hold) {
            (Ok(alone), _) => {
                parts.set_up(skeleton, drop_others)?;
                drop(alone);
                parts._locks = lock(&parts.folder, hold)?;
            }
            (Err(IoError::Held { .. }), Hold::Share { .. }) => {
                parts._locks = lock(&parts.folder, hold)?;
                parts.wait_for_manifest()?;
            }
            (Err(error), _) => return Err(error),
        }
        parts.look()?;
        Ok(parts)
    }

    /// With nobody else at work: keeps what is there of the same output, or begins anew.
    fn set_up(&mut self, skeleton: &[u8], drop_others: bool) -> Result<(), IoError> {
        match Manifest::read(&self.folder.join(MANIFEST)) {
            Ok(found) => {
                let differences = found.differences(&self.manifest);
                if differences.is_empty() {
                    self.manifest = found;
                    return Ok(());
                }
                if !drop_others {
                    return Err(IoError::OtherParts {
                        path: self.folder.clone(),
                        differences,
                    });
                }
            }
            Err(IoError::NotFound { .. }) => {}
            Err(error) if !drop_others => return Err(error),
            Err(_) => {}
        }
        self.dropped = list(&self.folder)?.len();
        self.clear()?;
        atomic::write_whole(&self.folder.join(SKELETON), skeleton)?;
        atomic::write_whole(&self.folder.join(MANIFEST), self.manifest.to_json().as_bytes())
    }

    /// Beside others at work, who have written the manifest or are about to.
    fn wait_for_manifest(&mut self) -> Result<(), IoError> {
        let path = self.folder.join(MANIFEST);
        for _ in 0..100 {
            match Manifest::read(&path) {
                Ok(found) => {
                    let differences = found.differences(&self.manifest);
                    if !differences.is_empty() {
                        return Err(IoError::OtherParts {
                            path: self.folder.clone(),
                            differences,
                        });
                    }
                    self.manifest = found;
                    return Ok(());
                }
                Err(IoError::NotFound { .. }) => std::thread::sleep(Duration::from_millis(50)),
                Err(error) => return Err(error),
            }
        }
        Err(IoError::Held {
            path: self.folder.join(LOCK),
        })
    }

    /// Opens the parts of `output` to merge them: fails where there are none or somebody is at work on them.
    pub fn open(output: &Path) -> Result<Parts, IoError> {
        let folder = Parts::folder(output);
        let manifest = Manifest::read(&folder.join(MANIFEST))?;
        let locks = lock(&folder, Hold::Whole)?;
        let mut parts = Parts {
            output: output.to_owned(),
            manifest,
            folder,
            parts: Vec::new(),
            damaged: 0,
            dropped: 0,
            _locks: locks,
        };
        parts.look()?;
        Ok(parts)
    }

    /// The parts of `output` in a process that works for the one that holds them.
    pub fn of_parent(output: &Path) -> Result<Parts, IoError> {
        let folder = Parts::folder(output);
        Ok(Parts {
            output: output.to_owned(),
            manifest: Manifest::read(&folder.join(MANIFEST))?,
            parts: list(&folder)?,
            folder,
            damaged: 0,
            dropped: 0,
            _locks: Vec::new(),
        })
    }

    /// Looks at the parts of `output` without holding them; a part may be damaged.
    pub fn peek(output: &Path) -> Result<Peek, IoError> {
        let folder = Parts::folder(output);
        let manifest = Manifest::read(&folder.join(MANIFEST))?;
        let parts = list(&folder)?;
        Ok(Peek {
            missing: missing(&parts, manifest.rows.clone()),
            running: matches!(lock(&folder, Hold::Whole), Err(IoError::Held { .. })),
            manifest,
            parts,
        })
    }

    /// Finds the parts that are there, and removes those that are damaged.
    fn look(&mut self) -> Result<(), IoError> {
        let all = list(&self.folder)?;
        let found = all.len();
        self.parts = all.into_iter().filter(Part::is_sound).collect();
        self.damaged = found - self.parts.len();
        if self.damaged > 0 {
            for part in list(&self.folder)?.iter().filter(|part| !self.parts.contains(part)) {
                fs::remove_file(&part.path).map_err(|source| IoError::Write {
                    path: part.path.clone(),
                    source,
                })?;
            }
        }
        Ok(())
    }

    /// What the output is to be.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The output.
    pub fn output(&self) -> &Path {
        &self.output
    }

    /// The parts that are there, by their first rows.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// How many parts were found damaged, and are to be made again.
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    /// How many parts of another output were there, and are dropped.
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Which of these rows are in no part.
    pub fn missing(&self, rows: Range<usize>) -> Vec<Range<usize>> {
        missing(&self.parts, rows)
    }

    /// Adds the part of `rows` with the bytes `image`: there whole and synced when this returns.
    pub fn commit(&mut self, rows: Range<usize>, image: &[u8]) -> Result<(), IoError> {
        let mut part = Part {
            rows,
            path: PathBuf::new(),
            sha256: short(image),
        };
        part.path = self.folder.join(part.name());
        atomic::write_whole(&part.path, image)?;
        self.parts.push(part);
        self.parts.sort_by_key(|part| (part.rows.start, part.rows.end));
        Ok(())
    }

    /// Where the output is put together before it gets its name.
    pub fn temporary(&self) -> PathBuf {
        atomic::beside(&atomic::target(&self.output))
    }

    /// Gives the output its name once it is whole and synced, and removes the parts.
    pub fn publish(self) -> Result<(), IoError> {
        atomic::publish(&self.temporary(), &atomic::target(&self.output)).map_err(|source| IoError::Write {
            path: self.output.clone(),
            source,
        })?;
        self.remove()
    }

    /// Fails where the disk has less than `bytes` left.
    pub fn check_space(&self, bytes: u64) -> Result<(), IoError> {
        let no_space = |source| IoError::NoSpace {
            path: self.output.clone(),
            bytes,
            source,
        };
        let free = rustix::fs::statvfs(&self.folder).map_err(|error| no_space(error.into()))?;
        if free.f_bavail.saturating_mul(free.f_frsize) < bytes {
            return Err(no_space(io::ErrorKind::StorageFull.into()));
        }
        Ok(())
    }

    /// Removes the folder: the manifest first, so that it is never taken for the parts of something.
    pub fn remove(self) -> Result<(), IoError> {
        self.clear()?;
        let removed = fs::remove_file(self.folder.join(LOCK)).and_then(|()| fs::remove_dir(&self.folder));
        match removed {
            // Somebody's own files are none of ours.
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(IoError::Write {
                path: self.folder.clone(),
                source: error,
            }),
            _ => Ok(()),
        }
    }

    /// Removes manifest, skeleton, parts and what killed runs left of them.
    fn clear(&self) -> Result<(), IoError> {
        let failed = |path: &Path, source| IoError::Write {
            path: path.to_owned(),
            source,
        };
        let remove = |path: &Path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path, error)),
            _ => Ok(()),
        };
        remove(&self.folder.join(MANIFEST))?;
        remove(&self.folder.join(SKELETON))?;
        for entry in fs::read_dir(&self.folder).map_err(|error| failed(&self.folder, error))? {
            let path = entry.map_err(|error| failed(&self.folder, error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let ours = [MANIFEST, SKELETON, "rows-"]
                .iter()
                .any(|known| name.starts_with(known));
            if Part::named(&path).is_some() || (ours && name.contains(".tmp-")) || name.starts_with("lock-") {
                remove(&path)?;
            }
        }
        Ok(())
    }
}

/// The parts of an output as somebody else sees them.
#[derive(Clone, Debug)]
pub struct Peek {
    /// What the output is to be.
    pub manifest: Manifest,
    /// The parts that are there.
    pub parts: Vec<Part>,
    /// Rows that are in none.
    pub missing: Vec<Range<usize>>,
    /// Whether a run is at work on them.
    pub running: bool,
}

/// The parts in a folder by their first rows.
fn list(folder: &Path) -> Result<Vec<Part>, IoError> {
    let entries = fs::read_dir(folder).map_err(|source| IoError::Read {
        path: folder.to_owned(),
        source,
    })?;
    let mut parts: Vec<Part> = entries
        .flatten()
        .filter_map(|entry| Part::named(&entry.path()))
        .collect();
    parts.sort_by_key(|part| (part.rows.start, part.rows.end));
    Ok(parts)
}

/// Which of `rows` are in none of the parts, which ascend.
fn missing(parts: &[Part], rows: Range<usize>) -> Vec<Range<usize>> {
    let (mut next, mut gaps) = (rows.start, Vec::new());
    for part in parts {
        if part.rows.start > next {
            gaps.push(next..part.rows.start.min(rows.end));
        }
        next = next.max(part.rows.end);
        if next >= rows.end {
            break;
        }
    }
    if next < rows.end {
        gaps.push(next..rows.end);
    }
    gaps.retain(|gap| gap.start < gap.end);
    gaps
}

/// Locks the folder: as a whole, or a share of it beside others.
fn lock(folder: &Path, hold: Hold) -> Result<Vec<File>, IoError> {
    let whole = hold == Hold::Whole;
    let mut locks = vec![take(&folder.join(LOCK), whole)?];
    if let Hold::Share { i, n } = hold {
        locks.push(take(&folder.join(format!("lock-{i}-of-{n}")), true)?);
    }
    Ok(locks)
}

/// Takes the lock `path`; where the file system has no locks, nothing is held.
fn take(path: &Path, exclusive: bool) -> Result<File, IoError> {
    let failed = |source| IoError::Create {
        path: path.to_owned(),
        source,
    };
    loop {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(failed)?;
        let locked = if exclusive {
            file.try_lock()
        } else {
            file.try_lock_shared()
        };
        if let Err(TryLockError::WouldBlock) = locked {
            return Err(IoError::Held { path: path.to_owned() });
        }
        // A run that ended in between has removed the file that was opened here: another one stands for the lock now.
        let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let mine = file.metadata().map(inode).map_err(failed)?;
        if fs::metadata(path).is_ok_and(|metadata| inode(metadata) == mine) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests;
