//! Outputs over their parts.

use crate::{Folder, fails, python, works};
use std::path::Path;

const MODEL: &str = "tests/data/mnist_decoder.safetensors";

/// Digits with a number and a name each, made by another process: a file that is written here while others start has their locks.
fn digits(folder: &Folder) -> String {
    let path = folder.path("digits.h5");
    python("tests/make_named.py", &["tests/data/mnist_test_200.h5", &path]);
    format!("{path}:/images")
}

/// An encoding of 30 rows in parts of 10, with a part's edge inside the rows asked for.
fn encoding<'a>((input, output): (&'a str, &'a str), flags: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec![
        "encode",
        input,
        "-m",
        MODEL,
        "--rows",
        "5..35",
        "--reconstruction",
        "--trace",
        "--reproducible",
        "--keep",
        "number",
        "--keep",
        "name",
        "--shard-rows",
        "10",
        "-o",
        output,
    ];
    all.extend(flags);
    all
}

fn bytes(path: &str) -> Vec<u8> {
    std::fs::read(path).expect("it is there")
}

fn parts_of(output: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(format!("{output}.parts")).expect("the parts are there");
    let mut parts: Vec<_> = entries.map(|entry| entry.expect("it can be read").path()).collect();
    parts.retain(|path| path.to_string_lossy().contains("rows-"));
    parts.sort();
    parts
}

#[test]
fn an_output_over_its_parts_reads_like_one_file_and_becomes_the_same_file_when_merged() {
    let folder = Folder::default();
    let input = digits(&folder);
    let (whole, kept) = (folder.path("whole.h5"), folder.path("kept.h5"));
    works(&encoding((&input, &whole), &[]));
    works(&encoding((&input, &kept), &["--keep-parts"]));
    assert_eq!(parts_of(&kept).len(), 4);
    python("tests/check_parts.py", &[&kept, &whole]);
    // What is there is not made again, nor taken for what an interrupted run left.
    works(&encoding((&input, &kept), &["--keep-parts", "--force"]));
    assert_eq!(parts_of(&kept).len(), 4);

    fails(&["verify", &kept], 65, &["--allow-external"]);
    works(&["verify", &kept, "--allow-external"]);

    fails(&["merge", &kept], 73, &["--force"]);
    works(&["merge", &kept, "--force"]);
    assert!(!Path::new(&format!("{kept}.parts")).exists());
    assert!(bytes(&kept) == bytes(&whole), "the merged file has other bytes");
}

#[test]
fn shares_become_an_output_over_their_parts_and_a_lost_part_shows() {
    let folder = Folder::default();
    let input = digits(&folder);
    let kept = folder.path("kept.h5");
    for share in ["1/2", "2/2"] {
        works(&encoding((&input, &kept), &["--shard", share]));
    }
    works(&encoding((&input, &kept), &["--keep-parts"]));
    std::fs::remove_file(&parts_of(&kept)[1]).expect("it is there");
    python("tests/check_parts.py", &[&kept]);
    fails(
        &["verify", &kept, "--allow-external"],
        65,
        &["parts that are not there"],
    );
}

#[test]
fn an_output_over_parts_makes_way_for_another_with_force_alone() {
    let folder = Folder::default();
    let input = digits(&folder);
    let kept = folder.path("kept.h5");
    works(&encoding((&input, &kept), &["--keep-parts"]));
    let before = bytes(&kept);
    fails(&encoding((&input, &kept), &["--gtol", "1e-3"]), 73, &["--force"]);
    assert!(bytes(&kept) == before);
    assert_eq!(parts_of(&kept).len(), 4);
    works(&encoding((&input, &kept), &["--gtol", "1e-3", "--force"]));
    assert!(!Path::new(&format!("{kept}.parts")).exists());
}
