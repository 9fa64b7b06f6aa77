//! `gfe encode`: reads in blocks, encodes, writes one output file.

use crate::error::CliError;
use clap::{Args, ValueEnum};
use faer::Mat;
use gfe_encode::{Amd, Encoded, Encoding, Ptc, Record, Solver, encode};
use gfe_io::{EncodedLayout, EncodedRow, EncodedRows, EncodedWriter, H5Input, InputPath, ModelFile};
use gfe_model::dense::{Dense, DenseConfig};
use gfe_model::{DatasetSource, Decoder, LossKind, Targets, TargetsMut};
use gfe_ode::Status;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;

/// Rows read and encoded together.
const BLOCK: usize = 4096;

#[derive(Clone, Copy, ValueEnum)]
enum Method {
    /// Explicit Euler in equal steps.
    Euler,
    /// The classical Runge-Kutta method in equal steps.
    Rk4,
    /// The authors' adaptive minimize-distance solver.
    Amd,
    /// Pseudo-transient continuation to the steady state.
    Ptc,
}

#[derive(Args)]
pub struct Arguments {
    /// Input: FILE.h5 or FILE.h5:/DATASET; the first axis counts samples.
    input: String,
    /// Decoder: a safetensors file with its architecture in the metadata.
    #[arg(short, long)]
    model: PathBuf,
    /// Output file.
    #[arg(short, long)]
    output: PathBuf,
    /// Solver.
    #[arg(long, value_enum, default_value = "ptc")]
    solver: Method,
    /// Loss: mse, bce, gaussian or poisson. Default: what the decoder's output means.
    #[arg(long)]
    loss: Option<String>,
    /// Horizon tau; `inf` for the plain steady state (ptc only).
    #[arg(long, default_value_t = 1e4)]
    t_end: f64,
    /// ptc: bound on the estimated distance to the minimum; 0 leaves gtol alone.
    #[arg(long)]
    edm_tol: Option<f64>,
    /// Bound on the gradient norm.
    #[arg(long, default_value_t = 1e-9)]
    gtol: f64,
    /// Steps attempted per sample at most. Default: 1000 for ptc, 100000 for amd.
    #[arg(long)]
    max_steps: Option<u32>,
    /// euler, rk4: number of equal steps to t_end. Default: 10000.
    #[arg(long)]
    steps: Option<u32>,
    /// Every component of the initial latent.
    #[arg(long, default_value_t = 0.0)]
    z0_fill: f64,
    /// Factor of every input value. Default: 1/255 for unsigned bytes, else 1.
    #[arg(long)]
    scale: Option<f64>,
    /// Samples integrated together per thread.
    #[arg(long, default_value_t = 64)]
    lanes: usize,
    /// Worker threads. Default: one per core.
    #[arg(long)]
    threads: Option<usize>,
    /// Fraction of failed rows above which the exit code is 1.
    #[arg(long, default_value_t = 0.05)]
    fail_above: f64,
    /// Rows A..B of the input, B excluded. Default: all.
    #[arg(long)]
    rows: Option<String>,
    /// Overwrite the output file.
    #[arg(long)]
    force: bool,
}

impl Arguments {
    fn check(&self) -> Result<(), CliError> {
        let usage = |text: String| Err(CliError::Usage(text));
        let implicit = matches!(self.solver, Method::Ptc);
        let fixed = matches!(self.solver, Method::Euler | Method::Rk4);
        if self.t_end.is_nan() || self.t_end <= 0.0 || (!implicit && self.t_end.is_infinite()) {
            return usage(format!(
                "--t-end is {}: it must be positive, and finite but for ptc",
                self.t_end
            ));
        }
        if !implicit && self.edm_tol.is_some() {
            return usage("--edm-tol belongs to --solver ptc: leave it out, or say --gtol".into());
        }
        if self.steps.is_some() && !fixed {
            return usage(
                "--steps belongs to --solver euler and rk4: say --max-steps to bound the steps of others".into(),
            );
        }
        if fixed && (self.max_steps.is_some() || self.steps == Some(0)) {
            return usage("euler and rk4 take --steps, 1 or more, and no --max-steps".into());
        }
        let tolerances = [self.gtol, self.edm_tol.unwrap_or(0.0)];
        if tolerances.iter().any(|tol| tol.is_nan() || *tol < 0.0) || self.lanes == 0 || self.threads == Some(0) {
            return usage("tolerances must not be negative, --lanes and --threads must be 1 or more".into());
        }
        if self.output.exists() && !self.force {
            return Err(CliError::Exists(self.output.display().to_string()));
        }
        Ok(())
    }

    /// The rows asked for, of an input of `samples` rows.
    fn rows(&self, samples: usize) -> Result<Range<usize>, CliError> {
        let Some(text) = &self.rows else { return Ok(0..samples) };
        let parsed = text
            .split_once("..")
            .and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
        match parsed {
            Some(rows) if rows.start <= rows.end && rows.end <= samples => Ok(rows),
            _ => Err(CliError::Usage(format!(
                "--rows is {text}: say A..B with A <= B <= {samples}, the input's rows"
            ))),
        }
    }

    fn loss(&self, config: &DenseConfig) -> Result<LossKind, CliError> {
        let Some(name) = &self.loss else {
            return Ok(config.output.loss());
        };
        let found = LossKind::ALL.into_iter().find(|kind| kind.loss().name() == name);
        found.ok_or_else(|| CliError::Usage(format!("--loss is {name}: it must be mse, bce, gaussian or poisson")))
    }

