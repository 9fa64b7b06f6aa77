//! The work of an encoding: reads in blocks, encodes, commits part after part.

use super::job::Job;
use super::rows::{Physical, part_notes, row_of, trace_of};
use crate::error::CliError;
use crate::progress;
use crate::signals::Signals;
use crate::summary::Summary;
use faer::Mat;
use gfe_encode::{Block, Encoded, Trace, encode_blocks_until};
use gfe_io::{
    EncodedFile, EncodedLayout, EncodedRow, EncodedRows, EncodedWriter, ErrorBars, Part, Parts, RowsHash, TracePoint,
    row_sha256,
};
use gfe_model::{Decoder, Targets};
use indicatif::ProgressBar;
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

/// Bytes of data in a block.
const BLOCK_BYTES: usize = 1 << 20;
/// Bytes of a part, about: more for outputs that would have thousands of them.
const PART_BYTES: (u64, u64) = (4 << 20, 64 << 20);
/// After this time what is done becomes a part, however little it is.
const PART_TIME: Duration = Duration::from_secs(60);
/// Rows of a part with traces, whose length nobody knows before.
const TRACED_ROWS: usize = 4096;

/// Rows of a block of samples of `values` values.
pub fn block_rows(values: usize, lanes: usize) -> usize {
    (BLOCK_BYTES / (8 * values)).clamp(lanes, 4096.max(lanes))
}

/// Hashes of rows that were read and are not written yet: the first row, and a hash for each from there on.
type Hashes = RefCell<VecDeque<(usize, Vec<[u8; 32]>)>>;

impl Job {
    /// The ranges of rows that become parts of their own: `rows`, cut at multiples of the rows of a part.
    fn cuts(&self, rows: Vec<Range<usize>>, layout: &EncodedLayout) -> Vec<Range<usize>> {
        let unit = self.part_rows(layout);
        let mut cuts = Vec::new();
        for range in rows {
            let mut first = range.start;
            while first < range.end {
                let end = range.end.min((first / unit + 1) * unit);
                cuts.push(first..end);
                first = end;
            }
        }
        cuts
    }

    /// Rows of a part: as many as asked for or fewer, else what fills it; in whole chunks of the input, where these are not too large.
    pub(super) fn part_rows(&self, layout: &EncodedLayout) -> usize {
        if let Some(rows) = self.shard_rows {
            return match self.input.chunk_rows() {
                Some(chunk) if chunk <= rows => rows / chunk * chunk,
                _ => rows,
            };
        }
        let row = layout.bytes() / layout.samples.max(1) as u64;
        let bytes = (layout.bytes() / 1000).clamp(PART_BYTES.0, PART_BYTES.1);
        let mut rows = usize::try_from(bytes / row.max(1)).unwrap_or(usize::MAX).max(1);
        if layout.trace {
            rows = rows.min(TRACED_ROWS);
        }
        match self.input.chunk_rows() {
            Some(chunk) if chunk <= 4 * rows => rows.div_ceil(chunk) * chunk,
            _ => rows,
        }
    }

    /// Encodes the rows `own` that are in no part yet and commits them; gives the summary of all of `own`. Where a signal
    /// comes, what is done of the part in hand becomes a part, and the summary has fewer rows.
    pub(super) fn encode(
        &mut self,
        parts: &mut Parts,
        (own, layout): (Range<usize>, &EncodedLayout),
        signals: &Signals,
    ) -> Result<Summary, CliError> {
        let mut summary = Summary::new(&self.method);
        for (part, rows) in parts.pieces(own.clone()) {
            recall(&parts.parts()[part], &rows, &mut summary)?;
        }
        summary.recalled();
        let cuts = self.cuts(parts.missing(own.clone()), layout);
        let left: usize = cuts.iter().map(Range::len).sum();
        if left == 0 {
            return Ok(summary);
        }
        let (model, method) = (&self.model, &self.method);
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
        // More would be memory for nothing: each worker takes its share.
        encoding.lanes = method
            .lanes()
            .min((left * self.starts).div_ceil(method.threads()))
            .max(1);
        let size = block_rows(shape.data, method.lanes());
        let mut blocks = cuts
            .iter()
            .flat_map(|cut| cut.clone().step_by(size).map(|first| first..cut.end.min(first + size)));
        let hashes = Hashes::default();
        let bar = progress::bar(own.len() as u64, "samples").with_position((own.len() - left) as u64);
        let mut sink = Sink {
            layout,
            parts,
            decoder,
            starts: self.starts.max(1),
            ends: cuts.iter().map(|cut| cut.end).collect(),
            done: Vec::new(),
            since: Instant::now(),
            hashes: &hashes,
            summary: &mut summary,
            bar: &bar,
        };
        let (input, known, z0) = (&mut self.input, &mut self.known, &mut self.z0);
        let warm_start = self.warm_start.as_ref();
        let nearest = self.starts_from.as_ref();
        let nearest = nearest
            .map(|codes| codes.decoded(&encoding, &model.params))
            .transpose()?;
        let next = || -> Result<Option<Block>, CliError> {
            let Some(rows) = blocks.next() else { return Ok(None) };
            let (row, ids): (usize, Vec<usize>) = (rows.start, rows.collect());
            let mut y = Mat::zeros(shape.data, ids.len());
            let mut own = known.reads_weights().then(|| Mat::zeros(shape.data, ids.len()));
            input.read(&ids, y.as_mut(), own.as_mut().map(|w| w.as_mut()))?;
            let w = known.weigh(&ids, input.scale(), own, &mut y)?;
            let context = known.context(&ids)?;
            let beside: Vec<_> = [&w, &context].into_iter().flatten().map(Mat::as_ref).collect();
            hashes.borrow_mut().push_back((row, row_sha256(y.as_ref(), &beside)));
            let data = Targets {
                y: y.as_ref(),
                w: w.as_ref().map(Mat::as_ref),
            };
            let z0 = z0.read(&ids, data, shape.latent)?;
            let start = match &nearest {
                Some(nearest) => Some(nearest.starts(data, encoding.starts)),
                None => warm_start.map(|warm| warm.starts(data, z0.as_ref())),
            };
            Ok(Some(Block {
                row,
                y,
                w,
                context,
                z0,
                start,
            }))
        };
        let done = |block: &Block, encoded: Encoded| sink.take(block, encoded);
        let shared = encode_blocks_until(&encoding, &model.params, signals.came(), next, done)?;
        sink.commit()?;
        summary.share(shared);
        bar.finish_and_clear();
        Ok(summary)
    }
}

