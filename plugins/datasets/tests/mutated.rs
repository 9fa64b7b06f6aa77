//! Random bytes, and valid files with random damage: never a panic, never much memory.

mod support;

use datasets::{Cifar, Idx, Npy};
use gfe_sdk::DatasetPlugin;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use std::fs;
use support::{config, golden, peak, try_read, written};

/// The files to damage; one of them is deflated, one gzipped.
const FILES: &[&str] = &[
    "f4_little.npy",
    "fortran_matrix.npy",
    "version_3.npy",
    "one.npz",
    "several.npz",
    "packed.npz",
    "images.idx3-ubyte",
    "images.idx3-ubyte.gz",
    "f8.idx",
];

fn runs() -> ProptestConfig {
    ProptestConfig {
        cases: std::env::var("PROPTEST_CASES")
            .ok()
            .and_then(|cases| cases.parse().ok())
            .unwrap_or(1500),
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    }
}

/// Opens the file as every kind and reads the first and the last samples of what opens.
fn survive(bytes: &[u8]) {
    fn read<S: DatasetPlugin>(config: &str) {
        let Ok(mut source) = S::open(config) else { return };
        let samples = source.shape().samples;
        let ids: Vec<usize> = (0..samples.min(20))
            .chain(samples.saturating_sub(20)..samples)
            .collect();
        if ids.is_empty() {
            return; // a shape without samples may have any length
        }
        let _ = try_read(&mut source, &ids);
    }
    let file = written(bytes);
    for more in ["", "\"array\": \"images\"", "\"array\": \"labels\""] {
        read::<Npy>(&config(&file.path, more));
    }
    read::<Idx>(&config(&file.path, ""));
    for classes in ["\"classes\": 10", "\"classes\": 100"] {
        read::<Cifar>(&config(&file.path, classes));
    }
    assert!(peak() < 100 << 20, "{} bytes of memory", peak());
}

/// Damage at a place: a byte changed, bytes left out, bytes put in, or the rest cut off.
fn damage(bytes: &mut Vec<u8>, place: Index, how: u8, new: u8) {
    if bytes.is_empty() {
        return;
    }
    let at = place.index(bytes.len());
    match how {
        0..=5 => bytes[at] = new,
        6 => bytes[at] ^= 1 << (new % 8),
        7 => drop(bytes.drain(at..(at + usize::from(new) % 16).min(bytes.len()))),
        8 => drop(bytes.splice(at..at, std::iter::repeat_n(new, 1 + usize::from(new) % 8))),
        _ => bytes.truncate(at),
    }
}

proptest! {
    #![proptest_config(runs())]

    #[test]
    fn random_bytes_never_panic(start in 0..7usize, rest in vec(any::<u8>(), 0..400)) {
        let starts: [&[u8]; 7] = [b"", b"\0\0\x08", b"\0\0\x0e\x02", b"\x93NUMPY\x01\0\x40\0", b"PK\x03\x04", b"\x1f\x8b\x08\0", b"\x03"];
        survive(&[starts[start], &rest].concat());
    }

    #[test]
    fn damaged_files_never_panic(
        file in 0..FILES.len(),
        damages in vec((any::<Index>(), 0..10u8, any::<u8>()), 1..6),
    ) {
        let mut bytes = fs::read(golden(FILES[file])).expect("a golden file");
        for (place, how, new) in damages {
            damage(&mut bytes, place, how, new);
        }
        survive(&bytes);
    }
}
