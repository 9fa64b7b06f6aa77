//! `gfe evaluate`: what a decoder is worth on data, by codes from all values and from some of them.

use crate::encode::scale;
use crate::error::CliError;
use crate::flags::{MethodFlags, PrecisionFlag};
use crate::input::Input;
use crate::known::{Asked, Known};
use crate::logs::say;
use crate::method::Method;
use crate::model::{Model, PluginChoice};
use crate::output;
use crate::samples::{Set, Source, held_out};
use crate::settings::Settings;
use clap::Args;
use gfe_encode::train::{Evaluated, Evaluation, Tally, evaluate};
use gfe_model::loss::ClippedBce;
use gfe_model::{Decoder, Loss, LossKind};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Encodes data and tells mean losses: by the codes of the flow, on values held out, and by an encoder network if the model
/// file has one.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Arguments {
    /// Data: FILE.h5:/DATASET, or plugin:NAME?key=value.
    input: String,
    /// Model file (safetensors).
    #[arg(short, long)]
    model: PathBuf,
    /// Rows A..B, B excluded. Default: all.
    #[arg(long, value_name = "A..B")]
    rows: Option<String>,
    /// Only rows whose value in a dataset beside the data is one of these.
    #[arg(long, value_name = "DATASET=VALUE,...")]
    select: Option<String>,
    /// The part of the values that a further encoding does not see; 0 for none. Default: 0.8.
    #[arg(long, value_name = "PART")]
    held_out: Option<f64>,
    /// Cross entropy in place of the decoder's own loss, for a decoder of values in [0, 1].
    #[arg(long, value_name = "LOSS", value_parser = ["bce"])]
    score: Option<String>,
    /// Datasets with what is known of each sample and enters the decoder.
    #[arg(long, value_name = "DATASET")]
    context: Vec<String>,
    /// Dataset of the values' errors, or one number.
    #[arg(long)]
    sigma: Option<String>,
    /// Dataset that says which values are missing: those where it is not 0.
    #[arg(long, value_name = "DATASET")]
    mask: Option<String>,
    /// Dataset of the values' weights: 0 or more, 0 where one is missing.
    #[arg(long, value_name = "DATASET")]
    weight: Option<String>,
    /// Take a NaN for a missing value.
    #[arg(long)]
    nan_missing: bool,
    /// A setting by its key in a run file; may be repeated. VALUE is TOML or a bare text.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    method: MethodFlags,
    #[command(flatten)]
    precision: PrecisionFlag,
    /// Print the outcome as one JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let mut settings = arguments.settings()?;
    let mut model = Model::read(Some(&arguments.model), &PluginChoice::default())?;
    if let Some(training) = &model.training {
        settings.defaults(training)?;
    }
    settings.check()?;
    let shape = model.shape();
    let asked = Asked::of_data(&settings)?;
    let input = Input::open(&arguments.input, scale(&settings)?)?.heeding_missing(asked.nan_missing)?;
    if input.shape().values() != shape.data {
        return Err(CliError::Width {
            input: input.name(),
            found: input.shape().values(),
            expected: shape.data,
        });
    }
    let known = Known::open(&input, &asked, shape.context)?;
    let default = known.loss(model.output().loss());
    if default == LossKind::Gaussian {
        // A decoder trained without errors is used with them all the same.
        settings.forget_recorded("method.loss");
    }
    let method =
        Method::new(&settings, model.architecture.decoder(), default)?.with_one_worker(model.architecture.one_worker());
    let known = known.under(method.loss())?;
    let score = score(arguments, method.loss())?;
    // An encoder network is evaluated beside the flow, whatever z0 is.
    let encoder = model.encoder.clone();
    let z0 = method.z0(input.shape().samples, shape.latent, Some(&mut model))?;
    let mut source = Source {
        input,
        known,
        z0,
        latent: shape.latent,
    };
    let set = source.read(source.rows(&settings)?)?;
    if set.len() == 0 {
        return Err(CliError::BadData(format!(
            "{}: no row is left to evaluate on",
            arguments.input
        )));
    }
    let open = model.architecture.opener();
    let common = source.z0.common(shape.latent);
    let mut encoding = method.encoding(&open);
    encoding.common_z0 = common.as_deref();
    let what = Evaluated {
        decoder: model.architecture.decoder(),
        z0: None,
        encoder: encoder.as_ref().map(|network| {
            let (dense, phi) = network.parts();
            (dense as &dyn Decoder, phi)
        }),
        held_out: held_out(&settings)?,
        score: score.as_ref().map(|score| score as &dyn Loss),
    };
    let start = Instant::now();
    let found = evaluate(&encoding, &model.params, (set.samples(), &set.rows), &what, &|| false)?;
    tell(
        &found.unwrap_or_default(),
        &set,
        start.elapsed().as_secs_f64(),
        arguments.json,
    )
}

