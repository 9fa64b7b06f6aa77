//! Rows of an output against what is found at their codes now.

use crate::error::CliError;
use faer::Mat;
use gfe_encode::AtCode;
use gfe_io::EncodedFile;
use gfe_ode::Status;
use serde_json::{Value, json};
use std::ops::Range;

/// Differences of a loss up to this part of it are rounding: another processor, another library.
const ROUNDING: f64 = 1e-9;
/// Near a perfect fit a loss is a sum of squares of rounding errors: this part of the loss where the integration began is
/// none to speak of.
const FLOOR: f64 = 1e-13;
/// A gradient that vanishes is what is left of sums that cancel: it is known to fewer digits.
const GRADIENT: f64 = 1e-6;
/// Hashes of what was read of each row.
pub(super) const ROW_SHA256: &str = "entry/process/row_sha256";
/// Rows that are told one by one.
const TOLD: usize = 20;

/// What stands in some rows of an output.
pub(super) struct Written {
    pub(super) samples: Vec<usize>,
    pub(super) z: Mat<f64>,
    pub(super) z0: Mat<f64>,
    status: Vec<f64>,
    loss: Vec<f64>,
    loss_initial: Vec<f64>,
    grad_norm: Vec<f64>,
    chi2: Vec<f64>,
    n_valid: Vec<f64>,
    /// Bytes of the hash of what was read of each row; none in files of older programs.
    sha256: Vec<f64>,
}

impl Written {
    /// Reads rows of codes of `latent` values each.
    pub(super) fn read(file: &EncodedFile, rows: Range<usize>, latent: usize) -> Result<Written, CliError> {
        let column = |name: &str| file.read(name, rows.clone());
        let matrix = |name: &str| -> Result<Mat<f64>, CliError> {
            let values = file.read(name, rows.clone())?;
            if values.len() != latent * rows.len() {
                let each = values.len() / rows.len().max(1);
                let text = format!("its `{name}` has {each} values per row, and the decoder takes {latent}");
                return Err(CliError::BadData(text));
            }
            Ok(Mat::from_fn(latent, rows.len(), |r, b| values[b * latent + r]))
        };
        let z0 = match file.constant_z0() {
            Some(value) => Mat::full(latent, rows.len(), value),
            None => matrix("z0")?,
        };
        Ok(Written {
            // What is negative or no number becomes a sample that there is not.
            samples: column("sample")?
                .into_iter()
                .map(|sample| if sample >= 0.0 { sample as usize } else { usize::MAX })
                .collect(),
            z: matrix("z")?,
            z0,
            status: column("status")?,
            loss: column("loss")?,
            loss_initial: column("loss_initial")?,
            grad_norm: column("grad_norm")?,
            chi2: column("chi2")?,
            n_valid: column("n_valid")?,
            sha256: if file.has(ROW_SHA256) {
                column(ROW_SHA256)?
            } else {
                Vec::new()
            },
        })
    }
}

/// What differs, over all rows compared.
#[derive(Default)]
pub(super) struct Differences {
    /// Rows that differ.
    pub(super) rows: usize,
    /// Rows of which something else is read now.
    pub(super) inputs: usize,
    first_input: Option<usize>,
    checked: usize,
    without_code: usize,
    /// Largest relative differences of loss, gradient norm and chi-squared.
    worst: [f64; 3],
    first: Vec<Value>,
}

/// Names of what is compared.
const NAMES: [&str; 3] = ["loss", "grad_norm", "chi2"];

