//! Settings by key: a run file, `--set`, flags and what a model file records are layers of one table.
//!
//! Every key belongs to a section of the run file; a bare key in `--set` is looked up in all of them. A key that nobody
//! knows, or that the chosen solver or optimizer has no use for, is an error: silence would let a typing error pass as a
//! result.

use crate::error::CliError;
use crate::keys::{KEYS, Key, choices_of, default_of, likeness, nearest};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Where a value comes from.
#[derive(Clone, Debug)]
enum Origin {
    Model,
    File(PathBuf),
    Set,
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Model => write!(out, "the model file"),
            Origin::File(path) => write!(out, "{}", path.display()),
            Origin::Set => write!(out, "--set"),
            Origin::Flag => write!(out, "the command line"),
        }
    }
}

impl Origin {
    fn error(&self, text: String) -> CliError {
        match self {
            Origin::Model | Origin::File(_) => CliError::Config(format!("{self}: {text}")),
            Origin::Set | Origin::Flag => CliError::Usage(text),
        }
    }
}

/// Values by `section.key`.
#[derive(Debug, Default)]
pub struct Settings(BTreeMap<&'static str, (Value, Origin)>);

impl Settings {
    /// Reads a run file: sections of keys.
    pub fn read(&mut self, path: &Path) -> Result<(), CliError> {
        let origin = Origin::File(path.to_owned());
        let text = crate::text_file::read(path).map_err(|error| {
            let text = format!("{} cannot be read: {error}", path.display());
            match error.kind() {
                std::io::ErrorKind::NotFound => CliError::NoRunFile(text),
                _ => CliError::Config(text),
            }
        })?;
        let table: Table = text.parse().map_err(|error| origin.error(format!("{error}")))?;
        for (section, value) in table {
            let Value::Table(keys) = value else {
                let known = SECTIONS.join("], [");
                return Err(origin.error(format!("`{section}` stands outside the sections [{known}]")));
            };
            for (name, value) in keys {
                let name = find(&format!("{section}.{name}"), &SECTIONS).map_err(|text| origin.error(text))?;
                self.0.insert(name, (value, origin.clone()));
            }
        }
        Ok(())
    }

    /// Takes `KEY=VALUE` for a command that uses the given sections; VALUE in TOML's notation, or a bare text.
    pub fn set(&mut self, text: &str, sections: &[&str]) -> Result<(), CliError> {
        let (name, raw) = text
            .split_once('=')
            .ok_or_else(|| CliError::Usage(format!("--set {text}: say KEY=VALUE, as in --set gtol=1e-6")))?;
        let name = find(name.trim(), sections).map_err(CliError::Usage)?;
        let parsed = match format!("value = {raw}").parse::<Table>() {
            Ok(mut table) if table.len() == 1 => table.remove("value"),
            _ => None,
        };
        let value = parsed.unwrap_or_else(|| Value::String(raw.trim().to_owned()));
        self.0.insert(name, (value, Origin::Set));
        Ok(())
    }

    /// Takes a flag, if it was given.
    pub fn flag(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name, (value.into(), Origin::Flag));
        }
    }

    /// Takes what a model file records of its training where nothing else was said and where it applies.
    pub fn defaults(&mut self, training: &serde_json::Value) -> Result<(), CliError> {
        let Some(recorded) = training.as_object() else {
            return Err(Origin::Model.error(format!("`gfe.training` is {training}, not an object")));
        };
        // The solver decides which of the others apply.
        let (solver, others): (Vec<_>, Vec<_>) = recorded.iter().partition(|(name, _)| *name == "solver");
        let trained_by = recorded
            .get("solver")
            .and_then(serde_json::Value::as_str)
            .map(str::to_owned);
        for (name, value) in solver.into_iter().chain(others) {
            let full = format!("method.{name}");
            let Some(known) = KEYS.iter().find(|key| key.name == full) else {
                continue;
            };
            let value = Value::try_from(value).map_err(|error| Origin::Model.error(format!("{name}: {error}")))?;
            // What was said to one solver is not meant for another that happens to know the key too.
            let meant = known
                .only
                .is_none_or(|(choice, _)| choice != "method.solver" || self.solver() == trained_by);
            if !self.0.contains_key(known.name) && self.applies(known).is_none() && meant {
                self.0.insert(known.name, (value, Origin::Model));
            }
        }
        Ok(())
    }

    /// The solver chosen so far.
    fn solver(&self) -> Option<String> {
        let (value, _) = self.0.get("method.solver")?;
        value.as_str().map(str::to_owned)
    }

    /// Checks that every key has a use under the choices made; [`default_of`] says what they are where nobody chose.
    pub fn check(&self) -> Result<(), CliError> {
        for key in KEYS {
            let (Some((_, origin)), Some((choice, values, made))) = (self.0.get(key.name), self.applies(key)) else {
                continue;
            };
            let short = |name: &str| name.split_once('.').map_or(name, |(_, short)| short).to_owned();
            let section = |name: &str| name.split_once('.').map_or("", |(section, _)| section).to_owned();
            let usable = KEYS.iter().filter(|other| {
                section(other.name) == section(key.name) && self.applies(other).is_none() && other.name != choice
            });
            let nearest = nearest(&short(key.name), usable.map(|other| short(other.name)));
            let mut text = format!(
                "`{}` does not apply to {} {made}, only to {}",
                short(key.name),
                short(choice),
                values.join(", "),
            );
            // A key that merely shares some letters would lead astray.
            if likeness(&short(key.name), &nearest) > 0.9 {
                text += &format!("; the nearest that does is `{nearest}`");
            }
            return Err(origin.error(text));
        }
        Ok(())
    }

    /// Why a key does not apply: the choice, the values that it asks for, the value made.
    fn applies(&self, key: &Key) -> Option<(&'static str, &'static [&'static str], String)> {
        let (choice, values) = key.only?;
        let made = match self.0.get(choice) {
            Some((Value::String(made), _)) => made.clone(),
            Some(_) => return None,
            None => default_of(choice).to_owned(),
        };
        // A choice that there is not is told of where it is made.
        let known = choices_of(choice).is_none_or(|known| known.contains(&made.as_str()));
        (known && !values.contains(&made.as_str())).then_some((choice, values, made))
    }

    /// Whether the value of a key is what a model file records.
    pub fn is_recorded(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some((_, Origin::Model)))
    }

    /// Takes back what a model file records of a key.
    pub fn forget_recorded(&mut self, name: &'static str) {
        if self.is_recorded(name) {
            self.0.remove(name);
        }
    }

    /// The value of a key, where there is one.
    pub fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, CliError> {
        let Some((value, origin)) = self.0.get(name) else {
            return Ok(None);
        };
        let found = value.clone().try_into();
        found
            .map(Some)
            .map_err(|error: toml::de::Error| origin.error(format!("`{name}` is {value}: {}", error.message())))
    }

    /// The value of a key that has to be there.
    pub fn need<T: DeserializeOwned>(&self, name: &'static str, how: &str) -> Result<T, CliError> {
        self.get(name)?
            .ok_or_else(|| CliError::Usage(format!("`{name}` is missing: {how}")))
    }

    /// A number of which `good` holds, in words `range`; the texts `inf` and `-inf` are numbers too.
    pub fn number(
        &self,
        name: &'static str,
        default: f64,
        (good, range): (fn(f64) -> bool, &str),
    ) -> Result<f64, CliError> {
        let Some((value, origin)) = self.0.get(name) else {
            return Ok(default);
        };
        let found = match value {
            Value::String(text) => text.parse().ok(),
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            _ => None,
        };
        found
            .filter(|number| good(*number))
            .ok_or_else(|| origin.error(format!("`{name}` is {value}: it must be {range}")))
    }

    /// A whole number from `least` to `most`.
    pub fn count(&self, name: &'static str, default: u64, (least, most): (u64, u64)) -> Result<u64, CliError> {
        let Some((value, origin)) = self.0.get(name) else {
            return Ok(default);
        };
        let found = value.as_integer().and_then(|number| u64::try_from(number).ok());
        let wrong = || {
            origin.error(format!(
                "`{name}` is {value}: it must be a whole number from {least} to {most}"
            ))
        };
        found.filter(|number| (least..=most).contains(number)).ok_or_else(wrong)
    }

    /// One of `choices`, by name.
    pub fn choice(&self, name: &'static str, choices: &[&'static str]) -> Result<Option<&'static str>, CliError> {
        let Some((value, origin)) = self.0.get(name) else {
            return Ok(None);
        };
        let found = choices.iter().find(|choice| value.as_str() == Some(choice));
        found.copied().map(Some).ok_or_else(|| {
            let (all, text) = (choices.join(", "), value.as_str().unwrap_or_default());
            let nearest = nearest(text, choices.iter().map(|choice| (*choice).to_owned()));
            let mut told = format!("`{name}` is {value}: it must be one of {all}");
            // A choice that merely shares some letters would lead astray.
            if likeness(text, &nearest) > 0.55 {
                told += &format!("; the nearest is {nearest}");
            }
            origin.error(told)
        })
    }

    /// The keys of a section as they stand.
    pub fn section(&self, section: &str) -> Table {
        let keys = self.0.iter().filter_map(|(name, (value, _))| {
            let (of, short) = name.split_once('.')?;
            (of == section).then(|| (short.to_owned(), value.clone()))
        });
        keys.collect()
    }
}

