//! What is told at the end of an encoding.

use crate::logs::say;
use crate::method::Method;
use gfe_io::EncodedRow;
use gfe_model::LossKind;
use gfe_ode::{Status, Work};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Sums over the rows.
#[derive(Default)]
pub struct Summary {
    rows: usize,
    recalled: usize,
    succeeded: usize,
    by_status: [usize; Status::ALL.len()],
    loss: f64,
    worst_loss: f64,
    grad_norm: f64,
    worst_grad_norm: f64,
    worst_edm: f64,
    evaluations: u64,
    units: u64,
    most_units: u64,
    forced: u64,
    /// Whether the solver minimizes something else than the loss alone, which may then rise.
    anchored: bool,
    /// Whether the loss says how large the errors of values are, so that edm counts in error bars.
    likelihood: bool,
    /// Rows called converged from which the next step would be longer than an error bar.
    far: usize,
    /// Rows that succeeded with a larger loss than they started with, where the flow cannot raise it.
    risen: usize,
    shared: Work,
    /// What the solver said of failures: row and message, the first [`MESSAGES`].
    messages: Vec<(usize, String)>,
    /// How many there were.
    spoken: usize,
}

/// A loss for people: six digits after the point while it is of ordinary size.
fn digits(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
        format!("{value:.6}")
    } else {
        format!("{value:.6e}")
    }
}

/// A number per second for people.
pub fn rate(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.0}")
    }
}

/// The edm at which the next step is an error bar long: sqrt(2 edm) = 1.
const FAR: f64 = 0.5;
/// Messages of failures that are kept.
const MESSAGES: usize = 1000;
/// Those shown to people.
const SHOWN: usize = 3;

impl Summary {
    /// Of no rows, encoded by this method.
    pub fn new(method: &Method) -> Self {
        Summary {
            anchored: method.anchors(),
            likelihood: matches!(method.loss(), LossKind::Gaussian | LossKind::Poisson),
            ..Summary::default()
        }
    }

    /// Counts a row.
    pub fn add(&mut self, row: &EncodedRow) {
        let status = Status::ALL.iter().position(|status| *status as i8 == row.status);
        let status = status.unwrap_or(Status::BadInput as usize);
        self.rows += 1;
        self.by_status[status] += 1;
        if Status::ALL[status].is_success() {
            self.succeeded += 1;
            self.loss += row.loss;
            self.worst_loss = self.worst_loss.max(row.loss);
            self.grad_norm += row.grad_norm;
            self.worst_grad_norm = self.worst_grad_norm.max(row.grad_norm);
            // A distance that is not known is no small one.
            let known = !self.worst_edm.is_nan() && !row.edm.is_nan();
            self.worst_edm = if known { self.worst_edm.max(row.edm) } else { f64::NAN };
            let far = self.likelihood && Status::ALL[status] == Status::Converged && row.edm > FAR;
            self.far += usize::from(far);
            let rounding = 8.0 * f64::EPSILON * row.loss_initial.abs();
            self.risen += usize::from(!self.anchored && row.loss - row.loss_initial > rounding);
        }
        let work = Work {
            steps: row.steps,
            rejected: row.rejected,
            forced: row.forced,
            evaluations: row.evaluations,
            vjps: row.vjps,
            jvps: row.jvps,
            hvps: row.hvps,
            jacobians: row.jacobians,
            factorizations: row.factorizations,
        };
        self.evaluations += u64::from(work.evaluations);
        self.forced += u64::from(work.forced);
        self.units += work.units();
        self.most_units = self.most_units.max(work.units());
    }

    /// Counts what a solver said of a failure.
    pub fn note(&mut self, row: usize, message: &str) {
        self.spoken += 1;
        if self.messages.len() < MESSAGES {
            self.messages.push((row, message.to_owned()));
        }
    }

    /// Rows counted.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What was counted so far was done before this run, whose speed it does not tell.
    pub fn recalled(&mut self) {
        self.recalled = self.rows;
    }

