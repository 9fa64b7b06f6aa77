//! One broken plugin for each fault: refused when it is loaded, or found by the conformance checks. A correct one passes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use gfe_plugin::check::{Event, Outcome, Settings, run};
use gfe_plugin::{DecoderPlugin, Library, PluginError};

/// Compiles faulty.c with this fault, in a folder of its own: a library that changes while it is loaded is refused.
fn compile(fault: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("a folder can be made")
        .keep();
    let made = folder.join(format!("lib{}.so", fault.to_lowercase()));
    let run = Command::new("cc")
        .args(["-std=c11", "-O1", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror"])
        .arg(format!("-DFAULT={fault}"))
        .arg("-I")
        .arg(here.join("../abi/include"))
        .arg(here.join("tests/faulty.c"))
        .args(["-lm", "-o"])
        .arg(&made)
        .output()
        .expect("cc starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    made
}

fn open(fault: &str) -> Result<DecoderPlugin, PluginError> {
    let library: Arc<Library> = Library::load(&compile(fault), None)?;
    DecoderPlugin::open(&library, None, "")
}

/// The checks that fail, with what they say.
fn findings(fault: &str) -> Vec<(String, String)> {
    let plugin = open(fault).unwrap_or_else(|error| panic!("{fault}: {error}"));
    let mut found = Vec::new();
    run(&plugin, &Settings::default(), &mut |event| {
        if let Event::Ended(check, Outcome::Failed(text)) = event {
            found.push((check, text));
        }
    })
    .expect("it opens");
    found
}

#[test]
fn a_correct_plugin_passes_every_check() {
    assert_eq!(findings("NONE"), []);
}

#[test]
fn every_fault_is_found_by_its_check() {
    for (fault, check, words) in [
        ("VJP_SIGN", "adjoint", "only to"),
        ("VJP_MILLIONTH", "adjoint", "only to"),
        ("VJP_ALONE_MILLIONTH", "vjp", "differences"),
        ("JVP_SIGN", "jvp", "differences"),
        ("JVP_MILLIONTH", "adjoint", "only to"),
        ("NEIGHBOR", "columns", "feels its neighbors"),
        ("PARAMS_VJP", "params_vjp", "differences"),
        ("OVERWRITES_GRADIENT", "params_vjp", "overwrites"),
        ("OUTSIDE_ROWS", "padding", "writes outside x"),
        ("BEYOND_SCRATCH", "padding", "beyond scratch"),
        ("STATE", "state", "earlier calls"),
        ("FALSE_SHARED", "threads", "declares shared"),
        ("WRITES_TO_MISFITS", "shapes", "something was written"),
        ("NAN_LEAKS", "not_a_number", "in one lane changes another"),
        ("HIDDEN_COMPONENT", "vjp", "differences"),
        ("KEEPS_WEIGHTS", "versions", "weights of another call"),
    ] {
        let found = findings(fault);
        let told = found.iter().find(|(name, _)| name == check);
        assert!(told.is_some_and(|(_, text)| text.contains(words)), "{fault}: {found:?}");
    }
}

#[test]
fn a_library_that_is_no_plugin_of_this_version_is_refused() {
    for (fault, words) in [
        ("WRONG_MAGIC", "magic number"),
        (
            "NEWER_MAJOR",
            "version 2.0 of the plugin interface, and this program has 1.0",
        ),
        ("MISSING_FUNCTION", "lacks the function `vjp`"),
        ("SHORT_STRUCT", "lacks the function `destroy`"),
        ("BAD_BOUNDS", "`default` of latent a"),
    ] {
        let told = open(fault).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.contains(words), "{fault}: {told}");
    }
}

#[test]
fn a_library_is_looked_at_before_it_is_loaded() {
    let path = compile("NONE");
    let copy = path.with_file_name("libopen_to_all.so");
    std::fs::copy(&path, &copy).expect("there is room");
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&copy, permissions).expect("it is ours");
    let told = Library::load(&copy, None).expect_err("all may write to it").to_string();
    assert!(told.contains("chmod o-w"), "{told}");

    let library = Library::load(&path, None).expect("it is a plugin");
    assert!(Library::load(&path, Some(library.sha256())).is_ok());
    let told = Library::load(&path, Some(&"0".repeat(64)))
        .expect_err("it is another")
        .to_string();
    assert!(told.contains(library.sha256()), "{told}");

    let text = path.with_file_name("libtext.so");
    std::fs::write(&text, "not a library").expect("there is room");
    let told = Library::load(&text, None).expect_err("it is a text").to_string();
    assert!(told.contains("libtext.so") && told.contains("too short"), "{told}");
    let told = Library::load(Path::new("/nowhere/libx.so"), None)
        .expect_err("it is absent")
        .to_string();
    assert!(told.contains("/nowhere/libx.so: No such file"), "{told}");
}

#[test]
fn names_and_configurations_are_told_apart() {
    let library = Library::load(&compile("NONE"), None).expect("it is a plugin");
    let listed = library.decoders().expect("it lists them");
    assert_eq!((listed.len(), listed[0].id.as_str()), (1, "faulty"));
    assert!(library.datasets().expect("it lists none").is_empty());
    let told = DecoderPlugin::open(&library, Some("other"), "")
        .err()
        .map(|error| error.to_string());
    assert!(told.is_some_and(|told| told.contains("no decoder `other`; it has faulty")));
    let told = DecoderPlugin::open(&library, None, "{\"a\": 1}")
        .err()
        .map(|error| error.to_string());
    assert!(told.is_some_and(|told| told.contains("it takes no configuration")));
}

#[test]
fn statuses_become_errors_with_their_text_and_after_fatal_nothing_is_called() {
    use faer::Mat;
    use gfe_model::{At, Cols, DecodeError};
    for (fault, fatal, words) in [
        ("ERROR_ON_LANE", false, "above 0.35"),
        ("FATAL_ON_LANE", true, "the license has expired"),
        ("NO_SUCH_STATUS", true, "it answered 17"),
    ] {
        let plugin = open(fault).expect("it opens");
        let decoder = plugin.decoder().expect("an instance is there");
        let mut x = Mat::zeros(12, 2);
        let mut scratch = [0.0; 2];
        let mut call = |first: f64| {
            let z = Mat::from_fn(3, 2, |r, _| if r == 0 { first } else { 0.1 });
            let at = At {
                params: &[0.0, 0.0],
                version: 1,
                z: z.as_ref(),
                context: Cols::from_column_major_slice(&[], 0, 2),
            };
            let mut tape = Mat::zeros(0, 2);
            decoder.forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
        };
        assert_eq!(call(0.1), Ok(()));
        let error = call(0.5).expect_err("it fails there");
        assert!(error.to_string().contains(words), "{fault}: {error}");
        assert_eq!(matches!(error, DecodeError::Fatal(_)), fatal);
        assert_eq!(call(0.1).is_err(), fatal);
    }
}
