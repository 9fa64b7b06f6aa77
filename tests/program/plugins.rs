//! Plugins as their users meet them: listed, checked, begun, run, and broken in every way.

use crate::{Folder, fails, gfe, python, read, root, works};
use gfe_io::{ModelFile, StoredTensor};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A library that Cargo built beside this test.
pub fn built(name: &str) -> String {
    let here = std::env::current_exe().expect("this test has a path");
    let suffix = std::env::consts::DLL_SUFFIX;
    let path = here
        .parent()
        .expect("it lies in a folder")
        .join(format!("lib{name}{suffix}"));
    assert!(path.is_file(), "{} is not built", path.display());
    path.display().to_string()
}

/// The plugin of `crates/plugin/tests/faulty.c` with this fault.
fn faulty(folder: &Folder, fault: &str) -> String {
    let made = folder.path(&format!("lib{}.so", fault.to_lowercase()));
    let run = Command::new("cc")
        .args(["-std=c11", "-O1", "-fPIC", "-shared", "-I"])
        .arg(root("crates/abi/include"))
        .arg(format!("-DFAULT={fault}"))
        .arg(root("crates/plugin/tests/faulty.c"))
        .args(["-lm", "-o", &made])
        .output()
        .expect("cc starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    made
}

/// Four data of the decoder in faulty.c, of which the third lies at z_0 = 0.5, the others below 0.3; and its weights.
fn data(folder: &Folder) -> (String, String) {
    let coefficient = |i: usize, r: usize| (1.0 + 3.0 * i as f64 + 7.0 * r as f64).sin();
    let codes = [[0.1, -0.2, 0.3], [0.2, 0.1, -0.1], [0.5, 0.1, 0.2], [-0.3, 0.2, 0.1]];
    let decode = |z: &[f64; 3]| -> Vec<f64> {
        let value =
            |i: usize| (0..3).map(|r| coefficient(i, r) * z[r]).sum::<f64>() + 0.5 * z[0] * z[1] * (i as f64).sin();
        (0..12).map(value).collect()
    };
    let values: Vec<f64> = codes.iter().flat_map(decode).collect();
    let path = folder.path("data.h5");
    let file = hdf5::File::create(&path).expect("it can be made");
    let dataset = file
        .new_dataset::<f64>()
        .shape((4, 12))
        .create("y")
        .expect("it can be made");
    dataset.write_raw(&values).expect("there is room");
    let mut model = ModelFile::new(json!({"decoder": "faulty"}), None, &[], &[]).expect("it has no weights yet");
    let weight = StoredTensor {
        shape: vec![2],
        values: vec![0.0; 2],
    };
    model.tensors.insert("weight".into(), weight);
    let weights = folder.path("faulty.safetensors");
    model.write(Path::new(&weights)).expect("there is room");
    (path, weights)
}

fn encode<'a>(plugin: &'a str, (data, model): &'a (String, String), output: &'a str) -> Vec<&'a str> {
    let flags = [
        "--fail-above",
        "1",
        "--t-end",
        "inf",
        "--edm-tol",
        "0",
        "--gtol",
        "1e-8",
    ];
    [
        &["encode", data, "-m", model, "--decoder", plugin, "-o", output][..],
        &flags[..],
    ]
    .concat()
}

