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

/// Removes the second part.
fn lose_a_part(output: &str) {
    std::fs::remove_file(&parts_of(output)[1]).expect("it is there");
}

fn state(output: &str) -> String {
    let told: serde_json::Value = serde_json::from_str(&works(&["status", output, "--json"])).expect("it is JSON");
    told["state"].as_str().expect("a state").to_owned()
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
    // A share that is run again does nothing.
    let before = bytes(&kept);
    works(&encoding((&input, &kept), &["--shard", "1/2"]));
    assert!(bytes(&kept) == before);
    assert_eq!(state(&kept), "complete");
    lose_a_part(&kept);
    assert_eq!(state(&kept), "incomplete");
    python("tests/check_parts.py", &[&kept]);
    fails(
        &["verify", &kept, "--allow-external"],
        65,
        &["parts that are not there"],
    );
    // The same command makes it again, to the same bytes.
    works(&encoding((&input, &kept), &["--keep-parts"]));
    assert_eq!(state(&kept), "complete");
    assert!(bytes(&kept) == before);
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

#[test]
fn an_output_over_parts_is_done_only_for_the_same_layout_and_the_same_data() {
    let folder = Folder::default();
    let input = digits(&folder);
    let kept = folder.path("kept.h5");
    works(&encoding((&input, &kept), &["--keep-parts"]));
    let before = bytes(&kept);
    // Another layout, and data that were written anew: both are other outputs.
    let plain: Vec<&str> = encoding((&input, &kept), &["--keep-parts"])
        .into_iter()
        .filter(|word| *word != "--reconstruction")
        .collect();
    fails(&plain, 73, &["--force"]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    digits(&folder);
    fails(&encoding((&input, &kept), &["--keep-parts"]), 73, &["--force"]);
    assert!(bytes(&kept) == before);
    assert_eq!(parts_of(&kept).len(), 4);
}

#[test]
fn a_run_that_is_refused_leaves_an_output_over_parts_and_a_damaged_part_stays_where_a_merge_fails() {
    let folder = Folder::default();
    let input = digits(&folder);
    let kept = folder.path("100%s 1.h5");
    works(&encoding((&input, &kept), &["--keep-parts"]));
    let before = bytes(&kept);
    let lock = std::fs::File::open(format!("{kept}.parts/lock")).expect("it is there");
    lock.lock().expect("nobody else has it");
    fails(&encoding((&input, &kept), &["--gtol", "1e-3", "--force"]), 75, &[]);
    drop(lock);
    assert!(bytes(&kept) == before);
    let part = &parts_of(&kept)[2];
    let mut damaged = std::fs::read(part).expect("it is there");
    *damaged.last_mut().expect("it has bytes") ^= 1;
    std::fs::write(part, damaged).expect("it can be written");
    fails(&["merge", &kept, "--force"], 65, &["bytes"]);
    assert_eq!(parts_of(&kept).len(), 4);
    fails(&["verify", &kept, "--allow-external"], 65, &[]);
}

#[test]
fn a_link_to_an_output_over_parts_stays_a_link() {
    let folder = Folder::default();
    let input = digits(&folder);
    let (kept, link) = (folder.path("kept.h5"), folder.path("link.h5"));
    std::os::unix::fs::symlink("kept.h5", &link).expect("a link can be made");
    works(&encoding((&input, &link), &["--keep-parts"]));
    assert_eq!(parts_of(&kept).len(), 4);
    works(&encoding(
        (&input, &link),
        &["--gtol", "1e-3", "--keep-parts", "--force"],
    ));
    assert!(Path::new(&link).is_symlink());
    assert_eq!(state(&kept), "complete");
}

#[test]
fn an_output_that_appears_while_another_is_made_is_not_replaced_without_force() {
    let folder = Folder::default();
    let input = digits(&folder);
    let output = folder.path("out.h5");
    works(&encoding((&input, &output), &["--shard", "1/1"]));
    std::fs::write(&output, b"somebody else's").expect("there is room");
    fails(&["merge", &output], 73, &["--force"]);
    assert_eq!(bytes(&output), b"somebody else's");
    assert_eq!(parts_of(&output).len(), 4);
    works(&["merge", &output, "--force"]);
    let merged = bytes(&output);
    // Once more: there is nothing to do.
    works(&["merge", &output]);
    assert!(bytes(&output) == merged);
    fails(
        &["merge", &folder.path("nothing.h5")],
        66,
        &["nothing.h5.parts", "--shard"],
    );
}
