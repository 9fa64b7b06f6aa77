//! Every key of a run file, and which key a wrong one was meant to be.

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

const fn of_optimizer(name: &'static str, optimizers: &'static [&'static str]) -> Key {
    Key {
        name,
        only: Some(("train.optimizer", optimizers)),
    }
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
        _ => "rmsprop",
    }
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
    key("encode.starts"),
    key("encode.uncertainty"),
    key("encode.fail_above"),
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
    key("data.context"),
    key("data.sigma"),
    key("data.validation"),
    key("train.gradient"),
    key("train.optimizer"),
    key("train.learning_rate"),
    of_optimizer("train.decay", &["rmsprop"]),
    of_optimizer("train.beta1", &["adam"]),
    of_optimizer("train.beta2", &["adam"]),
    key("train.eps"),
    key("train.batch_size"),
    key("train.epochs"),
    key("train.seed"),
    key("train.validate_every"),
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
