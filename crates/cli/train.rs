//! `gfe train`: a decoder from data, by a run file.

use crate::encode::{scale, text_of};
use crate::error::CliError;
use crate::flags::MethodFlags;
use crate::input::Input;
use crate::known::Known;
use crate::method::Method;
use crate::model::{Architecture, PluginChoice, tensors};
use crate::settings::Settings;
use crate::{output, progress, rows};
use clap::Args;
use faer::{Mat, MatRef};
use gfe_encode::train::{Event, Optimizer, Tally, Training, split, train};
use gfe_encode::{Encoding, Samples, WarmStart, encode};
use gfe_io::ModelFile;
use gfe_model::{DecodeError, Decoder, LossKind, Targets};
use gfe_ode::FlowError;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// The run file has the sections `decoder`, `data`, `method` and `train`; flags and --set win over it.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Arguments {
    /// Run file (TOML).
    config: PathBuf,
    /// Model file to write (safetensors).
    #[arg(short, long)]
    output: PathBuf,
    /// A setting by its key in the run file; may be repeated. VALUE is TOML or a bare text.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    method: MethodFlags,
    /// Print the outcome as one JSON object on stdout.
    #[arg(long)]
    json: bool,
    /// Overwrite the model file.
    #[arg(long)]
    force: bool,
}

/// Training samples that the regression for warm starts is made of: more change its starts little and cost as much as
/// training on them once.
const WARM_START_SAMPLES: usize = 1000;

/// Data in memory.
struct Set {
    y: Mat<f64>,
    w: Option<Mat<f64>>,
    context: Option<Mat<f64>>,
    z0: Mat<f64>,
}

impl Set {
    fn samples(&self) -> Samples<'_> {
        Samples {
            data: Targets {
                y: self.y.as_ref(),
                w: self.w.as_ref().map(Mat::as_ref),
            },
            context: self.context.as_ref().map(Mat::as_ref),
            z0: self.z0.as_ref(),
        }
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let mut settings = Settings::default();
    settings.read(&arguments.config)?;
    for text in &arguments.set {
        settings.set(text, &["decoder", "data", "method", "train"])?;
    }
    arguments.method.put(&mut settings);
    settings.check()?;
    let architecture = architecture(&settings)?;
    let decoder = architecture.decoder();
    let sigma = text_of(&settings, "data.sigma")?;
    let default = match decoder.output().loss() {
        LossKind::Mse if sigma.is_some() => LossKind::Gaussian,
        other => other,
    };
    let method = Method::new(&settings, decoder, default)?.with_one_worker(architecture.one_worker());
    let open = architecture.opener();
    let seed = settings.count("train.seed", 0, (0, u64::MAX))?;
    settings.choice("train.gradient", &["approximate"])?;
    let how = Training {
        encoding: method.encoding(&open),
        optimizer: optimizer(&settings)?,
        batch_size: settings.count("train.batch_size", 16, (1, 1 << 20))? as usize,
        epochs: settings.count("train.epochs", 10, (1, 1 << 30))? as u32,
        seed,
        validate_every: settings.count("train.validate_every", 1, (1, 1 << 30))? as u32,
    };
    let path: String = settings.need(
        "data.input",
        "name the training data, as in input = \"data.h5:/images\"",
    )?;
    let mut input = Input::open(&path, scale(&settings)?)?;
    let inputs: Vec<&Path> = input.file().into_iter().chain([&*arguments.config]).collect();
    output::check(&arguments.output, arguments.force, &inputs)?;
    let context: Vec<String> = settings.get("data.context")?.unwrap_or_default();
    let mut known = Known::open(&input, &context, sigma.as_deref(), decoder.shape().context)?;
    let (training, validation) = read(&settings, &method, (&mut input, &mut known), (decoder, seed))?;
    let mut params: Vec<f64> = Vec::new();
    let count = decoder.shape().params;
    params.try_reserve_exact(count).map_err(|_| CliError::Memory {
        what: "the decoder of these `layers`",
        bytes: count.saturating_mul(size_of::<f64>()),
    })?;
    params.resize(count, 0.0);
    let trainable = decoder.trainable().ok_or(gfe_encode::train::TrainError::NotTrainable)?;
    trainable.init(seed, &mut params).map_err(|error| match error {
        DecodeError::Fatal(_) => CliError::Flow(FlowError(error.to_string())),
        other => CliError::Decoder(other.to_string()),
    })?;

