//! `gfe verify`: what an output says of its codes, computed again; and what an output keeps of where it comes from.

use crate::plugins::built;
use crate::train::{DIGITS, trained};
use crate::{Folder, fails, gfe, python, read, works};
use serde_json::{Value, json};
use std::process::Command;

fn object(text: &[u8]) -> Value {
    let text = String::from_utf8_lossy(text);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What `gfe verify` says of a file, which it has to find wrong.
fn wrong(arguments: &[&str]) -> Value {
    let ran = gfe(&[&["verify"], arguments, &["--json"]].concat());
    let told = object(&ran.stdout);
    assert_eq!(ran.status.code(), Some(65), "{told}");
    assert_eq!(told["same"], false);
    told
}

fn differing(told: &Value) -> Vec<&str> {
    let hashes = told["hashes"].as_array().expect("a list").iter();
    hashes
        .filter(|hash| hash["same"] == false)
        .filter_map(|hash| hash["name"].as_str())
        .collect()
}

#[test]
fn every_loss_flow_and_solver_is_verified_by_the_file_alone() {
    let folder = Folder::default();
    let logits = trained(&folder, "logits.safetensors", &[]);
    let values = trained(&folder, "values.safetensors", &["--set", "decoder.output=values"]);
    let rates = trained(&folder, "rates.safetensors", &["--set", "decoder.output=log_rates"]);
    let output = folder.path("codes.h5");
    let cases: [(&str, &[&str]); 9] = [
        (&logits, &[]),
        (&logits, &["--t-end", "inf"]),
        (&logits, &["--solver", "amd", "--z0", "uniform"]),
        (&logits, &["--solver", "tsit5", "--flow", "nesterov", "--t-end", "20"]),
        (&logits, &["--solver", "bdf", "--alpha", "exp_decay", "--t-end", "50"]),
        (&values, &["--starts", "3", "--lanes", "7"]),
        (&values, &["--sigma", "0.1", "--uncertainty"]),
        (&values, &["--solver", "rk4", "--steps", "20", "--t-end", "5"]),
        (&rates, &["--warm-start"]),
    ];
    for (model, flags) in cases {
        let command = [
            "encode", DIGITS, "-m", model, "-o", &output, "--rows", "30..90", "--force",
        ];
        works(&[&command[..], flags, &["--fail-above", "1"]].concat());
        let told = object(works(&["verify", &output, "--json"]).as_bytes());
        assert_eq!(told["same"], true, "{flags:?}: {told}");
        assert_eq!(
            (&told["checked"], &told["differing"]),
            (&json!(60), &json!(0)),
            "{flags:?}: {told}"
        );
        assert_eq!(
            told["worst"],
            json!({"loss": 0.0, "grad_norm": 0.0, "chi2": 0.0}),
            "{flags:?}: {told}"
        );
        let names: Vec<&str> = told["hashes"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|one| one["name"].as_str())
            .collect();
        assert_eq!(
            names,
            ["weights", "model file", "decoder's configuration", "input rows"]
        );
    }
    let some = object(works(&["verify", &output, "--rows", "5..9", "--json"]).as_bytes());
    assert_eq!(some["checked"], 4);
    assert!(works(&["verify", &output]).contains("60 rows computed again, 0 have no code; 0 differ"));
}

#[test]
fn what_was_changed_is_found_and_named() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &[]);
    let (data, output) = (folder.path("digits.h5"), folder.path("codes.h5"));
    std::fs::copy(crate::root("datasets/digits.h5"), &data).expect("there is room");
    let input = format!("{data}:/images");
    works(&["encode", &input, "-m", &model, "-o", &output, "--rows", "0..50"]);
    let whole = std::fs::read(&output).expect("it is there");
    // In a process of its own: another test that starts one just then would pass on the lock of a file open here.
    let change = |file: &str, dataset: &str, at: usize, by: f64| {
        let (at, by) = (at.to_string(), by.to_string());
        python("tests/check_provenance.py", &["change", file, dataset, &at, &by]);
    };
    let nan = f64::NAN;
    for (dataset, at, by) in [
        ("loss", 7, 1e-6),
        ("z", 7 * 8 + 3, 1e-3),
        ("z", 7 * 8, nan),
        ("grad_norm", 7, 1e-3),
    ] {
        change(&output, dataset, at, by);
        let told = wrong(&[&output]);
        assert_eq!(
            (&told["differing"], &told["rows"][0]["sample"]),
            (&json!(1), &json!(7)),
            "{dataset}: {told}"
        );
        assert!(differing(&told).is_empty(), "{dataset}: {told}");
        std::fs::write(&output, &whole).expect("there is room");
    }
    works(&["verify", &output]);

    change(&data, "images", 9 * 64 + 20, 1.0);
    let told = wrong(&[&output]);
    assert_eq!(differing(&told), ["input rows"], "{told}");
    assert_eq!(
        (&told["differing"], &told["rows"][0]["sample"]),
        (&json!(1), &json!(9)),
        "{told}"
    );
    assert_eq!(
        (&told["input_differs"], &told["input_differs_first"]),
        (&json!(1), &json!(9)),
        "{told}"
    );
    change(&data, "images", 9 * 64 + 20, -1.0);
    works(&["verify", &output]);

    let other = trained(&folder, "other.safetensors", &["--set", "train.seed=7"]);
    let told = wrong(&[&output, "-m", &other]);
    assert_eq!(differing(&told), ["weights", "model file"], "{told}");
    assert_eq!(told["differing"], 50, "{told}");
}

