//! The keys of a run file: what each may be, what it is by default, and where it has a use.
//!
//! This table is the only place that says so. [`Settings`](crate::settings::Settings) asks it whether a value is good,
//! `gfe config check` asks it about a whole file, and the JSON schema is generated from it, so that none of them can say
//! something else than the others. A schema derived from structs (schemars) was considered: the structs would stand beside
//! this table, which is needed anyway for flags, `--set`, what a model records and the keys that only some solvers know.

mod table;

pub use table::KEYS;

use toml::Value;

/// A key of a run file.
#[derive(Clone, Copy)]
pub struct Key {
    /// `section.name`.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is where nobody said anything.
    pub default: Default,
    /// The choice and its values under which the key means something; always, if there is none.
    pub only: Option<(&'static str, &'static [&'static str])>,
}

/// What a key is where nobody said anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// Nothing: it is optional, or has to be there.
    None,
    /// This, in TOML's notation.
    Is(&'static str),
    /// It depends: how, in words.
    Depends(&'static str),
}

/// What a value may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A number; infinite ones may be the text `inf` too.
    Number(Range),
    /// A fraction of 0 or more and below 1, or a whole number.
    Share,
    /// A whole number from the first to the second.
    Count(u64, u64),
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// true or false.
    Flag,
    /// Any text.
    Text,
    /// Rows as `A..B`.
    Rows,
    /// One of equal parts, as `I/N`.
    Part,
    /// A list of texts.
    Texts,
    /// A list of numbers.
    Numbers(Range),
    /// A list of whole numbers, 1 or more each.
    Counts,
    /// A text, or a positive number.
    TextOrNumber,
    /// A text, or a table of anything.
    TextOrTable,
}

/// Numbers that are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Lower bound.
    pub low: Bound,
    /// Upper bound.
    pub high: Bound,
    /// Whether 0 is not allowed.
    pub nonzero: bool,
    /// The same in words.
    pub words: &'static str,
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// There is none: infinity is allowed.
    Infinite,
    /// There is none but infinity, which is not allowed.
    Finite,
    /// This is allowed.
    With(f64),
    /// This is not.
    Without(f64),
}

impl Range {
    /// Whether a number lies in it; NaN lies in none.
    pub fn holds(&self, number: f64) -> bool {
        let inside = |bound: Bound, sign: f64| match bound {
            Bound::Infinite => true,
            Bound::Finite => number.is_finite(),
            Bound::With(limit) => sign * (number - limit) >= 0.0,
            Bound::Without(limit) => sign * (number - limit) > 0.0,
        };
        !(number.is_nan() || self.nonzero && number == 0.0) && inside(self.low, 1.0) && inside(self.high, -1.0)
    }

    /// Whether infinity lies in it.
    pub fn has_infinity(&self) -> bool {
        self.high == Bound::Infinite
    }
}

/// The number that a value of a run file stands for.
pub fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::String(text) if text == "inf" => Some(f64::INFINITY),
        _ => None,
    }
}

/// Rows `A..B`, as far as a text alone tells.
fn rows_of(text: &str) -> Option<(u64, u64)> {
    pair_of(text, "..").filter(|(first, end)| first <= end)
}

/// The part `I/N`, counted from 1; N is a million at most.
pub fn part_of(text: &str) -> Option<(u64, u64)> {
    pair_of(text, "/").filter(|&(i, n)| 1 <= i && i <= n && n <= 1_000_000)
}

/// Two whole numbers with `sign` between them.
fn pair_of(text: &str, sign: &str) -> Option<(u64, u64)> {
    let digits = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.parse().ok())?
    };
    let (first, second) = text.split_once(sign)?;
    Some((digits(first)?, digits(second)?))
}

impl Kind {
    /// Why `value` cannot be one of the kind: how `it` would go on, such as `must be positive and finite`.
    pub fn refusal(self, value: &Value) -> Option<String> {
        let count = |value: &Value, least: u64, most: u64| {
            let found = value.as_integer().and_then(|number| u64::try_from(number).ok());
            found.is_some_and(|number| (least..=most).contains(&number))
        };
        let list = |good: &dyn Fn(&Value) -> bool| value.as_array().is_some_and(|list| list.iter().all(good));
        let positive = |number: f64| number > 0.0 && number.is_finite();
        let (good, wanted) = match self {
            Kind::Number(range) => (
                number_of(value).is_some_and(|number| range.holds(number)),
                range.words.to_owned(),
            ),
            Kind::Share => (
                number_of(value).is_some_and(|number| {
                    (0.0..1.0).contains(&number) || (number >= 1.0 && number.is_finite() && number.fract() == 0.0)
                }),
                "a fraction below 1, or a whole number of samples (of groups, with `groups`)".to_owned(),
            ),
            Kind::Count(least, most) => (
                count(value, least, most),
                format!("a whole number from {least} to {most}"),
            ),
            Kind::Choice(choices) => (
                value.as_str().is_some_and(|text| choices.contains(&text)),
                format!("one of {}{}", choices.join(", "), nearest_choice(value, choices)),
            ),
            Kind::Flag => (value.is_bool(), "true or false".to_owned()),
            Kind::Text => (value.is_str(), "a text".to_owned()),
            Kind::Rows => (
                value.as_str().and_then(rows_of).is_some(),
                "rows A..B with A <= B, B excluded, as in \"0..100\"".to_owned(),
            ),
            Kind::Part => (
                value.as_str().and_then(part_of).is_some(),
                "I/N with 1 <= I <= N, as in \"3/8\"".to_owned(),
            ),
            Kind::Texts => (list(&|value| value.is_str()), "a list of texts".to_owned()),
            Kind::Numbers(range) => (
                list(&|value| number_of(value).is_some_and(|number| range.holds(number))),
                format!("a list of numbers, each {}", range.words),
            ),
            Kind::Counts => (
                list(&|value| count(value, 1, 1 << 40)),
                "a list of whole numbers, 1 or more each".to_owned(),
            ),
            Kind::TextOrNumber => (
                value.is_str() || number_of(value).is_some_and(positive),
                "a text, or a number, positive and finite".to_owned(),
            ),
            Kind::TextOrTable => (value.is_str() || value.is_table(), "a text, or a table".to_owned()),
        };
        (!good).then(|| format!("must be {wanted}"))
    }
}

