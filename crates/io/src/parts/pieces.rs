//! The parts of an output as what its rows are taken from.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use hdf5::{Dataset, File};
use ndarray::s;
use serde_json::{Map, Value, json};

use super::manifest::placeless;
use super::{Manifest, Part, Parts};
use crate::encoded::ROW_SHA256;
use crate::hash::RowsHash;
use crate::input::{RANK_LIMIT, VALUES_LIMIT, open_file, refuse_foreign_storage_always};
use crate::listing::descriptor_of;
use crate::{InputPath, IoError, texts};

/// Rows of small datasets read at once.
pub(super) const BLOCK_ROWS: usize = 1 << 16;
/// Parts open at the same time.
const OPEN_PARTS: usize = 128;
/// Messages of failed rows that the output keeps.
const MESSAGES: usize = 1000;

/// Rows that are taken from a part.
pub(super) struct Piece {
    /// Number of the part among the files.
    pub(super) file: usize,
    /// Rows in the part, or entries of its traces.
    pub(super) rows: Range<usize>,
}

/// Which rows the output takes from which part, in order.
pub(super) struct Pieces<'a> {
    pub(super) parts: &'a Parts,
    pub(super) list: Vec<Piece>,
    /// Parts that are open, by number.
    open: RefCell<BTreeMap<usize, File>>,
}

impl<'a> Pieces<'a> {
    /// Fails where rows are missing or a part is damaged; where parts overlap, the rows are the same in both.
    pub(super) fn new(parts: &'a Parts) -> Result<Self, IoError> {
        let missing = parts.missing(parts.manifest.rows.clone());
        if !missing.is_empty() {
            return Err(IoError::RowsMissing {
                path: parts.folder.clone(),
                rows: missing,
            });
        }
        for part in &parts.parts {
            if !part.is_sound()? {
                return Err(IoError::BadPart {
                    path: part.path.clone(),
                    what: "its bytes are not those that its name promises".into(),
                });
            }
        }
        let pieces = parts.pieces(parts.manifest.rows.clone()).into_iter();
        let list = pieces.map(|(file, rows)| {
            let first = parts.parts[file].rows.start;
            Piece {
                file,
                rows: rows.start - first..rows.end - first,
            }
        });
        Ok(Pieces {
            parts,
            list: list.collect(),
            open: RefCell::default(),
        })
    }

    /// A part, opened if it is not.
    pub(super) fn file(&self, part: usize) -> Result<File, IoError> {
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

    /// The entries of its traces that belong to the rows of a piece.
    pub(super) fn states(&self, piece: &Piece) -> Result<Piece, IoError> {
        let read = |dataset: Dataset| {
            descriptor_of(&dataset)?;
            dataset.read_raw()
        };
        let sizes: Vec<u32> = self
            .file(piece.file)?
            .dataset("trace_row_size")
            .and_then(read)
            .map_err(|source| self.bad(piece.file, format!("its trace_row_size cannot be read: {source}")))?;
        let count = |rows: Range<usize>| sizes[rows].iter().map(|size| *size as usize).sum::<usize>();
        let (before, own) = (count(0..piece.rows.start), count(piece.rows.clone()));
        Ok(Piece {
            file: piece.file,
            rows: before..before + own,
        })
    }

    /// A dataset of a part.
    pub(super) fn dataset(&self, file: usize, name: &str) -> Result<Dataset, IoError> {
        let open = self.file(file)?;
        let dataset = open
            .dataset(name)
            .map_err(|_| self.bad(file, format!("it has no {name}")))?;
        refuse(&self.parts.parts[file].path, &open, name, &dataset)?;
        Ok(dataset)
    }

    pub(super) fn bad(&self, file: usize, what: String) -> IoError {
        IoError::BadPart {
            path: self.parts.parts[file].path.clone(),
            what,
        }
    }

    /// The hash of the rows' hashes.
    fn rows_sha256(&self) -> Result<String, IoError> {
        let mut all = RowsHash::default();
        for piece in &self.list {
            let dataset = self.dataset(piece.file, ROW_SHA256)?;
            let unreadable =
                |source| self.bad(piece.file, format!("rows of its {ROW_SHA256} cannot be read: {source}"));
            descriptor_of(&dataset).map_err(|found| unreadable(found.into()))?;
            for start in piece.rows.clone().step_by(BLOCK_ROWS) {
                let rows = start..piece.rows.end.min(start + BLOCK_ROWS);
                let hashes = dataset.read_slice_2d::<u8, _>(s![rows, ..]).map_err(unreadable)?;
                if hashes.ncols() != 32 {
                    return Err(self.bad(piece.file, format!("its {ROW_SHA256} is of another shape")));
                }
                for hash in hashes.rows() {
                    all.push_hashes(&[std::array::from_fn(|i| hash[i])]);
                }
            }
        }
        Ok(all.finish())
    }

    /// The notes of the output.
    pub(super) fn notes(&self) -> Result<Vec<(String, String)>, IoError> {
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
        for piece in &self.list {
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

/// Opens a part that has to be one of the output that the manifest describes.
fn open_part(part: &Part, manifest: &Manifest) -> Result<File, IoError> {
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

/// A key of a note that says otherwise than is expected, and what is expected; where the data lay, and when they were copied there,
/// is the affair of each machine.
fn differing_key<'a>(expected: &'a Map<String, Value>, found: &Value) -> Option<(&'a String, &'a Value)> {
    expected.iter().find(|(key, value)| {
        !["path", "files"].contains(&key.as_str()) && found.get(key.as_str()).map(placeless) != Some(placeless(value))
    })
}

/// A note of a file as it stands there.
pub(super) fn note_text(file: &File, name: &str) -> Option<String> {
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

/// A file that somebody else made could name others as the places of its values.
pub(super) fn refuse(path: &Path, file: &File, name: &str, dataset: &Dataset) -> Result<(), IoError> {
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
