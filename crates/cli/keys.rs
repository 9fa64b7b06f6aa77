//! Every key of a run file, and which key a wrong one was meant to be.

use crate::method::SOLVERS;

/// A key of a run file.
pub struct Key {
    /// `section.name`.
    pub name: &'static str,
    /// The choice and its values under which the key means something; always, if there is none.
    pub only: Option<(&'static str, &'static [&'static str])>,
}

const fn key(name: &'static str) -> Key {
    Key { name, only: None }
}

const fn of_solver(name: &'static str, solvers: &'static [&'static str]) -> Key {
    Key {
        name,
        only: Some(("method.solver", solvers)),
    }
}

const fn of(name: &'static str, choice: &'static str, values: &'static [&'static str]) -> Key {
    Key {
        name,
        only: Some((choice, values)),
    }
}

/// How codes of training samples are found: by the flow, or as a baseline does.
pub const LEARNING: [&str; 5] = ["flow", "autoencoder", "auto-decoder", "pca", "logistic-pca"];
/// Those that integrate the flow for training samples.
const BY_FLOW: &[&str] = &["flow", "logistic-pca"];
/// Those that go over mini-batches.
const BY_STEPS: &[&str] = &["flow", "autoencoder", "auto-decoder", "logistic-pca"];

const fn of_steps(name: &'static str) -> Key {
    of(name, "train.method", BY_STEPS)
}

/// The solvers that follow the flow in time.
const FOLLOWING: &[&str] = &["amd", "euler", "rk4", "tsit5", "tsit45", "tr_bdf2", "esdirk34", "bdf"];
/// Those with error control.
const TO_TOLERANCE: &[&str] = &["tsit5", "tsit45", "tr_bdf2", "esdirk34", "bdf"];
/// Those without a grid of steps.
const ADAPTIVE: &[&str] = &["ptc", "amd", "tsit5", "tsit45", "tr_bdf2", "esdirk34", "bdf"];

/// What a choice is where nobody made it.
pub fn default_of(choice: &str) -> &'static str {
    match choice {
        "method.solver" => "ptc",
        "method.flow" => "gradient",
        "method.grid" => "uniform",
        "method.z0" => "zeros",
        "train.method" => "flow",
        "train.gradient" => "approximate",
        "train.schedule" => "constant",
        _ => "rmsprop",
    }
}

/// The values of a choice on which other keys depend, if it has no others.
pub fn choices_of(choice: &str) -> Option<&'static [&'static str]> {
    Some(match choice {
        "method.solver" => &SOLVERS,
        "method.flow" => &["gradient", "nesterov"],
        "method.grid" => &["uniform", "logarithmic"],
        "train.method" => &LEARNING,
        "train.gradient" => &["approximate", "implicit", "adjoint"],
        "train.schedule" => &["constant", "cosine", "exponential", "step"],
        "train.optimizer" => &["rmsprop", "adam", "adamw"],
        _ => return None,
    })
}

