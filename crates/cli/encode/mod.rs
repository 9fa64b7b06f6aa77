//! `gfe encode`: commits part after part in OUT.parts, and merges them into OUT; see [`gfe_io::Parts`].

mod arguments;
mod dry_run;
mod job;
mod rows;
mod work;

pub use arguments::Arguments;
pub use job::{check, scale, text_of};
pub use work::block_rows;

use crate::error::CliError;
use crate::logs::say;
use crate::output;
use crate::parts::{is_output, is_over_parts, merge};
use crate::signals::Signals;
use gfe_io::{EncodedWriter, Hold, IoError, Manifest, Parts, sha256};
use job::Job;
use serde_json::json;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Runs the command; the exit code is 1 where too many rows failed.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let mut job = Job::new(arguments)?;
    if arguments.dry_run {
        return dry_run::run(job, arguments.json);
    }
    let start = Instant::now();
    let layout = job.layout();
    let skeleton = EncodedWriter::skeleton(&job.output, &layout)?;
    let mut identity = job.identity();
    identity.insert("layout".into(), json!({"skeleton_sha256": sha256(&skeleton)}));
    let manifest = Manifest {
        rows: job.rows.clone(),
        identity,
        environment: job.environment(),
        skeleton_sha256: String::new(),
    };
    if let Some(code) = finished(&job, &manifest, arguments)? {
        return Ok(code);
    }
    // What comes meanwhile is somebody else's.
    let replace = arguments.force || job.output.exists();
    let signals = Signals::note()?;
    signals.end_in_time();
    let hold = job.share.map_or(Hold::Whole, |(i, n)| Hold::Share { i, n });
    let own = job.own();
    let begun = (hold, own.clone());
    let mut parts = Parts::begin(&job.output, (manifest, &skeleton), begun, arguments.force)?;
    let before = tell(&parts, &own);
    let result =
        space(&parts, &layout, job.keep_parts).and_then(|()| job.encode(&mut parts, (own.clone(), &layout), &signals));
    let summary = match result {
        Ok(summary) => summary,
        Err(error) => {
            if parts.parts().is_empty() && hold == Hold::Whole {
                // Nothing is lost, and the error that led here is the one to tell.
                let _ = parts.remove();
            }
            return Err(error);
        }
    };
    if signals.came().load(Ordering::Relaxed) && summary.rows() < own.len() {
        say!(
            "stopped after {} of {} samples; {} keeps them: the same command goes on",
            summary.rows(),
            own.len(),
            Parts::folder(&job.output).display()
        );
        return Ok(ExitCode::from(&signals));
    }
    match job.share {
        Some(_) => {}
        None if job.keep_parts => parts.keep(&layout, replace)?,
        None => merge(parts, &signals, replace)?,
    }
    let elapsed = start.elapsed();
    if arguments.json {
        let mut told = summary.json(elapsed);
        told["output"] = json!(job.output);
        told["resumed"] = json!(before);
        output::say(&told.to_string())?;
    } else {
        summary.print(elapsed);
    }
    // Of a share nobody knows how many rows fail in all: gfe merge tells.
    let failed = job.share.is_none() && summary.failed_above(job.fail_above);
    Ok(ExitCode::from(u8::from(failed)))
}

/// Where the output stands already: the end of the run, if it is this very output that an interrupted run finished or that
/// shares were merged into; an error, if it may not be replaced.
fn finished(job: &Job, manifest: &Manifest, arguments: &Arguments) -> Result<Option<ExitCode>, CliError> {
    if !job.output.exists() {
        return Ok(None);
    }
    let (this_one, over_parts) = (is_output(&job.output, manifest), is_over_parts(&job.output));
    // A share of an output that is there to the byte is done, whatever may be replaced.
    if arguments.force && !(this_one && job.share.is_some()) {
        return Ok(None);
    }
    let done = || {
        say!("{}: done already", job.output.display());
        Ok(Some(ExitCode::SUCCESS))
    };
    if this_one && over_parts && (job.keep_parts || job.share.is_some()) {
        // Parts that are lost are made again.
        let whole = Parts::peek(&job.output).is_ok_and(|found| found.missing.is_empty());
        return if whole { done() } else { Ok(None) };
    }
    // The folder of parts goes last; without a manifest of its own it holds nothing but what was to be removed.
    let interrupted = Parts::folder(&job.output).is_dir()
        && match Parts::peek(&job.output) {
            Ok(found) => is_output(&job.output, &found.manifest),
            Err(error) => matches!(error, IoError::NotFound { .. }),
        };
    if this_one && !over_parts && (job.share.is_some() || interrupted) {
        if interrupted {
            Parts::sweep(&job.output)?;
        }
        return done();
    }
    Err(CliError::Exists(job.output.display().to_string()))
}

/// Fails where the disk has no room for the parts to come and, if they are not kept, for the output that they are merged into.
fn space(parts: &Parts, layout: &gfe_io::EncodedLayout, keep: bool) -> Result<(), CliError> {
    let rows = layout.samples.max(1) as u64;
    let missing: usize = parts
        .missing(parts.manifest().rows.clone())
        .iter()
        .map(ExactSizeIterator::len)
        .sum();
    let bytes = layout.bytes();
    let merged = if keep { 0 } else { bytes };
    Ok(parts.check_space((bytes / rows * missing as u64).saturating_add(merged))?)
}

/// Says where a run goes on; gives the rows that were done before.
fn tell(parts: &Parts, own: &Range<usize>) -> usize {
    let folder = Parts::folder(parts.output());
    let missing: usize = parts.missing(own.clone()).iter().map(ExactSizeIterator::len).sum();
    let (before, own) = (own.len() - missing, own.len());
    if parts.lacks_locks() {
        say!(
            "{}: this file system has no locks, so nothing keeps a second run away",
            folder.display()
        );
    }
    if parts.damaged() > 0 {
        say!("{}: {} damaged parts are made again", folder.display(), parts.damaged());
    }
    if parts.dropped() > 0 {
        say!(
            "{}: {} parts of another output are dropped",
            folder.display(),
            parts.dropped()
        );
    }
    if before > 0 {
        say!("{}: going on after {before} of {own} samples", folder.display());
    }
    before
}
