//! Ranges of rows, `A..B`.

use crate::error::CliError;
use crate::settings::Settings;
use std::ops::Range;

/// The rows that the setting `key` names of an input of `samples` rows; all where it is not set.
pub fn of(settings: &Settings, key: &'static str, samples: usize) -> Result<Range<usize>, CliError> {
    settings
        .get::<String>(key)?
        .map_or(Ok(0..samples), |text| parse(&text, samples))
}

/// Rows `A..B` of an input of `samples` rows, B excluded.
pub fn parse(text: &str, samples: usize) -> Result<Range<usize>, CliError> {
    let parsed = text
        .split_once("..")
        .and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    match parsed {
        Some(rows) if rows.start <= rows.end && rows.end <= samples => Ok(rows),
        _ => Err(CliError::Usage(format!(
            "rows are {text}: say A..B with A <= B <= {samples}, the input's rows"
        ))),
    }
}
