//! Every key of a run file, by section.

use super::{Bound, Default, Key, Kind, Range};
use Default::{Depends, Is};
use Kind::{Choice, Count, Counts, Flag, Number, Numbers, Part, Rows, Share, Text, TextOrNumber, TextOrTable, Texts};

const fn key(name: &'static str, kind: Kind, default: Default, about: &'static str) -> Key {
    Key {
        name,
        about,
        kind,
        default,
        only: None,
    }
}

impl Key {
    const fn of(mut self, choice: &'static str, values: &'static [&'static str]) -> Key {
        self.only = Some((choice, values));
        self
    }

    const fn of_solver(self, solvers: &'static [&'static str]) -> Key {
        self.of("method.solver", solvers)
    }

    /// Of the trainings that go over mini-batches.
    const fn of_steps(self) -> Key {
        self.of("train.method", &["flow", "autoencoder", "auto-decoder", "logistic-pca"])
    }

    /// Of those that integrate the flow for training samples.
    const fn of_flow(self) -> Key {
        self.of("train.method", &["flow", "logistic-pca"])
    }
}

const fn range(low: Bound, high: Bound, words: &'static str) -> Range {
    Range {
        low,
        high,
        nonzero: false,
        words,
    }
}

const POSITIVE: Range = range(Bound::Without(0.0), Bound::Finite, "positive and finite");
const HORIZON: Range = range(
    Bound::Without(0.0),
    Bound::Infinite,
    "positive, or inf (which is for ptc)",
);
const TOLERANCE: Range = range(Bound::With(0.0), Bound::Infinite, "0 or more");
const NOT_NEGATIVE: Range = range(Bound::With(0.0), Bound::Finite, "0 or more, and finite");
/// Below 1e-13 the error of a step is that of rounding.
const RELATIVE: Range = range(Bound::With(1e-13), Bound::Without(1.0), "between 1e-13 and 1");
const INSIDE: Range = range(Bound::Without(0.0), Bound::Without(1.0), "between 0 and 1");
const FRACTION: Range = range(Bound::With(0.0), Bound::With(1.0), "between 0 and 1");
const PART: Range = range(Bound::With(0.0), Bound::Without(1.0), "0 or more and less than 1");
const ABOVE_ONE: Range = range(Bound::Without(1.0), Bound::Finite, "finite and above 1");
const FACTOR: Range = Range {
    low: Bound::Finite,
    high: Bound::Finite,
    nonzero: true,
    words: "finite and not 0",
};

/// Most steps, epochs and the like.
const MANY: u64 = 1 << 30;
/// Most steps of a sample.
const U32: u64 = u32::MAX as u64;
/// Most lanes: a matrix product is full long before.
const LANES: u64 = 1 << 14;
/// Most threads.
const THREADS: u64 = 1 << 10;
/// Up to here every whole number is one of TOML.
const SEED: u64 = i64::MAX as u64;

const NONE: Default = Default::None;

/// The solvers that follow the flow in time.
const FOLLOWING: &[&str] = &["amd", "euler", "rk4", "tsit5", "tsit45", "tr_bdf2", "esdirk34", "bdf"];
/// Those with error control.
const TO_TOLERANCE: &[&str] = &["tsit5", "tsit45", "tr_bdf2", "esdirk34", "bdf"];
/// Those without a grid of steps.
const ADAPTIVE: &[&str] = &["ptc", "amd", "tsit5", "tsit45", "tr_bdf2", "esdirk34", "bdf"];
/// Every solver.
const SOLVERS: &[&str] = &[
    "ptc", "amd", "euler", "rk4", "tsit5", "tsit45", "tr_bdf2", "esdirk34", "bdf",
];
const LOSSES: &[&str] = &["mse", "bce", "gaussian", "poisson"];
const ACTIVATIONS: &[&str] = &[
    "identity",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "tanh",
    "sigmoid",
];
/// How codes of training samples are found: by the flow, or as a baseline does.
const LEARNING: &[&str] = &["flow", "autoencoder", "auto-decoder", "pca", "logistic-pca"];