#[test]
fn a_fault_of_one_sample_is_its_own_status_and_touches_no_other() {
    let folder = Folder::default();
    let input = data(&folder);
    let good = faulty(&folder, "NONE");
    let expected = folder.path("expected.h5");
    works(&encode(&good, &input, &expected));
    assert_eq!(read(&expected, "status"), [0.0; 4]);
    let z = read(&expected, "z");
    assert!((z[6] - 0.5).abs() < 1e-6, "{z:?}");

    // Decoding fails code by code too.
    let decoded = folder.path("decoded.h5");
    let bad = faulty(&folder, "ERROR_ON_LANE");
    let told = works(&[
        "decode",
        &expected,
        "-m",
        &input.1,
        "--decoder",
        &bad,
        "-o",
        &decoded,
        "--json",
    ]);
    assert!(told.contains("\"failed\":1"), "{told}");
    let nan: Vec<bool> = read(&decoded, "reconstruction")
        .iter()
        .map(|value| value.is_nan())
        .collect();
    assert!(nan.iter().enumerate().all(|(k, nan)| *nan == (24..36).contains(&k)));

    let output = folder.path("error.h5");
    let bad = faulty(&folder, "ERROR_ON_LANE");
    let ran = gfe(&encode(&bad, &input, &output));
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(
        ran.status.success() && said.contains("row 2: the first latent is above 0.35"),
        "{said}"
    );
    assert_eq!(read(&output, "status"), [0.0, 0.0, 7.0, 0.0]);
    let found = read(&output, "z");
    assert_eq!([&found[..6], &found[9..]], [&z[..6], &z[9..]]);

    // Only a smaller step is asked for: the code is found all the same.
    let output = folder.path("discard.h5");
    let far = faulty(&folder, "DISCARD_FAR");
    works(&encode(&far, &input, &output));
    assert_eq!(read(&output, "status"), [0.0; 4]);
    let found = read(&output, "z");
    assert!(found.iter().zip(&z).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
}

#[test]
fn calls_overlap_only_as_a_plugin_declares() {
    let folder = Folder::default();
    let input = data(&folder);
    let expected = folder.path("expected.h5");
    let more = ["--starts", "40", "--threads", "6", "--lanes", "3"];
    works(&[&encode(&faulty(&folder, "NONE"), &input, &expected)[..], &more].concat());
    for mode in ["ONE_CALL_PER_INSTANCE", "ONE_CALL_AT_ALL"] {
        let plugin = faulty(&folder, mode);
        let output = folder.path(&format!("{mode}.h5"));
        works(&[&encode(&plugin, &input, &output)[..], &more].concat());
        assert_eq!(read(&output, "z"), read(&expected, "z"), "{mode}");
        works(&["plugin", "check", &plugin]);
    }
}

#[test]
fn a_plugin_that_breaks_down_or_dies_ends_the_run_and_what_stood_there_stands() {
    let folder = Folder::default();
    let input = data(&folder);
    let output = folder.path("codes.h5");
    std::fs::write(&output, "what stood there").expect("there is room");
    for (fault, words) in [
        ("FATAL_ON_LANE", "the license has expired"),
        ("NO_SUCH_STATUS", "it answered 17"),
        ("CRASH_ON_LANE", "SIGSEGV"),
        ("ABORT_ON_LANE", "SIGABRT"),
        ("EXITS", "ended by a call of exit"),
    ] {
        let plugin = faulty(&folder, fault);
        let mut arguments = encode(&plugin, &input, &output);
        arguments.push("--force");
        fails(&arguments, 70, &[words]);
        assert_eq!(std::fs::read_to_string(&output).expect("it stands"), "what stood there");
        let left: Vec<_> = std::fs::read_dir(Path::new(&output).parent().expect("it lies in a folder"))
            .expect("it can be listed")
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().contains("codes.h5."))
            .collect();
        // What was committed would be kept there.
        let names: Vec<_> = left.iter().map(std::fs::DirEntry::file_name).collect();
        assert!(names.iter().all(|name| name == "codes.h5.parts"), "{fault}: {left:?}");
    }
}

