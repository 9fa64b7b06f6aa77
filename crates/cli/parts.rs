//! `gfe merge` and `gfe status`: the parts of an encoded output.

use crate::error::CliError;
use crate::output;
use crate::signals::Signals;
use clap::Args;
use gfe_io::{EncodedFile, IoError, Parts, write_merged};
use serde_json::{Value, json};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;

/// The hidden command by which a merge runs in a process of its own.
pub const WORKER: &str = "merge-worker";

/// Flags of `gfe merge`.
#[derive(Args)]
pub struct MergeArguments {
    /// The output whose parts, in OUTPUT.parts, are to be merged.
    output: PathBuf,
    /// Overwrite the output file.
    #[arg(long)]
    force: bool,
}

/// Flags of `gfe status`.
#[derive(Args)]
pub struct StatusArguments {
    /// An output of gfe encode, there or to come.
    output: PathBuf,
    /// Print one JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// Flags of the hidden command.
#[derive(Args)]
pub struct WorkerArguments {
    output: PathBuf,
    temporary: PathBuf,
}

/// Runs `gfe merge`.
pub fn run_merge(arguments: &MergeArguments) -> Result<ExitCode, CliError> {
    let parts = Parts::open(&arguments.output).map_err(|error| none(&arguments.output, error))?;
    output::check(&arguments.output, arguments.force, &[])?;
    let rows = parts.manifest().rows.len();
    merge(parts, &Signals::note()?)?;
    eprintln!("{}: {rows} samples", arguments.output.display());
    Ok(ExitCode::SUCCESS)
}

/// Merges parts into their output, whole or not at all, and removes them.
///
/// HDF5 dies where a disk fails under it; so the merge is done by a process of its own, and whatever becomes of it, the
/// parts and what stood under the output's name stand.
pub fn merge(parts: Parts, signals: &Signals) -> Result<(), CliError> {
    let missing = parts.missing(parts.manifest().rows.clone());
    if !missing.is_empty() {
        return Err(CliError::Io(IoError::RowsMissing {
            path: Parts::folder(parts.output()),
            rows: missing,
        }));
    }
    let temporary = parts.temporary();
    let done = Command::new("/proc/self/exe")
        .arg(WORKER)
        .args([parts.output(), &temporary])
        .status()
        .map_err(|error| CliError::Internal(format!("the process that merges cannot be started: {error}")))?;
    if done.success() {
        return Ok(parts.publish()?);
    }
    // A worker that was killed leaves its file; what cannot be removed does no harm.
    let _ = std::fs::remove_file(&temporary);
    if signals.came().load(Ordering::Relaxed) {
        return Err(CliError::Stopped(signals.exit_code(), parts.output().to_owned()));
    }
    Err(CliError::NotMerged {
        output: parts.output().to_owned(),
        parts: Parts::folder(parts.output()),
        how: done.to_string(),
    })
}

/// Runs the hidden command.
pub fn run_worker(arguments: &WorkerArguments) -> Result<ExitCode, CliError> {
    // The file would be nobody's.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| CliError::Internal(format!("the end of the parent process cannot be waited for: {error}")))?;
    write_merged(&Parts::of_parent(&arguments.output)?, &arguments.temporary)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs `gfe status`.
pub fn run_status(arguments: &StatusArguments) -> Result<ExitCode, CliError> {
    let told = match Parts::peek(&arguments.output) {
        Ok(found) => {
            let rows = &found.manifest.rows;
            let missing: usize = found.missing.iter().map(ExactSizeIterator::len).sum();
            let state = match (found.running, missing) {
                (true, _) => "running",
                (false, 0) => "to be merged",
                (false, _) => "incomplete",
            };
            json!({"state": state, "rows": pair(rows), "samples": rows.len(), "done": rows.len() - missing,
                "missing": found.missing.iter().map(pair).collect::<Vec<_>>(), "parts": found.parts.len(),
                "output_exists": arguments.output.exists()})
        }
        Err(IoError::NotFound { .. }) => {
            let file = EncodedFile::open(&arguments.output).map_err(|error| none(&arguments.output, error))?;
            json!({"state": "complete", "samples": file.samples(), "done": file.samples(), "missing": [], "parts": 0,
                "output_exists": true})
        }
        Err(error) => return Err(error.into()),
    };
    if arguments.json {
        output::say(&told.to_string())?;
    } else {
        let missing = told["missing"].as_array().map_or(0, Vec::len);
        let text = format!(
            "{}: {}, {} of {} samples in {} parts",
            arguments.output.display(),
            told["state"].as_str().unwrap_or_default(),
            told["done"],
            told["samples"],
            told["parts"]
        );
        output::say(&if missing > 0 {
            format!("{text}; missing: {}", told["missing"])
        } else {
            text
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn pair(rows: &Range<usize>) -> Value {
    json!([rows.start, rows.end])
}

/// The error for an output of which there is nothing.
fn none(output: &Path, error: IoError) -> CliError {
    match error {
        IoError::NotFound { .. } => CliError::Io(IoError::NotFound {
            path: output.to_owned(),
        }),
        error => CliError::Io(error),
    }
}
