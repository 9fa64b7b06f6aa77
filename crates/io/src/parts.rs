//! The parts of an encoded output while it comes about: `OUT.parts/` beside OUT.
//!
//! Each part is a file of layout 1.0 for a range of rows, called `rows-FIRST-END-HASH.h5`, with the first 16 digits of
//! its SHA-256: it appears under that name whole and synced, and the name alone says what is done, so that nothing else has to be written at the same moment. `manifest.json`
//! says what the output is to be, `skeleton.h5` is the output before it has rows, and `lock` keeps a second run away.
//! Without a manifest whatever is in the folder counts for nothing.

mod keep;
mod lock;
mod manifest;
mod merge;
mod part;
mod pieces;

pub use manifest::{Manifest, differences};
pub use merge::write_merged;
pub use part::Part;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::lock::Lock;
use self::part::{SHORT, list, missing};
use crate::{EncodedFile, IoError, atomic, free_bytes, hash};

const MANIFEST: &str = "manifest.json";
const SKELETON: &str = "skeleton.h5";

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
    lock: Option<Lock>,
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
    /// Parts of the rows `own` whose bytes are not those of their names are removed. Fails where another run is at work
    /// ([`IoError::Held`]), or where the folder holds parts of another output ([`IoError::OtherParts`]) and these are not
    /// to be dropped.
    pub fn begin(
        output: &Path,
        (manifest, skeleton): (Manifest, &[u8]),
        (hold, own): (Hold, Range<usize>),
        drop_others: bool,
    ) -> Result<Parts, IoError> {
        let folder = Parts::folder(output);
        let create = |source| IoError::Create {
            path: folder.clone(),
            source,
        };
        let new = match fs::create_dir(&folder) {
            Ok(()) => {
                atomic::sync_folder(&folder).map_err(create)?;
                true
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => false,
            Err(error) => return Err(create(error)),
        };
        let mut parts = Parts {
            output: output.to_owned(),
            manifest: Manifest {
                skeleton_sha256: hash::sha256(skeleton),
                ..manifest
            },
            folder,
            parts: Vec::new(),
            damaged: 0,
            dropped: 0,
            lock: None,
        };
        let begun = parts.take_up(skeleton, hold, drop_others);
        if begun.is_err() && new {
            // The error that led here is the one to tell.
            let _ = parts.remove_all();
        }
        begun?;
        parts.look(&own)?;
        Ok(parts)
    }

    fn take_up(&mut self, skeleton: &[u8], hold: Hold, drop_others: bool) -> Result<(), IoError> {
        let mut lock = Lock::share(&self.folder, hold)?;
        if lock.alone {
            atomic::clear_leftovers(&self.output);
            self.set_up(skeleton, drop_others)?;
            if hold != Hold::Whole {
                lock.beside_others(&self.folder)?;
            }
        } else {
            self.wait_for_manifest()?;
        }
        self.lock = Some(lock);
        Ok(())
    }

    /// With nobody else at work: keeps what is there of the same output, or begins anew.
    fn set_up(&mut self, skeleton: &[u8], drop_others: bool) -> Result<(), IoError> {
        match Manifest::read(&self.folder.join(MANIFEST)) {
            Ok(found) => {
                let differences = found.differences(&self.manifest);
                if differences.is_empty() {
                    self.manifest = found;
                    let path = self.folder.join(SKELETON);
                    let sound = fs::read(&path).is_ok_and(|bytes| bytes == skeleton);
                    return if sound {
                        Ok(())
                    } else {
                        atomic::write_whole(&path, skeleton)
                    };
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
        let target = atomic::target(&self.output);
        if EncodedFile::open(&target).is_ok_and(|file| file.is_over_parts()) {
            // Its rows are in these parts: without them it would be none.
            remove_file(&target)?;
        }
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
        Err(IoError::NotFound { path })
    }

    /// Opens the parts of `output` to merge them: fails where there are none or somebody is at work on them.
    pub fn open(output: &Path) -> Result<Parts, IoError> {
        let folder = Parts::folder(output);
        Manifest::read(&folder.join(MANIFEST))?;
        let lock = Lock::whole(&folder)?;
        atomic::clear_leftovers(output);
        let mut parts = Parts::of_parent(output)?;
        parts.lock = Some(lock);
        Ok(parts)
    }

    /// Removes what an interrupted run left in the folder of an output that is complete, where there is a folder; gives
    /// whether there was one. Fails where somebody is at work on it.
    pub fn sweep(output: &Path) -> Result<bool, IoError> {
        let folder = Parts::folder(output);
        if !folder.is_dir() {
            return Ok(false);
        }
        let parts = Parts {
            output: output.to_owned(),
            manifest: Manifest::default(),
            parts: Vec::new(),
            damaged: 0,
            dropped: 0,
            lock: Some(Lock::whole(&folder)?),
            folder,
        };
        parts.remove().map(|()| true)
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
            lock: None,
        })
    }

    /// Looks at the parts of `output` without holding them; a part may be damaged.
    pub fn peek(output: &Path) -> Result<Peek, IoError> {
        let folder = Parts::folder(output);
        let manifest = Manifest::read(&folder.join(MANIFEST))?;
        let parts = list(&folder)?;
        Ok(Peek {
            missing: missing(&parts, manifest.rows.clone()),
            running: Lock::is_held(&folder),
            manifest,
            parts,
        })
    }

    /// Finds the parts that are there, and removes those with rows of `own` that are damaged.
    fn look(&mut self, own: &Range<usize>) -> Result<(), IoError> {
        for part in list(&self.folder)? {
            let concerned = part.rows.start < own.end && own.start < part.rows.end;
            if !concerned || part.is_sound()? {
                self.parts.push(part);
                continue;
            }
            self.damaged += 1;
            remove_file(&part.path)?;
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

    /// Whether the file system has no locks, so that nothing keeps a second run away.
    pub fn lacks_locks(&self) -> bool {
        self.lock.as_ref().is_some_and(|lock| lock.lacking)
    }

    /// From which parts the rows `rows` come: numbers of parts, and rows of the input, in order and each once.
    pub fn pieces(&self, rows: Range<usize>) -> Vec<(usize, Range<usize>)> {
        let (mut next, mut pieces) = (rows.start, Vec::new());
        for (i, part) in self.parts.iter().enumerate() {
            let piece = next.max(part.rows.start)..part.rows.end.min(rows.end);
            if piece.start < piece.end {
                next = piece.end;
                pieces.push((i, piece));
            }
        }
        pieces
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
            sha256: hash::sha256(image)[..SHORT].to_owned(),
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

    /// Gives the output its name once it is whole and synced, and removes the parts; what stands there makes way if it may be
    /// replaced, else the parts stay.
    pub fn publish(self, replace: bool) -> Result<(), IoError> {
        self.name(replace)?;
        self.remove()
    }

    /// Gives the output its name.
    fn name(&self, replace: bool) -> Result<(), IoError> {
        let (temporary, target) = (self.temporary(), atomic::target(&self.output));
        let named = if replace || !target.exists() {
            atomic::publish(&temporary, &target)
        } else {
            // It came while this was at work.
            Err(io::ErrorKind::AlreadyExists.into())
        };
        named.map_err(|source| {
            // The first error is the one worth telling; a leftover temporary file does no harm.
            let _ = fs::remove_file(&temporary);
            let path = self.output.clone();
            if source.kind() == io::ErrorKind::AlreadyExists {
                IoError::Create { path, source }
            } else {
                IoError::Write { path, source }
            }
        })
    }

    /// Fails where the disk has less than `bytes` left.
    pub fn check_space(&self, bytes: u64) -> Result<(), IoError> {
        let free = free_bytes(&self.output)?;
        if free >= bytes {
            return Ok(());
        }
        Err(IoError::NoSpace {
            path: self.output.clone(),
            bytes,
            free: Some(free),
            source: io::ErrorKind::StorageFull.into(),
        })
    }

    /// Removes the folder: the manifest last, which says until then what the output is.
    pub fn remove(self) -> Result<(), IoError> {
        self.remove_all()
    }

    fn remove_all(&self) -> Result<(), IoError> {
        self.clear()?;
        remove_file(&self.folder.join(lock::LOCK))?;
        match fs::remove_dir(&self.folder) {
            // Somebody's own files are none of ours, nor is a link in place of the folder.
            Err(error) if ![io::ErrorKind::DirectoryNotEmpty, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
                Err(IoError::Write {
                    path: self.folder.clone(),
                    source: error,
                })
            }
            _ => Ok(()),
        }
    }

    /// Removes parts and what killed runs left of them, skeleton and manifest.
    fn clear(&self) -> Result<(), IoError> {
        let failed = |source| IoError::Write {
            path: self.folder.clone(),
            source,
        };
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let left = [MANIFEST, SKELETON, "rows-"]
                .iter()
                .any(|known| name.starts_with(known))
                && name.contains(".tmp-");
            let share = name.strip_prefix("lock-").and_then(|rest| rest.split_once("-of-"));
            let share = share.is_some_and(|(i, n)| i.parse::<usize>().is_ok() && n.parse::<usize>().is_ok());
            if Part::named(&path).is_some() || left || share {
                remove_file(&path)?;
            }
        }
        remove_file(&self.folder.join(SKELETON))?;
        remove_file(&self.folder.join(MANIFEST))
    }
}

/// Removes a file that may be gone already.
fn remove_file(path: &Path) -> Result<(), IoError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(IoError::Write {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
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

#[cfg(test)]
mod tests;
