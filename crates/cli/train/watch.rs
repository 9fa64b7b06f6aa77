//! What surrounds a training: progress, signals, checkpoints, history.

use super::checkpoint;
use super::files::{Files, remove_checkpoint, title};
use super::history::Rows;
use crate::error::CliError;
use crate::logs::{self, say};
use crate::progress;
use crate::signals::Signals;
use gfe_encode::train::{Record, TrainError, Trainer};
use indicatif::ProgressBar;
use serde_json::Value;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Between two writings of the history at least.
const HISTORY_PAUSE: Duration = Duration::from_secs(10);

/// The surroundings of a training.
pub struct Watch<'a> {
    files: &'a Files,
    identity: &'a Value,
    bar: ProgressBar,
    signals: Signals,
    rows: Rows,
    start: Instant,
    /// Seconds of the sittings before.
    before: f64,
    saved: Instant,
    told: Instant,
}

impl<'a> Watch<'a> {
    /// Begins to watch a training over `length` samples; from now on SIGHUP, SIGINT, SIGTERM and SIGUSR1 ask it
    /// to stop.
    pub fn new(files: &'a Files, identity: &'a Value, length: u64) -> Result<Self, CliError> {
        Ok(Watch {
            files,
            identity,
            bar: progress::bar(length, "images"),
            signals: Signals::note()?,
            rows: Rows::default(),
            start: Instant::now(),
            before: 0.0,
            saved: Instant::now(),
            told: Instant::now(),
        })
    }

    /// Goes on from the checkpoint, which has to be of this training.
    pub fn resume(&mut self, trainer: &mut Trainer<'_>) -> Result<(), CliError> {
        let path = &self.files.checkpoint;
        let kept = checkpoint::read(path, trainer.state())?;
        let differences = checkpoint::differences(&kept.identity, self.identity);
        if !differences.is_empty() {
            let text = format!("{} is of another training: {}", path.display(), differences.join("; "));
            return Err(CliError::Config(format!("{text}; --force begins anew")));
        }
        trainer.restore(kept.state)?;
        (self.rows, self.before) = (kept.rows, kept.seconds);
        let seen = trainer.state().position.seen;
        self.bar.set_position(seen);
        self.say(&format!("{}: going on after {seen} images", path.display()));
        Ok(())
    }

    /// Seconds spent so far, those before an interruption included.
    pub fn seconds(&self) -> f64 {
        self.before + self.start.elapsed().as_secs_f64()
    }

    /// Whether a signal came.
    pub fn asked_to_stop(&self) -> bool {
        self.signals.came().load(Ordering::Relaxed)
    }

    /// A mini-batch was done: a checkpoint where it is time for one.
    pub fn batch(&mut self, trainer: &Trainer<'_>, minutes: f64) -> Result<(), CliError> {
        let seen = trainer.state().position.seen;
        self.bar.set_position(seen);
        if self.saved.elapsed().as_secs_f64() >= 60.0 * minutes {
            self.checkpoint(trainer)?;
        }
        Ok(())
    }

    /// A record was made.
    pub fn record(&mut self, record: &Record) {
        self.rows.push(record, self.seconds());
        if logs::shows_info() {
            let training = &record.training;
            let validation = record.validation.as_ref();
            tracing::info!(
                epoch = record.epoch,
                seen = record.seen,
                loss = training.loss(),
                converged = training.success(),
                units = training.units_per_sample(),
                validation_loss = validation.map(|held| held.codes.loss()),
                held_out_loss = validation.and_then(|held| Some(held.held_out.as_ref()?.unseen())),
                seconds = self.seconds(),
                "epoch"
            );
        } else {
            self.say(&told(record, self.seconds()));
        }
        if self.told.elapsed() >= HISTORY_PAUSE {
            // The checkpoint holds it too, and the training goes on without.
            if let Err(error) = self.write_history() {
                self.say(&format!("the history is not written for now: {error}"));
            }
            self.told = Instant::now();
        }
    }

    fn write_history(&self) -> Result<(), CliError> {
        self.rows
            .write(&self.files.history, &title(&self.files.model), self.identity)
    }

    /// Writes the checkpoint.
    pub fn checkpoint(&mut self, trainer: &Trainer<'_>) -> Result<(), CliError> {
        let (path, seconds) = (&self.files.checkpoint, self.seconds());
        checkpoint::write(path, trainer.state(), &self.rows, seconds, self.identity)?;
        self.saved = Instant::now();
        tracing::info!(path = %path.display(), seen = trainer.state().position.seen, "checkpoint");
        Ok(())
    }

    /// A signal came: what is done so far is kept. Gives the exit code, 130 for SIGINT and 143 for the others.
    pub fn stop(mut self, trainer: &Trainer<'_>) -> Result<ExitCode, CliError> {
        self.bar.abandon();
        self.checkpoint(trainer)?;
        self.write_history()?;
        let path = self.files.checkpoint.display();
        say!(
            "stopped after {} images; {path} is kept: the same command with --resume goes on",
            trainer.state().position.seen
        );
        Ok(ExitCode::from(&self.signals))
    }

    /// Training failed. Where it diverged the last checkpoint is kept, since what came after it led there; else the state before the
    /// failure is good, and kept. `rows` has the row of each training sample.
    pub fn fail(mut self, trainer: &Trainer<'_>, rows: &[usize], mut error: TrainError) -> CliError {
        if let TrainError::Diverged { samples, .. } = &mut error {
            samples.iter_mut().for_each(|sample| *sample = rows[*sample]);
            tracing::info!(rows = ?samples, seen = trainer.state().position.seen, "training diverged");
        }
        self.bar.abandon();
        let path = self.files.checkpoint.display();
        if !trainer.state().first.is_finite() {
            // Nothing was trained yet: there is nothing to go on from.
            if let Err(other) = remove_checkpoint(&self.files.checkpoint) {
                say!("{other}");
            }
        } else if matches!(error, TrainError::Diverged { .. }) {
            say!(
                "{path}: the last checkpoint is kept; --resume goes on from it, with another learning_rate or clip_norm"
            );
        } else {
            match self.checkpoint(trainer).and_then(|()| self.write_history()) {
                Ok(()) => say!("{path}: the state before is kept; --resume goes on from it"),
                Err(other) => say!("the state before cannot be kept: {other}"),
            }
        }
        CliError::Train(error)
    }

    /// The history.
    pub fn into_rows(self) -> Rows {
        self.bar.finish_and_clear();
        self.rows
    }

    fn say(&self, text: &str) {
        if self.bar.is_hidden() {
            logs::tell(text);
        } else {
            self.bar.println(text);
        }
    }
}

fn told(record: &Record, seconds: f64) -> String {
    let training = &record.training;
    let mut text = format!(
        "epoch {}: loss {:.5}, {:.1}% converged, {:.1} units per image",
        record.epoch,
        training.loss(),
        100.0 * training.success(),
        training.units_per_sample()
    );
    if let Some(held) = &record.validation {
        let codes = &held.codes;
        text += &format!(
            "; validation loss {:.5}, {:.1}% converged",
            codes.loss(),
            100.0 * codes.success()
        );
        if let Some(held_out) = &held.held_out {
            text += &format!(", {:.5} on held-out values", held_out.unseen());
        }
        if let (Some(encoder), Some(hybrid)) = (&held.encoder, &held.hybrid) {
            text += &format!(
                ", {:.5} by the encoder network, {:.5} from its codes",
                encoder.loss(),
                hybrid.loss()
            );
        }
    }
    text + &format!("; {seconds:.1} s")
}
