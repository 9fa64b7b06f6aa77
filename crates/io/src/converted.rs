//! Data of any source as HDF5 with named dimensions, as they are stored there.

use std::path::{Path, PathBuf};

use gfe_model::{Axis, Cols, Element};
use hdf5::{Dataset, H5Type};
use ndarray::Array1;

use crate::encoded::{Rows, lay_out_entry, lay_out_values, root, write_notes};
use crate::output::Output;
use crate::scales::{self, Attachments};
use crate::{InputAttributes, IoError};

/// A file of data being written; nothing appears at its path before [`DataWriter::finish`].
pub struct DataWriter {
    path: PathBuf,
    output: Output,
    lens: Vec<usize>,
    element: Element,
    samples: usize,
    next: usize,
}

impl DataWriter {
    /// Starts a file whose dataset `data` has this many samples, axes and type of values, and the attributes of where it comes
    /// from.
    ///
    /// Fails where it cannot be created or has no room.
    pub fn create(
        path: &Path,
        (samples, axes, described): (usize, &[Axis], &InputAttributes),
        element: Element,
        title: &str,
    ) -> Result<DataWriter, IoError> {
        let lens: Vec<usize> = axes.iter().map(|axis| axis.dim.len).collect();
        let values: usize = lens.iter().product();
        let size = match element {
            Element::F64 => 8,
            Element::F32 => 4,
            Element::U8 => 1,
        };
        let bytes = (samples as u64).saturating_mul((size * values + values / 100 + 264) as u64);
        let output = Output::create(path, bytes, |file| {
            root(file, &[("title".to_owned(), title.to_owned())])?;
            let mut attachments = Attachments::default();
            let rows = Rows::new(file, samples, &[]);
            scales::mark(&rows.empty::<i64>("sample", &[])?, "sample")?;
            let extent = (axes, &described.axes[..]);
            match element {
                Element::F64 => lay_out_values::<f64>(&rows, ("data", title), extent, &mut attachments),
                Element::F32 => lay_out_values::<f32>(&rows, ("data", title), extent, &mut attachments),
                Element::U8 => lay_out_values::<u8>(&rows, ("data", title), extent, &mut attachments),
            }?;
            // Which values are missing is declared by `declare_missing`, in the type that they have here.
            let data = described.data.without(&["_FillValue", "missing_value"]);
            data.write(&*file.dataset("data")?)?;
            attachments.finish(file)?;
            lay_out_entry(file, &[("data_plot", "data", &["sample"])], false)
        })?;
        Ok(DataWriter {
            path: path.to_owned(),
            output,
            lens,
            element,
            samples,
            next: 0,
        })
    }

    /// Appends samples `y` `[D, rows]`; fails where they do not fit.
    pub fn write(&mut self, y: Cols<'_>) -> Result<(), IoError> {
        let end = self.next + y.ncols();
        self.same("rows", self.samples, end.max(self.samples))?;
        self.same("values of a sample", self.lens.iter().product(), y.nrows())?;
        let values = || y.col_iter().flat_map(|column| column.iter().copied());
        let (start, lens) = (self.next, &self.lens);
        let rows: Vec<i64> = (start as i64..end as i64).collect();
        self.output.put("sample", start, &[], rows)?;
        match self.element {
            Element::F64 => self.output.put("data", start, lens, values().collect())?,
            Element::F32 => self
                .output
                .put("data", start, lens, values().map(|value| value as f32).collect())?,
            Element::U8 => self
                .output
                .put("data", start, lens, values().map(|value| value as u8).collect())?,
        }
        self.next = end;
        Ok(())
    }

    /// Declares these stored values missing: the first as `_FillValue`, the others as `missing_value`.
    pub fn declare_missing(&self, values: &[f64]) -> Result<(), IoError> {
        let Some((first, others)) = values.split_first() else {
            return Ok(());
        };
        self.output.with(|file| {
            let data = file.dataset("data")?;
            match self.element {
                Element::F64 => declare(&data, (first, others), |value| value),
                Element::F32 => declare(&data, (first, others), |value| value as f32),
                Element::U8 => declare(&data, (first, others), |value| value as u8),
            }
        })
    }

    /// Where the file is until it is whole.
    pub fn temporary(&self) -> &Path {
        self.output.temporary()
    }

    /// Adds the notes, JSON by name, and gives the file its name; fails where rows are missing.
    pub fn finish(self, notes: &[(String, String)]) -> Result<(), IoError> {
        self.same("rows", self.samples, self.next)?;
        self.output.with(|file| write_notes(file, notes))?;
        self.output.finish()
    }

    fn same(&self, what: &'static str, expected: usize, found: usize) -> Result<(), IoError> {
        if expected == found {
            return Ok(());
        }
        Err(IoError::RowsDoNotFit {
            path: self.path.clone(),
            what,
            expected,
            found,
        })
    }
}

fn declare<T: H5Type>(data: &Dataset, (first, others): (&f64, &[f64]), of: impl Fn(f64) -> T) -> hdf5::Result<()> {
    data.new_attr::<T>()
        .shape(())
        .create("_FillValue")?
        .write_scalar(&of(*first))?;
    if others.is_empty() {
        return Ok(());
    }
    let others: Array1<T> = others.iter().map(|value| of(*value)).collect();
    data.new_attr::<T>()
        .shape(others.len())
        .create("missing_value")?
        .write(&others)
}
