//! `gfe encode`: reads in blocks, encodes, writes one output file.

use crate::error::CliError;
use crate::flags::MethodFlags;
use crate::input::Input;
use crate::known::Known;
use crate::method::{Method, hessian_name};
use crate::model::{Model, PluginChoice};
use crate::settings::Settings;
use crate::summary::Summary;
use crate::z0::Z0;
use crate::{output, progress, rows};
use clap::Args;
use faer::Mat;
use gfe_encode::{Begin, Block, Encoded, Record, Trace, WarmStart, encode_blocks};
use gfe_io::{
    Coordinate, EncodedLayout, EncodedRow, EncodedRows, EncodedWriter, ErrorBars, NamedLatent, RowsHash, TracePoint,
    params_sha256,
};
use gfe_model::{Decoder, Latent, LossKind};
use gfe_ode::{Curvature, Status};
use gfe_plugin::unlink_on_crash;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Bytes of data in a block.
const BLOCK_BYTES: usize = 1 << 20;

/// A setting is taken from its flag, else --set, else the run file, else what the model file records of its training,
/// else the default.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Arguments {
    /// Input: FILE.h5, FILE.h5:/DATASET or plugin:NAME?key=value&key=value; the first axis counts samples.
    input: Option<String>,
    /// Weights: a safetensors file with the decoder's architecture in the metadata.
    #[arg(short, long)]
    model: Option<String>,
    /// Decoder plugin: a library by its path, or by a name in the folders of GFE_PLUGIN_PATH. Default: what the model file
    /// says.
    #[arg(long)]
    decoder: Option<String>,
    /// The decoder plugin's configuration: JSON, or the path of a JSON file.
    #[arg(long, value_name = "JSON")]
    decoder_config: Option<String>,
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
    /// What is known of each sample and enters the decoder: a dataset beside the input, or FILE.h5:/DATASET; may be repeated.
    #[arg(long, value_name = "DATASET")]
    context: Vec<String>,
    /// Standard errors of the values: a dataset beside the input with one per sample or per value, FILE.h5:/DATASET, or a
    /// number. With them the loss of values is gaussian by default.
    #[arg(long, value_name = "DATASET")]
    sigma: Option<String>,
    /// Starts of each sample, of which the lowest end is taken: the decoder's guesses, or z0 and points scattered about it.
    /// Default: 1.
    #[arg(long, value_name = "K")]
    starts: Option<u32>,
    /// Write error bars too: the Laplace approximation; gaussian and poisson losses.
    #[arg(long)]
    uncertainty: bool,
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
        settings.flag("decoder.plugin", self.decoder.clone());
        settings.flag("decoder.config", self.decoder_config.clone());
        settings.flag(
            "encode.context",
            (!self.context.is_empty()).then(|| self.context.clone()),
        );
        settings.flag("encode.sigma", self.sigma.clone());
        settings.flag("encode.starts", self.starts);
        settings.flag("encode.uncertainty", self.uncertainty.then_some(true));
        settings.flag("encode.fail_above", self.fail_above);
        Ok(settings)
    }
}

