//! Run files of random and of damaged text: an error or settings, never a panic. `make fuzz` does the same for longer.

use crate::settings::Settings;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

/// Reads it as a run file and looks at what comes of it.
fn survive(text: &[u8]) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("run.toml");
    std::fs::write(&path, text).expect("there is room");
    let mut settings = Settings::default();
    if let Err(error) = settings.read(&path) {
        assert_eq!(error.exit_code(), 78, "{error}");
        return;
    }
    if let Err(error) = settings.check() {
        assert_eq!(error.exit_code(), 78, "{error}");
    }
    for section in ["method", "encode", "decoder", "data", "train"] {
        let _ = settings.section(section);
    }
    let _ = (
        settings.get::<String>("encode.rows"),
        settings.get::<Vec<String>>("encode.keep"),
    );
    let _ = (settings.number("method.t_end", 1.0), settings.count("method.lanes", 1));
    let _ = settings.choice("method.solver");
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: 100,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn random_run_files_never_panic(text in vec(any::<u8>(), 0..300)) {
        survive(&text);
        survive(&[b"[method]\n", &text[..]].concat());
    }

    #[test]
    fn run_files_of_keys_and_odd_values_never_panic(
        lines in vec(("[a-z_]{1,12}|lanes|solver|t_end|gtol", r#"[-+0-9.e_]{1,30}|"[^"]*"|true|inf|nan|\[[0-9, ]*\]|\{a = 1\}"#), 0..8),
        section in "method|encode|data|train|decoder|[a-z.]{1,8}",
    ) {
        let lines: String = lines.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        survive(format!("[{section}]\n{lines}").as_bytes());
    }

    #[test]
    fn damaged_run_files_never_panic(damages in vec((any::<Index>(), any::<u8>()), 1..6)) {
        let mut text = include_bytes!("../../datasets/demo.toml").to_vec();
        for (place, byte) in damages {
            let at = place.index(text.len());
            text[at] = byte;
        }
        survive(&text);
    }
}
