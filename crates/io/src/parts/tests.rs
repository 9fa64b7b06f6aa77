use std::fs;

use super::*;
use crate::{EncodedLayout, EncodedRow, EncodedRows, EncodedWriter, TracePoint};
use gfe_model::Cols;
use hdf5::types::VarLenUnicode;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const ROWS: usize = 20;

fn layout(samples: usize) -> EncodedLayout {
    EncodedLayout {
        samples,
        latent: 2,
        z0: Some(0.0),
        trace: true,
        trace_z: true,
        statuses: vec![(0, "converged".to_owned())],
        ..EncodedLayout::default()
    }
}

fn manifest(t_end: f64) -> Manifest {
    let identity = json!({"config": {"t_end": t_end}, "input": {"path": "y.h5"}});
    Manifest {
        rows: 0..ROWS,
        identity: identity.as_object().cloned().unwrap_or_default(),
        environment: json!({"gfe": "test"}),
        skeleton_sha256: String::new(),
    }
}

/// The part of `rows`: every value tells its row, and row i has i % 3 states on the way.
fn part(rows: Range<usize>) -> Vec<u8> {
    let records: Vec<EncodedRow> = rows
        .clone()
        .map(|row| EncodedRow {
            sample: row as i64,
            loss: 0.5 * row as f64,
            ..EncodedRow::default()
        })
        .collect();
    let z: Vec<f64> = rows.clone().flat_map(|row| [row as f64, -(row as f64)]).collect();
    let traces: Vec<Vec<TracePoint>> = rows
        .clone()
        .map(|row| {
            (0..row % 3)
                .map(|i| TracePoint {
                    t: i as f64,
                    loss: row as f64,
                    grad_norm: 0.0,
                    z: vec![row as f64, i as f64],
                })
                .collect()
        })
        .collect();
    let sha256: Vec<[u8; 32]> = rows.clone().map(|row| [row as u8; 32]).collect();
    let mut writer = EncodedWriter::create(Path::new("part"), &layout(rows.len())).unwrap();
    writer
        .write(&EncodedRows {
            rows: &records,
            z: Cols::from_column_major_slice(&z, 2, rows.len()),
            z0: None,
            weights: None,
            reconstruction: None,
            z_start: None,
            z_physical: None,
            uncertainty: None,
            traces: Some(&traces),
            sha256: &sha256,
            input: rows.clone(),
        })
        .unwrap();
    let mut notes = manifest(1.0).identity;
    let messages: Map<String, Value> = rows
        .filter(|row| row % 7 == 0)
        .map(|row| (row.to_string(), json!("why")))
        .collect();
    notes.insert("messages".into(), Value::Object(messages));
    let notes: Vec<(String, String)> = notes.into_iter().map(|(name, note)| (name, note.to_string())).collect();
    writer.finish(&notes).unwrap()
}

fn begin(output: &Path, t_end: f64, hold: Hold, force: bool) -> Result<Parts, IoError> {
    let skeleton = EncodedWriter::skeleton(output, &layout(ROWS)).unwrap();
    Parts::begin(output, (manifest(t_end), &skeleton), (hold, 0..ROWS), force)
}

/// The output that parts with these rows merge into.
fn merged(cuts: &[Range<usize>]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("z.h5");
    let mut parts = begin(&output, 1.0, Hold::Whole, false).unwrap();
    for cut in cuts {
        parts.commit(cut.clone(), &part(cut.clone())).unwrap();
    }
    write_merged(&parts, &parts.temporary()).unwrap();
    parts.publish(true).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    fs::read(output).unwrap()
}

