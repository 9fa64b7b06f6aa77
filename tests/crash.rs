//! Encodings that are killed, stopped or fail, and go on to the same bytes.
//!
//! A program of its own: processes that it starts at every moment would hold, for an instant, the locks of files that other
//! tests write. With GFE_SOAK=1 (`make crash`) it strikes a run over 20,000 rows everywhere, and kills it at 100 random
//! moments.

mod faults;
#[path = "program/support.rs"]
mod support;

use faults::{Call, Fault, everywhere};
use gfe_io::{EncodedFile, Parts};
use hdf5::types::VarLenUnicode;
use ndarray::{Array1, Array2};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use support::{Folder, gfe, works};

/// The command of the process that merges.
const WORKER: &str = "merge-worker";

fn soak() -> bool {
    std::env::var_os("GFE_SOAK").is_some()
}

/// Rows of the data.
const ROWS: usize = 20_000;

/// A folder with data and a model. It is made once, before anything else is: a process that starts while a file is written
/// would hold its lock.
fn data() -> &'static Path {
    static DATA: OnceLock<PathBuf> = OnceLock::new();
    DATA.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crash");
        std::fs::create_dir_all(&folder).expect("there is room");
        let file = hdf5::File::create(folder.join("data.h5")).expect("there is room");
        let y = Array2::from_shape_fn((ROWS, 8), |(b, i)| (0.3 * i as f64 + 0.01 * (b % 977) as f64).sin());
        let names = Array1::from_shape_fn(ROWS, |b| format!("row {b}").parse::<VarLenUnicode>().expect("a text"));
        file.new_dataset_builder().with_data(&y).create("y").expect("there is room");
        file.new_dataset_builder().with_data(&names).create("name").expect("there is room");
        file.close().expect("there is room");
        let training = format!(
            "[decoder]\nlatent = 2\nlayers = [8, 8]\nactivation = \"tanh\"\noutput = \"values\"\n[data]\ninput = \"{}:/y\"\n\
             rows = \"0..200\"\n[train]\nepochs = 4\nregression_samples = 0\n",
            folder.join("data.h5").display()
        );
        std::fs::write(folder.join("run.toml"), training).expect("there is room");
        let at = |name: &str| folder.join(name).display().to_string();
        works(&["train", &at("run.toml"), "-o", &at("model.safetensors"), "--force"]);
        folder
    })
}

/// An encoding in a folder of its own.
struct Run {
    folder: Folder,
    rows: usize,
    part: usize,
    reconstruction: bool,
    force: bool,
    keep_parts: bool,
}

impl Run {
    /// Of `rows` rows, committed `part` at a time.
    fn new(rows: usize, part: usize) -> Run {
        data();
        Run {
            folder: Folder::default(),
            rows,
            part,
            reconstruction: true,
            force: true,
            keep_parts: false,
        }
    }

    fn output(&self) -> String {
        self.folder.path("out.h5")
    }