impl Differences {
    /// Counts rows; `hashes` are of what is read of each now.
    pub(super) fn compare(&mut self, written: &Written, now: &[AtCode], hashes: &[[u8; 32]]) {
        for ((recorded, hash), sample) in written.sha256.chunks(32).zip(hashes).zip(&written.samples) {
            if recorded.iter().zip(hash).any(|(a, b)| *a != f64::from(*b)) {
                self.inputs += 1;
                self.first_input.get_or_insert(*sample);
            }
        }
        for (b, at) in now.iter().enumerate() {
            let (sample, loss) = (written.samples[b], written.loss[b]);
            let code = written.z.col_as_slice(b).iter().all(|z| z.is_finite()) && loss.is_finite();
            let bad = written.status[b] == f64::from(Status::BadInput as i8);
            let success = Status::ALL
                .iter()
                .any(|status| status.is_success() && written.status[b] == f64::from(*status as i8));
            // No code, and yet a success or a loss.
            let lost = !code && (success || loss.is_finite());
            if !(code || lost || bad && at.admitted) {
                self.without_code += 1;
                continue;
            }
            self.checked += 1;
            let began = written.loss_initial[b];
            let floor = FLOOR * if began.is_finite() { began.abs() } else { 0.0 };
            let pairs = [
                (loss, at.loss, ROUNDING, floor),
                (
                    written.grad_norm[b],
                    at.grad_norm,
                    GRADIENT,
                    10.0 * floor + 1e-12 * loss.abs(),
                ),
                (written.chi2[b], at.chi2, ROUNDING, 1e-9),
            ];
            let mut differs = written.n_valid[b] != f64::from(at.n_valid) || bad || lost;
            for (i, (recorded, found, relative, floor)) in pairs.into_iter().enumerate() {
                if recorded.is_nan() && found.is_nan() {
                    continue;
                }
                let difference = (recorded - found).abs();
                let part = difference / recorded.abs().max(found.abs());
                // A difference that is no number is the worst.
                self.worst[i] = match difference {
                    0.0 => self.worst[i],
                    _ if part.is_nan() => f64::INFINITY,
                    _ => self.worst[i].max(part),
                };
                // A NaN is a difference too.
                differs |= difference.is_nan() || difference > relative * recorded.abs() + floor;
            }
            if differs {
                self.rows += 1;
                if self.first.len() < TOLD {
                    let mut told = json!({"sample": sample, "n_valid": [written.n_valid[b], at.n_valid]});
                    for (name, (recorded, found, ..)) in NAMES.into_iter().zip(pairs) {
                        told[name] = json!([recorded, found]);
                    }
                    if lost {
                        told["why"] = json!("its code is no number, and its status or its loss says otherwise");
                    } else if bad {
                        told["why"] = json!("its status is bad_input, and its datum is not");
                    }
                    self.first.push(told);
                }
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        let worst = |value: f64| {
            if value.is_finite() {
                json!(value)
            } else {
                json!(value.to_string())
            }
        };
        json!({"checked": self.checked, "without_code": self.without_code, "differing": self.rows,
            "input_differs": self.inputs, "input_differs_first": self.first_input,
            "worst": {"loss": worst(self.worst[0]), "grad_norm": worst(self.worst[1]), "chi2": worst(self.worst[2])},
            "rows": self.first})
    }

    /// The same for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let [loss, gradient, chi2] = self.worst;
        let mut lines = vec![
            format!(
                "{} rows computed again, {} have no code; {} differ by more than rounding",
                self.checked, self.without_code, self.rows
            ),
            match self.first_input {
                None => "what is read of every row is what was read".to_owned(),
                Some(first) => format!("{} rows are read DIFFERENT, the first is sample {first}", self.inputs),
            },
            format!("relative differences up to {loss:.1e} in loss, {gradient:.1e} in grad_norm, {chi2:.1e} in chi2"),
        ];
        for row in &self.first {
            lines.push(format!(
                "  sample {}: loss {} now {}, grad_norm {} now {}",
                row["sample"], row["loss"][0], row["loss"][1], row["grad_norm"][0], row["grad_norm"][1]
            ));
        }
        if self.rows > self.first.len() {
            lines.push(format!("  ... and {} more", self.rows - self.first.len()));
        }
        lines
    }
}