#[test]
fn a_broken_plugin_is_refused_or_found_by_the_check() {
    let folder = Folder::default();
    for (fault, words) in [
        ("WRONG_MAGIC", "magic number"),
        ("NEWER_MAJOR", "version 2.0"),
        ("MISSING_FUNCTION", "lacks the function `vjp`"),
        ("SHORT_STRUCT", "lacks the function `destroy`"),
    ] {
        fails(&["plugin", "check", &faulty(&folder, fault)], 1, &[words]);
    }
    for (fault, words) in [
        ("NEIGHBOR", "columns: a lane feels its neighbors"),
        ("CRASH_ON_NAN", "not_a_number: the plugin crashed: SIGSEGV"),
        ("FALSE_SHARED", "threads: it declares shared and is not"),
    ] {
        let ran = gfe(&["plugin", "check", &faulty(&folder, fault)]);
        let told = String::from_utf8_lossy(&ran.stdout);
        assert_eq!(ran.status.code(), Some(1), "{told}");
        assert!(told.contains("FAILED") && told.contains(words), "{fault}: {told}");
    }
    let ran = gfe(&["plugin", "check", &faulty(&folder, "EXITS")]);
    let told = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.code() == Some(1) && told.contains("the plugin ended the process"),
        "{told}"
    );
    // What a plugin prints is not taken for a finding, nor hides one.
    let ran = gfe(&["plugin", "check", &faulty(&folder, "TALKS"), "--json"]);
    let told: Value = serde_json::from_slice(&ran.stdout).expect("an object alone");
    assert_eq!(
        (ran.status.code(), told["checks"].as_array().map(Vec::len)),
        (Some(1), Some(16)),
        "{told}"
    );
    let good = faulty(&folder, "NONE");
    let told: Value = serde_json::from_str(&works(&["plugin", "check", &good, "--json"])).expect("an object");
    assert_eq!(
        (told["failed"].as_u64(), told["checks"].as_array().map(Vec::len)),
        (Some(0), Some(16))
    );
    fails(
        &["plugin", "check", &good, "--config", "{\"a\": 1}"],
        1,
        &["it takes no configuration"],
    );
    fails(
        &["plugin", "info", "/nowhere/libx.so"],
        66,
        &["/nowhere/libx.so", "No such file"],
    );
    let told = works(&["plugin", "info", &good]);
    assert!(told.contains("decoder faulty 1.0") && told.contains("sha256"), "{told}");
}