/// The choice that a wrong one was meant to be, if one is like it.
fn nearest_choice(value: &Value, choices: &[&str]) -> String {
    let text = value.as_str().unwrap_or_default();
    let nearest = nearest(text, choices.iter().map(|choice| (*choice).to_owned()));
    // A choice that merely shares some letters would lead astray.
    if likeness(text, &nearest) > 0.55 {
        format!("; the nearest is {nearest}")
    } else {
        String::new()
    }
}

impl Key {
    /// The key called `section.name`; one that there is not is a fault of this program.
    pub fn named(name: &str) -> &'static Key {
        let found = KEYS.iter().find(|key| key.name == name);
        found.unwrap_or_else(|| panic!("no key {name} in the table"))
    }

    /// Its section.
    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }

    /// Its name in its section.
    pub fn short(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, short)| short)
    }

    /// Its default as a value.
    pub fn default_value(&self) -> Option<Value> {
        let Default::Is(text) = self.default else { return None };
        let parsed = format!("value = {text}").parse::<toml::Table>();
        parsed.ok().and_then(|mut table| table.remove("value"))
    }
}

/// What a choice is where nobody made it.
pub fn default_of(choice: &str) -> &'static str {
    match Key::named(choice).default {
        Default::Is(text) => text.trim_matches('"'),
        _ => "",
    }
}

/// The values of a choice on which other keys depend, if it has no others.
pub fn choices_of(choice: &str) -> Option<&'static [&'static str]> {
    match Key::named(choice).kind {
        Kind::Choice(choices) => Some(choices),
        _ => None,
    }
}

/// The candidate most like `text`.
pub fn nearest(text: &str, candidates: impl Iterator<Item = String>) -> String {
    candidates
        .max_by(|a, b| likeness(text, a).total_cmp(&likeness(text, b)))
        .unwrap_or_default()
}

/// How much two names are like each other: their letters, and the words that they share.
pub fn likeness(a: &str, b: &str) -> f64 {
    let shared = a
        .split('_')
        .filter(|word| b.split('_').any(|other| other == *word))
        .count();
    strsim::jaro_winkler(a, b) + 0.5 * shared as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use gfe_model::dense::Activation;
    use gfe_model::{LossKind, Output};

    #[test]
    fn every_key_stands_once_and_its_default_is_one_that_it_may_have() {
        for (i, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..i].iter().all(|other| other.name != key.name), "{}", key.name);
            if let Default::Is(text) = key.default {
                let value = key.default_value().unwrap_or_else(|| panic!("{}: {text}", key.name));
                assert_eq!(key.kind.refusal(&value), None, "{}", key.name);
            }
            if let Some((choice, values)) = key.only {
                let known = choices_of(choice).unwrap_or(values);
                assert!(values.iter().all(|value| known.contains(value)), "{}", key.name);
            }
        }
    }

    #[test]
    fn the_choices_are_those_of_the_libraries() {
        assert_eq!(
            choices_of("method.loss").expect("a choice"),
            LossKind::ALL.map(|kind| kind.loss().name())
        );
        let names = |all: Vec<serde_json::Value>| -> Vec<String> {
            all.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        let activations = Activation::ALL.iter().map(|one| serde_json::json!(one)).collect();
        assert_eq!(choices_of("decoder.activation").expect("a choice"), names(activations));
        let outputs = [Output::Values, Output::Logits, Output::LogRates];
        let outputs = outputs.iter().map(|one| serde_json::json!(one)).collect();
        assert_eq!(choices_of("decoder.output").expect("a choice"), names(outputs));
    }

    #[test]
    fn a_range_says_what_it_holds() {
        let tau = Range {
            low: Bound::Without(0.0),
            high: Bound::Infinite,
            nonzero: false,
            words: "positive, or inf",
        };
        assert!(tau.holds(1e-300) && tau.holds(f64::INFINITY));
        assert!(!tau.holds(0.0) && !tau.holds(f64::NAN) && !tau.holds(-1.0));
        let refused = |value: Value| Kind::Number(tau).refusal(&value);
        assert_eq!(refused("inf".into()), None);
        assert_eq!(refused("1".into()).as_deref(), Some("must be positive, or inf"));
    }
}
