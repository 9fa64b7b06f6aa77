//! Settings by key: a run file, `--set`, flags and what a model file records are layers of one table.
//!
//! Every key belongs to a section of the run file; a bare key in `--set` is looked up in all of them. A key that nobody
//! knows, or that the chosen solver or optimizer has no use for, is an error: silence would let a typing error pass as a
//! result.

use crate::error::CliError;
use crate::finding::{Finding, RunFile};
use crate::keys::{Default, KEYS, Key, choices_of, default_of, likeness, nearest, number_of};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IntoDeserializer};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

/// Where a value comes from.
#[derive(Clone, Debug)]
enum Origin {
    Model,
    File {
        file: Rc<RunFile>,
        key: Range<usize>,
        value: Range<usize>,
    },
    Set,
    Flag,
}

/// Whether the key or its value is meant.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    Key,
    Value,
}

impl Origin {
    fn error(&self, at: At, text: String) -> CliError {
        match self {
            Origin::Model => CliError::Config(format!("the model file: {text}")),
            Origin::Set | Origin::Flag => CliError::Usage(text),
            Origin::File { file, key, value } => {
                let span = if at == At::Key { key } else { value };
                CliError::RunFile(vec![file.finding(span.clone(), text)])
            }
        }
    }

    /// In a word, for people and for programs.
    fn told(&self) -> String {
        match self {
            Origin::Model => "model file".into(),
            Origin::Set => "--set".into(),
            Origin::Flag => "flag".into(),
            Origin::File { file, key, .. } => format!("{}:{}", file.path.display(), file.position(key.start).0),
        }
    }
}

/// Most findings of a file that are told.
const FINDINGS: usize = 50;

/// Values by `section.key`.
#[derive(Debug, std::default::Default)]
pub struct Settings {
    values: BTreeMap<&'static str, (Value, Origin)>,
    /// What was taken where nobody said anything.
    taken: RefCell<BTreeMap<&'static str, Value>>,
}

/// A key with its value, as it was used.
pub struct Resolved {
    /// The key.
    pub key: &'static Key,
    /// Its value; none where there is none, or where it depends on what is not known here.
    pub value: Option<Value>,
    /// Where it comes from.
    pub origin: String,
}

impl Resolved {
    /// Value and origin.
    pub fn json(&self) -> serde_json::Value {
        let value = match &self.value {
            Some(Value::Float(number)) if !number.is_finite() => serde_json::json!(number.to_string()),
            other => serde_json::json!(other),
        };
        serde_json::json!({"value": value, "from": self.origin})
    }

    /// The value for people.
    pub fn text(&self) -> String {
        match (&self.value, self.key.default) {
            // JSON writes small numbers as people do.
            (Some(Value::Float(number)), _) if number.is_finite() => serde_json::json!(number).to_string(),
            (Some(value), _) => value.to_string(),
            (None, Default::Depends(how)) => how.to_owned(),
            (None, _) => "none".to_owned(),
        }
    }
}

impl Settings {
    /// Reads a run file: sections of keys.
    pub fn read(&mut self, path: &Path) -> Result<(), CliError> {
        let findings = self.read_all(path)?;
        if findings.is_empty() {
            return Ok(());
        }
        Err(CliError::RunFile(findings))
    }

    /// The same, with what is wrong in it told instead of failing; what is right is taken all the same.
    pub fn read_all(&mut self, path: &Path) -> Result<Vec<Finding>, CliError> {
        let text = crate::text_file::read(path).map_err(|error| {
            let text = format!("{} cannot be read: {error}", path.display());
            match error.kind() {
                std::io::ErrorKind::NotFound => CliError::NoRunFile(text),
                _ => CliError::Config(text),
            }
        })?;
        let file = Rc::new(RunFile {
            path: path.to_owned(),
            text,
        });
        let (table, errors) = DeTable::parse_recoverable(&file.text);
        let mut findings: Vec<Finding> = errors
            .iter()
            .map(|error| file.finding(error.span().unwrap_or(0..0), error.message().to_owned()))
            .collect();
        // What stands behind an error of notation may have been read as something else than was meant.
        if findings.is_empty() {
            self.take(&file, table.into_inner(), &mut findings);
        }
        findings.sort_by_key(Finding::order);
        findings.truncate(FINDINGS);
        Ok(findings)
    }