/// Sections of a run file.
const SECTIONS: [&str; 5] = ["method", "encode", "decoder", "data", "train"];

/// The key called `text`, with or without its section, in these sections; else a sentence that names the nearest.
fn find(text: &str, sections: &[&str]) -> Result<&'static str, String> {
    let bare = !text.contains('.');
    let parts = |name: &'static str| name.split_once('.').unwrap_or(("", name));
    let used = || {
        KEYS.iter()
            .map(|key| key.name)
            .filter(|name| sections.contains(&parts(name).0))
    };
    let mut found = used().filter(|name| *name == text || (bare && parts(name).1 == text));
    match (found.next(), found.next()) {
        (Some(name), None) => Ok(name),
        (Some(one), Some(other)) => Err(format!("`{text}` may be `{one}` or `{other}`: say which")),
        (None, _) if KEYS.iter().any(|key| key.name == text) => Err(format!(
            "`{text}` is of no use to this command, which takes keys of [{}]",
            sections.join("], [")
        )),
        (None, _) => {
            let (of, short) = text.split_once('.').unwrap_or(("", text));
            let score = |name: &'static str| {
                let (section, candidate) = parts(name);
                likeness(short, candidate) + if of == section { 0.1 } else { 0.0 }
            };
            let nearest = used().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap_or_default();
            Err(format!("there is no key `{text}`; the nearest is `{nearest}`"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(sets: &[&str]) -> Settings {
        let mut settings = Settings::default();
        for set in sets {
            settings.set(set, &SECTIONS).expect("the key is known");
        }
        settings
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest() {
        let said = Settings::default()
            .set("gtoll=1", &SECTIONS)
            .expect_err("there is no such key")
            .to_string();
        assert!(said.contains("`method.gtol`"), "{said}");
        let said = Settings::default()
            .set("input=1", &SECTIONS)
            .expect_err("two sections have it")
            .to_string();
        assert!(said.contains("`encode.input` or `data.input`"), "{said}");
    }

    #[test]
    fn a_key_of_another_command_is_refused_and_a_bare_one_looked_up_in_its_own_sections() {
        let mut settings = Settings::default();
        let said = settings
            .set("train.epochs=3", &["method", "encode"])
            .expect_err("it is of train");
        assert!(said.to_string().contains("of no use to this command"), "{said}");
        settings
            .set("rows=0..5", &["method", "encode"])
            .expect("one section has it");
        assert_eq!(
            settings.get::<String>("encode.rows").expect("a text").as_deref(),
            Some("0..5")
        );
    }

    #[test]
    fn a_key_of_another_solver_is_refused_and_one_of_this_solver_named() {
        let said = with(&["solver=amd", "edm_tol=1"])
            .check()
            .expect_err("it is of ptc")
            .to_string();
        assert!(
            said.contains("solver amd") && said.contains("the nearest that does is"),
            "{said}"
        );
        assert!(with(&["solver=amd", "armijo=1"]).check().is_ok());
        assert!(with(&["armijo=1"]).check().is_err());
    }

    #[test]
    fn values_are_toml_or_bare_text_and_later_ones_win() {
        let settings = with(&["gtol=1e-3", "gtol=1e-6", "solver=rk4", "t_end=inf"]);
        let positive: (fn(f64) -> bool, &str) = (|number| number > 0.0, "positive");
        assert_eq!(settings.number("method.gtol", 0.0, positive).expect("a number"), 1e-6);
        assert_eq!(
            settings.number("method.t_end", 0.0, positive).expect("a number"),
            f64::INFINITY
        );
        assert_eq!(
            settings.get::<String>("method.solver").expect("a text").as_deref(),
            Some("rk4")
        );
    }

    #[test]
    fn a_models_record_stands_below_everything_and_leaves_out_what_does_not_apply() {
        let mut settings = with(&["solver=amd", "t_end=5"]);
        let training =
            serde_json::json!({"solver": "ptc", "t_end": "inf", "edm_tol": 1e-3, "loss": "bce", "epochs": 3});
        settings.defaults(&training).expect("an object");
        assert!(settings.check().is_ok());
        assert_eq!(
            settings.get::<String>("method.solver").expect("a text").as_deref(),
            Some("amd")
        );
        assert_eq!(settings.get::<f64>("method.t_end").expect("a number"), Some(5.0));
        assert_eq!(
            settings.get::<String>("method.loss").expect("a text").as_deref(),
            Some("bce")
        );
    }
}
