//! Histories of trainings: named columns against the records of a run, opened by xarray.

use std::collections::BTreeMap;
use std::path::Path;

use hdf5::types::{IntSize, TypeDescriptor};
use hdf5::{Dataset, File, Group, IndexType, IterationOrder, LinkType};
use serde_json::Value;

use crate::chunks::Rows;
use crate::input::{open_file, refuse_foreign_storage_always};
use crate::listing::descriptor_of;
use crate::texts::{attribute as text_of, lossy};
use crate::{Column, InputPath, IoError, Table, Values, guard, heap, write_tables};

/// The dimension of every column.
const RECORD: &str = "record";
/// The attribute that tells a history from other files, and its value.
const MARK: (&str, &str) = ("gfe_history_version", "1");
/// Attributes of the root that are no notes.
const OWN: [&str; 4] = [MARK.0, "Conventions", "title", "gfe_state"];
/// Most values in a file, 128 MiB: a file of a few hundred bytes can declare terabytes.
const VALUES_LIMIT: usize = 1 << 24;
/// Most bytes of a file.
const BYTES_LIMIT: u64 = 1 << 30;

/// What a training was seen to do.
///
/// The tables lie in groups of the file, the one called "" in its root, which `xarray.open_dataset` opens without being
/// told a group. Each has its columns along a dimension `record` of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// What the run is called in figures; empty for the name of the file.
    pub title: String,
    /// Settings of the run and the like, by name: attributes of the root, as JSON texts.
    pub notes: BTreeMap<String, Value>,
    /// Its tables; read back in the order of their names.
    pub tables: Vec<HistoryTable>,
}

/// Columns of the same length.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistoryTable {
    /// Name of the group; empty for the root.
    pub name: String,
    /// The columns; read back in the order of their names.
    pub columns: Vec<HistoryColumn>,
}

/// One quantity.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryColumn {
    /// Name of the dataset.
    pub name: String,
    /// What it is.
    pub long_name: String,
    /// Its unit, where it has one.
    pub units: Option<String>,
    /// A value per record; NaN where there is none.
    pub values: Series,
}

/// Values of a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Series {
    /// Real numbers.
    Reals(Vec<f64>),
    /// Whole numbers.
    Integers(Vec<i64>),
}

