//! The structure of an output file, layout 1.0: datasets, dimension scales, NeXus view.

use gfe_model::Axis;
use hdf5::types::VarLenUnicode;
use hdf5::{Dataset, File, Group, H5Type, Location};
use ndarray::Array1;
use serde_json::Value;

use super::row::{COUNTS, REALS};
use super::sources::{Absent, Rows, Source};
use crate::listing::dimension_names;
use crate::scales::{self, Attachments};
use crate::{Attributes, Coordinate, InputAttributes};

/// Where the hashes of what was read of each row stand.
pub(crate) const ROW_SHA256: &str = "entry/process/row_sha256";

/// What an output file will hold.
#[derive(Clone, Debug, Default)]
pub struct EncodedLayout {
    /// N, the number of samples.
    pub samples: usize,
    /// d, the length of a latent.
    pub latent: usize,
    /// Axes of one sample.
    pub axes: Vec<Axis>,
    /// Whether reconstructions are written.
    pub reconstruction: bool,
    /// Whether it is written which values of the reconstructions stand for missing ones.
    pub reconstruction_filled: bool,
    /// Every component of every initial latent; without it they are written, a row per sample.
    pub z0: Option<f64>,
    /// Whether states on the way are written: time, loss and gradient norm.
    pub trace: bool,
    /// Whether their latents are written too.
    pub trace_z: bool,
    /// What the latents are; empty where they are plain numbers.
    pub latents: Vec<NamedLatent>,
    /// Whether error bars are written.
    pub uncertainty: bool,
    /// Whether it is written where the integrations began, apart from z0.
    pub z_start: bool,
    /// Whether it is written which of several starts was taken, and how many minima there are.
    pub starts: bool,
    /// What is passed through.
    pub keep: Vec<Coordinate>,
    /// Code and name of every status that a row can have.
    pub statuses: Vec<(i8, String)>,
    /// What the input says of itself: `units` of the data on the reconstruction, attributes of the scales on theirs.
    pub described: InputAttributes,
    /// Texts of the root group, such as `title` and `history`.
    pub attributes: Vec<(String, String)>,
}

/// A latent with a meaning.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedLatent {
    /// A word.
    pub name: String,
    /// As UDUNITS writes it; empty for none.
    pub unit: String,
}

impl EncodedLayout {
    /// D, the number of values of a sample.
    pub(super) fn values(&self) -> usize {
        self.axes.iter().map(|axis| axis.dim.len).product()
    }

    /// Upper bound of the bytes of all rows, but for traces.
    pub fn bytes(&self) -> u64 {
        let latents = if self.z0.is_some() {
            8 * self.latent
        } else {
            16 * self.latent
        };
        let physical = usize::from(!self.latents.is_empty());
        let bars = if self.uncertainty {
            8 * (self.latent * (self.latent + 1 + physical) + 3)
        } else {
            0
        };
        let latents = latents
            + 8 * usize::from(self.z_start) * self.latent
            + 8 * physical * self.latent
            + bars
            + if self.starts { 8 } else { 0 };
        let kept: usize = self.keep.iter().map(Coordinate::value_bytes).sum();
        // Deflate adds at most a thousandth, and a chunk of few rows its checksum and its place in the index.
        let decoded = if self.reconstruction {
            4 * self.values() + self.values() / 100 + 256
        } else {
            0
        };
        let flags = if self.reconstruction_filled {
            self.values() + self.values() / 100 + 256
        } else {
            0
        };
        let row = 8 + 1 + 4 + 32 + 8 * REALS.len() + 4 * COUNTS.len() + latents + kept + decoded + flags;
        (row as u64).saturating_mul(self.samples as u64)
    }
}

