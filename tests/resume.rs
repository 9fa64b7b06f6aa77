//! Trainings that are killed, stopped or fail, and go on to the same bits.
//!
//! A program of its own: processes that it starts at every moment would hold, for an instant, the locks of files that other
//! tests write.

mod faults;
#[path = "program/support.rs"]
mod support;

use faults::{Call, Fault, everywhere};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};
use support::{Folder, fails, gfe, text, works};

/// A training in a folder of its own, with a checkpoint after every mini-batch.
struct Run {
    folder: Folder,
    run_file: String,
    sets: Vec<&'static str>,
}

impl Run {
    fn new(sets: &[&'static str]) -> Run {
        let mut all = vec!["data.held_out=0", "regression_samples=0", "checkpoint_minutes=0"];
        all.extend(sets);
        Run {
            folder: Folder::default(),
            run_file: text("datasets/demo.toml"),
            sets: all,
        }
    }

    fn model(&self) -> String {
        self.folder.path("model.safetensors")
    }

    fn checkpoint(&self) -> String {
        self.folder.path("model.checkpoint.h5")
    }

    fn arguments(&self, output: &str) -> Vec<String> {
        let mut arguments = vec!["train".to_owned(), self.run_file.clone(), "-o".into(), output.into()];
        for set in &self.sets {
            arguments.extend(["--set".to_owned(), (*set).to_owned()]);
        }
        arguments.extend(["--threads".into(), "1".into(), "--resume".into()]);
        arguments
    }

    fn command(&self) -> Command {
        // Who starts the tests may have had signals ignored, as shells do for what runs behind them.
        let mut command = Command::new("env");
        command
            .args(["--default-signal", env!("CARGO_BIN_EXE_gfe")])
            .args(self.arguments(&self.model()))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// A training with further arguments, begun in this way.
    fn command_with(&self, further: &[&str], how: &str) -> std::process::Child {
        let arguments = self.arguments(&self.model());
        let arguments = arguments.iter().filter(|word| *word != "--resume");
        Command::new("env")
            .args(["--default-signal", env!("CARGO_BIN_EXE_gfe")])
            .args(arguments)
            .args(further)
            .arg(how)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts")
    }

    /// The bytes of the model that an uninterrupted training writes.
    fn expected(&self) -> Vec<u8> {
        let elsewhere = Folder::default();
        let output = elsewhere.path("model.safetensors");
        let arguments = self.arguments(&output);
        works(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        std::fs::read(output).expect("the model is there")
    }

    fn clear(&self) {
        for entry in std::fs::read_dir(Path::new(&self.model()).parent().expect("a folder")).expect("it can be read") {
            std::fs::remove_file(entry.expect("an entry").path()).expect("it can be removed");
        }
    }

    /// Goes on to the end; nothing but model and history may be left.
    fn ends_with(&self, expected: &[u8], seen: &str) {
        let run = self.command().output().expect("the program starts");
        assert!(run.status.success(), "{seen}: {}", String::from_utf8_lossy(&run.stderr));
        let found = std::fs::read(self.model()).expect("the model is there");
        assert!(found == expected, "{seen}: the model has other bytes");
        let folder = Path::new(&self.model()).parent().expect("a folder").to_owned();
        let names = std::fs::read_dir(folder).expect("it can be read");
        let mut names: Vec<String> = names
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(names, ["model.history.h5", "model.safetensors"], "{seen}");
    }
}

#[test]
fn a_training_struck_at_any_call_that_writes_goes_on_to_the_same_bytes() {
    let run = Run::new(&[
        "data.rows=0..54",
        "data.validation=6",
        "epochs=1",
        "train.batch_size=24",
    ]);
    let expected = run.expected();
    let folder = Path::new(&run.model()).parent().expect("a folder").to_owned();
    let folder = folder.canonicalize().expect("it is there").display().to_string();
    let mut check = |at: usize, call: &Call, fault: Fault, left: &Output| {
        let seen = format!("{fault:?} at call {at}, {} of {}", call.name, call.path);
        let said = String::from_utf8_lossy(&left.stderr);
        if fault.kills() {
            assert!(!left.status.success() && left.status.code().is_none(), "{seen}: {said}");
        } else if !left.status.success() {
            assert!(matches!(left.status.code(), Some(73 | 74)), "{seen}: {said}");
            assert!(said.contains("model."), "{seen}: {said}");
        }
        run.ends_with(&expected, &seen);
    };
    let calls = everywhere(
        (&|| run.command(), &folder),
        &Fault::ALL,
        &mut || run.clear(),
        &mut check,
    );
    // Two mini-batches and the end, each a checkpoint of open, write, fsync, rename, fsync; then model, history, removal.
    assert!(calls > 3 * 5 + 2 * 5, "{calls}");
}

#[test]
fn a_training_killed_at_twenty_moments_ends_with_the_same_bytes() {
    let run = Run::new(&[
        "data.rows=0..800",
        "epochs=12",
        "train.start=previous",
        "optimizer=adam",
        "patience=50",
    ]);
    let start = Instant::now();
    let expected = run.expected();
    let whole = start.elapsed();
    // Fractions of a fifteenth of the whole time, by a generator of Lehmer's kind.
    let mut state: u64 = 20_261_126;
    let mut killed = 0;
    for _ in 0..20 {
        state = state * 48_271 % 2_147_483_647;
        let mut child = run.command().spawn().expect("the program starts");
        std::thread::sleep(whole.mul_f64(state as f64 / 2_147_483_647.0 / 15.0) + Duration::from_millis(5));
        child.kill().expect("it can be killed");
        killed += u32::from(!child.wait().expect("it ends").success());
    }
    assert!(killed >= 10, "only {killed} of 20 were killed before they ended");
    run.ends_with(&expected, "after 20 kills");
}

/// Sends a signal once a checkpoint stands; gives the exit code.
fn signaled(run: &Run, signal: &str) -> Option<i32> {
    let mut child = run.command().spawn().expect("the program starts");
    let start = Instant::now();
    while !Path::new(&run.checkpoint()).exists() && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.expect("kill starts").success());
    child.wait().expect("it ends").code()
}

#[test]
fn a_signal_keeps_the_state_and_every_way_of_training_goes_on_from_it() {
    let signals = [
        ("-TERM", 143),
        ("-INT", 130),
        ("-USR1", 143),
        ("-TERM", 143),
        ("-INT", 130),
        ("-TERM", 143),
    ];
    let methods = [
        ["train.gradient=implicit", "hide=0.5"],
        ["train.start=warm", "clip_norm=0.01"],
        ["train.method=flow", "train.start=learned"],
        ["train.method=autoencoder", "train.batch_size=8"],
        ["train.method=auto-decoder", "train.batch_size=8"],
        ["train.method=logistic-pca", "train.batch_size=8"],
    ];
    for ((signal, code), method) in signals.into_iter().zip(methods) {
        let mut sets = vec![
            "data.rows=0..600",
            "epochs=30",
            "optimizer=adamw",
            "train.schedule=cosine",
            "warm_up=1",
        ];
        sets.extend(method);
        let run = Run::new(&sets);
        let expected = run.expected();
        assert_eq!(signaled(&run, signal), Some(code), "{method:?}");
        assert!(Path::new(&run.checkpoint()).exists());
        run.ends_with(&expected, method[0]);
    }
}

#[test]
fn a_checkpoint_of_another_training_is_refused_and_an_unfinished_one_not_overwritten() {
    let run = Run::new(&["data.rows=0..600", "epochs=30"]);
    assert_eq!(signaled(&run, "-TERM"), Some(143));
    let arguments = run.arguments(&run.model());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let with = |set: &'static str| [&arguments[..], &["--set", set]].concat();
    let told = ["of another training", "batch_size", "--force"];
    fails(&with("train.batch_size=8"), 78, &told);
    fails(&with("data.rows=0..500"), 78, &["of another training", "sha256"]);
    let without: Vec<&str> = arguments.iter().filter(|word| **word != "--resume").copied().collect();
    fails(&without, 73, &["model.checkpoint.h5", "--resume", "--force"]);
    // The length may change, and so may the learning rate.
    let longer = [&with("epochs=33")[..], &["--set", "learning_rate=1e-4"]].concat();
    works(&longer);
    // What is done is not done again, and what is done otherwise is no part of it.
    let again = gfe(&longer);
    assert!(again.status.success() && String::from_utf8_lossy(&again.stderr).contains("trained already"));
    fails(&with("epochs=40"), 73, &["was another", "epochs", "--force"]);
}

/// A checkpoint of before must not become part of a training that was begun anew.
#[test]
fn a_training_begun_anew_has_nothing_of_the_one_before() {
    let run = Run::new(&["data.rows=0..600", "epochs=30"]);
    assert_eq!(signaled(&run, "-TERM"), Some(143));
    let before = std::fs::read(run.checkpoint()).expect("it is there");
    let mut child = run.command_with(&["--set", "learning_rate=3e-3"], "--force");
    let start = Instant::now();
    while std::fs::read(run.checkpoint()).expect("there always is one") == before {
        assert!(start.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let other = Run::new(&["data.rows=0..600", "epochs=30", "learning_rate=3e-3"]);
    let expected = other.expected();
    let mut child = run.command_with(&["--set", "learning_rate=3e-3"], "--resume");
    assert!(child.wait().expect("it ends").success());
    assert!(std::fs::read(run.model()).expect("the model is there") == expected);
}

#[test]
fn a_training_that_diverges_keeps_the_state_before_and_says_where() {
    let run = Run::new(&[
        "data.rows=0..200",
        "epochs=5",
        "learning_rate=1e200",
        "optimizer=rmsprop",
    ]);
    let arguments = run.arguments(&run.model());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    fails(
        &arguments,
        1,
        &["epoch", "mini-batch", "learning_rate", "model.checkpoint.h5"],
    );
    assert!(Path::new(&run.checkpoint()).exists() && !Path::new(&run.model()).exists());
}