#[test]
fn files_that_have_moved_are_asked_for_and_a_pipe_is_never_opened() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &[]);
    let (data, moved, output) = (
        folder.path("digits.h5"),
        folder.path("moved.h5"),
        folder.path("codes.h5"),
    );
    std::fs::copy(crate::root("datasets/digits.h5"), &data).expect("there is room");
    works(&[
        "encode",
        &format!("{data}:/images"),
        "-m",
        &model,
        "-o",
        &output,
        "--rows",
        "0..10",
    ]);
    std::fs::rename(&data, &moved).expect("it can be moved");
    fails(&["verify", &output], 66, &["digits.h5", "--input"]);
    let made = Command::new("mkfifo").arg(&data).status().expect("mkfifo starts");
    assert!(made.success());
    fails(&["verify", &output], 66, &["is no file here", "--input"]);
    works(&["verify", &output, "--input", &format!("{moved}:/images")]);
    std::fs::remove_file(&model).expect("it is there");
    fails(
        &["verify", &output, "--input", &format!("{moved}:/images")],
        66,
        &["model.safetensors", "-m"],
    );
    fails(&["verify", &moved], 65, &["gfe_layout_version"]);
}

#[test]
fn errors_of_values_and_bad_rows_are_verified_where_they_lie() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &["--set", "decoder.output=values"]);
    let (data, output) = (folder.path("data.h5"), folder.path("codes.h5"));
    python("tests/check_provenance.py", &["make", &data]);
    let input = format!("{data}:/group/flux");
    let command = [
        "encode",
        &input,
        "-m",
        &model,
        "-o",
        &output,
        "--sigma",
        "/group/error",
        "--set",
        "scale=1.0",
    ];
    works(&[&command[..], &["--fail-above", "1"]].concat());
    let told = object(works(&["verify", &output, "--json"]).as_bytes());
    assert_eq!(
        (&told["checked"], &told["without_code"]),
        (&json!(19), &json!(1)),
        "{told}"
    );
    let told = wrong(&[&output, "--sigma", "0.25"]);
    assert_eq!(differing(&told), ["input rows"], "{told}");
    assert_eq!(
        (&told["differing"], &told["input_differs"]),
        (&json!(19), &json!(20)),
        "{told}"
    );
}

