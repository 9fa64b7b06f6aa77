//! `gfe merge` and `gfe status`: the parts of an encoded output.

use crate::error::CliError;
use crate::logs::say;
use crate::signals::Signals;
use crate::{logs, output};
use clap::Args;
use gfe_io::{EncodedFile, IoError, Manifest, Parts, write_merged};
use gfe_ode::Status;
use serde_json::{Value, json};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Rows read at once.
const BLOCK_ROWS: usize = 1 << 16;

/// The hidden command by which a merge runs in a process of its own.
pub const WORKER: &str = "merge-worker";

/// Flags of `gfe merge`.
#[derive(Args)]
pub struct MergeArguments {
    /// The output whose parts, in OUTPUT.parts, are to be merged.
    output: PathBuf,
    /// Fraction of failed rows above which the exit code is 1.
    #[arg(long, default_value_t = 0.05)]
    fail_above: f64,
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
    parent: i32,
}

/// Runs `gfe merge`.
pub fn run_merge(arguments: &MergeArguments) -> Result<ExitCode, CliError> {
    let (output, signals) = (&arguments.output, Signals::note()?);
    if !(0.0..=1.0).contains(&arguments.fail_above) {
        let text = format!("--fail-above is {}: it must be between 0 and 1", arguments.fail_above);
        return Err(CliError::Usage(text));
    }
    match Parts::open(output) {
        Ok(parts) if is_output(output, parts.manifest()) && !is_over_parts(output) => {
            // It was merged, and only the parts were left.
            parts.remove()?;
        }
        Ok(parts) => {
            output::check(output, arguments.force, &[])?;
            merge(parts, &signals, arguments.force)?;
        }
        Err(IoError::NotFound { .. }) if EncodedFile::is_one(output) => say!("{}: merged already", output.display()),
        Err(IoError::NotFound { .. }) => {
            let folder = Parts::folder(output);
            let text = format!("{}: there are no parts of {}", folder.display(), output.display());
            return Err(CliError::NoRunFile(format!(
                "{text}: encode its shares first, by gfe encode --shard I/N"
            )));
        }
        Err(error) => return Err(error.into()),
    }
    let (rows, failed) = failures(&EncodedFile::open(output)?)?;
    logs::tell(&format!(
        "{}: {rows} samples, of which {failed} failed",
        output.display()
    ));
    let above = failed as f64 > arguments.fail_above * rows as f64;
    Ok(ExitCode::from(u8::from(above)))
}

/// Rows of an output, and how many of them failed.
fn failures(file: &EncodedFile) -> Result<(usize, usize), CliError> {
    let (rows, mut failed) = (file.samples(), 0);
    for first in (0..rows).step_by(BLOCK_ROWS) {
        let status = file.read("status", first..rows.min(first + BLOCK_ROWS))?;
        let bad = |code: &&f64| {
            !Status::ALL
                .iter()
                .any(|status| status.is_success() && f64::from(*status as i8) == **code)
        };
        failed += status.iter().filter(bad).count();
    }
    Ok((rows, failed))
}

/// Whether the file `output` is there and the output that the manifest describes.
pub fn is_output(output: &Path, manifest: &Manifest) -> bool {
    let Ok(file) = EncodedFile::open(output) else {
        return false;
    };
    let Some(rows) = file.told_rows() else {
        return false;
    };
    manifest.describes(&rows, |name| file.note(name))
}

/// Whether the file `output` is there and has its rows in parts beside it.
pub fn is_over_parts(output: &Path) -> bool {
    EncodedFile::open(output).is_ok_and(|file| file.is_over_parts())
}

/// Merges parts into their output, whole or not at all, and removes them.
///
/// HDF5 dies where a disk fails under it; so the merge is done by a process of its own, and whatever becomes of it, the
/// parts and what stood under the output's name stand.
pub fn merge(parts: Parts, signals: &Signals, replace: bool) -> Result<(), CliError> {
    let missing = parts.missing(parts.manifest().rows.clone());
    if !missing.is_empty() {
        return Err(CliError::Io(IoError::RowsMissing {
            path: Parts::folder(parts.output()),
            rows: missing,
        }));
    }
    let temporary = parts.temporary();
    let mut worker = Command::new("/proc/self/exe")
        .args(logs::arguments())
        .args([WORKER, "--"])
        .args([parts.output(), &temporary])
        .arg(std::process::id().to_string())
        .spawn()
        .map_err(|error| CliError::Internal(format!("the process that merges cannot be started: {error}")))?;
    let failed = |error| CliError::Internal(format!("the process that merges cannot be waited for: {error}"));
    let done = loop {
        if let Some(done) = worker.try_wait().map_err(failed)? {
            break done;
        }
        if signals.came().load(Ordering::Relaxed) {
            // It may have ended in between.
            let _ = worker.kill();
            worker.wait().map_err(failed)?;
            let _ = std::fs::remove_file(&temporary);
            return Err(CliError::Stopped(signals.exit_code(), parts.output().to_owned()));
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    if done.success() {
        return Ok(parts.publish(replace)?);
    }
    // A worker that was killed leaves its file; what cannot be removed does no harm.
    let _ = std::fs::remove_file(&temporary);
    Err(CliError::NotMerged {
        output: parts.output().to_owned(),
        parts: Parts::folder(parts.output()),
        how: done.to_string(),
        // What is wrong with the parts themselves is not the disk's fault.
        code: if done.code() == Some(65) { 65 } else { 74 },
    })
}

/// Runs the hidden command.
pub fn run_worker(arguments: &WorkerArguments) -> Result<ExitCode, CliError> {
    // The file would be nobody's.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|error| CliError::Internal(format!("the end of the parent process cannot be waited for: {error}")))?;
    if rustix::process::Pid::as_raw(rustix::process::getppid()) != arguments.parent {
        return Err(CliError::Internal(
            "the process that this one works for has ended".into(),
        ));
    }
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
                (false, n)
                    if is_output(&arguments.output, &found.manifest)
                        && (n == 0 || !is_over_parts(&arguments.output)) =>
                {
                    "complete"
                }
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
