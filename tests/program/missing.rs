//! Missing and uncertain values: masks, weights, errors, declared and undeclared NaN.

use crate::{Folder, fails, gfe, python, read, works};
use gfe_io::ModelFile;
use gfe_model::dense::{Dense, DenseConfig};
use gfe_model::{Decoder, TensorSpec};
use hdf5::types::VarLenUnicode;
use serde_json::json;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

const MODEL: &str = "tests/data/mnist_decoder.safetensors";
const DIGITS: &str = "tests/data/mnist_test_200.h5";
/// Samples and values of the small data.
const N: usize = 30;
const D: usize = 10;
/// Losses with what their decoders give.
const LOSSES: [(&str, &str); 4] = [
    ("mse", "values"),
    ("gaussian", "values"),
    ("bce", "logits"),
    ("poisson", "log_rates"),
];

/// A number between 0 and 1 that looks like chance.
fn chance(i: usize) -> f64 {
    ((i as f64 * 12.9898).sin() * 43758.5453).rem_euclid(1.0)
}

/// A decoder of two latents that gives these of ten values.
fn decoder(folder: &Folder, output: &str, values: &[usize]) -> String {
    let config = |last: usize| {
        json!({"decoder": "dense", "latent": 2, "layers": [6, last], "activation": "tanh",
        "output": output})
    };
    let dense = |last: usize| -> Dense {
        let config: DenseConfig = serde_json::from_value(config(last)).expect("a dense decoder");
        Dense::new(config).expect("its sizes are valid")
    };
    let length: usize = dense(D).tensors().iter().map(TensorSpec::len).sum();
    let all: Vec<f64> = (0..length).map(|i| 2.0 * chance(i + 7) - 1.0).collect();
    // The first layer, then rows of the second, then its biases.
    let (first, second) = all.split_at(6 * 2 + 6);
    let rows = values.iter().flat_map(|i| second[6 * i..6 * (i + 1)].to_vec());
    let biases = values.iter().map(|i| second[6 * D + i]);
    let params: Vec<f64> = first.iter().copied().chain(rows).chain(biases).collect();
    let path = folder.path(&format!("{output}-{}.safetensors", values.len()));
    let file = ModelFile::new(config(values.len()), None, &dense(values.len()).tensors(), &params);
    file.and_then(|file| file.write(Path::new(&path)))
        .expect("it can be written");
    path
}

/// A file to write to. A process that another test starts holds, for an instant, the locks of the files that are open here.
fn opened(path: &str) -> hdf5::File {
    let mut tries = (0..100).map(|_| hdf5::File::append(path));
    tries
        .find_map(|opened| opened.inspect_err(|_| sleep(Duration::from_millis(20))).ok())
        .unwrap_or_else(|| panic!("{path} can be opened"))
}

/// Writes a dataset.
fn put<T: hdf5::H5Type>(path: &str, name: &str, shape: &[usize], values: &[T]) {
    let file = opened(path);
    let dataset = file.new_dataset::<T>().shape(shape.to_vec()).create(name);
    dataset
        .and_then(|dataset| dataset.write_raw(values))
        .expect("there is room");
}

/// Gives a dataset an attribute.
fn declare<T: hdf5::H5Type>(path: &str, dataset: &str, attribute: &str, values: &[T]) {
    let file = opened(path);
    let dataset = file.dataset(dataset).expect("it is there");
    let made = dataset.new_attr::<T>().shape(values.len()).create(attribute);
    made.and_then(|made| made.write_raw(values)).expect("there is room");
}

/// The small data: counts between 0 and 1, whatever the loss.
fn small() -> Vec<f64> {
    (0..N * D).map(chance).collect()
}

/// Which of them are missing: a third, and all of row 4.
fn missing() -> Vec<bool> {
    (0..N * D).map(|i| i / D == 4 || chance(i + 1000) < 0.33).collect()
}

/// A file with the data as `y`, `hidden` where they are missing, and the mask.
fn masked(folder: &Folder, name: &str, hidden: impl Fn(usize) -> f64) -> String {
    let path = folder.path(name);
    let there = small().into_iter().zip(missing()).enumerate();
    let values: Vec<f64> = there
        .map(|(i, (y, missing))| if missing { hidden(i) } else { y })
        .collect();
    put(&path, "y", &[N, D], &values);
    let mask: Vec<u8> = missing().into_iter().map(u8::from).collect();
    put(&path, "mask", &[N, D], &mask);
    path
}

