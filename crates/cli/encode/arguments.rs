//! The flags of `gfe encode`, and the settings that they come to.

use crate::error::CliError;
use crate::flags::MethodFlags;
use crate::settings::Settings;
use clap::Args;
use std::path::PathBuf;

/// A setting is taken from its flag, else --set, else the run file, else what the model file records of its training,
/// else the default.
#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Arguments {
    /// Input: FILE.h5, FILE.h5:/DATASET or plugin:NAME?key=value&key=value; the first axis counts samples.
    pub(super) input: Option<String>,
    /// Weights: a safetensors file with the decoder's architecture in the metadata.
    #[arg(short, long)]
    pub(super) model: Option<String>,
    /// Decoder plugin: a library by its path, or by a name in the folders of GFE_PLUGIN_PATH. Default: what the model file
    /// says.
    #[arg(long)]
    pub(super) decoder: Option<String>,
    /// The decoder plugin's configuration: JSON, or the path of a JSON file.
    #[arg(long, value_name = "JSON")]
    pub(super) decoder_config: Option<String>,
    /// Output file.
    #[arg(short, long)]
    pub(super) output: Option<String>,
    /// Run file (TOML) with the sections `method`, `encode` and, for a plugin, `decoder`.
    #[arg(short, long)]
    pub(super) config: Option<PathBuf>,
    /// A setting by its key in the run file; may be repeated. VALUE is TOML or a bare text.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    #[command(flatten)]
    pub(super) method: MethodFlags,
    /// Rows A..B of the input, B excluded. Default: all.
    #[arg(long)]
    pub(super) rows: Option<String>,
    /// ptc: start at the linear regression of codes on data that the model file holds; the horizon stays tied to z0.
    #[arg(long)]
    pub(super) warm_start: bool,
    /// Write what z decodes to as well, in units of the input times its scale: D(z), for bce its sigmoid, for poisson its
    /// exponential; with flags that tell which values stand for missing ones.
    #[arg(long)]
    pub(super) reconstruction: bool,
    /// Write time, loss and gradient norm of every accepted step too.
    #[arg(long)]
    pub(super) trace: bool,
    /// Write latents, loss and gradient norm at these times up to each row's end, as in --trace-at 0,10,100; not ptc, whose
    /// steps lead to the end alone.
    #[arg(long, value_name = "T,T,...", value_delimiter = ',', conflicts_with = "trace")]
    pub(super) trace_at: Vec<f64>,
    /// Pass a dataset with one value per sample through, such as labels; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(super) keep: Vec<String>,
    /// What is known of each sample and enters the decoder: a dataset beside the input, or FILE.h5:/DATASET; may be repeated.
    #[arg(long, value_name = "DATASET")]
    pub(super) context: Vec<String>,
    /// Standard errors of the values: a dataset beside the input with one per sample or per value, FILE.h5:/DATASET, or a
    /// number; inf masks a value. With them the loss of values is gaussian by default.
    #[arg(long, value_name = "DATASET")]
    pub(super) sigma: Option<String>,
    /// Starts of each sample, of which the lowest end is taken: the decoder's guesses, or z0 and points scattered about it.
    /// Default: 1.
    #[arg(long, value_name = "K")]
    pub(super) starts: Option<u32>,
    /// Write error bars too: the Laplace approximation; gaussian and poisson losses, and mse with --noise.
    #[arg(long)]
    pub(super) uncertainty: bool,
    /// Which values are missing, those where it is not 0: a dataset beside the input, of its shape or of one sample's, or
    /// FILE.h5:/DATASET. Beside it the input's attributes _FillValue and missing_value say which stored values are.
    #[arg(long, value_name = "DATASET")]
    pub(super) mask: Option<String>,
    /// Weights of the values, 0 or more: a dataset as for --mask; 0 masks a value. With loss gaussian they are 1/sigma^2 in
    /// units of the input; not with --sigma.
    #[arg(long, value_name = "DATASET")]
    pub(super) weight: Option<String>,
    /// Take a NaN of the input, of its weights or errors for a missing value. Without it a NaN that no attribute declares
    /// gives its row the status bad_input.
    #[arg(long)]
    pub(super) nan_missing: bool,
    /// Fraction of failed rows above which the exit code is 1. Default: 0.05.
    #[arg(long)]
    pub(super) fail_above: Option<f64>,
    /// Encode the share I of N of the rows alone, I from 1, beside runs of the other shares; then gfe merge OUTPUT.
    #[arg(long, value_name = "I/N")]
    pub(super) shard: Option<String>,
    /// Rows that are committed together: what an interruption can cost. Default: what fills some MiB, or a minute.
    #[arg(long, value_name = "ROWS")]
    pub(super) shard_rows: Option<u32>,
    /// Keep the parts in OUTPUT.parts, and make OUTPUT a small file of virtual datasets over them.
    #[arg(long)]
    pub(super) keep_parts: bool,
    /// Leave out of the output what differs from one run to another, such as the number of threads.
    #[arg(long)]
    pub(super) reproducible: bool,
    /// Print the summary as one JSON object on stdout.
    #[arg(long)]
    pub(super) json: bool,
    /// Overwrite the output file, and drop parts of other outputs in OUTPUT.parts.
    #[arg(long)]
    pub(super) force: bool,
    /// Tell what would be done, by every setting and where it comes from, what it would take, and how long, by a few samples;
    /// write nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Loss mse: what the errors of the values are taken for in --uncertainty and chi2. `estimate`: what the decoder left unexplained of
    /// the validation samples of its training, from the model file. The codes are the same.
    #[arg(long, value_name = "estimate")]
    pub(super) noise: Option<String>,
    /// ptc: start at the codes of this output of gfe encode that decode to what is nearest to the sample, as many as --starts says; the
    /// horizon stays tied to z0.
    #[arg(long, value_name = "CODES.h5")]
    pub(super) starts_from: Option<String>,
}

impl Arguments {
    pub(super) fn settings(&self) -> Result<Settings, CliError> {
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
        settings.flag("encode.mask", self.mask.clone());
        settings.flag("encode.weight", self.weight.clone());
        settings.flag("encode.nan_missing", self.nan_missing.then_some(true));
        settings.flag("encode.starts", self.starts);
        settings.flag("encode.uncertainty", self.uncertainty.then_some(true));
        settings.flag("encode.noise", self.noise.clone());
        settings.flag("encode.starts_from", self.starts_from.clone());
        settings.flag("encode.fail_above", self.fail_above);
        settings.flag("encode.shard", self.shard.clone());
        settings.flag("encode.shard_rows", self.shard_rows);
        settings.flag("encode.keep_parts", self.keep_parts.then_some(true));
        settings.flag("encode.reproducible", self.reproducible.then_some(true));
        Ok(settings)
    }
}
