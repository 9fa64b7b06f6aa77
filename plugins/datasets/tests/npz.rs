//! Archives that NumPy wrote, and archives that lie.

mod support;

use datasets::Npy;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use gfe_sdk::{DatasetPlugin, DatasetSource};
use std::fs::{self, File};
use std::io::Write;
use support::{bytes_refused, config, expected, golden, read_all, refused, says, written};

/// An `.npy` file of bytes.
fn npy(lens: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {lens}, }}\n");
    let start = [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..]].concat();
    [&start, header.as_bytes(), data].concat()
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(bytes).expect("memory");
    deflate.finish().expect("memory")
}

/// One entry of an archive; what is wrong in it is so in both of its headers.
#[derive(Clone)]
struct Entry {
    name: &'static str,
    method: u16,
    flags: u16,
    crc: u32,
    packed: u32,
    size: u32,
    data: Vec<u8>,
}

impl Entry {
    fn stored(name: &'static str, data: Vec<u8>) -> Entry {
        let mut crc = flate2::Crc::new();
        crc.update(&data);
        Entry {
            name,
            method: 0,
            flags: 0,
            crc: crc.sum(),
            packed: data.len() as u32,
            size: data.len() as u32,
            data,
        }
    }

    fn deflated(name: &'static str, data: &[u8]) -> Entry {
        let packed = deflated(data);
        Entry {
            method: 8,
            packed: packed.len() as u32,
            data: packed,
            ..Entry::stored(name, data.to_vec())
        }
    }

    /// What both headers have in common.
    fn common(&self) -> Vec<u8> {
        let times = [0u8; 4];
        let mut bytes = [
            &20u16.to_le_bytes()[..],
            &self.flags.to_le_bytes(),
            &self.method.to_le_bytes(),
            &times,
        ]
        .concat();
        bytes.extend([self.crc, self.packed, self.size].iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend((self.name.len() as u16).to_le_bytes());
        bytes
    }

    fn local(&self) -> Vec<u8> {
        [
            b"PK\x03\x04",
            &self.common()[..],
            &[0; 2],
            self.name.as_bytes(),
            &self.data,
        ]
        .concat()
    }

    fn central(&self, at: u32) -> Vec<u8> {
        let common = self.common();
        [
            b"PK\x01\x02\x14\x00",
            &common[..],
            &[0; 12],
            &at.to_le_bytes(),
            self.name.as_bytes(),
        ]
        .concat()
    }
}

fn end(entries: u16, size: u32, start: u32) -> Vec<u8> {
    let entries = entries.to_le_bytes();
    [
        b"PK\x05\x06\0\0\0\0",
        &entries[..],
        &entries,
        &size.to_le_bytes(),
        &start.to_le_bytes(),
        &[0; 2],
    ]
    .concat()
}

/// The 64-bit end and its locator, for a directory that ends at `at`.
fn end_64(entries: u64, size: u64, start: u64, at: u64) -> Vec<u8> {
    let numbers = [entries, entries, size, start].map(u64::to_le_bytes).concat();
    let fixed = [
        &44u64.to_le_bytes()[..],
        &45u16.to_le_bytes(),
        &45u16.to_le_bytes(),
        &[0; 8],
    ]
    .concat();
    let locator = [b"PK\x06\x07\0\0\0\0", &at.to_le_bytes()[..], &1u32.to_le_bytes()].concat();
    [b"PK\x06\x06", &fixed[..], &numbers, &locator].concat()
}

/// Entries, directory, end.
fn archive(entries: &[Entry]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        directory.extend(entry.central(bytes.len() as u32));
        bytes.extend(entry.local());
    }
    let end = end(entries.len() as u16, directory.len() as u32, bytes.len() as u32);
    [bytes, directory, end].concat()
}

#[test]
fn arrays_read_as_written() {
    assert_eq!(read_all::<Npy>(&config(&golden("one.npz"), "")), expected(5, 12, 'f'));
    let array = |file: &str, name: &str| read_all::<Npy>(&config(&golden(file), &format!("\"array\": {name:?}")));
    assert_eq!(array("one.npz", "images"), expected(5, 12, 'f'));
    assert_eq!(array("several.npz", "images"), expected(5, 12, 'u'));
    assert_eq!(array("several.npz", "labels"), expected(5, 1, 'i'));
    assert_eq!(array("packed.npz", "images"), expected(5, 12, 'f'));
    assert_eq!(array("packed.npz", "labels"), expected(5, 12, 'i'));
}