/// Encodes `y` of a file; every row may fail.
fn encode(data: &str, model: &str, flags: &[&str]) -> String {
    let output = format!("{data}.codes.h5");
    let input = format!("{data}:/y");
    let always = [
        "encode",
        &input,
        "-m",
        model,
        "-o",
        &output,
        "--force",
        "--fail-above",
        "1",
    ];
    works(&[&always, flags].concat());
    output
}

/// The bits of datasets.
fn bits(file: &str, names: &[&str]) -> Vec<u64> {
    names
        .iter()
        .flat_map(|name| read(file, name))
        .map(f64::to_bits)
        .collect()
}

const RESULTS: [&str; 7] = [
    "z",
    "loss",
    "loss_initial",
    "grad_norm",
    "n_valid",
    "status",
    "evaluations",
];

#[test]
fn of_two_thousand_rows_those_with_undeclared_nan_or_out_of_range_are_flagged_and_no_other_feels_them() {
    let folder = Folder::default();
    let digits = read(DIGITS, "images");
    let row = |i: usize| -> Vec<f64> {
        let fade = 1.0 - 0.05 * (i / 200) as f64;
        digits[(i % 200) * 784..(i % 200 + 1) * 784]
            .iter()
            .map(|y| y * fade)
            .collect()
    };
    let kind = |i: usize| i % 100;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for i in 0..2000 {
        let mut y = row(i);
        match kind(i) {
            17 => y[i % 784] = f64::NAN,
            42 => y[i % 784] = if i % 200 == 42 { 1.5 } else { -0.5 },
            77 => y.fill(0.25),
            _ => without.extend_from_slice(&y),
        }
        with.extend(y);
    }
    let (data, clean) = (folder.path("with.h5"), folder.path("without.h5"));
    put(&data, "y", &[2000, 784], &with);
    put(&clean, "y", &[1940, 784], &without);
    let run = |data: &str, flags: &[&str]| {
        let (input, output) = (format!("{data}:/y"), format!("{data}.codes.h5"));
        let ran = gfe(&[
            &["encode", &input, "-m", MODEL, "-o", &output, "--force", "--json"],
            flags,
        ]
        .concat());
        (ran.status.code(), output)
    };
    let (code, output) = run(&data, &[]);
    assert_eq!(code, Some(0), "2% are within the 5% that may fail");
    let (_, expected) = run(&clean, &[]);
    let status = read(&output, "status");
    for (i, status) in status.iter().enumerate() {
        let bad = [17, 42].contains(&kind(i));
        assert_eq!(*status == 8.0, bad, "row {i}");
        assert!(bad || *status <= 1.0, "row {i}: {status}");
    }
    for name in ["z", "loss", "grad_norm", "evaluations", "chi2"] {
        let (found, clean) = (read(&output, name), read(&expected, name));
        let width = clean.len() / 1940;
        let others = (0..2000).filter(|i| ![17, 42, 77].contains(&kind(*i)));
        let found = others.flat_map(|i| found[i * width..(i + 1) * width].to_vec());
        assert!(
            found.map(f64::to_bits).eq(clean.iter().map(|value| value.to_bits())),
            "{name}"
        );
    }
    assert_eq!(run(&data, &["--fail-above", "0"]).0, Some(1));
    assert_eq!(read(&output, "status"), status, "it is written all the same");
}

/// h5py and netCDF-4 write truth values and labels as enumerations, whose integers are what counts.
#[test]
fn truth_values_are_a_mask_and_are_kept_as_numbers() {
    let folder = Folder::default();
    let model = decoder(&folder, "values", &(0..D).collect::<Vec<_>>());
    let data = masked(&folder, "named.h5", |_| f64::NAN);
    put(&data, "flags", &[N, D], &missing());
    put(&data, "odd", &[N], &(0..N).map(|i| i % 2 == 1).collect::<Vec<bool>>());
    let expected = bits(&encode(&data, &model, &["--mask", "mask"]), &RESULTS);
    let output = encode(&data, &model, &["--mask", "flags", "--keep", "odd"]);
    assert_eq!(bits(&output, &RESULTS), expected);
    let odd: Vec<f64> = (0..N).map(|i| (i % 2) as f64).collect();
    assert_eq!(read(&output, "odd"), odd);
}

