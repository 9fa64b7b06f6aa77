//! `gfe train`: a decoder from data, by a run file.

mod checkpoint;
mod decoder;
mod files;
mod finish;
mod history;
mod plan;
mod watch;

use crate::encode::scale;
use crate::encoder_network::mirrored;
use crate::error::CliError;
use crate::flags::MethodFlags;
use crate::input::Input;
use crate::known::{Asked, Known};
use crate::logs::say;
use crate::method::Method;
use crate::model::{Architecture, PluginChoice};
use crate::samples::{Set, Source, held_out};
use crate::settings::Settings;
use clap::Args;
use faer::{Mat, MatRef};
use files::Files;
use finish::Done;
use gfe_encode::train::{Event, Learning, Linear, Trainer, Training, Validation};
use gfe_encode::{Encoding, HeldOut};
use gfe_io::ModelFile;
use gfe_model::dense::Dense;
use gfe_model::{Decoder, LossKind, Targets};
use history::Rows;
use plan::{Kind, Plan};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;
use watch::Watch;

/// The run file has the sections `decoder`, `data`, `method` and `train`; flags and --set win over it.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Arguments {
    /// Run file (TOML).
    config: PathBuf,
    /// Model file to write (safetensors).
    #[arg(short, long)]
    output: PathBuf,
    /// History file to write (HDF5). Default: the model file's name with the ending .history.h5.
    #[arg(long)]
    history: Option<PathBuf>,
    /// Go on from the checkpoint of an interrupted training, if there is one.
    #[arg(long)]
    resume: bool,
    /// A setting by its key in the run file; may be repeated. VALUE is TOML or a bare text.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    method: MethodFlags,
    /// Print the outcome as one JSON object on stdout.
    #[arg(long)]
    json: bool,
    /// Overwrite what stands there, and begin anew.
    #[arg(long, conflicts_with = "resume")]
    force: bool,
}

/// What a training needs, opened and checked before anything is computed.
struct Job {
    settings: Settings,
    plan: Plan,
    architecture: Architecture,
    encoder: Option<Dense>,
    method: Method,
    source: Source,
    held_out: Option<HeldOut>,
    files: Files,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let mut job = Job::new(arguments)?;
    let (rows, held) = job.source.split(&job.settings, job.plan.seed)?;
    let training = job.source.read(rows)?;
    let validation = if held.is_empty() {
        None
    } else {
        Some(job.source.read(held)?)
    };
    if validation.is_none() && job.plan.patience.is_some() {
        let text =
            "`patience` looks at validation losses, and no samples are held out for validation: set `validation`";
        return Err(CliError::Usage(text.into()));
    }
    let sets = Sets { training, validation };
    for set in [Some(&sets.training), sets.validation.as_ref()].into_iter().flatten() {
        let bad = set.bad(job.method.loss().loss());
        if let Some(first) = bad.first() {
            let (count, row) = (bad.len(), set.rows[*first]);
            say!(
                "{count} of {} rows are bad_input (not finite, or outside the loss's range), the first is row {row}: they are left out",
                set.len()
            );
        }
    }
    let identity = job.identity(&sets);
    if arguments.resume && job.files.model.exists() && !job.files.checkpoint.exists() {
        return job.already_done(&identity);
    }
    let done = match job.plan.kind {
        Kind::Pca => job.principal_components(&sets)?,
        _ => match job.train(&sets, &identity, arguments.resume)? {
            Outcome::Done(done) => *done,
            Outcome::Stopped(code) => return Ok(code),
        },
    };
    job.finish(&sets, &identity, done, arguments.json)
}

/// Checks settings that are right one by one together, without a file; `able` stands for the decoder of a plugin, which is not
/// loaded.
pub fn check(settings: &Settings, able: &Dense) -> Result<(), CliError> {
    let plan = Plan::new(settings)?;
    if PluginChoice::new(settings)?.is_made() {
        return Method::of_training(settings, able, able.output().loss()).map(|_| ());
    }
    let architecture = decoder::architecture(settings, plan.kind)?;
    let decoder = architecture.decoder();
    Method::of_training(settings, decoder, decoder.output().loss()).map(|_| ())
}

/// Training and validation samples.
struct Sets {
    training: Set,
    validation: Option<Set>,
}

enum Outcome {
    Done(Box<Done>),
    /// With this exit code.
    Stopped(ExitCode),
}

