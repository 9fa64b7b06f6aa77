//! `gfe import --check`: does a model file from elsewhere decode here as it did there?

use crate::decode::decoded;
use crate::error::CliError;
use crate::model::{Model, PluginChoice};
use crate::output;
use crate::settings::Settings;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Model file with test vectors, as datasets/gfe_export.py writes it.
    model: PathBuf,
    /// Decode the file's test vectors and compare.
    #[arg(long, required = true)]
    check: bool,
    /// The decoder's plugin, by path or name. Default: as the model file says.
    #[arg(long)]
    decoder: Option<String>,
    /// Largest difference, relative to the largest value of a vector, that is none.
    #[arg(long, default_value_t = 1e-5)]
    tolerance: f64,
    /// Print the outcome as one JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// Runs the command; exit code 1 where the vectors differ.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let mut settings = Settings::default();
    settings.flag("decoder.plugin", arguments.decoder.clone());
    let model = Model::read(Some(&arguments.model), &PluginChoice::new(&settings)?)?;
    let path = arguments.model.display();
    let Some((z, x)) = model.vectors(&arguments.model)? else {
        return Err(CliError::BadData(format!(
            "{path}: it holds no test vectors: export it with datasets/gfe_export.py"
        )));
    };
    let decoder = (model.architecture.opener())();
    let found = decoded(&*decoder, &model.params, z.as_ref(), None)?;
    // A NaN is never lost among larger differences.
    let worse = |most: f64, error: f64| if most.is_nan() || error <= most { most } else { error };
    let mut worst = 0.0_f64;
    for b in 0..x.ncols() {
        let size = x.col_as_slice(b).iter().map(|value| value.abs()).fold(0.0, worse);
        let differences = x
            .col_as_slice(b)
            .iter()
            .zip(found.col_as_slice(b))
            .map(|(a, b)| (a - b).abs());
        let most = differences.fold(0.0, worse);
        worst = worse(worst, if most == 0.0 { 0.0 } else { most / size });
    }
    let same = worst <= arguments.tolerance;
    if arguments.json {
        output::say(&json!({"vectors": x.ncols(), "worst": worst, "same": same}).to_string())?;
    } else {
        let word = if same { "the same" } else { "DIFFERENT" };
        output::say(&format!(
            "{path}: {} test vectors, {word}: relative differences up to {worst:.1e}",
            x.ncols()
        ))?;
    }
    Ok(ExitCode::from(u8::from(!same)))
}
