//! `gfe train` and encoding with what it wrote.

use crate::{Folder, fails, read, text, works};

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