    fn solver(&self) -> (Solver, u32) {
        let steps = self.steps.unwrap_or(10_000);
        match self.solver {
            // One attempt more than steps: rounding never turns the horizon into max_steps.
            Method::Euler => (Solver::Euler { steps }, steps.saturating_add(1)),
            Method::Rk4 => (Solver::Rk4 { steps }, steps.saturating_add(1)),
            Method::Amd => (Solver::Amd(Amd::default()), self.max_steps.unwrap_or(100_000)),
            Method::Ptc => {
                let default = Ptc::default();
                let ptc = Ptc {
                    edm_tol: self.edm_tol.unwrap_or(default.edm_tol),
                    ..default
                };
                (Solver::Ptc(ptc), self.max_steps.unwrap_or(1000))
            }
        }
    }
}

/// Runs the command; the exit code is 1 where too many rows failed.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    arguments.check()?;
    let model = ModelFile::read(&arguments.model)?;
    let config: DenseConfig =
        serde_json::from_value(model.decoder.clone()).map_err(|error| CliError::Decoder(error.to_string()))?;
    let dense = Dense::new(config.clone()).map_err(|error| CliError::Decoder(error.to_string()))?;
    let params = model.params_for(&dense.tensors())?;
    let mut input = H5Input::open(&InputPath::parse(&arguments.input), arguments.scale)?;
    let (samples, values, shape) = (input.shape().samples, input.shape().values(), dense.shape());
    if values != shape.data {
        let input = input.path().to_string();
        return Err(CliError::Width {
            input,
            found: values,
            expected: shape.data,
        });
    }
    let loss = arguments.loss(&config)?;
    let (solver, max_steps) = arguments.solver();
    let open = || -> Box<dyn Decoder> {
        Box::new(Dense::new(config.clone()).expect("this configuration was valid a moment ago"))
    };
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    let how = Encoding {
        open: &open,
        loss: loss.loss(),
        solver,
        t_end: arguments.t_end,
        gtol: arguments.gtol,
        max_steps,
        lanes: arguments.lanes,
        threads: arguments.threads.unwrap_or(cores),
        trace: false,
        reconstruction: false,
    };
    let asked = arguments.rows(samples)?;
    let layout = EncodedLayout {
        samples: asked.len(),
        latent: shape.latent,
        reconstruction: None,
        statuses: Status::ALL
            .iter()
            .map(|status| (*status as i8, status.name().to_owned()))
            .collect(),
        attributes: vec![("title".into(), format!("Gradient-flow encoding of {}", input.path()))],
        notes: vec![("decoder".into(), model.decoder.to_string())],
    };
    let mut writer = EncodedWriter::create(&arguments.output, &layout)?;
    let mut summary = Summary::default();
    for first in asked.clone().step_by(BLOCK) {
        let rows: Vec<usize> = (first..asked.end.min(first + BLOCK)).collect();
        let mut y = Mat::zeros(values, rows.len());
        input.read(&rows, TargetsMut { y: y.as_mut(), w: None })?;
        let z0 = Mat::full(shape.latent, rows.len(), arguments.z0_fill);
        let encoded = encode(&how, &params, Targets { y: y.as_ref(), w: None }, z0.as_ref())?;
        summary.add(&encoded);
        let records: Vec<EncodedRow> = encoded
            .records
            .iter()
            .zip(&rows)
            .map(|(record, &row)| row_of(record, row))
            .collect();
        writer.write(&EncodedRows {
            rows: &records,
            z: encoded.z.as_ref(),
            reconstruction: None,
        })?;
    }
    writer.finish()?;
    summary.print();
    let failed = summary.rows - summary.succeeded;
    Ok(ExitCode::from(u8::from(
        failed as f64 > arguments.fail_above * summary.rows as f64,
    )))
}

fn row_of(record: &Record, row: usize) -> EncodedRow {
    EncodedRow {
        sample: row as i64,
        status: record.status as i8,
        loss: record.loss,
        loss_initial: record.loss_initial,
        grad_norm: record.grad_norm,
        edm: record.edm,
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

/// What is told at the end.
#[derive(Default)]
struct Summary {
    rows: usize,
    succeeded: usize,
    by_status: [usize; Status::ALL.len()],
    loss: f64,
    worst_loss: f64,
    worst_grad_norm: f64,
    evaluations: u64,
}

impl Summary {
    fn add(&mut self, encoded: &Encoded) {
        for record in &encoded.records {
            self.rows += 1;
            self.by_status[record.status as usize] += 1;
            if record.status.is_success() {
                self.succeeded += 1;
                self.loss += record.loss;
                self.worst_loss = self.worst_loss.max(record.loss);
                self.worst_grad_norm = self.worst_grad_norm.max(record.grad_norm);
            }
            self.evaluations += u64::from(record.work.evaluations);
        }
    }

    fn print(&self) {
        eprintln!("{} samples", self.rows);
        for (status, &count) in Status::ALL.iter().zip(&self.by_status).filter(|(_, count)| **count > 0) {
            eprintln!("  {count} {}: {}", status.name(), status.advice());
        }
        if self.succeeded > 0 {
            let mean = self.loss / self.succeeded as f64;
            eprintln!(
                "loss: mean {mean:.6}, worst {:.6}; worst gradient norm {:.1e}",
                self.worst_loss, self.worst_grad_norm
            );
            eprintln!(
                "evaluations per sample: {:.1}",
                self.evaluations as f64 / self.rows as f64
            );
        }
    }
}
