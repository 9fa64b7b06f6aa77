//! Is a decoder what the interface promises? Everything is tried that a run relies on.
//!
//! The functions here crash where the decoder does: run them in a process of their own, and take the last check begun for the
//! one that did it.

mod batch;
mod columns;
mod differences;
mod point;
mod products;
mod threads;

use crate::{DecoderPlugin, PluginError, Precision};
use gfe_model::Decoder;
use point::Place;
use serde::{Deserialize, Serialize};

/// How a check ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The decoder does what it should; what was measured.
    Passed(String),
    /// It does, but something is worth knowing.
    Noted(String),
    /// It does not; what was found.
    Failed(String),
    /// The decoder does not claim the ability.
    Absent(String),
}

/// What is told of the checks, in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// This check begins: if nothing follows, the decoder crashed in it.
    Begun(String),
    /// This check has ended.
    Ended(String, Outcome),
    /// All checks are made: without it the decoder ended the process.
    Done,
}

/// What the checks need to know.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The context of every sample; without it all 0.1, and a little more from lane to lane.
    pub context: Option<Vec<f64>>,
    /// Seed of points and directions.
    pub seed: u64,
}

/// Relative errors that are still none: of the two products against one another, and against differences.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    adjoint: f64,
    differences: f64,
    /// Rounding of the decoder's numbers.
    epsilon: f64,
}

impl Limits {
    fn of(precision: Precision) -> Limits {
        match precision {
            Precision::F64 => Limits {
                adjoint: 1e-12,
                differences: 3e-7,
                epsilon: f64::EPSILON,
            },
            Precision::F32 => Limits {
                adjoint: 1e-5,
                differences: 1e-3,
                epsilon: f32::EPSILON.into(),
            },
        }
    }
}

/// What a check is given.
pub(crate) struct Subject<'a> {
    plugin: &'a DecoderPlugin,
    decoder: &'a dyn Decoder,
    place: Place,
    limits: Limits,
}

type Check = fn(&Subject<'_>) -> Outcome;

/// Every check, in the order in which they are made.
const CHECKS: [(&str, Check); 16] = [
    ("values", columns::values),
    ("padding", columns::padding),
    ("columns", columns::independent),
    ("state", columns::stateless),
    ("instances", columns::instances),
    ("versions", versions),
    ("shapes", columns::shapes),
    ("not_a_number", columns::not_a_number),
    ("adjoint", products::adjoint),
    ("jvp", products::jvp),
    ("vjp", products::vjp),
    ("params_vjp", products::params_vjp),
    ("second_order", products::second_order),
    ("init", products::init),
    ("guess", products::guess),
    ("threads", threads::declared),
];

/// Whether a decoder honors new weights under a new version, and old ones under their own.
fn versions(of: &Subject<'_>) -> Outcome {
    if of.place.params.is_empty() {
        return Outcome::Absent("no weights".into());
    }
    let mut other = of.place.clone();
    other.version = point::next_version();
    other.params.iter_mut().for_each(|value| *value = 1.5 * *value + 0.01);
    let rows = |place: &Place| place.everything(of.decoder);
    match (rows(&of.place), rows(&other), rows(&of.place), rows(&other)) {
        (Ok(a), Ok(b), Ok(again_a), Ok(again_b)) => {
            let same = |x: &[Vec<f64>], y: &[Vec<f64>]| {
                x.iter()
                    .flatten()
                    .zip(y.iter().flatten())
                    .all(|(a, b)| a.to_bits() == b.to_bits())
            };
            if !same(&a, &again_a) || !same(&b, &again_b) || same(&a, &b) {
                Outcome::Failed(
                    "the weights of another call are used: what is kept of them goes with `params_version`".into(),
                )
            } else {
                Outcome::Passed("weights are those of the call".into())
            }
        }
        (Err(error), ..) | (_, Err(error), ..) | (_, _, Err(error), _) | (.., Err(error)) => columns::failed(&error),
    }
}

/// Makes every check and tells each, before and after. Fails where the decoder cannot be opened.
pub fn run(plugin: &DecoderPlugin, settings: &Settings, tell: &mut dyn FnMut(Event)) -> Result<(), PluginError> {
    let decoder = plugin.decoder()?;
    let place = Place::new(&*decoder, settings).map_err(|what| PluginError::Broken {
        id: plugin.listed().id.clone(),
        what,
    })?;
    let subject = Subject {
        plugin,
        decoder: &*decoder,
        place,
        limits: Limits::of(plugin.listed().precision),
    };
    for (name, check) in CHECKS {
        tell(Event::Begun(name.to_owned()));
        let outcome = check(&subject);
        tell(Event::Ended(name.to_owned(), outcome));
    }
    tell(Event::Done);
    Ok(())
}
