//! `gfe encode`: reads in blocks, encodes, writes one output file.

mod arguments;
mod job;
mod rows;

pub use arguments::Arguments;
pub use job::{scale, text_of};

use crate::error::CliError;
use crate::summary::Summary;
use crate::{output, progress};
use faer::Mat;
use gfe_encode::{Block, Trace, encode_blocks};
use gfe_io::{EncodedRow, EncodedRows, EncodedWriter, ErrorBars, RowsHash, TracePoint};
use gfe_model::Targets;
use gfe_plugin::unlink_on_crash;
use job::Job;
use rows::{Physical, row_of, trace_of};
use serde_json::json;
use std::process::ExitCode;
use std::time::Instant;

/// Bytes of data in a block.
const BLOCK_BYTES: usize = 1 << 20;

/// Runs the command; the exit code is 1 where too many rows failed.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let mut job = Job::new(arguments)?;
    let start = Instant::now();
    let mut writer = EncodedWriter::create(&job.output, &job.layout())?;
    unlink_on_crash(Some(writer.temporary()));
    let (summary, rows_sha256) = job.encode(&mut writer)?;
    writer.finish(&job.notes(&rows_sha256, &summary))?;
    unlink_on_crash(None);
    let elapsed = start.elapsed();
    if arguments.json {
        let mut told = summary.json(elapsed);
        told["output"] = json!(job.output);
        output::say(&told.to_string())?;
    } else {
        summary.print(elapsed);
    }
    Ok(ExitCode::from(u8::from(summary.failed_above(job.fail_above))))
}

impl Job {
    /// Encodes every row; gives the summary and the hash of the data read.
    fn encode(&mut self, writer: &mut EncodedWriter) -> Result<(Summary, String), CliError> {
        let (model, method, rows) = (&self.model, &self.method, self.rows.clone());
        let decoder = model.architecture.decoder();
        let open = model.architecture.opener();
        let shape = model.shape();
        let common = self.z0.common(shape.latent);
        let mut encoding = method.encoding(&open);
        encoding.reconstruction = self.reconstruction;
        (encoding.starts, encoding.begin, encoding.uncertainty) = (self.starts, self.begin, self.uncertainty);
        encoding.noise = self.noise.as_ref();
        encoding.common_z0 = if self.warm_start.is_some() || self.starts_from.is_some() {
            None
        } else {
            common.as_deref()
        };
        encoding.trace = match (self.trace, &self.trace_at[..]) {
            (true, _) => Trace::Steps,
            (false, []) => Trace::None,
            (false, times) => Trace::At(times),
        };
        // With more lanes the first worker would take the few rows there are, and the others none.
        encoding.lanes = method.lanes().min(rows.len().div_ceil(method.threads())).max(1);
        let size = (BLOCK_BYTES / (8 * shape.data)).clamp(method.lanes(), 4096.max(method.lanes()));
        let mut blocks = rows.clone().step_by(size);
        let (input, known, z0) = (&mut self.input, &mut self.known, &mut self.z0);
        let mut hash = RowsHash::default();
        let warm_start = self.warm_start.as_ref();
        let nearest = self.starts_from.as_ref();
        let nearest = nearest
            .map(|codes| codes.decoded(&encoding, &model.params))
            .transpose()?;
        let next = || -> Result<Option<Block>, CliError> {
            let Some(first) = blocks.next() else { return Ok(None) };
            let ids: Vec<usize> = (first..rows.end.min(first + size)).collect();
            let mut y = Mat::zeros(shape.data, ids.len());
            let mut own = known.weighted().then(|| Mat::zeros(shape.data, ids.len()));
            input.read(&ids, y.as_mut(), own.as_mut().map(|w| w.as_mut()))?;
            hash.push(y.as_ref());
            let w = own.or(known.weights(&ids, input.scale())?);
            let context = known.context(&ids)?;
            let data = Targets {
                y: y.as_ref(),
                w: w.as_ref().map(Mat::as_ref),
            };
            let z0 = z0.read(&ids, data, shape.latent)?;
            let start = match &nearest {
                Some(nearest) => Some(nearest.starts(data, encoding.starts)),
                None => warm_start.map(|warm| warm.starts(y.as_ref())),
            };
            Ok(Some(Block {
                row: first,
                y,
                w,
                context,
                z0,
                start,
            }))
        };
        let (mut summary, mut row) = (Summary::new(method.anchors()), rows.start);
        let bar = progress::bar(rows.len() as u64, "samples");
        let shared = encode_blocks(&encoding, &model.params, next, |block, encoded| {
            summary.add(&encoded, row);
            let records = encoded.records.iter().zip(row..);
            let records: Vec<EncodedRow> = records.map(|(record, row)| row_of(record, row)).collect();
            let physical = Physical::of(decoder.latents(), &encoded);
            let starts = self.starts.max(1);
            let began = block.start.as_ref().map(|start| {
                let column = |b: usize| b * starts + encoded.records[b].start as usize;
                Mat::from_fn(shape.latent, records.len(), |r, b| start[(r, column(b))])
            });
            let traces: Vec<Vec<TracePoint>> = encoded.records.iter().map(trace_of).collect();
            writer.write(&EncodedRows {
                rows: &records,
                z: encoded.z.as_ref(),
                z0: Some(block.z0.as_ref()),
                reconstruction: encoded.reconstruction.as_ref().map(Mat::as_ref),
                z_start: began.as_ref().map(Mat::as_ref),
                z_physical: physical.as_ref().map(|physical| physical.z.as_ref()),
                uncertainty: encoded.uncertainty.as_ref().map(|bars| ErrorBars {
                    z_std: bars.z_std.as_ref(),
                    z_cov: bars.z_cov.as_ref(),
                    z_physical_std: physical.as_ref().map(|physical| physical.std.as_ref()),
                    h_min: &bars.h_min,
                    h_max: &bars.h_max,
                    dof: &bars.dof,
                }),
                traces: Some(&traces),
                input: row..row + records.len(),
            })?;
            row += records.len();
            bar.inc(records.len() as u64);
            Ok::<(), CliError>(())
        })?;
        summary.share(shared);
        bar.finish_and_clear();
        Ok((summary, hash.finish()))
    }
}
