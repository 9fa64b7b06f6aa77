use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("run.checkpoint");
    (folder, path)
}

fn tensor(shape: &[usize], values: &[f64]) -> StoredTensor {
    StoredTensor {
        shape: shape.to_vec(),
        values: values.to_vec(),
    }
}

fn small() -> Checkpoint {
    Checkpoint {
        notes: json!({"epoch": 3, "seed": u64::MAX, "settings": {"learning_rate": 5e-4}}),
        tensors: BTreeMap::from([
            ("params".to_owned(), tensor(&[2, 3], &[1.0, -2.0, 3.5, 0.0, 5.0, 6.0])),
            ("optimizer/mean_square".to_owned(), tensor(&[2], &[0.25, 0.5])),
        ]),
    }
}

fn bits(checkpoint: &Checkpoint) -> Vec<(&String, &Vec<usize>, Vec<u64>)> {
    let of = |tensor: &StoredTensor| tensor.values.iter().map(|value| value.to_bits()).collect();
    let tensors = checkpoint.tensors.iter();
    tensors
        .map(|(name, tensor)| (name, &tensor.shape, of(tensor)))
        .collect()
}

/// Puts a true user block before an image that somebody else made.
fn forge(path: &Path, lay_out: impl FnOnce(&hdf5::File) -> hdf5::Result<()>) {
    let image = output::image(path, lay_out).expect("it can be laid out");
    seal(path, &image);
}

fn seal(path: &Path, image: &[u8]) {
    let mut bytes = block(image.len() as u64, &Sha256::digest(image)).to_vec();
    bytes.extend_from_slice(image);
    place(path, &bytes);
}

/// Writes a file in place of another; cutting the old one short instead would make the disk wait for it each time.
fn place(path: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(path);
    fs::write(path, bytes).expect("there is room");
}

fn refused(path: &Path, words: &[&str]) {
    let told = Checkpoint::read(path).expect_err("it is refused").to_string();
    let named = path.display().to_string();
    for word in words.iter().chain([&&*named]) {
        assert!(told.contains(word), "nothing of {word}: {told}");
    }
}

#[test]
fn every_value_note_and_name_comes_back_exactly() {
    let (_folder, path) = folder();
    let strange = [
        f64::from_bits(0x7ff4_0000_dead_beef),
        -0.0,
        f64::NEG_INFINITY,
        5e-324,
        f64::MAX,
    ];
    let names = [
        "", ".", "..", "a/b", "/", "%", "%2F", "%25", "nul\0", "größe", "a.b", " ",
    ];
    let mut tensors: BTreeMap<String, StoredTensor> = (0..names.len())
        .map(|i| (names[i].to_owned(), tensor(&[1], &[i as f64])))
        .collect();
    tensors.insert("strange".into(), tensor(&[5], &strange));
    tensors.insert("scalar".into(), tensor(&[], &[3.0]));
    tensors.insert("none".into(), tensor(&[0, 20], &[]));
    tensors.insert("axes".into(), tensor(&[1, 1, 2, 1, 1, 1, 1, 1], &[1.0, 2.0]));
    let numbers = json!([
        u64::MAX,
        i64::MIN,
        0,
        0.1 + 0.2,
        5e-324,
        f64::MAX,
        -0.0,
        1e23,
        9007199254740993_u64
    ]);
    let written = Checkpoint {
        notes: json!({"numbers": numbers, "text": "ä\0\n", "none": null, "deep": [[[{"": []}]]]}),
        tensors,
    };
    written.write(&path).expect("there is room");
    let read = Checkpoint::read(&path).expect("it is whole");
    assert_eq!(read.notes, written.notes);
    assert_eq!(read.notes.to_string(), written.notes.to_string());
    assert_eq!(bits(&read), bits(&written));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_names_shapes_and_bits_come_back(
        tensors in prop::collection::btree_map(".{0,12}", prop::collection::vec(0_usize..4, 0..5), 0..6),
        seed in any::<u64>(),
        number in any::<f64>().prop_filter("JSON has no others", |number| number.is_finite()),
    ) {
        let (_folder, path) = folder();
        let mut next = seed;
        let mut value = || {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from_bits(next)
        };
        let mut filled = |shape: Vec<usize>| StoredTensor {
            values: (0..shape.iter().product()).map(|_| value()).collect(),
            shape,
        };
        let tensors = tensors.into_iter().map(|(name, shape)| (name, filled(shape))).collect();
        let written = Checkpoint { notes: json!({"seed": seed, "number": number}), tensors };
        written.write(&path).expect("there is room");
        let read = Checkpoint::read(&path).expect("it is whole");
        prop_assert_eq!(&read.notes, &written.notes);
        prop_assert_eq!(bits(&read), bits(&written));
    }
}

#[test]
fn the_same_content_gives_the_same_bytes_and_replaces_what_stood_there() {
    let (_folder, path) = folder();
    let bytes = |checkpoint: &Checkpoint| {
        checkpoint.write(&path).expect("there is room");
        fs::read(&path).expect("it is there")
    };
    let first = bytes(&small());
    let mut other = small();
    other.notes["epoch"] = json!(4);
    assert_ne!(bytes(&other), first);
    assert_eq!(Checkpoint::read(&path).expect("it is whole"), other);
    assert_eq!(bytes(&small()), first);
}

