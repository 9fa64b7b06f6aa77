//! `gfe decode`: x = D(z) of a file of codes.

use crate::error::CliError;
use crate::model::Model;
use crate::{output, progress, rows};
use clap::Args;
use faer::{Mat, MatRef};
use gfe_io::{DecodedWriter, EncodedFile, H5Input, InputPath, params_sha256};
use gfe_model::{At, Axis, DatasetSource, DecodeError, Decoder, Dim, Loss, LossKind, TargetsMut};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Bytes of decoded values in a block.
const BLOCK_BYTES: usize = 4 << 20;

#[derive(Args)]
pub struct Arguments {
    /// Codes: a file written by `gfe encode`, or FILE.h5:/DATASET with a code per row.
    codes: String,
    /// Decoder: a safetensors file with its architecture in the metadata.
    #[arg(short, long)]
    model: PathBuf,
    /// Output file.
    #[arg(short, long)]
    output: PathBuf,
    /// Rows A..B of the codes, B excluded. Default: all.
    #[arg(long)]
    rows: Option<String>,
    /// Print the outcome as one JSON object on stdout.
    #[arg(long)]
    json: bool,
    /// Overwrite the output file.
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let model = Model::read(&arguments.model)?;
    let shape = model.shape();
    let mut path = InputPath::parse(&arguments.codes);
    output::check(&arguments.output, arguments.force, &[&arguments.model, &path.file])?;
    let encoded = EncodedFile::open(&path.file);
    if path.dataset.is_none() && encoded.is_ok() {
        path.dataset = Some("/z".to_owned());
    }
    let mut codes = H5Input::open(&path, Some(1.0))?;
    let (samples, values) = (codes.shape().samples, codes.shape().values());
    if values != shape.latent {
        let text = format!(
            "{} has {values} values per code, but the decoder takes {}",
            codes.path(),
            shape.latent
        );
        return Err(CliError::BadData(format!(
            "{text}: take the model that made these codes"
        )));
    }
    let range = arguments
        .rows
        .as_deref()
        .map_or(Ok(0..samples), |text| rows::parse(text, samples))?;
    let encoded = encoded.ok().filter(|file| file.samples() == samples);
    let axes = axes(encoded.as_ref(), shape.data);
    let title = format!("Decoded from {}", codes.path());
    let mut writer = DecodedWriter::create(&arguments.output, range.len(), &axes, &title)?;
    let decoder = model.open();
    let loss = loss(&model)?;
    let bar = progress::bar(range.len() as u64, "samples");
    let size = (BLOCK_BYTES / (8 * shape.data)).clamp(16, 4096);
    for first in range.clone().step_by(size) {
        let block = first..range.end.min(first + size);
        let ids: Vec<usize> = block.clone().collect();
        let mut z = Mat::zeros(shape.latent, ids.len());
        codes.read(&ids, TargetsMut { y: z.as_mut(), w: None })?;
        let x = decode(&*decoder, &model.params, z.as_ref(), loss)?;
        let sample = match &encoded {
            Some(file) => file.read("sample", block)?.into_iter().map(|row| row as i64).collect(),
            None => ids.iter().map(|&row| row as i64).collect(),
        };
        writer.write(sample, x.as_ref())?;
        bar.inc(ids.len() as u64);
    }
    bar.finish_and_clear();
    let from = json!({"path": codes.path().file, "dataset": codes.path().dataset, "rows": [range.start, range.end]});
    let decoder = json!({"config": model.config(), "params_sha256": params_sha256(&model.params)});
    let mut notes = vec![
        ("codes".to_owned(), from.to_string()),
        ("decoder".to_owned(), decoder.to_string()),
    ];
    // What the codes were made of tells a plot how to scale the data.
    let input = encoded.as_ref().and_then(|file| file.note("input"));
    notes.extend(input.map(|input| ("input".to_owned(), input.to_string())));
    writer.finish(&notes)?;
    if arguments.json {
        output::say(&json!({"samples": range.len(), "output": arguments.output}).to_string())?;
    } else {
        eprintln!("{}: {} samples decoded", arguments.output.display(), range.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// The loss that says what a decoded value means: that of the training, else that of the decoder's output.
fn loss(model: &Model) -> Result<&'static dyn Loss, CliError> {
    let recorded = model
        .training
        .as_ref()
        .and_then(|training| training.get("loss"))
        .and_then(Value::as_str);
    let Some(name) = recorded else {
        return Ok(model.config().output.loss().loss());
    };
    let known = LossKind::ALL.into_iter().find(|kind| kind.loss().name() == name);
    let unknown = || CliError::Decoder(format!("`gfe.training` names the loss {name}, which there is not"));
    Ok(known.ok_or_else(unknown)?.loss())
}

/// The axes of a sample as the encoded file knows them; one axis where it does not.
fn axes(encoded: Option<&EncodedFile>, values: usize) -> Vec<Axis> {
    let flat = || {
        let name = "feature_0".to_owned();
        vec![Axis {
            dim: Dim { name, len: values },
            values: None,
        }]
    };
    let Some(file) = encoded else { return flat() };
    let noted = || {
        let note = file.note("input")?;
        let dims = note.get("dims")?.as_array()?.iter();
        let lens = note.get("shape")?.as_array()?.iter();
        let dim = |(name, len): (&Value, &Value)| {
            let (name, len) = (name.as_str()?.to_owned(), usize::try_from(len.as_u64()?).ok()?);
            Some(Axis {
                dim: Dim { name, len },
                values: None,
            })
        };
        dims.zip(lens).map(dim).collect::<Option<Vec<Axis>>>()
    };
    let known = file.axes("reconstruction").ok().or_else(noted);
    let fits = |axes: &Vec<Axis>| axes.iter().try_fold(1_usize, |n, axis| n.checked_mul(axis.dim.len)) == Some(values);
    known.filter(fits).unwrap_or_else(flat)
}

/// D(z) in the data's own units; NaN where z is.
fn decode(decoder: &dyn Decoder, params: &[f64], z: MatRef<'_, f64>, loss: &dyn Loss) -> Result<Mat<f64>, CliError> {
    let (shape, count) = (decoder.shape(), z.ncols());
    // A decoder's column has other bits alone: a single code is doubled.
    let width = count.max(2);
    let z = Mat::from_fn(shape.latent, width, |r, b| z[(r, b.min(count - 1))]);
    let mut x = Mat::zeros(shape.data, width);
    let mut tape = Mat::zeros(decoder.tape_len(), width);
    let at = At {
        params,
        version: 0,
        z: z.as_ref(),
        context: MatRef::from_column_major_slice(&[], 0, width),
    };
    let mut scratch = vec![0.0; decoder.scratch_len(width)];
    decoder
        .forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
        .map_err(|error: DecodeError| CliError::Decoder(error.to_string()))?;
    for b in 0..count {
        let known = z.col_as_slice(b).iter().all(|value| !value.is_nan());
        for value in x.col_as_slice_mut(b) {
            *value = if known { loss.data_units(*value) } else { f64::NAN };
        }
    }
    Ok(x.as_ref().subcols(0, count).to_owned())
}