/// Masked outputs might as well not exist: D l, its gradient and the codes are those of the decoder without them. One mask for
/// all rows, so that there is such a decoder.
#[test]
fn a_masked_encoding_is_that_of_a_decoder_without_the_masked_outputs() {
    let folder = Folder::default();
    let kept = [0, 2, 3, 6, 7, 9];
    for (loss, output) in LOSSES {
        let (whole, part) = (
            decoder(&folder, output, &(0..D).collect::<Vec<_>>()),
            decoder(&folder, output, &kept),
        );
        let (data, less) = (
            folder.path(&format!("{loss}.h5")),
            folder.path(&format!("{loss}-less.h5")),
        );
        put(&data, "y", &[N, D], &small());
        let mask: Vec<i32> = (0..D).map(|i| -i32::from(!kept.contains(&i))).collect();
        put(&data, "mask", &[D], &mask);
        let values: Vec<f64> = (0..N).flat_map(|b| kept.map(|i| small()[b * D + i])).collect();
        put(&less, "y", &[N, kept.len()], &values);
        let exact = ["--loss", loss, "--edm-tol", "0", "--gtol", "1e-13"];
        let masked = encode(
            &data,
            &whole,
            &[&exact[..], &["--t-end", "100", "--mask", "mask"]].concat(),
        );
        // The horizon's term is |z|^2 / (2 t_end) beside a mean over D values.
        let expected = encode(&less, &part, &[&exact[..], &["--t-end", "60"]].concat());
        assert!(read(&masked, "n_valid").iter().all(|n| *n == 6.0));
        // Rounding of a few operations, in a loss and a code that are of order 1.
        for name in ["loss", "loss_initial"] {
            for (one, other) in read(&masked, name).iter().zip(read(&expected, name)) {
                assert!((10.0 * one - 6.0 * other).abs() < 1e-12, "{loss} {name}: {one} {other}");
            }
        }
        for (one, other) in read(&masked, "z").iter().zip(read(&expected, "z")) {
            assert!((one - other).abs() < 1e-7, "{loss}: {one} {other}");
        }
    }
}

#[test]
fn what_stands_under_a_mask_changes_no_bit_of_any_result() {
    let folder = Folder::default();
    for (loss, output) in LOSSES {
        let model = decoder(&folder, output, &(0..D).collect::<Vec<_>>());
        let clean = masked(&folder, &format!("{loss}-0.h5"), |_| 0.5);
        let dirty = masked(&folder, &format!("{loss}-1.h5"), |i| {
            [f64::NAN, 1e300, -7.0, f64::INFINITY][i % 4]
        });
        for flags in [
            &["--solver", "ptc"][..],
            &["--solver", "amd", "--trace"],
            &["--solver", "tsit5", "--t-end", "50"],
            &["--starts", "3"],
            &["--reconstruction"],
        ] {
            let flags = [&["--loss", loss, "--mask", "mask"], flags].concat();
            let names = match flags[3..].contains(&"--trace") {
                true => [&RESULTS[..], &["trace_loss"]].concat(),
                false => RESULTS.to_vec(),
            };
            let [one, other] = [&clean, &dirty].map(|data| bits(&encode(data, &model, &flags), &names));
            assert!(one == other, "{loss} {flags:?}");
        }
        let output = encode(&dirty, &model, &["--loss", loss, "--mask", "mask"]);
        let valid: Vec<f64> = missing()
            .chunks(D)
            .map(|row| row.iter().filter(|missing| !**missing).count() as f64)
            .collect();
        assert_eq!(read(&output, "n_valid"), valid, "{loss}");
        for (row, status) in read(&output, "status").iter().enumerate() {
            assert_eq!(
                *status == 8.0,
                row == 4,
                "{loss}: only row 4 has no value left, row {row}"
            );
        }
    }
}

