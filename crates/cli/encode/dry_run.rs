//! `gfe encode --dry-run`: what an encoding would do, take and cost, by a few samples; writes nothing.

use super::job::Job;
use super::rows::row_of;
use super::work::block_rows;
use crate::error::CliError;
use crate::inspect::print;
use crate::logs::say;
use crate::method::Method;
use crate::output;
use crate::samples::Source;
use crate::settings::Resolved;
use crate::summary::{Summary, rate};
use gfe_encode::{Block, Encoding, Trace, encode_blocks};
use gfe_io::free_bytes;
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Rows of the first probe.
const FIRST: usize = 32;
/// Most rows of the second, which fills the lanes: one of few rows tells too little of a fast decoder.
const SECOND: usize = 512;
/// A first probe that took longer tells enough.
const ENOUGH: Duration = Duration::from_secs(1);
/// Rows of a probe that stand together.
const RUN: usize = 8;
/// Bytes of an output beside its rows.
const SLACK: u64 = 1 << 20;

/// Runs it for an encoding that is checked and ready.
pub(super) fn run(job: Job, as_json: bool) -> Result<ExitCode, CliError> {
    let settings = settings(&job);
    let layout = job.layout();
    let (shape, rows) = (job.model.shape(), job.own());
    let (output, keep_parts) = (job.output.clone(), job.keep_parts);
    let input = job.input.json();
    let decoder =
        json!({"latent": shape.latent, "data": shape.data, "weights": shape.params, "context": shape.context});
    let trace_values = 4 + if job.trace_at.is_empty() { 0 } else { shape.latent };
    let block = block_rows(shape.data, job.method.lanes()).min(rows.len());
    let block_bytes = (8 * block * (shape.data * 3 + shape.latent * 4)) as u64;
    let blocks = Encoding {
        starts: job.starts,
        ..job.method.encoding(&job.model.architecture.opener())
    }
    .blocks_in_memory(block)
    .min(rows.len().div_ceil(block.max(1)));
    let blocks_bytes = blocks as u64 * block_bytes;
    // A part is a file in memory, and then its bytes beside it.
    let part_rows = job.part_rows(&layout).min(rows.len()) as u64;
    let part_bytes = |needed: u64| 2 * needed / layout.samples.max(1) as u64 * part_rows;
    say!("encoding a few samples, to tell how long all will take");
    let probe = probe(job)?;
    let steps = probe.states as f64 / probe.rows.max(1) as f64;
    let traced = (steps * (8 * trace_values * layout.samples) as f64) as u64;
    let needed = layout.bytes().saturating_add(if layout.trace { traced } else { 0 }) + SLACK;
    // Parts stand beside the output until it is whole.
    let parts = (needed as f64 * rows.len() as f64 / layout.samples.max(1) as f64) as u64;
    let disk = if keep_parts {
        parts
    } else {
        needed.saturating_add(parts)
    };
    let free = free_bytes(&output)?;
    let per_second = probe.rows as f64 / probe.elapsed.as_secs_f64();
    let summary = probe.summary.json(probe.elapsed);
    let told = json!({
        "settings": settings.iter().map(|one| (one.key.name.to_owned(), one.json())).collect::<Map<String, Value>>(),
        "input": input,
        "rows": [rows.start, rows.end],
        "samples": rows.len(),
        "decoder": decoder,
        "output": {"path": output, "bytes": needed, "disk_bytes": disk, "free_bytes": free, "fits": disk <= free},
        "memory_bytes": peak_bytes().map(|peak| peak + blocks_bytes + part_bytes(needed)),
        "probe": {"samples": probe.rows, "failed": summary["failed"], "status": summary["status"],
            "seconds": summary["seconds"], "samples_per_second": summary["samples_per_second"]},
        "seconds": if probe.rows > 0 { json!(rows.len() as f64 / per_second) } else { json!(0.0) },
    });
    if as_json {
        output::say(&told.to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = String::from("settings:\n");
    for one in &settings {
        text += &format!("  {} = {}  ({})\n", one.key.name, one.text(), one.origin);
    }
    let mut rest = told;
    if let Some(rest) = rest.as_object_mut() {
        rest.shift_remove("settings");
    }
    print(&rest, 0, &mut text);
    output::say(text.trim_end())?;
    let hours = rows.len() as f64 / per_second / 3600.0;
    if probe.rows > 0 {
        say!(
            "about {} for {} samples, at {} samples per second; nothing was written",
            duration(hours),
            rows.len(),
            rate(per_second)
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// A time for people.
fn duration(hours: f64) -> String {
    match hours * 3600.0 {
        seconds if seconds < 120.0 => format!("{seconds:.1} s"),
        seconds if seconds < 7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{hours:.1} h"),
    }
}

/// Every key as it is used; what depends on decoder and data is filled in.
fn settings(job: &Job) -> Vec<Resolved> {
    let mut settings = job.settings.resolved(&["encode", "method", "decoder"]);
    let method = job.method.json();
    // A decoder's architecture stands in the model file.
    settings.retain(|one| one.key.section() != "decoder" || one.origin != "default");
    for one in settings.iter_mut().filter(|one| one.value.is_none()) {
        let known = match one.key.name {
            "method.scale" => Some(json!(job.input.scale())),
            "method.threads" => Some(json!(job.method.threads())),
            "encode.rows" => Some(json!(format!("{}..{}", job.rows.start, job.rows.end))),
            name => name
                .strip_prefix("method.")
                .and_then(|short| method.get(short).cloned()),
        };
        one.value = known.and_then(|known| toml::Value::try_from(known).ok());
    }
    settings
}

/// What was found by encoding a few samples.
struct Probe {
    rows: usize,
    elapsed: Duration,
    /// States on the way.
    states: usize,
    summary: Summary,
}

fn probe(job: Job) -> Result<Probe, CliError> {
    let (shape, rows) = (job.model.shape(), job.own());
    let open = job.model.architecture.opener();
    let common = job.z0.common(shape.latent);
    let mut encoding = job.method.encoding(&open);
    encoding.reconstruction = job.reconstruction;
    (encoding.starts, encoding.begin, encoding.uncertainty) = (job.starts, job.begin, job.uncertainty);
    encoding.noise = job.noise.as_ref();
    let elsewhere = job.warm_start.is_some() || job.starts_from.is_some();
    encoding.common_z0 = common.as_deref().filter(|_| !elsewhere);
    encoding.trace = match (job.trace, &job.trace_at[..]) {
        (true, _) => Trace::Steps,
        (false, []) => Trace::None,
        (false, times) => Trace::At(times),
    };
    let full = (2 * job.method.lanes() * job.method.threads()).min(SECOND);
    let mut source = Source {
        input: job.input,
        known: job.known,
        z0: job.z0,
        latent: shape.latent,
    };
    let warm = job.warm_start.as_ref();
    let nearest = job.starts_from.as_ref();
    let nearest = nearest
        .map(|codes| codes.decoded(&encoding, &job.model.params))
        .transpose()?;
    let mut measure = |count: usize| -> Result<Probe, CliError> {
        let mut blocks = Vec::new();
        for run in spread(rows.clone(), count) {
            let row = run.start;
            let set = source.read(run.collect())?;
            let data = set.samples().data;
            let start = match &nearest {
                Some(nearest) => Some(nearest.starts(data, encoding.starts)),
                None => warm.map(|warm| warm.starts(data, set.z0.as_ref())),
            };
            blocks.push(Block {
                row,
                y: set.y,
                w: set.w,
                context: set.context,
                z0: set.z0,
                start,
            });
        }
        timed(encoding, &job.model.params, blocks, &job.method)
    };
    let first = measure(FIRST)?;
    if first.elapsed > ENOUGH || first.rows >= rows.len() || full <= FIRST {
        return Ok(first);
    }
    measure(full)
}

fn timed(encoding: Encoding<'_>, params: &[f64], blocks: Vec<Block>, method: &Method) -> Result<Probe, CliError> {
    let rows: usize = blocks.iter().map(|block| block.y.ncols()).sum();
    let (mut blocks, mut summary, mut states) = (blocks.into_iter(), Summary::new(method), 0);
    let start = Instant::now();
    let next = || Ok::<_, CliError>(blocks.next());
    let shared = encode_blocks(&encoding, params, next, |block, encoded| {
        for (row, record) in (block.row..).zip(&encoded.records) {
            summary.add(&row_of(record, row));
        }
        states += encoded.records.iter().map(|record| record.trace.len()).sum::<usize>();
        Ok::<(), CliError>(())
    })?;
    summary.share(shared);
    Ok(Probe {
        rows,
        elapsed: start.elapsed(),
        states,
        summary,
    })
}

/// Runs of neighboring rows, spread evenly, `count` rows in all; every row if there are no more.
fn spread(rows: std::ops::Range<usize>, count: usize) -> Vec<std::ops::Range<usize>> {
    if rows.len() <= count {
        return if rows.is_empty() { Vec::new() } else { vec![rows] };
    }
    let runs = count / RUN;
    let last = rows.len() - RUN;
    (0..runs)
        .map(|i| {
            let first = rows.start + i * last / (runs - 1).max(1);
            first..first + RUN
        })
        .collect()
}

/// The most memory that the process has taken so far, where the system says.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(1024 * kibibytes)
}

#[cfg(test)]
mod tests {
    use super::spread;

    #[test]
    fn probes_reach_from_the_first_row_to_the_last_and_never_overlap() {
        for (rows, count) in [(0..1000, 32), (10..43, 32), (5..70, 64), (0..1_000_000, 512)] {
            let runs = spread(rows.clone(), count);
            assert_eq!(runs.iter().map(|run| run.len()).sum::<usize>(), count);
            assert_eq!((runs[0].start, runs[runs.len() - 1].end), (rows.start, rows.end));
            assert!(runs.windows(2).all(|pair| pair[0].end <= pair[1].start), "{rows:?}");
        }
        assert_eq!(spread(3..20, 32), std::slice::from_ref(&(3..20)));
        assert!(spread(3..3, 32).is_empty());
    }
}
