//! MNIST's format, as written and as damaged.

mod support;

use datasets::Idx;
use flate2::Compression;
use flate2::write::GzEncoder;
use gfe_sdk::{DatasetPlugin, DatasetSource, Element};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use support::{bytes_refused, config, expected, golden, read, read_all, refused, says, try_read, written};

fn header(code: u8, lens: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, lens.len() as u8];
    bytes.extend(lens.iter().flat_map(|len| len.to_be_bytes()));
    bytes
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(bytes).expect("memory");
    gz.finish().expect("memory")
}

#[test]
fn every_type_reads_as_written_plain_and_gzipped() {
    for (name, kind) in [
        ("images.idx3-ubyte", 'u'),
        ("images.idx3-ubyte.gz", 'u'),
        ("i1.idx", 'i'),
        ("i2.idx", 'i'),
        ("i4.idx", 'i'),
        ("f4.idx", 'f'),
        ("f8.idx", 'f'),
    ] {
        let values = read_all::<Idx>(&config(&golden(name), ""));
        assert_eq!(values, expected(5, 12, kind), "{name}");
    }
}

#[test]
fn images_have_rows_and_columns_and_other_ranks_have_features() {
    let names = |lens: &[u32]| {
        let file = written(&[header(8, lens), vec![7; 24]].concat());
        let source = Idx::open(&config(&file.path, "")).expect("it opens");
        let dims = source.shape().dims.clone();
        dims.into_iter().map(|dim| (dim.name, dim.len)).collect::<Vec<_>>()
    };
    assert_eq!(names(&[2, 3, 4]), [("row".into(), 3), ("column".into(), 4)]);
    assert_eq!(names(&[2, 12]), [("feature_0".into(), 12)]);
    assert_eq!(names(&[2, 2, 2, 3]).len(), 3);
    assert_eq!(names(&[24]), []);
}

#[test]
fn bytes_are_told_apart_from_labels_and_other_types() {
    let element = |name: &str| Idx::open(&config(&golden(name), "")).expect("it opens").element();
    assert_eq!(element("images.idx3-ubyte"), Element::U8);
    assert_eq!(element("f4.idx"), Element::F32);
    assert_eq!(element("i1.idx"), Element::F64);
    let labels = written(&[header(8, &[3]), vec![5, 0, 4]].concat());
    let mut labels = Idx::open(&config(&labels.path, "")).expect("it opens");
    assert_eq!(labels.element(), Element::F64);
    assert_eq!(read(&mut labels, &[2, 0]), [[4.0], [5.0]]);
}

#[test]
fn samples_are_read_in_any_order() {
    for name in ["images.idx3-ubyte", "images.idx3-ubyte.gz"] {
        let mut source = Idx::open(&config(&golden(name), "")).expect("it opens");
        let all = expected(5, 12, 'u');
        let ids = [4, 1, 2, 3, 1, 0];
        assert_eq!(read(&mut source, &ids), ids.map(|id| all[id].clone()));
        says(
            &try_read(&mut source, &[1, 5]).expect_err("there are 5"),
            "sample 5 was asked for, and there are 5",
        );
    }
}

#[test]
fn a_file_larger_than_memory_is_read_in_place() {
    let file = written(&header(8, &[u32::MAX, 28, 28]));
    let mut to = File::options().write(true).open(&file.path).expect("a file");
    let last = 16 + 784 * (u64::from(u32::MAX) - 1);
    if to.set_len(last + 784).is_err() {
        return; // a file system without holes
    }
    to.seek(SeekFrom::Start(last)).expect("a place");
    to.write_all(&[9; 784]).expect("a sample");
    let mut source = Idx::open(&config(&file.path, "")).expect("it opens");
    assert_eq!(read(&mut source, &[u32::MAX as usize - 1, 5]), [[9.0; 784], [0.0; 784]]);
}

#[test]
fn a_file_cut_after_it_was_opened_is_an_error() {
    let file = written(&[header(8, &[2, 3]), vec![1; 6]].concat());
    let mut source = Idx::open(&config(&file.path, "")).expect("it opens");
    let cut = File::options().write(true).open(&file.path).expect("a file");
    cut.set_len(16).expect("a shorter file");
    assert_eq!(read(&mut source, &[0]), [[1.0; 3]]);
    says(
        &try_read(&mut source, &[1]).expect_err("it is gone"),
        "see whether another program changes it",
    );
}

#[test]
fn no_samples_are_fine_and_no_values_are_not() {
    let file = written(&header(8, &[0, 28, 28]));
    assert_eq!(read_all::<Idx>(&config(&file.path, "")), Vec::<Vec<f64>>::new());
    bytes_refused::<Idx>(
        &header(8, &[3, 0, 28]),
        "only the first axis, that of samples, may be 0",
    );
}

