//! Data sets of plugins wherever an INPUT is taken, converted, and hostile files of every format.

use crate::plugins::{built, with_path};
use crate::{Folder, python, read};
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// A folder in which the data sets are found by the name of their kind.
fn kinds(folder: &Folder) -> String {
    let library = built("datasets");
    for kind in ["idx", "npy", "cifar", "synthetic"] {
        std::os::unix::fs::symlink(&library, folder.path(&format!("lib{kind}.so"))).expect("a link can be made");
    }
    folder.path(".")
}

/// The header of an IDX file of unsigned bytes.
fn idx(dims: &[u32]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dims.len() as u8];
    dims.iter().for_each(|dim| bytes.extend(dim.to_be_bytes()));
    bytes
}

#[test]
fn idx_files_are_encoded_converted_and_read_by_xarray() {
    let folder = Folder::default();
    let here = kinds(&folder);
    // The digits of the tests once more, as MNIST has them.
    let images = read("tests/data/mnist_test_200.h5", "images");
    let mut bytes = idx(&[200, 28, 28]);
    bytes.extend(images.iter().map(|value| (255.0 * value).round() as u8));
    let path = folder.path("images-idx3-ubyte");
    std::fs::write(&path, &bytes).expect("there is room");
    let input = format!("plugin:idx?path={path}");
    let (codes, data) = (folder.path("codes.h5"), folder.path("data.h5"));
    let model = "tests/data/mnist_decoder.safetensors";
    let run = |arguments: &[&str]| {
        let (code, told) = with_path(&here, arguments);
        assert_eq!(code, Some(0), "gfe {arguments:?}: {told}");
    };
    run(&["encode", &input, "-m", model, "--rows", "0..20", "-o", &codes]);
    let own = folder.path("own.h5");
    run(&[
        "encode",
        "tests/data/mnist_test_200.h5",
        "-m",
        model,
        "--rows",
        "0..20",
        "-o",
        &own,
    ]);
    let apart = read(&codes, "loss")
        .iter()
        .zip(read(&own, "loss"))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(apart < 1e-4, "{apart}");
    run(&["convert", &input, &data]);
    let converted: Vec<f64> = read(&data, "data");
    assert!(
        converted
            .iter()
            .zip(&images)
            .all(|(byte, value)| *byte == (255.0 * value).round())
    );
    python(
        "tests/check_converted.py",
        &[&data, "200,28,28", "sample,row,column", "uint8"],
    );
    // What was converted is an input as any other, with the same factor.
    let again = folder.path("again.h5");
    run(&[
        "encode",
        &format!("{data}:/data"),
        "-m",
        model,
        "--rows",
        "0..20",
        "-o",
        &again,
    ]);
    assert_eq!(read(&again, "loss"), read(&codes, "loss"));
    let table = folder.path("table.h5");
    run(&[
        "convert",
        "plugin:synthetic?kind=sine&samples=50&values=40&noise=0.1&seed=3",
        &table,
    ]);
    python(
        "tests/check_converted.py",
        &[&table, "50,40", "sample,position", "float64"],
    );
    let run_file = folder.write(
        "run.toml",
        "[decoder]\nlatent = 3\nlayers = [16, 40]\nactivation = \"tanh\"\noutput = \"values\"\n[data]\n\
         input = \"plugin:synthetic?kind=sine&samples=80&values=40&noise=0.1\"\n[train]\nepochs = 2\n",
    );
    run(&["train", &run_file, "-o", &folder.path("sine.safetensors")]);
    let (code, told) = with_path(&here, &["convert", "plugin:idx?pth=x", &folder.path("x.h5")]);
    assert!(code == Some(65) && told.contains("pth"), "{told}");
    let (code, told) = with_path(&here, &["convert", "plugin:mnist?path=x", &folder.path("x.h5")]);
    assert!(code == Some(66) && told.contains("libmnist.so"), "{told}");
}