#[test]
fn an_array_has_to_be_chosen_where_there_are_several() {
    let why = |more: &str| refused::<Npy>(&config(&golden("several.npz"), more));
    says(
        &why(""),
        "has several arrays: choose one with array, of \"images\", \"labels\"",
    );
    says(
        &why("\"array\": \"image\""),
        "has no array of the name image: choose one of \"images\", \"labels\"",
    );
    bytes_refused::<Npy>(&archive(&[]), "has no array");
    bytes_refused::<Npy>(&archive(&[Entry::stored("readme.txt", vec![1])]), "has no array");
}

#[test]
fn an_archive_of_our_own_reads_with_a_32_bit_and_a_64_bit_end() {
    let good = Entry::stored("a.npy", npy("(2, 2)", &[1, 2, 3, 4]));
    let file = written(&archive(std::slice::from_ref(&good)));
    assert_eq!(read_all::<Npy>(&config(&file.path, "")), [[1.0, 2.0], [3.0, 4.0]]);
    let (local, central) = (good.local(), good.central(0));
    let at = local.len() + central.len();
    let wide = end_64(1, central.len() as u64, local.len() as u64, at as u64);
    let bytes = [local, central, wide, end(0xffff, 0xffff_ffff, 0xffff_ffff)].concat();
    let file = written(&bytes);
    assert_eq!(read_all::<Npy>(&config(&file.path, "")), [[1.0, 2.0], [3.0, 4.0]]);
}

#[test]
fn a_cut_or_longer_archive_is_refused() {
    let whole = fs::read(golden("packed.npz")).expect("a file");
    for len in 0..whole.len() {
        let file = written(&whole[..len]);
        refused::<Npy>(&config(&file.path, "\"array\": \"images\""));
    }
    bytes_refused::<Npy>(
        &[&whole[..], &[0]].concat(),
        "has no end of an archive in its last 22 bytes",
    );
}

#[test]
fn a_bomb_is_stopped_where_its_size_ends() {
    let mut bomb = DeflateEncoder::new(Vec::new(), Compression::fast());
    bomb.write_all(&npy("(10,)", &[7; 10])).expect("memory");
    let zeros = vec![0; 1 << 20];
    for _ in 0..512 {
        bomb.write_all(&zeros).expect("memory");
    }
    let data = bomb.finish().expect("memory");
    let honest = npy("(10,)", &[7; 10]);
    let lie = Entry {
        packed: data.len() as u32,
        data,
        ..Entry::deflated("a.npy", &honest)
    };
    let sizes = [honest.len() as u32, honest.len() as u32 + 1, u32::MAX - 1];
    for size in sizes {
        let file = written(&archive(&[Entry { size, ..lie.clone() }]));
        refused::<Npy>(&config(&file.path, ""));
    }
}

#[test]
fn sizes_that_cannot_be_or_may_not_be_are_refused() {
    let huge = Entry {
        size: npy("(4000000000,)", &[]).len() as u32 + 4_000_000_000,
        ..Entry::deflated("a.npy", &npy("(4000000000,)", &[0; 10]))
    };
    bytes_refused::<Npy>(&archive(&[huge]), "and 67108864 may be inflated: raise max_bytes");
    let large = Entry {
        size: npy("(60000000,)", &[]).len() as u32 + 60_000_000,
        ..Entry::deflated("a.npy", &npy("(60000000,)", &[0; 10]))
    };
    bytes_refused::<Npy>(&archive(&[large]), "packed bytes can hold");
    let longer = Entry::deflated("a.npy", &npy("(10,)", &[0; 11]));
    bytes_refused::<Npy>(&archive(&[longer]), "declares 10 bytes of data and holds 11");
    let stored = Entry::stored("a.npy", npy("(10,)", &[0; 9]));
    bytes_refused::<Npy>(
        &archive(std::slice::from_ref(&stored)),
        "declares 10 bytes of data and holds 9",
    );
    let lie = Entry {
        size: stored.size + 1,
        ..stored
    };
    refused::<Npy>(&config(&written(&archive(&[lie])).path, ""));
    let file = written(&archive(&[Entry::deflated("a.npy", &npy("(10,)", &[0; 10]))]));
    says(
        &refused::<Npy>(&config(&file.path, "\"max_bytes\": 9")),
        "declares 10 bytes of data, and 9 may be inflated",
    );
}

