//! `gfe config` and `gfe encode --dry-run`: what is wrong before anything runs, and what a run would be.

use crate::train::{DIGITS, trained};
use crate::{Folder, fails, gfe, python, root, works};
use serde_json::{Value, json};
use std::path::PathBuf;

fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Line and column of every error of a run file, with a word of each.
fn errors(content: &str, flags: &[&str]) -> Vec<(u64, u64, String)> {
    let folder = Folder::default();
    let run = folder.write("run.toml", content);
    let ran = gfe(&[&["config", "check", &run, "--json"], flags].concat());
    let told = object(&String::from_utf8_lossy(&ran.stdout));
    let list = told["errors"].as_array().expect("a list").clone();
    assert_eq!(ran.status.code(), Some(if list.is_empty() { 0 } else { 78 }), "{told}");
    assert_eq!(told["valid"], list.is_empty());
    list.iter()
        .map(|error| {
            let number = |name: &str| error[name].as_u64().unwrap_or(0);
            let message = error["message"].as_str().expect("a text").to_owned();
            (number("line"), number("column"), message)
        })
        .collect()
}

#[test]
fn everything_wrong_in_a_run_file_is_told_at_once_each_with_its_place() {
    let content = "[method]\nsolvr = \"amd\"\ngtol = -1\n  t_end = \"long\"\n\n[train]\nepochs = 2.5\noptimizer = \"adan\"\n[dat]\nx = 1\n";
    let found = errors(content, &[]);
    let expected = [
        (2, 1, "`method.solver`"),
        (3, 8, "0 or more"),
        (4, 11, "positive, or inf"),
        (7, 10, "whole number"),
        (8, 13, "the nearest is adam"),
        (9, 2, "the nearest is [data]"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((line, column, word), found) in expected.into_iter().zip(&found) {
        assert_eq!((line, column), (found.0, found.1), "{found:?}");
        assert!(found.2.contains(word), "{found:?}");
    }
    // Notation: several at once too, and nothing else is made of what stands there.
    let found = errors("[method]\ngtol = \n[train]\nepochs = 1 2\n", &[]);
    let lines: Vec<u64> = found.iter().map(|error| error.0).collect();
    assert_eq!(lines, [2, 4], "{found:?}");
    let found = errors("[method]\ngtol = 1\ngtol = 2\n", &[]);
    assert_eq!((found.len(), found[0].0), (1, 3), "{found:?}");
}

#[test]
fn keys_without_a_use_and_values_that_do_not_go_together_are_found_too() {
    let found = errors("[method]\nsolver = \"amd\"\nedm_tol = 1e-3\nsteps = 5\n", &[]);
    let places: Vec<(u64, u64)> = found.iter().map(|error| (error.0, error.1)).collect();
    assert_eq!(places, [(3, 1), (4, 1)], "{found:?}");
    // The solver may come from elsewhere.
    let amd = "[method]\narmijo = 1e-4\n";
    assert_eq!(errors(amd, &[]).len(), 1);
    assert!(errors(amd, &["--set", "solver=amd"]).is_empty());
    let found = errors("[method]\nsolver = \"amd\"\ndt0 = 20.0\n", &["--for", "encode"]);
    assert_eq!((found[0].0, found[0].1), (3, 7), "{found:?}");
    let found = errors("[method]\nsolver = \"rk4\"\nt_end = inf\n", &[]);
    assert!(found.len() == 1 && found[0].2.contains("`inf` is for ptc"), "{found:?}");
    let found = errors("[encode]\ntrace_at = [0, 10]\n", &[]);
    assert!(found.len() == 1 && found[0].2.contains("ptc has none"), "{found:?}");
    let both = "[decoder]\nlatent = 2\nlayers = [4]\nactivation = \"elu\"\noutput = \"values\"\n[data]\ninput = \"a.h5\"\n[train]\nepochs = 1\nsamples = 5\n";
    let found = errors(both, &[]);
    assert_eq!((found[0].0, found[0].1), (10, 11), "{found:?}");
    let found = errors("[train]\nepochs = 1\n", &[]);
    let words: String = found.iter().map(|error| error.2.as_str()).collect();
    assert!(
        words.contains("`data.input` is missing") && words.contains("[decoder] is missing"),
        "{words}"
    );
}

#[test]
fn people_see_the_line_with_a_caret_and_commands_say_the_same() {
    let folder = Folder::default();
    let run = folder.write("run.toml", "[method]\n\tgtol = -1 # too small\n");
    let shown =
        "run.toml:2:9: `method.gtol` is -1: it must be 0 or more\n  2 | \tgtol = -1 # too small\n    | \t       ^^";
    fails(&["config", "check", &run], 78, &[shown, "errors: 1"]);
    let output = folder.path("codes.h5");
    fails(
        &["encode", DIGITS, "-m", "none", "-o", &output, "-c", &run],
        66,
        &["none"],
    );
    let model = trained(&folder, "model.safetensors", &[]);
    fails(
        &["encode", DIGITS, "-m", &model, "-o", &output, "-c", &run],
        78,
        &[shown],
    );
    fails(&["train", &run, "-o", &output], 78, &[shown]);
    let run = folder.write("run.toml", "[encode]\ninptu = \"a.h5\"\nrows = \"5\"\n");
    let words = ["run.toml:2:1", "`encode.input`"];
    fails(&["encode", DIGITS, "-m", &model, "-o", &output, "-c", &run], 78, &words);
    fails(&["config", "check", &folder.path("absent.toml")], 66, &["absent.toml"]);
}

fn run_files() -> Vec<PathBuf> {
    let mut folders = vec![root("datasets"), root("benches")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 5, "{found:?}");
    found
}

#[test]
fn run_files_of_the_repository_are_right_and_the_schema_takes_them_and_refuses_wrong_ones() {
    let mut arguments = vec![root("schemas/run.schema.json").display().to_string()];
    for path in run_files() {
        let path = path.display().to_string();
        works(&["config", "check", &path]);
        arguments.push(path);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    python(
        "tests/check_schema.py",
        &[&arguments[..], &["--gfe", env!("CARGO_BIN_EXE_gfe")]].concat(),
    );
    let stands = std::fs::read_to_string(root("schemas/run.schema.json")).expect("it is there");
    assert_eq!(
        works(&["config", "schema"]).trim_end(),
        stands.trim_end(),
        "run `make schema`"
    );
}

#[test]
fn a_dry_run_tells_where_every_setting_comes_from_and_writes_nothing() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &["--gtol", "1e-7"]);
    let output = folder.path("codes.h5");
    let run = folder.write("run.toml", "[method]\nlanes = 16\nmax_steps = 50\n");
    let before = std::fs::read_dir(folder.path("")).expect("the folder").count();
    let command = [
        "encode",
        DIGITS,
        "-m",
        &model,
        "-o",
        &output,
        "-c",
        &run,
        "--reconstruction",
        "--set",
        "max_steps=60",
        "--t-end",
        "50",
    ];
    let told = object(&works(&[&command[..], &["--dry-run", "--json"]].concat()));
    let setting = |name: &str| told["settings"][name].clone();
    assert_eq!(setting("method.t_end"), json!({"value": 50.0, "from": "flag"}));
    assert_eq!(setting("method.max_steps"), json!({"value": 60, "from": "--set"}));
    assert_eq!(
        setting("method.lanes"),
        json!({"value": 16, "from": format!("{run}:2")})
    );
    assert_eq!(setting("method.gtol"), json!({"value": 1e-7, "from": "model file"}));
    assert_eq!(setting("method.edm_tol"), json!({"value": 1e-3, "from": "model file"}));
    assert_eq!(setting("encode.fail_above"), json!({"value": 0.05, "from": "default"}));
    assert_eq!(setting("encode.rows")["value"], "0..1797");
    assert_eq!(setting("method.scale")["value"], 0.0625);
    assert!(told["settings"].get("method.dt0").is_none(), "{told}");
    assert_eq!(
        (&told["samples"], &told["input"]["shape"]),
        (&json!(1797), &json!([8, 8]))
    );
    assert_eq!(told["decoder"]["latent"], 8);
    assert_eq!(told["output"]["fits"], true);
    let probes = told["probe"]["samples"].as_u64().expect("a number");
    assert!((32..=512).contains(&probes) && told["probe"]["failed"] == 0, "{told}");
    assert!(told["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert!(told["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20));
    assert_eq!(std::fs::read_dir(folder.path("")).expect("the folder").count(), before);

    works(&command);
    let size = std::fs::metadata(&output).expect("it was written").len();
    let announced = told["output"]["bytes"].as_u64().expect("a number");
    assert!(
        (size..3 * size + (2 << 20)).contains(&announced),
        "{announced} for {size}"
    );
    // Those who look are not asked to overwrite.
    let said = works(&[&command[..], &["--dry-run"]].concat());
    assert!(said.contains("method.t_end = 50.0  (flag)"), "{said}");
    assert!(said.contains("method.gtol = 1e-7  (model file)"), "{said}");
    assert_eq!(std::fs::metadata(&output).expect("it stands").len(), size);
}

#[test]
fn a_dry_run_counts_the_probes_that_fail() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &[]);
    let data = folder.path("data.h5");
    let file = hdf5::File::create(&data).expect("it can be made");
    let values: Vec<f64> = (0..40 * 64)
        .map(|i| if i / 64 % 2 == 0 { f64::NAN } else { 0.5 })
        .collect();
    let dataset = file
        .new_dataset::<f64>()
        .shape((40, 64))
        .create("y")
        .expect("it can be made");
    dataset.write_raw(&values).expect("there is room");
    drop((dataset, file));
    let flags = ["--dry-run", "--json", "--set", "scale=1.0"];
    let told = works(
        &[
            &["encode", &data, "-m", &model, "-o", &folder.path("out.h5")],
            &flags[..],
        ]
        .concat(),
    );
    let told = object(&told);
    assert_eq!(told["probe"]["samples"], 40, "{told}");
    assert_eq!(told["probe"]["failed"], 20, "{told}");
    assert_eq!(told["probe"]["status"]["bad_input"], 20, "{told}");
}
