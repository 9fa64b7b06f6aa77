//! Every status that a row can end with, produced by the program, with its sentence.

use crate::{Folder, gfe, read};
use gfe_io::ModelFile;
use gfe_ode::Status;
use std::path::Path;

const MODEL: &str = "tests/data/mnist_decoder.safetensors";
const DIGITS: &str = "tests/data/mnist_test_200.h5";

/// Encodes two rows; gives the statuses and what was said.
fn run(input: &str, model: &str, flags: &str) -> (Vec<f64>, String) {
    let folder = Folder::default();
    let output = folder.path("codes.h5");
    let flags: Vec<&str> = flags.split(' ').collect();
    let always = [
        "encode",
        input,
        "-m",
        model,
        "-o",
        &output,
        "--fail-above",
        "1",
        "--rows",
        "0..2",
    ];
    let ran = gfe(&[&always, &flags[..]].concat());
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.success(), "{flags:?}: {said}");
    (read(&output, "status"), said)
}

fn expect(status: Status, (found, said): (Vec<f64>, String)) {
    assert_eq!(found, [f64::from(status as i8); 2], "{said}");
    let sentence = format!("2 {}: {}", status.name(), status.advice());
    assert!(said.contains(&sentence), "no `{sentence}` in: {said}");
}

/// A decoder of digits that gives infinity less infinity at z = 1e10.
fn broken(folder: &Folder) -> String {
    let config = serde_json::json!({"decoder": "dense", "latent": 1, "layers": [2, 784], "activation": "relu", "output": "logits"});
    let decoder: gfe_model::dense::DenseConfig = serde_json::from_value(config.clone()).expect("a dense decoder");
    let decoder = gfe_model::dense::Dense::new(decoder).expect("its sizes are valid");
    let specs = gfe_model::Decoder::tensors(&decoder);
    let mut params = vec![1e300; specs.iter().map(gfe_model::TensorSpec::len).sum()];
    // The second layer: rows of (huge, -huge), no bias.
    params[4..4 + 2 * 784]
        .chunks_mut(2)
        .for_each(|row| row.copy_from_slice(&[1e300, -1e300]));
    let path = folder.path("broken.safetensors");
    let file = ModelFile::new(config, None, &specs, &params).expect("the lengths agree");
    file.write(Path::new(&path)).expect("it can be written");
    path
}

#[test]
fn every_status_comes_with_its_sentence() {
    let folder = Folder::default();
    let digits = |flags: &str| run(DIGITS, MODEL, flags);
    let mut seen = Vec::new();
    let mut check = |status: Status, result| {
        expect(status, result);
        seen.push(status);
    };
    check(Status::Converged, digits("--solver ptc"));
    check(Status::HorizonReached, digits("--solver euler --t-end 1 --steps 2"));
    check(Status::MaxSteps, digits("--max-steps 2"));
    // At z0 = 0 such an error allows no step that moves the clock.
    check(
        Status::StepTooSmall,
        digits("--solver tsit45 --rtol 1e-13 --atol 1e-300"),
    );
    check(Status::Stagnated, digits("--gtol 0 --edm-tol 0"));
    // Squares of the logits from a far start: their sum overflows.
    check(Status::NotFinite, digits("--loss mse --z0 fill=1e200"));
    check(Status::SolveFailed, digits("--solver bdf --rtol 1e-13 --atol 1e-30"));
    check(Status::DecoderFailed, run(DIGITS, &broken(&folder), "--z0 fill=1e10"));
    check(Status::BadInput, digits("--scale 2"));
    assert_eq!(seen, Status::ALL);
}

#[test]
fn rows_that_are_called_converged_far_from_a_minimum_are_told() {
    let gaussian = "--loss gaussian --sigma 0.5 --t-end 50";
    let far = "2 rows called converged lie more than an error bar from a minimum";
    let (_, said) = run(DIGITS, MODEL, &format!("{gaussian} --solver amd"));
    assert!(said.contains(far), "{said}");
    let (_, said) = run(DIGITS, MODEL, gaussian);
    assert!(!said.contains("error bar"), "{said}");
}

#[test]
fn forced_steps_are_counted_and_told() {
    let (_, said) = run(
        DIGITS,
        MODEL,
        "--solver amd --set armijo=1e6 --set max_backtracks=3 --t-end 50",
    );
    assert!(said.contains("forced"), "{said}");
}
