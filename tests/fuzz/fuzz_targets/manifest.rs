#![no_main]
//! Manifests of parts: whatever the bytes, an error or a manifest whose rows ascend.

use gfe_io::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert!(manifest.rows.start <= manifest.rows.end);
    }
});