#[test]
fn any_cut_into_parts_and_parts_that_overlap_merge_to_the_same_bytes() {
    let whole = merged(std::slice::from_ref(&(0..20)));
    assert!(merged(&[0..7, 7..8, 8..20]) == whole);
    assert!(merged(&[13..20, 0..9, 5..14]) == whole);
    assert!(merged(&[0..20, 3..5]) == whole);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("z.h5");
    fs::write(&path, whole).unwrap();
    let file = hdf5::File::open(&path).unwrap();
    let reals = |name: &str| file.dataset(name).unwrap().read_raw::<f64>().unwrap();
    assert_eq!(
        reals("loss"),
        (0..20).map(|row| 0.5 * f64::from(row)).collect::<Vec<_>>()
    );
    let states: Vec<f64> = (0..20).flat_map(|row| vec![f64::from(row); row as usize % 3]).collect();
    assert_eq!(reals("trace_loss"), states);
    assert_eq!(reals("obs"), (0..states.len()).map(|i| i as f64).collect::<Vec<_>>());
    let note = |name: &str| -> Value {
        let data = file.dataset(&format!("entry/process/{name}/data")).unwrap();
        serde_json::from_str(data.read_scalar::<VarLenUnicode>().unwrap().as_str()).unwrap()
    };
    assert_eq!(note("messages"), json!({"0": "why", "7": "why", "14": "why"}));
    assert_eq!(note("input")["rows"], json!([0, 20]));
}

#[test]
fn a_run_goes_on_with_the_parts_that_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("z.h5");
    let mut parts = begin(&output, 1.0, Hold::Whole, false).unwrap();
    parts.commit(4..9, &part(4..9)).unwrap();
    parts.commit(12..15, &part(12..15)).unwrap();
    let broken = parts.parts()[1].path.clone();
    drop(parts);
    let mut bytes = fs::read(&broken).unwrap();
    bytes[700] ^= 1;
    fs::write(&broken, bytes).unwrap();
    let parts = begin(&output, 1.0, Hold::Whole, false).unwrap();
    assert_eq!((parts.damaged(), parts.parts().len()), (1, 1));
    assert_eq!(parts.missing(0..20), [0..4, 9..20]);
    assert_eq!(parts.missing(2..6), std::slice::from_ref(&(2..4)));
    assert!(matches!(
        write_merged(&parts, &parts.temporary()),
        Err(IoError::RowsMissing { rows, .. }) if rows == [0..4, 9..20]
    ));
}

#[test]
fn parts_of_other_settings_are_kept_unless_they_are_to_be_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("z.h5");
    let mut parts = begin(&output, 1.0, Hold::Whole, false).unwrap();
    parts.commit(0..20, &part(0..20)).unwrap();
    drop(parts);
    let error = begin(&output, 2.0, Hold::Whole, false).unwrap_err();
    assert_eq!(error.exit_code(), 73);
    assert!(
        error.to_string().contains("config.t_end: 1.0 there, 2.0 now"),
        "{error}"
    );
    assert_eq!(begin(&output, 1.0, Hold::Whole, false).unwrap().parts().len(), 1);
    assert_eq!(begin(&output, 2.0, Hold::Whole, true).unwrap().parts().len(), 0);
}

#[test]
fn a_part_of_another_output_is_not_merged() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("z.h5");
    let mut parts = begin(&output, 2.0, Hold::Whole, false).unwrap();
    parts.commit(0..20, &part(0..20)).unwrap();
    let error = write_merged(&parts, &parts.temporary()).unwrap_err();
    assert!(error.to_string().contains("config.t_end"), "{error}");
    assert!(!parts.temporary().exists());
}

#[test]
fn a_part_that_names_another_files_values_is_not_merged() {
    let folder = tempfile::tempdir().unwrap();
    let (output, secret) = (folder.path().join("z.h5"), folder.path().join("secret"));
    fs::write(&secret, [1; 8 * ROWS]).unwrap();
    let mut parts = begin(&output, 1.0, Hold::Whole, false).unwrap();
    // A sound part, whose losses are exchanged for what lies in another file.
    let hostile = folder.path().join("hostile.h5");
    fs::write(&hostile, part(0..ROWS)).unwrap();
    let file = hdf5::File::open_rw(&hostile).unwrap();
    file.unlink("loss").unwrap();
    file.new_dataset::<f64>()
        .shape(ROWS)
        .external(secret.to_str().unwrap(), 0, 8 * ROWS)
        .create("loss")
        .unwrap();
    file.close().unwrap();
    parts.commit(0..ROWS, &fs::read(&hostile).unwrap()).unwrap();
    let error = write_merged(&parts, &parts.temporary()).unwrap_err();
    assert!(matches!(error, IoError::ForeignStorage { .. }), "{error}");
    assert!(!output.exists() && !parts.temporary().exists());
}