#[test]
fn every_way_to_declare_a_missing_value_comes_to_the_same_bits() {
    let folder = Folder::default();
    let model = decoder(&folder, "values", &(0..D).collect::<Vec<_>>());
    let expected = bits(
        &encode(&masked(&folder, "mask.h5", |_| 3.0), &model, &["--mask", "mask"]),
        &RESULTS,
    );
    let same = |data: &str, flags: &[&str], what: &str| {
        assert!(bits(&encode(data, &model, flags), &RESULTS) == expected, "{what}");
    };
    let data = masked(&folder, "fill.h5", |_| -999.0);
    declare(&data, "y", "_FillValue", &[-999.0_f64]);
    same(&data, &[], "_FillValue");
    let data = masked(&folder, "list.h5", |i| [-999.0, -998.0][i % 2]);
    declare(&data, "y", "missing_value", &[-999_i16, -998]);
    same(&data, &[], "two of another type");
    let data = masked(&folder, "both.h5", |i| [-999.0, -998.0][i % 2]);
    declare(&data, "y", "missing_value", &[-999_i64]);
    declare(&data, "y", "_FillValue", &[-998.0_f32]);
    same(&data, &[], "one in each attribute");
    let data = masked(&folder, "nan.h5", |_| f64::NAN);
    same(&data, &["--nan-missing"], "NaN that is said to be missing");
    let undeclared = encode(&data, &model, &[]);
    let with_nan: Vec<bool> = missing().chunks(D).map(|row| row.contains(&true)).collect();
    for (row, status) in read(&undeclared, "status").iter().enumerate() {
        assert_eq!(
            *status == 8.0,
            with_nan[row],
            "nothing declares the NaN of row {row} missing"
        );
    }
    declare(&data, "y", "_FillValue", &[f64::NAN]);
    same(&data, &[], "NaN as _FillValue");
    let weights: Vec<f32> = missing()
        .into_iter()
        .map(|missing| f32::from(u8::from(!missing)))
        .collect();
    put(&data, "weight", &[N, D], &weights);
    same(&data, &["--weight", "weight"], "weight 0");
    let sigma: Vec<f64> = missing()
        .iter()
        .map(|missing| if *missing { f64::INFINITY } else { 1.0 })
        .collect();
    put(&data, "sigma", &[N, D], &sigma);
    same(&data, &["--sigma", "sigma", "--loss", "mse"], "sigma infinite");
    // Where a value is missing nobody looks for its error, and an error that is missing tells nothing of a value.
    let broken: Vec<f64> = missing()
        .iter()
        .map(|missing| if *missing { -1.0 } else { 1.0 })
        .collect();
    put(&data, "broken", &[N, D], &broken);
    same(
        &data,
        &["--sigma", "broken", "--loss", "mse"],
        "no sigma for what is missing",
    );
    let data = masked(&folder, "sigma.h5", |_| 0.5);
    put(&data, "sigma", &[N, D], &broken);
    declare(&data, "sigma", "missing_value", &[-1.0_f64]);
    same(&data, &["--sigma", "sigma", "--loss", "mse"], "a sigma that is missing");
}

#[test]
fn a_marker_is_compared_as_the_dataset_stores_it_and_one_that_cannot_be_understood_is_refused() {
    let folder = Folder::default();
    let model = decoder(&folder, "values", &(0..D).collect::<Vec<_>>());
    let valid = |data: &str, flags: &[&str]| read(&encode(data, &model, flags), "n_valid");
    let file = |name: &str| folder.path(name);
    let row = |with: f64| -> Vec<f64> { (0..D).map(|i| if i < 3 { with } else { i as f64 }).collect() };
    let data = file("single.h5");
    put(
        &data,
        "y",
        &[1, D],
        &row(-999.9).iter().map(|y| *y as f32).collect::<Vec<_>>(),
    );
    declare(&data, "y", "_FillValue", &[-999.9_f64]);
    assert_eq!(valid(&data, &[]), [7.0], "a double marks single precision");
    let data = file("short.h5");
    put(
        &data,
        "y",
        &[1, D],
        &row(-32768.0).iter().map(|y| *y as i16).collect::<Vec<_>>(),
    );
    declare(&data, "y", "missing_value", &[-32768.0_f64]);
    // The marker is what is stored, whatever the factor.
    assert_eq!(valid(&data, &["--scale", "0.5"]), [7.0]);
    let data = file("byte.h5");
    put(
        &data,
        "y",
        &[1, D],
        &row(255.0).iter().map(|y| *y as u8).collect::<Vec<_>>(),
    );
    declare(&data, "y", "missing_value", &[-1_i8, 7]);
    assert_eq!(valid(&data, &[]), [9.0], "no byte is -1, and one is 7");
    let data = file("text.h5");
    put(&data, "y", &[1, D], &row(-999.0));
    {
        let opened = opened(&data).dataset("y").expect("it is there");
        let text: VarLenUnicode = "-999".parse().expect("a text");
        let made = opened.new_attr::<VarLenUnicode>().shape(()).create("_FillValue");
        made.and_then(|made| made.write_scalar(&text)).expect("there is room");
    }
    let output = file("none.h5");
    let refuse = |data: &str, words: &[&str]| {
        fails(
            &["encode", &format!("{data}:/y"), "-m", &model, "-o", &output],
            65,
            words,
        );
        assert!(!Path::new(&output).exists());
    };
    refuse(&data, &["_FillValue", "a number", "mend or delete"]);
    let data = file("many.h5");
    put(&data, "y", &[1, D], &row(-999.0));
    declare(&data, "y", "missing_value", &[0.0_f64; 65]);
    refuse(&data, &["missing_value", "65", "64"]);
}

