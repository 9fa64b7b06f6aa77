//! `gfe config`: what is wrong in a run file, and the schema of run files.

use crate::encode;
use crate::error::CliError;
use crate::finding::Finding;
use crate::logs::{self, say};
use crate::method::Method;
use crate::model::dense;
use crate::settings::{SECTIONS, Settings};
use crate::{output, schema, train};
use clap::{Args, Subcommand, ValueEnum};
use gfe_model::Decoder;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Subcommand)]
pub enum Command {
    /// Find everything that is wrong in a run file; opens no other file.
    Check(CheckArguments),
    /// Print the JSON Schema of run files, for editors.
    Schema,
}

#[derive(Args)]
pub struct CheckArguments {
    /// The run file (TOML).
    file: PathBuf,
    /// The command that it is for. Default: train if it has a section `train` or `data`, else encode.
    #[arg(long = "for", value_name = "COMMAND")]
    command: Option<For>,
    /// A setting that the command will be given too; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Print the outcome as one JSON object on stdout.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum For {
    Encode,
    Train,
}

/// Runs one of the commands.
pub fn run(command: &Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Check(arguments) => check(arguments),
        Command::Schema => output::say(&schema::text()).map(|()| ExitCode::SUCCESS),
    }
}

fn check(arguments: &CheckArguments) -> Result<ExitCode, CliError> {
    let path = &arguments.file;
    let mut settings = Settings::default();
    let mut findings = settings.read_all(path)?;
    for text in &arguments.set {
        settings.set(text, &SECTIONS)?;
    }
    let trains = ["train", "data"].iter().any(|name| !settings.section(name).is_empty());
    let command = arguments
        .command
        .unwrap_or(if trains { For::Train } else { For::Encode });
    // One by one: a wrong value would be told again by whoever uses it.
    findings.extend(findings_of(settings.check(), path)?);
    if findings.is_empty() {
        findings = together(&settings, command, path)?;
    }
    findings.sort_by_key(Finding::order);
    findings.dedup();
    if arguments.json {
        let errors: Vec<_> = findings.iter().map(Finding::json).collect();
        let told = json!({"path": path, "valid": findings.is_empty(), "errors": errors});
        output::say(&told.to_string())?;
    } else if findings.is_empty() {
        say!("{}: nothing is wrong", path.display());
    } else {
        findings.iter().for_each(|finding| logs::fault(&finding.to_string()));
        say!("{}: errors: {}", path.display(), findings.len());
    }
    Ok(ExitCode::from(if findings.is_empty() { 0 } else { 78 }))
}

/// What is wrong with values that are right by themselves.
fn together(settings: &Settings, command: For, path: &Path) -> Result<Vec<Finding>, CliError> {
    // Stands for a decoder that is not known here: one that can do everything.
    let able = dense(json!({"latent": 1, "layers": [1], "activation": "identity", "output": "values"}))?;
    let mut findings = Vec::new();
    let method = |decoder: &dyn Decoder| Method::new(settings, decoder, decoder.output().loss());
    match command {
        For::Encode => {
            let checked = method(&able).map(|method| encode::check(settings, &method));
            for outcome in checked.map_or_else(|error| vec![Err(error)], Vec::from) {
                findings.extend(findings_of(outcome, path)?);
            }
        }
        For::Train => {
            let input = settings.need::<String>(
                "data.input",
                "name the training data, as in input = \"data.h5:/images\"",
            );
            findings.extend(findings_of(input.map(|_| ()), path)?);
            findings.extend(findings_of(train::check(settings, &able), path)?);
        }
    }
    Ok(findings)
}

/// An outcome as findings in the file; what has nothing to do with it fails.
fn findings_of(outcome: Result<(), CliError>, path: &Path) -> Result<Vec<Finding>, CliError> {
    match outcome {
        Ok(()) => Ok(Vec::new()),
        Err(CliError::RunFile(findings)) => Ok(findings),
        Err(CliError::Usage(text) | CliError::Config(text) | CliError::Decoder(text)) => {
            Ok(vec![Finding::whole(path, text)])
        }
        Err(other) => Err(other),
    }
}
