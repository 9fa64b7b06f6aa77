//! `gfe encode`.

use crate::{Folder, fails, python, read, works};

const MODEL: &str = "tests/data/mnist_decoder.safetensors";
const DIGITS: &str = "tests/data/mnist_test_200.h5";

/// Encodes the reference digits with the reference decoder.
fn encode(output: &str, flags: &[&str]) -> String {
    works(&[&["encode", DIGITS, "-m", MODEL, "-o", output], flags].concat())
}

#[test]
fn an_encoded_file_opens_in_xarray_and_holds_what_numpy_recomputes() {
    let folder = Folder::default();
    let output = folder.path("codes.h5");
    encode(&output, &["--t-end", "inf", "--edm-tol", "0", "--gtol", "1e-6"]);
    python("tests/check_encoded.py", &[&output, DIGITS, MODEL]);
}

#[test]
fn the_whole_layout_is_read_by_xarray_h5py_and_netcdf() {
    let folder = Folder::default();
    let (data, output) = (folder.path("data.h5"), folder.path("codes.h5"));
    python("tests/check_layout.py", &["make", &data, DIGITS]);
    let flags = [
        "--reconstruction",
        "--trace",
        "--keep",
        "labels",
        "--keep",
        "name",
        "--z0",
        "uniform",
        "--seed",
        "4",
    ];
    let images = format!("{data}:/images");
    let arguments = [&["encode", &images, "-m", MODEL, "-o", &output], &flags[..]].concat();
    works(&arguments);
    python("tests/check_layout.py", &["check", &output, &data]);
}

#[test]
fn the_same_command_gives_the_same_bytes_and_json_tells_what_the_file_holds() {
    let folder = Folder::default();
    let (one, two) = (folder.path("one.h5"), folder.path("two.h5"));
    let told = encode(
        &one,
        &["--rows", "0..40", "--reconstruction", "--reproducible", "--json"],
    );
    std::thread::sleep(std::time::Duration::from_millis(1100));
    encode(&two, &["--rows", "0..40", "--reconstruction", "--reproducible"]);
    assert!(std::fs::read(&one).expect("it was written") == std::fs::read(&two).expect("it was written"));
    let told: serde_json::Value = serde_json::from_str(&told).expect("one object");
    assert_eq!(
        (&told["samples"], &told["status"]["converged"]),
        (&40.into(), &40.into())
    );
    let mean = read(&one, "loss").iter().sum::<f64>() / 40.0;
    assert!((told["loss_mean"].as_f64().expect("a number") - mean).abs() < 1e-12);
    // The decoder at the common z0 is shared by all rows and counted in none.
    assert_eq!(
        (&told["units_shared"], &told["shared_work"]["jvps"]),
        (&21.into(), &20.into())
    );
    let evaluations = read(&one, "evaluations").iter().sum::<f64>() / 40.0;
    assert!((told["evaluations_per_sample"].as_f64().expect("a number") - evaluations).abs() < 1e-9);
}

#[test]
fn nothing_is_overwritten_without_force() {
    let folder = Folder::default();
    let output = folder.write("codes.h5", "precious");
    fails(&["encode", DIGITS, "-m", MODEL, "-o", &output], 73, &["--force"]);
    assert_eq!(std::fs::read(&output).expect("it is still there"), b"precious");
    encode(&output, &["--force", "--rows", "0..2"]);
}

#[test]
fn fixed_steps_reach_the_horizon_and_refuse_options_of_other_solvers() {
    let folder = Folder::default();
    let output = folder.path("codes.h5");
    for solver in ["euler", "rk4"] {
        let told = encode(
            &output,
            &[
                "--solver", solver, "--t-end", "10", "--steps", "20", "--force", "--json",
            ],
        );
        assert!(told.contains("\"horizon_reached\":200"), "{told}");
        let flags = ["--solver", solver, "--max-steps", "5", "--force"];
        fails(
            &[&["encode", DIGITS, "-m", MODEL, "-o", &output], &flags[..]].concat(),
            2,
            &["max_steps", "`steps`"],
        );
    }
}

#[test]
fn rows_asked_for_have_the_bits_they_have_among_all() {
    let folder = Folder::default();
    let (all, some) = (folder.path("all.h5"), folder.path("some.h5"));
    encode(&all, &[]);
    encode(&some, &["--rows", "5..12", "--lanes", "3", "--threads", "1"]);
    assert_eq!(read(&some, "z"), read(&all, "z")[5 * 20..12 * 20]);
    assert_eq!(read(&some, "sample"), [5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
}

#[test]
fn memory_does_not_grow_with_the_rows() {
    let folder = Folder::default();
    python("tests/check_memory.py", &[env!("CARGO_BIN_EXE_gfe"), &folder.path("")]);
}

#[test]
fn everything_can_stand_in_a_run_file() {
    let folder = Folder::default();
    let output = folder.path("codes.h5");
    let run = format!(
        "[method]\nsolver = \"amd\"\ndt_max = 50.0\n[encode]\ninput = \"{DIGITS}\"\nmodel = \"{MODEL}\"\noutput = \
         \"{output}\"\nrows = \"10..14\"\nreconstruction = true\nfail_above = 0.5\n"
    );
    works(&["encode", "--config", &folder.write("run.toml", &run)]);
    assert_eq!(read(&output, "sample"), [10.0, 11.0, 12.0, 13.0]);
    assert_eq!(read(&output, "reconstruction").len(), 4 * 784);
}
