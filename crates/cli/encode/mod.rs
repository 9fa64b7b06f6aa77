//! `gfe encode`: commits part after part in OUT.parts, and merges them into OUT; see [`gfe_io::Parts`].

mod arguments;
mod job;
mod rows;
mod work;

pub use arguments::Arguments;
pub use job::{scale, text_of};

use crate::error::CliError;
use crate::output;
use crate::parts::merge;
use crate::signals::Signals;
use gfe_io::{EncodedWriter, Hold, Manifest, Parts};
use job::Job;
use serde_json::json;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Runs the command; the exit code is 1 where too many rows failed.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let mut job = Job::new(arguments)?;
    let start = Instant::now();
    let layout = job.layout();
    let skeleton = EncodedWriter::skeleton(&job.output, &layout)?;
    let manifest = Manifest {
        rows: job.rows.clone(),
        identity: job.identity(),
        environment: job.environment(),
        skeleton_sha256: String::new(),
    };
    let hold = job.share.map_or(Hold::Whole, |(i, n)| Hold::Share { i, n });
    let mut parts = Parts::begin(&job.output, (manifest, &skeleton), hold, arguments.force)?;
    let own = job.own();
    let result = space(&parts, &layout).and_then(|()| {
        let before = tell(
            &parts,
            own.len(),
            parts.missing(own.clone()).iter().map(ExactSizeIterator::len).sum(),
        );
        let signals = Signals::note()?;
        signals.end_in_time();
        let summary = job.encode(&mut parts, (own.clone(), &layout), &signals)?;
        Ok((summary, before, signals))
    });
    let (summary, before, signals) = match result {
        Ok(result) => result,
        Err(error) => {
            if parts.parts().is_empty() && hold == Hold::Whole {
                // Nothing is lost, and the error that led here is the one to tell.
                let _ = parts.remove();
            }
            return Err(error);
        }
    };
    let stopped = || signals.came().load(Ordering::Relaxed);
    if stopped() && summary.rows() < own.len() {
        eprintln!(
            "stopped after {} of {} samples; {} keeps them: the same command goes on",
            summary.rows(),
            own.len(),
            Parts::folder(&job.output).display()
        );
        return Ok(ExitCode::from(&signals));
    }
    if job.share.is_none() {
        merge(parts, &signals)?;
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
    Ok(ExitCode::from(u8::from(summary.failed_above(job.fail_above))))
}

/// Fails where the disk has no room for the parts to come and for the output that they are merged into.
fn space(parts: &Parts, layout: &gfe_io::EncodedLayout) -> Result<(), CliError> {
    let rows = layout.samples.max(1) as u64;
    let missing: usize = parts
        .missing(parts.manifest().rows.clone())
        .iter()
        .map(ExactSizeIterator::len)
        .sum();
    let bytes = layout.bytes();
    Ok(parts.check_space(bytes.saturating_add(bytes / rows * missing as u64))?)
}

/// Says where a run goes on; gives the rows that were done before.
fn tell(parts: &Parts, own: usize, missing: usize) -> usize {
    let folder = Parts::folder(parts.output());
    if parts.damaged() > 0 {
        eprintln!("{}: {} damaged parts are made again", folder.display(), parts.damaged());
    }
    if parts.dropped() > 0 {
        eprintln!(
            "{}: {} parts of another output are dropped",
            folder.display(),
            parts.dropped()
        );
    }
    if missing < own {
        eprintln!(
            "{}: going on after {} of {own} samples",
            folder.display(),
            own - missing
        );
    }
    own - missing
}
