//! `gfe inspect`: what a file is and what it holds.

use crate::error::CliError;
use crate::model::dense;
use crate::output;
use clap::Args;
use gfe_io::{Checkpoint, EncodedFile, History, IoError, ModelFile, list_datasets, params_sha256};
use gfe_model::Decoder;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Rows read together.
const BLOCK: usize = 65_536;

#[derive(Args)]
pub struct Arguments {
    /// The file.
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command; what it prints is its product and goes to stdout.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let path = &arguments.file;
    let told = match path.extension().and_then(|extension| extension.to_str()) {
        Some("safetensors" | "pt" | "pth" | "ckpt") => model(path)?,
        Some("toml") => run_file(path)?,
        _ if Checkpoint::is_one(path) => checkpoint(path)?,
        _ if EncodedFile::is_one(path) => encoded(path)?,
        _ if History::is_one(path) => history(path)?,
        _ => hdf5(path)?,
    };
    let mut text = told.to_string();
    if !arguments.json {
        text.clear();
        print(&told, 0, &mut text);
        text = output::printable(&text);
    }
    output::say(text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

/// A file of encoded or decoded samples.
fn encoded(path: &Path) -> Result<Value, CliError> {
    let file = EncodedFile::open(path)?;
    let kind = if file.has("z") {
        "encoded samples"
    } else {
        "decoded samples"
    };
    let mut told = json!({"file": path, "kind": kind, "samples": file.samples()});
    if file.has("reconstruction") {
        let axes = file.axes("reconstruction")?;
        told["reconstruction"] = axes
            .iter()
            .map(|axis| json!({"axis": axis.dim.name, "length": axis.dim.len}))
            .collect();
    }
    if file.has("z") {
        told["latent"] = json!(file.axes("z")?.iter().map(|axis| axis.dim.len).product::<usize>());
        told["status"] = statuses(&file)?;
        for name in ["loss", "grad_norm", "edm", "evaluations", "jvps", "steps"] {
            if file.has(name) {
                told[name] = spread(&file, name)?;
            }
        }
    }
    let datasets = file.datasets().into_iter().map(|(name, shape, attributes)| {
        let mut told = json!({"shape": shape});
        if let (Some(told), Value::Object(attributes)) = (told.as_object_mut(), attributes.json()) {
            told.extend(attributes);
        }
        (name, told)
    });
    let mut datasets: Vec<(String, Value)> = datasets.collect();
    datasets.sort_by(|a, b| a.0.cmp(&b.0));
    told["datasets"] = datasets.into_iter().collect();
    for (name, field) in file.made_by() {
        told[name] = json!(field);
    }
    for name in [
        "config",
        "input",
        "codes",
        "decoder",
        "environment",
        "shared_work",
        "messages",
    ] {
        if let Some(note) = file.note(name) {
            told[name] = note;
        }
    }
    Ok(told)
}

/// A history of a training: its settings, and of each column the last value and the span.
fn history(path: &Path) -> Result<Value, CliError> {
    let file = History::read(path)?;
    let mut told = json!({"file": path, "kind": "history of a training", "title": file.title});
    for table in &file.tables {
        let columns: Map<String, Value> = table
            .columns
            .iter()
            .map(|column| {
                let values = column.values.to_reals();
                let known = || values.iter().copied().filter(|value| value.is_finite());
                let number = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
                let span = json!({"what": column.long_name, "last": number(known().next_back().unwrap_or(f64::NAN)),
                    "min": number(known().fold(f64::INFINITY, f64::min)), "max": number(known().fold(f64::NEG_INFINITY, f64::max))});
                (column.name.clone(), span)
            })
            .collect();
        let records = table.columns.first().map_or(0, |column| column.values.len());
        let name = if table.name.is_empty() { "epochs" } else { &table.name };
        told[name] = json!({"records": records, "columns": columns});
    }
    told["notes"] = file.notes.into_iter().collect();
    Ok(told)
}

/// A checkpoint of a training: how far it is, of which training, and its tensors.
fn checkpoint(path: &Path) -> Result<Value, CliError> {
    let file = Checkpoint::read(path)?;
    let mut told = json!({"file": path, "kind": "checkpoint of a training"});
    told["tensors"] = file
        .tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), json!(tensor.shape)))
        .collect();
    told["notes"] = file.notes;
    Ok(told)
}

/// Every block of rows of a file of `samples`.
fn blocks(samples: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..samples)
        .step_by(BLOCK)
        .map(move |first| first..samples.min(first + BLOCK))
}

