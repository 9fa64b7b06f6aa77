use crate::params_sha256;
use std::fs;
use std::path::PathBuf;

use super::*;

fn digits() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/mnist_decoder.safetensors")
}

fn spec(name: &str, shape: &[usize]) -> TensorSpec {
    TensorSpec {
        name: name.to_owned(),
        shape: shape.to_vec(),
    }
}

fn digits_specs() -> Vec<TensorSpec> {
    let widths = [20, 150, 300, 600, 784];
    let layer = |i: usize| {
        let (input, output) = (widths[i], widths[i + 1]);
        [
            spec(&format!("decoder.{}.weight", 2 * i), &[output, input]),
            spec(&format!("decoder.{}.bias", 2 * i), &[output]),
        ]
    };
    (0..4).flat_map(layer).collect()
}

fn small() -> (Vec<TensorSpec>, ModelFile) {
    let specs = vec![spec("b.weight", &[2, 3]), spec("a.bias", &[2])];
    let params = [0.1, -2.0, 3.5, 1e-300, 5.0, 6.0, 7.0, 8.0];
    let decoder = json!({"decoder": "dense", "latent": 3});
    (
        specs.clone(),
        ModelFile::new(decoder, Some(json!({"loss": "mse"})), &specs, &params).unwrap(),
    )
}

/// A safetensors file of the given header and data, in a folder of its own.
fn raw(header: &str, data: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[test]
fn the_digits_decoder_is_read_in_the_order_asked_for() {
    let file = ModelFile::read(&digits()).unwrap();
    assert_eq!(file.decoder["layers"], json!([150, 300, 600, 784]));
    assert_eq!(file.training, None);
    let params = file.params_for(&digits_specs()).unwrap();
    assert_eq!(
        params.len(),
        20 * 150 + 150 + 150 * 300 + 300 + 300 * 600 + 600 + 600 * 784 + 784
    );
    assert_eq!(params[..3000], file.tensors["decoder.0.weight"].values);
    assert_eq!(params[3000..3150], file.tensors["decoder.0.bias"].values);
    assert!(
        params
            .iter()
            .all(|value| value.is_finite() && f64::from(*value as f32) == *value)
    );
}

#[test]
fn what_is_written_is_read_back_bit_for_bit() {
    let (specs, file) = small();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    fs::write(&path, b"an older file").unwrap();
    file.write(&path).unwrap();
    let back = ModelFile::read(&path).unwrap();
    assert_eq!(back, file);
    assert_eq!(
        back.params_for(&specs).unwrap(),
        [0.1, -2.0, 3.5, 1e-300, 5.0, 6.0, 7.0, 8.0]
    );
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "no temporary file is left"
    );
}

#[test]
fn a_missing_file_is_no_input() {
    let error = ModelFile::read(Path::new("nowhere.safetensors")).unwrap_err();
    assert!(matches!(error, IoError::NotFound { .. }), "{error}");
    assert_eq!(error.exit_code(), 66);
}

#[test]
fn a_missing_folder_cannot_be_created() {
    let folder = tempfile::tempdir().unwrap();
    let error = small().1.write(&folder.path().join("none/m.safetensors")).unwrap_err();
    assert_eq!(error.exit_code(), 73, "{error}");
}

#[test]
fn tensors_that_do_not_fit_the_decoder_are_named() {
    let (mut specs, mut file) = small();
    file.tensors.insert(
        "gfe.z0".to_owned(),
        StoredTensor {
            shape: vec![1],
            values: vec![0.0],
        },
    );
    assert!(
        file.params_for(&specs).is_ok(),
        "the host's own tensors are not the decoder's"
    );

    let extra = file.params_for(&specs[..1]).unwrap_err();
    assert!(
        matches!(&extra, IoError::TensorExtra { names } if names == &["a.bias"]),
        "{extra}"
    );

    specs[0].shape = vec![3, 2];
    let shape = file.params_for(&specs).unwrap_err();
    assert!(
        matches!(&shape, IoError::TensorShape { name, .. } if name == "b.weight"),
        "{shape}"
    );

    specs[0].name = "c.weight".to_owned();
    let missing = file.params_for(&specs).unwrap_err();
    assert!(
        matches!(&missing, IoError::TensorMissing { name, .. } if name == "c.weight"),
        "{missing}"
    );
    assert_eq!(missing.exit_code(), 65);
}

#[test]
fn a_file_without_an_architecture_says_so() {
    let (_folder, path) = raw(r#"{"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#, &[0; 8]);
    assert!(matches!(ModelFile::read(&path).unwrap_err(), IoError::NoDecoder { .. }));
}

#[test]
fn half_precision_is_refused_by_name() {
    let header = r#"{"__metadata__":{"gfe.decoder":"{}"},"w":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}"#;
    let (_folder, path) = raw(header, &[0; 2]);
    let error = ModelFile::read(&path).unwrap_err();
    assert!(
        matches!(&error, IoError::TensorType { name, found, .. } if name == "w" && found == "F16"),
        "{error}"
    );
}

#[test]
fn a_corrupt_header_is_bad_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    for bytes in [
        &b"abc"[..],
        &b"\xff\xff\xff\xff\xff\xff\xff\x7f{}"[..],
        &b"\x02\0\0\0\0\0\0\0[]"[..],
    ] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(ModelFile::read(&path).unwrap_err().exit_code(), 65, "{bytes:?}");
    }
}

#[test]
fn the_hash_is_that_of_the_little_endian_bytes() {
    // hashlib.sha256(struct.pack('<2d', 0, 1)) in Python.
    let expected = "fc62429c3e69001d65972cdeb94fb9aa18a7d9c16bc449e1e474e7e41bb95a7d";
    assert_eq!(params_sha256(&[0.0, 1.0]), expected);
}