/// The path variable is that of the process: these run the program by themselves.
pub fn with_path(folder: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_gfe"))
        .args(arguments)
        .env("GFE_PLUGIN_PATH", folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("the program starts");
    let said = [&ran.stdout[..], &ran.stderr[..]].concat();
    (ran.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn plugins_are_found_by_name_and_listed_and_pinned() {
    let folder = Folder::default();
    let library = faulty(&folder, "NONE");
    let named = folder.path("libfaulty.so");
    std::fs::rename(&library, &named).expect("it can be renamed");
    folder.write("libtext.so", "not a library");
    let here = PathBuf::from(&named)
        .parent()
        .expect("it lies in a folder")
        .display()
        .to_string();
    let (code, told) = with_path(&here, &["plugin", "list"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("decoder faulty") && told.contains("not usable"), "{told}");
    let (data, model) = data(&folder);
    let output = folder.path("codes.h5");
    // The model file names the decoder, the user's path variable says where it may be.
    let (code, told) = with_path(&here, &["encode", &data, "-m", &model, "-o", &output]);
    assert_eq!(code, Some(0), "{told}");
    let (code, told) = with_path("/nowhere", &["encode", &data, "-m", &model, "-o", &output, "--force"]);
    assert_eq!(code, Some(66), "{told}");
    assert!(told.contains("/nowhere/libfaulty.so"), "{told}");
    let told: Value = serde_json::from_str(&works(&["plugin", "info", &named, "--json"])).expect("an object");
    let sha256 = told["sha256"].as_str().expect("a text");
    for (pinned, code, words) in [(sha256, 0, ""), ("00ff", 78, "its sha256 is")] {
        let run = format!(
            "[decoder]\nplugin = \"{named}\"\nsha256 = \"{pinned}\"\n[encode]\ninput = \"{data}\"\nmodel = \"{model}\"\noutput = \"{output}\"\n"
        );
        let run = folder.write("run.toml", &run);
        let ran = gfe(&["encode", "-c", &run, "--force"]);
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(code) && said.contains(words), "{said}");
    }
    // What was run is told in the output.
    let inspected = works(&["inspect", &output]);
    assert!(inspected.contains(sha256), "{inspected}");
}

const DIGITS: &str = "tests/data/mnist_test_200.h5";
const MODEL: &str = "tests/data/mnist_decoder.safetensors";

#[test]
fn the_dense_decoder_as_a_plugin_gives_the_same_bits_and_counts() {
    let folder = Folder::default();
    let plugin = built("dense");
    let (own, other) = (folder.path("own.h5"), folder.path("other.h5"));
    for flags in [
        &["--reconstruction", "--precision", "f64"][..],
        &["--solver", "bdf", "--t-end", "20", "--rows", "0..6"],
    ] {
        let encode = |output: &str, more: &[&str]| {
            works(&[&["encode", DIGITS, "-m", MODEL, "-o", output, "--force"], flags, more].concat());
        };
        encode(&own, &[]);
        encode(&other, &["--decoder", &plugin]);
        for dataset in [
            "z",
            "loss",
            "grad_norm",
            "edm",
            "evaluations",
            "vjps",
            "jvps",
            "hvps",
            "steps",
        ] {
            let bits = |file: &str| -> Vec<u64> { read(file, dataset).iter().map(|value| value.to_bits()).collect() };
            assert_eq!(bits(&own), bits(&other), "{dataset}");
        }
    }
    works(&[
        "plugin",
        "check",
        &plugin,
        "--config",
        "{\"latent\": 3, \"layers\": [8, 12], \"activation\": \"tanh\", \"output\": \"values\"}",
    ]);
}

#[test]
fn a_decoder_plugin_is_trained_and_its_model_file_encodes() {
    let folder = Folder::default();
    let model = folder.path("conv.safetensors");
    let config = "{ latent = 6, layers = [{ linear = { out_features = 32 } }, { unflatten = [2, 4, 4] }, \"elu\", \
                  { conv_transpose2d = { out_channels = 1, kernel_size = 4, stride = 2, padding = 1 } }], output = \"logits\" }";
    let run = format!(
        "[decoder]\nplugin = \"{}\"\nconfig = {config}\n[data]\ninput = \"datasets/digits.h5:/images\"\nrows = \"0..200\"\n[train]\nepochs = 40\nlearning_rate = 2e-3\n",
        built("conv")
    );
    let run = folder.write("run.toml", &run);
    let told: Value = serde_json::from_str(&works(&["train", &run, "-o", &model, "--json"])).expect("an object");
    assert!(told["loss"].as_f64().is_some_and(|loss| loss < 0.6), "{told}");
    assert!(works(&["inspect", &model]).contains("conv"));
    let output = folder.path("codes.h5");
    let plugin = built("conv");
    works(&[
        "encode",
        "datasets/digits.h5:/images",
        "-m",
        &model,
        "--decoder",
        &plugin,
        "--rows",
        "200..220",
        "-o",
        &output,
    ]);
    assert!(read(&output, "status").iter().all(|status| *status == 0.0));
}

#[test]
fn weights_that_cannot_be_had_end_the_training_with_the_plugins_words() {
    let folder = Folder::default();
    let (data, _) = data(&folder);
    let run = format!(
        "[decoder]\nplugin = \"{}\"\n[data]\ninput = \"{data}\"\n",
        faulty(&folder, "INIT_FATAL")
    );
    let run = folder.write("run.toml", &run);
    fails(
        &["train", &run, "-o", &folder.path("model.safetensors")],
        70,
        &["no random numbers are left"],
    );
}

#[test]
fn a_new_plugin_builds_passes_the_check_and_encodes() {
    let folder = Folder::default();
    let here = folder.path(".");
    let gfe = |arguments: &[&str]| {
        let ran = Command::new(env!("CARGO_BIN_EXE_gfe"))
            .args(arguments)
            .current_dir(&here)
            .output()
            .expect("it starts");
        let said = [&ran.stdout[..], &ran.stderr[..]].concat();
        (ran.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let (code, told) = gfe(&["plugin", "new", "my-decay"]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(gfe(&["plugin", "new", "my-decay"]).0, Some(73));
    assert_eq!(gfe(&["plugin", "new", "../x"]).0, Some(2));
    // The versions that the project is locked to, and its build products: nothing is fetched or built twice.
    std::fs::copy(root("Cargo.lock"), folder.path("my-decay/Cargo.lock")).expect("there is room");
    let target = std::env::current_exe().expect("this test has a path");
    let target = target
        .parent()
        .and_then(Path::parent)
        .and_then(Path::parent)
        .expect("it lies in a target folder");
    let build = || {
        let run = Command::new(env!("CARGO"))
            .args([
                "build",
                "--offline",
                "--manifest-path",
                &folder.path("my-decay/Cargo.toml"),
            ])
            .env("CARGO_TARGET_DIR", target.join("template"))
            .env("CARGO_PROFILE_DEV_DEBUG", "false")
            .output()
            .expect("cargo starts");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    };
    build();
    let library = target.join("template/debug/libmy_decay.so").display().to_string();
    let (code, told) = gfe(&["plugin", "check", &library]);
    assert_eq!(code, Some(0), "{told}");
    // Data of known amplitude and lifetime, with errors: the codes come back with error bars.
    let file = hdf5::File::create(folder.path("decays.h5")).expect("it can be made");
    let truth = [[2.0, 0.2], [0.7, 0.5], [5.0, 0.1]];
    let wave = |i: usize| 1e-3 * (7.0 * i as f64).sin();
    let of = |z: &[f64; 2]| -> Vec<f64> {
        (0..64)
            .map(|i| z[0] * (-(i as f64 / 63.0) / z[1]).exp() + wave(i))
            .collect()
    };
    let values: Vec<f64> = truth.iter().flat_map(of).collect();
    let dataset = file
        .new_dataset::<f64>()
        .shape((3, 64))
        .create("y")
        .expect("it can be made");
    dataset.write_raw(&values).expect("there is room");
    drop((dataset, file));
    let flags = ["--sigma", "1e-3", "--uncertainty", "--starts", "3", "-o", "codes.h5"];
    let (code, told) = gfe(&[&["encode", "decays.h5:/y", "--decoder", &library], &flags[..]].concat());
    assert_eq!(code, Some(0), "{told}");
    let (found, std) = (
        read(&folder.path("codes.h5"), "z_physical"),
        read(&folder.path("codes.h5"), "z_physical_std"),
    );
    for (k, truth) in truth.iter().flatten().enumerate() {
        assert!(
            (found[k] - truth).abs() < 5.0 * std[k] && std[k] < 0.01 * truth,
            "{found:?} {std:?}"
        );
    }
    assert_eq!(read(&folder.path("codes.h5"), "minima"), [1.0; 3]);

    // A panic in it ends the run with its words.
    let source = std::fs::read_to_string(folder.path("my-decay/src/lib.rs")).expect("it was made");
    let broken = source.replacen(
        "        for lane in",
        "        assert!(at.z[(0, 0)] < 1.5, \"the lamp is out\");\n        for lane in",
        1,
    );
    assert_ne!(broken, source);
    std::fs::write(folder.path("my-decay/src/lib.rs"), broken).expect("there is room");
    build();
    let (code, told) = gfe(&[
        &["encode", "decays.h5:/y", "--decoder", &library, "--force"],
        &flags[..],
    ]
    .concat());
    assert!(
        code == Some(70) && told.contains("the plugin panicked: the lamp is out"),
        "{code:?} {told}"
    );
}

#[test]
fn lines_of_blended_spectra_are_found_from_a_blind_guess() {
    let folder = Folder::default();
    let plugin = folder.path("libspectral-lines.so");
    let run = Command::new("make")
        .arg("-C")
        .arg(root("plugins/spectral-lines"))
        .arg(format!("OUT={plugin}"))
        .output()
        .expect("make starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let config = root("plugins/spectral-lines/config.json").display().to_string();
    works(&["plugin", "check", &plugin, "--config", &config]);
    let (spectra, lines) = (folder.path("spectra.h5"), folder.path("lines.h5"));
    python("plugins/spectral-lines/simulate.py", &[&spectra, "60", "7"]);
    let input = format!("{spectra}:/flux");
    let beside = [
        "--sigma",
        "/sigma",
        "--context",
        "/redshift",
        "--context",
        "/resolution",
    ];
    let how = [
        "--decoder",
        &plugin,
        "--decoder-config",
        &config,
        "--starts",
        "8",
        "--uncertainty",
        "--reconstruction",
        "-o",
        &lines,
    ];
    works(&[&["encode", &input], &beside[..], &how[..]].concat());
    python("plugins/spectral-lines/judge.py", &[&lines, &spectra]);
    // Decoding the codes gives the reconstructions once more.
    let decoded = folder.path("decoded.h5");
    let context = [format!("{spectra}:/redshift"), format!("{spectra}:/resolution")];
    let how_decoded = ["--decoder", &plugin, "--decoder-config", &config, "-o", &decoded];
    let context = ["--context", &context[0], "--context", &context[1]];
    works(&[&["decode", &lines], &how_decoded[..], &context[..]].concat());
    assert_eq!(read(&decoded, "reconstruction"), read(&lines, "reconstruction"));
    fails(
        &[&["encode", &input, "--sigma", "/sigma"], &how[..], &["--force"]].concat(),
        2,
        &["takes 2 values of context", "--context"],
    );
}

#[test]
fn test_vectors_of_a_model_file_are_replayed() {
    let folder = Folder::default();
    let mut file = ModelFile::read(&root(MODEL)).expect("it can be read");
    let codes = folder.path("codes.h5");
    works(&["encode", DIGITS, "-m", MODEL, "--rows", "0..8", "-o", &codes]);
    let decoder = gfe_model::dense::Dense::new(serde_json::from_value(file.decoder.clone()).expect("it is dense"));
    let decoder = decoder.expect("its sizes are valid");
    let params = file
        .params_for(&gfe_model::Decoder::tensors(&decoder))
        .expect("its tensors are there");
    let z = read(&codes, "z");
    let (mut x, mut tape) = (
        faer::Mat::zeros(784, 8),
        faer::Mat::zeros(gfe_model::Decoder::tape_len(&decoder), 8),
    );
    let at = gfe_model::At {
        params: &params,
        version: 1,
        z: faer::MatRef::from_column_major_slice(&z, 20, 8),
        context: faer::MatRef::from_column_major_slice(&[], 0, 8),
    };
    gfe_model::Decoder::forward(&decoder, at, x.as_mut(), tape.as_mut(), &mut []).expect("it never fails");
    let tensor = |rows: usize, values: Vec<f64>| StoredTensor {
        shape: vec![8, rows],
        values,
    };
    let values: Vec<f64> = x.col_iter().flat_map(|column| column.iter().copied()).collect();
    file.tensors.insert("gfe.test.z".into(), tensor(20, z));
    let path = folder.path("model.safetensors");
    let mut replay = |values: Vec<f64>, code: i32, words: &str| {
        file.tensors.insert("gfe.test.x".into(), tensor(784, values));
        file.write(Path::new(&path)).expect("there is room");
        let ran = gfe(&["import", "--check", &path]);
        let told = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.code() == Some(code) && told.contains(words), "{told}");
    };
    replay(values.clone(), 0, "8 test vectors, the same");
    let mut other = values;
    other[5000] += 1e-3 * other.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    replay(other, 1, "DIFFERENT");
    fails(&["import", "--check", MODEL], 65, &["no test vectors", "gfe_export.py"]);
}