#[test]
fn arrays_that_share_bytes_are_refused() {
    let one = Entry::stored("a.npy", npy("(2,)", &[1, 2]));
    let two = Entry {
        name: "b.npy",
        ..one.clone()
    };
    let directory = [one.central(0), two.central(0)].concat();
    let local = one.local();
    let end = end(2, directory.len() as u32, local.len() as u32);
    bytes_refused::<Npy>(&[local, directory, end].concat(), "has arrays that share bytes");
    let over = Entry {
        packed: 400,
        size: 400,
        ..one
    };
    bytes_refused::<Npy>(&archive(&[over]), "has arrays that share bytes");
}

#[test]
fn headers_that_disagree_are_refused() {
    let good = Entry::stored("a.npy", npy("(2,)", &[1, 2]));
    let other = Entry {
        name: "b.npy",
        ..good.clone()
    };
    for wrong in [
        other,
        Entry { crc: 1, ..good.clone() },
        Entry {
            method: 8,
            ..good.clone()
        },
        Entry {
            size: 7,
            ..good.clone()
        },
    ] {
        let (local, central) = (wrong.local(), good.central(0));
        let end = end(1, central.len() as u32, local.len() as u32);
        bytes_refused::<Npy>(&[local, central, end].concat(), "cannot be read as .npz");
    }
    let twice = archive(&[good.clone(), good]);
    bytes_refused::<Npy>(&twice, "cannot be read as .npz");
}

#[test]
fn other_methods_encryption_and_wrong_sums_are_refused() {
    let good = Entry::deflated("a.npy", &npy("(2,)", &[1, 2]));
    for method in [1, 9, 12, 93, 99] {
        let file = written(&archive(&[Entry { method, ..good.clone() }]));
        refused::<Npy>(&config(&file.path, ""));
    }
    let file = written(&archive(&[Entry {
        flags: 1,
        ..good.clone()
    }]));
    refused::<Npy>(&config(&file.path, ""));
    bytes_refused::<Npy>(&archive(&[Entry { crc: 7, ..good }]), "cannot be inflated");
}

#[test]
fn an_end_that_lies_is_refused_before_the_directory_is_read() {
    let entry = Entry::stored("a.npy", npy("(2,)", &[1, 2]));
    let (local, central) = (entry.local(), entry.central(0));
    let (start, size) = (local.len() as u32, central.len() as u32);
    let body = [local, central].concat();
    let at = body.len() as u64;
    let wrong = |tail: Vec<u8>, what: &str| bytes_refused::<Npy>(&[&body[..], &tail].concat(), what);
    wrong(end(5000, size, start), "declares 5000 arrays");
    wrong(end(2, size, start), "cannot be read as .npz");
    wrong(
        end(1, size + 1, start),
        "has a directory that does not lie before its end",
    );
    wrong(
        end(1, size, start - 1),
        "has a directory that does not lie before its end",
    );
    wrong(
        end(1, 0xffff_fff0, 0xffff_fff0),
        "declares 1 arrays in a directory of 4294967280 bytes",
    );
    wrong(end(0xffff, size, start), "has a 64-bit end that is not in its place");
    let wide =
        |entries, size, start, at| [end_64(entries, size, start, at), end(0xffff, 0xffff_ffff, 0xffff_ffff)].concat();
    wrong(
        wide(1 << 40, size.into(), start.into(), at),
        "declares 1099511627776 arrays",
    );
    wrong(
        wide(1, 1 << 40, start.into(), at),
        "in a directory of 1099511627776 bytes",
    );
    wrong(
        wide(1, size.into(), u64::MAX, at),
        "has a directory that does not lie before its end",
    );
    wrong(
        wide(1, size.into(), start.into(), 0),
        "has a 64-bit end that is not in its place",
    );
}

#[test]
fn a_sparse_archive_of_terabytes_is_refused_at_once() {
    let file = written(b"PK\x03\x04");
    let to = File::options().write(true).open(&file.path).expect("a file");
    if to.set_len(8 << 40).is_err() {
        return; // a file system without holes
    }
    says(
        &refused::<Npy>(&config(&file.path, "")),
        "has no end of an archive in its last 22 bytes",
    );
    let mut to = File::options().append(true).open(&file.path).expect("a file");
    let start = (8u64 << 40) - (1 << 20);
    to.write_all(&end_64(4096, 1 << 20, start, 8 << 40)).expect("an end");
    to.write_all(&end(0xffff, 0xffff_ffff, 0xffff_ffff)).expect("an end");
    says(&refused::<Npy>(&config(&file.path, "")), "cannot be read as .npz");
}

#[test]
fn a_stored_array_is_read_in_place_whatever_max_bytes_is() {
    let source = Npy::open(&config(&golden("one.npz"), "\"max_bytes\": 0")).expect("it opens");
    assert_eq!(source.shape().samples, 5);
}
