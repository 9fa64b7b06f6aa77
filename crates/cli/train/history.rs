//! The history of a training: a row for each record.

use crate::error::CliError;
use gfe_encode::train::{Record, Tally};
use gfe_io::{History, HistoryColumn, HistoryTable, Series};
use serde_json::Value;
use std::path::Path;

/// Names and meanings of the columns.
const COLUMNS: [(&str, &str); 15] = [
    ("images", "samples seen"),
    ("seconds", "seconds since the start, pauses left out"),
    ("epoch", "epochs finished"),
    ("loss", "mean loss of the training samples since the last record"),
    ("converged", "part of them whose encoding succeeded"),
    ("units", "work for each of them, in forward passes"),
    ("grad_norm", "mean norm of the gradient of the weights"),
    ("learning_rate", "learning rate"),
    (
        "validation_loss",
        "mean loss of the validation samples by codes of the flow",
    ),
    ("validation_converged", "part of them whose encoding succeeded"),
    ("held_out_loss", "mean loss on values that the encoding did not see"),
    ("seen_loss", "mean loss on the values that it saw"),
    ("encoder_loss", "validation loss by codes of the encoder network"),
    ("hybrid_loss", "validation loss by the flow from these codes"),
    ("validation_units", "work for each validation sample, in forward passes"),
];

/// The rows so far.
#[derive(Clone, Debug, Default)]
pub struct Rows(Vec<[f64; COLUMNS.len()]>);

impl Rows {
    /// Adds a record, made `seconds` after the start.
    pub fn push(&mut self, record: &Record, seconds: f64) {
        let of = |tally: Option<Tally>| tally.map_or(f64::NAN, |tally| tally.loss());
        let held_out = record.validation.and_then(|told| told.held_out);
        self.0.push([
            record.seen as f64,
            seconds,
            f64::from(record.epoch),
            record.training.loss(),
            record.training.success(),
            record.training.units_per_sample(),
            record.grad_norm,
            record.learning_rate,
            of(record.validation.map(|told| told.codes)),
            record.validation.map_or(f64::NAN, |told| told.codes.success()),
            held_out.map_or(f64::NAN, |told| told.unseen()),
            held_out.map_or(f64::NAN, |told| told.seen()),
            of(record.validation.and_then(|told| told.encoder)),
            of(record.validation.and_then(|told| told.hybrid)),
            record.validation.map_or(f64::NAN, |told| told.codes.units_per_sample()),
        ]);
    }

    /// The last value of a column that is a number.
    pub fn last(&self, column: &str) -> Option<f64> {
        let place = COLUMNS.iter().position(|(name, _)| *name == column)?;
        let values = self.0.iter().rev().map(|row| row[place]);
        values.into_iter().find(|value| !value.is_nan())
    }

    /// All values, row by row, and their shape.
    pub fn flat(&self) -> (Vec<usize>, Vec<f64>) {
        (vec![self.0.len(), COLUMNS.len()], self.0.concat())
    }

    /// From what [`Rows::flat`] gave.
    pub fn from_flat(values: &[f64]) -> Rows {
        Rows(values.as_chunks().0.to_vec())
    }

    /// Writes the file.
    pub fn write(&self, path: &Path, title: &str, identity: &Value) -> Result<(), CliError> {
        let columns = COLUMNS.iter().enumerate().map(|(c, (name, long_name))| {
            let values = self.0.iter().map(|row| row[c]);
            HistoryColumn {
                name: (*name).to_owned(),
                long_name: (*long_name).to_owned(),
                units: (*name == "seconds").then(|| "s".to_owned()),
                values: match *name {
                    "images" | "epoch" => Series::Integers(values.map(|value| value as i64).collect()),
                    _ => Series::Reals(values.collect()),
                },
            }
        });
        let table = HistoryTable {
            name: String::new(),
            columns: columns.collect(),
        };
        let history = History {
            title: title.to_owned(),
            notes: [("training".to_owned(), identity.clone())].into_iter().collect(),
            tables: vec![table],
        };
        Ok(history.write(path)?)
    }
}