#[test]
fn a_tensor_that_does_not_fill_its_shape_is_refused_and_what_stood_there_stands() {
    let (_folder, path) = folder();
    small().write(&path).expect("there is room");
    for shape in [&[3][..], &[usize::MAX, usize::MAX], &[1, 1, 1, 1, 1, 1, 1, 1, 2]] {
        let mut wrong = small();
        wrong.tensors.insert("v".into(), tensor(shape, &[1.0, 2.0]));
        let told = wrong.write(&path).expect_err("it does not fit").to_string();
        assert!(told.contains("`v`") && told.contains("2 values"), "{told}");
    }
    assert_eq!(Checkpoint::read(&path).expect("it is whole"), small());
}

#[test]
fn a_change_of_any_byte_and_any_cut_is_found() {
    let (_folder, path) = folder();
    small().write(&path).expect("there is room");
    let whole = fs::read(&path).expect("it is there");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        place(&path, &damaged);
        refused(&path, &["gfe train"]);
    }
    for length in (0..whole.len()).step_by(7) {
        place(&path, &whole[..length]);
        refused(
            &path,
            if length >= BLOCK {
                &["truncated"]
            } else {
                &["gfe train"]
            },
        );
    }
    fs::write(&path, [&whole[..], b"x"].concat()).expect("there is room");
    refused(&path, &["damaged", "SHA-256"]);
}

/// Somebody who changes a file on purpose gives it a true hash: then HDF5 is on its own.
#[test]
fn a_change_under_a_true_hash_is_an_error_or_another_checkpoint() {
    let (_folder, path) = folder();
    small().write(&path).expect("there is room");
    let whole = fs::read(&path).expect("it is there");
    let mut opened = 0;
    for at in BLOCK..whole.len() {
        let mut image = whole[BLOCK..].to_vec();
        image[at - BLOCK] ^= [0x01, 0x80, 0xff][at % 3];
        seal(&path, &image);
        opened += usize::from(Checkpoint::read(&path).is_ok());
    }
    assert!(opened > 0, "values and unused bytes can be changed");
}

#[test]
fn other_files_are_told_from_checkpoints() {
    let (folder, path) = folder();
    refused_as(&path, 66, &["no such file"]);
    fs::write(&path, "").expect("there is room");
    refused(&path, &["does not begin"]);
    hdf5::File::create(&path).expect("there is room");
    refused(&path, &["does not begin"]);
    let mut next = block(0, &Sha256::digest(b""));
    next[15] = b'2';
    fs::write(&path, next).expect("there is room");
    refused(&path, &["version 2", "knows 1"]);
    seal(&path, b"not HDF5 at all");
    refused(&path, &["HDF5"]);
    refused_as(folder.path(), 66, &["a folder"]);
}

fn refused_as(path: &Path, code: u8, words: &[&str]) {
    let error = Checkpoint::read(path).expect_err("it is refused");
    assert_eq!(error.exit_code(), code, "{error}");
    assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
}

#[test]
fn hostile_content_under_a_true_hash_is_refused() {
    let (folder, path) = folder();
    let notes = |file: &hdf5::File| put(file, "notes", &[4], b"null");
    let tensors = |file: &hdf5::File| notes(file).and_then(|()| group_of(file, "tensors"));
    let scalar = |group: &Group, name: &str| put(group, name, &[], &[1.0]);
    forge(&path, |file| scalar(&tensors(file)?, "a"));
    assert!(Checkpoint::read(&path).is_ok(), "the others differ from this one");

    forge(&path, |file| {
        let group = tensors(file)?;
        group
            .new_dataset::<f64>()
            .shape([1 << 20, 1 << 20])
            .create("a")
            .map(|_| ())
    });
    refused(&path, &["`a`", "1048576"]);
    // Many names of one dataset: each is small, all of them are not.
    forge(&path, |file| {
        let group = tensors(file)?;
        put(&group, "a", &[64], &[0.5; 64])?;
        (0..40).try_for_each(|i| group.link_hard("a", &format!("b{i}")))
    });
    refused(&path, &["`b"]);
    forge(&path, |file| {
        let builder = tensors(file)?.new_dataset::<f64>().chunk(2).deflate(4);
        builder.shape([4]).create("a")?.write_raw(&[1.0; 4])
    });
    refused(&path, &["`a`", "pieces"]);
    forge(&path, |file| put(&tensors(file)?, "a", &[1], &[1.0_f32]));
    refused(&path, &["`a`", "float32"]);
    forge(&path, |file| scalar(&tensors(file)?, "%zz"));
    refused(&path, &["%zz"]);
    forge(&path, |file| {
        let group = tensors(file)?;
        scalar(&group, "a")?;
        group.link_soft("a", "b")
    });
    refused(&path, &["`b`", "link"]);
    let secret = folder.path().join("secret");
    fs::write(&secret, [7; 64]).expect("there is room");
    forge(&path, |file| {
        let builder = tensors(file)?.new_dataset::<f64>();
        let outside = secret.to_str().expect("a temporary folder has a plain name");
        let builder = builder.with_dcpl(|creation| creation.external(outside, 0, 16));
        builder.shape([2]).create("a").map(|_| ())
    });
    refused(&path, &["another file"]);
    forge(&path, |file| {
        tensors(file)?;
        scalar(file, "more")
    });
    refused(&path, &["other things"]);
    forge(&path, |file| notes(file));
    refused(&path, &["other things"]);
    forge(&path, |file| {
        put(file, "notes", &[3], b"nul")?;
        group_of(file, "tensors").map(|_| ())
    });
    refused(&path, &["notes", "JSON"]);
    forge(&path, |file| {
        put(file, "notes", &[], &[1.0])?;
        group_of(file, "tensors").map(|_| ())
    });
    refused(&path, &["`notes`"]);
}