#[test]
fn a_damaged_header_is_refused() {
    bytes_refused::<Idx>(b"", "begins with []");
    bytes_refused::<Idx>(b"\x89PNG\r\n", "begins with [89, 50, 4e, 47]");
    bytes_refused::<Idx>(&[0, 0, 8], "begins with [00, 00, 08]");
    bytes_refused::<Idx>(&header(10, &[3]), "has the type 0x0a");
    bytes_refused::<Idx>(&[0, 0, 8, 3, 0, 0, 0, 1, 0], "ends inside its header of 3 axes");
    bytes_refused::<Idx>(&[0, 0, 8, 0, 1], "has no axis of samples");
    bytes_refused::<Idx>(&header(8, &[1; 9]), "has 9 axes, and 8 is the limit");
    bytes_refused::<Idx>(&header(8, &[u32::MAX; 8]), "values of a sample are the limit");
    bytes_refused::<Idx>(&header(8, &[0, u32::MAX, 2]), "values of a sample are the limit");
    bytes_refused::<Idx>(
        &header(14, &[u32::MAX, 1 << 28]),
        "declares 9223372034707292160 bytes of data and holds 0",
    );
}

#[test]
fn data_of_another_length_are_refused() {
    let whole = [header(8, &[2, 3]), vec![1; 6]].concat();
    bytes_refused::<Idx>(&whole[..17], "declares 6 bytes of data and holds 5: it is cut short");
    bytes_refused::<Idx>(
        &[&whole[..], &[0]].concat(),
        "declares 6 bytes of data and holds 7: it is too long",
    );
    bytes_refused::<Idx>(
        &gzipped(&whole[..17]),
        "declares 6 bytes of data and holds 5: it is cut short",
    );
    bytes_refused::<Idx>(
        &gzipped(&[&whole[..], &[0]].concat()),
        "declares 6 bytes of data, and more follow",
    );
}

#[test]
fn a_damaged_gzip_stream_is_refused() {
    let whole = gzipped(&[header(8, &[2, 3]), vec![1; 6]].concat());
    for len in 2..whole.len() {
        let file = written(&whole[..len]);
        refused::<Idx>(&config(&file.path, ""));
    }
    let mut wrong_sum = whole.clone();
    let crc = whole.len() - 8;
    wrong_sum[crc] ^= 1;
    bytes_refused::<Idx>(&wrong_sum, "cannot be inflated");
    bytes_refused::<Idx>(&[&whole[..], b"junk"].concat(), "cannot be inflated");
}

#[test]
fn a_gzip_stream_in_several_members_reads_as_one() {
    let parts = [gzipped(&header(8, &[2, 3])), gzipped(&[1, 2]), gzipped(&[3, 4, 5, 6])].concat();
    let file = written(&parts);
    assert_eq!(
        read_all::<Idx>(&config(&file.path, "")),
        [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    );
}

#[test]
fn a_bomb_is_stopped_at_the_first_byte_too_many() {
    let zeros = gzipped(&vec![0; 16 << 20]);
    let bomb = [gzipped(&header(8, &[2, 3])), zeros.repeat(256)].concat();
    bytes_refused::<Idx>(&bomb, "declares 6 bytes of data, and more follow");
}

#[test]
fn what_cannot_be_inflated_or_may_not_be_is_refused_before() {
    bytes_refused::<Idx>(&gzipped(&header(8, &[400, 400, 400])), "more than its");
    bytes_refused::<Idx>(
        &gzipped(&header(8, &[2000, 1000, 1000])),
        "and 67108864 may be inflated: raise max_bytes",
    );
    let file = written(&gzipped(&[header(8, &[2, 500]), vec![1; 1000]].concat()));
    says(
        &refused::<Idx>(&config(&file.path, "\"max_bytes\": 999")),
        "declares 1000 bytes of data, and 999 may",
    );
    assert_eq!(read_all::<Idx>(&config(&file.path, "\"max_bytes\": 1000")).len(), 2);
}

#[test]
fn an_endless_name_in_a_gzip_header_is_refused() {
    let named = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], &vec![b'a'; 8 << 20]].concat();
    bytes_refused::<Idx>(&named, "cannot be read");
}

#[test]
fn a_wrong_configuration_is_told_by_its_key() {
    says(&refused::<Idx>("{}"), "missing field `path`");
    says(
        &refused::<Idx>("{\"path\": \"a\", \"pth\": 1}"),
        "unknown field `pth`, expected `path` or `max_bytes`",
    );
    says(
        &refused::<Idx>("{\"path\": \"/no/such/file\"}"),
        "/no/such/file: cannot be opened",
    );
    says(&refused::<Idx>("{\"path\": \"/\"}"), "is not a regular file");
    says(&refused::<Idx>("{\"path\": \"/dev/zero\"}"), "is not a regular file");
}