    fn take(&mut self, file: &Rc<RunFile>, table: DeTable<'_>, findings: &mut Vec<Finding>) {
        for (section, value) in table {
            let (span, section) = (section.span(), section.into_inner());
            if section == SCHEMA && value.get_ref().is_str() {
                continue;
            }
            let DeValue::Table(keys) = value.into_inner() else {
                let known = SECTIONS.join("], [");
                let text = format!("`{section}` stands outside the sections [{known}]");
                findings.push(file.finding(span, text));
                continue;
            };
            if !SECTIONS.contains(&&*section) {
                let nearest = nearest(&section, SECTIONS.iter().map(|one| (*one).to_owned()));
                let text = format!("there is no section [{section}]; the nearest is [{nearest}]");
                findings.push(file.finding(span, text));
                continue;
            }
            for (name, value) in keys {
                let (key, span) = (name.span(), value.span());
                let found = find(&format!("{section}.{}", name.get_ref()), &SECTIONS)
                    .map_err(|text| file.finding(key.clone(), text))
                    .and_then(|name| Ok((name, plain(value).map_err(|text| file.finding(span.clone(), text))?)));
                match found {
                    Ok((name, value)) => {
                        let file = file.clone();
                        let origin = Origin::File { file, key, value: span };
                        self.values.insert(name, (value, origin));
                    }
                    Err(finding) => findings.push(finding),
                }
            }
        }
    }

    /// Takes `KEY=VALUE` for a command that uses the given sections; VALUE in TOML's notation, or a bare text.
    pub fn set(&mut self, text: &str, sections: &[&str]) -> Result<(), CliError> {
        let (name, raw) = text
            .split_once('=')
            .ok_or_else(|| CliError::Usage(format!("--set {text}: say KEY=VALUE, as in --set gtol=1e-6")))?;
        let name = find(name.trim(), sections).map_err(CliError::Usage)?;
        let parsed = match format!("value = {raw}").parse::<Table>() {
            Ok(mut table) if table.len() == 1 => table.remove("value"),
            _ => raw.trim().parse().ok().map(Value::Float),
        };
        let value = parsed.unwrap_or_else(|| Value::String(raw.trim().to_owned()));
        self.values.insert(name, (value, Origin::Set));
        Ok(())
    }