/// Creates every dataset, its scales and the NeXus view.
///
/// With `sources` the rows lie in these files, and every dataset with a row per sample or state is a virtual one over them.
pub(super) fn lay_out(file: &File, layout: &EncodedLayout, sources: &[Source]) -> hdf5::Result<()> {
    root(file, &layout.attributes)?;
    let rows = Rows::new(file, layout.samples, sources);
    let d = layout.latent;
    let mut attachments = Attachments::default();
    scales::mark(&rows.empty::<i64>("sample", &[])?, "sample")?;
    scale(file, "latent", (0..layout.latent as i32).collect())?;
    name_latents(file, &layout.latents)?;
    let row = names(&["sample"]);
    let code = names(&["sample", "latent"]);
    let z = rows.empty::<f64>("z", &[d])?;
    text(&z, "long_name", "latent")?;
    attachments.attach(file, "z", &code)?;
    match layout.z0 {
        Some(value) => z.new_attr::<f64>().shape(()).create("z0")?.write_scalar(&value)?,
        None => {
            let z0 = rows.empty::<f64>("z0", &[d])?;
            text(&z0, "long_name", "initial latent")?;
            attachments.attach(file, "z0", &code)?;
        }
    }
    let kept: Vec<&str> = layout.keep.iter().map(Coordinate::name).collect();
    let describe = |dataset: &Dataset, long_name: &str| -> hdf5::Result<()> {
        text(dataset, "long_name", long_name)?;
        if kept.is_empty() {
            Ok(())
        } else {
            text(dataset, "coordinates", &kept.join(" "))
        }
    };
    for (name, long_name, _) in REALS {
        describe(&rows.empty::<f64>(name, &[])?, long_name)?;
        attachments.attach(file, name, &row)?;
    }
    if !layout.latents.is_empty() {
        describe(&rows.empty::<f64>("z_physical", &[d])?, "latent in physical units")?;
        attachments.attach(file, "z_physical", &code)?;
    }
    if layout.z_start {
        describe(
            &rows.empty::<f64>("z_start", &[d])?,
            "where the integration of the end taken began",
        )?;
        attachments.attach(file, "z_start", &code)?;
    }
    if layout.uncertainty {
        lay_out_uncertainty(&rows, layout, &mut attachments)?;
    }
    for (name, long_name) in STARTS.into_iter().filter(|_| layout.starts) {
        describe(&rows.empty::<u32>(name, &[])?, long_name)?;
        attachments.attach(file, name, &row)?;
    }
    for (name, long_name, _) in COUNTS {
        describe(&rows.empty::<u32>(name, &[])?, long_name)?;
        attachments.attach(file, name, &row)?;
    }
    lay_out_status(&rows.empty::<i8>("status", &[])?, &layout.statuses)?;
    attachments.attach(file, "status", &row)?;
    for coordinate in &layout.keep {
        coordinate.lay_out(&rows)?;
        attachments.attach(file, coordinate.name(), &row)?;
    }
    if layout.reconstruction {
        let described = &layout.described;
        let grid = lay_out_reconstruction(&rows, (&layout.axes, &described.axes), &mut attachments)?;
        if layout.reconstruction_filled {
            lay_out_filled(&rows, &grid, &mut attachments)?;
        }
        described.data.only("units").write(&*file.dataset("reconstruction")?)?;
    }
    if layout.trace {
        lay_out_traces(&rows, layout, &mut attachments)?;
    }
    attachments.finish(file)?;
    let plots: [(&str, &str, &[&str]); 2] = [
        ("latent_plot", "z", &["sample", "latent"]),
        ("loss_plot", "loss", &["sample"]),
    ];
    lay_out_entry(file, &plots, layout.reconstruction)?;
    let hashes = rows.empty::<u8>(ROW_SHA256, &[32])?;
    text(
        &hashes,
        "long_name",
        "SHA-256 of what was read of each row; that of all these is rows_sha256 of the note input",
    )
}

fn names(axes: &[&str]) -> Vec<String> {
    axes.iter().map(|axis| (*axis).to_owned()).collect()
}

