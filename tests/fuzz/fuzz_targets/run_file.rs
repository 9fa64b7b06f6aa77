#![no_main]
//! Run files: whatever the bytes, an error or settings. The parser is the program's own; it is part of the binary, so that its
//! sources are linked into this folder and compiled here.
#![allow(dead_code)]

mod error;
mod file;
mod finding;
mod keys;
mod settings;
mod text_file;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut settings = settings::Settings::default();
    if settings.read(file::of(bytes)).is_err() || settings.check().is_err() {
        return;
    }
    for section in ["method", "encode", "decoder", "data", "train"] {
        let _ = settings.section(section).to_string();
    }
    let _ = (settings.number("method.t_end", 1.0), settings.count("method.lanes", 1));
    let _ = (settings.choice("method.solver"), settings.get::<Vec<String>>("encode.keep"));
});