/// Rows by the name of their status.
fn statuses(file: &EncodedFile) -> Result<Value, CliError> {
    let names = file.statuses();
    let mut counts = Map::new();
    for rows in blocks(file.samples()) {
        for code in file.read("status", rows)? {
            let name = names.iter().find(|(known, _)| f64::from(*known) == code);
            let name = name.map_or_else(|| format!("{code}"), |(_, name)| name.clone());
            let count = counts.get(&name).and_then(Value::as_u64).unwrap_or(0);
            counts.insert(name, json!(count + 1));
        }
    }
    Ok(Value::Object(counts))
}

/// Mean, smallest and largest of the finite values.
fn spread(file: &EncodedFile, name: &str) -> Result<Value, CliError> {
    let (mut sum, mut count, mut least, mut most) = (0.0, 0_usize, f64::INFINITY, f64::NEG_INFINITY);
    for rows in blocks(file.samples()) {
        for value in file.read(name, rows)?.into_iter().filter(|value| value.is_finite()) {
            (sum, count) = (sum + value, count + 1);
            (least, most) = (least.min(value), most.max(value));
        }
    }
    if count == 0 {
        return Ok(Value::Null);
    }
    Ok(json!({"mean": sum / count as f64, "min": least, "max": most}))
}

/// A model file.
fn model(path: &Path) -> Result<Value, CliError> {
    let file = ModelFile::read(path)?;
    let mut told = json!({"file": path, "kind": "model", "decoder": file.decoder});
    if file.decoder.get("decoder").is_none_or(|decoder| decoder == "dense") {
        let decoder = dense(file.decoder.clone()).map_err(|error| error.within(path))?;
        let params = file.params_for(&decoder.tensors());
        let params = params.map_err(|error| CliError::from(error).within(path))?;
        told["parameters"] = json!(params.len());
        told["params_sha256"] = json!(params_sha256(&params));
    } else {
        // In which order a plugin takes its tensors only the plugin knows, and looking at a file runs nothing.
        let own = file.tensors.iter().filter(|(name, _)| !name.starts_with("gfe."));
        told["parameters"] = json!(own.map(|(_, tensor)| tensor.values.len()).sum::<usize>());
    }
    told["training"] = file.training.unwrap_or(Value::Null);
    told["tensors"] = file
        .tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), json!(tensor.shape)))
        .collect();
    Ok(told)
}

/// A run file.
fn run_file(path: &Path) -> Result<Value, CliError> {
    let mut settings = crate::settings::Settings::default();
    settings.read(path)?;
    settings.check()?;
    let mut told = json!({"file": path, "kind": "run file"});
    for section in ["decoder", "data", "method", "train", "encode"] {
        let keys = settings.section(section);
        if !keys.is_empty() {
            told[section] = json!(keys);
        }
    }
    Ok(told)
}

/// Any other HDF5 file, as an input.
fn hdf5(path: &Path) -> Result<Value, CliError> {
    let datasets = list_datasets(path).map_err(|error| match error {
        IoError::NotHdf5 { path, source } => CliError::BadData(format!(
            "{}: not named .safetensors or .toml, and no readable HDF5 file either ({source})",
            path.display()
        )),
        other => other.into(),
    })?;
    let listed: Map<String, Value> = datasets
        .into_iter()
        .map(|dataset| {
            let dims = dataset.dims.iter().any(Option::is_some).then_some(dataset.dims);
            let mut told = json!({"shape": dataset.shape, "type": dataset.dtype});
            told["dims"] = json!(dims);
            told["chunk"] = json!(dataset.chunk);
            told["filters"] = json!(dataset.filters);
            (dataset.name, told)
        })
        .collect();
    Ok(json!({"file": path, "kind": "HDF5 data", "datasets": listed}))
}

/// Objects as indented lines; lists of plain values on one line.
pub fn print(value: &Value, depth: usize, text: &mut String) {
    let Value::Object(members) = value else { return };
    for (name, member) in members {
        let indent = "  ".repeat(depth);
        // Writing to a text cannot fail.
        let _ = match member {
            Value::Object(inner) if !inner.is_empty() => writeln!(text, "{indent}{name}:"),
            Value::String(plain) => writeln!(text, "{indent}{name}: {plain}"),
            Value::Null => writeln!(text, "{indent}{name}: none"),
            other => writeln!(text, "{indent}{name}: {other}"),
        };
        print(member, depth + 1, text);
    }
}