/// Every key of a run file.
pub const KEYS: &[Key] = &[
    key("method.flow"),
    key("method.solver"),
    key("method.loss"),
    key("method.t_end"),
    key("method.gtol"),
    Key {
        name: "method.restart",
        only: Some(("method.flow", &["nesterov"])),
    },
    of_solver("method.alpha", FOLLOWING),
    of_solver("method.alpha0", FOLLOWING),
    of_solver("method.edm_tol", &["ptc"]),
    of_solver("method.h0", &["ptc"]),
    of_solver("method.refresh_every", &["ptc"]),
    of_solver("method.hessian", &["ptc", "tr_bdf2", "esdirk34", "bdf"]),
    of_solver("method.max_steps", ADAPTIVE),
    of_solver("method.steps", &["euler", "rk4"]),
    of_solver("method.grid", &["euler", "rk4"]),
    Key {
        name: "method.log_base",
        only: Some(("method.grid", &["logarithmic"])),
    },
    of_solver("method.rtol", TO_TOLERANCE),
    of_solver("method.atol", TO_TOLERANCE),
    of_solver("method.dt0", &["amd"]),
    of_solver("method.dt_max", &["amd"]),
    of_solver("method.shrink", &["amd"]),
    of_solver("method.max_backtracks", &["amd"]),
    of_solver("method.armijo", &["amd"]),
    of_solver("method.fallback_dt", &["amd"]),
    of_solver("method.loss_slope_tol", &["amd"]),
    of_solver("method.settle_fraction", &["amd"]),
    key("method.z0"),
    Key {
        name: "method.z0_seed",
        only: Some(("method.z0", &["uniform"])),
    },
    key("method.scale"),
    key("method.lanes"),
    key("method.threads"),
    key("encode.input"),
    key("encode.model"),
    key("encode.output"),
    key("encode.rows"),
    of_solver("encode.warm_start", &["ptc"]),
    key("encode.reconstruction"),
    key("encode.trace"),
    key("encode.trace_at"),
    key("encode.keep"),
    key("encode.context"),
    key("encode.sigma"),
    key("encode.mask"),
    key("encode.weight"),
    key("encode.nan_missing"),
    key("encode.starts"),
    key("encode.uncertainty"),
    key("encode.noise"),
    of_solver("encode.starts_from", &["ptc"]),
    key("encode.fail_above"),
    key("encode.shard"),
    key("encode.shard_rows"),
    key("encode.reproducible"),
    key("decoder.plugin"),
    key("decoder.config"),
    key("decoder.sha256"),
    key("decoder.decoder"),
    key("decoder.latent"),
    key("decoder.layers"),
    key("decoder.activation"),
    key("decoder.output"),
    key("data.input"),
    key("data.rows"),
    key("data.select"),
    key("data.context"),
    key("data.sigma"),
    key("data.mask"),
    key("data.weight"),
    key("data.nan_missing"),
    key("data.validation"),
    key("data.validation_rows"),
    key("data.groups"),
    key("data.held_out"),
    key("data.held_out_seed"),
    key("train.method"),
    of("train.gradient", "train.method", BY_FLOW),
    of("train.quadrature_stride", "train.gradient", &["adjoint"]),
    of("train.outer", "train.method", BY_FLOW),
    of("train.hide", "train.gradient", &["implicit"]),
    of("train.hide_seed", "train.gradient", &["implicit"]),
    of("train.start", "train.method", BY_FLOW),
    of("train.precision", "train.method", BY_FLOW),
    of("train.visit_steps", "train.method", BY_FLOW),
    of("train.encoder_layers", "train.method", &["autoencoder"]),
    of("train.judged_by", "train.method", &["autoencoder"]),
    of("train.code_learning_rate", "train.method", &["auto-decoder"]),
    of_steps("train.optimizer"),
    of_steps("train.learning_rate"),
    of("train.decay", "train.optimizer", &["rmsprop"]),
    of("train.beta1", "train.optimizer", &["adam", "adamw"]),
    of("train.beta2", "train.optimizer", &["adam", "adamw"]),
    of("train.weight_decay", "train.optimizer", &["adamw"]),
    of_steps("train.eps"),
    of_steps("train.schedule"),
    of("train.schedule_last", "train.schedule", &["cosine"]),
    of("train.schedule_factor", "train.schedule", &["exponential", "step"]),
    of("train.schedule_every", "train.schedule", &["step"]),
    of_steps("train.warm_up"),
    of_steps("train.clip_norm"),
    of_steps("train.batch_size"),
    of_steps("train.epochs"),
    of_steps("train.samples"),
    key("train.seed"),
    of_steps("train.validate_every"),
    of_steps("train.validate_samples"),
    of_steps("train.patience"),
    of_steps("train.checkpoint_minutes"),
    key("train.regression_samples"),
];

/// The candidate most like `text`.
pub fn nearest(text: &str, candidates: impl Iterator<Item = String>) -> String {
    candidates
        .max_by(|a, b| likeness(text, a).total_cmp(&likeness(text, b)))
        .unwrap_or_default()
}

/// How much two names are like each other: their letters, and the words that they share.
pub fn likeness(a: &str, b: &str) -> f64 {
    let shared = a
        .split('_')
        .filter(|word| b.split('_').any(|other| other == *word))
        .count();
    strsim::jaro_winkler(a, b) + 0.5 * shared as f64
}
