//! Encoded output, layout 1.0: latents and records of every sample, opened by xarray with named dimensions.
//!
//! HDF5 dies on a full disk, so it never writes to one here: the file is built in memory and its image is written whole.

use std::path::{Path, PathBuf};

use gfe_model::{Cols, Dim};
use hdf5::file::LibraryVersion;
use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File, H5Type, Hyperslab, Location, SliceOrIndex};
use ndarray::{Array1, ArrayD};

use crate::scales::{self, Attachments};
use crate::{IoError, atomic, native};

/// Bytes of a chunk of reconstructions before compression.
const CHUNK_BYTES: usize = 512 << 10;

/// What an output file will hold.
#[derive(Clone, Debug, Default)]
pub struct EncodedLayout {
    /// N, the number of samples.
    pub samples: usize,
    /// d, the length of a latent.
    pub latent: usize,
    /// Axes of one sample, where reconstructions are to be written.
    pub reconstruction: Option<Vec<Dim>>,
    /// Code and name of every status that a row can have.
    pub statuses: Vec<(i8, String)>,
    /// Texts of the root group, such as `title` and `history`.
    pub attributes: Vec<(String, String)>,
    /// Notes on how the file came about, as JSON by name: `config`, `input`, `decoder`, `environment`.
    pub notes: Vec<(String, String)>,
}

/// What is recorded of one sample; each field is a dataset of that name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EncodedRow {
    /// Row index in the input dataset.
    pub sample: i64,
    /// Code of the status; see [`EncodedLayout::statuses`].
    pub status: i8,
    /// Loss at the latent written.
    pub loss: f64,
    /// Loss at the initial latent.
    pub loss_initial: f64,
    /// Norm of the gradient of the loss with respect to z.
    pub grad_norm: f64,
    /// Estimated distance to the minimum, `(D/2) g^T (H + I/tau)^-1 g`.
    pub edm: f64,
    /// chi-squared; NaN where the loss has none.
    pub chi2: f64,
    /// Values that count: those not masked.
    pub n_valid: u32,
    /// Flow time reached.
    pub t: f64,
    /// Accepted steps.
    pub steps: u32,
    /// Rejected steps.
    pub rejected: u32,
    /// Steps forced after too many rejections in a row.
    pub forced: u32,
    /// Evaluations of the decoder.
    pub evaluations: u32,
    /// Vector-Jacobian products.
    pub vjps: u32,
    /// Jacobian-vector products, counted by direction.
    pub jvps: u32,
    /// Hessian-vector products.
    pub hvps: u32,
    /// Jacobians formed.
    pub jacobians: u32,
    /// Matrices factorized.
    pub factorizations: u32,
}

/// Consecutive rows of the output.
#[derive(Clone, Copy)]
pub struct EncodedRows<'a> {
    /// Records.
    pub rows: &'a [EncodedRow],
    /// Latents, `[d, rows]`.
    pub z: Cols<'a>,
    /// Reconstructions in the data's own units, `[D, rows]`; needed where the layout has them.
    pub reconstruction: Option<Cols<'a>>,
}