#[test]
fn weights_and_errors_have_their_shapes_and_their_meaning() {
    let folder = Folder::default();
    let model = decoder(&folder, "values", &(0..D).collect::<Vec<_>>());
    let data = masked(&folder, "data.h5", |_| 0.5);
    let sigma: Vec<f64> = (0..D).map(|i| 0.1 + 0.05 * i as f64).collect();
    let everywhere: Vec<f64> = (0..N).flat_map(|_| sigma.clone()).collect();
    let weight: Vec<f64> = everywhere.iter().map(|sigma| 0.25 * sigma.powi(-2)).collect();
    let each: Vec<f64> = (0..N).map(|b| 0.1 + 0.01 * b as f64).collect();
    let each_everywhere: Vec<f64> = each.iter().flat_map(|sigma| [*sigma; D]).collect();
    put(&data, "sigma", &[D], &sigma);
    put(&data, "sigma_row", &[1, D], &sigma);
    put(&data, "sigma_whole", &[N, D], &everywhere);
    put(&data, "each", &[N], &each);
    put(&data, "each_whole", &[N, D], &each_everywhere);
    let twice: Vec<f64> = everywhere.iter().map(|sigma| 2.0 * sigma).collect();
    put(&data, "twice", &[N, D], &twice);
    put(&data, "ivar", &[N, D], &weight);
    put(&data, "wrong", &[N, D + 1], &vec![1.0; N * (D + 1)]);
    put(&data, "negative", &[D], &[-1.0; D]);
    let with = |flags: &[&str]| encode(&data, &model, &[flags, &["--mask", "mask", "--uncertainty"]].concat());
    let names = [&RESULTS[..], &["z_std", "chi2"]].concat();
    let of = |flags: &[&str]| bits(&with(flags), &names);
    let whole = of(&["--sigma", "sigma_whole"]);
    assert!(of(&["--sigma", "sigma"]) == whole && of(&["--sigma", "sigma_row"]) == whole);
    assert!(of(&["--sigma", "each"]) == of(&["--sigma", "each_whole"]));
    // Under gaussian a weight is 1/sigma^2 in units of the input, whatever factor these are read with.
    let losses = |flags: &[&str]| read(&with(flags), "loss");
    for scale in ["1", "2"] {
        let by_weight = losses(&["--weight", "ivar", "--loss", "gaussian", "--scale", scale]);
        let by_sigma = losses(&["--sigma", "twice", "--scale", scale]);
        for (row, (one, other)) in by_weight.iter().zip(&by_sigma).enumerate().filter(|(row, _)| *row != 4) {
            assert!((one - other).abs() < 1e-9 * other, "row {row}: {one} {other}");
        }
    }
    let ran = encode(&data, &model, &["--weight", "negative"]);
    assert!(read(&ran, "status").iter().all(|status| *status == 8.0));
    let input = format!("{data}:/y");
    let refuse = |flags: &[&str], code: i32, words: &[&str]| {
        let always = ["encode", &input, "-m", &model, "-o", "/dev/null/none.h5"];
        fails(&[&always, flags].concat(), code, words);
    };
    refuse(
        &["--weight", "ivar", "--sigma", "sigma"],
        2,
        &["both say how much", "leave out one"],
    );
    refuse(&["--mask", "wrong"], 65, &["mask", "[30, 11]", "[30, 10]", "[10]"]);
    refuse(&["--mask", "each"], 65, &["[30]", "[10]"]);
    refuse(
        &["--sigma", "sigma", "--loss", "bce"],
        2,
        &["errors of their own", "`mask`"],
    );
    refuse(&["--mask", "nothing"], 66, &["nothing"]);
}