/// The attributes of the root group.
pub(crate) fn root(file: &File, attributes: &[(String, String)]) -> hdf5::Result<()> {
    for (name, value) in [("NX_class", "NXroot"), ("default", "entry"), ("Conventions", "CF-1.11")] {
        text(file, name, value)?;
    }
    text(file, "gfe_layout_version", "1.0")?;
    attributes.iter().try_for_each(|(name, value)| text(file, name, value))
}

/// Names and units of the latents, as attributes of their scale.
fn name_latents(file: &File, latents: &[NamedLatent]) -> hdf5::Result<()> {
    if latents.is_empty() {
        return Ok(());
    }
    let scale = file.dataset("latent")?;
    let texts = |of: fn(&NamedLatent) -> &str| -> hdf5::Result<Array1<VarLenUnicode>> {
        let texts: hdf5::Result<Vec<VarLenUnicode>> = latents.iter().map(|latent| unicode(of(latent))).collect();
        Ok(Array1::from(texts?))
    };
    for (name, values) in [
        ("latent_names", texts(|latent| &latent.name)?),
        ("latent_units", texts(|latent| &latent.unit)?),
    ] {
        let attribute = scale.new_attr::<VarLenUnicode>().shape(latents.len());
        attribute.create(name)?.write(&values)?;
    }
    Ok(())
}

/// Error bars: standard errors, covariances, eigenvalues of H and degrees of freedom.
fn lay_out_uncertainty(rows: &Rows<'_>, layout: &EncodedLayout, attachments: &mut Attachments) -> hdf5::Result<()> {
    let (file, d) = (rows.file, layout.latent);
    // A name stands for an axis once: the second axis of a matrix has one of its own.
    scale(file, "latent_other", (0..d as i32).collect())?;
    let mut matrices: Vec<(&str, &str, Vec<usize>, &[&str])> = vec![
        ("z_std", "standard error of z", vec![d], &["sample", "latent"]),
        (
            "z_cov",
            "covariance of z, (D (H + I/t_end))^-1",
            vec![d, d],
            &["sample", "latent", "latent_other"],
        ),
        (
            "h_min",
            "smallest eigenvalue of the Hessian H of the loss at z",
            vec![],
            &["sample"],
        ),
        (
            "h_max",
            "largest eigenvalue of the Hessian H of the loss at z",
            vec![],
            &["sample"],
        ),
        (
            "dof",
            "effective degrees of freedom, tr H (H + I/t_end)^-1",
            vec![],
            &["sample"],
        ),
    ];
    if !layout.latents.is_empty() {
        let long_name = "standard error of z_physical";
        matrices.push(("z_physical_std", long_name, vec![d], &["sample", "latent"]));
    }
    for (name, long_name, tail, axes) in matrices {
        let dataset = rows.empty::<f64>(name, &tail)?;
        text(&dataset, "long_name", long_name)?;
        attachments.attach(file, name, &names(axes))?;
    }
    Ok(())
}

/// Datasets of several starts: name, long name.
const STARTS: [(&str, &str); 2] = [
    ("start", "the start whose end was taken"),
    (
        "minima",
        "different minima that the starts found within 9 of the lowest chi-squared",
    ),
];

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

/// Creates the reconstruction and the scales of its axes.
pub(crate) fn lay_out_reconstruction(
    rows: &Rows<'_>,
    extent: (&[Axis], &[Attributes]),
    attachments: &mut Attachments,
) -> hdf5::Result<Grid> {
    let long_name = "decoded z, in units of the input times its scale";
    lay_out_values::<f32>(rows, ("reconstruction", long_name), extent, attachments)
}

/// The flags of the reconstruction: 1 where nothing was measured.
const FILLED: &str = "reconstruction_filled";

