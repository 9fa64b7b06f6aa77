#![no_main]
//! Model files: whatever the bytes, an error or a model, whose decoder may not exist.

mod file;

use gfe_io::ModelFile;
use gfe_model::Decoder;
use gfe_model::dense::{Dense, DenseConfig};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(model) = ModelFile::read(file::of(bytes)) else { return };
    let Ok(config) = serde_json::from_value::<DenseConfig>(model.decoder.clone()) else { return };
    let Ok(decoder) = Dense::new(config) else { return };
    let _ = model.params_for(&decoder.tensors());
});
