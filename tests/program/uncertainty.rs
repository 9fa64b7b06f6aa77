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
