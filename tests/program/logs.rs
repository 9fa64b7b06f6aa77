//! What stands on stderr: sentences for people, or events for programs.

use crate::train::{DIGITS, trained};
use crate::{Folder, gfe, text};
use serde_json::Value;

/// Every line as JSON.
fn events(stderr: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(stderr);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// 30 rows, of which 3 and 7 have a NaN and 20 a value out of the loss's range.
fn data(folder: &Folder) -> String {
    let path = folder.path("data.h5");
    let value = |i: usize| match i {
        200 | 450 => f64::NAN,
        1290 => 1e3,
        i => (i % 16) as f64,
    };
    let values: Vec<f64> = (0..30 * 64).map(value).collect();
    let file = hdf5::File::create(&path).expect("it can be made");
    let dataset = file
        .new_dataset::<f64>()
        .shape((30, 64))
        .create("y")
        .expect("it can be made");
    dataset.write_raw(&values).expect("there is room");
    path
}

#[test]
fn a_failed_sample_is_one_event_with_its_row_and_reason_and_none_by_default() {
    let folder = Folder::default();
    let (model, data, output) = (
        trained(&folder, "model.safetensors", &[]),
        data(&folder),
        folder.path("codes.h5"),
    );
    let encode = |flags: &[&str]| {
        let command = [
            "encode",
            &data,
            "-m",
            &model,
            "-o",
            &output,
            "--force",
            "--fail-above",
            "1",
        ];
        gfe(&[&command[..], flags].concat())
    };
    let quiet = encode(&[]);
    let said = String::from_utf8_lossy(&quiet.stderr);
    assert!(
        said.contains("3 bad_input") && !said.contains("sample failed"),
        "{said}"
    );
    let shown = encode(&["--log-level", "info"]);
    assert_eq!(
        String::from_utf8_lossy(&shown.stderr).matches("sample failed").count(),
        3
    );

    let ran = encode(&["--log-format", "json"]);
    assert!(ran.status.success());
    let events = events(&ran.stderr);
    let failed: Vec<&Value> = events
        .iter()
        .filter(|event| event["message"] == "sample failed")
        .collect();
    let rows: Vec<u64> = failed.iter().filter_map(|event| event["row"].as_u64()).collect();
    assert_eq!(rows, [3, 7, 20]);
    for event in &failed {
        assert_eq!(
            (&event["level"], &event["status"]),
            (&"INFO".into(), &"bad_input".into())
        );
        assert!(
            event["reason"].as_str().is_some_and(|reason| reason.len() > 10),
            "{event}"
        );
        assert!(event["timestamp"].is_string(), "{event}");
    }
    // The sums come as events too, so that every line is JSON; and fewer on request.
    assert!(events.iter().any(|event| event["message"] == "30 samples"));
    assert!(
        encode(&["--log-format", "json", "--log-level", "warn"])
            .stderr
            .is_empty()
    );
}

#[test]
fn a_training_tells_epochs_and_checkpoints_and_an_error_is_an_event_with_its_exit_code() {
    let folder = Folder::default();
    let (model, run) = (folder.path("model.safetensors"), text("datasets/demo.toml"));
    let sets = ["--set", "epochs=2", "--set", "data.rows=0..200"];
    let ran = gfe(&[&["train", &run, "-o", &model, "--log-format", "json"], &sets[..]].concat());
    assert!(ran.status.success());
    let events = events(&ran.stderr);
    let epochs: Vec<&Value> = events.iter().filter(|event| event["message"] == "epoch").collect();
    assert_eq!(
        epochs.iter().map(|event| event["epoch"].as_u64()).collect::<Vec<_>>(),
        [Some(1), Some(2)]
    );
    assert!(
        epochs[1]["loss"].as_f64().is_some_and(|loss| loss > 0.0),
        "{}",
        epochs[1]
    );
    assert!(epochs[1]["validation_loss"].is_f64(), "{}", epochs[1]);
    assert!(events.iter().any(|event| event["message"] == "checkpoint"));

    let ran = gfe(&[
        "--log-format",
        "json",
        "encode",
        DIGITS,
        "-m",
        "absent.safetensors",
        "-o",
        &folder.path("a.h5"),
    ]);
    let events = self::events(&ran.stderr);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (&events[0]["level"], &events[0]["exit_code"]),
        (&"ERROR".into(), &66.into())
    );
    assert!(
        events[0]["message"]
            .as_str()
            .is_some_and(|text| text.contains("absent.safetensors"))
    );
}
