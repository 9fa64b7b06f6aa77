//! Arrays that NumPy wrote, and headers that it did not.

mod support;

use datasets::Npy;
use gfe_sdk::{DatasetPlugin, DatasetSource, Element};
use std::fs::{self, File};
use support::{bytes_refused, config, expected, golden, read, read_all, refused, says, written};

/// An `.npy` file with this header, for better or worse.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let start = [b"\x93NUMPY\x01\x00", &(header.len() as u16 + 1).to_le_bytes()[..]].concat();
    [&start, header.as_bytes(), b"\n", data].concat()
}

fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")
}

#[test]
fn every_type_and_order_of_bytes_reads_as_written() {
    for name in ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"] {
        for order in ["little", "big"] {
            let values = read_all::<Npy>(&config(&golden(&format!("{name}_{order}.npy")), ""));
            let kind = name.chars().next().expect("a name");
            assert_eq!(values, expected(5, 12, kind), "{name} {order}");
        }
    }
}

#[test]
fn fortran_order_reads_like_c_order_in_any_order_of_samples() {
    let mut source = Npy::open(&config(&golden("fortran_f4.npy"), "")).expect("it opens");
    let all = expected(5, 12, 'f');
    let ids = [3, 4, 0, 1, 1];
    assert_eq!(read(&mut source, &ids), ids.map(|id| all[id].clone()));
    assert_eq!(
        read_all::<Npy>(&config(&golden("fortran_matrix.npy"), "")),
        expected(6, 4, 'i')
    );
}

#[test]
fn every_version_and_shape_of_header_is_read() {
    for name in ["version_2.npy", "version_3.npy"] {
        assert_eq!(
            read_all::<Npy>(&config(&golden(name), "")),
            expected(5, 12, 'f'),
            "{name}"
        );
    }
    assert_eq!(
        read_all::<Npy>(&config(&golden("scalars.npy"), "")),
        expected(7, 1, 'u')
    );
    let none = Npy::open(&config(&golden("no_samples.npy"), "")).expect("it opens");
    assert_eq!((none.shape().samples, none.shape().values()), (0, 3));
}

#[test]
fn axes_are_features_and_types_are_told() {
    let source = |name: &str| Npy::open(&config(&golden(name), "")).expect("it opens");
    let dims = source("u1_little.npy").shape().dims.clone();
    let dims: Vec<_> = dims.into_iter().map(|dim| (dim.name, dim.len)).collect();
    assert_eq!(dims, [("feature_0".into(), 3), ("feature_1".into(), 4)]);
    assert_eq!(source("u1_little.npy").element(), Element::U8);
    assert_eq!(source("scalars.npy").element(), Element::F64);
    assert_eq!(source("f2_big.npy").element(), Element::F32);
    assert_eq!(source("f4_big.npy").element(), Element::F32);
    assert_eq!(source("u2_big.npy").element(), Element::F64);
}

#[test]
fn what_is_no_array_of_numbers_is_refused() {
    let why = |name: &str| refused::<Npy>(&config(&golden(name), ""));
    says(
        &why("refused_objects.npy"),
        "holds objects, which are pickled code and never read",
    );
    says(&why("refused_structured.npy"), "has the structured type");
    says(&why("refused_bool.npy"), "has the type \"|b1\"");
    says(&why("refused_complex.npy"), "has the type \"<c16\"");
    says(&why("refused_text.npy"), "has the type \"<U2\"");
    says(&why("refused_rank_0.npy"), "has no axis of samples");
    says(
        &why("refused_no_values.npy"),
        "only the first axis, that of samples, may be 0",
    );
}

#[test]
fn data_of_another_length_are_refused() {
    let whole = fs::read(golden("f4_little.npy")).expect("a file");
    for len in 0..whole.len() {
        let file = written(&whole[..len]);
        refused::<Npy>(&config(&file.path, ""));
    }
    let longer = [&whole[..], &[0]].concat();
    bytes_refused::<Npy>(&longer, "declares 240 bytes of data and holds 241: it is too long");
    bytes_refused::<Npy>(
        &whole[..whole.len() - 1],
        "declares 240 bytes of data and holds 239: it is cut short",
    );
}

