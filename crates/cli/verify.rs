//! `gfe verify`: is what an output file says of its codes so?
//!
//! Losses and gradients are computed again from the codes written, the input and the weights, and every hash that the file
//! records is compared with that of what is there now.
//!
//! An output names the files that it was made from, and it may come from somebody else. With one argument the command reads
//! what the file names as far as reading is all that happens to it: regular files, as HDF5 or safetensors. Code is run
//! only by the rules of model files: a library is taken by the name that the output records, from the folders of
//! GFE_PLUGIN_PATH, or from where the user says; never from a path found in a file.

mod notes;
mod rows;

use crate::encode::block_rows;
use crate::error::CliError;
use crate::method::Method;
use crate::model::Model;
use crate::samples::Source;
use crate::settings::Settings;
use crate::{output, rows as range};
use clap::Args;
use faer::Mat;
use gfe_encode::Noise;
use gfe_io::{EncodedFile, Part, Parts, RowsHash, list_datasets, params_sha256, row_sha256};
use notes::Notes;
use rows::{Differences, ROW_SHA256, Written};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// A file written by gfe encode.
    file: PathBuf,
    /// The input. Default: what the file records.
    #[arg(long)]
    input: Option<String>,
    /// The model file. Default: what the file records.
    #[arg(short, long)]
    model: Option<PathBuf>,
    /// Decoder plugin: a library by its path, or by a name in the folders of GFE_PLUGIN_PATH. Default: the name that the file
    /// records.
    #[arg(long)]
    decoder: Option<String>,
    /// What is known of each sample: datasets as for gfe encode. Default: what the file records.
    #[arg(long, value_name = "DATASET")]
    context: Vec<String>,
    /// Which values are missing, as for gfe encode. Default: what the file records.
    #[arg(long, value_name = "DATASET")]
    mask: Option<String>,
    /// Weights of the values, as for gfe encode. Default: what the file records.
    #[arg(long, value_name = "DATASET")]
    weight: Option<String>,
    /// Standard errors of the values, as for gfe encode. Default: what the file records.
    #[arg(long, value_name = "DATASET")]
    sigma: Option<String>,
    /// Codes at which samples started, as for gfe encode. Default: what the file records.
    #[arg(long, value_name = "CODES")]
    starts_from: Option<PathBuf>,
    /// Rows A..B of the file, B excluded: then the hashes of rows are not checked. Default: all.
    #[arg(long)]
    rows: Option<String>,
    /// Print the outcome as one JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// A hash or a setting that the file records, and what it is now.
struct Compared {
    name: &'static str,
    recorded: Value,
    found: Value,
}

impl Compared {
    fn same(&self) -> bool {
        self.recorded == self.found
    }
}

/// Runs the command; exit code 65 where something differs.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let file = EncodedFile::open(&arguments.file)?;
    let notes = Notes::read(&file, &arguments.file)?;
    let model = notes.model(arguments)?;
    let mut settings = Settings::default();
    settings.defaults(&notes.config)?;
    settings.check()?;
    let decoder = model.architecture.decoder();
    let method =
        Method::new(&settings, decoder, decoder.output().loss())?.with_one_worker(model.architecture.one_worker());
    let source = notes.source(arguments, &model, method.loss())?;
    let mut hashes = notes.compared(&model, &source);
    let rows = match &arguments.rows {
        Some(text) => range::parse(text, file.samples())?,
        None => 0..file.samples(),
    };
    let whole = rows.len() == file.samples();
    let noise = match (&model.file, notes.decoder["noise"].is_null()) {
        (Some((path, _)), false) => Some(model.noise(Some(path))?),
        _ => None,
    };
    if let Some(noise) = &noise {
        hashes.push(Compared {
            name: "errors of values",
            recorded: notes.decoder["noise"]["sha256"].clone(),
            found: json!(params_sha256(&noise.sigma)),
        });
    }
    hashes.extend(notes.codes(arguments, &model)?);
    hashes.extend(kept_parts(&file, &arguments.file)?);
    let mut check = Check {
        file: &file,
        path: &arguments.file,
        model: &model,
        method: &method,
        source,
        hash: RowsHash::default(),
        noise,
    };
    let found = check.rows(rows.clone())?;
    let others = check.others(rows)?;
    if whole {
        hashes.push(Compared {
            name: "input rows",
            recorded: notes.input["rows_sha256"].clone(),
            found: json!(check.hash.finish()),
        });
    }
    tell(arguments, &found, &hashes, &others)
}

/// The parts in which the rows of a file lie, if they do: their names hold the hashes of their bytes.
fn kept_parts(file: &EncodedFile, path: &Path) -> Result<Option<Compared>, CliError> {
    if !file.is_over_parts() {
        return Ok(None);
    }
    let parts = Parts::peek(path)?.parts;
    let sound: Vec<bool> = parts.iter().map(Part::is_sound).collect::<Result<_, _>>()?;
    Ok(Some(Compared {
        name: "sound parts",
        recorded: json!(parts.len()),
        found: json!(sound.iter().filter(|sound| **sound).count()),
    }))
}