impl Series {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Series::Reals(values) => values.len(),
            Series::Integers(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as real numbers, which is exact up to 2^53.
    pub fn to_reals(&self) -> Vec<f64> {
        match self {
            Series::Reals(values) => values.clone(),
            Series::Integers(values) => values.iter().map(|value| *value as f64).collect(),
        }
    }
}

impl HistoryTable {
    /// The column of this name, where there is one.
    pub fn column(&self, name: &str) -> Option<&HistoryColumn> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl History {
    /// Writes the file, replacing one at `path` as a whole; the same content gives the same bytes.
    ///
    /// Fails where columns of a table differ in length, a name cannot be one or stands twice, or the file cannot be
    /// written: then what stood at `path` still stands.
    pub fn write(&self, path: &Path) -> Result<(), IoError> {
        self.check(path)?;
        let mut root = Table {
            attributes: vec![(MARK.0.to_owned(), MARK.1.to_owned())],
            ..Table::default()
        };
        let notes = self.notes.iter().map(|(name, note)| (name.clone(), note.to_string()));
        root.attributes.extend(notes);
        let mut tables = Vec::new();
        for table in &self.tables {
            let columns = table.columns.iter().map(stored).collect();
            if table.name.is_empty() {
                root.columns = columns;
            } else {
                tables.push(Table {
                    name: table.name.clone(),
                    columns,
                    ..Table::default()
                });
            }
        }
        tables.insert(0, root);
        write_tables(path, &self.title, &tables)
    }

    fn check(&self, path: &Path) -> Result<(), IoError> {
        fn refused(kind: &'static str, name: &str, what: &'static str) -> Result<(), IoError> {
            Err(IoError::HistoryName {
                kind,
                name: name.to_owned(),
                what,
            })
        }
        let mut roots = self.tables.iter().filter(|table| table.name.is_empty());
        if roots.nth(1).is_some() {
            return refused("table", "", "there is one of that name already");
        }
        let mut in_root: Vec<&str> = Vec::new();
        for table in &self.tables {
            let mut names: Vec<&str> = Vec::new();
            for column in &table.columns {
                let expected = table.columns[0].values.len();
                if column.values.len() != expected {
                    return Err(IoError::RowsDoNotFit {
                        path: path.to_owned(),
                        what: "values of a column",
                        expected,
                        found: column.values.len(),
                    });
                }
                names.push(&column.name);
            }
            if table.name.is_empty() {
                in_root.append(&mut names);
            } else {
                in_root.push(&table.name);
            }
            check_names("column", &mut names)?;
        }
        check_names("column or table", &mut in_root)?;
        match self.notes.keys().find(|name| OWN.contains(&name.as_str())) {
            Some(name) => refused("note", name, "the file has an attribute of that name itself"),
            None => check_names("note", &mut self.notes.keys().map(String::as_str).collect()),
        }
    }

    /// Whether `path` is such a file, as far as its marks say.
    pub fn is_one(path: &Path) -> bool {
        guard::opening(path, || open_file(path).map(|file| file.attr(MARK.0).is_ok())).unwrap_or(false)
    }

    /// Reads `path`.
    ///
    /// Fails where there is no such file, it is not HDF5 or no history, or it declares more than 2^24 values. What is not
    /// a column of numbers, such as datasets that somebody else has added, is passed over.
    pub fn read(path: &Path) -> Result<History, IoError> {
        guard::opening(path, || History::read_within(path))
    }

    fn read_within(path: &Path) -> Result<History, IoError> {
        let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
        let file = open_file(path)?;
        let wrong = |what: String| IoError::NotHistory {
            path: path.to_owned(),
            what,
        };
        if bytes > BYTES_LIMIT {
            return Err(wrong(format!(
                "it has {bytes} bytes, and a history at most {BYTES_LIMIT}"
            )));
        }
        let bytes = std::fs::read(path).map_err(|source| IoError::Read {
            path: path.to_owned(),
            source,
        })?;
        if !heap::is_sound(&bytes) {
            return Err(wrong("it is damaged where its texts are".into()));
        }
        if text_of(&file, MARK.0).as_deref() != Some(MARK.1) {
            return Err(wrong(format!("it has no attribute `{}` of value {}", MARK.0, MARK.1)));
        }
        let mut reader = Reader {
            path,
            file: &file,
            left: VALUES_LIMIT,
        };
        let mut history = History {
            title: text_of(&file, "title").unwrap_or_default(),
            ..History::default()
        };
        for name in file.attr_names().unwrap_or_default() {
            let name = lossy(name.as_bytes());
            let note = text_of(&file, &name).and_then(|text| serde_json::from_str(&text).ok());
            if let Some(note) = note.filter(|_| !OWN.contains(&name.as_str())) {
                history.notes.insert(name, note);
            }
        }
        let (columns, groups) = reader.table(&file)?;
        if !columns.is_empty() {
            let name = String::new();
            history.tables.push(HistoryTable { name, columns });
        }
        for (name, group) in groups {
            let (columns, _) = reader.table(&group)?;
            if !columns.is_empty() {
                history.tables.push(HistoryTable { name, columns });
            }
        }
        Ok(history)
    }
}

/// Fails where a name is none in HDF5, is that of the dimension, or stands twice.
fn check_names(kind: &'static str, names: &mut Vec<&str>) -> Result<(), IoError> {
    let refused = |name: &str, what| IoError::HistoryName {
        kind,
        name: name.to_owned(),
        what,
    };
    names.sort_unstable();
    for name in names.iter() {
        if name.is_empty() || *name == "." || name.contains(['/', '\0']) {
            return Err(refused(name, "take letters, digits and underscores"));
        }
        if *name == RECORD {
            return Err(refused(name, "that is the dimension's name"));
        }
    }
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(refused(pair[0], "there is one of that name already")),
        None => Ok(()),
    }
}

fn stored(column: &HistoryColumn) -> Column {
    let values = match &column.values {
        Series::Reals(values) => Values::Reals(values.clone()),
        Series::Integers(values) => Values::Integers(values.clone()),
    };
    Column {
        units: column.units.clone(),
        ..Column::new(
            &column.name,
            &column.long_name,
            &[(RECORD, column.values.len())],
            values,
        )
    }
}

/// The columns of a group, and the groups in it by name.
type Found = (Vec<HistoryColumn>, Vec<(String, Group)>);

struct Reader<'a> {
    path: &'a Path,
    file: &'a File,
    /// Values that may still be read.
    left: usize,
}

