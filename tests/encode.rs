//! The program on real files, read back by h5py and xarray.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn gfe(input: &str, output: &Path, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gfe"))
        .args(["encode", input, "-m"])
        .arg(root("tests/data/mnist_decoder.safetensors"))
        .arg("-o")
        .arg(output)
        .args(flags)
        .output()
        .expect("the program starts")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

#[test]
fn an_encoded_file_opens_in_xarray_and_holds_what_numpy_recomputes() {
    let folder = folder();
    let output = folder.path().join("codes.h5");
    let input = root("tests/data/mnist_test_200.h5");
    let flags = ["--t-end", "inf", "--edm-tol", "0", "--gtol", "1e-6"];
    let ran = gfe(&input.display().to_string(), &output, &flags);
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let checked = Command::new(root(".tools/venv/bin/python"))
        .arg(root("tests/check_encoded.py"))
        .args([&output, &input, &root("tests/data/mnist_decoder.safetensors")])
        .output()
        .expect("the Python of `make setup` starts");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[test]
fn bad_input_gets_its_exit_code_and_a_sentence() {
    let folder = folder();
    let output = folder.path().join("codes.h5");
    let text = folder.path().join("text.h5");
    std::fs::write(&text, "not a data file").expect("a file can be written");
    let digits = root("tests/data/mnist_test_200.h5").display().to_string();
    let small = root("datasets/digits.h5").display().to_string() + ":/images";
    let cases = [
        (folder.path().join("absent.h5").display().to_string(), 66),
        (text.display().to_string(), 65),
        (format!("{digits}:/nothing"), 66),
        (small, 65),
    ];
    for (input, code) in cases {
        let ran = gfe(&input, &output, &[]);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(code), "{input}: {said}");
        assert!(said.starts_with("gfe: ") && said.len() > 20, "{input}: {said}");
        assert!(!output.exists());
    }
    let ran = gfe(&digits, &output, &["--solver", "amd", "--edm-tol", "1"]);
    assert_eq!(ran.status.code(), Some(2));
}

#[test]
fn nothing_is_overwritten_without_force() {
    let folder = folder();
    let output = folder.path().join("codes.h5");
    std::fs::write(&output, "precious").expect("a file can be written");
    let digits = root("tests/data/mnist_test_200.h5").display().to_string();
    assert_eq!(gfe(&digits, &output, &[]).status.code(), Some(73));
    assert_eq!(std::fs::read(&output).expect("it is still there"), b"precious");
    assert_eq!(gfe(&digits, &output, &["--force"]).status.code(), Some(0));
}

#[test]
fn fixed_steps_reach_the_horizon_and_refuse_options_of_other_solvers() {
    let folder = folder();
    let output = folder.path().join("codes.h5");
    let digits = root("tests/data/mnist_test_200.h5").display().to_string();
    for solver in ["euler", "rk4"] {
        let flags = ["--solver", solver, "--t-end", "10", "--steps", "20", "--force"];
        let ran = gfe(&digits, &output, &flags);
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success() && said.contains("200 horizon_reached"), "{said}");
        let refused = gfe(&digits, &output, &["--solver", solver, "--max-steps", "5", "--force"]);
        assert_eq!(refused.status.code(), Some(2));
    }
    assert_eq!(
        gfe(&digits, &output, &["--steps", "5", "--force"]).status.code(),
        Some(2)
    );
}

#[test]
fn rows_asked_for_have_the_bits_they_have_among_all() {
    let folder = folder();
    let (all, some) = (folder.path().join("all.h5"), folder.path().join("some.h5"));
    let digits = root("tests/data/mnist_test_200.h5").display().to_string();
    assert!(gfe(&digits, &all, &[]).status.success());
    assert!(
        gfe(&digits, &some, &["--rows", "5..12", "--lanes", "3", "--threads", "1"])
            .status
            .success()
    );
    let z = |path: &Path| {
        let file = hdf5::File::open(path).expect("the output opens");
        file.dataset("z").and_then(|z| z.read_raw::<f64>()).expect("it holds z")
    };
    assert_eq!(z(&some), z(&all)[5 * 20..12 * 20]);
    assert_eq!(
        gfe(&digits, &some, &["--rows", "5..201", "--force"]).status.code(),
        Some(2)
    );
}
