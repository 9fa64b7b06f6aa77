//! Files that somebody made to do harm, or that came to harm: each gets its exit code at once, in little memory, and no other
//! file is opened for it.
//!
//! The corpus is made by `tests/hostile/make_corpus.py`, the program run on it by `tests/hostile/run_corpus.py`, which can
//! wait for a process and be told its peak of memory.

#[path = "program/support.rs"]
mod support;

use std::path::Path;
use support::{Folder, python, text};

const MODEL: &str = "tests/data/mnist_decoder.safetensors";

/// Plugins by the names of what they read.
fn plugins(folder: &Folder) -> String {
    let built = std::env::current_exe().expect("this test has a path");
    let built = built.parent().expect("it lies in a folder").join("libdatasets.so");
    let plugins = folder.path("plugins");
    std::fs::create_dir(&plugins).expect("a folder can be made");
    for kind in ["idx", "npy", "cifar"] {
        let link = Path::new(&plugins).join(format!("lib{kind}.so"));
        std::os::unix::fs::symlink(&built, link).expect("a link can be made");
    }
    plugins
}

fn run(task: &str) {
    let folder = Folder::default();
    let corpus = folder.path("corpus");
    let model = text(MODEL);
    python("tests/hostile/make_corpus.py", &[&corpus, &model]);
    let plugins = plugins(&folder);
    let gfe = env!("CARGO_BIN_EXE_gfe");
    python("tests/hostile/run_corpus.py", &[task, gfe, &corpus, &model, &plugins]);
}

#[test]
fn every_hostile_file_gets_its_exit_code_and_a_sentence_at_once_and_in_little_memory() {
    run("cases");
}

#[test]
fn no_file_is_opened_but_the_named_ones_and_no_library_loaded() {
    run("opens");
}

#[test]
fn no_damage_to_a_valid_file_crashes_the_program_or_keeps_it_busy() {
    run("mutated");
}

#[test]
fn every_chunk_of_the_input_is_read_once() {
    run("chunks");
}

#[test]
fn inputs_are_locked_as_asked_for_and_a_locked_one_is_told_of() {
    run("locks");
}
