//! `gfe encode`: reads in blocks, encodes, writes one output file.

use crate::error::CliError;
use crate::flags::MethodFlags;
use crate::method::Method;
use crate::model::Model;
use crate::settings::Settings;
use crate::summary::Summary;
use crate::z0::Z0;
use crate::{output, progress, rows};
use clap::Args;
use faer::Mat;
use gfe_encode::{Block, Record, Trace, WarmStart, encode_blocks};
use gfe_io::{
    Coordinate, EncodedLayout, EncodedRow, EncodedRows, EncodedWriter, H5Input, InputPath, RowsHash, TracePoint,
    params_sha256,
};
use gfe_model::{DatasetSource, TargetsMut};
use gfe_ode::Status;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Bytes of data in a block.
const BLOCK_BYTES: usize = 1 << 20;

/// A setting is taken from its flag, else --set, else the run file, else what the model file records of its training,
/// else the default.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Arguments {
    /// Input: FILE.h5 or FILE.h5:/DATASET; the first axis counts samples.
    input: Option<String>,
    /// Decoder: a safetensors file with its architecture in the metadata.
    #[arg(short, long)]
    model: Option<String>,
    /// Output file.
    #[arg(short, long)]
    output: Option<String>,
    /// Run file (TOML) with the sections `method` and `encode`.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// A setting by its key in the run file; may be repeated. VALUE is TOML or a bare text.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    method: MethodFlags,
    /// Rows A..B of the input, B excluded. Default: all.
    #[arg(long)]
    rows: Option<String>,
    /// ptc: start at the linear regression of codes on data that the model file holds; the horizon stays tied to z0.
    #[arg(long)]
    warm_start: bool,
    /// Write D(z) too: values as the decoder was fitted to, the input times its scale.
    #[arg(long)]
    reconstruction: bool,
    /// Write time, loss and gradient norm of every accepted step too.
    #[arg(long)]
    trace: bool,
    /// Write latents, loss and gradient norm at these times up to each row's end, as in --trace-at 0,10,100; not ptc, whose
    /// steps lead to the end alone.
    #[arg(long, value_name = "T,T,...", value_delimiter = ',', conflicts_with = "trace")]
    trace_at: Vec<f64>,
    /// Pass a dataset with one value per sample through, such as labels; may be repeated.
    #[arg(long, value_name = "NAME")]
    keep: Vec<String>,
    /// Fraction of failed rows above which the exit code is 1. Default: 0.05.
    #[arg(long)]
    fail_above: Option<f64>,
    /// Print the summary as one JSON object on stdout.
    #[arg(long)]
    json: bool,
    /// Overwrite the output file.
    #[arg(long)]
    force: bool,
}

impl Arguments {
    fn settings(&self) -> Result<Settings, CliError> {
        let mut settings = Settings::default();
        if let Some(path) = &self.config {
            settings.read(path)?;
        }
        for text in &self.set {
            settings.set(text, &["method", "encode"])?;
        }
        self.method.put(&mut settings);
        settings.flag("encode.input", self.input.clone());
        settings.flag("encode.model", self.model.clone());
        settings.flag("encode.output", self.output.clone());
        settings.flag("encode.rows", self.rows.clone());
        settings.flag("encode.warm_start", self.warm_start.then_some(true));
        settings.flag("encode.reconstruction", self.reconstruction.then_some(true));
        settings.flag("encode.trace", self.trace.then_some(true));
        settings.flag(
            "encode.trace_at",
            (!self.trace_at.is_empty()).then(|| self.trace_at.clone()),
        );
        settings.flag("encode.keep", (!self.keep.is_empty()).then(|| self.keep.clone()));
        settings.flag("encode.fail_above", self.fail_above);
        Ok(settings)
    }
}

/// What an encoding needs, opened and checked.
struct Job {
    model: Model,
    method: Method,
    input: H5Input,
    rows: std::ops::Range<usize>,
    z0: Z0,
    warm_start: Option<WarmStart>,
    output: PathBuf,
    reconstruction: bool,
    trace: bool,
    trace_at: Vec<f64>,
    keep: Vec<Coordinate>,
    fail_above: f64,
}