#[test]
fn an_absurd_length_of_the_header_is_refused() {
    bytes_refused::<Npy>(
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'",
        "declares a header of 4294967295 bytes",
    );
    bytes_refused::<Npy>(b"\x93NUMPY\x01\x00\xff\xff{'descr'", "declares a header of 65535 bytes");
    bytes_refused::<Npy>(b"\x93NUMPY\x02\x00\xff\xff", "ends inside its header");
    bytes_refused::<Npy>(b"\x93NUMPY\x01\x00\x00\x20{'descr'", "ends inside its header");
    bytes_refused::<Npy>(b"\x93NUMPY\x01\x00\x00\x00", "has a header that cannot be read");
    bytes_refused::<Npy>(b"\x93NUMPY\x04\x00\x10\x00{'descr'", "has version 4 of the format");
    bytes_refused::<Npy>(b"\x93NUMPX\x01\x00\x10\x00{'descr'", "begins with");
}

#[test]
fn a_header_that_is_no_plain_literal_is_refused() {
    let wrong = |header: &str, what: &str| bytes_refused::<Npy>(&npy(header, &[0; 8]), what);
    wrong("__import__('os').system('true')", "has a header that cannot be read");
    wrong(&"[".repeat(9000), "has the byte 0x5b in its header");
    wrong(
        &format!("{{'descr': {}", "(".repeat(9000)),
        "has the byte 0x28 in its header",
    );
    wrong(
        &format!("{{'descr': {}1", "-".repeat(9000)),
        "has a header that cannot be read",
    );
    wrong(&header("'\\N{BULLET}f8'", "(1,)"), "has the byte 0x5c in its header");
    wrong(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }\0",
        "has the byte 0x00 in its header",
    );
    wrong("{'descr': '<f8', 'shape': (1,), }", "has a header that cannot be read");
    wrong(
        "{'descr': '<f8', 'fortran_order': 1, 'shape': (1,), }",
        "has a header that cannot be read",
    );
    wrong(
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'x': 1}",
        "has a header that cannot be read",
    );
    wrong(&header("3", "(1,)"), "has the structured type");
    wrong(&header("''", "(1,)"), "has the type \"\"");
    wrong(&header("'é'", "(1,)"), "has the byte 0xc3 in its header");
    wrong(&header("'|f8'", "(1,)"), "has the type \"|f8\"");
}

#[test]
fn a_shape_that_cannot_be_is_refused() {
    let wrong = |shape: &str, what: &str| bytes_refused::<Npy>(&npy(&header("'<f8'", shape), &[0; 8]), what);
    wrong("(1)", "has a header that cannot be read");
    wrong("(-1,)", "has a header that cannot be read");
    wrong("(1.0,)", "has a header that cannot be read");
    wrong(&format!("({},)", "9".repeat(9000)), "has a header that cannot be read");
    wrong("(18446744073709551615,)", "more than can be addressed");
    wrong(
        "(4294967296, 4294967296, 4294967296)",
        "values of a sample are the limit",
    );
    wrong(
        "(0, 18446744073709551615, 18446744073709551615)",
        "values of a sample are the limit",
    );
    wrong("(1, 1, 1, 1, 1, 1, 1, 1, 1)", "has 9 axes, and 8 is the limit");
    wrong(
        "(1000000000000,)",
        "declares 8000000000000 bytes of data and holds 8: it is cut short",
    );
}

#[test]
fn a_file_larger_than_memory_is_read_in_place() {
    for (order, place) in [("False", "C"), ("True", "Fortran")] {
        let header = format!("{{'descr': '<f8', 'fortran_order': {order}, 'shape': (50000000000, 2), }}");
        let bytes = npy(&header, &[]);
        let file = written(&bytes);
        let to = File::options().write(true).open(&file.path).expect("a file");
        if to.set_len(bytes.len() as u64 + 800_000_000_000).is_err() {
            return; // a file system without holes
        }
        let mut source = Npy::open(&config(&file.path, "")).expect("it opens");
        assert_eq!(read(&mut source, &[49_999_999_999, 7]), [[0.0; 2]; 2], "{place}");
    }
}

#[test]
fn a_wrong_configuration_is_told_by_its_key() {
    says(
        &refused::<Npy>("{\"path\": \"a\", \"name\": 1}"),
        "unknown field `name`, expected one of `path`, `array`",
    );
    says(&refused::<Npy>("{\"array\": \"a\"}"), "missing field `path`");
    says(
        &refused::<Npy>(&config(&golden("scalars.npy"), "\"array\": \"a\"")),
        "leave array out",
    );
}
