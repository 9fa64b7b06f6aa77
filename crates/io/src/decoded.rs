//! Decoded output: reconstructions of codes, laid out like those of an encoded output.

use std::path::{Path, PathBuf};

use gfe_model::{Axis, Cols};

use crate::IoError;
use crate::encoded::{Rows, lay_out_entry, lay_out_reconstruction, root, single, write_notes};
use crate::output::Output;
use crate::scales::{self, Attachments};

/// A file of reconstructions being written; nothing appears at its path before [`DecodedWriter::finish`].
pub struct DecodedWriter {
    path: PathBuf,
    output: Output,
    lens: Vec<usize>,
    samples: usize,
    next: usize,
}

impl DecodedWriter {
    /// Starts a file of `samples` reconstructions with these axes; fails where it cannot be created or has no room.
    pub fn create(path: &Path, samples: usize, axes: &[Axis], title: &str) -> Result<DecodedWriter, IoError> {
        let lens: Vec<usize> = axes.iter().map(|axis| axis.dim.len).collect();
        let values: usize = lens.iter().product();
        let bytes = (samples as u64).saturating_mul((4 * values + values / 100 + 264) as u64);
        let output = Output::create(path, bytes, |file| {
            root(file, &[("title".to_owned(), title.to_owned())])?;
            let mut attachments = Attachments::default();
            let rows = Rows::new(file, samples, &[]);
            scales::mark(&rows.empty::<i64>("sample", &[])?, "sample")?;
            lay_out_reconstruction(&rows, (axes, &[]), &mut attachments)?;
            attachments.finish(file)?;
            lay_out_entry(file, &[], true)
        })?;
        Ok(DecodedWriter {
            path: path.to_owned(),
            output,
            lens,
            samples,
            next: 0,
        })
    }

    /// Appends the reconstructions `x` `[D, rows]` of the input's rows `sample`; fails where they do not fit.
    pub fn write(&mut self, sample: Vec<i64>, x: Cols<'_>) -> Result<(), IoError> {
        let end = self.next + x.ncols();
        for (what, expected, found) in [
            ("rows", self.samples, end.max(self.samples)),
            ("sample indices", x.ncols(), sample.len()),
            ("values of a reconstruction", self.lens.iter().product(), x.nrows()),
        ] {
            self.same(what, expected, found)?;
        }
        self.output.put("sample", self.next, &[], sample)?;
        self.output.put("reconstruction", self.next, &self.lens, single(x))?;
        self.next = end;
        Ok(())
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