/// Runs under a limit of memory and time; gives the exit code and what was said.
fn limited(here: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let start = Instant::now();
    let ran = std::process::Command::new("sh")
        // 100 MiB beside the program's own libraries and the reservations of its threads.
        .args(["-c", "ulimit -d 102400; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_gfe")])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("GFE_PLUGIN_PATH", here)
        .output()
        .expect("sh starts");
    let seconds = start.elapsed().as_secs_f64();
    assert!(seconds < 10.0, "{arguments:?}: {seconds} s");
    (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

/// A gzip of so many zeros, in stored members' least form: deflate by the library that the plugin uses, run through Python.
fn bomb(folder: &Folder, name: &str, head: &[u8], zeros: u64) -> String {
    let (raw, path) = (folder.path("head"), folder.path(name));
    std::fs::write(&raw, head).expect("there is room");
    python("tests/make_gzip.py", &[&raw, &zeros.to_string(), &path]);
    path
}

#[test]
fn hostile_files_are_refused_at_once_and_in_little_memory() {
    let folder = Folder::default();
    let here = kinds(&folder);
    let output = folder.path("out.h5");
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path(name);
        let mut file = std::fs::File::create(&path).expect("it can be made");
        file.write_all(bytes).expect("there is room");
        path
    };
    let npy = |header: &str, data: usize| {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    let huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 784), }\n";
    let files = [
        ("idx", write("cut", &idx(&[200, 28, 28])[..9])),
        ("idx", write("short", &[idx(&[200, 28, 28]), vec![0; 100]].concat())),
        ("idx", write("long", &[idx(&[2, 2]), vec![0; 100]].concat())),
        ("idx", write("huge", &idx(&[u32::MAX, u32::MAX, u32::MAX]))),
        ("idx", write("text", b"this is no idx file")),
        ("idx", bomb(&folder, "bomb.gz", &idx(&[4, 4]), 3_000_000_000)),
        ("idx", bomb(&folder, "lying.gz", &idx(&[60_000, 2_000, 2_000]), 1000)),
        // True to its header, and more than is inflated without being asked for.
        (
            "idx",
            bomb(&folder, "true.gz", &idx(&[1000, 1000, 1000]), 1_000_000_000),
        ),
        ("npy", write("a.npy", &npy(huge, 16))),
        ("npy", write("b.npy", &npy(&huge[..40], 0))),
        (
            "npy",
            write(
                "c.npy",
                &npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n", 16),
            ),
        ),
        ("npy", write("d.npz", b"PK\x03\x04 this is no archive")),
        ("cifar", write("e.bin", &[0; 3072])),
    ];
    for (kind, path) in &files {
        let (code, said) = limited(&here, &["convert", &format!("plugin:{kind}?path={path}"), &output]);
        assert_eq!(code, Some(65), "{kind} {path}: {said}");
        assert!(
            said.starts_with("gfe: ") && said.len() > 40 && !Path::new(&output).exists(),
            "{said}"
        );
    }
    // Model files: cut, with a huge header, overlapping ranges.
    let header = |text: &str, data: usize| {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend(text.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    let overlap = "{\"a\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]},\"b\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[8,24]}}";
    let beyond =
        "{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,36893488147419103232]}}";
    for (name, bytes) in [
        (
            "huge.safetensors",
            [u64::MAX.to_le_bytes().to_vec(), vec![b'{'; 10]].concat(),
        ),
        ("overlap.safetensors", header(overlap, 24)),
        ("beyond.safetensors", header(beyond, 24)),
        ("cut.safetensors", header(overlap, 24)[..40].to_vec()),
    ] {
        let path = write(name, &bytes);
        let (code, said) = limited(
            &here,
            &["encode", "datasets/digits.h5:/images", "-m", &path, "-o", &output],
        );
        assert_eq!(code, Some(65), "{name}: {said}");
    }
}
