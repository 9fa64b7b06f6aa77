use std::fs;

use gfe_model::ColsMut;
use ndarray::{Array1, Array2, Array3, ArrayD, IxDyn};

use super::*;

/// A folder with a file `d.h5` that `fill` fills.
fn file(fill: impl FnOnce(&File)) -> (tempfile::TempDir, InputPath) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.h5");
    fill(&File::create(&path).unwrap());
    (
        folder,
        InputPath {
            file: path,
            dataset: None,
        },
    )
}

/// The samples `ids`, column after column.
fn columns(input: &mut H5Input, ids: &[usize]) -> Vec<f64> {
    let rows = input.shape().values();
    let mut y = vec![f64::NAN; rows * ids.len()];
    let to = TargetsMut {
        y: ColsMut::from_column_major_slice_mut(&mut y, rows, ids.len()),
        w: None,
    };
    input.read(ids, to).unwrap();
    y
}

fn digits() -> InputPath {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/mnist_test_200.h5");
    InputPath {
        file: PathBuf::from(data),
        dataset: Some("/images".to_owned()),
    }
}

#[test]
fn a_path_is_split_at_its_last_colon_before_a_slash() {
    let both = InputPath::parse("a:b/c.h5:/x/y");
    assert_eq!(
        both,
        InputPath {
            file: "a:b/c.h5".into(),
            dataset: Some("/x/y".to_owned())
        }
    );
    assert_eq!(both.to_string(), "a:b/c.h5:/x/y");
    assert_eq!(
        InputPath::parse("c.h5"),
        InputPath {
            file: "c.h5".into(),
            dataset: None
        }
    );
}

