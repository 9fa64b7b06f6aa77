//! `gfe decode`: x = D(z) of a file of codes.

use crate::error::CliError;
use crate::input::{Input, file_of};
use crate::known::{Asked, Known};
use crate::logs::say;
use crate::model::{Model, PluginChoice};
use crate::settings::Settings;
use crate::{output, progress, rows};
use clap::Args;
use faer::{Mat, MatRef};
use gfe_io::{DecodedWriter, EncodedFile, InputPath, params_sha256};
use gfe_model::{At, Axis, DecodeError, Decoder, Dim, Loss, LossKind};
use gfe_ode::FlowError;
use gfe_plugin::unlink_on_crash;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Bytes of decoded values in a block.
const BLOCK_BYTES: usize = 4 << 20;

#[derive(Args)]
pub struct Arguments {
    /// Codes: a file written by `gfe encode`, or FILE.h5:/DATASET or plugin:NAME?key=value with a code per row.
    codes: String,
    /// Decoder: a safetensors file with its architecture in the metadata.
    #[arg(short, long)]
    model: Option<PathBuf>,
    /// Decoder plugin: a library by its path, or by a name in the folders of GFE_PLUGIN_PATH. Default: what the model file
    /// says.
    #[arg(long)]
    decoder: Option<String>,
    /// The decoder plugin's configuration: JSON, or the path of a JSON file.
    #[arg(long, value_name = "JSON")]
    decoder_config: Option<String>,
    /// What is known of each sample and enters the decoder, FILE.h5:/DATASET with a row per code; may be repeated.
    #[arg(long, value_name = "DATASET")]
    context: Vec<String>,
    /// Output file.
    #[arg(short, long)]
    pub output: PathBuf,
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
    let mut settings = Settings::default();
    settings.flag("decoder.plugin", arguments.decoder.clone());
    settings.flag("decoder.config", arguments.decoder_config.clone());
    let model = Model::read(arguments.model.as_deref(), &PluginChoice::new(&settings)?)?;
    let shape = model.shape();
    let file = file_of(&arguments.codes);
    let inputs: Vec<&Path> = [&arguments.model, &file]
        .into_iter()
        .flatten()
        .map(PathBuf::as_path)
        .collect();
    output::check(&arguments.output, arguments.force, &inputs)?;
    let encoded = file.and_then(|file| EncodedFile::open(&file).ok());
    let mut name = arguments.codes.clone();
    if encoded.is_some() && InputPath::parse(&name).dataset.is_none() {
        name += ":/z";
    }
    let mut codes = Input::open(&name, Some(1.0))?;
    let (samples, values) = (codes.shape().samples, codes.shape().values());
    if values != shape.latent {
        let text = format!(
            "{} has {values} values per code, but the decoder takes {}",
            codes.name(),
            shape.latent
        );
        return Err(CliError::BadData(format!(
            "{text}: take the model that made these codes"
        )));
    }
    let made_by = encoded.as_ref().and_then(|file| file.note("decoder"));
    if made_by.is_some_and(|note| note["params_sha256"] != json!(params_sha256(&model.params))) {
        say!(
            "{}: these codes are of other weights than the model's: what they decode to need not be near to anything",
            codes.name()
        );
    }
    let range = arguments
        .rows
        .as_deref()
        .map_or(Ok(0..samples), |text| rows::parse(text, samples))?;
    let encoded = encoded.filter(|file| file.samples() == samples);
    let axes = axes(encoded.as_ref(), shape.data);
    let asked = Asked {
        context: arguments.context.clone(),
        ..Asked::default()
    };
    let mut known = Known::open(&codes, &asked, shape.context)?;
    let title = format!("Decoded from {}", codes.name());
    let mut writer = DecodedWriter::create(&arguments.output, range.len(), &axes, &title)?;
    let decoder = (model.architecture.opener())();
    let loss = loss(&model)?;
    unlink_on_crash(Some(writer.temporary()));
    let bar = progress::bar(range.len() as u64, "samples");
    let mut failed = 0;
    let size = (BLOCK_BYTES / (8 * shape.data)).clamp(16, 4096);
    for first in range.clone().step_by(size) {
        let block = first..range.end.min(first + size);
        let ids: Vec<usize> = block.clone().collect();
        let z = codes.matrix(&ids)?;
        let context = known.context(&ids)?;
        let mut x = decoded(&*decoder, &model.params, z.as_ref(), context.as_ref().map(Mat::as_ref))?;
        // Of codes that the decoder refuses, and of codes that are NaN themselves.
        failed += x.col_iter().filter(|x| x.iter().any(|value| value.is_nan())).count();
        for b in 0..ids.len() {
            x.col_as_slice_mut(b)
                .iter_mut()
                .for_each(|value| *value = loss.data_units(*value));
        }
        let sample = match &encoded {
            Some(file) => file.read("sample", block)?.into_iter().map(|row| row as i64).collect(),
            None => ids.iter().map(|&row| row as i64).collect(),
        };
        writer.write(sample, x.as_ref())?;
        bar.inc(ids.len() as u64);
    }
    bar.finish_and_clear();
    let mut from = codes.json();
    from["rows"] = json!([range.start, range.end]);
    let mut decoder = model.architecture.notes();
    decoder["params_sha256"] = json!(params_sha256(&model.params));
    let mut notes = vec![
        ("codes".to_owned(), from.to_string()),
        ("decoder".to_owned(), decoder.to_string()),
    ];
    // What the codes were made of tells a plot how to scale the data.
    let input = encoded.as_ref().and_then(|file| file.note("input"));
    notes.extend(input.map(|input| ("input".to_owned(), input.to_string())));
    writer.finish(&notes)?;
    unlink_on_crash(None);
    if failed > 0 {
        say!("{failed} codes could not be decoded: their values are NaN");
    }
    if arguments.json {
        output::say(&json!({"samples": range.len(), "failed": failed, "output": arguments.output}).to_string())?;
    } else {
        say!("{}: {} samples decoded", arguments.output.display(), range.len());
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
        return Ok(model.output().loss().loss());
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

/// D(z) as the decoder gives it; NaN where it fails, and where z is NaN.
///
/// Where it fails as a whole it is asked again code by code: only those that fail then are affected.
pub fn decoded(
    decoder: &dyn Decoder,
    params: &[f64],
    z: MatRef<'_, f64>,
    context: Option<MatRef<'_, f64>>,
) -> Result<Mat<f64>, CliError> {
    let count = z.ncols();
    let mut x = match forward(decoder, params, z, context)? {
        Ok(x) => x,
        Err(_) => {
            let mut x = Mat::full(decoder.shape().data, count, f64::NAN);
            for b in 0..count {
                let context = context.map(|context| context.subcols(b, 1));
                if let Ok(one) = forward(decoder, params, z.subcols(b, 1), context)? {
                    x.as_mut().col_mut(b).copy_from(one.col(0));
                }
            }
            x
        }
    };
    for b in 0..count {
        if z.col(b).iter().any(|value| value.is_nan()) {
            x.col_as_slice_mut(b).fill(f64::NAN);
        }
    }
    Ok(x)
}

/// D(z), or why the decoder gives nothing; one that breaks down ends the program.
fn forward(
    decoder: &dyn Decoder,
    params: &[f64],
    z: MatRef<'_, f64>,
    context: Option<MatRef<'_, f64>>,
) -> Result<Result<Mat<f64>, DecodeError>, CliError> {
    let (shape, count) = (decoder.shape(), z.ncols());
    // A decoder's column has other bits alone: a single code is doubled.
    let width = count.max(2);
    let doubled = |of: MatRef<'_, f64>| Mat::from_fn(of.nrows(), width, |r, b| of[(r, b.min(count - 1))]);
    let z = doubled(z);
    let context = context.map_or_else(|| Mat::zeros(0, width), doubled);
    let mut x = Mat::zeros(shape.data, width);
    let mut tape = Mat::zeros(decoder.tape_len(), width);
    let at = At {
        params,
        version: 1,
        z: z.as_ref(),
        context: context.as_ref(),
    };
    let mut scratch = vec![0.0; decoder.scratch_len(width)];
    match decoder.forward(at, x.as_mut(), tape.as_mut(), &mut scratch) {
        Ok(()) => Ok(Ok(x.as_ref().subcols(0, count).to_owned())),
        Err(error @ DecodeError::Fatal(_)) => Err(CliError::Flow(FlowError(error.to_string()))),
        Err(error) => Ok(Err(error)),
    }
}
