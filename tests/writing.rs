//! Files that are written whole or not at all, whatever becomes of the process or the disk at whatever moment.

mod faults;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use faults::{Call, Fault, everywhere};
use gfe_io::{Checkpoint, History, HistoryColumn, HistoryTable, Series, StoredTensor};
use serde_json::json;

/// Which file the child of a test writes, and where.
const TASK: &str = "GFE_TEST_WRITES";

fn checkpoint(epoch: u32) -> Checkpoint {
    let values = (0..1000).map(|i| f64::from(i * epoch)).collect();
    let params = StoredTensor {
        shape: vec![10, 100],
        values,
    };
    Checkpoint {
        notes: json!({ "epoch": epoch }),
        tensors: BTreeMap::from([("params".to_owned(), params)]),
    }
}

fn history(epochs: u32) -> History {
    let loss = HistoryColumn {
        name: "loss".into(),
        long_name: "training loss".into(),
        units: None,
        values: Series::Reals((0..epochs).map(|i| 1.0 / f64::from(i + 1)).collect()),
    };
    let table = HistoryTable {
        name: String::new(),
        columns: vec![loss],
    };
    History {
        tables: vec![table],
        ..History::default()
    }
}

/// Not a test of its own: the others start this one as a process that writes and may be killed.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else { return };
    let (kind, path) = task.split_once(':').expect("a kind and a path");
    let written = match kind {
        "checkpoint" => checkpoint(2).write(Path::new(path)),
        _ => history(2).write(Path::new(path)),
    };
    if let Err(error) = written {
        eprintln!("{error}");
        std::process::exit(error.exit_code().into());
    }
}

/// Strikes everywhere while the second state is written over the first; `state` tells which of them stands, and panics
/// where it is neither.
fn strikes(kind: &str, first: &dyn Fn(&Path), state: &dyn Fn(&Path) -> u32) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    // As the system tells it for an open file.
    let root = folder.path().canonicalize().expect("the folder is there");
    let path = root.join("run.h5");
    let text = root.display().to_string();
    let command = || {
        let mut command = Command::new(std::env::current_exe().expect("this test has a path"));
        command
            .args(["--exact", "child", "--nocapture"])
            .env(TASK, format!("{kind}:{}", path.display()));
        command
    };
    let names = || -> Vec<String> {
        let entries = fs::read_dir(&root).expect("the folder is there");
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        entries.map(|entry| name(entry.expect("it can be listed"))).collect()
    };
    let mut struck = Vec::new();
    let mut check = |at: usize, call: &Call, fault: Fault, left: &Output| {
        let seen = format!("{fault:?} at call {at}, {} of {}", call.name, call.path);
        let said = String::from_utf8_lossy(&left.stderr);
        let standing = state(&path);
        if fault.kills() {
            assert_eq!(left.status.signal(), Some(9), "{seen}: {said}");
        } else {
            assert!(matches!(left.status.code(), Some(73 | 74)), "{seen}: {said}");
            assert!(said.contains(&path.display().to_string()), "{seen}: {said}");
            assert_eq!(names(), ["run.h5"], "{seen}: nothing is left beside it");
        }
        struck.push((call.name.clone(), fault, standing));
        // A leftover of a killed process goes with the next writing.
        let run = command().output().expect("the program starts");
        assert!(run.status.success(), "{seen}: {}", String::from_utf8_lossy(&run.stderr));
        assert_eq!(names(), ["run.h5"], "{seen}");
        assert_eq!(state(&path), 2, "{seen}");
    };
    let calls = everywhere((&command, &text), &Fault::ALL, &mut || first(&path), &mut check);
    let made: Vec<&str> = struck
        .iter()
        .step_by(Fault::ALL.len())
        .map(|(name, ..)| &**name)
        .collect();
    let rename = made
        .iter()
        .position(|name| *name == "rename")
        .expect("it is given its name");
    assert!(
        calls == made.len() && rename + 2 == calls && made[rename + 1] == "fsync",
        "{made:?}"
    );
    assert!(
        made.contains(&"open") && made.contains(&"write") && made[rename - 1] == "fsync",
        "{made:?}"
    );
    for (i, (name, fault, standing)) in struck.iter().enumerate() {
        let at = i / Fault::ALL.len();
        let replaced = at > rename || at == rename && *fault == Fault::KillAfter;
        assert_eq!(
            *standing,
            1 + u32::from(replaced),
            "{fault:?} at {name}, call {}",
            at + 1
        );
    }
}

#[test]
fn a_checkpoint_is_the_old_or_the_new_one_wherever_its_writing_is_struck() {
    let state = |path: &Path| {
        let read = Checkpoint::read(path).unwrap_or_else(|error| panic!("{error}"));
        let standing = [1, 2].into_iter().find(|epoch| read == checkpoint(*epoch));
        standing.expect("it is one of the two")
    };
    strikes(
        "checkpoint",
        &|path| checkpoint(1).write(path).expect("there is room"),
        &state,
    );
}

#[test]
fn a_history_is_the_old_or_the_new_one_wherever_its_writing_is_struck() {
    let state = |path: &Path| {
        let read = History::read(path).unwrap_or_else(|error| panic!("{error}"));
        let standing = [1, 2].into_iter().find(|epochs| read == history(*epochs));
        standing.expect("it is one of the two")
    };
    strikes(
        "history",
        &|path| history(1).write(path).expect("there is room"),
        &state,
    );
}