impl Job {
    fn new(arguments: &Arguments) -> Result<Job, CliError> {
        let mut settings = Settings::default();
        settings.read(&arguments.config)?;
        for text in &arguments.set {
            settings.set(text, &["decoder", "data", "method", "train"])?;
        }
        arguments.method.put(&mut settings);
        settings.check()?;
        let plan = Plan::new(&settings)?;
        if plan.kind == Kind::Pca {
            refuse_for_pca(&settings)?;
            // Principal components are the least squares: the horizon would pull their codes to 0.
            settings.flag("method.t_end", Some(f64::INFINITY));
        }
        let architecture = decoder::architecture(&settings, plan.kind)?;
        let encoder = match plan.kind {
            Kind::Autoencoder => Some(mirrored(&architecture, plan.encoder_layers.clone())?),
            _ => None,
        };
        let decoder = architecture.decoder();
        // Wrong settings are told before files are looked for.
        Method::of_training(&settings, decoder, decoder.output().loss())?;
        let asked = Asked::of_data(&settings)?;
        let path: String = settings.need(
            "data.input",
            "name the training data, as in input = \"data.h5:/images\"",
        )?;
        let input = Input::open(&path, scale(&settings)?)?.heeding_missing(asked.nan_missing)?;
        let (samples, values, shape) = (input.shape().samples, input.shape().values(), decoder.shape());
        if values != shape.data {
            let text = format!(
                "{} has {values} values per sample, but the last of `layers` is {}",
                input.name(),
                shape.data
            );
            return Err(CliError::Config(format!("{text}: they must be the same")));
        }
        let mut room: Vec<f64> = Vec::new();
        room.try_reserve_exact(shape.params).map_err(|_| CliError::Memory {
            what: "the decoder of these `layers`",
            bytes: shape.params.saturating_mul(size_of::<f64>()),
        })?;
        let known = Known::open(&input, &asked, shape.context)?;
        let default = known.loss(decoder.output().loss());
        let method = Method::of_training(&settings, decoder, default)?.with_one_worker(architecture.one_worker());
        let known = known.under(method.loss())?;
        if plan.kind == Kind::LogisticPca && method.loss() != LossKind::Bce {
            let text = format!(
                "`loss` is {}, and method logistic-pca is for bce: take pca",
                method.loss().loss().name()
            );
            return Err(CliError::Config(text));
        }
        let source = Source {
            z0: method.z0(samples, shape.latent, None)?,
            latent: shape.latent,
            input,
            known,
        };
        let files = Files::new(arguments, &source)?;
        Ok(Job {
            held_out: held_out(&settings)?,
            settings,
            plan,
            encoder,
            method,
            source,
            files,
            architecture,
        })
    }

    /// What a checkpoint is of: everything but what may change between an interruption and its continuation.
    fn identity(&self, sets: &Sets) -> Value {
        const MAY_CHANGE: [&str; 9] = [
            "epochs",
            "samples",
            "learning_rate",
            "clip_norm",
            "patience",
            "checkpoint_minutes",
            "regression_samples",
            "validate_every",
            "validate_samples",
        ];
        let settings = self.settings.section("train");
        let settings: Map<String, Value> = settings
            .into_iter()
            .filter(|(key, _)| !MAY_CHANGE.contains(&key.as_str()))
            .map(|(key, value)| (key, json!(value)))
            .collect();
        let set = |set: &Set| json!({"samples": set.len(), "sha256": set.sha256()});
        json!({"decoder": self.architecture.json(), "method": self.method.json(), "train": settings,
            "training": set(&sets.training), "validation": sets.validation.as_ref().map(set)})
    }

    /// A model stands there, and no checkpoint: the training is done, if it is this very one.
    fn already_done(&self, identity: &Value) -> Result<ExitCode, CliError> {
        let file = ModelFile::read(&self.files.model)?;
        let record = file.training.unwrap_or_default();
        let mut told = checkpoint::differences(&record["identity"], identity);
        let settings = json!(self.settings.section("train"));
        told.extend(checkpoint::differences(&record["train"]["settings"], &settings));
        if told.is_empty() {
            say!("{} is trained already", self.files.model.display());
            return Ok(ExitCode::SUCCESS);
        }
        told.sort_unstable();
        told.dedup();
        let text = format!(
            "{} is there, of a training that is finished and was another",
            self.files.model.display()
        );
        Err(CliError::Folder(format!(
            "{text}: {}; --force trains anew",
            told.join("; ")
        )))
    }

