//! `gfe decode`, `inspect`, `plot`, `completions`.

use crate::train::{DIGITS, trained};
use crate::{Folder, fails, read, works};

#[test]
fn decoding_codes_gives_the_reconstruction_of_the_encoding() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &[]);
    let (codes, decoded, some) = (
        folder.path("codes.h5"),
        folder.path("decoded.h5"),
        folder.path("some.h5"),
    );
    works(&[
        "encode",
        DIGITS,
        "-m",
        &model,
        "-o",
        &codes,
        "--rows",
        "100..200",
        "--reconstruction",
    ]);
    works(&["decode", &codes, "-m", &model, "-o", &decoded]);
    works(&[
        "decode",
        &format!("{codes}:/z"),
        "-m",
        &model,
        "-o",
        &some,
        "--rows",
        "7..8",
    ]);
    let expected = read(&codes, "reconstruction");
    assert!(expected.iter().all(|value| (0.0..=1.0).contains(value)));
    assert_eq!(read(&decoded, "reconstruction"), expected);
    assert_eq!(read(&some, "reconstruction"), expected[7 * 64..8 * 64]);
    assert_eq!(read(&decoded, "sample"), read(&codes, "sample"));
    assert_eq!(read(&some, "sample"), [107.0]);
    let shape = hdf5::File::open(&decoded).and_then(|file| file.dataset("reconstruction"));
    assert_eq!(shape.expect("it is there").shape(), [100, 8, 8]);
    let other = "tests/data/mnist_decoder.safetensors";
    fails(
        &["decode", &codes, "-m", other, "-o", &some, "--force"],
        65,
        &["8 values per code", "20"],
    );
}

#[test]
fn every_kind_of_file_is_told_apart() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &[]);
    let (codes, decoded) = (folder.path("codes.h5"), folder.path("decoded.h5"));
    works(&["encode", DIGITS, "-m", &model, "-o", &codes, "--rows", "0..50"]);
    works(&["decode", &codes, "-m", &model, "-o", &decoded]);
    let json = |file: &str| {
        let told = works(&["inspect", file, "--json"]);
        serde_json::from_str::<serde_json::Value>(&told).expect("one object")
    };
    let told = json(&codes);
    assert_eq!(
        (&told["kind"], &told["samples"], &told["latent"]),
        (&"encoded samples".into(), &50.into(), &8.into())
    );
    assert_eq!(told["status"]["converged"], 50);
    assert_eq!(told["input"]["rows"], serde_json::json!([0, 50]));
    assert_eq!(told["decoder"]["params_sha256"], json(&model)["params_sha256"]);
    assert_eq!(json(&decoded)["kind"], "decoded samples");
    assert_eq!(
        json("datasets/digits.h5")["datasets"]["/images"]["shape"],
        serde_json::json!([1797, 8, 8])
    );
    assert_eq!(json("datasets/demo.toml")["decoder"]["latent"], 8);
    assert!(works(&["inspect", &model]).contains("activation: elu"));
    fails(&["inspect", "README.md"], 65, &["README.md"]);
    fails(&["inspect", &folder.path("absent.h5")], 66, &["absent.h5"]);
}

#[test]
fn a_figure_has_the_samples_asked_for_and_its_size() {
    let folder = Folder::default();
    let model = trained(&folder, "model.safetensors", &[]);
    let (codes, bare, figure) = (
        folder.path("codes.h5"),
        folder.path("bare.h5"),
        folder.path("figure.png"),
    );
    works(&[
        "encode",
        DIGITS,
        "-m",
        &model,
        "-o",
        &codes,
        "--rows",
        "0..50",
        "--reconstruction",
    ]);
    works(&["encode", DIGITS, "-m", &model, "-o", &bare, "--rows", "0..50"]);
    works(&[
        "plot",
        "reconstructions",
        &codes,
        "--input",
        DIGITS,
        "-o",
        &figure,
        "--count",
        "6",
    ]);
    let bytes = std::fs::read(&figure).expect("the figure is there");
    assert_eq!(bytes[..8], *b"\x89PNG\r\n\x1a\n");
    let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize;
    // Six images of 8 x 8, enlarged 17 times, with gaps of 6 pixels.
    assert_eq!((side(16), side(20)), (6 * (17 * 8 + 6) + 6, 2 * 17 * 8 + 4 * 6));
    fails(
        &["plot", "reconstructions", &codes, "--input", DIGITS, "-o", &figure],
        73,
        &["--force"],
    );
    let other = folder.path("other.png");
    fails(
        &["plot", "reconstructions", &bare, "--input", DIGITS, "-o", &other],
        65,
        &["--reconstruction"],
    );
    fails(
        &["plot", "reconstructions", &codes, "--input", DIGITS, "-o", "figure.pdf"],
        2,
        &["FILE.png"],
    );
    let labels = "datasets/digits.h5:/labels";
    fails(
        &["plot", "reconstructions", &codes, "--input", labels, "-o", &other],
        65,
        &["1 values"],
    );
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = works(&["completions", shell]);
        assert!(
            script.contains("encode") && script.contains("reconstructions"),
            "{shell}"
        );
    }
}