    /// Rows per second of this run.
    fn speed(&self, elapsed: Duration) -> f64 {
        (self.rows - self.recalled) as f64 / elapsed.as_secs_f64()
    }

    /// Counts the work that all rows share.
    pub fn share(&mut self, work: Work) {
        self.shared += work;
    }

    /// The work that all rows share and no row counts.
    fn shared_json(&self) -> Value {
        json!({"evaluations": self.shared.evaluations, "vjps": self.shared.vjps, "jvps": self.shared.jvps, "hvps": self.shared.hvps})
    }

    /// Whether more rows failed than this fraction.
    pub fn failed_above(&self, fraction: f64) -> bool {
        (self.rows - self.succeeded) as f64 > fraction * self.rows as f64
    }

    /// Means are over the rows that succeeded, work over all rows.
    pub fn json(&self, elapsed: Duration) -> Value {
        let (rows, succeeded) = (self.rows as f64, self.succeeded as f64);
        let present = Status::ALL.iter().zip(self.by_status).filter(|(_, count)| *count > 0);
        let by_status: Map<String, Value> = present
            .map(|(status, count)| (status.name().into(), json!(count)))
            .collect();
        let seconds = elapsed.as_secs_f64();
        json!({
            "samples": self.rows,
            "succeeded": self.succeeded,
            "failed": self.rows - self.succeeded,
            "status": by_status,
            "loss_mean": self.loss / succeeded,
            "loss_worst": if self.succeeded > 0 { self.worst_loss } else { f64::NAN },
            "grad_norm_mean": self.grad_norm / succeeded,
            "grad_norm_worst": if self.succeeded > 0 { self.worst_grad_norm } else { f64::NAN },
            "edm_worst": if self.succeeded > 0 { self.worst_edm } else { f64::NAN },
            "evaluations_per_sample": self.evaluations as f64 / rows,
            "units_per_sample": self.units as f64 / rows,
            "units_worst": self.most_units,
            "forced_steps": self.forced,
            "loss_risen": self.risen,
            "beyond_error_bar": self.far,
            "units_shared": self.shared.units(),
            "shared_work": self.shared_json(),
            "seconds": seconds,
            "samples_per_second": self.speed(elapsed),
        })
    }

    /// The same for people, on stderr.
    pub fn print(&self, elapsed: Duration) {
        say!("{} samples", self.rows);
        for (status, count) in Status::ALL.iter().zip(self.by_status).filter(|(_, count)| *count > 0) {
            say!("  {count} {}: {}", status.name(), status.advice());
        }
        for (row, message) in self.messages.iter().take(SHOWN) {
            say!("  row {row}: {message}");
        }
        if self.spoken > SHOWN {
            say!(
                "  ... and {} more, under /entry/process/messages of the output",
                self.spoken - SHOWN
            );
        }
        let (rows, succeeded) = (self.rows as f64, self.succeeded as f64);
        if self.succeeded > 0 {
            say!(
                "loss: mean {}, worst {}",
                digits(self.loss / succeeded),
                digits(self.worst_loss)
            );
            say!(
                "gradient norm: mean {:.1e}, worst {:.1e}",
                self.grad_norm / succeeded,
                self.worst_grad_norm
            );
        }
        if self.risen > 0 {
            say!(
                "{} rows end with a larger loss than they started with: their steps are too long, raise `steps` or take another solver",
                self.risen
            );
        }
        if self.far > 0 {
            say!(
                "{} rows called converged lie more than an error bar from a minimum (edm > {FAR}): the rule that ended them asks for less, \
                 take ptc with a lower edm_tol or gtol",
                self.far
            );
        }
        if self.forced > 0 {
            say!(
                "{} steps were forced although none passed the test: see `forced` in the output",
                self.forced
            );
        }
        if self.rows > 0 {
            say!(
                "per sample: {:.1} evaluations, {:.0} forward passes' worth of work; {} samples per second",
                self.evaluations as f64 / rows,
                self.units as f64 / rows,
                rate(self.speed(elapsed))
            );
        }
    }
}
