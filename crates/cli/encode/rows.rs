//! What is written: the layout, the notes, and rows from records.

use super::job::Job;
use crate::method::hessian_name;
use faer::Mat;
use gfe_encode::{Begin, Encoded, Record};
use gfe_io::{
    Attributes, Coordinate, EncodedLayout, EncodedRow, InputAttributes, Manifest, NamedLatent, TracePoint, now,
    params_sha256,
};
use gfe_model::Latent;
use gfe_ode::Status;
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

impl Job {
    pub(super) fn layout(&self) -> EncodedLayout {
        EncodedLayout {
            samples: self.rows.len(),
            latent: self.model.shape().latent,
            axes: self.input.axes(),
            reconstruction: self.reconstruction,
            reconstruction_filled: self.reconstruction && self.known.may_miss(),
            z0: self.z0.constant(),
            latents: self
                .model
                .architecture
                .decoder()
                .latents()
                .iter()
                .map(|latent| NamedLatent {
                    name: latent.name.clone(),
                    unit: latent.unit.clone(),
                })
                .collect(),
            z_start: self.begins_elsewhere(),
            uncertainty: self.uncertainty.is_some(),
            starts: self.starts > 1,
            trace: self.trace || !self.trace_at.is_empty(),
            trace_z: !self.trace_at.is_empty(),
            keep: self.keep.clone(),
            statuses: Status::ALL
                .iter()
                .map(|status| (*status as i8, status.name().to_owned()))
                .collect(),
            described: self.attributes(),
            attributes: vec![(
                "title".into(),
                format!("Gradient-flow encoding of {}", self.input.title()),
            )],
        }
    }

    /// What the input says of itself, as far as it holds for what is written: units only of values that no factor has changed.
    fn attributes(&self) -> InputAttributes {
        let mut described = self.input.attributes();
        if self.input.scale() != 1.0 {
            described.data = Attributes::default();
        }
        described
    }

    /// What decides on every value of the output: settings, data, decoder.
    pub(super) fn identity(&self) -> Map<String, Value> {
        let mut config = self.method.json();
        config["scale"] = json!(self.input.scale());
        if self.warm_start.is_some() {
            config["warm_start"] = json!(true);
        }
        if let Some(codes) = &self.starts_from {
            config["starts_from"] = codes.json();
        }
        if self.begin == Begin::Guess {
            config["begin"] = json!("guess");
        }
        if self.starts > 1 {
            config["starts"] = json!(self.starts);
        }
        if let Some(curvature) = self.uncertainty {
            config["uncertainty"] = json!(hessian_name(curvature));
        }
        if self.trace || !self.trace_at.is_empty() {
            config["trace"] = if self.trace {
                json!("steps")
            } else {
                json!(self.trace_at)
            };
        }
        if !self.keep.is_empty() {
            config["keep"] = self.keep.iter().map(Coordinate::path).collect();
        }
        if self.noise.is_some() {
            config["noise"] = json!("estimate");
        }
        let mut from = self.input.json();
        if let Some(known) = self.known.json() {
            from["known"] = known;
        }
        from["files"] = self.files().map(described).collect();
        let architecture = &self.model.architecture;
        let mut decoder = architecture.notes();
        decoder["params_sha256"] = json!(params_sha256(&self.model.params));
        if let Some((path, sha256)) = &self.model.file {
            let path = path.canonicalize().unwrap_or_else(|_| path.clone());
            decoder["model"] = json!({"path": path, "sha256": sha256});
        }
        if let Some(noise) = &self.noise {
            decoder["noise"] = json!({"samples": noise.samples, "sha256": params_sha256(&noise.sigma)});
        }
        let latents: Vec<Value> = architecture
            .decoder()
            .latents()
            .iter()
            .map(|latent| {
                let bound = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
                json!({"name": latent.name, "unit": latent.unit, "lower": bound(latent.lower), "upper": bound(latent.upper),
                    "transform": latent.transform.name(), "scale": latent.scale, "default": latent.default})
            })
            .collect();
        if !latents.is_empty() {
            decoder["latents"] = json!(latents);
        }
        let note = |name: &str, value: Value| (name.to_owned(), value);
        Map::from_iter([note("config", config), note("input", from), note("decoder", decoder)])
    }

    /// Where the output is made; without what differs from one run to another where it is to be the same to the byte.
    pub(super) fn environment(&self) -> Value {
        let mut told = json!({"gfe": env!("CARGO_PKG_VERSION"), "hdf5": gfe_io::hdf5_version()});
        if !self.reproducible {
            told["date"] = json!(now());
            told["threads"] = json!(self.method.threads());
            told["lanes"] = json!(self.method.lanes());
        }
        told
    }
}

/// A file that is read: its size, and when it was changed, in nanoseconds since 1970.
fn described(path: &Path) -> Value {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let metadata = std::fs::metadata(&path);
    let (size, changed) = metadata.map_or((0, 0), |metadata| {
        (
            metadata.size(),
            1_000_000_000 * metadata.mtime() + metadata.mtime_nsec(),
        )
    });
    json!({"path": path, "size": size, "mtime_ns": changed})
}

/// The notes of the part of `rows`.
pub(super) fn part_notes(
    manifest: &Manifest,
    rows: Range<usize>,
    rows_sha256: &str,
    messages: Map<String, Value>,
) -> Vec<(String, String)> {
    let mut notes = manifest.identity.clone();
    notes["input"]["rows"] = json!([rows.start, rows.end]);
    notes["input"]["rows_sha256"] = json!(rows_sha256);
    notes.insert("environment".into(), manifest.environment.clone());
    notes.insert("messages".into(), Value::Object(messages));
    notes.into_iter().map(|(name, note)| (name, note.to_string())).collect()
}

/// Codes in physical units, and their standard errors: those of z times |dp/du|.
pub(super) struct Physical {
    pub(super) z: Mat<f64>,
    pub(super) std: Mat<f64>,
}

impl Physical {
    pub(super) fn of(latents: &[Latent], encoded: &Encoded) -> Option<Physical> {
        if latents.is_empty() {
            return None;
        }
        let (d, n) = (encoded.z.nrows(), encoded.z.ncols());
        let at = |r: usize, b: usize| latents[r].physical(encoded.z[(r, b)]);
        let bars = encoded.uncertainty.as_ref();
        Some(Physical {
            z: Mat::from_fn(d, n, |r, b| at(r, b)[0]),
            std: Mat::from_fn(d, n, |r, b| {
                bars.map_or(f64::NAN, |bars| bars.z_std[(r, b)] * at(r, b)[1].abs())
            }),
        })
    }
}

pub(super) fn trace_of(record: &Record) -> Vec<TracePoint> {
    let steps = record.trace.iter();
    steps
        .map(|point| TracePoint {
            t: point.step.t,
            loss: point.step.loss,
            grad_norm: point.step.grad_norm,
            z: point.z.clone(),
        })
        .collect()
}

pub(super) fn row_of(record: &Record, row: usize) -> EncodedRow {
    EncodedRow {
        sample: row as i64,
        status: record.status as i8,
        loss: record.loss,
        loss_initial: record.loss_initial,
        grad_norm: record.grad_norm,
        edm: record.edm,
        chi2: record.chi2,
        n_valid: record.n_valid,
        t: record.t,
        start: record.start,
        minima: record.minima,
        steps: record.work.steps,
        rejected: record.work.rejected,
        forced: record.work.forced,
        evaluations: record.work.evaluations,
        vjps: record.work.vjps,
        jvps: record.work.jvps,
        hvps: record.work.hvps,
        jacobians: record.work.jacobians,
        factorizations: record.work.factorizations,
    }
}