/// Creates them, on the same axes.
fn lay_out_filled(rows: &Rows<'_>, grid: &Grid, attachments: &mut Attachments) -> hdf5::Result<()> {
    let long_name = "whether a value of the reconstruction stands for a missing one";
    let flags = grid.lay_out::<i8>(rows, (FILLED, long_name), attachments)?;
    flags
        .new_attr::<i8>()
        .shape(2)
        .create("flag_values")?
        .write(&Array1::from(vec![0_i8, 1]))?;
    text(&flags, "flag_meanings", "observed missing")?;
    let reconstruction = rows.file.dataset("reconstruction")?;
    text(&reconstruction, "ancillary_variables", FILLED)
}

/// Shape of a sample's values, and the names of all axes.
pub(crate) struct Grid {
    tail: Vec<usize>,
    axes: Vec<String>,
}

impl Grid {
    /// Creates a compressed dataset of values.
    fn lay_out<T: Absent>(
        &self,
        rows: &Rows<'_>,
        (dataset, long_name): (&str, &str),
        attachments: &mut Attachments,
    ) -> hdf5::Result<Dataset> {
        let values = rows.compressed::<T>(dataset, &self.tail)?;
        text(&values, "long_name", long_name)?;
        attachments.attach(rows.file, dataset, &self.axes)?;
        Ok(values)
    }
}

/// Creates a compressed dataset of values, a sample per row, and the scales of its axes with their attributes, where there are any.
pub(crate) fn lay_out_values<T: Absent>(
    rows: &Rows<'_>,
    (dataset, long_name): (&str, &str),
    (axes, described): (&[Axis], &[Attributes]),
    attachments: &mut Attachments,
) -> hdf5::Result<Grid> {
    let (file, mut used) = (rows.file, names(&["sample"]));
    for (i, Axis { dim, values }) in axes.iter().enumerate() {
        let taken = dim.name.is_empty()
            || dim.name.contains(['/', '\0'])
            || ["entry", "obs", dataset, FILLED, "."].contains(&dim.name.as_str())
            || file.link_exists(&dim.name);
        let name = if taken {
            format!("feature_{i}")
        } else {
            dim.name.clone()
        };
        match values {
            Some(values) => scale(file, &name, values.clone())?,
            None => scale(file, &name, (0..dim.len as i64).collect())?,
        }
        // Of a scale whose values were not taken, what they mean is not either.
        if let (Some(of), true) = (described.get(i), values.is_some()) {
            of.write(&*file.dataset(&name)?)?;
        }
        used.push(name);
    }
    let tail = axes.iter().map(|axis| axis.dim.len).collect();
    let grid = Grid { tail, axes: used };
    grid.lay_out::<T>(rows, (dataset, long_name), attachments)?;
    Ok(grid)
}

/// Contiguous ragged arrays after the CF conventions: the states of all samples one after another, and their numbers.
fn lay_out_traces(rows: &Rows<'_>, layout: &EncodedLayout, attachments: &mut Attachments) -> hdf5::Result<()> {
    let sizes = rows.empty::<u32>("trace_row_size", &[])?;
    text(&sizes, "long_name", "states of each sample in the traces")?;
    text(&sizes, "sample_dimension", "obs")?;
    attachments.attach(rows.file, "trace_row_size", &names(&["sample"]))?;
    scales::mark(&rows.numbers("obs")?, "obs")?;
    for (name, long_name) in [
        ("trace_t", "flow time"),
        ("trace_loss", "loss there"),
        ("trace_grad_norm", "norm of the gradient there"),
    ] {
        let column = rows.states(name, &[])?;
        text(&column, "long_name", long_name)?;
        attachments.attach(rows.file, name, &names(&["obs"]))?;
    }
    if layout.trace_z {
        let latents = rows.states("trace_z", &[layout.latent])?;
        text(&latents, "long_name", "latent there")?;
        attachments.attach(rows.file, "trace_z", &names(&["obs", "latent"]))?;
    }
    Ok(())
}