impl Arguments {
    fn settings(&self) -> Result<Settings, CliError> {
        let mut settings = Settings::default();
        for text in &self.set {
            settings.set(text, &["data", "method"])?;
        }
        self.method.put(&mut settings);
        self.precision.put(&mut settings);
        settings.flag("data.rows", self.rows.clone());
        settings.flag("data.select", self.select.clone());
        settings.flag("data.held_out", self.held_out);
        settings.flag("data.sigma", self.sigma.clone());
        settings.flag("data.mask", self.mask.clone());
        settings.flag("data.weight", self.weight.clone());
        settings.flag("data.nan_missing", self.nan_missing.then_some(true));
        if !self.context.is_empty() {
            settings.flag("data.context", Some(self.context.clone()));
        }
        Ok(settings)
    }
}

/// What losses are told by, if not by the decoder's own.
fn score(arguments: &Arguments, loss: LossKind) -> Result<Option<ClippedBce>, CliError> {
    match (&arguments.score, loss) {
        (Some(_), LossKind::Mse) => Ok(Some(ClippedBce::default())),
        (Some(name), LossKind::Bce) if name == "bce" => Ok(None),
        (Some(name), _) => Err(CliError::Usage(format!(
            "`score` is {name}, which is for probabilities, and the loss is {}: leave it out",
            loss.loss().name()
        ))),
        (None, _) => Ok(None),
    }
}

fn tell(found: &Evaluation, set: &Set, seconds: f64, as_json: bool) -> Result<ExitCode, CliError> {
    if as_json {
        let of = |tally: &Tally| {
            json!({"loss": number(tally.loss()), "samples": tally.samples, "usable": tally.usable,
                "succeeded": tally.succeeded, "units": number(tally.units_per_sample())})
        };
        let mut told = of(&found.codes);
        told["held_out"] = found.held_out.as_ref().map_or(Value::Null, |held| {
            json!({"loss": number(held.unseen()), "seen_loss": number(held.seen()), "usable": held.usable,
                "succeeded": held.succeeded})
        });
        told["encoder"] = found.encoder.as_ref().map_or(Value::Null, of);
        told["hybrid"] = found.hybrid.as_ref().map_or(Value::Null, of);
        told["encoder_held_out"] = found.encoder_held_out.as_ref().map_or(Value::Null, of);
        told["hybrid_held_out"] = found.hybrid_held_out.as_ref().map_or(Value::Null, of);
        told["seconds"] = json!(seconds);
        output::say(&told.to_string())?;
        return Ok(outcome(found));
    }
    let line = |what: &str, tally: &Tally| {
        say!(
            "loss {:.6} {what}: {} of {} samples succeeded, {:.1} units each",
            tally.loss(),
            tally.succeeded,
            tally.samples,
            tally.units_per_sample()
        );
    };
    say!("{} samples, {seconds:.1} s", set.len());
    line("by the flow", &found.codes);
    if let Some(held) = &found.held_out {
        say!(
            "loss {:.6} on values held out, {:.6} on those seen",
            held.unseen(),
            held.seen()
        );
    }
    if let (Some(encoder), Some(hybrid)) = (&found.encoder, &found.hybrid) {
        line("by the encoder network", encoder);
        line("by the flow from its codes", hybrid);
        if let (Some(encoder), Some(hybrid)) = (&found.encoder_held_out, &found.hybrid_held_out) {
            line("on values held out, by the encoder network", encoder);
            line("on values held out, by the flow from its codes", hybrid);
        }
    }
    Ok(outcome(found))
}

/// 1 where there is no loss to tell.
fn outcome(found: &Evaluation) -> ExitCode {
    let told = found.codes.loss().is_finite() && found.held_out.is_none_or(|held| held.unseen().is_finite());
    if !told {
        say!("no sample has a loss: are the data finite and in the loss's range, and are enough values seen?");
    }
    ExitCode::from(u8::from(!told))
}

/// A number as JSON; null for NaN.
fn number(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}
