//! `gfe plot training`: histories as figures, and as others read them.

use crate::{Folder, fails, python, works};
use gfe_io::{History, HistoryColumn, HistoryTable, Series};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

fn column(name: &str, long_name: &str, values: Series) -> HistoryColumn {
    HistoryColumn {
        name: name.into(),
        long_name: long_name.into(),
        units: (name == "seconds").then(|| "s".to_owned()),
        values,
    }
}

/// A history of 50 records, the fourth without a loss, and 2 validations.
fn history(folder: &Folder, name: &str, title: &str) -> String {
    let path = folder.path(name);
    let table = |name: &str, records: &[i32], losses: Vec<HistoryColumn>| {
        let images = records.iter().map(|record| 16 * i64::from(*record)).collect();
        let seconds = records.iter().map(|record| 0.5 * f64::from(*record)).collect();
        let mut columns = vec![
            column("images", "images seen", Series::Integers(images)),
            column("seconds", "wall clock", Series::Reals(seconds)),
        ];
        columns.extend(losses);
        HistoryTable {
            name: name.into(),
            columns,
        }
    };
    let records: Vec<i32> = (1..=50).collect();
    let mut loss: Vec<f64> = records.iter().map(|record| 1.0 / f64::from(*record)).collect();
    loss[3] = f64::NAN;
    let settings = json!({"seed": u64::MAX, "learning_rate": 5e-4});
    let history = History {
        title: title.into(),
        notes: BTreeMap::from([("settings".to_owned(), settings)]),
        tables: vec![
            table("", &records, vec![column("loss", "training loss", Series::Reals(loss))]),
            table(
                "validation",
                &[25, 50],
                vec![
                    column("validation_loss", "validation loss", Series::Reals(vec![0.5; 2])),
                    column("held_out_loss", "loss on held-out values", Series::Reals(vec![0.6; 2])),
                ],
            ),
        ],
    };
    history.write(Path::new(&path)).expect("there is room");
    path
}

#[test]
fn a_history_is_read_by_xarray_and_h5py() {
    let folder = Folder::default();
    python("tests/check_history.py", &[&history(&folder, "run.h5", "")]);
}

#[test]
fn runs_are_drawn_as_png_and_as_svg() {
    let folder = Folder::default();
    let (one, two) = (
        history(&folder, "one.h5", "exact & <codes>"),
        history(&folder, "two.h5", ""),
    );
    let (svg, png) = (folder.path("runs.svg"), folder.path("runs.PNG"));
    works(&["plot", "training", &one, &two, "-o", &svg]);
    let figure = std::fs::read_to_string(&svg).expect("it was written");
    for part in [
        "exact &amp; &lt;codes&gt;",
        "two",
        "training images seen",
        "time (s)",
        "held-out values",
        "polyline",
    ] {
        assert!(figure.contains(part), "{part}: {figure}");
    }
    works(&["plot", "training", &one, "-o", &svg, "--force", "--x", "seconds"]);
    let figure = std::fs::read_to_string(&svg).expect("it was written");
    assert!(figure.contains("time (s)") && !figure.contains("images seen"));
    works(&["plot", "training", &one, &two, "-o", &png]);
    let figure = image::open(&png).expect("it is a PNG").to_rgb8();
    assert!(figure.width() == 2400 && figure.height() > 800);
    // The legend's patches: the first run is black, the second vermilion.
    for color in [[0, 0, 0], [213, 94, 0], [255, 255, 255]] {
        assert!(figure.pixels().any(|pixel| pixel.0 == color), "{color:?}");
    }
    let bytes = |path: &str| std::fs::read(path).expect("it was written");
    let first = bytes(&png);
    works(&["plot", "training", &one, &two, "-o", &png, "--force"]);
    assert_eq!(bytes(&png), first);
}

#[test]
fn what_cannot_be_drawn_is_named() {
    let folder = Folder::default();
    let run = history(&folder, "run.h5", "");
    let figure = folder.write("figure.svg", "mine");
    fails(
        &["plot", "training", &run, "-o", &figure],
        73,
        &["figure.svg", "--force"],
    );
    assert_eq!(std::fs::read_to_string(&figure).expect("it is there"), "mine");
    fails(&["plot", "training", &run, "-o", &run, "--force"], 2, &["svg"]);
    let new = folder.path("new.svg");
    let digits = "tests/data/mnist_test_200.h5";
    fails(
        &["plot", "training", &run, digits, "-o", &new],
        65,
        &[digits, "gfe train"],
    );
    fails(
        &["plot", "training", &folder.path("absent.h5"), "-o", &new],
        66,
        &["absent.h5"],
    );
    let text = folder.write("text.h5", "text");
    fails(&["plot", "training", &text, "-o", &new], 65, &["text.h5"]);
    let empty = folder.path("empty.h5");
    History::default().write(Path::new(&empty)).expect("there is room");
    fails(
        &["plot", "training", &empty, "-o", &new],
        65,
        &["empty.h5", "`images`", "validation_loss"],
    );
    let many: Vec<&str> = std::iter::repeat_n(&*run, 13).collect();
    fails(
        &[&["plot", "training", "-o", &new], &many[..]].concat(),
        2,
        &["13", "at most 12"],
    );
    fails(&["plot", "training", "-o", &new], 2, &["HISTORIES"]);
    assert!(!Path::new(&new).exists());
}
