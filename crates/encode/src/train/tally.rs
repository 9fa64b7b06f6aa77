//! What encodings came to, over some samples.

use crate::Encoded;
use gfe_ode::Work;

/// Counts and the mean loss of some samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Samples looked at.
    pub samples: usize,
    /// Those whose status is a success.
    pub succeeded: usize,
    /// Those with a finite code, which count in `loss` and in gradients.
    pub usable: usize,
    /// Sum of the losses of the usable.
    pub sum: f64,
    /// Evaluations of the decoder.
    pub evaluations: u64,
    /// Work in units of a forward pass of the decoder, see [`Work::units`].
    pub units: u64,
}

impl Tally {
    /// Mean loss of the usable; NaN without any.
    pub fn loss(&self) -> f64 {
        self.sum / self.usable as f64
    }

    /// The part of the samples that succeeded; NaN without any.
    pub fn success(&self) -> f64 {
        self.succeeded as f64 / self.samples as f64
    }

    /// Units per sample; NaN without any.
    pub fn units_per_sample(&self) -> f64 {
        self.units as f64 / self.samples as f64
    }

    /// Takes in those of `other`.
    pub fn add(&mut self, other: &Tally) {
        self.samples += other.samples;
        self.succeeded += other.succeeded;
        self.usable += other.usable;
        self.sum += other.sum;
        self.evaluations += other.evaluations;
        self.units += other.units;
    }

    /// Takes in work that no sample counts.
    pub(crate) fn count(&mut self, work: &Work) {
        self.evaluations += u64::from(work.evaluations);
        self.units += work.units();
    }

    /// Of a finished encoding.
    pub(crate) fn of(encoded: &Encoded) -> Tally {
        let mut tally = Tally::default();
        for record in &encoded.records {
            tally.samples += 1;
            tally.succeeded += usize::from(record.status.is_success());
            if record.loss.is_finite() {
                tally.usable += 1;
                tally.sum += record.loss;
            }
            tally.count(&record.work);
        }
        tally
    }

    /// Of `losses` that cost `units` each, of which every finite one is a success.
    pub(crate) fn of_losses(losses: &[f64], units: u64) -> Tally {
        let good = || losses.iter().filter(|loss| loss.is_finite());
        Tally {
            samples: losses.len(),
            succeeded: good().count(),
            usable: good().count(),
            sum: good().sum(),
            evaluations: losses.len() as u64,
            units: units * losses.len() as u64,
        }
    }
}
