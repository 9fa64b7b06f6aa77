//! How a decoder is trained, from the section `[train]`.

use crate::error::CliError;
use crate::keys::LEARNING;
use crate::settings::Settings;
use gfe_encode::HeldOut;
use gfe_encode::train::{Every, FlowLearning, FlowStart, Gradient, LearningRate, Length, Optimizer, Outer, Schedule};

const POSITIVE: (fn(f64) -> bool, &str) = (|number| number > 0.0 && number.is_finite(), "positive and finite");
const MEMORY: (fn(f64) -> bool, &str) = (|number| (0.0..1.0).contains(&number), "0 or more and less than 1");
const NOT_NEGATIVE: (fn(f64) -> bool, &str) = (|number| number >= 0.0 && number.is_finite(), "0 or more, and finite");

/// Where the codes of training samples come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The flow.
    Flow,
    /// An encoder network.
    Autoencoder,
    /// Free codes.
    AutoDecoder,
    /// Principal components, in closed form.
    Pca,
    /// The flow, for a linear decoder.
    LogisticPca,
}

/// The settings of a training, checked.
#[derive(Clone, Debug)]
pub struct Plan {
    pub kind: Kind,
    pub flow: FlowLearning,
    pub visit_steps: Option<u32>,
    pub encoder_layers: Option<Vec<usize>>,
    pub judged_by_encoder: bool,
    pub code_optimizer: Optimizer,
    pub optimizer: Optimizer,
    pub learning_rate: LearningRate,
    pub clip_norm: Option<f64>,
    pub batch_size: usize,
    pub length: Length,
    pub seed: u64,
    pub validate_every: Every,
    pub patience: Option<u32>,
    pub checkpoint_minutes: f64,
    pub regression_samples: usize,
}

impl Plan {
    /// Reads the section.
    pub fn new(settings: &Settings) -> Result<Plan, CliError> {
        let kind = match settings.choice("train.method", &LEARNING)? {
            Some("autoencoder") => Kind::Autoencoder,
            Some("auto-decoder") => Kind::AutoDecoder,
            Some("pca") => Kind::Pca,
            Some("logistic-pca") => Kind::LogisticPca,
            _ => Kind::Flow,
        };
        let optimizer = optimizer(settings)?;
        let most = |key, most| optional(settings, key, most);
        let code_step = settings.number("train.code_learning_rate", 10.0 * optimizer.learning_rate(), POSITIVE)?;
        let judged_by = settings.choice("train.judged_by", &["flow", "encoder"])?;
        Ok(Plan {
            kind,
            flow: flow(settings)?,
            visit_steps: most("train.visit_steps", u64::from(u32::MAX))?.map(|steps| steps as u32),
            encoder_layers: settings.get("train.encoder_layers")?,
            judged_by_encoder: judged_by == Some("encoder"),
            code_optimizer: optimizer.for_codes(code_step),
            optimizer,
            learning_rate: LearningRate {
                schedule: schedule(settings)?,
                warm_up: settings.number("train.warm_up", 0.0, NOT_NEGATIVE)?,
            },
            clip_norm: Some(settings.number("train.clip_norm", f64::NAN, POSITIVE)?).filter(|norm| norm.is_finite()),
            batch_size: settings.count("train.batch_size", 16, (1, 1 << 20))? as usize,
            length: match one_of(settings, ("train.epochs", "train.samples"))? {
                (None, Some(samples)) => Length::Samples(samples),
                (epochs, _) => Length::Epochs(epochs.unwrap_or(10) as u32),
            },
            seed: settings.count("train.seed", 0, (0, u64::MAX))?,
            validate_every: match one_of(settings, ("train.validate_every", "train.validate_samples"))? {
                (None, Some(samples)) => Every::Samples(samples),
                (epochs, _) => Every::Epochs(epochs.unwrap_or(1) as u32),
            },
            patience: most("train.patience", 1 << 30)?.map(|patience| patience as u32),
            checkpoint_minutes: settings.number("train.checkpoint_minutes", 5.0, NOT_NEGATIVE)?,
            regression_samples: settings.count("train.regression_samples", 1000, (0, 1 << 30))? as usize,
        })
    }
}

