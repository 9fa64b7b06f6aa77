//! Codes of an earlier encoding, as starts.

use crate::error::CliError;
use crate::logs::say;
use faer::Mat;
use gfe_encode::{Encoding, Nearest, kept_codes};
use gfe_io::{EncodedFile, params_sha256};
use gfe_model::DecoderShape;
use gfe_ode::Status;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Rows read together.
const BLOCK: usize = 4096;

/// The codes of a file.
pub struct StartsFrom {
    path: PathBuf,
    /// `[d, codes]`.
    z: Mat<f64>,
    /// How many there are, of which `z` holds a choice.
    found: usize,
}

impl StartsFrom {
    /// Reads the codes of rows that succeeded from an output of `gfe encode`; a random choice where they are too many.
    pub fn read(path: &Path, shape: DecoderShape, params: &[f64]) -> Result<StartsFrom, CliError> {
        let file = EncodedFile::open(path)?;
        let bad = |what: String| Err(CliError::BadData(format!("{}: {what}", path.display())));
        let lens: Vec<usize> = file.axes("z")?.iter().map(|axis| axis.dim.len).collect();
        if lens != [shape.latent] {
            return bad(format!(
                "its codes are of shape {lens:?}, and the decoder takes [{}]",
                shape.latent
            ));
        }
        let other = file
            .note("decoder")
            .is_some_and(|note| note["params_sha256"] != json!(params_sha256(params)));
        if other {
            say!(
                "{}: its codes are of other weights: what they decode to here need not be near to anything",
                path.display()
            );
        }
        let names = file.statuses();
        let succeeded = |code: f64| {
            let mut known = Status::ALL.iter().filter(|status| status.is_success());
            let name = names
                .iter()
                .find(|(known, _)| f64::from(*known) == code)
                .map(|(_, name)| name);
            name.is_some_and(|name| known.any(|status| status.name() == name))
        };
        let blocks = || {
            (0..file.samples())
                .step_by(BLOCK)
                .map(|first| first..file.samples().min(first + BLOCK))
        };
        let mut good: Vec<usize> = Vec::new();
        for rows in blocks() {
            let first = rows.start;
            let status = file.read("status", rows)?.into_iter().enumerate();
            good.extend(status.filter(|(_, code)| succeeded(*code)).map(|(i, _)| first + i));
        }
        let kept: Vec<usize> = kept_codes(good.len(), shape.data)
            .into_iter()
            .map(|i| good[i])
            .collect();
        let mut z: Vec<f64> = Vec::with_capacity(kept.len() * shape.latent);
        for rows in blocks() {
            let own = &kept[kept.partition_point(|row| *row < rows.start)..kept.partition_point(|row| *row < rows.end)];
            if own.is_empty() {
                continue;
            }
            let first = rows.start;
            let values = file.read("z", rows)?;
            let codes = own
                .iter()
                .map(|row| &values[(row - first) * shape.latent..][..shape.latent]);
            codes
                .filter(|code| code.iter().all(|z| z.is_finite()))
                .for_each(|code| z.extend(code));
        }
        if z.is_empty() {
            return bad("none of its rows succeeded: there is no code to start at".into());
        }
        Ok(StartsFrom {
            path: path.to_owned(),
            z: Mat::from_fn(shape.latent, z.len() / shape.latent, |r, b| z[b * shape.latent + r]),
            found: good.len(),
        })
    }

    /// Decodes them; fails where there are fewer than `starts`.
    pub fn decoded<'a>(&self, how: &Encoding<'a>, params: &[f64]) -> Result<Nearest<'a>, CliError> {
        let nearest = Nearest::new(how, params, self.z.as_ref())?;
        if nearest.len() < how.starts.max(1) {
            let text = format!(
                "`starts` is {}, and {} holds {} codes",
                how.starts,
                self.path.display(),
                nearest.len()
            );
            return Err(CliError::Usage(format!("{text}: take fewer")));
        }
        Ok(nearest)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For the output's notes.
    pub fn json(&self) -> Value {
        let codes: Vec<f64> = self.z.col_iter().flat_map(|z| z.iter().copied()).collect();
        json!({"path": self.path, "codes": self.z.ncols(), "of": self.found, "sha256": params_sha256(&codes)})
    }
}