/// The NeXus view: soft links for plotting, and a place for notes.
pub(crate) fn lay_out_entry(file: &File, plots: &[(&str, &str, &[&str])], reconstruction: bool) -> hdf5::Result<()> {
    let entry = group(file, "entry", "NXentry")?;
    if let Some((name, ..)) = plots.first() {
        text(&entry, "default", name)?;
    }
    // NeXus wants a name for every axis: "." where it has no scale.
    let names: Vec<String> = if reconstruction {
        let names = dimension_names(file, &file.dataset("reconstruction")?).into_iter();
        names.map(|name| name.unwrap_or_else(|| ".".into())).collect()
    } else {
        Vec::new()
    };
    let axes: Vec<&str> = names.iter().map(String::as_str).collect();
    let decoded: (&str, &str, &[&str]) = ("reconstruction_plot", "reconstruction", &axes);
    for (plot, signal, axes) in plots.iter().copied().chain(reconstruction.then_some(decoded)) {
        let plot = group(&entry, plot, "NXdata")?;
        text(&plot, "signal", signal)?;
        let names: Array1<VarLenUnicode> = axes.iter().map(|axis| unicode(axis)).collect::<hdf5::Result<_>>()?;
        plot.new_attr::<VarLenUnicode>()
            .shape(axes.len())
            .create("axes")?
            .write(&names)?;
        for name in axes.iter().filter(|name| **name != ".").chain([&signal]) {
            plot.link_soft(&format!("/{name}"), name)?;
        }
    }
    let process = group(&entry, "process", "NXprocess")?;
    field(&process, "program", "gfe")?;
    field(&process, "version", env!("CARGO_PKG_VERSION"))
}

/// A text as a field of a group, as NeXus has those of a process.
fn field(group: &Group, name: &str, value: &str) -> hdf5::Result<()> {
    let made = group
        .new_dataset::<VarLenUnicode>()
        .with_dcpl(|creation| creation.obj_track_times(false));
    made.shape(()).create(name)?.write_scalar(&unicode(value)?)
}

/// Notes on how the file came about, as JSON by name; where `environment` has a date, it is the one of the process too.
pub(crate) fn write_notes(file: &File, notes: &[(String, String)]) -> hdf5::Result<()> {
    let process = file.group("entry/process")?;
    let environment = notes.iter().find(|(name, _)| name == "environment");
    let environment: Option<Value> = environment.and_then(|(_, note)| serde_json::from_str(note).ok());
    if let Some(date) = environment.as_ref().and_then(|told| told["date"].as_str()) {
        field(&process, "date", date)?;
    }
    for (name, content) in notes {
        let note = group(&process, name, "NXnote")?;
        text(&note, "type", "application/json")?;
        let data = note
            .new_dataset::<VarLenUnicode>()
            .with_dcpl(|creation| creation.obj_track_times(false));
        data.shape(()).create("data")?.write_scalar(&unicode(content)?)?;
    }
    text(file, "gfe_state", "complete")
}

/// A group whose bytes do not depend on the time.
pub(crate) fn group_of(parent: &Group, name: &str) -> hdf5::Result<Group> {
    parent.create_group_builder().obj_track_times(false).create(name)
}

fn group(parent: &Group, name: &str, class: &str) -> hdf5::Result<Group> {
    let group = group_of(parent, name)?;
    text(&group, "NX_class", class).map(|()| group)
}

pub(crate) fn empty<T: H5Type>(file: &File, name: &str, shape: &[usize]) -> hdf5::Result<Dataset> {
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

pub(crate) fn text(location: &Location, name: &str, value: &str) -> hdf5::Result<()> {
    location
        .new_attr::<VarLenUnicode>()
        .shape(())
        .create(name)?
        .write_scalar(&unicode(value)?)
}

pub(crate) fn unicode(value: &str) -> hdf5::Result<VarLenUnicode> {
    value
        .parse()
        .map_err(|_| format!("the text {value:?} has a null in it").into())
}