    fn arguments(&self, output: &str) -> Vec<String> {
        let part = self.part.to_string();
        let (data, rows) = (data().display(), format!("0..{}", self.rows));
        let (data, model) = (format!("{data}/data.h5:/y"), format!("{data}/model.safetensors"));
        let mut words = vec![
            "encode", &data, "-m", &model, "-o", output, "--keep", "name", "--rows", &rows,
        ];
        words.extend(["--reproducible", "--threads", "1", "--shard-rows", &part]);
        if self.force {
            words.push("--force");
        }
        if self.reconstruction {
            words.push("--reconstruction");
        }
        if self.keep_parts {
            words.push("--keep-parts");
        }
        words.into_iter().map(str::to_owned).collect()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gfe"));
        command
            .args(self.arguments(&self.output()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        command
    }

    /// A run that heeds signals: who starts the tests may have had them ignored, as shells do for what runs behind them.
    fn begun(&self) -> Child {
        Command::new("env")
            .args(["--default-signal", env!("CARGO_BIN_EXE_gfe")])
            .args(self.arguments(&self.output()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts")
    }

    /// The bytes of the output of an uninterrupted run, which is cut in no parts unless they stay.
    fn expected(&self) -> Vec<u8> {
        let elsewhere = Folder::default();
        let output = elsewhere.path("out.h5");
        let arguments = self.arguments(&output);
        let whole: Vec<&str> = arguments
            .iter()
            .map(String::as_str)
            .take_while(|word| self.keep_parts || *word != "--shard-rows")
            .chain((self.reconstruction && !self.keep_parts).then_some("--reconstruction"))
            .collect();
        works(&whole);
        std::fs::read(output).expect("the output is there")
    }

    fn names(&self) -> Vec<String> {
        let output = self.output();
        let folder = Path::new(&output).parent().expect("a folder");
        let entries = std::fs::read_dir(folder).expect("the folder is there");
        let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<String> = entries.map(|entry| name(entry.expect("an entry"))).collect();
        names.sort();
        names
    }

    fn clear(&self) {
        for name in self.names() {
            let path = self.folder.path(&name);
            let _ = std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir_all(&path));
        }
    }

    /// Rows in parts, each of which has to be readable.
    fn committed(&self, seen: &str) -> usize {
        let Ok(found) = Parts::peek(Path::new(&self.output())) else {
            return 0;
        };
        for part in &found.parts {
            let file = EncodedFile::open(&part.path).unwrap_or_else(|error| panic!("{seen}: {error}"));
            assert_eq!(file.samples(), part.rows.len(), "{seen}");
            file.records(0..part.rows.len())
                .unwrap_or_else(|error| panic!("{seen}: {error}"));
        }
        let missing: usize = found.missing.iter().map(ExactSizeIterator::len).sum();
        found.manifest.rows.len() - missing
    }

    /// Goes on to the end without doing again what is committed; nothing but the output may be left.
    fn ends_with(&self, expected: &[u8], seen: &str) {
        let committed = self.committed(seen);
        let run = self.command().arg("--json").stdout(Stdio::piped()).output();
        let run = run.expect("the program starts");
        assert!(run.status.success(), "{seen}: {}", String::from_utf8_lossy(&run.stderr));
        if !run.stdout.is_empty() {
            let told: serde_json::Value = serde_json::from_slice(&run.stdout).expect("it is JSON");
            assert_eq!(told["resumed"], committed, "{seen}");
        }
        let found = std::fs::read(self.output()).expect("the output is there");
        assert!(found == expected, "{seen}: the output has other bytes");
        let names = ["out.h5", "out.h5.parts"];
        assert_eq!(self.names(), names[..1 + usize::from(self.keep_parts)], "{seen}");
    }
}

/// Strikes at every call by which the program, or the process that merges for it, changes files in the folder; over an
/// older output, or where there is none.
fn strikes(which: (&str, &str), over_faults: (bool, &[Fault]), least: usize) {
    let (rows, part) = if soak() { (ROWS, 2000) } else { (600, 200) };
    strikes_of(Run::new(rows, part), which, over_faults, least);
}

fn strikes_of(mut run: Run, which: (&str, &str), (over, faults): (bool, &[Fault]), least: usize) {
    run.force = over;
    let expected = run.expected();
    let output = run.output();
    let folder = Path::new(&output).parent().expect("a folder");
    let text = folder
        .canonicalize()
        .expect("the folder is there")
        .display()
        .to_string();
    let older = b"an older output";
    let mut check = |at: usize, call: &Call, fault: Fault, left: &Output| {
        let seen = format!("{fault:?} at call {at}, {} of {}", call.name, call.path);
        let said = String::from_utf8_lossy(&left.stderr);
        let standing = std::fs::read(&output);
        let standing = if over {
            standing.expect("something stands")
        } else {
            standing.unwrap_or(older.to_vec())
        };
        if fault.kills() && which.0 == "GFE_FAULT_NOT_IN" {
            assert_eq!(left.status.code(), None, "{seen}: {said}");
            assert!(standing == older || standing == expected, "{seen}");
        } else {
            let code = left.status.code();
            if code == Some(0) {
                // HDF5 writes again what it could not write before, at the next flush.
                assert!(call.name == "pwrite" && standing == expected, "{seen}");
            } else {
                assert!(matches!(code, Some(73 | 74)), "{seen}: {code:?} {said}");
                assert!(said.contains("out.h5"), "{seen}: {said}");
                // Once the output has its name, only the parts are in the way.
                assert!(standing == older || standing == expected, "{seen}");
            }
        }
        run.committed(&seen);
        run.ends_with(&expected, &seen);
    };
    let mut prepare = || {
        run.clear();
        if over {
            std::fs::write(&output, older).expect("there is room");
        }
    };
    let command = || {
        let mut command = run.command();
        command.env(which.0, which.1);
        command
    };
    let calls = everywhere((&command, &text), faults, &mut prepare, &mut check);
    assert!(calls >= least, "{calls} calls were seen");
}

#[test]
fn an_encoding_struck_at_any_call_that_writes_goes_on_to_the_same_bytes() {
    // Three parts, each opened, written, synced, renamed, its folder synced; and what comes before and after.
    strikes(("GFE_FAULT_NOT_IN", WORKER), (true, &Fault::ALL), 30);
}

#[test]
fn a_first_encoding_killed_at_any_call_that_writes_goes_on_to_the_same_bytes() {
    let kills = [Fault::KillBefore, Fault::KillAfter];
    strikes(("GFE_FAULT_NOT_IN", WORKER), (false, &kills), 30);
}

#[test]
fn an_encoding_that_keeps_its_parts_struck_at_any_call_that_writes_goes_on_to_the_same_bytes() {
    for over in [false, true] {
        let mut run = Run::new(600, 200);
        run.keep_parts = true;
        strikes_of(run, ("GFE_FAULT_NOT_IN", WORKER), (over, &Fault::ALL), 30);
    }
}

#[test]
fn a_merge_struck_at_any_call_that_writes_leaves_parts_and_the_older_output() {
    strikes(("GFE_FAULT_IN", WORKER), (true, &Fault::ALL), 10);
}

/// Decodes codes, and converts data.
#[test]
fn a_file_that_is_decoded_or_converted_while_the_disk_fills_up_leaves_the_older_one() {
    let run = Run::new(600, 200);
    let codes = run.folder.path("codes.h5");
    let mut encoding = run.arguments(&codes);
    encoding.retain(|word| word != "--reconstruction");
    works(&encoding.iter().map(String::as_str).collect::<Vec<_>>());
    let (output, older) = (run.output(), b"an older output");
    let model = format!("{}/model.safetensors", data().display());
    let input = format!("{}/data.h5:/y", data().display());
    for words in [
        vec!["decode", &codes, "-m", &model, "-o", &output, "--force"],
        vec!["convert", &input, &output, "--force"],
    ] {
        let command = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_gfe"));
            command.args(&words);
            command
        };
        std::fs::write(&output, older).expect("there is room");
        let mut calls = faults::count(&mut command(), &output);
        while calls.pop_if(|call| call.name.starts_with("unlink")).is_some() {}
        let calls = calls.len();
        assert!(calls >= 5, "{words:?}: {calls} calls");
        for at in 1..=calls {
            std::fs::write(&output, older).expect("there is room");
            let left = faults::strike(command().env("GFE_FAULT_ON", "1"), &output, at, Fault::NoSpace);
            let (seen, said) = (
                format!("{words:?}, call {at}"),
                String::from_utf8_lossy(&left.stderr).into_owned(),
            );
            assert!(
                matches!(left.status.code(), Some(73 | 74)),
                "{seen}: {:?} {said}",
                left.status
            );
            assert!(said.contains("out.h5"), "{seen}: {said}");
            let standing = std::fs::read(&output).expect("something stands");
            // A folder that cannot be synced is told once the new file stands.
            assert!(standing == older || at == calls, "{seen}");
            assert_eq!(run.names(), ["codes.h5", "out.h5"], "{seen}");
        }
    }
}

#[test]
fn an_encoding_killed_at_random_moments_loses_no_part_and_ends_with_the_same_bytes() {
    let run = Run::new(ROWS, 500);
    let expected = run.expected();
    let start = Instant::now();
    run.ends_with(&expected, "not killed");
    let whole = start.elapsed();
    let (kills, mut state, mut done) = (if soak() { 100 } else { 8 }, 0x2545_f491_4f6c_dd1d_u64, 0);
    let mut midway = 0;
    run.clear();
    for kill in 0..kills {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut child = run.begun();
        std::thread::sleep(whole.mul_f64((state >> 11) as f64 / (1_u64 << 53) as f64));
        child.kill().expect("it can be killed, or has ended");
        child.wait().expect("it ends");
        let seen = format!("kill {kill}");
        let now = run.committed(&seen);
        // Once the output has its name, its parts go.
        let ended = run.names().contains(&"out.h5".to_owned());
        assert!(ended || now >= done, "{seen}: {now} of {done} rows are left");
        midway += usize::from(now > 0);
        done = now;
        if ended {
            assert!(std::fs::read(run.output()).expect("it is there") == expected, "{seen}");
            run.clear();
            done = 0;
        }
    }
    assert!(midway > 0, "no kill met a run with parts");
    run.ends_with(&expected, "after the last kill");
}

/// Sends a signal.
fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args(["-s", name, &child.id().to_string()])
        .status();
    assert!(sent.expect("kill starts").success());
}

/// Waits until something is so; a minute at most.
fn until(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{what} takes more than a minute"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_signal_ends_an_encoding_at_once_and_what_is_done_becomes_a_part() {
    let run = Run::new(ROWS, 1000);
    let expected = run.expected();
    for (name, code) in [("INT", 130), ("TERM", 143), ("USR1", 143)] {
        run.clear();
        let mut child = run.begun();
        until("the first part", || run.committed(name) > 0);
        signal(&child, name);
        let asked = Instant::now();
        let status = child.wait().expect("it ends");
        assert!(asked.elapsed() < Duration::from_secs(5), "{name}");
        assert_eq!(status.code(), Some(code), "{name}");
        run.ends_with(&expected, name);
    }
}

#[test]
fn a_second_run_on_the_same_output_is_refused() {
    let run = Run::new(ROWS, 1000);
    let expected = run.expected();
    let mut child = run.begun();
    until("the first part", || run.committed("the first run") > 0);
    signal(&child, "STOP");
    let second = run.command().output().expect("the program starts");
    assert_eq!(
        second.status.code(),
        Some(75),
        "{}",
        String::from_utf8_lossy(&second.stderr)
    );
    let status = gfe(&["status", &run.output(), "--json"]);
    let told = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(told.contains("\"running\""), "{told}");
    signal(&child, "CONT");
    assert!(child.wait().expect("it ends").success());
    assert!(std::fs::read(run.output()).expect("it is there") == expected);
}

#[test]
fn other_settings_do_not_go_on_with_the_parts_of_a_run() {
    let run = Run::new(ROWS, 1000);
    let mut child = run.begun();
    until("the first part", || run.committed("the first run") > 0);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    let before = run.committed("killed");
    let mut arguments = run.arguments(&run.output());
    arguments.retain(|word| word != "--force");
    arguments.extend(["--t-end".into(), "100".into()]);
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    support::fails(&words, 73, &["config.t_end", "--force"]);
    assert_eq!(run.committed("refused"), before);
    arguments.push("--force".into());
    works(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn shares_of_any_number_merge_to_the_same_bytes() {
    let run = Run::new(1000, 130);
    let expected = run.expected();
    for n in [1, 2, 3, 7] {
        run.clear();
        let arguments = run.arguments(&run.output());
        let merge = || gfe(&["merge", &run.output()]);
        for i in (1..=n).rev() {
            let share = format!("{i}/{n}");
            let words = arguments.iter().map(String::as_str).chain(["--shard", &share]);
            works(&words.collect::<Vec<_>>());
            if i > 1 {
                let refused = merge();
                assert_eq!(
                    refused.status.code(),
                    Some(65),
                    "{}",
                    String::from_utf8_lossy(&refused.stderr)
                );
            }
        }
        let again = arguments.iter().map(String::as_str).chain(["--shard", "1/1"]);
        works(&again.collect::<Vec<_>>());
        assert!(merge().status.success());
        assert!(
            std::fs::read(run.output()).expect("it is there") == expected,
            "{n} shares"
        );
        assert_eq!(run.names(), ["out.h5"]);
    }
}

#[test]
fn shares_that_start_at_the_same_moment_do_not_get_in_each_others_way() {
    let run = Run::new(1000, 50);
    let expected = run.expected();
    for _ in 0..3 {
        run.clear();
        let begin = |i: usize| {
            let mut command = run.command();
            command
                .args(["--shard", &format!("{i}/6")])
                .spawn()
                .expect("the program starts")
        };
        let shares: Vec<Child> = (1..=6).map(begin).collect();
        for share in shares {
            let ended = share.wait_with_output().expect("it ends");
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        }
        works(&["merge", &run.output()]);
        assert!(std::fs::read(run.output()).expect("it is there") == expected);
        // The output is there, and a share of it has nothing to do.
        let again = begin(3).wait_with_output().expect("it ends");
        assert!(again.status.success() && run.names() == ["out.h5"]);
    }
}

#[test]
fn the_rows_that_failed_in_all_are_judged_by_the_merge() {
    let run = Run::new(1000, 500);
    // No step is enough for any row.
    let arguments = run.arguments(&run.output());
    let words = arguments.iter().map(String::as_str);
    works(
        &words
            .chain(["--shard", "1/1", "--set", "max_steps=1", "--t-end", "inf"])
            .collect::<Vec<_>>(),
    );
    assert_eq!(gfe(&["merge", &run.output()]).status.code(), Some(1));
    assert_eq!(run.names(), ["out.h5"], "it is written all the same");
}

#[test]
fn a_skeleton_that_is_lost_or_damaged_is_made_again_and_unreadable_parts_are_kept() {
    let run = Run::new(ROWS, 1000);
    let expected = run.expected();
    let skeleton = run.folder.path("out.h5.parts/skeleton.h5");
    for damage in [true, false] {
        run.clear();
        let mut child = run.begun();
        until("the first part", || run.committed("the first run") > 0);
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        if damage {
            std::fs::write(&skeleton, "no HDF5").expect("there is room");
        } else {
            std::fs::remove_file(&skeleton).expect("it is there");
        }
        run.ends_with(&expected, "a skeleton");
    }
}

#[test]
fn a_full_disk_ends_a_run_with_74_and_leaves_no_half_file() {
    let mut run = Run::new(ROWS, 500);
    run.reconstruction = false;
    let mount = run.folder.path("disk");
    std::fs::create_dir(&mount).expect("there is room");
    let words = run.arguments(&format!("{mount}/out.h5")).join("' '");
    // Too small for anything, and too small for the merge.
    for size in ["1m", "9m"] {
        let script = format!(
            "mount -t tmpfs -o size={size} none '{mount}' || exit 99; '{}' '{words}'; code=$?; find '{mount}' -name '*.tmp-*' | wc -l; exit $code",
            env!("CARGO_BIN_EXE_gfe")
        );
        let ran = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .output()
            .expect("unshare starts");
        let (said, told) = (
            String::from_utf8_lossy(&ran.stderr),
            String::from_utf8_lossy(&ran.stdout),
        );
        if matches!(ran.status.code(), Some(1 | 99)) && said.contains("ermi") {
            eprintln!("no file system can be mounted here, so a full disk is not tried: {said}");
            return;
        }
        assert_eq!(ran.status.code(), Some(74), "{size}: {said}");
        assert!(said.contains("out.h5"), "{size}: {said}");
        let told: Vec<&str> = told.split_whitespace().collect();
        assert_eq!(told[0], "0", "{size}: {said}");
    }
}
