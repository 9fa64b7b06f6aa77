#![no_main]
//! Run files: whatever the bytes, an error or settings. The parser is the program's own; it is part of the binary, so that its
//! sources are compiled in here.
#![allow(dead_code)]

#[path = "../../../crates/cli/error.rs"]
mod error;
mod file;
#[path = "../../../crates/cli/keys.rs"]
mod keys;
#[path = "../../../crates/cli/settings.rs"]
mod settings;
#[path = "../../../crates/cli/text_file.rs"]
mod text_file;

/// What the keys need of the methods.
mod method {
    pub const SOLVERS: [&str; 9] = ["ptc", "amd", "euler", "rk4", "tsit5", "tsit45", "tr_bdf2", "esdirk34", "bdf"];
}

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut settings = settings::Settings::default();
    if settings.read(file::of(bytes)).is_err() || settings.check().is_err() {
        return;
    }
    for section in ["method", "encode", "decoder", "data", "train"] {
        let _ = settings.section(section).to_string();
    }
    let _ = settings.number("method.t_end", 1.0);
    let _ = settings.count("method.lanes", 1);
    let _ = settings.choice("method.solver");
    let _ = settings.get::<Vec<String>>("encode.keep");
});
