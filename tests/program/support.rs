//! What tests of the program share: how it is run, where files lie.
// Each test program uses some of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A path in the project.
pub fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A path in the project, as text.
pub fn text(name: &str) -> String {
    root(name).display().to_string()
}

/// Runs `gfe` with these arguments.
pub fn gfe(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gfe"))
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the program starts")
}

/// Runs `gfe`, which has to succeed, and gives what it said on stdout.
pub fn works(arguments: &[&str]) -> String {
    let ran = gfe(arguments);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "gfe {arguments:?}: {said}");
    String::from_utf8_lossy(&ran.stdout).into_owned()
}

/// Runs `gfe`, which has to end with this code and a sentence that holds these words.
pub fn fails(arguments: &[&str], code: i32, words: &[&str]) {
    let ran = gfe(arguments);
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(code), "gfe {arguments:?}: {said}");
    for word in words {
        assert!(said.contains(word), "gfe {arguments:?} says nothing of {word}: {said}");
    }
}

/// Runs a Python script of the project's tests; it has to succeed.
pub fn python(script: &str, arguments: &[&str]) {
    let ran = Command::new(root(".tools/venv/bin/python"))
        .arg(root(script))
        .args(arguments)
        // Several tests at a time: threads that wait for each other in a product would take the cores from all.
        .env("OPENBLAS_NUM_THREADS", "1")
        .output()
        .expect("the Python of `make setup` starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{script} {arguments:?}: {said}");
}

/// A folder that goes away.
pub struct Folder(tempfile::TempDir);

impl Default for Folder {
    fn default() -> Self {
        Folder(tempfile::tempdir().expect("a temporary folder can be made"))
    }
}

impl Folder {
    /// A path in it, as text.
    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// Writes a file in it and gives its path.
    pub fn write(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).expect("a file can be written");
        path
    }
}

/// A dataset of numbers.
pub fn read(file: &str, dataset: &str) -> Vec<f64> {
    let opened = hdf5::File::open(file).and_then(|file| file.dataset(dataset));
    opened
        .and_then(|dataset| dataset.read_raw::<f64>())
        .unwrap_or_else(|error| panic!("{file}:/{dataset}: {error}"))
}
