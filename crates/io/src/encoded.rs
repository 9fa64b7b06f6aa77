//! Encoded output, layout 1.0: latents and records of every sample, opened by xarray with named dimensions.

mod layout;
mod row;
mod sources;

pub use layout::{EncodedLayout, NamedLatent};
pub(crate) use layout::{
    ROW_SHA256, group_of, lay_out_entry, lay_out_reconstruction, lay_out_values, root, text, unicode, write_notes,
};
pub use row::{EncodedRow, EncodedRows, ErrorBars, TracePoint};
pub(crate) use sources::{Rows, Source, Taken};

use std::path::{Path, PathBuf};

use gfe_model::Cols;
use row::{COUNTS, REALS};

use crate::IoError;
use crate::output::Output;

/// Consecutive rows of an output being put together, in memory: a file of its own, see [`crate::Parts`].
pub struct EncodedWriter {
    path: PathBuf,
    output: Output,
    layout: EncodedLayout,
    next: usize,
    traced: usize,
}

impl EncodedWriter {
    /// Starts an output of the given layout; `path` is what errors name.
    ///
    /// Fails where something that is to be passed through has the name of a dataset of the layout.
    pub fn create(path: &Path, layout: &EncodedLayout) -> Result<EncodedWriter, IoError> {
        check_names(layout)?;
        Ok(EncodedWriter {
            path: path.to_owned(),
            output: Output::in_memory(path, |file| layout::lay_out(file, layout, &[]))?,
            layout: layout.clone(),
            next: 0,
            traced: 0,
        })
    }

    /// The file of a layout before it has rows: what the parts of an output are merged into.
    pub fn skeleton(path: &Path, layout: &EncodedLayout) -> Result<Vec<u8>, IoError> {
        check_names(layout)?;
        crate::output::image(path, |file| layout::lay_out(file, layout, &[]))
    }

    /// The file of a layout whose rows lie in other files, with its notes.
    pub(crate) fn over(
        path: &Path,
        layout: &EncodedLayout,
        sources: &[Source],
        notes: &[(String, String)],
    ) -> Result<Vec<u8>, IoError> {
        crate::output::image(path, |file| {
            layout::lay_out(file, layout, sources)?;
            layout::write_notes(file, notes)
        })
    }

    /// Appends rows; fails where they do not fit the layout.
    pub fn write(&mut self, batch: &EncodedRows<'_>) -> Result<(), IoError> {
        let layout = &self.layout;
        let (rows, end) = (batch.rows.len(), self.next + batch.rows.len());
        self.same("latents", rows, batch.z.ncols())?;
        self.same("values of a latent", layout.latent, batch.z.nrows())?;
        if end > layout.samples {
            self.same("rows", layout.samples, end)?;
        }
        if layout.reconstruction {
            let x = batch.reconstruction;
            self.same("reconstructions", rows, x.map_or(0, |x| x.ncols()))?;
            self.same(
                "values of a reconstruction",
                layout.values(),
                x.map_or(0, |x| x.nrows()),
            )?;
        }
        if layout.z0.is_none() {
            self.same("initial latents", rows, batch.z0.map_or(0, |z0| z0.ncols()))?;
            self.same(
                "values of an initial latent",
                layout.latent,
                batch.z0.map_or(0, |z0| z0.nrows()),
            )?;
        }
        let d = layout.latent;
        if !layout.latents.is_empty() {
            self.same("physical latents", rows, batch.z_physical.map_or(0, |z| z.ncols()))?;
        }
        if layout.z_start {
            self.same("starts", rows, batch.z_start.map_or(0, |z| z.ncols()))?;
        }
        if layout.uncertainty {
            let bars = batch.uncertainty.as_ref();
            self.same("error bars", rows, bars.map_or(0, |bars| bars.z_std.ncols()))?;
            self.same(
                "values of a covariance",
                d * d,
                bars.map_or(0, |bars| bars.z_cov.nrows()),
            )?;
        }
        if layout.trace {
            self.same("traces", rows, batch.traces.map_or(0, <[_]>::len))?;
        }
        self.same("hashes", rows, batch.sha256.len())?;
        if !layout.keep.is_empty() {
            self.same("rows of the input", rows, batch.input.len())?;
        }
        self.put(batch)?;
        self.next = end;
        Ok(())
    }

    /// Adds the notes, JSON by name, and gives the bytes of the file; fails where rows are missing.
    pub fn finish(self, notes: &[(String, String)]) -> Result<Vec<u8>, IoError> {
        self.same("rows", self.layout.samples, self.next)?;
        self.output.with(|file| layout::write_notes(file, notes))?;
        self.output.into_image()
    }

    fn same(&self, what: &'static str, expected: usize, found: usize) -> Result<(), IoError> {
        let error = || IoError::RowsDoNotFit {
            path: self.path.clone(),
            what,
            expected,
            found,
        };
        if expected == found { Ok(()) } else { Err(error()) }
    }

