//! Merges parts into one output: rows of every dataset, in blocks whose edges do not depend on the cut into parts, so that the same rows give the same bytes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use hdf5::{Dataset, File};
use ndarray::s;
use serde_json::{Map, Value, json};

use super::{Part, Parts, SKELETON};
use crate::encoded::{ROW_SHA256, write_notes};
use crate::hash::RowsHash;
use crate::input::{RANK_LIMIT, VALUES_LIMIT, open_file, refuse_foreign_storage_always};
use crate::listing::dimension_names;
use crate::native::{RawRows, same_type};
use crate::output::Output;
use crate::{InputPath, IoError, hash, texts};

/// Bytes of a dataset copied at once, about.
const BLOCK_BYTES: usize = 4 << 20;
/// Rows of small datasets read at once.
const BLOCK_ROWS: usize = 1 << 16;
/// Parts open at the same time.
const OPEN_PARTS: usize = 128;
/// Messages of failed rows that the output keeps.
const MESSAGES: usize = 1000;

/// Rows that are taken from a part.
struct Piece {
    /// Number of the part among the files.
    file: usize,
    /// Rows in the part, or entries of its traces.
    rows: Range<usize>,
}

/// Writes the output that `parts` are of to `temporary`, synced; gives nothing a name.
///
/// Fails where rows are missing, a part belongs to another output, or the disk refuses; in this process HDF5 writes to a
/// disk, and may die where the disk fails.
pub fn write_merged(parts: &Parts, temporary: &Path) -> Result<(), IoError> {
    let (folder, manifest) = (&parts.folder, &parts.manifest);
    let missing = parts.missing(manifest.rows.clone());
    if !missing.is_empty() {
        return Err(IoError::RowsMissing {
            path: folder.clone(),
            rows: missing,
        });
    }
    let skeleton_path = folder.join(SKELETON);
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
    let mut bytes = skeleton.len() as u64;
    for part in &parts.parts {
        if !part.is_sound()? {
            return Err(IoError::BadPart {
                path: part.path.clone(),
                what: "its bytes are not those that its name promises".into(),
            });
        }
        // Beyond what the parts take, an output has little: fuller chunks, and longer indices.
        bytes += std::fs::metadata(&part.path).map_or(0, |metadata| metadata.len());
    }
    let output = Output::from_image(&parts.output, temporary, &skeleton, bytes + bytes / 50)?;
    output.with(|file| Ok(refuse_foreign(&skeleton_path, file)))??;
    let merge = Merge {
        parts,
        output: &output,
        open: RefCell::default(),
        pieces: pieces(parts),
        written: RefCell::default(),
    };
    merge.rows()?;
    let notes = merge.notes()?;
    output.with(|file| write_notes(file, &notes))?;
    let written = merge.written.into_inner();
    output.leave()?;
    check(parts, temporary, &written, &notes).inspect_err(|_| {
        // The error that led here is the one to tell.
        let _ = std::fs::remove_file(temporary);
    })
}

/// A file that somebody else made could name others as the places of its values, to be read or written over.
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

fn refuse(path: &Path, file: &File, name: &str, dataset: &Dataset) -> Result<(), IoError> {
    let place = InputPath {
        file: path.to_owned(),
        dataset: Some(format!("/{name}")),
    };
    let values = dataset
        .shape()
        .iter()
        .skip(1)
        .try_fold(1_usize, |n, len| n.checked_mul(*len));
    if dataset.shape().len() > RANK_LIMIT || values.is_none_or(|values| values > VALUES_LIMIT) {
        return Err(IoError::BadPart {
            path: path.to_owned(),
            what: format!("its {name} has shape {:?}", dataset.shape()),
        });
    }
    refuse_foreign_storage_always(&place, file, dataset)
}

/// A block of rows as it was written: dataset, first row, rows, and a hash of the values.
type Written = (String, usize, usize, u64);

