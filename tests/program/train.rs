//! `gfe train` and encoding with what it wrote.

use crate::{Folder, fails, python, read, text, works};

pub const DIGITS: &str = "datasets/digits.h5:/images";

pub fn trained(folder: &Folder, name: &str, flags: &[&str]) -> String {
    let model = folder.path(name);
    let run = text("datasets/demo.toml");
    let mut arguments = vec![
        "train",
        &run,
        "-o",
        &model,
        "--set",
        "epochs=2",
        "--set",
        "data.rows=0..400",
    ];
    arguments.extend_from_slice(flags);
    works(&arguments);
    model
}

#[test]
fn a_trained_decoder_has_the_same_bytes_whatever_threads_and_lanes() {
    let folder = Folder::default();
    let one = trained(&folder, "one.safetensors", &["--threads", "1", "--lanes", "64"]);
    let two = trained(&folder, "two.safetensors", &["--threads", "2", "--lanes", "5"]);
    let other = trained(&folder, "other.safetensors", &["--set", "train.seed=2"]);
    let bytes = |path: &str| std::fs::read(path).expect("the model file is there");
    assert_eq!(bytes(&one), bytes(&two));
    assert_ne!(bytes(&one), bytes(&other));
}

/// The demo's decoder (elu, bce) and one with relu and mse.
#[test]
fn records_of_trained_decoders_have_the_same_bits_whatever_lanes_threads_and_rows() {
    let folder = Folder::default();
    let elu = trained(&folder, "elu.safetensors", &[]);
    let relu = ["--set", "activation=relu", "--set", "decoder.output=values"];
    let relu = trained(&folder, "relu.safetensors", &relu);
    for model in [elu, relu] {
        let encode = |name: &str, flags: &[&str]| {
            let output = folder.path(name);
            let mut arguments = vec!["encode", DIGITS, "-m", &model, "-o", &output, "--force"];
            arguments.extend(["--gtol", "1e-9", "--edm-tol", "0", "--fail-above", "1"]);
            arguments.extend_from_slice(flags);
            works(&arguments);
            output
        };
        let all = encode("all.h5", &["--rows", "0..300", "--threads", "2"]);
        for (rows, lanes, threads) in [("0..300", "7", "1"), ("100..200", "33", "2"), ("117..118", "1", "1")] {
            let some = encode("some.h5", &["--rows", rows, "--lanes", lanes, "--threads", threads]);
            let (first, last) = rows.split_once("..").expect("a range");
            let range = first.parse::<usize>().expect("a number")..last.parse::<usize>().expect("a number");
            for dataset in [
                "z",
                "loss",
                "grad_norm",
                "edm",
                "status",
                "steps",
                "rejected",
                "evaluations",
                "jvps",
            ] {
                let width = if dataset == "z" { 8 } else { 1 };
                let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                let (of_all, of_some) = (read(&all, dataset), read(&some, dataset));
                let part = &of_all[range.start * width..range.end * width];
                assert_eq!(bits(part), bits(&of_some), "{model} {rows} {dataset}");
            }
        }
    }
}

#[test]
fn encoding_takes_loss_horizon_and_scale_from_the_model_and_flags_win() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &["--t-end", "500"]);
    let config = |flags: &[&str]| {
        let output = folder.path("codes.h5");
        let mut arguments = vec![
            "encode", DIGITS, "-m", &model, "-o", &output, "--rows", "0..20", "--force",
        ];
        arguments.extend_from_slice(flags);
        works(&arguments);
        let note = hdf5::File::open(&output).and_then(|file| file.dataset("entry/process/config/data"));
        let note = note.and_then(|note| note.read_scalar::<hdf5::types::VarLenUnicode>());
        serde_json::from_str::<serde_json::Value>(note.expect("there is a note").as_str()).expect("it is JSON")
    };
    let from_model = config(&[]);
    assert_eq!(from_model["t_end"], 500.0);
    assert_eq!(
        (&from_model["loss"], &from_model["scale"]),
        (&"bce".into(), &0.0625.into())
    );
    let chosen = config(&["--t-end", "20", "--solver", "amd", "--set", "dt_max=5"]);
    assert_eq!(
        (&chosen["t_end"], &chosen["solver"], &chosen["dt_max"]),
        (&20.0.into(), &"amd".into(), &5.0.into())
    );
    let run = folder.write(
        "run.toml",
        "[method]\nt_end = 30.0\ngtol = 1e-4\n[encode]\nrows = \"0..5\"\n",
    );
    let filed = config(&["--config", &run, "--gtol", "1e-5"]);
    assert_eq!((&filed["t_end"], &filed["gtol"]), (&30.0.into(), &1e-5.into()));
}

