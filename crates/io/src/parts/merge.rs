//! Merges parts into one output: rows of every dataset, in blocks whose edges do not depend on the cut into parts, so that the same rows give the same bytes.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use hdf5::{Dataset, File};

use super::pieces::{BLOCK_ROWS, Piece, Pieces, note_text, refuse};
use super::{Part, Parts, SKELETON};
use crate::encoded::{ROW_SHA256, write_notes};
use crate::listing::{descriptor_of, dimension_names};
use crate::native::{RawRows, same_type};
use crate::output::{Output, Written, check_written};
use crate::{IoError, hash};

/// Bytes of a dataset copied at once, about.
const BLOCK_BYTES: usize = 4 << 20;
/// Writes the output that `parts` are of to `temporary`, synced; gives nothing a name.
///
/// Fails where rows are missing, a part belongs to another output, or the disk refuses; in this process HDF5 writes to a
/// disk, and may die where the disk fails.
pub fn write_merged(parts: &Parts, temporary: &Path) -> Result<(), IoError> {
    let (from, manifest) = (Pieces::new(parts)?, &parts.manifest);
    let skeleton_path = parts.folder.join(SKELETON);
    let skeleton = std::fs::read(&skeleton_path).map_err(|source| IoError::Read {
        path: skeleton_path.clone(),
        source,
    })?;
    if hash::sha256(&skeleton) != manifest.skeleton_sha256 {
        return Err(IoError::BadPart {
            path: skeleton_path,
            what: "it is damaged".into(),
        });
    }
    // Beyond what the parts take, an output has little: fuller chunks, and longer indices.
    let size = |part: &Part| std::fs::metadata(&part.path).map_or(0, |metadata| metadata.len());
    let bytes = skeleton.len() as u64 + parts.parts.iter().map(size).sum::<u64>();
    let output = Output::from_image(&parts.output, temporary, &skeleton, bytes + bytes / 50)?;
    output.with(|file| Ok(refuse_foreign(&skeleton_path, file)))??;
    let merge = Merge {
        from,
        output: &output,
        written: RefCell::default(),
    };
    merge.rows()?;
    let notes = merge.from.notes()?;
    output.with(|file| write_notes(file, &notes))?;
    let written = merge.written.into_inner();
    output.leave()?;
    check(parts, temporary, &written, &notes).inspect_err(|_| {
        // The error that led here is the one to tell.
        let _ = std::fs::remove_file(temporary);
    })
}

/// Refuses a skeleton that names other files as the places of its values, to be written over.
fn refuse_foreign(path: &Path, file: &File) -> Result<(), IoError> {
    let failed = |source| IoError::Hdf5 {
        path: path.to_owned(),
        source,
    };
    for name in file.member_names().map_err(failed)? {
        // Groups hold soft links into the root, and the notes that are made anew.
        if let Ok(dataset) = file.dataset(&name) {
            refuse(path, file, &name, &dataset)?;
        }
    }
    refuse(path, file, ROW_SHA256, &file.dataset(ROW_SHA256).map_err(failed)?)
}

/// Reads the file back, whether it holds what was written to it: HDF5 does not tell every write that fails. And every row
/// has to be where it belongs.
fn check(parts: &Parts, temporary: &Path, written: &[Written], notes: &[(String, String)]) -> Result<(), IoError> {
    let file = check_written(&parts.output, temporary, written)?;
    for (name, content) in notes {
        if note_text(&file, name).as_deref() != Some(content) {
            return Err(IoError::Write {
                path: parts.output.clone(),
                source: std::io::Error::other(format!("its note {name} reads otherwise than it was written")),
            });
        }
    }
    check_rows(parts, &file)
}

/// Fails where a row of the output is not where it belongs.
pub(super) fn check_rows(parts: &Parts, file: &File) -> Result<(), IoError> {
    let failed = |source| IoError::Hdf5 {
        path: parts.output.clone(),
        source,
    };
    let rows = parts.manifest.rows.clone();
    let samples = file.dataset("sample").map_err(failed)?;
    descriptor_of(&samples).map_err(|found| failed(found.into()))?;
    let mut sound = samples.shape() == [rows.len()] && file.attr("gfe_state").is_ok();
    for start in (0..rows.len()).step_by(BLOCK_ROWS) {
        let end = rows.len().min(start + BLOCK_ROWS);
        let found = samples.read_slice_1d::<i64, _>(start..end).map_err(failed)?;
        let expected = (rows.start + start..rows.start + end).map(|row| row as i64);
        sound &= found.into_iter().eq(expected);
    }
    if sound {
        return Ok(());
    }
    Err(IoError::BadPart {
        path: parts.folder.clone(),
        what: "its parts hold other rows than they are called by".into(),
    })
}