type Real = (&'static str, fn(&EncodedRow) -> f64);
type Count = (&'static str, fn(&EncodedRow) -> u32);

const REALS: [Real; 6] = [
    ("loss", |row| row.loss),
    ("loss_initial", |row| row.loss_initial),
    ("grad_norm", |row| row.grad_norm),
    ("edm", |row| row.edm),
    ("chi2", |row| row.chi2),
    ("t", |row| row.t),
];
const COUNTS: [Count; 10] = [
    ("n_valid", |row| row.n_valid),
    ("steps", |row| row.steps),
    ("rejected", |row| row.rejected),
    ("forced", |row| row.forced),
    ("evaluations", |row| row.evaluations),
    ("vjps", |row| row.vjps),
    ("jvps", |row| row.jvps),
    ("hvps", |row| row.hvps),
    ("jacobians", |row| row.jacobians),
    ("factorizations", |row| row.factorizations),
];

/// An output file being put together; nothing appears at its path before [`EncodedWriter::finish`].
pub struct EncodedWriter {
    path: PathBuf,
    file: File,
    layout: EncodedLayout,
    next: usize,
}

impl EncodedWriter {
    /// Starts an output of the given layout; fails where no file can be created beside `path`.
    pub fn create(path: &Path, layout: &EncodedLayout) -> Result<EncodedWriter, IoError> {
        atomic::check_creatable(path)?;
        native::forbid_filter_plugins();
        let failed = |source| IoError::Hdf5 {
            path: path.to_owned(),
            source,
        };
        // Under its own name HDF5 would first read a file that stands there into memory.
        let file = File::with_options()
            .with_fapl(|access| {
                access
                    .core_filebacked(false)
                    .libver_bounds(LibraryVersion::V18, LibraryVersion::V110)
            })
            .with_fcpl(|creation| creation.obj_track_times(false))
            .create(atomic::beside(path))
            .map_err(failed)?;
        lay_out(&file, layout).map_err(failed)?;
        Ok(EncodedWriter {
            path: path.to_owned(),
            file,
            layout: layout.clone(),
            next: 0,
        })
    }

    /// Appends rows; fails where they do not fit the layout.
    pub fn write(&mut self, batch: &EncodedRows<'_>) -> Result<(), IoError> {
        let values: usize = self.layout.reconstruction.iter().flatten().map(|dim| dim.len).product();
        let (rows, end) = (batch.rows.len(), self.next + batch.rows.len());
        self.same("latents", rows, batch.z.ncols())?;
        self.same("values of a latent", self.layout.latent, batch.z.nrows())?;
        if end > self.layout.samples {
            self.same("rows", self.layout.samples, end)?;
        }
        if self.layout.reconstruction.is_some() {
            self.same("reconstructions", rows, batch.reconstruction.map_or(0, |x| x.ncols()))?;
            self.same(
                "values of a reconstruction",
                values,
                batch.reconstruction.map_or(0, |x| x.nrows()),
            )?;
        }
        self.write_at(self.next, batch).map_err(|source| IoError::Hdf5 {
            path: self.path.clone(),
            source,
        })?;
        self.next = end;
        Ok(())
    }

    /// Writes the file to its path in one piece; fails where rows are missing or the disk refuses.
    pub fn finish(self) -> Result<(), IoError> {
        self.same("rows", self.layout.samples, self.next)?;
        let failed = |source| IoError::Hdf5 {
            path: self.path.clone(),
            source,
        };
        text(&self.file, "gfe_state", "complete")
            .and_then(|()| self.file.flush())
            .map_err(failed)?;
        let image = native::file_image(&self.file).ok_or_else(|| failed("the file image cannot be had".into()))?;
        atomic::write_whole(&self.path, &image)
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

    fn write_at(&self, start: usize, batch: &EncodedRows<'_>) -> hdf5::Result<()> {
        let rows = batch.rows;
        self.put("sample", start, &[], rows.iter().map(|row| row.sample).collect())?;
        self.put("status", start, &[], rows.iter().map(|row| row.status).collect())?;
        for (name, value) in REALS {
            self.put(name, start, &[], rows.iter().map(value).collect())?;
        }
        for (name, value) in COUNTS {
            self.put(name, start, &[], rows.iter().map(value).collect())?;
        }
        self.put(
            "z",
            start,
            &[self.layout.latent],
            batch.z.col_iter().flat_map(|z| z.iter().copied()).collect(),
        )?;
        if let (Some(dims), Some(x)) = (&self.layout.reconstruction, batch.reconstruction) {
            let lens: Vec<usize> = dims.iter().map(|dim| dim.len).collect();
            let values = x.col_iter().flat_map(|x| x.iter().map(|value| *value as f32)).collect();
            self.put("reconstruction", start, &lens, values)?;
        }
        Ok(())
    }

    /// Writes `values` `[rows, lens]` to the dataset `name` from row `start` on.
    fn put<T: H5Type>(&self, name: &str, start: usize, lens: &[usize], values: Vec<T>) -> hdf5::Result<()> {
        let rows = values.len() / lens.iter().product::<usize>().max(1);
        if rows == 0 {
            return Ok(());
        }
        let shape: Vec<usize> = std::iter::once(rows).chain(lens.iter().copied()).collect();
        let first = SliceOrIndex::from(start..start + rows);
        let slab: Vec<SliceOrIndex> = std::iter::once(first)
            .chain(lens.iter().map(|len| SliceOrIndex::from(0..*len)))
            .collect();
        let array = ArrayD::from_shape_vec(shape, values).expect("rows were counted from the values");
        self.file.dataset(name)?.write_slice(&array, Hyperslab::from(slab))
    }
}

/// Creates every dataset, its scales and the notes.
fn lay_out(file: &File, layout: &EncodedLayout) -> hdf5::Result<()> {
    for (name, value) in [("NX_class", "NXroot"), ("default", "entry"), ("Conventions", "CF-1.11")] {
        text(file, name, value)?;
    }
    text(file, "gfe_layout_version", "1.0")?;
    for (name, value) in &layout.attributes {
        text(file, name, value)?;
    }
    let n = layout.samples;
    let names = |axes: &[&str]| axes.iter().map(|axis| (*axis).to_owned()).collect::<Vec<String>>();
    let mut attachments = Attachments::default();
    scales::mark(&empty::<i64>(file, "sample", &[n])?, "sample")?;
    scale(file, "latent", (0..layout.latent as i32).collect())?;
    empty::<f64>(file, "z", &[n, layout.latent])?;
    attachments.attach(file, "z", &names(&["sample", "latent"]))?;
    for (name, _) in REALS {
        empty::<f64>(file, name, &[n])?;
        attachments.attach(file, name, &names(&["sample"]))?;
    }
    for (name, _) in COUNTS {
        empty::<u32>(file, name, &[n])?;
        attachments.attach(file, name, &names(&["sample"]))?;
    }
    lay_out_status(&empty::<i8>(file, "status", &[n])?, &layout.statuses)?;
    attachments.attach(file, "status", &names(&["sample"]))?;
    if let Some(dims) = &layout.reconstruction {
        let axes = lay_out_reconstruction(file, n, dims)?;
        attachments.attach(file, "reconstruction", &axes)?;
    }
    attachments.finish(file)?;
    lay_out_entry(file, layout)
}

fn lay_out_status(status: &Dataset, statuses: &[(i8, String)]) -> hdf5::Result<()> {
    if statuses.is_empty() {
        return Ok(());
    }
    let codes: Array1<i8> = statuses.iter().map(|(code, _)| *code).collect();
    let meanings: Vec<&str> = statuses.iter().map(|(_, name)| name.as_str()).collect();
    status
        .new_attr::<i8>()
        .shape(codes.len())
        .create("flag_values")?
        .write(&codes)?;
    text(status, "flag_meanings", &meanings.join(" "))
}

/// Creates the reconstruction and the scales of its axes; returns their names, `sample` first.
fn lay_out_reconstruction(file: &File, samples: usize, dims: &[Dim]) -> hdf5::Result<Vec<String>> {
    let mut axes = vec!["sample".to_owned()];
    for (i, dim) in dims.iter().enumerate() {
        let taken = dim.name.is_empty()
            || dim.name.contains(['/', '\0'])
            || ["entry", "reconstruction", "."].contains(&dim.name.as_str())
            || file.link_exists(&dim.name);
        let name = if taken {
            format!("feature_{i}")
        } else {
            dim.name.clone()
        };
        scale(file, &name, (0..dim.len as i64).collect())?;
        axes.push(name);
    }
    let shape: Vec<usize> = std::iter::once(samples).chain(dims.iter().map(|dim| dim.len)).collect();
    let bytes = size_of::<f32>() * shape[1..].iter().product::<usize>().max(1);
    let mut chunk = shape.clone();
    chunk[0] = (CHUNK_BYTES / bytes).clamp(1, samples.max(1));
    let builder = file
        .new_dataset::<f32>()
        .with_dcpl(|creation| creation.obj_track_times(false));
    let builder = if samples == 0 {
        builder
    } else {
        builder.chunk(chunk).shuffle().deflate(1).fletcher32()
    };
    builder.shape(shape).create("reconstruction")?;
    Ok(axes)
}

/// The NeXus view: soft links for plotting, and notes on how the file came about.
fn lay_out_entry(file: &File, layout: &EncodedLayout) -> hdf5::Result<()> {
    let group = |parent: &hdf5::Group, name: &str, class: &str| {
        let group = parent.create_group_builder().obj_track_times(false).create(name)?;
        text(&group, "NX_class", class).map(|()| group)
    };
    let entry = group(file, "entry", "NXentry")?;
    text(&entry, "default", "latent_plot")?;
    for (plot, signal, axes) in [
        ("latent_plot", "z", &["sample", "latent"][..]),
        ("loss_plot", "loss", &["sample"][..]),
    ] {
        let plot = group(&entry, plot, "NXdata")?;
        text(&plot, "signal", signal)?;
        let names: Array1<VarLenUnicode> = axes.iter().map(|axis| unicode(axis)).collect::<hdf5::Result<_>>()?;
        plot.new_attr::<VarLenUnicode>()
            .shape(axes.len())
            .create("axes")?
            .write(&names)?;
        for name in axes.iter().chain([&signal]) {
            plot.link_soft(&format!("/{name}"), name)?;
        }
    }
    let process = group(&entry, "process", "NXprocess")?;
    for (name, content) in &layout.notes {
        let note = group(&process, name, "NXnote")?;
        text(&note, "type", "application/json")?;
        let data = note
            .new_dataset::<VarLenUnicode>()
            .with_dcpl(|creation| creation.obj_track_times(false));
        data.shape(()).create("data")?.write_scalar(&unicode(content)?)?;
    }
    Ok(())
}

fn empty<T: H5Type>(file: &File, name: &str, shape: &[usize]) -> hdf5::Result<Dataset> {
    let builder = file
        .new_dataset::<T>()
        .with_dcpl(|creation| creation.obj_track_times(false));
    builder.shape(shape.to_vec()).create(name)
}

fn scale<T: H5Type>(file: &File, name: &str, values: Vec<T>) -> hdf5::Result<()> {
    let dataset = empty::<T>(file, name, &[values.len()])?;
    dataset.write(&Array1::from(values))?;
    scales::mark(&dataset, name)
}

fn text(location: &Location, name: &str, value: &str) -> hdf5::Result<()> {
    location
        .new_attr::<VarLenUnicode>()
        .shape(())
        .create(name)?
        .write_scalar(&unicode(value)?)
}

fn unicode(value: &str) -> hdf5::Result<VarLenUnicode> {
    value
        .parse()
        .map_err(|_| format!("the text {value:?} has a null in it").into())
}

#[cfg(test)]
mod tests;