/// What an encoding needs, opened and checked.
struct Job {
    model: Model,
    method: Method,
    input: Input,
    known: Known,
    begin: Begin,
    starts: usize,
    uncertainty: Option<Curvature>,
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
        let path: Option<PathBuf> = settings.get("encode.model")?;
        let output: PathBuf = settings.need("encode.output", "name the output file with -o")?;
        let model = Model::read(path.as_deref(), &PluginChoice::new(&settings)?)?;
        if let Some(training) = &model.training {
            settings.defaults(training)?;
        }
        settings.check()?;
        let warm_start = match settings.get("encode.warm_start")? {
            Some(true) => Some(model.warm_start(path.as_deref())?),
            _ => None,
        };
        let input = Input::open(&input, scale(&settings)?)?;
        let (samples, values, shape) = (input.shape().samples, input.shape().values(), model.shape());
        if values != shape.data {
            return Err(CliError::Width {
                input: input.name(),
                found: values,
                expected: shape.data,
            });
        }
        let context: Vec<String> = settings.get("encode.context")?.unwrap_or_default();
        let sigma: Option<String> = text_of(&settings, "encode.sigma")?;
        let known = Known::open(&input, &context, sigma.as_deref(), shape.context)?;
        let default = match model.output().loss() {
            LossKind::Mse if known.has_sigma() => LossKind::Gaussian,
            other => other,
        };
        let decoder = model.architecture.decoder();
        let method = Method::new(&settings, decoder, default)?.with_one_worker(model.architecture.one_worker());
        let starts = settings.count("encode.starts", 1, (1, 1000))? as usize;
        let guesses = decoder.guess().is_some() && (starts > 1 || method.starts_at_zeros_by_default());
        let uncertainty = uncertainty(&settings, decoder, method.loss())?;
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
            known,
            begin: if guesses { Begin::Guess } else { Begin::Z0 },
            starts,
            uncertainty,
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
        let inputs: Vec<&Path> = job.input.file().into_iter().chain(path.as_deref()).collect();
        output::check(&job.output, arguments.force, &inputs)?;
        Ok(job)
    }

    fn layout(&self) -> EncodedLayout {
        EncodedLayout {
            samples: self.rows.len(),
            latent: self.model.shape().latent,
            axes: self.input.axes(),
            reconstruction: self.reconstruction,
            z0: self.z0.constant(),
            latents: self
                .model
                .architecture
                .decoder()
                .latents()
                .iter()
                .map(|latent| NamedLatent {
                    name: latent.name.clone(),
                    unit: latent.unit.clone(),
                })
                .collect(),
            uncertainty: self.uncertainty.is_some(),
            starts: self.starts > 1,
            trace: self.trace || !self.trace_at.is_empty(),
            trace_z: !self.trace_at.is_empty(),
            keep: self.keep.clone(),
            statuses: Status::ALL
                .iter()
                .map(|status| (*status as i8, status.name().to_owned()))
                .collect(),
            attributes: vec![(
                "title".into(),
                format!("Gradient-flow encoding of {}", self.input.name()),
            )],
        }
    }

    /// How the output came about; `rows_sha256` is of the data as they were read.
    fn notes(&self, rows_sha256: &str, summary: &Summary) -> Vec<(String, String)> {
        let mut config = self.method.json();
        config["scale"] = json!(self.input.scale());
        if self.warm_start.is_some() {
            config["warm_start"] = json!(true);
        }
        if self.begin == Begin::Guess {
            config["begin"] = json!("guess");
        }
        if self.starts > 1 {
            config["starts"] = json!(self.starts);
        }
        if let Some(curvature) = self.uncertainty {
            config["uncertainty"] = json!(hessian_name(curvature));
        }
        let mut from = self.input.json();
        from["rows"] = json!([self.rows.start, self.rows.end]);
        from["rows_sha256"] = json!(rows_sha256);
        let architecture = &self.model.architecture;
        let mut decoder = architecture.notes();
        decoder["params_sha256"] = json!(params_sha256(&self.model.params));
        let latents: Vec<Value> = architecture
            .decoder()
            .latents()
            .iter()
            .map(|latent| {
                let bound = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
                json!({"name": latent.name, "unit": latent.unit, "lower": bound(latent.lower), "upper": bound(latent.upper),
                    "transform": latent.transform.name(), "scale": latent.scale, "default": latent.default})
            })
            .collect();
        if !latents.is_empty() {
            decoder["latents"] = json!(latents);
        }
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
    unlink_on_crash(Some(writer.temporary()));
    let (summary, rows_sha256) = job.encode(&mut writer)?;
    writer.finish(&job.notes(&rows_sha256, &summary))?;
    unlink_on_crash(None);
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
        let decoder = model.architecture.decoder();
        let open = model.architecture.opener();
        let shape = model.shape();
        let common = self.z0.constant().map(|value| vec![value; shape.latent]);
        let mut encoding = method.encoding(&open);
        encoding.reconstruction = self.reconstruction;
        (encoding.starts, encoding.begin, encoding.uncertainty) = (self.starts, self.begin, self.uncertainty);
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
        let (input, known, z0) = (&mut self.input, &mut self.known, &mut self.z0);
        let mut hash = RowsHash::default();
        let warm_start = self.warm_start.as_ref();
        let next = || -> Result<Option<Block>, CliError> {
            let Some(first) = blocks.next() else { return Ok(None) };
            let ids: Vec<usize> = (first..rows.end.min(first + size)).collect();
            let mut y = Mat::zeros(shape.data, ids.len());
            let mut own = known.weighted().then(|| Mat::zeros(shape.data, ids.len()));
            input.read(&ids, y.as_mut(), own.as_mut().map(|w| w.as_mut()))?;
            hash.push(y.as_ref());
            let w = own.or(known.weights(&ids, input.scale())?);
            let context = known.context(&ids)?;
            let z0 = z0.read(&ids, shape.latent)?;
            let start = warm_start.map(|warm| warm.starts(y.as_ref()));
            Ok(Some(Block {
                row: first,
                y,
                w,
                context,
                z0,
                start,
            }))
        };
        let (mut summary, mut row) = (Summary::new(method.anchors()), rows.start);
        let bar = progress::bar(rows.len() as u64, "samples");
        let shared = encode_blocks(&encoding, &model.params, next, |block, encoded| {
            summary.add(&encoded, row);
            let records = encoded.records.iter().zip(row..);
            let records: Vec<EncodedRow> = records.map(|(record, row)| row_of(record, row)).collect();
            let physical = Physical::of(decoder.latents(), &encoded);
            let traces: Vec<Vec<TracePoint>> = encoded.records.iter().map(trace_of).collect();
            writer.write(&EncodedRows {
                rows: &records,
                z: encoded.z.as_ref(),
                z0: Some(block.z0.as_ref()),
                reconstruction: encoded.reconstruction.as_ref().map(Mat::as_ref),
                z_physical: physical.as_ref().map(|physical| physical.z.as_ref()),
                uncertainty: encoded.uncertainty.as_ref().map(|bars| ErrorBars {
                    z_std: bars.z_std.as_ref(),
                    z_cov: bars.z_cov.as_ref(),
                    z_physical_std: physical.as_ref().map(|physical| physical.std.as_ref()),
                    h_min: &bars.h_min,
                    h_max: &bars.h_max,
                    dof: &bars.dof,
                }),
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

/// Codes in physical units, and their standard errors: those of z times |dp/du|.
struct Physical {
    z: Mat<f64>,
    std: Mat<f64>,
}

impl Physical {
    fn of(latents: &[Latent], encoded: &Encoded) -> Option<Physical> {
        if latents.is_empty() {
            return None;
        }
        let (d, n) = (encoded.z.nrows(), encoded.z.ncols());
        let at = |r: usize, b: usize| latents[r].physical(encoded.z[(r, b)]);
        let bars = encoded.uncertainty.as_ref();
        Some(Physical {
            z: Mat::from_fn(d, n, |r, b| at(r, b)[0]),
            std: Mat::from_fn(d, n, |r, b| {
                bars.map_or(f64::NAN, |bars| bars.z_std[(r, b)] * at(r, b)[1].abs())
            }),
        })
    }
}

/// With which Hessian error bars are made, if they are asked for: exact where the decoder has second-order products.
fn uncertainty(settings: &Settings, decoder: &dyn Decoder, loss: LossKind) -> Result<Option<Curvature>, CliError> {
    if settings.get("encode.uncertainty")? != Some(true) {
        return Ok(None);
    }
    if !matches!(loss, LossKind::Gaussian | LossKind::Poisson) {
        let text = format!(
            "`uncertainty` needs a likelihood, and the loss is {}",
            loss.loss().name()
        );
        return Err(CliError::Usage(format!(
            "{text}: give the errors of the values by --sigma, or take loss poisson"
        )));
    }
    if decoder.tangent().is_none() {
        let text = "`uncertainty` needs Jacobian-vector products, and this decoder has none: leave it out";
        return Err(CliError::Usage(text.into()));
    }
    Ok(Some(match decoder.second_order() {
        Some(_) => Curvature::Exact,
        None => Curvature::GaussNewton,
    }))
}

/// A text, or a number as one.
pub fn text_of(settings: &Settings, name: &'static str) -> Result<Option<String>, CliError> {
    let value: Option<toml::Value> = settings.get(name)?;
    Ok(value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
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
        start: record.start,
        minima: record.minima,
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