    let (start, mut last) = (Instant::now(), None);
    let images = training.y.ncols() as u64 * u64::from(how.epochs);
    let bar = progress::bar(images, "images");
    let held = validation.as_ref().map(Set::samples);
    train(&how, &mut params, training.samples(), held, &mut |event| match event {
        Event::Batch { seen } => bar.set_position(*seen),
        Event::Epoch {
            epoch,
            training,
            validation,
        } => {
            let text = told(*epoch, training, validation.as_ref(), start.elapsed());
            if bar.is_hidden() {
                eprintln!("{text}");
            } else {
                bar.println(text);
            }
            last = Some((*training, *validation));
        }
    })?;
    bar.finish_and_clear();
    let (fitted, validated) = last.unwrap_or_default();
    if fitted.succeeded < fitted.samples - fitted.samples / 10 {
        eprintln!(
            "only {} of {} codes of the last epoch were found (converged, or at t_end): the decoder is trained on the others too; \
             raise max_steps, or take an activation without kinks",
            fitted.succeeded, fitted.samples
        );
    }
    let mut record = method.json();
    // The default factor goes with the type of the data, which need not be that of data encoded later.
    if let Some(scale) = scale(&settings)? {
        record["scale"] = json!(scale);
    }
    record["gradient"] = json!("approximate");
    record["train"] = json!({"settings": settings.section("train"), "samples": training.y.ncols(),
        "validation_samples": validation.as_ref().map_or(0, |set| set.y.ncols()), "loss": fitted.loss,
        "validation_loss": validated.map(|tally| tally.loss)});
    let mut file = ModelFile::new(architecture.json(), Some(record), &decoder.tensors(), &params)?;
    match warm_start(&how.encoding, &params, &training) {
        Ok(Some(warm_start)) => file.tensors.extend(tensors(&warm_start)),
        Ok(None) => eprintln!("the codes allow no linear regression: the model file has none for --warm-start"),
        // The training itself is done and must not be lost.
        Err(error) => eprintln!("no linear regression for --warm-start: {error}"),
    }
    file.write(&arguments.output)?;
    let seconds = start.elapsed().as_secs_f64();
    if arguments.json {
        let told = json!({"loss": fitted.loss, "validation_loss": validated.map(|tally| tally.loss), "epochs": how.epochs,
            "images": images, "seconds": seconds, "images_per_second": images as f64 / seconds, "output": arguments.output});
        output::say(&told.to_string())?;
    } else {
        eprintln!(
            "{}: {:.0} images per second",
            arguments.output.display(),
            images as f64 / seconds
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The linear regression of codes on data, from the first of the training samples under the final weights; none where too
/// few can be encoded.
fn warm_start(encoding: &Encoding<'_>, params: &[f64], training: &Set) -> Result<Option<WarmStart>, CliError> {
    let count = training.y.ncols().min(WARM_START_SAMPLES);
    fn first(of: &Mat<f64>, count: usize) -> MatRef<'_, f64> {
        of.as_ref().subcols(0, count)
    }
    let y = first(&training.y, count);
    let samples = Samples {
        data: Targets {
            y,
            w: training.w.as_ref().map(|w| first(w, count)),
        },
        context: training.context.as_ref().map(|context| first(context, count)),
        z0: first(&training.z0, count),
    };
    let encoded = encode(encoding, params, samples)?;
    let good: Vec<usize> = (0..count).filter(|&b| encoded.records[b].status.is_success()).collect();
    let columns = |of: MatRef<'_, f64>| Mat::from_fn(of.nrows(), good.len(), |r, b| of[(r, good[b])]);
    Ok(WarmStart::fit(
        columns(y).as_ref(),
        columns(encoded.z.as_ref()).as_ref(),
    ))
}

fn architecture(settings: &Settings) -> Result<Architecture, CliError> {
    let choice = PluginChoice::new(settings)?;
    let config = Value::Object(
        settings
            .section("decoder")
            .into_iter()
            .filter(|(key, _)| !["plugin", "config", "sha256"].contains(&key.as_str()))
            .map(|(key, value)| (key, json!(value)))
            .collect(),
    );
    let none = config.as_object().is_none_or(serde_json::Map::is_empty);
    if choice.is_made() {
        if !none {
            let text = "[decoder] names a plugin, whose settings stand in `config`: leave out the others";
            return Err(CliError::Config(text.into()));
        }
        return Architecture::new(&choice, None);
    }
    if none {
        let how = "say for instance latent = 8, layers = [32, 64], activation = \"elu\", output = \"logits\"";
        return Err(CliError::Config(format!("the section [decoder] is missing: {how}")));
    }
    Architecture::new(&choice, Some(config))
}

fn optimizer(settings: &Settings) -> Result<Optimizer, CliError> {
    let positive: (fn(f64) -> bool, &str) = (|number| number > 0.0 && number.is_finite(), "positive and finite");
    let memory: (fn(f64) -> bool, &str) = (|number| (0.0..1.0).contains(&number), "0 or more and less than 1");
    let number = |key, default| settings.number(key, default, positive);
    Ok(match settings.choice("train.optimizer", &["rmsprop", "adam"])? {
        Some("adam") => Optimizer::Adam {
            learning_rate: number("train.learning_rate", 1e-3)?,
            beta1: settings.number("train.beta1", 0.9, memory)?,
            beta2: settings.number("train.beta2", 0.999, memory)?,
            eps: number("train.eps", 1e-8)?,
        },
        _ => Optimizer::RmsProp {
            learning_rate: number("train.learning_rate", 5e-4)?,
            decay: settings.number("train.decay", 0.9, memory)?,
            eps: number("train.eps", 1e-6)?,
        },
    })
}

/// Training and validation data; a decoder of another width is refused before anything is read.
fn read(
    settings: &Settings,
    method: &Method,
    (input, known): (&mut Input, &mut Known),
    (decoder, seed): (&dyn Decoder, u64),
) -> Result<(Set, Option<Set>), CliError> {
    let (samples, values, shape) = (input.shape().samples, input.shape().values(), decoder.shape());
    if values != shape.data {
        let text = format!(
            "{} has {values} values per sample, but the last of `layers` is {}",
            input.name(),
            shape.data
        );
        return Err(CliError::Config(format!("{text}: they must be the same")));
    }
    let rows = rows::of(settings, "data.rows", samples)?;
    let fraction: (fn(f64) -> bool, &str) = (|number| (0.0..1.0).contains(&number), "0 or more and less than 1");
    let fraction = settings.number("data.validation", 0.1, fraction)?;
    let (training, validation) = split(rows.len(), fraction, seed);
    if training.is_empty() {
        return Err(CliError::BadData(format!(
            "{}: no rows are left to train on",
            input.name()
        )));
    }
    let mut z0 = method.z0(samples, shape.latent)?;
    let mut load = |ids: Vec<usize>| -> Result<Set, CliError> {
        let ids: Vec<usize> = ids.into_iter().map(|id| rows.start + id).collect();
        let mut y = Mat::zeros(values, ids.len());
        let mut own = known.weighted().then(|| Mat::zeros(values, ids.len()));
        input.read(&ids, y.as_mut(), own.as_mut().map(|w| w.as_mut()))?;
        Ok(Set {
            w: own.or(known.weights(&ids, input.scale())?),
            context: known.context(&ids)?,
            z0: z0.read(&ids, shape.latent)?,
            y,
        })
    };
    let held = !validation.is_empty();
    Ok((load(training)?, if held { Some(load(validation)?) } else { None }))
}

fn told(epoch: u32, training: &Tally, validation: Option<&Tally>, elapsed: Duration) -> String {
    let percent = |tally: &Tally| 100.0 * tally.succeeded as f64 / tally.samples as f64;
    let mut text = format!(
        "epoch {epoch}: loss {:.5}, {:.1}% converged, {:.1} evaluations per image",
        training.loss,
        percent(training),
        training.evaluations as f64 / training.samples as f64
    );
    if let Some(held) = validation {
        text += &format!("; validation loss {:.5}, {:.1}% converged", held.loss, percent(held));
    }
    text + &format!("; {:.1} s", elapsed.as_secs_f64())
}
