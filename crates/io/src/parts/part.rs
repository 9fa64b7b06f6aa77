//! A part, and what parts there are.

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::{IoError, hash};

/// A part that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Rows of the input that it holds.
    pub rows: Range<usize>,
    /// Its file.
    pub path: PathBuf,
    /// The first digits of its SHA-256.
    pub(super) sha256: String,
}

impl Part {
    /// The part that a file of this name is; none where it is not called so.
    pub(super) fn named(path: &Path) -> Option<Part> {
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

    pub(super) fn name(&self) -> String {
        format!("rows-{:012}-{:012}-{}.h5", self.rows.start, self.rows.end, self.sha256)
    }

    /// Whether its bytes are those that its name promises; fails where they cannot be read, which does not say that they
    /// are others.
    pub fn is_sound(&self) -> Result<bool, IoError> {
        let found = File::open(&self.path).and_then(hash::sha256_of);
        let found = found.map_err(|source| IoError::Read {
            path: self.path.clone(),
            source,
        })?;
        Ok(found[..SHORT] == self.sha256)
    }
}

/// Digits of a SHA-256 in the name of a part.
pub(super) const SHORT: usize = 16;

/// The parts in a folder by their first rows.
pub(super) fn list(folder: &Path) -> Result<Vec<Part>, IoError> {
    let entries = fs::read_dir(folder).map_err(|source| IoError::Read {
        path: folder.to_owned(),
        source,
    })?;
    let mut parts: Vec<Part> = entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .filter_map(|entry| Part::named(&entry.path()))
        .collect();
    parts.sort_by_key(|part| (part.rows.start, part.rows.end));
    Ok(parts)
}

/// Which of `rows` are in none of the parts, which ascend.
pub(super) fn missing(parts: &[Part], rows: Range<usize>) -> Vec<Range<usize>> {
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