#[test]
fn wrong_settings_name_the_nearest_right_one() {
    let folder = Folder::default();
    let model = folder.path("model.safetensors");
    let train = |content: &str, code: i32, words: &[&str]| {
        let run = folder.write("run.toml", content);
        fails(&["train", &run, "-o", &model], code, words);
    };
    train("[train]\nlearning_rat = 1\n", 78, &["run.toml", "train.learning_rate"]);
    train("[train]\nbeta1 = 0.5\n", 78, &["optimizer rmsprop", "only to adam"]);
    train("[train]\nepochs = 2\n", 78, &["[decoder]"]);
    train("epochs = 2\n", 78, &["outside the sections"]);
    train("[train\n", 78, &["run.toml", "1"]);
    let decoder = "[decoder]\nlatent = 2\nlayers = [9]\nactivation = \"elu\"\noutput = \"logits\"\n";
    train(
        &format!("{decoder}[data]\ninput = \"{}\"\n", DIGITS),
        78,
        &["64 values", "9"],
    );
    train(decoder, 2, &["data.input"]);
    train(
        &format!("{decoder}[method]\nsolver = \"pct\"\n"),
        78,
        &["pct", "the nearest is ptc"],
    );
    let huge = "[decoder]\nlatent = 2\nlayers = [100000000000, 64]\nactivation = \"elu\"\noutput = \"logits\"\n";
    train(
        &format!("{huge}[data]\ninput = \"{DIGITS}\"\n"),
        71,
        &["memory", "layers"],
    );
    fails(
        &["train", &folder.path("absent.toml"), "-o", &model],
        66,
        &["absent.toml"],
    );
}

#[test]
fn a_start_from_a_file_of_codes_continues_where_they_stopped() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &["--t-end", "inf"]);
    let (first, again) = (folder.path("first.h5"), folder.path("again.h5"));
    let encode = |output: &str, flags: &[&str]| {
        let mut arguments = vec![
            "encode",
            DIGITS,
            "-m",
            &model,
            "-o",
            output,
            "--gtol",
            "1e-6",
            "--edm-tol",
            "0",
        ];
        arguments.extend_from_slice(flags);
        works(&arguments);
    };
    encode(&first, &[]);
    encode(&again, &["--z0", &format!("{first}:/z")]);
    assert_eq!(read(&first, "z"), read(&again, "z"));
    assert!(read(&again, "steps").iter().all(|steps| *steps == 0.0));
    let random = folder.path("random.h5");
    encode(&random, &["--z0", "uniform", "--seed", "3", "--rows", "5..9"]);
    assert_ne!(read(&random, "loss_initial"), read(&first, "loss_initial")[5..9]);
    let wrong = format!("{first}:/loss");
    let flags = ["encode", DIGITS, "-m", &model, "-o", &random, "--force", "--z0"];
    fails(&[&flags[..], &[&wrong]].concat(), 65, &["[1797, 8] is needed"]);
    fails(&[&flags[..], &["unifrm"]].concat(), 2, &["zeros, fill=C, uniform"]);
}

fn json(said: &str) -> serde_json::Value {
    serde_json::from_str(said).expect("it is JSON")
}

#[test]
fn an_evaluation_is_the_mean_of_an_encoding() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &[]);
    let codes = folder.path("codes.h5");
    works(&["encode", DIGITS, "-m", &model, "-o", &codes, "--rows", "500..600"]);
    let losses = read(&codes, "loss");
    let mean = losses.iter().sum::<f64>() / losses.len() as f64;
    let told = json(&works(&[
        "evaluate", DIGITS, "-m", &model, "--rows", "500..600", "--json",
    ]));
    let found = told["loss"].as_f64().expect("a number");
    assert!((found - mean).abs() < 1e-12, "{found} {mean}");
    assert_eq!((&told["samples"], &told["succeeded"]), (&100.into(), &100.into()));
    let (unseen, seen) = (&told["held_out"]["loss"], &told["held_out"]["seen_loss"]);
    assert!(unseen.as_f64() > seen.as_f64(), "{told}");
}