/// Every key of a run file.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("method.flow", Choice(&["gradient", "nesterov"]), Is("\"gradient\""),
        "The flow: gradient, or nesterov, of second order"),
    key("method.solver", Choice(SOLVERS), Is("\"ptc\""),
        "How the flow is integrated, or its steady state found"),
    key("method.loss", Choice(LOSSES), Depends("what the decoder's output means"),
        "Loss between decoded values and data"),
    key("method.t_end", Number(HORIZON), Is("1e4"),
        "Horizon tau; inf for the plain steady state, with ptc"),
    key("method.gtol", Number(TOLERANCE), Is("1e-9"),
        "Bound on the gradient norm at which a sample is done; for mse in units of the loss of D(z) = 0"),
    key("method.restart", Flag, Is("false"),
        "Whether the momentum is dropped where it points uphill")
        .of("method.flow", &["nesterov"]),
    key("method.alpha", Choice(&["constant", "exp_decay"]), Is("\"constant\""),
        "Factor alpha(t) of the flow; exp_decay is exp(-2 t / t_end)").of_solver(FOLLOWING),
    key("method.alpha0", Number(POSITIVE), Is("1.0"),
        "Size of the factor alpha(t)").of_solver(FOLLOWING),
    key("method.edm_tol", Number(TOLERANCE), Is("1e-3"),
        "Bound on the estimated distance to the minimum, in units of the log likelihood; 0 leaves gtol alone").of_solver(&["ptc"]),
    key("method.h0", Number(POSITIVE), Depends("from the curvature at the start"),
        "First step").of_solver(&["ptc"]),
    key("method.refresh_every", Count(1, MANY), Depends("half the latents, and two more"),
        "Accepted steps between two Jacobians of a sample").of_solver(&["ptc"]),
    key("method.hessian", Choice(&["gauss_newton", "exact"]), Depends("gauss_newton for ptc, else exact where the decoder has second-order products"),
        "Which Hessian is used").of_solver(&["ptc", "tr_bdf2", "esdirk34", "bdf"]),
    key("method.precision", Choice(&["mixed", "f64"]), Depends("mixed for bce and mse, f64 for gaussian and poisson"),
        "Precision away from a code: mixed is single, where edm_tol or gtol and the decoder allow it, with every code confirmed in double precision or encoded again").of_solver(&["ptc"]),
    key("method.max_steps", Count(1, U32), Depends("1000 for ptc, else 100000"),
        "Steps attempted per sample at most").of_solver(ADAPTIVE),
    key("method.steps", Count(1, U32), Is("10000"),
        "Number of steps to t_end").of_solver(&["euler", "rk4"]),
    key("method.grid", Choice(&["uniform", "logarithmic"]), Is("\"uniform\""),
        "How the steps are spaced in time").of_solver(&["euler", "rk4"]),
    key("method.log_base", Number(ABOVE_ONE), Is("10.0"),
        "Base of the logarithmic grid").of("method.grid", &["logarithmic"]),
    key("method.rtol", Number(RELATIVE), Is("1e-6"),
        "Relative tolerance of a step's error").of_solver(TO_TOLERANCE),
    key("method.atol", Number(POSITIVE), Is("1e-8"),
        "Absolute tolerance of a step's error").of_solver(TO_TOLERANCE),
    key("method.dt0", Number(POSITIVE), Is("1.0"),
        "First and smallest step").of_solver(&["amd"]),
    key("method.dt_max", Number(POSITIVE), Is("10.0"),
        "Largest step").of_solver(&["amd"]),
    key("method.shrink", Number(INSIDE), Is("0.5"),
        "Factor of a rejected step").of_solver(&["amd"]),
    key("method.max_backtracks", Count(1, 1000), Is("20"),
        "Rejections in a row after which a step is forced").of_solver(&["amd"]),
    key("method.armijo", Number(TOLERANCE), Is("1e-5"),
        "Part of the decrease to first order that a step has to reach").of_solver(&["amd"]),
    key("method.fallback_dt", Number(POSITIVE), Is("10.0"),
        "Time that a forced step counts for").of_solver(&["amd"]),
    key("method.loss_slope_tol", Number(TOLERANCE), Is("1e-5"),
        "Mean slope of the last five losses below which a sample is done").of_solver(&["amd"]),
    key("method.settle_fraction", Number(INSIDE), Is("0.98"),
        "Part of t_end that may be left when slopes begin to count").of_solver(&["amd"]),
    key("method.z0", Text, Is("\"zeros\""),
        "Initial latents: zeros, fill=C, uniform, learned, encoder or FILE:/DATASET"),
    key("method.z0_seed", Count(0, SEED), Is("0"),
        "Seed of the initial latents").of("method.z0", &["uniform"]),
    key("method.scale", Number(FACTOR), Depends("1/255 for unsigned bytes, else 1"),
        "Factor of every input value"),
    key("method.lanes", Count(1, LANES), Depends("by the decoder's size, 16 to 128"),
        "Samples integrated together per thread; changes no result"),
    key("method.threads", Count(1, THREADS), Depends("one per core"),
        "Worker threads; changes no result"),

    key("encode.input", Text, NONE,
        "Data: FILE.h5, FILE.h5:/DATASET or plugin:NAME?key=value; the first axis counts samples"),
    key("encode.model", Text, NONE,
        "Weights: a safetensors file with the decoder's architecture"),
    key("encode.output", Text, NONE,
        "Output file (HDF5)"),
    key("encode.rows", Rows, Depends("all"),
        "Rows of the input"),
    key("encode.warm_start", Flag, Is("false"),
        "Whether to begin at the linear regression of codes on data that the model file holds").of_solver(&["ptc"]),
    key("encode.reconstruction", Flag, Is("false"),
        "Whether D(z) is written too"),
    key("encode.trace", Flag, Is("false"),
        "Whether time, loss and gradient norm of every accepted step are written too"),
    key("encode.trace_at", Numbers(NOT_NEGATIVE), NONE,
        "Ascending times at which latents, loss and gradient norm are written too"),
    key("encode.keep", Texts, NONE,
        "Datasets with one value per sample that are passed through"),
    key("encode.context", Texts, NONE,
        "Datasets of what is known of each sample and enters the decoder"),
    key("encode.sigma", TextOrNumber, NONE,
        "Standard errors of the values: a dataset, or a number for all"),
    key("encode.mask", Text, NONE,
        "Dataset of which values are missing: those where it is not 0"),
    key("encode.weight", Text, NONE,
        "Dataset of the weights of values, 0 or more; 0 masks a value"),
    key("encode.nan_missing", Flag, Is("false"),
        "Whether a NaN is a missing value"),
    key("encode.starts", Count(1, 1000), Is("1"),
        "Starts of each sample, of which the lowest end is taken"),
    key("encode.uncertainty", Flag, Is("false"),
        "Whether error bars are written too"),
    key("encode.noise", Choice(&["estimate"]), NONE,
        "What the errors of the values are taken for in error bars and chi2 of loss mse: what the model file holds"),
    key("encode.starts_from", Text, NONE,
        "Output of gfe encode at whose codes samples start").of_solver(&["ptc"]),
    key("encode.fail_above", Number(FRACTION), Is("0.05"),
        "Fraction of failed rows above which the exit code is 1"),
    key("encode.shard", Part, NONE,
        "Share I/N of the rows that is encoded alone, I from 1"),
    key("encode.shard_rows", Count(1, 1 << 40), Depends("what fills some MiB, or a minute"),
        "Rows that are committed together"),
    key("encode.keep_parts", Flag, Is("false"),
        "Whether the output is a small file of virtual datasets over its parts, which stay"),
    key("encode.reproducible", Flag, Is("false"),
        "Whether what differs from one run to another is left out of the output"),

    key("decoder.plugin", Text, NONE,
        "Decoder plugin: a library by its path, or by a name in the folders of GFE_PLUGIN_PATH"),
    key("decoder.config", TextOrTable, NONE,
        "The plugin's own configuration: a table, JSON as a text, or the path of a JSON file"),
    key("decoder.sha256", Text, NONE,
        "SHA-256 that the plugin's library must have, in hexadecimal"),
    key("decoder.decoder", Choice(&["dense"]), Is("\"dense\""),
        "The built-in decoder"),
    key("decoder.latent", Count(1, 1 << 40), NONE,
        "Length of a code"),
    key("decoder.layers", Counts, NONE,
        "Outputs of every linear layer; the last is the number of values of a sample"),
    key("decoder.activation", Choice(ACTIVATIONS), NONE,
        "Between the layers"),
    key("decoder.output", Choice(&["values", "logits", "log_rates"]), NONE,
        "What a decoded value means"),

    key("data.input", Text, NONE,
        "Training data: FILE.h5, FILE.h5:/DATASET or plugin:NAME?key=value; the first axis counts samples"),
    key("data.rows", Rows, Depends("all"),
        "Rows of the input"),
    key("data.select", Text, NONE,
        "Only rows whose value in a dataset is one of these: DATASET=VALUE,VALUE,..."),
    key("data.context", Texts, NONE,
        "Datasets of what is known of each sample and enters the decoder"),
    key("data.sigma", TextOrNumber, NONE,
        "Standard errors of the values: a dataset, or a number for all"),
    key("data.mask", Text, NONE,
        "Dataset of which values are missing: those where it is not 0"),
    key("data.weight", Text, NONE,
        "Dataset of the weights of values, 0 or more; 0 masks a value"),
    key("data.nan_missing", Flag, Is("false"),
        "Whether a NaN is a missing value"),
    key("data.validation", Share, Is("0.1"),
        "Samples held out for validation: a fraction below 1, or a number of samples (of groups, with `groups`)"),
    key("data.validation_rows", Rows, NONE,
        "Rows to validate with, instead of `validation`"),
    key("data.groups", Text, NONE,
        "Dataset whose equal values stay together, in training or in validation"),
    key("data.held_out", Number(PART), Is("0.8"),
        "Part of the values that a further encoding of validation samples does not see; 0 for none"),
    key("data.held_out_seed", Count(0, SEED), Is("0"),
        "Seed of which values these are"),

    key("train.method", Choice(LEARNING), Is("\"flow\""),
        "How codes of training samples are found: by the flow, or as a baseline does"),
    key("train.gradient", Choice(&["approximate", "implicit", "adjoint"]), Is("\"approximate\""),
        "The gradient: at the codes, or through the minimum or the integration that gave them").of_flow(),
    key("train.quadrature_stride", Count(1, MANY), Is("1"),
        "Steps between two evaluations of the adjoint's integrand").of("train.gradient", &["adjoint"]),
    key("train.outer", Choice(&["objective", "loss"]), Depends("loss for the implicit gradient, else objective"),
        "What is minimized over the weights").of_flow(),
    key("train.hide", Number(PART), Is("0.0"),
        "Part of the values that the codes do not see in training").of("train.gradient", &["implicit"]),
    key("train.hide_seed", Count(0, SEED), Is("0"),
        "Seed of which values these are").of("train.gradient", &["implicit"]),
    key("train.start", Choice(&["z0", "previous", "warm", "learned"]), Is("\"z0\""),
        "Where the flow of a training sample begins").of_flow(),
    key("train.precision", Choice(&["mixed", "f64"]), Is("\"mixed\""),
        "Precision of the approximate gradient's integrations away from their ends").of_flow(),
    key("train.visit_steps", Count(1, U32), NONE,
        "Steps of a sample per visit, without a bound if there is none").of_flow(),
    key("train.encoder_layers", Counts, Depends("the decoder's, mirrored"),
        "Hidden layers of the encoder network").of("train.method", &["autoencoder"]),
    key("train.judged_by", Choice(&["flow", "encoder"]), Is("\"flow\""),
        "Whose codes `patience` judges").of("train.method", &["autoencoder"]),
    key("train.code_learning_rate", Number(POSITIVE), Depends("10 times learning_rate"),
        "Learning rate of the codes").of("train.method", &["auto-decoder"]),
    key("train.optimizer", Choice(&["rmsprop", "adam", "adamw"]), Is("\"rmsprop\""),
        "Optimizer of the weights").of_steps(),
    key("train.learning_rate", Number(POSITIVE), Depends("5e-4 for rmsprop, else 1e-3"),
        "Size of a step of the weights").of_steps(),
    key("train.decay", Number(PART), Is("0.9"),
        "Memory of the mean square gradient").of("train.optimizer", &["rmsprop"]),
    key("train.beta1", Number(PART), Is("0.9"),
        "Memory of the mean gradient").of("train.optimizer", &["adam", "adamw"]),
    key("train.beta2", Number(PART), Is("0.999"),
        "Memory of the mean square gradient").of("train.optimizer", &["adam", "adamw"]),
    key("train.weight_decay", Number(NOT_NEGATIVE), Is("1e-2"),
        "Decay of the weights per unit of learning rate").of("train.optimizer", &["adamw"]),
    key("train.eps", Number(POSITIVE), Depends("1e-6 for rmsprop, else 1e-8"),
        "Added to the root mean square gradient").of_steps(),
    key("train.schedule", Choice(&["constant", "cosine", "exponential", "step"]), Is("\"constant\""),
        "How the learning rate falls").of_steps(),
    key("train.schedule_last", Number(NOT_NEGATIVE), Is("0.0"),
        "Factor of the learning rate at the end").of("train.schedule", &["cosine"]),
    key("train.schedule_factor", Number(POSITIVE), Depends("0.95 for exponential, 0.1 for step"),
        "Factor of the learning rate per epoch, or per step of the schedule").of("train.schedule", &["exponential", "step"]),
    key("train.schedule_every", Count(1, MANY), Is("10"),
        "Epochs between two steps of the schedule").of("train.schedule", &["step"]),
    key("train.warm_up", Number(NOT_NEGATIVE), Is("0.0"),
        "Epochs in which the learning rate rises from 0").of_steps(),
    key("train.clip_norm", Number(POSITIVE), NONE,
        "Bound on the norm of the gradient of a mini-batch").of_steps(),
    key("train.batch_size", Count(1, 1 << 20), Is("16"),
        "Samples of a mini-batch").of_steps(),
    key("train.epochs", Count(1, MANY), Depends("10, unless `samples` is set"),
        "Passes over the training samples").of_steps(),
    key("train.samples", Count(1, 1 << 53), NONE,
        "Training samples seen in all, instead of `epochs`").of_steps(),
    key("train.seed", Count(0, SEED), Is("0"),
        "Seed of the weights, the order of samples and the split"),
    key("train.validate_every", Count(1, MANY), Depends("1, unless `validate_samples` is set"),
        "Epochs between two validations").of_steps(),
    key("train.validate_samples", Count(1, 1 << 53), NONE,
        "Training samples between two validations, instead of `validate_every`").of_steps(),
    key("train.patience", Count(1, MANY), NONE,
        "Validations without a better one after which training ends").of_steps(),
    key("train.checkpoint_minutes", Number(NOT_NEGATIVE), Is("5.0"),
        "Minutes between two checkpoints").of_steps(),
    key("train.regression_samples", Count(0, MANY), Is("1000"),
        "Training samples of the regression for --warm-start; 0 for none"),
];
