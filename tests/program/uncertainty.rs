//! How far to trust a code: error bars, the errors that they are made from, several starts.

use crate::support::{Folder, fails, python, text, works};
use gfe_io::ModelFile;
use std::path::Path;

const DIGITS: &str = "datasets/digits.h5:/images";

/// A decoder of values, trained on the demo's digits for a moment.
fn trained(folder: &Folder, name: &str, sets: &[&str]) -> String {
    let (run, model) = (text("datasets/demo.toml"), folder.path(name));
    let mut arguments = vec!["train", &run, "-o", &model];
    for set in ["output=values", "epochs=2"].iter().chain(sets) {
        arguments.extend(["--set", set]);
    }
    works(&arguments);
    model
}

/// Standard errors of the digits: larger in the later rows, infinite for two of the values.
fn with_errors(folder: &Folder) -> String {
    let digits = hdf5::File::open(text("datasets/digits.h5")).expect("it is there");
    let images = digits.dataset("images").expect("it is there").read_dyn::<f64>();
    let images = images.expect("they are numbers").mapv(|value| value);
    let shape = [images.shape()[0], 64];
    let sigma = ndarray::Array2::from_shape_fn(shape, |(b, i)| match i {
        9 | 35 => f64::INFINITY,
        _ => 2.0 + b as f64 / 1000.0 + (i as f64).sin(),
    });
    let file = hdf5::File::create(folder.path("digits.h5")).expect("it can be made");
    let flat = images.into_shape_with_order(shape).expect("64 values each");
    for (name, data) in [("images", &flat), ("sigma", &sigma)] {
        let written = file.new_dataset_builder().with_data(data).create(name);
        written.expect("there is room");
    }
    folder.path("digits.h5")
}

#[test]
fn error_bars_are_those_of_numpy_with_and_without_errors_of_the_values() {
    let folder = Folder::default();
    let (model, data) = (
        trained(&folder, "model.safetensors", &["activation=tanh"]),
        with_errors(&folder),
    );
    let (input, codes) = (format!("{data}:/images"), folder.path("codes.h5"));
    let base = [
        "encode",
        &input,
        "-m",
        &model,
        "--rows",
        "1437..1457",
        "--uncertainty",
        "-o",
        &codes,
        "--force",
    ];
    works(&[&base[..], &["--sigma", "/sigma"]].concat());
    python(
        "tests/check_uncertainty.py",
        &[&model, &codes, &data, "images", "sigma"],
    );
    works(&[&base[..], &["--noise", "estimate"]].concat());
    python("tests/check_uncertainty.py", &[&model, &codes, &data, "images"]);
}

#[test]
fn noise_is_kept_with_the_model_and_changes_no_code() {
    let folder = Folder::default();
    let read = |path: &str| ModelFile::read(Path::new(path)).expect("it can be read");
    for (name, sets) in [
        ("flow", &[][..]),
        ("learned", &["train.start=learned"]),
        ("autoencoder", &["train.method=autoencoder"]),
        ("auto-decoder", &["train.method=auto-decoder"]),
    ] {
        let model = trained(&folder, &format!("{name}.safetensors"), sets);
        let file = read(&model);
        let noise = &file.tensors["gfe.noise"];
        assert_eq!(noise.shape, [64]);
        assert!(noise.values.iter().all(|sigma| (0.0..0.5).contains(sigma)), "{noise:?}");
        let record = &file.training.expect("it was trained")["noise"];
        assert_eq!((&record["samples"], &record["values"]), (&144.into(), &64.into()));
        let [plain, with] = ["plain.h5", "with.h5"].map(|name| folder.path(name));
        let base = ["encode", DIGITS, "-m", &model, "--rows", "1437..1467", "--force", "-o"];
        works(&[&base[..], &[&plain]].concat());
        works(&[&base[..], &[&with, "--noise", "estimate", "--uncertainty"]].concat());
        let values = |path: &str, name: &str| {
            let file = hdf5::File::open(path).expect("it is there");
            file.dataset(name)
                .expect("it is there")
                .read_raw::<f64>()
                .expect("numbers")
        };
        assert_eq!(values(&plain, "z"), values(&with, "z"));
        assert!(values(&with, "z_std").iter().all(|std| (1e-3..10.0).contains(std)));
        // 64 values less 8 latents, on rows that are somewhat harder than those that the errors are estimated from.
        let chi2 = values(&with, "chi2");
        let mean = chi2.iter().sum::<f64>() / chi2.len() as f64;
        assert!((45.0..80.0).contains(&mean), "{name}: {mean}");
    }
}

#[test]
fn error_bars_without_known_errors_are_refused_with_the_reason() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &["validation=0"]);
    let codes = folder.path("codes.h5");
    let refused = |flags: &[&str], code: i32, words: &[&str]| {
        let base = ["encode", DIGITS, "-m", &model, "-o", &codes];
        fails(&[&base[..], flags].concat(), code, words);
    };
    refused(
        &["--uncertainty"],
        2,
        &["loss mse says nothing", "--sigma", "--noise estimate"],
    );
    refused(&["--uncertainty", "--loss", "gaussian"], 2, &["--sigma"]);
    refused(&["--uncertainty", "--loss", "bce"], 2, &["bce is no likelihood"]);
    refused(&["--noise", "estimate", "--sigma", "1"], 2, &["leave out one"]);
    refused(&["--noise", "estimate", "--loss", "poisson"], 2, &["for loss mse"]);
    refused(&["--noise", "guess"], 2, &["must be one of estimate"]);
    refused(
        &["--noise", "estimate"],
        78,
        &["no samples were held out", "validation", "model.safetensors"],
    );
    let mut file = ModelFile::read(Path::new(&model)).expect("it can be read");
    for (values, word) in [
        (vec![0.1; 63], "[64] is needed"),
        (vec![-1.0; 64], "has the value -1"),
        (vec![0.0; 64], "no value above 0"),
    ] {
        let shape = vec![values.len()];
        file.tensors
            .insert("gfe.noise".into(), gfe_io::StoredTensor { shape, values });
        file.write(Path::new(&model)).expect("there is room");
        refused(&["--noise", "estimate"], 78, &[word]);
    }
}