struct Merge<'a> {
    from: Pieces<'a>,
    output: &'a Output,
    written: RefCell<Vec<Written>>,
}

impl Merge<'_> {
    /// Copies every dataset that has a row per sample or per state on the way.
    fn rows(&self) -> Result<(), IoError> {
        let mut names = self.output.with(|file| file.member_names())?;
        names.sort_unstable();
        let mut states = Vec::new();
        for name in &names {
            let axis = self.output.with(|file| {
                let dataset = file.dataset(name).ok();
                Ok(dataset.and_then(|dataset| dimension_names(file, &dataset).into_iter().next().flatten()))
            })?;
            match axis.as_deref() {
                Some("sample") => self.copy(name, &self.from.list)?,
                Some("obs") => states.push(name.clone()),
                _ if name == "sample" => self.copy(name, &self.from.list)?,
                _ => {}
            }
        }
        self.copy(ROW_SHA256, &self.from.list)?;
        if states.is_empty() {
            Ok(())
        } else {
            self.states(&states)
        }
    }

    /// The states on the way: those of the rows taken of each part, and `obs`, which numbers them.
    fn states(&self, names: &[String]) -> Result<(), IoError> {
        let pieces = self.from.list.iter().map(|piece| self.from.states(piece));
        let pieces: Vec<Piece> = pieces.collect::<Result<_, _>>()?;
        let total: usize = pieces.iter().map(|piece| piece.rows.len()).sum();
        for name in names.iter().map(String::as_str).chain(["obs"]) {
            self.output.with(|file| {
                let dataset = file.dataset(name)?;
                let mut shape = dataset.shape();
                shape[0] = total;
                dataset.resize(shape)
            })?;
        }
        for name in names {
            self.copy(name, &pieces)?;
        }
        for start in (0..total).step_by(BLOCK_ROWS) {
            let numbers: Vec<f64> = (start..total.min(start + BLOCK_ROWS)).map(|i| i as f64).collect();
            self.output.put("obs", start, &[], numbers)?;
        }
        Ok(())
    }

    /// Copies a dataset, block by block.
    fn copy(&self, name: &str, pieces: &[Piece]) -> Result<(), IoError> {
        let to = self.output.with(|file| file.dataset(name))?;
        let internal = || {
            self.output
                .with(|_| Err::<(), _>(format!("{name} cannot be copied").into()))
        };
        let Some(row) = RawRows::row_bytes(&to) else {
            return internal();
        };
        let chunk = to.chunk().map_or(1, |chunk| chunk[0]);
        let size = (BLOCK_BYTES / row.max(1) / chunk).max(1) * chunk;
        let total: usize = pieces.iter().map(|piece| piece.rows.len()).sum();
        let mut pieces = pieces.iter();
        let mut from: Option<(&Piece, Dataset, Range<usize>)> = None;
        for start in (0..total).step_by(size) {
            let rows = size.min(total - start);
            let Some(mut block) = RawRows::new(&to, rows) else {
                return internal();
            };
            let mut filled = 0;
            while filled < rows {
                let Some((piece, dataset, left)) = from.as_mut().filter(|(.., left)| left.start < left.end) else {
                    let Some(piece) = pieces.next() else { return internal() };
                    from = Some((piece, self.dataset(piece.file, name, &to)?, piece.rows.clone()));
                    continue;
                };
                let count = left.len().min(rows - filled);
                if !block.read(dataset, left.start..left.start + count, filled) {
                    return Err(self.from.bad(piece.file, format!("rows of its {name} cannot be read")));
                }
                filled += count;
                left.start += count;
            }
            self.written
                .borrow_mut()
                .push((name.to_owned(), start, rows, block.digest()));
            if !block.write(&to, start) {
                return internal();
            }
        }
        Ok(())
    }

    /// A dataset of a part, which has to be of the type and the further axes of that of the output.
    fn dataset(&self, file: usize, name: &str, like: &Dataset) -> Result<Dataset, IoError> {
        let dataset = self.from.dataset(file, name)?;
        if !same_type(&dataset, like) || dataset.shape().get(1..) != like.shape().get(1..) {
            return Err(self.from.bad(file, format!("its {name} is of another shape or type")));
        }
        Ok(dataset)
    }
}
