//! What the tests of the four kinds share.
#![allow(dead_code)] // each test uses some of it

use gfe_sdk::faer::Mat;
use gfe_sdk::{DatasetPlugin, TargetsMut};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The memory that the tests of hostile files may take, all together.
const MEMORY_MAX: usize = 100 << 20;

/// The time to refuse one; the best of three counts, since the tests share the machine.
const TIME_MAX: Duration = Duration::from_millis(100);

/// A file that NumPy wrote.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A configuration with this path and more keys, `"key": value`.
pub fn config(path: &Path, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!(
        "{{\"path\": {:?}{comma}{more}}}",
        path.to_str().expect("paths of tests are text")
    )
}

/// Bytes as a file; the folder goes with the result.
pub struct Written {
    folder: TempDir,
    pub path: PathBuf,
}

pub fn written(bytes: &[u8]) -> Written {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    fs::write(&path, bytes).expect("a file");
    Written { folder, path }
}

/// Reads samples, one `Vec` each.
pub fn read<S: DatasetPlugin>(source: &mut S, ids: &[usize]) -> Vec<Vec<f64>> {
    try_read(source, ids).expect("the samples are there")
}

pub fn try_read<S: DatasetPlugin>(source: &mut S, ids: &[usize]) -> Result<Vec<Vec<f64>>, String> {
    let values = source.shape().values();
    let mut y = Mat::from_fn(values, ids.len(), |_, _| f64::NAN);
    let mut w = Mat::from_fn(values, ids.len(), |_, _| f64::NAN);
    let to = TargetsMut {
        y: y.as_mut(),
        w: Some(w.as_mut()),
    };
    source.read(ids, to).map_err(|error| error.message)?;
    assert!((0..ids.len()).all(|lane| w.col(lane).iter().all(|w| *w == 1.0)));
    Ok((0..ids.len())
        .map(|lane| y.col(lane).iter().copied().collect())
        .collect())
}

/// All samples.
pub fn read_all<S: DatasetPlugin>(config: &str) -> Vec<Vec<f64>> {
    let mut source = S::open(config).expect("it opens");
    let ids: Vec<usize> = (0..source.shape().samples).collect();
    read(&mut source, &ids)
}

/// The values of the golden files' formula, cut into samples: whole for bytes, less 50 if signed, an eighth of it if real.
pub fn expected(samples: usize, values: usize, kind: char) -> Vec<Vec<f64>> {
    let value = |place: usize| match (place * 7 % 100, kind) {
        (count, 'u') => count as f64,
        (count, 'i') => count as f64 - 50.0,
        (count, _) => (count as f64 - 50.0) / 8.0,
    };
    (0..samples)
        .map(|sample| (0..values).map(|i| value(sample * values + i)).collect())
        .collect()
}

/// Opens what has to be refused, in time and in memory, and returns the sentence.
#[track_caller]
pub fn refused<S: DatasetPlugin>(config: &str) -> String {
    let tries = (0..3).map(|_| {
        let start = Instant::now();
        let error = S::open(config).err();
        (start.elapsed(), error)
    });
    let (time, error) = tries.min_by_key(|(time, _)| *time).expect("three tries");
    let error = error.expect("it has to be refused");
    assert!(time < TIME_MAX, "{time:?} to say: {error}");
    assert!(peak() < MEMORY_MAX, "{} bytes of memory to say: {error}", peak());
    error
}

/// Bytes that have to be refused with a sentence that has `what` in it.
#[track_caller]
pub fn bytes_refused<S: DatasetPlugin>(bytes: &[u8], what: &str) {
    let file = written(bytes);
    says(&refused::<S>(&config(&file.path, "")), what);
}

#[track_caller]
pub fn says(error: &str, what: &str) {
    assert!(error.contains(what), "{what:?} is not in: {error}");
}

/// The most memory that this process ever had, in bytes.
pub fn peak() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok());
    kib.unwrap_or(0) << 10
}
