#![no_main]
//! IDX files: whatever the bytes, an error or samples that can be read.

mod file;

use datasets::Idx;
use gfe_sdk::{ColsMut, DatasetPlugin, DatasetSource, TargetsMut};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let path = file::of(bytes).display();
    let Ok(mut source) = Idx::open(&format!(r#"{{"path": "{path}", "max_bytes": 1000000}}"#)) else { return };
    let (samples, values) = (source.shape().samples, source.shape().values());
    let ids: Vec<usize> = (0..samples.min(3)).chain(samples.saturating_sub(2)..samples).collect();
    // More than the file can hold is refused by `open`, so that this is little.
    let mut y = vec![0.0; ids.len() * if ids.is_empty() { 0 } else { values }];
    if ids.is_empty() {
        return;
    }
    let y = ColsMut::from_column_major_slice_mut(&mut y, values, ids.len());
    let _ = source.read(&ids, TargetsMut { y, w: None });
});
