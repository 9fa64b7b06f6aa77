//! The JSON Schema of a run file, from the table of keys.
//!
//! Draft 7, since that is what editors know for TOML (Taplo, Even Better TOML). A number that JSON has no word for is
//! bounded by the largest that it has: so infinity is refused where the program refuses it.

use crate::keys::{Bound, Default, KEYS, Key, Kind, Range, default_of};
use crate::settings::{SCHEMA, SECTIONS};
use serde_json::{Map, Value, json};

/// What a section is about.
fn about(section: &str) -> &'static str {
    match section {
        "method" => "How samples are encoded",
        "encode" => "What `gfe encode` reads and writes",
        "decoder" => "The decoder: a plugin, or the architecture of a dense network to train",
        "data" => "What `gfe train` reads",
        _ => "How a decoder is trained",
    }
}

/// The schema.
pub fn schema() -> Value {
    let mut properties = Map::new();
    let text = "Path or address of this schema, for editors; the program has its own";
    properties.insert(SCHEMA.into(), json!({"type": "string", "description": text}));
    for section in SECTIONS {
        let keys = KEYS.iter().filter(|key| key.section() == section);
        let keys: Map<String, Value> = keys.map(|key| (key.short().to_owned(), property(key))).collect();
        properties.insert(
            section.into(),
            json!({"type": "object", "title": section, "description": about(section), "properties": keys,
                "additionalProperties": false}),
        );
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Run file of gfe",
        "description": "Settings of gfe encode and gfe train. Flags and --set win over them.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "allOf": conditions(),
    })
}

/// A key.
fn property(key: &Key) -> Value {
    let mut told = key.about.to_owned();
    if let Default::Depends(how) = key.default {
        told += &format!(". Default: {how}");
    }
    if let Some((choice, values)) = key.only {
        let choice = Key::named(choice);
        let place = if choice.section() == key.section() {
            choice.short()
        } else {
            choice.name
        };
        told += &format!(". Only for {place} {}", values.join(", "));
    }
    let mut all = json!({"title": key.short(), "description": told});
    if let (Some(all), Value::Object(own)) = (all.as_object_mut(), of_kind(key.kind)) {
        all.extend(own);
        if let Some(default) = key.default_value() {
            all.insert("default".into(), json!(default));
        }
    }
    all
}

fn of_kind(kind: Kind) -> Value {
    match kind {
        Kind::Number(range) => number(range),
        Kind::Share => json!({"anyOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": 1},
            {"type": "number", "minimum": 1, "maximum": f64::MAX, "multipleOf": 1}]}),
        Kind::Count(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::Choice(choices) => json!({"type": "string", "enum": choices}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Text => json!({"type": "string"}),
        Kind::Rows => json!({"type": "string", "pattern": "^[0-9]+\\.\\.[0-9]+$"}),
        Kind::Part => json!({"type": "string", "pattern": "^[0-9]+/[0-9]+$"}),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Numbers(range) => json!({"type": "array", "items": number(range)}),
        Kind::Counts => json!({"type": "array", "items": {"type": "integer", "minimum": 1}}),
        Kind::TextOrNumber => {
            json!({"anyOf": [{"type": "string"}, {"type": "number", "exclusiveMinimum": 0, "maximum": f64::MAX}]})
        }
        Kind::TextOrTable => json!({"anyOf": [{"type": "string"}, {"type": "object"}]}),
    }
}

fn number(range: Range) -> Value {
    let mut told = json!({"type": "number"});
    match range.low {
        Bound::Infinite => {}
        Bound::Finite => told["minimum"] = json!(f64::MIN),
        Bound::With(limit) => told["minimum"] = json!(limit),
        Bound::Without(limit) => told["exclusiveMinimum"] = json!(limit),
    }
    match range.high {
        Bound::Infinite => {}
        Bound::Finite => told["maximum"] = json!(f64::MAX),
        Bound::With(limit) => told["maximum"] = json!(limit),
        Bound::Without(limit) => told["exclusiveMaximum"] = json!(limit),
    }
    if range.nonzero {
        told["not"] = json!({"const": 0});
    }
    if range.has_infinity() {
        told = json!({"anyOf": [told, {"const": "inf"}]});
    }
    told
}

/// For each choice and its values: where it is another one, the keys that depend on it are not allowed.
fn conditions() -> Vec<Value> {
    type Group<'a> = ((&'a str, &'a [&'a str]), Vec<&'a Key>);
    let mut groups: Vec<Group<'_>> = Vec::new();
    for key in KEYS {
        let Some(only) = key.only else { continue };
        match groups.iter_mut().find(|(known, _)| *known == only) {
            Some((_, keys)) => keys.push(key),
            None => groups.push((only, vec![key])),
        }
    }
    let condition = |((choice, values), keys): Group<'_>| {
        let choice = Key::named(choice);
        let (section, short) = (choice.section(), choice.short());
        let mut made = json!({"properties": {section: {"properties": {short: {"enum": values}}}}});
        if !values.contains(&default_of(choice.name)) {
            made["required"] = json!([section]);
            made["properties"][section]["required"] = json!([short]);
        }
        let mut without = json!({"properties": {}});
        for key in keys {
            let section = &mut without["properties"][key.section()];
            if section.is_null() {
                *section = json!({"properties": {}});
            }
            section["properties"][key.short()] = json!(false);
        }
        json!({"if": made, "else": without})
    };
    groups.into_iter().map(condition).collect()
}

/// The schema as it stands in `schemas/run.schema.json`.
pub fn text() -> String {
    format!("{:#}", schema())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_schema_in_the_repository_is_that_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/run.schema.json");
        let stands = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            stands.trim_end() == super::text(),
            "{path} is not current: run `make schema`"
        );
    }
}
