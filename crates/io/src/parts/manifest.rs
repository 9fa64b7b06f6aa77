//! What the parts of an output are parts of.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::IoError;
use crate::input::regular_file;

/// Version of the folder's format.
const VERSION: &str = "1.0";
/// A manifest that is larger is none.
const SIZE_LIMIT: u64 = 16 << 20;

/// What the parts of an output are parts of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Manifest {
    /// Rows of the input that the whole output holds.
    pub rows: Range<usize>,
    /// What decides on every value of the output: notes by name, each an object. A run that goes on has to have the same.
    pub identity: Map<String, Value>,
    /// Where the output is made.
    pub environment: Value,
    /// SHA-256 of the output without rows, which has its structure; given by [`Parts::begin`](crate::Parts::begin).
    pub skeleton_sha256: String,
}

impl Manifest {
    /// Reads one, which is taken for hostile; fails where it is missing or not of this format.
    pub fn read(path: &Path) -> Result<Manifest, IoError> {
        let failed = |source: std::io::Error| IoError::Read {
            path: path.to_owned(),
            source,
        };
        let mut bytes = Vec::new();
        let file = regular_file(path)?;
        file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
        Manifest::parse(&bytes).map_err(|what| IoError::NotManifest {
            path: path.to_owned(),
            what,
        })
    }

    /// Parses the bytes of a manifest; the error says what is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, String> {
        if bytes.len() as u64 > SIZE_LIMIT {
            return Err(format!("it has more than {SIZE_LIMIT} bytes"));
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON: {error}"))?;
        if value["gfe_parts"] != VERSION {
            return Err(format!(
                "its format is {}, and this program knows {VERSION}",
                value["gfe_parts"]
            ));
        }
        let row = |i: usize| value["rows"][i].as_u64().and_then(|row| usize::try_from(row).ok());
        let rows = match (row(0), row(1)) {
            (Some(first), Some(end)) if first <= end && end <= isize::MAX as usize => first..end,
            _ => return Err(format!("its rows are {}", value["rows"])),
        };
        let identity = value["identity"].as_object().ok_or("it has no `identity`")?.clone();
        let skeleton_sha256 = value["skeleton_sha256"].as_str().ok_or("it has no `skeleton_sha256`")?;
        Ok(Manifest {
            rows,
            identity,
            environment: value["environment"].clone(),
            skeleton_sha256: skeleton_sha256.to_owned(),
        })
    }

    pub(super) fn to_json(&self) -> String {
        json!({
            "gfe_parts": VERSION,
            "rows": [self.rows.start, self.rows.end],
            "identity": self.identity,
            "environment": self.environment,
            "skeleton_sha256": self.skeleton_sha256,
        })
        .to_string()
    }

    /// Whether an output with these notes and rows is the one that this describes: made of the same, with the same layout.
    pub fn describes(&self, rows: &Range<usize>, note: impl Fn(&str) -> Option<Value>) -> bool {
        // What only the finished output knows is not asked for.
        let same = |(name, expected): (&String, &Value)| match (expected, note(name).unwrap_or_default()) {
            (Value::Object(expected), found) => expected
                .iter()
                .all(|(key, value)| placeless(value) == placeless(&found[key]) || key == "path"),
            _ => true,
        };
        *rows == self.rows && self.identity.iter().all(same)
    }

    /// Where this one, found, differs from one that is asked for.
    pub(super) fn differences(&self, asked: &Manifest) -> Vec<String> {
        let told = |manifest: &Manifest| {
            let mut all = match placeless(&Value::Object(manifest.identity.clone())) {
                Value::Object(all) => all,
                _ => Map::new(),
            };
            all.insert("rows".into(), json!([manifest.rows.start, manifest.rows.end]));
            all.insert("skeleton_sha256".into(), json!(manifest.skeleton_sha256));
            all.insert("gfe".into(), manifest.environment["gfe"].clone());
            Value::Object(all)
        };
        differences(&told(self), &told(asked), "there")
    }
}

/// A note without the paths in it: where files lie is the affair of each machine; which they are, their sizes, times and hashes
/// tell.
pub(super) fn placeless(note: &Value) -> Value {
    match note {
        Value::Object(map) => {
            let kept = map.iter().filter(|(key, _)| *key != "path");
            Value::Object(kept.map(|(key, value)| (key.clone(), placeless(value))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(placeless).collect()),
        other => other.clone(),
    }
}

/// Where two objects differ, as `place: one found, other now`, with the word `found` for where the one was found.
pub fn differences(one: &Value, other: &Value, found: &str) -> Vec<String> {
    let mut told = Vec::new();
    collect("", (one, other), found, &mut told);
    told
}

fn collect(place: &str, (one, other): (&Value, &Value), found: &str, told: &mut Vec<String>) {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let place = if place.is_empty() {
                    name.clone()
                } else {
                    format!("{place}.{name}")
                };
                let of = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or_default();
                collect(&place, (&of(a), &of(b)), found, told);
            }
        }
        _ if one != other => told.push(format!("{place}: {one} {found}, {other} now")),
        _ => {}
    }
}
