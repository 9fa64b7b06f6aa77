//! What is wrong in a run file, with the place: file, line, column, and the line with a caret under it.

use serde_json::{Value, json};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// A run file as it was read.
#[derive(Debug)]
pub struct RunFile {
    /// Its path.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

impl RunFile {
    /// Line and column of a byte, both from 1 on; columns count characters.
    pub fn position(&self, byte: usize) -> (usize, usize) {
        let before = self.before(byte);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// The text before a byte, or before the character that the byte is in.
    fn before(&self, byte: usize) -> &str {
        let mut end = byte.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        &self.text[..end]
    }

    /// What is wrong with the bytes `span`.
    pub fn finding(&self, span: Range<usize>, message: String) -> Finding {
        let (line, column) = self.position(span.start);
        let shown = self.text.lines().nth(line - 1).unwrap_or_default().to_owned();
        let marked = self
            .before(span.end)
            .len()
            .saturating_sub(self.before(span.start).len());
        let marked = &self.text[self.before(span.start).len()..][..marked];
        let length = marked.lines().next().unwrap_or_default().chars().count();
        Finding {
            path: self.path.clone(),
            place: Some(Place {
                line,
                column,
                length: length.max(1),
                shown,
            }),
            message,
        }
    }
}

/// Something wrong in a run file.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    path: PathBuf,
    place: Option<Place>,
    message: String,
}

/// Where it is.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    line: usize,
    column: usize,
    /// Characters that it takes.
    length: usize,
    /// The line.
    shown: String,
}

/// Characters of a line that are shown: nobody reads more, and a file can have lines of megabytes.
const SHOWN: usize = 160;

impl Finding {
    /// What is wrong with the file as a whole.
    pub fn whole(path: &Path, message: String) -> Finding {
        Finding {
            path: path.to_owned(),
            place: None,
            message,
        }
    }

    /// As JSON: path, line, column, message; line and column are null where the file as a whole is meant.
    pub fn json(&self) -> Value {
        let place = self.place.as_ref();
        json!({"path": self.path, "line": place.map(|place| place.line), "column": place.map(|place| place.column),
            "message": self.message})
    }

    /// By which findings of one file are put in order.
    pub fn order(&self) -> (usize, usize) {
        self.place.as_ref().map_or((0, 0), |place| (place.line, place.column))
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        let Some(place) = &self.place else {
            return write!(out, "{path}: {}", self.message);
        };
        let Place { line, column, .. } = place;
        write!(out, "{path}:{line}:{column}: {}", self.message)?;
        if *column > SHOWN {
            return Ok(());
        }
        // A tab takes the same room above the caret as below.
        let shown: String = place.shown.chars().take(SHOWN).collect();
        let gap: String = (shown.chars().take(column - 1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let carets = "^".repeat(place.length.min(SHOWN - column + 1));
        let (number, margin) = (line.to_string(), " ".repeat(line.to_string().len()));
        write!(out, "\n  {number} | {shown}\n  {margin} | {gap}{carets}")
    }
}

/// Several, a paragraph each.
pub fn told(findings: &[Finding]) -> String {
    let texts: Vec<String> = findings.iter().map(Finding::to_string).collect();
    texts.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_its_line_with_carets_under_it() {
        let file = RunFile {
            path: "a.toml".into(),
            text: "[method]\ngrößé = 1e-3 # x\n".into(),
        };
        let start = file.text.find("1e-3").expect("it is there");
        let finding = file.finding(start..start + 4, "wrong".into());
        assert_eq!(
            finding.to_string(),
            "a.toml:2:9: wrong\n  2 | größé = 1e-3 # x\n    |         ^^^^"
        );
        assert_eq!(
            finding.json(),
            json!({"path": "a.toml", "line": 2, "column": 9, "message": "wrong"})
        );
        let end = file.finding(999..1000, "unfinished".into());
        assert_eq!(end.json()["line"], 3);
        assert_eq!(Finding::whole(&file.path, "empty".into()).to_string(), "a.toml: empty");
    }

    #[test]
    fn a_line_of_megabytes_is_not_shown_whole() {
        let file = RunFile {
            path: "a.toml".into(),
            text: "x".repeat(1 << 20),
        };
        assert!(file.finding(0..1 << 20, "long".into()).to_string().len() < 500);
        assert!(file.finding(1 << 19..1 << 20, "long".into()).to_string().len() < 100);
    }
}
