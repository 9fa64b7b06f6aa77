//! How a decoder is trained, from the section `[train]`.

use crate::error::CliError;
use crate::settings::Settings;
use gfe_encode::HeldOut;
use gfe_encode::train::{Every, FlowLearning, FlowStart, Gradient, LearningRate, Length, Optimizer, Outer, Schedule};

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
        let kind = match settings.choice("train.method")? {
            Some("autoencoder") => Kind::Autoencoder,
            Some("auto-decoder") => Kind::AutoDecoder,
            Some("pca") => Kind::Pca,
            Some("logistic-pca") => Kind::LogisticPca,
            _ => Kind::Flow,
        };
        let optimizer = optimizer(settings)?;
        let most = |key| settings.optional_count(key);
        let code_step = settings.number("train.code_learning_rate", 10.0 * optimizer.learning_rate())?;
        let judged_by = settings.choice("train.judged_by")?;
        Ok(Plan {
            kind,
            flow: flow(settings)?,
            visit_steps: most("train.visit_steps")?.map(|steps| steps as u32),
            encoder_layers: settings.get("train.encoder_layers")?,
            judged_by_encoder: judged_by == Some("encoder"),
            code_optimizer: optimizer.for_codes(code_step),
            optimizer,
            learning_rate: LearningRate {
                schedule: schedule(settings)?,
                warm_up: settings.number("train.warm_up", 0.0)?,
            },
            clip_norm: Some(settings.number("train.clip_norm", f64::NAN)?).filter(|norm| norm.is_finite()),
            batch_size: settings.count("train.batch_size", 16)? as usize,
            length: match one_of(settings, ("train.epochs", "train.samples"))? {
                (None, Some(samples)) => Length::Samples(samples),
                (epochs, _) => Length::Epochs(epochs.unwrap_or(10) as u32),
            },
            seed: settings.count("train.seed", 0)?,
            validate_every: match one_of(settings, ("train.validate_every", "train.validate_samples"))? {
                (None, Some(samples)) => Every::Samples(samples),
                (epochs, _) => Every::Epochs(epochs.unwrap_or(1) as u32),
            },
            patience: most("train.patience")?.map(|patience| patience as u32),
            checkpoint_minutes: settings.number("train.checkpoint_minutes", 5.0)?,
            regression_samples: settings.count("train.regression_samples", 1000)? as usize,
        })
    }
}

/// Two keys of which at most one may be set: in epochs, and in samples.
fn one_of(
    settings: &Settings,
    (epochs, samples): (&'static str, &'static str),
) -> Result<(Option<u64>, Option<u64>), CliError> {
    let found = (settings.optional_count(epochs)?, settings.optional_count(samples)?);
    if let (Some(_), Some(_)) = found {
        let text = format!("`{epochs}` and `{samples}` are both set: leave out one");
        return Err(settings.error(samples, text));
    }
    Ok(found)
}

fn flow(settings: &Settings) -> Result<FlowLearning, CliError> {
    let gradient = match settings.choice("train.gradient")? {
        Some("implicit") => Gradient::Implicit,
        Some("adjoint") => Gradient::Adjoint {
            quadrature_stride: settings.count("train.quadrature_stride", 1)? as u32,
        },
        _ => Gradient::Approximate,
    };
    let outer = settings.choice("train.outer")?;
    let hide = settings.number("train.hide", 0.0)?;
    let precision = settings.choice("train.precision")?;
    if precision.is_some() && gradient != Gradient::Approximate {
        let text = "`precision` is for gradient approximate, the others are of double precision: leave it out";
        return Err(settings.error("train.precision", text.into()));
    }
    let start = settings.choice("train.start")?;
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
            seed: settings.count("train.hide_seed", 0)?,
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
    let number = |key, default| settings.number(key, default);
    let adam = |decay| -> Result<Optimizer, CliError> {
        Ok(Optimizer::Adam {
            learning_rate: number("train.learning_rate", 1e-3)?,
            beta1: settings.number("train.beta1", 0.9)?,
            beta2: settings.number("train.beta2", 0.999)?,
            eps: number("train.eps", 1e-8)?,
            weight_decay: decay,
        })
    };
    match settings.choice("train.optimizer")? {
        Some("adam") => adam(0.0),
        Some("adamw") => adam(settings.number("train.weight_decay", 1e-2)?),
        _ => Ok(Optimizer::RmsProp {
            learning_rate: number("train.learning_rate", 5e-4)?,
            decay: settings.number("train.decay", 0.9)?,
            eps: number("train.eps", 1e-6)?,
        }),
    }
}

fn schedule(settings: &Settings) -> Result<Schedule, CliError> {
    let factor = |default| settings.number("train.schedule_factor", default);
    Ok(match settings.choice("train.schedule")? {
        Some("cosine") => Schedule::Cosine {
            last: settings.number("train.schedule_last", 0.0)?,
        },
        Some("exponential") => Schedule::Exponential { factor: factor(0.95)? },
        Some("step") => Schedule::Step {
            factor: factor(0.1)?,
            every: settings.count("train.schedule_every", 10)? as u32,
        },
        _ => Schedule::Constant,
    })
}