    /// Takes a flag, if it was given.
    pub fn flag(&mut self, name: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.values.insert(name, (value.into(), Origin::Flag));
        }
    }

    /// Takes what a model file records of its training where nothing else was said and where it applies.
    pub fn defaults(&mut self, training: &serde_json::Value) -> Result<(), CliError> {
        let wrong = |text: String| Origin::Model.error(At::Value, text);
        let Some(recorded) = training.as_object() else {
            return Err(wrong(format!("`gfe.training` is {training}, not an object")));
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
            let value = Value::try_from(value).map_err(|error| wrong(format!("{name}: {error}")))?;
            // What was said to one solver is not meant for another that happens to know the key too.
            let meant = known
                .only
                .is_none_or(|(choice, _)| choice != "method.solver" || self.solver() == trained_by);
            if !self.values.contains_key(known.name) && self.applies(known).is_none() && meant {
                self.values.insert(known.name, (value, Origin::Model));
            }
        }
        Ok(())
    }

    /// The solver chosen so far.
    fn solver(&self) -> Option<String> {
        let (value, _) = self.values.get("method.solver")?;
        value.as_str().map(str::to_owned)
    }

    /// Checks that every value is one that its key may have, and that every key has a use under the choices made;
    /// [`default_of`] says what they are where nobody chose. What is wrong in a run file is told all at once.
    pub fn check(&self) -> Result<(), CliError> {
        let mut findings = Vec::new();
        for key in KEYS {
            let Some((value, origin)) = self.values.get(key.name) else {
                continue;
            };
            let error = match (self.refused(key, value), self.useless(key)) {
                (None, None) => continue,
                (Some(text), _) => origin.error(At::Value, text),
                (None, Some(text)) => origin.error(At::Key, text),
            };
            match error {
                CliError::RunFile(more) => findings.extend(more),
                other => return Err(other),
            }
        }
        if findings.is_empty() {
            return Ok(());
        }
        findings.sort_by_key(Finding::order);
        Err(CliError::RunFile(findings))
    }

    /// Why a value cannot be that of a key.
    fn refused(&self, key: &Key, value: &Value) -> Option<String> {
        let wanted = key.kind.refusal(value)?;
        Some(format!("`{}` is {value}: it {wanted}", key.name))
    }

    /// Why a key has no use under the choices made.
    fn useless(&self, key: &Key) -> Option<String> {
        let (choice, values, made) = self.applies(key)?;
        let usable = KEYS
            .iter()
            .filter(|other| other.section() == key.section() && self.applies(other).is_none() && other.name != choice);
        let nearest = nearest(key.short(), usable.map(|other| other.short().to_owned()));
        let mut text = format!(
            "`{}` does not apply to {} {made}, only to {}",
            key.short(),
            Key::named(choice).short(),
            values.join(", "),
        );
        // A key that merely shares some letters would lead astray.
        if likeness(key.short(), &nearest) > 0.9 {
            text += &format!("; the nearest that does is `{nearest}`");
        }
        Some(text)
    }

    /// Why a key does not apply: the choice, the values that it asks for, the value made.
    fn applies(&self, key: &Key) -> Option<(&'static str, &'static [&'static str], String)> {
        let (choice, values) = key.only?;
        let made = match self.values.get(choice) {
            Some((Value::String(made), _)) => made.clone(),
            Some(_) => return None,
            None => default_of(choice).to_owned(),
        };
        // A choice that there is not is told of where it is made.
        let known = choices_of(choice).is_none_or(|known| known.contains(&made.as_str()));
        (known && !values.contains(&made.as_str())).then_some((choice, values, made))
    }

    /// An error about a key, with the place where it was set, if it was.
    pub fn error(&self, name: &str, text: String) -> CliError {
        match self.values.get(name) {
            Some((_, origin)) => origin.error(At::Value, text),
            None => CliError::Usage(text),
        }
    }

    /// Whether the value of a key is what a model file records.
    pub fn is_recorded(&self, name: &str) -> bool {
        matches!(self.values.get(name), Some((_, Origin::Model)))
    }

    /// Takes back what a model file records of a key.
    pub fn forget_recorded(&mut self, name: &'static str) {
        if self.is_recorded(name) {
            self.values.remove(name);
        }
    }

    /// The value of a key, where there is one; fails where it is none that the key may have.
    fn value(&self, name: &'static str) -> Result<Option<&Value>, CliError> {
        let key = Key::named(name);
        let Some((value, origin)) = self.values.get(key.name) else {
            return Ok(None);
        };
        match self.refused(key, value) {
            None => Ok(Some(value)),
            Some(text) => Err(origin.error(At::Value, text)),
        }
    }

    /// The value of a key, where there is one.
    pub fn get<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, CliError> {
        let Some(value) = self.value(name)? else {
            return Ok(None);
        };
        let found = value.clone().try_into();
        found
            .map(Some)
            .map_err(|error: toml::de::Error| self.error(name, format!("`{name}` is {value}: {}", error.message())))
    }

    /// The value of a key that has to be there.
    pub fn need<T: DeserializeOwned>(&self, name: &'static str, how: &str) -> Result<T, CliError> {
        self.get(name)?
            .ok_or_else(|| CliError::Usage(format!("`{name}` is missing: {how}")))
    }

    /// A number; the text `inf` is one too. A `default` of NaN stands for none.
    pub fn number(&self, name: &'static str, default: f64) -> Result<f64, CliError> {
        let found = self.value(name)?.and_then(number_of);
        if found.is_none() && !default.is_nan() {
            self.taken.borrow_mut().insert(name, Value::Float(default));
        }
        Ok(found.unwrap_or(default))
    }

    /// A whole number.
    pub fn count(&self, name: &'static str, default: u64) -> Result<u64, CliError> {
        let found = self.value(name)?.and_then(Value::as_integer);
        if found.is_none() {
            let taken = i64::try_from(default).unwrap_or(i64::MAX);
            self.taken.borrow_mut().insert(name, Value::Integer(taken));
        }
        Ok(found.and_then(|found| u64::try_from(found).ok()).unwrap_or(default))
    }

    /// A whole number, where there is one.
    pub fn optional_count(&self, name: &'static str) -> Result<Option<u64>, CliError> {
        let found = self.value(name)?.and_then(Value::as_integer);
        Ok(found.and_then(|found| u64::try_from(found).ok()))
    }

    /// The choice made, by name.
    pub fn choice(&self, name: &'static str) -> Result<Option<&'static str>, CliError> {
        let text = self.value(name)?.and_then(Value::as_str);
        let choices = choices_of(name).unwrap_or_default();
        Ok(text.and_then(|text| choices.iter().find(|choice| **choice == text).copied()))
    }

    /// The keys of a section as they stand.
    pub fn section(&self, section: &str) -> Table {
        let keys = self.values.iter().filter_map(|(name, (value, _))| {
            let (of, short) = name.split_once('.')?;
            (of == section).then(|| (short.to_owned(), value.clone()))
        });
        keys.collect()
    }

    /// Every key of these sections that applies, as it was used: what was set, else what was taken for it, else the default of
    /// the table.
    pub fn resolved(&self, sections: &[&str]) -> Vec<Resolved> {
        let used = KEYS
            .iter()
            .filter(|key| sections.contains(&key.section()) && self.applies(key).is_none());
        used.map(|key| match self.values.get(key.name) {
            Some((value, origin)) => Resolved {
                key,
                value: Some(value.clone()),
                origin: origin.told(),
            },
            None => Resolved {
                key,
                value: self
                    .taken
                    .borrow()
                    .get(key.name)
                    .cloned()
                    .or_else(|| key.default_value()),
                origin: "default".into(),
            },
        })
        .collect()
    }
}

/// A value without its places.
fn plain(value: Spanned<DeValue<'_>>) -> Result<Value, String> {
    Value::deserialize(value.into_deserializer()).map_err(|error| error.message().to_owned())
}

/// Sections of a run file.
pub const SECTIONS: [&str; 5] = ["method", "encode", "decoder", "data", "train"];

/// By which a run file names its schema, for editors; the program has its own.
pub const SCHEMA: &str = "$schema";

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
mod tests;