/// Counts rows of a part.
fn recall(part: &Part, rows: &Range<usize>, summary: &mut Summary) -> Result<(), CliError> {
    let first = part.rows.start;
    let file = EncodedFile::open(&part.path)?;
    for record in file.records(rows.start - first..rows.end - first)? {
        summary.add(&record);
    }
    if let Some(Value::Object(messages)) = file.note("messages") {
        for (row, message) in messages {
            let row = row.parse().ok().filter(|row| rows.contains(row));
            if let (Some(row), Some(message)) = (row, message.as_str()) {
                summary.note(row, message);
            }
        }
    }
    Ok(())
}

/// Takes results in the order of their rows, and makes parts of them.
struct Sink<'a> {
    layout: &'a EncodedLayout,
    parts: &'a mut Parts,
    decoder: &'a dyn Decoder,
    starts: usize,
    /// Rows at which the parts to come end.
    ends: VecDeque<usize>,
    /// The part in hand, block by block.
    done: Vec<Done>,
    since: Instant,
    hashes: &'a Hashes,
    summary: &'a mut Summary,
    bar: &'a ProgressBar,
}

/// Results of a block.
struct Done {
    first: usize,
    encoded: Encoded,
    z0: Mat<f64>,
    /// Weights of the data, for the flags of reconstructions alone.
    weights: Option<Mat<f64>>,
    began: Option<Mat<f64>>,
    sha256: Vec<[u8; 32]>,
}

impl Done {
    fn end(&self) -> usize {
        self.first + self.encoded.records.len()
    }
}

impl Sink<'_> {
    /// Takes the results of a block.
    fn take(&mut self, block: &Block, encoded: Encoded) -> Result<(), CliError> {
        let starts = self.starts;
        let began = block.start.as_ref().map(|start| {
            let column = |b: usize| b * starts + encoded.records[b].start as usize;
            Mat::from_fn(block.z0.nrows(), block.z0.ncols(), |r, b| start[(r, column(b))])
        });
        let (first, sha256) = self.hashes.borrow_mut().pop_front().unwrap_or_default();
        let done = Done {
            first,
            encoded,
            z0: block.z0.clone(),
            weights: block.w.clone().filter(|_| self.layout.reconstruction_filled),
            began,
            sha256,
        };
        let end = done.end();
        self.bar.inc(done.encoded.records.len() as u64);
        self.done.push(done);
        if self.ends.front() == Some(&end) {
            self.ends.pop_front();
            self.commit()?;
        } else if self.since.elapsed() >= PART_TIME {
            self.commit()?;
        }
        Ok(())
    }

    /// Makes a part of what is in hand.
    fn commit(&mut self) -> Result<(), CliError> {
        let done = std::mem::take(&mut self.done);
        self.since = Instant::now();
        let (Some(first), Some(end)) = (done.first().map(|done| done.first), done.last().map(Done::end)) else {
            return Ok(());
        };
        let layout = EncodedLayout {
            samples: end - first,
            ..self.layout.clone()
        };
        let mut writer = EncodedWriter::create(self.parts.output(), &layout)?;
        let (mut hash, mut messages) = (RowsHash::default(), Map::new());
        for done in done {
            hash.push_hashes(&done.sha256);
            let rows: Vec<EncodedRow> = (done.first..)
                .zip(&done.encoded.records)
                .map(|(row, record)| row_of(record, row))
                .collect();
            for (row, record) in rows.iter().zip(&done.encoded.records) {
                self.summary.add(row);
                if !record.status.is_success() {
                    let reason = record.message.as_deref().unwrap_or(record.status.advice());
                    tracing::info!(row = row.sample, status = record.status.name(), reason, "sample failed");
                }
                if let Some(message) = &record.message {
                    self.summary.note(row.sample as usize, message);
                    messages.insert(row.sample.to_string(), json!(message));
                }
            }
            self.write(&mut writer, &rows, &done)?;
        }
        let notes = part_notes(self.parts.manifest(), first..end, &hash.finish(), messages);
        self.parts.commit(first..end, &writer.finish(&notes)?)?;
        Ok(())
    }

    fn write(&self, writer: &mut EncodedWriter, rows: &[EncodedRow], done: &Done) -> Result<(), CliError> {
        let encoded = &done.encoded;
        let physical = Physical::of(self.decoder.latents(), encoded);
        let traces: Vec<Vec<TracePoint>> = encoded.records.iter().map(trace_of).collect();
        writer.write(&EncodedRows {
            rows,
            z: encoded.z.as_ref(),
            z0: Some(done.z0.as_ref()),
            reconstruction: encoded.reconstruction.as_ref().map(Mat::as_ref),
            weights: done.weights.as_ref().map(Mat::as_ref),
            z_start: done.began.as_ref().map(Mat::as_ref),
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
            sha256: &done.sha256,
            input: done.first..done.end(),
        })?;
        Ok(())
    }
}