#[test]
fn shares_work_side_by_side_and_a_whole_run_alone() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("z.h5");
    let share = |i| Hold::Share { i, n: 2 };
    let held =
        |result: Result<Parts, IoError>| matches!(result, Err(error @ IoError::Held { .. }) if error.exit_code() == 75);
    let mut first = begin(&output, 1.0, share(1), false).unwrap();
    let mut second = begin(&output, 1.0, share(2), false).unwrap();
    assert!(held(begin(&output, 1.0, share(2), false)));
    assert!(held(begin(&output, 1.0, Hold::Whole, false)) && held(Parts::open(&output)));
    assert!(Parts::peek(&output).unwrap().running);
    first.commit(0..10, &part(0..10)).unwrap();
    second.commit(10..20, &part(10..20)).unwrap();
    drop((first, second));
    let parts = Parts::open(&output).unwrap();
    assert!(parts.missing(0..20).is_empty());
    parts.remove().unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn without_a_manifest_nothing_in_the_folder_counts_and_foreign_files_stay() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("z.h5");
    let mut parts = begin(&output, 1.0, Hold::Whole, false).unwrap();
    parts.commit(0..20, &part(0..20)).unwrap();
    drop(parts);
    let inside = Parts::folder(&output);
    fs::remove_file(inside.join(MANIFEST)).unwrap();
    fs::write(inside.join("notes.txt"), "mine").unwrap();
    let parts = begin(&output, 1.0, Hold::Whole, false).unwrap();
    assert!(parts.parts().is_empty());
    parts.remove().unwrap();
    assert_eq!(fs::read(inside.join("notes.txt")).unwrap(), b"mine");
}

#[test]
fn a_disk_without_room_is_told_before_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let parts = begin(&folder.path().join("z.h5"), 1.0, Hold::Whole, false).unwrap();
    parts.check_space(1).unwrap();
    let error = parts.check_space(1 << 60).unwrap_err();
    assert!(
        matches!(error, IoError::NoSpace { .. }) && error.exit_code() == 74,
        "{error}"
    );
    let error = begin(&folder.path().join("none/z.h5"), 1.0, Hold::Whole, false).unwrap_err();
    assert_eq!(error.exit_code(), 73, "{error}");
}

#[test]
fn names_of_parts_are_exact() {
    let named = |name: &str| Part::named(Path::new(name)).map(|part| part.rows);
    assert_eq!(named("rows-000000000003-000000000009-0123456789abcdef.h5"), Some(3..9));
    for name in [
        "rows-3-9-0123456789abcdef.h5",
        "rows-000000000009-000000000003-0123456789abcdef.h5",
        "rows-000000000003-000000000009-0123456789abcdef.h5.tmp-12",
        "rows-000000000003-000000000009.h5",
        "rows-+00000000003-000000000009-0123456789abcdef.h5",
    ] {
        assert_eq!(named(name), None, "{name}");
    }
}

proptest! {
    #[test]
    fn bytes_are_a_manifest_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Manifest::parse(&bytes).is_err());
    }

    #[test]
    fn a_manifest_with_changed_bytes_is_one_or_an_error(at in 0_usize..1000, byte: u8) {
        let mut bytes = manifest(1.0).to_json().into_bytes();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(read) = Manifest::parse(&bytes) {
            prop_assert!(read.rows.start <= read.rows.end);
        }
    }

    #[test]
    fn what_is_missing_and_what_is_taken_fill_the_rows(cuts in proptest::collection::vec((0_usize..20, 1_usize..8), 0..8)) {
        let mut parts: Vec<Part> = cuts
            .iter()
            .map(|(first, len)| Part { rows: *first..first + len, path: PathBuf::new(), sha256: String::new() })
            .collect();
        parts.sort_by_key(|part| (part.rows.start, part.rows.end));
        let gaps = missing(&parts, 0..20);
        for row in 0..20 {
            let inside = parts.iter().any(|part| part.rows.contains(&row));
            prop_assert_eq!(gaps.iter().any(|gap| gap.contains(&row)), !inside);
        }
        prop_assert!(gaps.iter().all(|gap| gap.start < gap.end));
    }
}