impl Job {
    fn new(arguments: &Arguments) -> Result<Job, CliError> {
        let mut settings = arguments.settings()?;
        let input: String = settings.need(
            "encode.input",
            "name an HDF5 file, as in gfe encode data.h5:/images ...",
        )?;
        let model: PathBuf = settings.need("encode.model", "name a model file with -m")?;
        let output: PathBuf = settings.need("encode.output", "name the output file with -o")?;
        let path = model;
        let model = Model::read(&path)?;
        if let Some(training) = &model.training {
            settings.defaults(training)?;
        }
        settings.check()?;
        let method = Method::new(&settings, &*model.open(), model.config().output.loss())?;
        let warm_start = match settings.get("encode.warm_start")? {
            Some(true) => Some(model.warm_start(&path)?),
            _ => None,
        };
        let input = H5Input::open(&InputPath::parse(&input), scale(&settings)?)?;
        let (samples, values, shape) = (input.shape().samples, input.shape().values(), model.shape());
        if values != shape.data {
            return Err(CliError::Width {
                input: input.path().to_string(),
                found: values,
                expected: shape.data,
            });
        }
        let trace = settings.get("encode.trace")?.unwrap_or(false);
        let trace_at = trace_at(&settings, &method)?;
        if trace && !trace_at.is_empty() {
            let text = "`trace` and `trace_at` are both set: either every step is written, or the states at some times; leave one out";
            return Err(CliError::Usage(text.into()));
        }
        let fraction: (fn(f64) -> bool, &str) = (|number| (0.0..=1.0).contains(&number), "between 0 and 1");
        let keep: Vec<String> = settings.get("encode.keep")?.unwrap_or_default();
        let job = Job {
            rows: rows::of(&settings, "encode.rows", samples)?,
            z0: method.z0(samples, shape.latent)?,
            warm_start,
            reconstruction: settings.get("encode.reconstruction")?.unwrap_or(false),
            trace,
            trace_at,
            keep: keep
                .iter()
                .map(|name| input.coordinate(name))
                .collect::<Result<_, _>>()?,
            fail_above: settings.number("encode.fail_above", 0.05, fraction)?,
            model,
            method,
            input,
            output,
        };
        output::check(&job.output, arguments.force, &[&job.input.path().file, &path])?;
        Ok(job)
    }

    fn layout(&self) -> EncodedLayout {
        EncodedLayout {
            samples: self.rows.len(),
            latent: self.model.shape().latent,
            axes: self.input.axes(),
            reconstruction: self.reconstruction,
            z0: self.z0.constant(),
            trace: self.trace || !self.trace_at.is_empty(),
            trace_z: !self.trace_at.is_empty(),
            keep: self.keep.clone(),
            statuses: Status::ALL
                .iter()
                .map(|status| (*status as i8, status.name().to_owned()))
                .collect(),
            attributes: vec![(
                "title".into(),
                format!("Gradient-flow encoding of {}", self.input.path()),
            )],
        }
    }

    /// How the output came about; `rows_sha256` is of the data as they were read.
    fn notes(&self, rows_sha256: &str, summary: &Summary) -> Vec<(String, String)> {
        let (input, shape) = (self.input.path(), self.input.shape());
        let mut config = self.method.json();
        config["scale"] = json!(self.input.scale());
        if self.warm_start.is_some() {
            config["warm_start"] = json!(true);
        }
        let from = json!({"path": input.file, "dataset": input.dataset, "samples": shape.samples,
            "shape": shape.dims.iter().map(|dim| dim.len).collect::<Vec<_>>(),
            "dims": shape.dims.iter().map(|dim| &dim.name).collect::<Vec<_>>(),
            "dtype": self.input.dtype(), "scale": self.input.scale(),
            "rows": [self.rows.start, self.rows.end], "rows_sha256": rows_sha256});
        let decoder = json!({"config": self.model.config(), "params_sha256": params_sha256(&self.model.params)});
        let environment = json!({"gfe": env!("CARGO_PKG_VERSION"), "hdf5": gfe_io::hdf5_version(),
            "threads": self.method.threads(), "lanes": self.method.lanes()});
        let note = |name: &str, value: Value| (name.to_owned(), value.to_string());
        vec![
            note("config", config),
            note("input", from),
            note("decoder", decoder),
            note("environment", environment),
            note("shared_work", summary.shared_json()),
            note("messages", summary.messages_json()),
        ]
    }
}

/// Times at which states are asked for: ascending, within the horizon.
fn trace_at(settings: &Settings, method: &Method) -> Result<Vec<f64>, CliError> {
    let times: Vec<f64> = settings.get("encode.trace_at")?.unwrap_or_default();
    if !times.is_empty() && method.anchors() {
        let text = "`trace_at` asks for times on the way, and ptc has none: its steps lead to the end alone; take another solver";
        return Err(CliError::Usage(text.into()));
    }
    let ascending = times.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || times.iter().any(|t| !(0.0..=method.t_end()).contains(t)) {
        let text = format!(
            "`trace_at` is {times:?}: times must ascend and lie between 0 and t_end, {}",
            method.t_end()
        );
        return Err(CliError::Usage(text));
    }
    Ok(times)
}

/// The factor of every input value, where one was named.
pub fn scale(settings: &Settings) -> Result<Option<f64>, CliError> {
    let good: (fn(f64) -> bool, &str) = (|number| number.is_finite() && number != 0.0, "finite and not 0");
    let scale = settings.number("method.scale", f64::NAN, good)?;
    Ok(scale.is_finite().then_some(scale))
}