#[test]
fn codes_of_a_file_are_starts_and_a_code_of_the_same_row_is_found_again_at_once() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &[]);
    let [codes, plain, again, several] =
        ["codes.h5", "plain.h5", "again.h5", "several.h5"].map(|name| folder.path(name));
    let encode = |rows: &str, output: &str, flags: &[&str]| {
        let base = [
            "encode", DIGITS, "-m", &model, "--rows", rows, "-o", output, "--json", "--force",
        ];
        let told = works(&[&base[..], flags].concat());
        let told: serde_json::Value = serde_json::from_str(&told).expect("one object");
        assert_eq!(told["succeeded"], told["samples"], "{told}");
    };
    let read = |path: &str, name: &str| {
        let file = hdf5::File::open(path).expect("it is there");
        file.dataset(name)
            .expect("it is there")
            .read_raw::<f64>()
            .expect("numbers")
    };
    let sum = |path: &str, name: &str| read(path, name).iter().sum::<f64>();
    encode("0..1437", &codes, &[]);
    encode("1437..1537", &plain, &[]);
    encode("1437..1537", &several, &["--starts-from", &codes, "--starts", "5"]);
    // No end is worse than the best of the others by more than what is left of the way.
    assert!(sum(&several, "loss") < sum(&plain, "loss") + 1e-4);
    // Every start is a code of the file, and the starts of a row are those whose data are nearest.
    let (z, known) = (read(&several, "z_start"), read(&codes, "z"));
    for start in z.chunks(8) {
        assert!(known.chunks(8).any(|code| code == start));
    }
    let ranks = read(&several, "start");
    assert!(ranks.iter().all(|rank| *rank < 5.0) && ranks.iter().any(|rank| *rank > 0.0));
    assert!(read(&several, "minima").iter().all(|minima| *minima >= 1.0));
    // Rows that the file has start where they ended; in mixed precision an evaluation more confirms them.
    encode("0..100", &again, &["--starts-from", &codes, "--precision", "f64"]);
    assert!(
        sum(&again, "evaluations") <= 4.0 * 100.0,
        "{}",
        sum(&again, "evaluations")
    );
    // Lanes, threads and the other rows change no bit.
    let other = folder.path("other.h5");
    encode(
        "1480..1520",
        &other,
        &[
            "--starts-from",
            &codes,
            "--starts",
            "5",
            "--lanes",
            "3",
            "--threads",
            "1",
        ],
    );
    for name in ["z", "z_start"] {
        assert_eq!(read(&other, name), read(&several, name)[43 * 8..83 * 8], "{name}");
    }
    let refused = |flags: &[&str], code: i32, words: &[&str]| {
        let base = ["encode", DIGITS, "-m", &model, "-o", &other, "--force", "--starts-from"];
        fails(&[&base[..], flags].concat(), code, words);
    };
    refused(&[&codes, "--solver", "amd"], 2, &["starts_from", "ptc"]);
    refused(&[&codes, "--warm-start"], 2, &["warm_start", "leave out one"]);
    refused(&[&folder.path("none.h5")], 66, &["none.h5"]);
    refused(&[&text("datasets/digits.h5")], 65, &["gfe_layout_version"]);
    let narrow = folder.path("narrow.h5");
    works(&[
        "encode",
        "tests/data/mnist_test_200.h5",
        "-m",
        "tests/data/mnist_decoder.safetensors",
        "--rows",
        "0..3",
        "-o",
        &narrow,
    ]);
    refused(&[&narrow], 65, &["[20]", "[8]"]);
    works(&[
        "encode", DIGITS, "-m", &model, "--rows", "0..3", "-o", &narrow, "--force",
    ]);
    refused(&[&narrow, "--starts", "4"], 2, &["`starts` is 4", "3 codes"]);
    let base = ["encode", DIGITS, "-m", &model, "--force", "--starts-from"];
    fails(
        &[&base[..], &[&codes, "-o", &codes]].concat(),
        73,
        &["is read by this very command"],
    );
}

#[test]
fn error_bars_of_spectral_lines_hold_the_truth_as_often_as_they_say() {
    let folder = Folder::default();
    let plugin = folder.path("libspectral-lines.so");
    let made = std::process::Command::new("make")
        .args(["-C", &text("plugins/spectral-lines")])
        .arg(format!("OUT={plugin}"))
        .output();
    let made = made.expect("make starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (script, config) = (
        "plugins/spectral-lines/coverage.py",
        text("plugins/spectral-lines/coverage.json"),
    );
    let [spectra, lines] = ["spectra.h5", "lines.h5"].map(|name| folder.path(name));
    // Without a horizon; and with that which the spread of the truth stands for, 0.1^2 times 1,001 wavelengths.
    for (ratio, t_end) in [("1000", "inf"), ("100", "10.01")] {
        python(script, &["simulate", &spectra, ratio, "0.1"]);
        let input = format!("{spectra}:/flux");
        let base = [
            "encode",
            &input,
            "--decoder",
            &plugin,
            "--decoder-config",
            &config,
            "--sigma",
            "/sigma",
        ];
        let beside = ["--context", "/redshift", "--context", "/resolution", "--uncertainty"];
        works(&[&base[..], &beside, &["--t-end", t_end, "-o", &lines, "--force"]].concat());
        python(script, &["judge", &lines, &spectra, "check"]);
    }
}
