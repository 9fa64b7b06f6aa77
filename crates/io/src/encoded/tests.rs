use std::fs;

use super::*;
use crate::listing::dimension_names;
use crate::{H5Input, InputPath};
use gfe_model::{Axis, DatasetSource, Dim};
use hdf5::File;

fn layout() -> EncodedLayout {
    let axis = |name: &str, len| Axis {
        dim: Dim {
            name: name.to_owned(),
            len,
        },
        values: None,
    };
    EncodedLayout {
        samples: 3,
        latent: 2,
        axes: vec![axis("y", 2), axis("loss", 4)],
        reconstruction: true,
        z0: Some(0.0),
        statuses: vec![(0, "converged".to_owned()), (1, "end_of_time".to_owned())],
        attributes: vec![("title".to_owned(), "three samples".to_owned())],
        ..EncodedLayout::default()
    }
}

fn row(sample: i64) -> EncodedRow {
    EncodedRow {
        sample,
        status: 1,
        loss: 0.5 * sample as f64,
        steps: 7,
        factorizations: 3,
        ..EncodedRow::default()
    }
}

/// Writes three rows to `path`, two and then one.
fn write(path: &Path) {
    let z = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let x: Vec<f64> = (0..24).map(f64::from).collect();
    let rows = [row(10), row(11), row(12)];
    let mut writer = EncodedWriter::create(path, &layout()).unwrap();
    for part in [0..2, 2..3] {
        let (z, x) = (&z[2 * part.start..2 * part.end], &x[8 * part.start..8 * part.end]);
        let batch = EncodedRows {
            rows: &rows[part.clone()],
            z: Cols::from_column_major_slice(z, 2, part.len()),
            reconstruction: Some(Cols::from_column_major_slice(x, 8, part.len())),
            z0: None,
            weights: None,
            z_start: None,
            z_physical: None,
            uncertainty: None,
            traces: None,
            sha256: &SHA256[part],
            input: 0..0,
        };
        writer.write(&batch).unwrap();
    }
    let image = writer.finish(&[("config".to_owned(), "{}".to_owned())]).unwrap();
    fs::write(path, image).unwrap();
}

/// Hashes of this many rows.
const SHA256: [[u8; 32]; 3] = [[7; 32]; 3];

#[test]
fn what_is_written_has_named_dimensions_and_the_rows_given() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("z.h5");
    write(&path);
    let file = File::open(&path).unwrap();
    let reals = |name: &str| file.dataset(name).unwrap().read_raw::<f64>().unwrap();
    assert_eq!(reals("z"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(reals("loss"), [5.0, 5.5, 6.0]);
    assert_eq!(reals("sample"), [10.0, 11.0, 12.0]);
    assert_eq!(
        file.dataset("factorizations").unwrap().read_raw::<u32>().unwrap(),
        [3, 3, 3]
    );
    let x = file.dataset("reconstruction").unwrap();
    assert_eq!(x.shape(), [3, 2, 4]);
    let expected: Vec<f64> = (0..24).map(f64::from).collect();
    assert_eq!(x.read_raw::<f64>().unwrap(), expected);
    let names: Vec<String> = dimension_names(&file, &x).into_iter().flatten().collect();
    assert_eq!(
        names,
        ["sample", "y", "feature_1"],
        "an axis called like a result gets another name"
    );
    let input = H5Input::open(
        &InputPath {
            file: path,
            dataset: Some("/z".to_owned()),
        },
        None,
    )
    .unwrap();
    assert_eq!(
        input.shape().dims,
        [Dim {
            name: "latent".to_owned(),
            len: 2
        }]
    );
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a.h5", "b.h5"].map(|name| folder.path().join(name));
    write(&a);
    // HDF5 keeps times in seconds: a time in the file would differ.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    write(&b);
    assert!(fs::read(&a).unwrap() == fs::read(&b).unwrap());
}

#[test]
fn rows_that_are_missing_are_an_error() {
    let writer = EncodedWriter::create(Path::new("z.h5"), &layout()).unwrap();
    let error = writer.finish(&[]).unwrap_err();
    assert!(
        matches!(
            error,
            IoError::RowsDoNotFit {
                expected: 3,
                found: 0,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn traces_initial_latents_and_an_axis_coordinates_are_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("z.h5");
    let mut with = EncodedLayout {
        z0: None,
        trace: true,
        trace_z: true,
        ..layout()
    };
    with.axes[0].values = Some(vec![380.5, 750.25]);
    let point = |t| TracePoint {
        t,
        loss: 2.0 * t,
        grad_norm: 0.1,
        z: vec![t, -t],
    };
    let traces = [vec![point(1.0), point(2.0)], vec![], vec![point(3.0)]];
    let (z, x) = ([0.5; 6], [0.0; 24]);
    let mut writer = EncodedWriter::create(&path, &with).unwrap();
    for part in [0..1, 1..3] {
        let z = Cols::from_column_major_slice(&z[..2 * part.len()], 2, part.len());
        let batch = EncodedRows {
            rows: &[row(1), row(2), row(3)][part.clone()],
            z,
            z0: Some(z),
            reconstruction: Some(Cols::from_column_major_slice(&x[..8 * part.len()], 8, part.len())),
            weights: None,
            z_start: None,
            z_physical: None,
            uncertainty: None,
            traces: Some(&traces[part.clone()]),
            sha256: &SHA256[part.clone()],
            input: part,
        };
        writer.write(&batch).unwrap();
    }
    fs::write(&path, writer.finish(&[]).unwrap()).unwrap();
    let file = File::open(&path).unwrap();
    let reals = |name: &str| file.dataset(name).unwrap().read_raw::<f64>().unwrap();
    assert_eq!(reals("trace_row_size"), [2.0, 0.0, 1.0]);
    assert_eq!(reals("trace_t"), [1.0, 2.0, 3.0]);
    assert_eq!(reals("trace_loss"), [2.0, 4.0, 6.0]);
    assert_eq!(reals("trace_z"), [1.0, -1.0, 2.0, -2.0, 3.0, -3.0]);
    assert_eq!(reals("z0"), [0.5; 6]);
    assert_eq!(reals("y"), [380.5, 750.25]);
}