/// Reads the file back, whether it holds what was written to it: HDF5 does not tell every write that fails. And every row
/// has to be where it belongs.
fn check(parts: &Parts, temporary: &Path, written: &[Written], notes: &[(String, String)]) -> Result<(), IoError> {
    let failed = |source| IoError::Hdf5 {
        path: parts.output.clone(),
        source,
    };
    let lost = |what: &str| IoError::Write {
        path: parts.output.clone(),
        source: std::io::Error::other(format!("its {what} reads otherwise than it was written")),
    };
    let file = open_file(temporary)?;
    for (name, start, rows, digest) in written {
        let dataset = file.dataset(name).map_err(failed)?;
        let mut block = RawRows::new(&dataset, *rows).ok_or_else(|| lost(name))?;
        if !block.read(&dataset, *start..start + rows, 0) || block.digest() != *digest {
            return Err(lost(name));
        }
    }
    for (name, content) in notes {
        if note_text(&file, name).as_deref() != Some(content) {
            return Err(lost(name));
        }
    }
    let rows = parts.manifest.rows.clone();
    let samples = file.dataset("sample").map_err(failed)?;
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

/// From which parts the rows come, in order; where parts overlap, the rows are the same in both.
fn pieces(parts: &Parts) -> Vec<Piece> {
    let pieces = parts.pieces(parts.manifest.rows.clone()).into_iter();
    pieces
        .map(|(file, rows)| {
            let first = parts.parts[file].rows.start;
            Piece {
                file,
                rows: rows.start - first..rows.end - first,
            }
        })
        .collect()
}

/// Opens a part that has to be one of the output that the manifest describes.
fn open_part(part: &Part, manifest: &super::Manifest) -> Result<File, IoError> {
    let bad = |what: String| IoError::BadPart {
        path: part.path.clone(),
        what,
    };
    let file = open_file(&part.path)?;
    for (name, expected) in &manifest.identity {
        let Some(expected) = expected.as_object() else {
            continue;
        };
        let found = note(&file, name).map_or(Value::Null, Value::Object);
        if let Some((key, value)) = differing_key(expected, &found) {
            let there = found.get(key).cloned().unwrap_or_default();
            return Err(bad(format!(
                "it belongs to another output: its {name}.{key} is {there}, that of the output {value}"
            )));
        }
    }
    Ok(file)
}

/// A key of a note that says otherwise than is expected, and what is expected. Where the data lay is the affair of each machine.
pub(super) fn differing_key<'a>(expected: &'a Map<String, Value>, found: &Value) -> Option<(&'a String, &'a Value)> {
    expected
        .iter()
        .find(|(key, value)| !OF_A_PLACE.contains(&key.as_str()) && found.get(key.as_str()) != Some(*value))
}

/// Keys of notes that tell a place.
const OF_A_PLACE: [&str; 3] = ["path", "files", "model"];

/// A note of a file as it stands there.
fn note_text(file: &File, name: &str) -> Option<String> {
    let data = file.dataset(&format!("entry/process/{name}/data")).ok()?;
    texts::scalar(&data)
}

/// The same as an object.
fn note(file: &File, name: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(&note_text(file, name)?) {
        Ok(Value::Object(note)) => Some(note),
        _ => None,
    }
}