impl Reader<'_> {
    /// What a group holds. Only hard links are followed.
    fn table(&mut self, group: &Group) -> Result<Found, IoError> {
        let links = group
            .links(IndexType::Name, IterationOrder::Increasing)
            .map_err(|source| self.hdf5(source))?;
        let (mut columns, mut groups) = (Vec::new(), Vec::new());
        for (name, link) in links {
            let name = lossy(name.as_bytes());
            if link.link_type != LinkType::Hard || name == RECORD {
                continue;
            }
            if let Ok(dataset) = group.dataset(&name) {
                columns.extend(self.column(name, dataset)?);
            } else if let Ok(inner) = group.group(&name) {
                groups.push((name, inner));
            }
        }
        if let Some(column) = columns
            .iter()
            .find(|column| column.values.len() != columns[0].values.len())
        {
            let (a, b) = (&columns[0], column);
            return Err(self.wrong(format!(
                "its columns `{}` and `{}` have {} and {} values",
                a.name,
                b.name,
                a.values.len(),
                b.values.len()
            )));
        }
        Ok((columns, groups))
    }

    /// The column that a dataset holds; none where it has other than one axis, or no numbers.
    fn column(&mut self, name: String, dataset: Dataset) -> Result<Option<HistoryColumn>, IoError> {
        use TypeDescriptor::{Float, Integer, Unsigned};
        let from = InputPath {
            file: self.path.to_owned(),
            dataset: Some(dataset.name()),
        };
        refuse_foreign_storage_always(&from, self.file, &dataset)?;
        let (&[len], Ok(found)) = (&dataset.shape()[..], descriptor_of(&dataset)) else {
            return Ok(None);
        };
        self.left = self.left.checked_sub(len).ok_or_else(|| {
            let text = format!("it declares more than {VALUES_LIMIT} values, {len} of them in `{name}`");
            self.wrong(text)
        })?;
        let mut rows = Rows::new(self.file, &from, dataset)?;
        let values = match found {
            _ if len == 0 && matches!(found, Float(_)) => Series::Reals(Vec::new()),
            _ if len == 0 => Series::Integers(Vec::new()),
            Integer(_) | Unsigned(IntSize::U1 | IntSize::U2 | IntSize::U4) => {
                Series::Integers(rows.read(0..len, |dataset| dataset.read_raw())?)
            }
            _ => Series::Reals(rows.read(0..len, |dataset| dataset.read_raw())?),
        };
        let dataset = rows.dataset;
        Ok(Some(HistoryColumn {
            long_name: text_of(&dataset, "long_name").unwrap_or_default(),
            units: text_of(&dataset, "units"),
            name,
            values,
        }))
    }

    fn hdf5(&self, source: hdf5::Error) -> IoError {
        IoError::NotHdf5 {
            path: self.path.to_owned(),
            source,
        }
    }

    fn wrong(&self, what: String) -> IoError {
        IoError::NotHistory {
            path: self.path.to_owned(),
            what,
        }
    }
}

#[cfg(test)]
mod tests;