#[test]
fn digits_come_in_the_order_asked_for() {
    let mut input = H5Input::open(&digits(), None).unwrap();
    assert_eq!(
        (input.shape().samples, input.shape().values(), input.scale()),
        (200, 784, 1.0)
    );
    assert_eq!(
        input.shape().dims[1],
        Dim {
            name: "feature_1".to_owned(),
            len: 28
        }
    );
    let whole: ArrayD<f64> = open_file(&digits().file)
        .unwrap()
        .dataset("images")
        .unwrap()
        .read_dyn()
        .unwrap();
    let ids = [7, 8, 9, 3, 199, 3];
    let expected: Vec<f64> = ids
        .iter()
        .flat_map(|id| {
            whole
                .index_axis(ndarray::Axis(0), *id)
                .iter()
                .copied()
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(columns(&mut input, &ids), expected);
}

#[test]
fn unsigned_bytes_are_scaled_to_one_unless_told_otherwise() {
    let data = Array2::from_shape_vec((2, 2), vec![0_u8, 51, 255, 1]).unwrap();
    let (_folder, path) = file(|file| drop(file.new_dataset_builder().with_data(&data).create("x").unwrap()));
    let byte = 1.0 / 255.0;
    assert_eq!(
        columns(&mut H5Input::open(&path, None).unwrap(), &[0, 1]),
        [0.0, 51.0 * byte, 255.0 * byte, byte]
    );
    assert_eq!(
        columns(&mut H5Input::open(&path, Some(2.0)).unwrap(), &[1]),
        [510.0, 2.0]
    );
}

#[test]
fn every_integer_and_float_type_is_read() {
    let (_folder, path) = file(|file| {
        let column = |name: &str| format!("c_{name}");
        file.new_dataset_builder()
            .with_data(&Array1::from(vec![-5_i16, 6]))
            .create(&*column("i16"))
            .unwrap();
        file.new_dataset_builder()
            .with_data(&Array1::from(vec![-5_i64, 6]))
            .create(&*column("i64"))
            .unwrap();
        file.new_dataset_builder()
            .with_data(&Array1::from(vec![-5_f32, 6.0]))
            .create(&*column("f32"))
            .unwrap();
        file.new_dataset_builder()
            .with_data(&Array1::from(vec![-5_f64, 6.0]))
            .create(&*column("f64"))
            .unwrap();
    });
    for name in ["/c_i16", "/c_i64", "/c_f32", "/c_f64"] {
        let path = InputPath {
            dataset: Some(name.to_owned()),
            ..path.clone()
        };
        let mut input = H5Input::open(&path, None).unwrap();
        assert!(
            input.shape().dims.is_empty(),
            "a sample of a rank 1 dataset is a number"
        );
        assert_eq!(columns(&mut input, &[1, 0]), [6.0, -5.0], "{name}");
    }
}

#[test]
fn absent_weights_are_one_and_a_sample_out_of_range_is_refused() {
    let mut input = H5Input::open(&digits(), None).unwrap();
    let (mut y, mut w) = (vec![0.0; 784], vec![0.0; 784]);
    let to = TargetsMut {
        y: ColsMut::from_column_major_slice_mut(&mut y, 784, 1),
        w: Some(ColsMut::from_column_major_slice_mut(&mut w, 784, 1)),
    };
    input.read(&[0], to).unwrap();
    assert_eq!(w, [1.0; 784]);
    let to = TargetsMut {
        y: ColsMut::from_column_major_slice_mut(&mut y, 784, 1),
        w: None,
    };
    let error = input.read(&[200], to).unwrap_err();
    assert!(
        error.message.contains("sample 200") && error.message.contains("there are 200"),
        "{error}"
    );
}

#[test]
fn labels_of_the_axes_are_their_names() {
    let (_folder, path) = file(|file| {
        let x = file
            .new_dataset_builder()
            .with_data(&Array3::<f32>::zeros((2, 3, 4)))
            .create("x")
            .unwrap();
        let labels: Array1<hdf5::types::VarLenUnicode> =
            ["", "energy", ""].iter().map(|label| label.parse().unwrap()).collect();
        x.new_attr::<hdf5::types::VarLenUnicode>()
            .shape(3)
            .create("DIMENSION_LABELS")
            .unwrap()
            .write(&labels)
            .unwrap();
    });
    let input = H5Input::open(&path, None).unwrap();
    let names: Vec<&str> = input.shape().dims.iter().map(|dim| &*dim.name).collect();
    assert_eq!(names, ["energy", "feature_1"]);
}

#[test]
fn a_dataset_that_is_not_there_is_answered_with_those_that_are() {
    let error = H5Input::open(
        &InputPath {
            dataset: Some("/image".to_owned()),
            ..digits()
        },
        None,
    )
    .unwrap_err();
    assert!(
        matches!(&error, IoError::NoDataset { numeric, .. } if numeric == &["/images"]),
        "{error}"
    );
    assert_eq!(error.exit_code(), 66);
    let (_folder, two) = file(|file| {
        let group = file.create_group("g").unwrap();
        group.new_dataset_builder().with_data(&[1.0]).create("a").unwrap();
        file.new_dataset_builder().with_data(&[1_u8]).create("b").unwrap();
        file.link_soft("/b", "c").unwrap();
    });
    let error = H5Input::open(&two, None).unwrap_err();
    assert!(
        matches!(&error, IoError::NotUnique { numeric, .. } if numeric == &["/b", "/g/a"]),
        "{error}"
    );
}

#[test]
fn files_that_are_not_hdf5_or_not_there_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = InputPath {
        file: folder.path().join("text.h5"),
        dataset: None,
    };
    assert_eq!(H5Input::open(&path, None).unwrap_err().exit_code(), 66);
    fs::write(&path.file, "x,y\n1,2\n").unwrap();
    let error = H5Input::open(&path, None).unwrap_err();
    assert!(matches!(error, IoError::NotHdf5 { .. }), "{error}");
    assert_eq!(error.exit_code(), 65);
}

#[test]
fn text_and_impossible_shapes_are_refused_before_they_are_read() {
    let (_folder, path) = file(|file| {
        let text: Array1<hdf5::types::VarLenUnicode> = ["a", "b"].iter().map(|text| text.parse().unwrap()).collect();
        file.new_dataset_builder().with_data(&text).create("text").unwrap();
        file.new_dataset_builder()
            .with_data(&ArrayD::<u8>::zeros(IxDyn(&[1; 9])))
            .create("deep")
            .unwrap();
        file.new_dataset::<u8>()
            .chunk((1, 1024))
            .shape((4, 1_usize << 40))
            .create("huge")
            .unwrap();
        file.new_dataset::<u8>().shape(()).create("scalar").unwrap();
    });
    let open = |name: &str| {
        H5Input::open(
            &InputPath {
                dataset: Some(name.to_owned()),
                ..path.clone()
            },
            None,
        )
    };
    assert!(matches!(open("/text").unwrap_err(), IoError::NotNumeric { .. }));
    for name in ["/deep", "/huge", "/scalar"] {
        let error = open(name).unwrap_err();
        assert!(matches!(error, IoError::BadShape { .. }), "{name}: {error}");
    }
}

#[test]
fn a_link_into_another_file_is_refused() {
    let (_folder, path) = file(|file| {
        file.link_external(&digits().file.to_string_lossy(), "/images", "x")
            .unwrap()
    });
    let error = H5Input::open(
        &InputPath {
            dataset: Some("/x".to_owned()),
            ..path
        },
        None,
    )
    .unwrap_err();
    assert!(matches!(error, IoError::ForeignStorage { .. }), "{error}");
}