#[test]
fn a_plugin_is_run_by_its_name_or_where_the_user_says_and_never_by_a_path_in_the_file() {
    let folder = Folder::default();
    let library = built("dense");
    let named = folder.path("libdense.so");
    std::fs::copy(&library, &named).expect("there is room");
    let (model, output) = ("tests/data/mnist_decoder.safetensors", folder.path("codes.h5"));
    let data = "tests/data/mnist_test_200.h5";
    works(&[
        "encode",
        data,
        "-m",
        model,
        "--decoder",
        &named,
        "-o",
        &output,
        "--rows",
        "0..8",
    ]);
    fails(&["verify", &output], 66, &["--decoder"]);
    let told = object(works(&["verify", &output, "--decoder", &named, "--json"]).as_bytes());
    assert!(told["hashes"].to_string().contains("decoder's library"), "{told}");
    let ran = Command::new(env!("CARGO_BIN_EXE_gfe"))
        .args(["verify", &output])
        .env("GFE_PLUGIN_PATH", folder.path(""))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("it starts");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn units_and_names_come_over_and_what_is_hostile_or_huge_stays_behind() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &["--set", "decoder.output=values"]);
    let (data, output, copy) = (folder.path("data.h5"), folder.path("codes.h5"), folder.path("copy.h5"));
    python("tests/check_provenance.py", &["make", &data]);
    let input = format!("{data}:/group/flux");
    let command = [
        "encode", &input, "-m", &model, "-o", &output, "--keep", "redshift", "--keep", "name",
    ];
    works(
        &[
            &command[..],
            &["--reconstruction", "--set", "scale=1.0", "--fail-above", "1"],
        ]
        .concat(),
    );
    works(&["convert", &input, &copy]);
    python("tests/check_provenance.py", &["check", &output, &copy]);
    let told = object(works(&["inspect", &output, "--json"]).as_bytes());
    assert_eq!(told["input"]["attributes"]["dataset"]["units"], "erg/s", "{told}");
    assert_eq!(told["input"]["attributes"]["file"]["title"], "a survey", "{told}");
    assert_eq!(
        told["input"]["attributes"]["axes"]["wavelength"]["units"], "nm",
        "{told}"
    );
    assert_eq!(told["program"], "gfe");
    assert!(
        told["decoder"]["model"]["sha256"]
            .as_str()
            .is_some_and(|hash| hash.len() == 64),
        "{told}"
    );
    assert_eq!(
        told["datasets"]["redshift"]["long_name"], "redshift of the host",
        "{told}"
    );
    // A factor changes what a number means.
    works(
        &[
            &command[..],
            &["--reconstruction", "--force", "--set", "scale=0.5", "--fail-above", "1"],
        ]
        .concat(),
    );
    let told = object(works(&["inspect", &output, "--json"]).as_bytes());
    assert!(told["datasets"]["reconstruction"].get("units").is_none(), "{told}");
}

#[test]
fn histories_and_checkpoints_are_told_apart_too() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &[]);
    let history = model.replace(".safetensors", ".history.h5");
    let told = object(works(&["inspect", &history, "--json"]).as_bytes());
    assert_eq!(told["kind"], "history of a training");
    assert_eq!(told["epochs"]["records"], 2, "{told}");
    let loss = &told["epochs"]["columns"]["loss"];
    assert_eq!(loss["last"].as_f64(), read(&history, "loss").last().copied(), "{told}");
    assert!(works(&["inspect", &history]).contains("history of a training"));

    let stopped = folder.path("stopped.safetensors");
    let run = crate::text("datasets/demo.toml");
    let sets = ["--set", "checkpoint_minutes=0", "--set", "epochs=1000000"];
    let mut child = Command::new(env!("CARGO_BIN_EXE_gfe"))
        .args([&["train", &run, "-o", &stopped], &sets[..]].concat())
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("it starts");
    let checkpoint = folder.path("stopped.checkpoint.h5");
    let begun = std::time::Instant::now();
    while !std::path::Path::new(&checkpoint).exists() {
        assert!(begun.elapsed().as_secs() < 120, "no checkpoint came");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let told = object(works(&["inspect", &checkpoint, "--json"]).as_bytes());
    assert_eq!(told["kind"], "checkpoint of a training");
    assert_eq!(told["tensors"]["codes.z"][1], 8, "{told}");
    assert!(told["notes"]["position"]["seen"].is_u64(), "{told}");
}
