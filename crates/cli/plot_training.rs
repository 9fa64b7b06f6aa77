//! `gfe plot training`: the losses of runs against the images they have seen and the seconds they took.

mod figure;

use crate::error::CliError;
use crate::figure::COLORS;
use crate::logs::say;
use crate::output;
use clap::{Args, ValueEnum};
use figure::Figure;
use gfe_io::{History, HistoryTable, write_whole};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Histories written by `gfe train`, 12 at most.
    #[arg(required = true)]
    histories: Vec<PathBuf>,
    /// Figure to write, FILE.svg or FILE.png.
    #[arg(short, long)]
    output: PathBuf,
    /// What the losses are drawn against.
    #[arg(long, value_enum, default_value_t = Against::Both)]
    x: Against,
    /// Overwrite the figure.
    #[arg(long)]
    force: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Against {
    /// Training images seen.
    Images,
    /// Wall-clock time.
    Seconds,
    /// A panel for each.
    Both,
}

impl Against {
    /// Column and label of each panel.
    fn panels(self) -> &'static [(&'static str, &'static str)] {
        const BOTH: [(&str, &str); 2] = [("images", "training images seen"), ("seconds", "time (s)")];
        match self {
            Against::Images => &BOTH[..1],
            Against::Seconds => &BOTH[1..],
            Against::Both => &BOTH,
        }
    }
}

/// Columns of losses, what they are, and how they are drawn: the width of the line, in units of the figure, and whether it
/// is dashed.
const LOSSES: [(&str, &str, f64, bool); 3] = [
    ("loss", "training", 1.0, false),
    ("validation_loss", "validation", 2.5, false),
    ("held_out_loss", "held-out values", 1.5, true),
];
/// Numbers beyond it, and NaN, are not drawn: an axis could not be divided.
const DRAWN: f64 = 1e100;
/// A curve of more points is drawn with every second, third, ... of them.
const POINTS: usize = 4000;
/// One loss of one run.
struct Curve {
    run: usize,
    /// Which of [`LOSSES`].
    loss: usize,
    /// Its points in each panel.
    points: Vec<Vec<(f64, f64)>>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let extension = arguments
        .output
        .extension()
        .map(|extension| extension.to_ascii_lowercase());
    let png = match extension.as_ref().and_then(|extension| extension.to_str()) {
        Some("png") => true,
        Some("svg") => false,
        _ => return Err(CliError::Usage("the figure must be named FILE.svg or FILE.png".into())),
    };
    if arguments.histories.len() > COLORS.len() {
        let text = format!(
            "{} histories: at most {} can be told apart",
            arguments.histories.len(),
            COLORS.len()
        );
        return Err(CliError::Usage(text));
    }
    let inputs: Vec<&Path> = arguments.histories.iter().map(PathBuf::as_path).collect();
    output::check(&arguments.output, arguments.force, &inputs)?;
    let panels = arguments.x.panels();
    let (mut curves, mut histories) = (Vec::new(), Vec::new());
    for (run, path) in arguments.histories.iter().enumerate() {
        let history = History::read(path)?;
        let of_run = curves_of(&history, run, panels);
        if of_run.is_empty() {
            let columns = panels.iter().map(|(column, _)| format!("`{column}`"));
            return Err(CliError::BadData(format!(
                "{}: it has no losses against {}: it has to have them in a table with `loss`, `validation_loss` or `held_out_loss`",
                path.display(),
                columns.collect::<Vec<_>>().join(" and ")
            )));
        }
        curves.extend(of_run);
        histories.push(history);
    }
    let figure = Figure {
        panels,
        names: names(&histories, &arguments.histories),
        curves,
    };
    let bytes = if png { figure.png()? } else { figure.svg()?.into_bytes() };
    write_whole(&arguments.output, &bytes)?;
    say!("{}: {} runs", arguments.output.display(), figure.names.len());
    Ok(ExitCode::SUCCESS)
}

/// The curves of a run that have points in every panel.
fn curves_of(history: &History, run: usize, panels: &[(&str, &str)]) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (table, loss) in history
        .tables
        .iter()
        .flat_map(|table| (0..LOSSES.len()).map(move |loss| (table, loss)))
    {
        let points: Vec<_> = panels
            .iter()
            .map(|(column, _)| points_of(table, column, LOSSES[loss].0))
            .collect();
        if points.iter().all(|points| !points.is_empty()) {
            curves.push(Curve { run, loss, points });
        }
    }
    curves
}

/// Where both columns have values.
fn points_of(table: &HistoryTable, x: &str, y: &str) -> Vec<(f64, f64)> {
    let (Some(x), Some(y)) = (table.column(x), table.column(y)) else {
        return Vec::new();
    };
    let pairs = x.values.to_reals().into_iter().zip(y.values.to_reals());
    let points: Vec<_> = pairs.filter(|(x, y)| x.abs() < DRAWN && y.abs() < DRAWN).collect();
    let stride = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    let kept = points
        .into_iter()
        .enumerate()
        .filter(|(i, _)| i % stride == 0 || *i == last);
    kept.map(|(_, point)| point).collect()
}

/// What the runs are called: by their titles, or the names of their files where these are missing or the same.
fn names(histories: &[History], paths: &[PathBuf]) -> Vec<String> {
    let part =
        |part: Option<&std::ffi::OsStr>| part.map_or_else(String::new, |part| part.to_string_lossy().into_owned());
    let stem = |path: &PathBuf| part(path.file_stem());
    let titles: Vec<String> = histories.iter().map(|history| history.title.clone()).collect();
    let of_files: Vec<String> = paths.iter().map(stem).collect();
    let in_folders: Vec<String> = paths
        .iter()
        .map(|path| format!("{}/{}", part(path.parent().and_then(Path::file_name)), stem(path)))
        .collect();
    let twice = |all: &[String], i: usize| all.iter().filter(|name| **name == all[i]).count() > 1;
    let name = |i: usize| {
        let name = if !titles[i].trim().is_empty() && !twice(&titles, i) {
            &titles[i]
        } else if !twice(&of_files, i) {
            &of_files[i]
        } else {
            &in_folders[i]
        };
        name.chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect()
    };
    (0..paths.len()).map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_called_by_their_titles_their_files_or_their_folders() {
        let titled = |title: &str| History {
            title: title.into(),
            ..History::default()
        };
        let of = |titles: [&str; 3], paths: [&str; 3]| names(&titles.map(titled), &paths.map(PathBuf::from));
        assert_eq!(of(["a", "b\n", ""], ["x/1.h5", "x/2.h5", "x/3.h5"]), ["a", "b ", "3"]);
        assert_eq!(of(["a", "a", "b"], ["x/1.h5", "x/2.h5", "x/3.h5"]), ["1", "2", "b"]);
        assert_eq!(
            of(["", "", ""], ["x/run.h5", "y/run.h5", "z.h5"]),
            ["x/run", "y/run", "z"]
        );
    }
}