/// Datasets that are compared with what is computed again, or that this needs.
const COMPARED: [&str; 9] = [
    "sample",
    "z",
    "z0",
    "status",
    "loss",
    "grad_norm",
    "chi2",
    "n_valid",
    ROW_SHA256,
];
/// Bytes of other datasets read at once.
const BLOCK_BYTES: usize = 4 << 20;

/// What rows are computed again with.
struct Check<'a> {
    file: &'a EncodedFile,
    path: &'a Path,
    model: &'a Model,
    method: &'a Method,
    source: Source,
    hash: RowsHash,
    noise: Option<Noise>,
}

impl Check<'_> {
    /// Reads what else there is of the rows, so that damage shows where the file has checksums; gives its names.
    fn others(&self, rows: Range<usize>) -> Result<Vec<String>, CliError> {
        let mut names = Vec::new();
        for listed in list_datasets(self.path)? {
            let name = listed.name.trim_start_matches('/');
            if COMPARED.contains(&name)
                || listed.shape.first() != Some(&self.file.samples())
                || listed.dims.first() == Some(&None)
            {
                continue;
            }
            let values: usize = listed.shape[1..].iter().product();
            let size = (BLOCK_BYTES / (8 * values.max(1))).max(1);
            for first in rows.clone().step_by(size) {
                self.file.read(name, first..rows.end.min(first + size))?;
            }
            names.push(name.to_owned());
        }
        Ok(names)
    }

    /// Computes rows of the file again.
    fn rows(&mut self, rows: std::ops::Range<usize>) -> Result<Differences, CliError> {
        let shape = self.model.shape();
        let samples = self.source.input.shape().samples;
        let open = self.model.architecture.opener();
        let mut encoding = self.method.encoding(&open);
        encoding.noise = self.noise.as_ref();
        let mut found = Differences::default();
        let size = block_rows(shape.data, self.method.lanes());
        for first in rows.clone().step_by(size) {
            let written = Written::read(self.file, first..rows.end.min(first + size), shape.latent)?;
            if let Some(sample) = written.samples.iter().find(|sample| **sample >= samples) {
                if *sample == usize::MAX && self.file.is_over_parts() {
                    let text = format!("{}: rows of it lie in parts that are not there", self.path.display());
                    return Err(CliError::BadData(format!(
                        "{text}: make them again, by its command and --force"
                    )));
                }
                let text = format!("{}: it has a code of sample {sample}", self.path.display());
                return Err(CliError::BadData(format!(
                    "{text}, and {} has {samples} samples: is it the input of these codes?",
                    self.source.input.name()
                )));
            }
            let mut set = self.source.read(written.samples.clone())?;
            let beside: Vec<_> = [&set.w, &set.context].into_iter().flatten().map(Mat::as_ref).collect();
            let hashes = row_sha256(set.y.as_ref(), &beside);
            self.hash.push_hashes(&hashes);
            set.z0 = written.z0.clone();
            let now = gfe_encode::at_codes(&encoding, &self.model.params, set.samples(), written.z.as_ref())?;
            found.compare(&written, &now, &hashes);
        }
        Ok(found)
    }
}

fn tell(
    arguments: &Arguments,
    found: &Differences,
    hashes: &[Compared],
    others: &[String],
) -> Result<ExitCode, CliError> {
    let same = found.rows == 0 && found.inputs == 0 && hashes.iter().all(Compared::same);
    let code = ExitCode::from(if same { 0 } else { 65 });
    if arguments.json {
        let hashes: Vec<Value> = hashes
            .iter()
            .map(|one| json!({"name": one.name, "recorded": one.recorded, "found": one.found, "same": one.same()}))
            .collect();
        let mut told = json!({"file": arguments.file, "same": same, "hashes": hashes, "not_compared": others});
        if let (Some(told), Value::Object(rows)) = (told.as_object_mut(), found.json()) {
            told.extend(rows);
        }
        return output::say(&told.to_string()).map(|()| code);
    }
    let path = arguments.file.display();
    for one in hashes {
        let word = if one.same() { "the same" } else { "DIFFERENT" };
        output::say(&format!("{}: {word}", one.name))?;
        if !one.same() {
            output::say(&format!("  recorded {}\n  found    {}", one.recorded, one.found))?;
        }
    }
    for line in found.lines() {
        output::say(&line)?;
    }
    if !others.is_empty() {
        output::say(&format!("read, and not computed again: {}", others.join(", ")))?;
    }
    let word = if same { "as it says" } else { "NOT as it says" };
    output::say(&format!("{path}: {word}")).map(|()| code)
}
