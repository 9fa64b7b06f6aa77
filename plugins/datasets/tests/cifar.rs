//! CIFAR's binary version, as written and as damaged.

mod support;

use datasets::Cifar;
use gfe_sdk::{DatasetPlugin, DatasetSource, Element};
use std::fs;
use support::{bytes_refused, config, read, read_all, refused, says, try_read, written};

/// A record whose pixels count up from its label.
fn record(labels: &[u8]) -> Vec<u8> {
    let pixels = (0..3072).map(|i| (i + usize::from(labels[0])) as u8);
    labels.iter().copied().chain(pixels).collect()
}

fn pixels(label: u8) -> Vec<f64> {
    record(&[label])[1..].iter().map(|byte| f64::from(*byte)).collect()
}

#[test]
fn images_and_labels_read_as_written() {
    let ten = written(&[record(&[3]), record(&[9])].concat());
    assert_eq!(read_all::<Cifar>(&config(&ten.path, "")), [pixels(3), pixels(9)]);
    assert_eq!(
        read_all::<Cifar>(&config(&ten.path, "\"labels\": true")),
        [[3.0], [9.0]]
    );
    let hundred = written(&[record(&[3, 77]), record(&[19, 99])].concat());
    assert_eq!(
        read_all::<Cifar>(&config(&hundred.path, "\"classes\": 100")),
        [pixels(3), pixels(19)]
    );
    let labels = config(&hundred.path, "\"classes\": 100, \"labels\": true");
    assert_eq!(read_all::<Cifar>(&labels), [[77.0], [99.0]]);
}

#[test]
fn an_image_has_channel_row_and_column() {
    let file = written(&record(&[0]));
    let source = Cifar::open(&config(&file.path, "")).expect("it opens");
    let dims: Vec<_> = source.shape().dims.iter().map(|dim| (&dim.name[..], dim.len)).collect();
    assert_eq!(dims, [("channel", 3), ("row", 32), ("column", 32)]);
    assert_eq!(source.element(), Element::U8);
}

#[test]
fn a_folder_is_its_training_files_and_a_list_goes_on_from_file_to_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for batch in 1..=5u8 {
        let records: Vec<u8> = (0..batch).flat_map(|_| record(&[batch])).collect();
        fs::write(folder.path().join(format!("data_batch_{batch}.bin")), records).expect("a file");
    }
    let mut source = Cifar::open(&config(folder.path(), "")).expect("it opens");
    assert_eq!(source.shape().samples, 15);
    assert_eq!(read(&mut source, &[14, 0, 1, 2, 3, 3]), [5, 1, 2, 2, 3, 3].map(pixels));
    let name = |batch: u8| format!("{:?}", folder.path().join(format!("data_batch_{batch}.bin")));
    let list = format!("{{\"path\": [{}, {}], \"labels\": true}}", name(3), name(1));
    assert_eq!(read_all::<Cifar>(&list), [[3.0], [3.0], [3.0], [1.0]]);
    says(
        &try_read(&mut source, &[15]).expect_err("there are 15"),
        "sample 15 was asked for",
    );
    says(
        &refused::<Cifar>(&config(folder.path(), "\"classes\": 100")),
        "train.bin: cannot be opened",
    );
}

#[test]
fn empty_files_have_no_samples() {
    let empty = written(b"");
    assert_eq!(read_all::<Cifar>(&config(&empty.path, "")).len(), 0);
    let one = written(&record(&[4]));
    let list = format!("{{\"path\": [{:?}, {:?}, {:?}]}}", empty.path, one.path, empty.path);
    assert_eq!(read_all::<Cifar>(&list), [pixels(4)]);
    says(&refused::<Cifar>("{\"path\": []}"), "path is an empty list");
}

#[test]
fn another_length_or_label_is_refused() {
    bytes_refused::<Cifar>(
        &record(&[4])[1..],
        "has 3072 bytes, which is no multiple of a record's 3073",
    );
    bytes_refused::<Cifar>(&[record(&[4]), vec![0]].concat(), "has 3074 bytes");
    bytes_refused::<Cifar>(&record(&[10]), "has a record with the label 10 where there are 10");
    let later = written(&[record(&[1]), record(&[200])].concat());
    let mut source = Cifar::open(&config(&later.path, "")).expect("its first record is fine");
    says(
        &try_read(&mut source, &[1]).expect_err("its second is not"),
        "with the label 200",
    );
}

#[test]
fn a_wrong_configuration_is_told_by_its_key() {
    says(
        &refused::<Cifar>("{\"path\": \"a\", \"classes\": 20}"),
        "classes is 20, and has to be 10 or 100",
    );
    says(
        &refused::<Cifar>("{\"path\": 3}"),
        "path has to be a text or a list of texts",
    );
    says(
        &refused::<Cifar>("{\"path\": \"a\", \"class\": 10}"),
        "unknown field `class`",
    );
    says(&refused::<Cifar>("{}"), "missing field `path`");
}
