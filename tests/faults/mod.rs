//! Faults at every call by which a program changes files: kills before and after it, and failures of it.
//!
//! A library that is preloaded into the program, `interpose.c`, counts the calls that touch paths with a given text in
//! them and strikes at one of them; it says there which calls it sees. Since every run of the program makes the same
//! calls, as long as one thread of it writes files, a run without a fault tells how many places there are.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A call that was counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Name of the function.
    pub name: String,
    /// The path that it touched.
    pub path: String,
}

/// What happens at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed before it.
    KillBefore,
    /// The process is killed once it is done.
    KillAfter,
    /// It fails with ENOSPC.
    NoSpace,
    /// It fails with EIO.
    Damage,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 4] = [Fault::KillBefore, Fault::KillAfter, Fault::NoSpace, Fault::Damage];

    /// Whether the process is killed.
    pub fn kills(self) -> bool {
        matches!(self, Fault::KillBefore | Fault::KillAfter)
    }
}

/// The library, compiled once in a process.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("a folder can be made")
            .keep();
        let made = folder.join("libinterpose.so");
        let run = Command::new("cc")
            .args(["-std=gnu11", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"])
            .arg(Path::new(file!()).with_file_name("interpose.c"))
            .arg("-o")
            .arg(&made)
            .arg("-ldl")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cc starts");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        made
    })
}

/// Lets `command` run with a fault at the call numbered `at`, from 1, of those that touch paths with `text` in them.
pub fn strike(command: &mut Command, text: &str, at: usize, fault: Fault) -> Output {
    let (key, value) = match fault {
        Fault::KillBefore => ("GFE_FAULT_WHEN", "before"),
        Fault::KillAfter => ("GFE_FAULT_WHEN", "after"),
        Fault::NoSpace => ("GFE_FAULT_ERRNO", "ENOSPC"),
        Fault::Damage => ("GFE_FAULT_ERRNO", "EIO"),
    };
    command
        .env("LD_PRELOAD", library())
        .env("GFE_FAULT_PATH", text)
        .env("GFE_FAULT_AT", at.to_string())
        .env(key, value)
        .output()
        .expect("the program starts")
}

/// Lets `command` run, which has to succeed, and gives the calls that touch paths with `text` in them.
pub fn count(command: &mut Command, text: &str) -> Vec<Call> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let log = folder.path().join("calls");
    let run = command
        .env("LD_PRELOAD", library())
        .env("GFE_FAULT_PATH", text)
        .env("GFE_FAULT_LOG", &log)
        .output()
        .expect("the program starts");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{command:?}: {said}");
    let lines = std::fs::read_to_string(&log).unwrap_or_default();
    let call = |line: &str| {
        let (name, path) = line.split_once('\t').expect("a name and a path");
        Call {
            name: name.to_owned(),
            path: path.to_owned(),
        }
    };
    lines.lines().map(call).collect()
}

/// Strikes with every one of `faults` at every call of `command` that touches paths with `text` in them, and gives how
/// many calls there are.
///
/// Before each run, also the one that counts, `prepare` has to make the same state; after each `check` gets the number of
/// the call, the call, the fault and what the program left.
pub fn everywhere(
    (command, text): (&dyn Fn() -> Command, &str),
    faults: &[Fault],
    prepare: &mut dyn FnMut(),
    check: &mut dyn FnMut(usize, &Call, Fault, &Output),
) -> usize {
    prepare();
    let calls = count(&mut command(), text);
    for (at, call) in (1..).zip(&calls) {
        for &fault in faults {
            prepare();
            let left = strike(&mut command(), text, at, fault);
            check(at, call, fault, &left);
        }
    }
    calls.len()
}