    /// The method `pca`: no mini-batches, no checkpoints.
    fn principal_components(&self, sets: &Sets) -> Result<Done, CliError> {
        let start = Instant::now();
        let data = sets.training.samples().data;
        let bad = sets.training.bad(self.method.loss().loss());
        let good: Vec<usize> = (0..sets.training.len()).filter(|b| !bad.contains(b)).collect();
        let columns = |of: MatRef<'_, f64>| Mat::from_fn(of.nrows(), good.len(), |r, b| of[(r, good[b])]);
        let (y, w) = (columns(data.y), data.w.map(columns));
        let data = Targets {
            y: y.as_ref(),
            w: w.as_ref().map(Mat::as_ref),
        };
        let linear = Linear::fit(data, self.source.latent).ok_or_else(|| {
            CliError::BadData("no principal components can be found: no row is left that the loss admits".into())
        })?;
        Ok(Done {
            params: linear.params(),
            others: Vec::new(),
            rows: Rows::default(),
            best: None,
            seconds: start.elapsed().as_secs_f64(),
            seen: sets.training.len() as u64,
        })
    }

    /// Mini-batches until the end, with a checkpoint now and then.
    fn train(&self, sets: &Sets, identity: &Value, resume: bool) -> Result<Outcome, CliError> {
        let open = self.architecture.opener();
        let common = self.source.z0.common(self.source.latent);
        let mut encoding = self.method.encoding(&open);
        encoding.common_z0 = common.as_deref();
        let how = self.training(encoding);
        let held = sets.validation.as_ref().map(|set| Validation {
            samples: set.samples(),
            rows: &set.rows,
        });
        let mut trainer = Trainer::new(&how, sets.training.samples(), held)?;
        let mut watch = Watch::new(&self.files, identity, trainer.length())?;
        if resume && self.files.checkpoint.exists() {
            watch.resume(&mut trainer)?;
        } else {
            // What stands there from before is of another training: from here on there is a checkpoint of this one.
            watch.checkpoint(&trainer)?;
        }
        loop {
            match trainer.advance(&|| watch.asked_to_stop()) {
                Ok(Event::Batch) => watch.batch(&trainer, self.plan.checkpoint_minutes)?,
                Ok(Event::Record(record)) => watch.record(&record),
                Ok(Event::Stopped) => return watch.stop(&trainer).map(Outcome::Stopped),
                Ok(Event::Finished) => break,
                Err(error) => return Err(watch.fail(&trainer, &sets.training.rows, error)),
            }
        }
        watch.checkpoint(&trainer)?;
        Ok(Outcome::Done(Box::new(Done {
            params: trainer.params().to_vec(),
            others: trainer.others().to_vec(),
            seconds: watch.seconds(),
            seen: trainer.state().position.seen,
            best: trainer.state().best.as_ref().map(|best| (best.loss, best.seen)),
            rows: watch.into_rows(),
        })))
    }

    fn training<'a>(&'a self, encoding: Encoding<'a>) -> Training<'a> {
        let plan = &self.plan;
        let learning = match (plan.kind, &self.encoder) {
            (Kind::Autoencoder, Some(encoder)) => Learning::Autoencoder {
                encoder,
                judged_by_encoder: plan.judged_by_encoder,
            },
            (Kind::AutoDecoder, _) => Learning::AutoDecoder {
                optimizer: plan.code_optimizer,
            },
            _ => Learning::Flow(plan.flow),
        };
        Training {
            encoding,
            decoder: self.architecture.decoder(),
            learning,
            visit_steps: plan.visit_steps,
            optimizer: plan.optimizer,
            learning_rate: plan.learning_rate,
            clip_norm: plan.clip_norm,
            batch_size: plan.batch_size,
            length: plan.length,
            seed: plan.seed,
            validate_every: plan.validate_every,
            patience: plan.patience,
            held_out: self.held_out,
        }
    }
}

/// Settings that principal components have no use for are not taken in silence.
fn refuse_for_pca(settings: &Settings) -> Result<(), CliError> {
    for (section, used) in [
        ("method", &["scale", "lanes", "threads"][..]),
        ("train", &["method", "seed", "regression_samples"]),
    ] {
        let keys = settings.section(section);
        if let Some(key) = keys.keys().find(|key| !used.contains(&key.as_str())) {
            let text = format!("`{section}.{key}` does not apply to method pca, whose [{section}] has");
            return Err(CliError::Config(format!("{text} {}: leave it out", used.join(", "))));
        }
    }
    Ok(())
}