struct Merge<'a> {
    parts: &'a Parts,
    output: &'a Output,
    /// Parts that are open, by number.
    open: RefCell<BTreeMap<usize, File>>,
    pieces: Vec<Piece>,
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
                Some("sample") => self.copy(name, &self.pieces)?,
                Some("obs") => states.push(name.clone()),
                _ if name == "sample" => self.copy(name, &self.pieces)?,
                _ => {}
            }
        }
        self.copy(ROW_SHA256, &self.pieces)?;
        if states.is_empty() {
            Ok(())
        } else {
            self.states(&states)
        }
    }

    /// A part, opened if it is not.
    fn file(&self, part: usize) -> Result<File, IoError> {
        let mut open = self.open.borrow_mut();
        if let Some(file) = open.get(&part) {
            return Ok(file.clone());
        }
        if open.len() >= OPEN_PARTS {
            open.clear();
        }
        let file = open_part(&self.parts.parts[part], &self.parts.manifest)?;
        open.insert(part, file.clone());
        Ok(file)
    }

    /// The states on the way: those of the rows taken of each part, and `obs`, which numbers them.
    fn states(&self, names: &[String]) -> Result<(), IoError> {
        let mut pieces = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            let sizes: Vec<u32> = self
                .file(piece.file)?
                .dataset("trace_row_size")
                .and_then(|dataset| dataset.read_raw())
                .map_err(|source| self.bad(piece.file, format!("its trace_row_size cannot be read: {source}")))?;
            let count = |rows: Range<usize>| sizes[rows].iter().map(|size| *size as usize).sum::<usize>();
            let (before, own) = (count(0..piece.rows.start), count(piece.rows.clone()));
            pieces.push(Piece {
                file: piece.file,
                rows: before..before + own,
            });
        }
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
                    return Err(self.bad(piece.file, format!("rows of its {name} cannot be read")));
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
        let dataset = self
            .file(file)?
            .dataset(name)
            .map_err(|_| self.bad(file, format!("it has no {name}")))?;
        refuse(&self.parts.parts[file].path, &self.file(file)?, name, &dataset)?;
        if !same_type(&dataset, like) || dataset.shape().get(1..) != like.shape().get(1..) {
            return Err(self.bad(file, format!("its {name} is of another shape or type")));
        }
        Ok(dataset)
    }

    fn bad(&self, file: usize, what: String) -> IoError {
        IoError::BadPart {
            path: self.parts.parts[file].path.clone(),
            what,
        }
    }

    /// The hash of the rows' hashes.
    fn rows_sha256(&self) -> Result<String, IoError> {
        let (total, mut all) = (self.parts.manifest.rows.len(), RowsHash::default());
        for start in (0..total).step_by(BLOCK_ROWS) {
            let rows = start..total.min(start + BLOCK_ROWS);
            let hashes = self
                .output
                .with(|file| file.dataset(ROW_SHA256)?.read_slice_2d::<u8, _>(s![rows, ..]))?;
            for hash in hashes.rows() {
                all.push_hashes(&[std::array::from_fn(|i| hash[i])]);
            }
        }
        Ok(all.finish())
    }

    /// The notes of the output.
    fn notes(&self) -> Result<Vec<(String, String)>, IoError> {
        let manifest = &self.parts.manifest;
        let mut notes: BTreeMap<String, Value> = manifest
            .identity
            .iter()
            .filter(|(_, note)| note.is_object())
            .map(|(name, note)| (name.clone(), note.clone()))
            .collect();
        if let Some(input) = notes.get_mut("input") {
            input["rows"] = json!([manifest.rows.start, manifest.rows.end]);
            input["rows_sha256"] = json!(self.rows_sha256()?);
        }
        notes.insert("environment".into(), manifest.environment.clone());
        notes.insert("messages".into(), Value::Object(self.messages()?));
        Ok(notes.into_iter().map(|(name, note)| (name, note.to_string())).collect())
    }

    /// What solvers said of failures, by row: the first of all, and how many more there are.
    fn messages(&self) -> Result<Map<String, Value>, IoError> {
        let (mut all, mut spoken) = (BTreeMap::new(), 0);
        for piece in &self.pieces {
            let first = self.parts.parts[piece.file].rows.start;
            for (row, message) in note(&self.file(piece.file)?, "messages").unwrap_or_default() {
                match row.parse::<usize>() {
                    Ok(row) if row >= first && piece.rows.contains(&(row - first)) => {
                        spoken += 1;
                        if all.len() < MESSAGES {
                            all.insert(row, message);
                        }
                    }
                    Err(_) if row == "more" => spoken += message.as_u64().unwrap_or(0),
                    _ => {}
                }
            }
        }
        let mut told: Map<String, Value> = all
            .into_iter()
            .take(MESSAGES)
            .map(|(row, message)| (row.to_string(), message))
            .collect();
        if spoken > told.len() as u64 {
            told.insert("more".into(), json!(spoken - told.len() as u64));
        }
        Ok(told)
    }
}
