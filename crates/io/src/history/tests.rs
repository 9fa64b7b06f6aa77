use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::*;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("history.h5");
    (folder, path)
}

fn reals(name: &str, values: &[f64]) -> HistoryColumn {
    HistoryColumn {
        name: name.into(),
        long_name: format!("the {name}"),
        units: None,
        values: Series::Reals(values.to_vec()),
    }
}

fn some() -> History {
    let images = HistoryColumn {
        values: Series::Integers(vec![16, 32]),
        ..reals("images", &[])
    };
    let seconds = HistoryColumn {
        units: Some("s".into()),
        ..reals("seconds", &[0.5, 1.0])
    };
    let settings = json!({"seed": u64::MAX, "rate": 0.1});
    History {
        title: "a run".into(),
        notes: BTreeMap::from([("settings".to_owned(), settings), ("gfe".to_owned(), json!("0.1.0"))]),
        tables: vec![
            HistoryTable {
                name: String::new(),
                columns: vec![images, reals("loss", &[0.25, f64::NAN]), seconds],
            },
            HistoryTable {
                name: "validation".into(),
                columns: vec![reals("validation_loss", &[0.125])],
            },
        ],
    }
}

#[test]
fn a_history_comes_back() {
    let (_folder, path) = folder();
    some().write(&path).expect("there is room");
    let first = fs::read(&path).expect("it is there");
    let read = History::read(&path).expect("it is one");
    // A NaN is no value, and so not equal to one.
    assert_eq!(format!("{read:?}"), format!("{:?}", some()));
    let loss = read.tables[0].column("loss").expect("it was written");
    assert_eq!(loss.values.to_reals()[0], 0.25);
    assert!(read.tables[0].column("los").is_none());
    some().write(&path).expect("there is room");
    assert_eq!(
        fs::read(&path).expect("it is there"),
        first,
        "the same content, the same bytes"
    );
}

#[test]
fn an_empty_history_and_long_notes_come_back() {
    let (_folder, path) = folder();
    let mut empty = History::default();
    empty.write(&path).expect("there is room");
    assert_eq!(History::read(&path).expect("it is one"), empty);
    empty.notes.insert("long".into(), json!("x".repeat(300_000)));
    empty.tables = vec![HistoryTable {
        name: String::new(),
        columns: vec![reals("loss", &[])],
    }];
    empty.write(&path).expect("there is room");
    assert_eq!(History::read(&path).expect("it is one"), empty);
}

#[test]
fn names_and_lengths_that_cannot_be_are_refused_and_what_stood_there_stands() {
    let (_folder, path) = folder();
    some().write(&path).expect("there is room");
    let standing = fs::read(&path).expect("it is there");
    let refused = |change: &dyn Fn(&mut History), word: &str| {
        let mut history = some();
        change(&mut history);
        let told = history.write(&path).expect_err("it is refused").to_string();
        assert!(told.contains(word), "{told}");
        assert_eq!(fs::read(&path).expect("it is there"), standing);
    };
    for name in ["", ".", "a/b", "a\0", "record", "loss", "validation"] {
        refused(
            &|history| history.tables[0].columns[0].name = name.into(),
            "cannot be called",
        );
    }
    refused(&|history| history.tables[1].name.clear(), "cannot be called");
    refused(
        &|history| history.tables[1].columns.push(reals("x", &[1.0, 2.0])),
        "2 came",
    );
    refused(&|history| drop(history.notes.insert("title".into(), json!(1))), "title");
}

#[test]
fn foreign_and_hostile_files_are_refused_with_their_name() {
    let (folder, path) = folder();
    let refused = |words: &[&str]| {
        let told = History::read(&path).expect_err("it is refused").to_string();
        for word in words.iter().chain([&"history.h5"]) {
            assert!(told.contains(word), "nothing of {word}: {told}");
        }
    };
    refused(&["no such file"]);
    fs::write(&path, "text").expect("there is room");
    refused(&["HDF5"]);
    let make = |fill: &dyn Fn(&File) -> hdf5::Result<()>| {
        let file = File::create(&path).expect("there is room");
        crate::encoded::text(&file, MARK.0, MARK.1)
            .and_then(|()| fill(&file))
            .expect("there is room");
    };
    File::create(&path).expect("there is room");
    refused(&["gfe_history_version"]);
    make(&|file| {
        file.new_dataset::<f64>()
            .shape([1_usize << 40])
            .create("loss")
            .map(|_| ())
    });
    refused(&["loss", "more than"]);
    make(&|file| {
        let create = |i: i32| {
            file.new_dataset::<f64>()
                .shape([1_usize << 23])
                .create(format!("c{i}").as_str())
        };
        (0..3).try_for_each(|i| create(i).map(|_| ()))
    });
    refused(&["c2", "more than"]);
    let secret = folder.path().join("secret");
    fs::write(&secret, [7; 64]).expect("there is room");
    make(&|file| {
        let outside = secret.to_str().expect("a temporary folder has a plain name");
        let builder = file
            .new_dataset::<f64>()
            .with_dcpl(|creation| creation.external(outside, 0, 16));
        builder.shape([2]).create("loss").map(|_| ())
    });
    refused(&["another file"]);
    make(&|file| {
        file.new_dataset::<f64>().shape([2]).create("a")?;
        file.new_dataset::<f64>().shape([3]).create("b").map(|_| ())
    });
    refused(&["`a` and `b`", "2 and 3"]);
    let other = folder.path().join("other.h5");
    some().write(&other).expect("there is room");
    make(&|file| file.link_external(other.to_str().expect("a plain name"), "loss", "loss"));
    assert_eq!(History::read(&path).expect("links are passed over").tables, []);
}

#[test]
fn a_change_of_any_byte_is_an_error_or_another_history() {
    let (_folder, path) = folder();
    some().write(&path).expect("there is room");
    let whole = fs::read(&path).expect("it is there");
    let mut refused = 0;
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::remove_file(&path).expect("it is there");
        fs::write(&path, &damaged).expect("there is room");
        refused += usize::from(History::read(&path).is_err());
    }
    assert!(refused > 8, "the signature cannot be changed");
}