/// Runs the command; the exit code is 1 where too many rows failed.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let mut job = Job::new(arguments)?;
    let start = Instant::now();
    let mut writer = EncodedWriter::create(&job.output, &job.layout())?;
    let (summary, rows_sha256) = job.encode(&mut writer)?;
    writer.finish(&job.notes(&rows_sha256, &summary))?;
    let elapsed = start.elapsed();
    if arguments.json {
        let mut told = summary.json(elapsed);
        told["output"] = json!(job.output);
        output::say(&told.to_string())?;
    } else {
        summary.print(elapsed);
    }
    Ok(ExitCode::from(u8::from(summary.failed_above(job.fail_above))))
}

impl Job {
    /// Encodes every row; gives the summary and the hash of the data read.
    fn encode(&mut self, writer: &mut EncodedWriter) -> Result<(Summary, String), CliError> {
        let (model, method, rows) = (&self.model, &self.method, self.rows.clone());
        let open = || model.open();
        let shape = model.shape();
        let common = self.z0.constant().map(|value| vec![value; shape.latent]);
        let mut encoding = method.encoding(&open);
        encoding.reconstruction = self.reconstruction;
        encoding.common_z0 = if self.warm_start.is_some() {
            None
        } else {
            common.as_deref()
        };
        encoding.trace = match (self.trace, &self.trace_at[..]) {
            (true, _) => Trace::Steps,
            (false, []) => Trace::None,
            (false, times) => Trace::At(times),
        };
        // With more lanes the first worker would take the few rows there are, and the others none.
        encoding.lanes = method.lanes().min(rows.len().div_ceil(method.threads())).max(1);
        let size = (BLOCK_BYTES / (8 * shape.data)).clamp(method.lanes(), 4096.max(method.lanes()));
        let mut blocks = rows.clone().step_by(size);
        let (input, z0, mut hash) = (&mut self.input, &mut self.z0, RowsHash::default());
        let warm_start = self.warm_start.as_ref();
        let next = || -> Result<Option<Block>, CliError> {
            let Some(first) = blocks.next() else { return Ok(None) };
            let ids: Vec<usize> = (first..rows.end.min(first + size)).collect();
            let mut y = Mat::zeros(shape.data, ids.len());
            input.read(&ids, TargetsMut { y: y.as_mut(), w: None })?;
            hash.push(y.as_ref());
            let z0 = z0.read(&ids, shape.latent)?;
            let start = warm_start.map(|warm| warm.starts(y.as_ref()));
            Ok(Some(Block { y, w: None, z0, start }))
        };
        let (mut summary, mut row) = (Summary::new(method.anchors()), rows.start);
        let bar = progress::bar(rows.len() as u64, "samples");
        let shared = encode_blocks(&encoding, &model.params, next, |block, encoded| {
            summary.add(&encoded, row);
            let records = encoded.records.iter().zip(row..);
            let records: Vec<EncodedRow> = records.map(|(record, row)| row_of(record, row)).collect();
            let traces: Vec<Vec<TracePoint>> = encoded.records.iter().map(trace_of).collect();
            writer.write(&EncodedRows {
                rows: &records,
                z: encoded.z.as_ref(),
                z0: Some(block.z0.as_ref()),
                reconstruction: encoded.reconstruction.as_ref().map(Mat::as_ref),
                traces: Some(&traces),
                input: row..row + records.len(),
            })?;
            row += records.len();
            bar.inc(records.len() as u64);
            Ok::<(), CliError>(())
        })?;
        summary.share(shared);
        bar.finish_and_clear();
        Ok((summary, hash.finish()))
    }
}

fn trace_of(record: &Record) -> Vec<TracePoint> {
    let steps = record.trace.iter();
    steps
        .map(|point| TracePoint {
            t: point.step.t,
            loss: point.step.loss,
            grad_norm: point.step.grad_norm,
            z: point.z.clone(),
        })
        .collect()
}

fn row_of(record: &Record, row: usize) -> EncodedRow {
    EncodedRow {
        sample: row as i64,
        status: record.status as i8,
        loss: record.loss,
        loss_initial: record.loss_initial,
        grad_norm: record.grad_norm,
        edm: record.edm,
        chi2: record.chi2,
        n_valid: record.n_valid,
        t: record.t,
        steps: record.work.steps,
        rejected: record.work.rejected,
        forced: record.work.forced,
        evaluations: record.work.evaluations,
        vjps: record.work.vjps,
        jvps: record.work.jvps,
        hvps: record.work.hvps,
        jacobians: record.work.jacobians,
        factorizations: record.work.factorizations,
    }
}