#[test]
fn reconstructions_of_missing_values_are_flagged() {
    let folder = Folder::default();
    let model = decoder(&folder, "log_rates", &(0..D).collect::<Vec<_>>());
    let data = masked(&folder, "data.h5", |_| -1.0);
    let output = encode(
        &data,
        &model,
        &["--loss", "poisson", "--mask", "mask", "--reconstruction"],
    );
    python("tests/check_missing.py", &[&output, &data]);
    let bare = encode(&data, &model, &["--loss", "poisson", "--reconstruction"]);
    let file = hdf5::File::open(bare).expect("it is there");
    assert!(
        file.dataset("reconstruction_filled").is_err(),
        "nothing says that a value may be missing"
    );
}

#[test]
fn a_conversion_takes_the_markers_along() {
    let folder = Folder::default();
    let model = decoder(&folder, "values", &(0..D).collect::<Vec<_>>());
    let data = masked(&folder, "data.h5", |i| [-999.0, -998.0, f64::NAN][i % 3]);
    declare(&data, "y", "_FillValue", &[f64::NAN]);
    declare(&data, "y", "missing_value", &[-999.0_f64, -998.0]);
    let (converted, output) = (folder.path("converted.h5"), folder.path("codes.h5"));
    works(&["convert", &format!("{data}:/y"), &converted]);
    let input = format!("{converted}:/data");
    works(&["encode", &input, "-m", &model, "-o", &output, "--fail-above", "1"]);
    assert!(bits(&output, &RESULTS) == bits(&encode(&data, &model, &[]), &RESULTS));
    // Row 4 alone has no value.
    assert_eq!(
        read(&output, "status").iter().filter(|status| **status == 8.0).count(),
        1
    );
}

#[test]
fn a_training_with_masks_does_not_see_what_stands_under_them_and_its_regression_neither() {
    let folder = Folder::default();
    let run = |name: &str, hidden: &dyn Fn(usize) -> f64| {
        let data = masked(&folder, name, hidden);
        let model = format!("{data}.safetensors");
        let input = format!("data.input={data}:/y");
        let config = folder.write(
            "run.toml",
            "[decoder]\ndecoder = \"dense\"\nlatent = 2\nlayers = [6, 10]\nactivation = \"tanh\"\noutput = \"values\"\n\
             [data]\nmask = \"mask\"\nvalidation = 5\nheld_out = 0.5\n[train]\nepochs = 2\nbatch_size = 4\n",
        );
        works(&["train", &config, "-o", &model, "--force", "--set", &input]);
        let input = format!("{data}:/y");
        let told = works(&[
            "evaluate",
            &input,
            "-m",
            &model,
            "--mask",
            "mask",
            "--held-out",
            "0.5",
            "--json",
        ]);
        let told: serde_json::Value = serde_json::from_str(&told).expect("it is JSON");
        let losses = [&told["loss"], &told["held_out"]["loss"]].map(|loss| loss.as_f64().expect("a number"));
        let codes = bits(&encode(&data, &model, &["--mask", "mask", "--warm-start"]), &RESULTS);
        let file = ModelFile::read(Path::new(&model)).expect("it is a model file");
        assert!(file.tensors.contains_key("gfe.warm_start.mean"));
        let values = file.tensors.into_values().flat_map(|tensor| tensor.values);
        let tensors: Vec<u64> = values.map(f64::to_bits).collect();
        (tensors, losses, codes)
    };
    let clean = run("clean.h5", &|_| 0.5);
    assert!(clean.1.iter().all(|loss| loss.is_finite() && *loss > 0.0));
    assert!(run("dirty.h5", &|i| [f64::NAN, 1e300, -7.0][i % 3]) == clean);
}
