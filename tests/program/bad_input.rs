//! Bad input: an exit code, a sentence with the way out, and nothing lost.

use crate::{Folder, fails, python, read, works};

const MODEL: &str = "tests/data/mnist_decoder.safetensors";
const DIGITS: &str = "tests/data/mnist_test_200.h5";

#[test]
fn a_bad_input_gets_its_exit_code_and_a_sentence_and_writes_nothing() {
    let folder = Folder::default();
    let output = folder.path("codes.h5");
    let text = folder.write("text.h5", "not a data file");
    let no_model = folder.write("text.safetensors", "not a model");
    let absent = folder.path("absent.h5");
    let nothing = format!("{DIGITS}:/nothing");
    let cases: [(&str, &str, i32, &[&str]); 7] = [
        (&absent, MODEL, 66, &["absent.h5", "check the path"]),
        (&text, MODEL, 65, &["text.h5", "not a readable HDF5 file"]),
        (&nothing, MODEL, 66, &["/nothing", "/images"]),
        ("datasets/digits.h5:/images", MODEL, 65, &["64 values", "784"]),
        ("datasets/digits.h5", MODEL, 65, &["/images", "/labels"]),
        (DIGITS, &no_model, 65, &["text.safetensors"]),
        (DIGITS, "absent.safetensors", 66, &["absent.safetensors"]),
    ];
    for (input, model, code, words) in cases {
        fails(&["encode", input, "-m", model, "-o", &output], code, words);
        assert!(!std::path::Path::new(&output).exists());
    }
    fails(&["encode", DIGITS, "-m", MODEL], 2, &["-o"]);
    fails(
        &["encode", DIGITS, "-m", MODEL, "-o", &folder.path("none/codes.h5")],
        73,
        &["folder"],
    );
    let wrong: [(&[&str], i32, &[&str]); 8] = [
        (&["--rows", "5..201"], 2, &["A <= B <= 200"]),
        (&["--solver", "amd", "--edm-tol", "1"], 2, &["edm_tol", "amd"]),
        (&["--solver", "amd", "--t-end", "inf"], 2, &["finite"]),
        (&["--gtol", "nan"], 2, &["0 or more"]),
        (&["--lanes", "0"], 2, &["from 1 to"]),
        (&["--loss", "l2"], 2, &["mse, bce, gaussian, poisson"]),
        (&["--set", "gtoll=1"], 2, &["method.gtol"]),
        (&["--keep", "nothing"], 65, &["nothing", "one value per sample"]),
    ];
    for (flags, code, words) in wrong {
        fails(
            &[&["encode", DIGITS, "-m", MODEL, "-o", &output], flags].concat(),
            code,
            words,
        );
        assert!(!std::path::Path::new(&output).exists());
    }
}

#[test]
fn rows_that_cannot_be_encoded_have_their_status_and_touch_no_other() {
    let folder = Folder::default();
    let (data, clean, output) = (folder.path("data.h5"), folder.path("clean.h5"), folder.path("codes.h5"));
    python("tests/check_layout.py", &["damage", &data, DIGITS]);
    works(&["encode", DIGITS, "-m", MODEL, "-o", &clean, "--reconstruction"]);
    works(&[
        "encode",
        &data,
        "-m",
        MODEL,
        "-o",
        &output,
        "--fail-above",
        "0.1",
        "--reconstruction",
    ]);
    let (status, bad) = (read(&output, "status"), [3, 7, 50]);
    assert!(
        status
            .iter()
            .enumerate()
            .all(|(row, status)| (*status == 8.0) == bad.contains(&row))
    );
    let (z, expected) = (read(&output, "z"), read(&clean, "z"));
    for row in 0..200 {
        let of = |z: &[f64]| z[row * 20..(row + 1) * 20].to_vec();
        if bad.contains(&row) {
            assert!(of(&z).iter().all(|z| z.is_nan()));
        } else {
            assert_eq!(of(&z), of(&expected), "row {row}");
        }
    }
    fails(
        &[
            "encode",
            &data,
            "-m",
            MODEL,
            "-o",
            &output,
            "--force",
            "--fail-above",
            "0.01",
        ],
        1,
        &["3 bad_input"],
    );
}

#[test]
fn an_input_without_rows_gives_a_valid_empty_output() {
    let folder = Folder::default();
    let (data, output) = (folder.path("data.h5"), folder.path("codes.h5"));
    python("tests/check_layout.py", &["empty", &data]);
    let told = works(&[
        "encode",
        &data,
        "-m",
        MODEL,
        "-o",
        &output,
        "--reconstruction",
        "--trace",
        "--json",
    ]);
    assert!(told.contains("\"samples\":0"), "{told}");
    python("tests/check_layout.py", &["check-empty", &output]);
}

#[test]
fn a_model_of_another_shape_is_refused() {
    let folder = Folder::default();
    let model = folder.path("model.safetensors");
    for (change, words) in [
        ("shape", "shape"),
        ("missing", "decoder.0.weight"),
        ("no-metadata", "gfe.decoder"),
    ] {
        python("tests/check_layout.py", &["model", &model, MODEL, change]);
        fails(
            &["encode", DIGITS, "-m", &model, "-o", &folder.path("codes.h5")],
            65,
            &[words],
        );
    }
}

#[test]
fn an_output_that_is_an_input_is_refused_even_with_force() {
    let folder = Folder::default();
    let data = folder.path("data.h5");
    std::fs::copy(DIGITS, &data).expect("a file can be copied");
    let before = std::fs::read(&data).expect("it is there");
    fails(
        &["encode", &data, "-m", MODEL, "-o", &data, "--force"],
        73,
        &["another name"],
    );
    fails(
        &["encode", &data, "-m", MODEL, "-o", MODEL, "--force"],
        73,
        &["another name"],
    );
    assert!(std::fs::read(&data).expect("it is still there") == before);
}

#[test]
fn a_link_stays_a_link_and_its_target_is_replaced() {
    let folder = Folder::default();
    let (output, link) = (folder.write("codes.h5", "older"), folder.path("link.h5"));
    std::os::unix::fs::symlink(&output, &link).expect("a link can be made");
    works(&["encode", DIGITS, "-m", MODEL, "-o", &link, "--rows", "0..3", "--force"]);
    assert!(std::fs::symlink_metadata(&link).expect("it is there").is_symlink());
    assert_eq!(read(&output, "sample"), [0.0, 1.0, 2.0]);
}

#[test]
fn every_real_and_integer_type_is_read() {
    let folder = Folder::default();
    let data = folder.path("data.h5");
    python("tests/check_layout.py", &["types", &data, DIGITS]);
    let codes = |dataset: &str| {
        let output = folder.path("codes.h5");
        let input = format!("{data}:/{dataset}");
        works(&["encode", &input, "-m", MODEL, "-o", &output, "--scale", "1", "--force"]);
        read(&output, "z")
    };
    let expected = codes("f8");
    for dataset in [
        "f2", "f4", "big_f8", "i1", "i2", "u1", "big_u4", "i8", "u8", "rank4", "gzip",
    ] {
        assert_eq!(codes(dataset), expected, "{dataset}");
    }
}