/// A whole number from 1 on, where it was set.
fn optional(settings: &Settings, key: &'static str, most: u64) -> Result<Option<u64>, CliError> {
    let found = settings.count(key, 0, (1, most))?;
    Ok((found > 0).then_some(found))
}

/// Two keys of which at most one may be set: in epochs, and in samples.
fn one_of(
    settings: &Settings,
    (epochs, samples): (&'static str, &'static str),
) -> Result<(Option<u64>, Option<u64>), CliError> {
    let found = (
        optional(settings, epochs, 1 << 30)?,
        optional(settings, samples, 1 << 53)?,
    );
    if let (Some(_), Some(_)) = found {
        let text = format!("`{epochs}` and `{samples}` are both set: leave out one");
        return Err(CliError::Usage(text));
    }
    Ok(found)
}

fn flow(settings: &Settings) -> Result<FlowLearning, CliError> {
    let gradient = match settings.choice("train.gradient", &["approximate", "implicit", "adjoint"])? {
        Some("implicit") => Gradient::Implicit,
        Some("adjoint") => Gradient::Adjoint {
            quadrature_stride: settings.count("train.quadrature_stride", 1, (1, 1 << 30))? as u32,
        },
        _ => Gradient::Approximate,
    };
    let outer = settings.choice("train.outer", &["objective", "loss"])?;
    let part: (fn(f64) -> bool, &str) = (|number| (0.0..1.0).contains(&number), "0 or more and less than 1");
    let hide = settings.number("train.hide", 0.0, part)?;
    let precision = settings.choice("train.precision", &["mixed", "f64"])?;
    if precision.is_some() && gradient != Gradient::Approximate {
        let text = "`precision` is for gradient approximate, the others are of double precision: leave it out";
        return Err(CliError::Usage(text.into()));
    }
    let start = settings.choice("train.start", &["z0", "previous", "warm", "learned"])?;
    Ok(FlowLearning {
        gradient,
        // The implicit gradient is for what the codes do not minimize.
        outer: match outer {
            Some("loss") => Outer::Loss,
            None if gradient == Gradient::Implicit => Outer::Loss,
            _ => Outer::Objective,
        },
        hidden: (hide > 0.0).then_some(HeldOut {
            fraction: 1.0 - hide,
            seed: settings.count("train.hide_seed", 0, (0, u64::MAX))?,
        }),
        mixed: precision != Some("f64"),
        start: match start {
            Some("previous") => FlowStart::Previous,
            Some("warm") => FlowStart::Warm,
            Some("learned") => FlowStart::Learned,
            _ => FlowStart::Z0,
        },
    })
}

fn optimizer(settings: &Settings) -> Result<Optimizer, CliError> {
    let number = |key, default| settings.number(key, default, POSITIVE);
    let adam = |decay| -> Result<Optimizer, CliError> {
        Ok(Optimizer::Adam {
            learning_rate: number("train.learning_rate", 1e-3)?,
            beta1: settings.number("train.beta1", 0.9, MEMORY)?,
            beta2: settings.number("train.beta2", 0.999, MEMORY)?,
            eps: number("train.eps", 1e-8)?,
            weight_decay: decay,
        })
    };
    match settings.choice("train.optimizer", &["rmsprop", "adam", "adamw"])? {
        Some("adam") => adam(0.0),
        Some("adamw") => adam(settings.number("train.weight_decay", 1e-2, NOT_NEGATIVE)?),
        _ => Ok(Optimizer::RmsProp {
            learning_rate: number("train.learning_rate", 5e-4)?,
            decay: settings.number("train.decay", 0.9, MEMORY)?,
            eps: number("train.eps", 1e-6)?,
        }),
    }
}

fn schedule(settings: &Settings) -> Result<Schedule, CliError> {
    let names = ["constant", "cosine", "exponential", "step"];
    let factor = |default| settings.number("train.schedule_factor", default, POSITIVE);
    Ok(match settings.choice("train.schedule", &names)? {
        Some("cosine") => Schedule::Cosine {
            last: settings.number("train.schedule_last", 0.0, NOT_NEGATIVE)?,
        },
        Some("exponential") => Schedule::Exponential { factor: factor(0.95)? },
        Some("step") => Schedule::Step {
            factor: factor(0.1)?,
            every: settings.count("train.schedule_every", 10, (1, 1 << 30))? as u32,
        },
        _ => Schedule::Constant,
    })
}