    fn put(&mut self, batch: &EncodedRows<'_>) -> Result<(), IoError> {
        let (rows, start, output) = (batch.rows, self.next, &mut self.output);
        output.put("sample", start, &[], rows.iter().map(|row| row.sample).collect())?;
        output.put("status", start, &[], rows.iter().map(|row| row.status).collect())?;
        for (name, _, value) in REALS {
            output.put(name, start, &[], rows.iter().map(value).collect())?;
        }
        for (name, _, value) in COUNTS {
            output.put(name, start, &[], rows.iter().map(value).collect())?;
        }
        output.put("z", start, &[self.layout.latent], values(batch.z))?;
        let latent = [self.layout.latent];
        if let (false, Some(z)) = (self.layout.latents.is_empty(), batch.z_physical) {
            output.put("z_physical", start, &latent, values(z))?;
        }
        if let (true, Some(bars)) = (self.layout.uncertainty, &batch.uncertainty) {
            output.put("z_std", start, &latent, values(bars.z_std))?;
            output.put("z_cov", start, &[latent[0], latent[0]], values(bars.z_cov))?;
            if let (false, Some(std)) = (self.layout.latents.is_empty(), bars.z_physical_std) {
                output.put("z_physical_std", start, &latent, values(std))?;
            }
            for (name, of) in [("h_min", bars.h_min), ("h_max", bars.h_max), ("dof", bars.dof)] {
                output.put(name, start, &[], of.to_vec())?;
            }
        }
        if let (true, Some(z)) = (self.layout.z_start, batch.z_start) {
            output.put("z_start", start, &latent, values(z))?;
        }
        if self.layout.starts {
            output.put("start", start, &[], rows.iter().map(|row| row.start).collect())?;
            output.put("minima", start, &[], rows.iter().map(|row| row.minima).collect())?;
        }
        if let (None, Some(z0)) = (self.layout.z0, batch.z0) {
            output.put("z0", start, &[self.layout.latent], values(z0))?;
        }
        if let (true, Some(x)) = (self.layout.reconstruction, batch.reconstruction) {
            let lens: Vec<usize> = self.layout.axes.iter().map(|axis| axis.dim.len).collect();
            output.put("reconstruction", start, &lens, single(x))?;
            if self.layout.reconstruction_filled {
                output.put("reconstruction_filled", start, &lens, filled(x, batch.weights))?;
            }
        }
        output.put(ROW_SHA256, start, &[32], batch.sha256.concat())?;
        for coordinate in &self.layout.keep {
            coordinate.copy(output, batch.input.clone(), start)?;
        }
        if let (true, Some(traces)) = (self.layout.trace, batch.traces) {
            output.put(
                "trace_row_size",
                start,
                &[],
                traces.iter().map(|trace| trace.len() as u32).collect(),
            )?;
            let points = || traces.iter().flatten();
            let (first, count) = (self.traced, points().count());
            let latent = [self.layout.latent];
            let mut columns: Vec<(&str, &[usize], Vec<f64>)> = vec![
                ("obs", &[], (first..first + count).map(|i| i as f64).collect()),
                ("trace_t", &[], points().map(|point| point.t).collect()),
                ("trace_loss", &[], points().map(|point| point.loss).collect()),
                ("trace_grad_norm", &[], points().map(|point| point.grad_norm).collect()),
            ];
            if self.layout.trace_z {
                let z = points().flat_map(|point| point.z.iter().copied()).collect();
                columns.push(("trace_z", &latent, z));
            }
            output.append(&columns, first)?;
            self.traced += count;
        }
        Ok(())
    }
}

/// Fails where something that is to be passed through has the name of a dataset of the layout.
fn check_names(layout: &EncodedLayout) -> Result<(), IoError> {
    let reserved = [
        "sample",
        "latent",
        "z",
        "z0",
        "z_std",
        "z_cov",
        "z_start",
        "z_physical",
        "z_physical_std",
        "h_min",
        "h_max",
        "dof",
        "start",
        "minima",
        "latent_other",
        "status",
        "reconstruction",
        "reconstruction_filled",
        "entry",
    ];
    for (i, coordinate) in layout.keep.iter().enumerate() {
        let taken = |name: &str| {
            reserved.contains(&name)
                || layout.trace && name == "obs"
                || name.starts_with("trace_")
                || REALS.iter().any(|(real, ..)| *real == name)
                || COUNTS.iter().any(|(count, ..)| *count == name)
                || layout.keep[..i].iter().any(|other| other.name() == name)
        };
        if let Some(error) = crate::coordinate::clashes(coordinate, taken) {
            return Err(error);
        }
    }
    Ok(())
}

/// The values of a batch, sample after sample.
fn values(batch: Cols<'_>) -> Vec<f64> {
    batch.col_iter().flat_map(|column| column.iter().copied()).collect()
}

/// 1 for every value of `x` `[D, rows]` that has weight 0, else 0.
fn filled(x: Cols<'_>, weights: Option<Cols<'_>>) -> Vec<i8> {
    let Some(weights) = weights else {
        return vec![0; x.nrows() * x.ncols()];
    };
    let columns = weights.col_iter();
    columns
        .flat_map(|column| column.iter().map(|w| i8::from(*w == 0.0)))
        .collect()
}

/// The same in single precision.
pub(crate) fn single(batch: Cols<'_>) -> Vec<f32> {
    batch
        .col_iter()
        .flat_map(|column| column.iter().map(|value| *value as f32))
        .collect()
}

#[cfg(test)]
mod tests;