/// The cost that is promised for the decoder of the method's authors, at their size of a mini-batch.
#[test]
fn a_training_image_costs_at_most_180_forward_passes() {
    let folder = Folder::default();
    let run = std::fs::read_to_string(text("benches/training/steady.toml")).expect("it is there");
    let run = folder.write(
        "run.toml",
        &run.replace("validation_rows = \"50000..50300\"", "validation = 8"),
    );
    let digits = format!("data.input={}", text("tests/data/mnist_test_200.h5"));
    let told = works(&[
        "train",
        &run,
        "-o",
        &folder.path("model"),
        "--json",
        "--set",
        &digits,
        "--set",
        "data.rows=0..200",
        "--set",
        "epochs=2",
    ]);
    let told = json(&told);
    let units = told["units"].as_f64().expect("a number");
    assert!(units > 20.0 && units <= 180.0, "{told}");
}

/// Losses that fall below 0 are no sign of divergence.
#[test]
fn counts_are_trained_on_below_a_loss_of_zero() {
    let folder = Folder::default();
    let counts = folder.path("counts.h5");
    let file = hdf5::File::create(&counts).expect("a file can be made");
    let values = ndarray::Array2::from_shape_fn((200, 12), |(b, i)| (6.0 + 5.0 * (b as f64 + i as f64).sin()).round());
    file.new_dataset_builder()
        .with_data(&values)
        .create("counts")
        .expect("it can be written");
    drop(file);
    let decoder = "[decoder]\nlatent = 2\nlayers = [16, 12]\nactivation = \"elu\"\noutput = \"log_rates\"\n";
    let data = format!(
        "[data]\ninput = \"{counts}:/counts\"\n[train]\noptimizer = \"adam\"\nlearning_rate = 1e-2\nepochs = 8\n"
    );
    let run = folder.write("run.toml", &format!("{decoder}{data}"));
    let told = works(&["train", &run, "-o", &folder.path("model"), "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).expect("it is JSON");
    assert!(told["loss"].as_f64().expect("a number") < -3.0, "{told}");
    assert!(std::path::Path::new(&folder.path("model.history.h5")).exists());
}

#[test]
fn principal_components_are_those_of_numpy() {
    let folder = Folder::default();
    let decoder = "[decoder]\nlatent = 5\nlayers = [30, 64]\nactivation = \"elu\"\noutput = \"logits\"\n";
    let data = format!("[data]\ninput = \"{DIGITS}\"\nrows = \"0..1000\"\nvalidation = 0\n[method]\nscale = 0.0625\n");
    let run = folder.write("run.toml", &format!("{decoder}{data}[train]\nmethod = \"pca\"\n"));
    let model = folder.path("pca.safetensors");
    works(&["train", &run, "-o", &model]);
    // To the last digits: by default a code may leave a thousandth of its loss.
    let exact = ["--edm-tol", "0", "--gtol", "1e-12"];
    let evaluate = ["evaluate", DIGITS, "-m", &model, "--rows", "1000..1797", "--json"];
    let told = works(&[&evaluate[..], &exact].concat());
    let loss = json(&told)["loss"].to_string();
    python("tests/check_pca.py", &[&text("datasets/digits.h5"), "1000", "5", &loss]);
    // As probabilities they have a cross entropy.
    let told = works(&[
        "evaluate",
        DIGITS,
        "-m",
        &model,
        "--rows",
        "1000..1797",
        "--score",
        "bce",
        "--json",
    ]);
    let score = json(&told)["loss"].as_f64().expect("a number");
    assert!(score > 0.2 && score < 0.5, "{score}");
}

/// What the model file records of a training's samples.
fn counts(model: &str) -> (u64, u64) {
    let file = gfe_io::ModelFile::read(std::path::Path::new(model)).expect("the model can be read");
    let train = &file.training.expect("it was trained")["train"];
    let count = |name: &str| train[name].as_u64().expect("a number");
    (count("samples"), count("validation_samples"))
}

#[test]
fn samples_are_selected_and_split_as_asked() {
    let folder = Folder::default();
    let labels = read(&text("datasets/digits.h5"), "labels");
    let with = |sets: &[&str]| {
        let mut flags = vec!["--force", "--set", "epochs=1", "--set", "regression_samples=0"];
        for set in sets {
            flags.extend(["--set", set]);
        }
        counts(&trained(&folder, "model.safetensors", &flags))
    };
    assert_eq!(with(&["validation=0.25"]), (300, 100));
    assert_eq!(with(&["validation=30"]), (370, 30));
    let fours = labels[..400]
        .iter()
        .filter(|label| **label == 4.0 || **label == 7.0)
        .count() as u64;
    assert_eq!(with(&["data.select=labels=4,7", "validation=0"]), (fours, 0));
    // Ten groups, the labels: three of them are held out whole.
    let (training, validation) = with(&["data.groups=labels", "validation=3"]);
    let sizes: Vec<u64> = (0..10)
        .map(|label| labels[..400].iter().filter(|of| **of == f64::from(label)).count() as u64)
        .collect();
    let sums = |chosen: u32| {
        (0..10)
            .filter(|label| chosen >> label & 1 == 1)
            .map(|label| sizes[label as usize])
            .sum::<u64>()
    };
    let whole = (0..1 << 10_u32).any(|chosen: u32| chosen.count_ones() == 3 && sums(chosen) == validation);
    assert!(
        training + validation == 400 && whole,
        "{training} {validation} of {sizes:?}"
    );
    let run = text("datasets/demo.toml");
    let model = folder.path("other.safetensors");
    let refused = |set: &str, code, words: &[&str]| fails(&["train", &run, "-o", &model, "--set", set], code, words);
    refused("data.select=labels=42", 65, &["no row has labels=42"]);
    refused("data.select=labels", 2, &["DATASET=VALUE"]);
    refused("data.groups=object", 65, &["object", "no such dataset"]);
    refused("validation=5000", 65, &["5000", "1437"]);
    refused(
        "validation_rows=0..5",
        2,
        &["`validation_rows` and `data.validation` are both set"],
    );
    refused("validation=1e-4", 2, &["none would be held out"]);
    let content = std::fs::read_to_string(&run).expect("it is there");
    let rows = |range: &str| content.replace("validation = 0.1", &format!("validation_rows = \"{range}\""));
    let run = folder.write("rows.toml", &rows("1500..1600"));
    let model = folder.path("rows.safetensors");
    let train = |run: &str| {
        works(&[
            "train",
            run,
            "-o",
            &model,
            "--force",
            "--set",
            "epochs=1",
            "--set",
            "data.select=labels=4,7",
        ])
    };
    train(&run);
    let of = |range: std::ops::Range<usize>| {
        labels[range]
            .iter()
            .filter(|label| **label == 4.0 || **label == 7.0)
            .count() as u64
    };
    assert_eq!(counts(&model), (of(0..1437), of(1500..1600)));
    let run = folder.write("both.toml", &rows("1430..1440"));
    fails(
        &["train", &run, "-o", &model, "--force"],
        2,
        &["row 1430 is trained on too"],
    );
}

#[test]
fn no_file_that_is_read_is_written_and_no_row_that_is_bad_is_trained_on() {
    let folder = Folder::default();
    let run = text("datasets/demo.toml");
    let file = folder.path("data.h5");
    let opened = hdf5::File::create(&file).expect("a file can be made");
    let mut values = ndarray::Array2::from_shape_fn((60, 64), |(b, i)| 0.5 + 0.5 * (b as f64 * 0.7 + i as f64).sin());
    (values[[3, 5]], values[[7, 0]]) = (f64::NAN, 2.0);
    opened
        .new_dataset_builder()
        .with_data(&values)
        .create("images")
        .expect("it can be written");
    opened
        .new_dataset_builder()
        .with_data(&[0.5; 60])
        .create("sigma")
        .expect("it can be written");
    drop(opened);
    let input = format!("data.input={file}:/images");
    let base = [
        "train",
        &run,
        "--set",
        &input,
        "--set",
        "method.scale=1",
        "--set",
        "data.rows=0..60",
        "--set",
        "epochs=2",
    ];
    let base = [&base[..], &["--force"]].concat();
    let sigma = format!("data.sigma={file}:/sigma");
    for output in [file.clone(), folder.path("data.history.h5")] {
        let to = [
            "-o",
            &output,
            "--set",
            &sigma,
            "--set",
            "decoder.output=values",
            "--history",
            &file,
        ];
        fails(&[&base[..], &to].concat(), 73, &["is read by this very command"]);
    }
    let same = folder.path("one.safetensors");
    fails(
        &[&base[..], &["-o", &same, "--history", &same]].concat(),
        73,
        &["one.safetensors"],
    );
    let nowhere = folder.path("nowhere/model.safetensors");
    fails(&[&base[..], &["-o", &nowhere]].concat(), 73, &["nowhere"]);
    let model = folder.path("model.safetensors");
    let said = crate::gfe(&[&base[..], &["-o", &model]].concat());
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("2 of 54 rows are bad_input") && !said.contains("raise max_steps"),
        "{said}"
    );
    let content = std::fs::read_to_string(&run).expect("it is there");
    let (decoder, _) = content.split_once("[train]").expect("the section stands last");
    let decoder = decoder.replace("[method]", "[encode]").replace("solver = \"ptc\"", "");
    let pca = folder.write(
        "pca.toml",
        &format!("{}[train]\nmethod = \"pca\"\n", keep(&decoder, &["decoder", "data"])),
    );
    let pca = [
        "train",
        &pca,
        "--set",
        &input,
        "--set",
        "method.scale=1",
        "--set",
        "data.rows=0..60",
        "-o",
        &model,
        "--force",
    ];
    works(&pca);
    let written = gfe_io::ModelFile::read(std::path::Path::new(&model)).expect("the model can be read");
    // A component is all but the one value that only row 7 has otherwise: of that value's error nothing is known.
    for (name, tensor) in &written.tensors {
        let unknown = |i: usize| name == "gfe.noise" && i == 0;
        let mut values = tensor.values.iter().enumerate();
        assert!(values.all(|(i, value)| value.is_finite() != unknown(i)), "{name}");
    }
    fails(
        &[&pca[..], &["--solver", "amd"]].concat(),
        78,
        &["method.solver", "does not apply to method pca"],
    );
}

/// The sections of a run file with these names.
fn keep(run: &str, sections: &[&str]) -> String {
    let mut kept = String::new();
    for part in run.split("\n[").map(|part| part.trim_start_matches('[')) {
        if sections.iter().any(|name| part.starts_with(&format!("{name}]"))) {
            kept += &format!("[{part}\n");
        }
    }
    kept
}

#[test]
fn codes_of_an_encoder_network_and_a_learned_start_are_kept_with_the_model() {
    let folder = Folder::default();
    let auto = trained(&folder, "auto.safetensors", &["--set", "train.method=autoencoder"]);
    let learned = trained(&folder, "learned.safetensors", &["--set", "train.start=learned"]);
    let codes = |model: &str, z0: &[&str]| {
        let output = folder.path("codes.h5");
        let arguments = [
            "encode",
            DIGITS,
            "-m",
            model,
            "-o",
            &output,
            "--rows",
            "0..50",
            "--force",
            "--precision",
            "f64",
        ];
        works(&[&arguments[..], z0].concat());
        (read(&output, "loss_initial"), output)
    };
    let told = works(&["evaluate", DIGITS, "-m", &auto, "--rows", "0..50", "--json"]);
    let by_encoder = json(&told)["encoder"]["loss"].as_f64().expect("a number");
    let (initial, _) = codes(&auto, &["--z0", "encoder"]);
    let mean = initial.iter().sum::<f64>() / 50.0;
    assert!((mean - by_encoder).abs() < 1e-12, "{mean} {by_encoder}");
    let (_, output) = codes(&learned, &[]);
    let z0 = read(&output, "z0");
    assert!(z0.len() == 50 * 8 && z0[..8] == z0[8..16] && z0[..8].iter().any(|z| *z != 0.0));
    let output = folder.path("no.h5");
    let without = ["encode", DIGITS, "-m", &auto, "-o", &output, "--z0", "learned"];
    fails(&without, 2, &["holds no learned z0", "start = \"learned\""]);
}

#[test]
fn gradients_through_the_integration_and_the_minimum_train_too() {
    let folder = Folder::default();
    let loss = |name: &str, flags: &[&str]| {
        let model = trained(
            &folder,
            name,
            &[&["--set", "data.rows=0..60", "--set", "regression_samples=0"], flags].concat(),
        );
        let file = gfe_io::ModelFile::read(std::path::Path::new(&model)).expect("the model can be read");
        file.training.expect("it was trained")["train"]["loss"]
            .as_f64()
            .expect("a number")
    };
    let short = ["--t-end", "50", "--set", "gradient=adjoint"];
    let euler = loss("euler", &[&short[..], &["--solver", "euler", "--steps", "50"]].concat());
    let bdf = loss("bdf", &[&short[..], &["--solver", "bdf"]].concat());
    // Euler's steps of 1 are near the flow, whose loss lies within a few percent.
    assert!((euler - bdf).abs() < 0.05 * bdf, "{euler} {bdf}");
    let hidden = loss("hidden", &["--set", "gradient=implicit", "--set", "hide=0.5"]);
    assert!(hidden > 0.2 && hidden < 0.8, "{hidden}");
}
