//! Small files of tables: groups of named columns with named dimensions, written from memory as a whole.

use std::path::Path;

use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File, Group, H5Type, Result};
use ndarray::ArrayD;

use crate::IoError;
use crate::encoded::{group_of, text, unicode};
use crate::scales::{self, Attachments};
use crate::{atomic, output};

/// A group of columns; the group named "" is the file's root.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Name of the group.
    pub name: String,
    /// Attributes of the group.
    pub attributes: Vec<(String, String)>,
    /// Numbers among its attributes.
    pub numbers: Vec<(String, f64)>,
    /// Its columns.
    pub columns: Vec<Column>,
}

/// A dataset.
#[derive(Clone, Debug)]
pub struct Column {
    /// Name of the dataset; one with the name of its only dimension holds that dimension's coordinates.
    pub name: String,
    /// What it is.
    pub long_name: String,
    /// Its unit, where it has one.
    pub units: Option<String>,
    /// Names and lengths of its dimensions.
    pub dims: Vec<(String, usize)>,
    /// Values in C order.
    pub values: Values,
}

/// Values of a column.
#[derive(Clone, Debug)]
pub enum Values {
    /// Real numbers.
    Reals(Vec<f64>),
    /// Whole numbers.
    Integers(Vec<i64>),
    /// Texts.
    Texts(Vec<String>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Reals(values) => values.len(),
            Values::Integers(values) => values.len(),
            Values::Texts(values) => values.len(),
        }
    }
}

impl Column {
    /// A column with these dimensions.
    pub fn new(name: &str, long_name: &str, dims: &[(&str, usize)], values: Values) -> Column {
        Column {
            name: name.to_owned(),
            long_name: long_name.to_owned(),
            units: None,
            dims: dims.iter().map(|(dim, len)| ((*dim).to_owned(), *len)).collect(),
            values,
        }
    }
}

/// Writes the tables with a title, replacing a file at `path` as a whole; fails where a column's values do not fill its dimensions, or the file cannot be written.
pub fn write_tables(path: &Path, title: &str, tables: &[Table]) -> std::result::Result<(), IoError> {
    for column in tables.iter().flat_map(|table| &table.columns) {
        let expected = column.dims.iter().map(|(_, len)| len).product();
        if column.values.len() != expected {
            return Err(IoError::RowsDoNotFit {
                path: path.to_owned(),
                what: "values of a column",
                expected,
                found: column.values.len(),
            });
        }
    }
    let image = output::image(path, |file| {
        text(file, "Conventions", "CF-1.11")?;
        text(file, "title", title)?;
        let mut attachments = Attachments::default();
        for table in tables {
            lay_out(file, table, &mut attachments)?;
        }
        attachments.finish(file)?;
        text(file, "gfe_state", "complete")
    })?;
    atomic::write_whole(path, &image)
}

fn lay_out(file: &File, table: &Table, attachments: &mut Attachments) -> Result<()> {
    let inside = |name: &str| match table.name.as_str() {
        "" => name.to_owned(),
        group => format!("{group}/{name}"),
    };
    let made;
    let group: &Group = if table.name.is_empty() {
        file
    } else {
        made = group_of(file, &table.name)?;
        &made
    };
    for (name, value) in &table.attributes {
        text(group, name, value)?;
    }
    for (name, value) in &table.numbers {
        let attribute = group.new_attr::<f64>().shape(()).create(name.as_str())?;
        attribute.write_scalar(value)?;
    }
    let dims = || table.columns.iter().flat_map(|column| &column.dims);
    for (dim, len) in dims() {
        let path = inside(dim);
        if table.columns.iter().all(|column| column.name != *dim) && !file.link_exists(&path) {
            let index: Vec<i64> = (0..*len as i64).collect();
            scales::mark(&dataset(file, &path, &[*len], index)?, dim)?;
        }
    }
    for column in &table.columns {
        let path = inside(&column.name);
        let shape: Vec<usize> = column.dims.iter().map(|(_, len)| *len).collect();
        let made = match &column.values {
            Values::Reals(values) => dataset(file, &path, &shape, values.clone())?,
            Values::Integers(values) => dataset(file, &path, &shape, values.clone())?,
            Values::Texts(values) => {
                let texts: Vec<VarLenUnicode> = values.iter().map(|value| unicode(value)).collect::<Result<_>>()?;
                dataset(file, &path, &shape, texts)?
            }
        };
        text(&made, "long_name", &column.long_name)?;
        if let Some(units) = &column.units {
            text(&made, "units", units)?;
        }
        if dims().any(|(dim, _)| *dim == column.name) {
            scales::mark(&made, &column.name)?;
        }
    }
    for column in &table.columns {
        let is_scale = dims().any(|(dim, _)| *dim == column.name);
        if !is_scale && !column.dims.is_empty() {
            let axes: Vec<String> = column.dims.iter().map(|(dim, _)| inside(dim)).collect();
            attachments.attach(file, &inside(&column.name), &axes)?;
        }
    }
    Ok(())
}

fn dataset<T: H5Type>(file: &File, path: &str, shape: &[usize], values: Vec<T>) -> Result<Dataset> {
    let made = file
        .new_dataset::<T>()
        .with_dcpl(|creation| creation.obj_track_times(false))
        .shape(shape.to_vec())
        .create(path)?;
    let array = ArrayD::from_shape_vec(shape.to_vec(), values).map_err(|error| error.to_string())?;
    if !array.is_empty() {
        made.write(&array)?;
    }
    Ok(made)
}

#[cfg(test)]
mod tests {
    use super::{Column, Table, Values, write_tables};

    #[test]
    fn tables_come_back_with_their_dimensions() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join("tables.h5");
        let column = |name: &str, dims: &[(&str, usize)], values| Column::new(name, "what it is", dims, values);
        let table = Table {
            name: "one".into(),
            numbers: vec![("end".into(), 2.5)],
            columns: vec![
                column("t", &[("t", 2)], Values::Reals(vec![0.0, 1.0])),
                column(
                    "z",
                    &[("t", 2), ("component", 3)],
                    Values::Reals((0..6).map(f64::from).collect()),
                ),
                column(
                    "name",
                    &[("component", 3)],
                    Values::Texts(["a", "b", "c"].map(str::to_owned).to_vec()),
                ),
            ],
            ..Table::default()
        };
        write_tables(&path, "a test", std::slice::from_ref(&table)).expect("it can be written");
        let file = hdf5::File::open(&path).expect("it opens");
        let z = file.dataset("one/z").expect("it is there");
        assert_eq!(z.shape(), [2, 3]);
        assert_eq!(z.read_raw::<f64>().expect("numbers"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(
            file.dataset("one/component").expect("made for the dimension").shape(),
            [3]
        );
        let mut wrong = table;
        wrong.columns[0].values = Values::Integers(vec![1]);
        assert!(write_tables(&path, "a test", &[wrong]).is_err());
    }
}
