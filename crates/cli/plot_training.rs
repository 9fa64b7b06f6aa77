//! `gfe plot training`: the losses of runs against the images they have seen and the seconds they took.

use crate::axis::Axis;
use crate::canvas::{self, SAMPLES};
use crate::error::CliError;
use crate::figure::COLORS;
use crate::output;
use clap::{Args, ValueEnum};
use gfe_io::{History, HistoryTable, write_whole};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Overlay the losses of training runs: thin while training, thick in validation, dashed on held-out values.
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
/// A curve of more points is drawn with every second, third, ... of them.
const POINTS: usize = 4000;
/// Points that are marked where a curve has no more.
const MARKED: usize = 40;
/// From this ratio of largest to smallest on, an axis is logarithmic: images and seconds, losses.
const RATIOS: (f64, f64) = (30.0, 6.0);

/// One loss of one run.
struct Curve {
    run: usize,
    /// Which of [`LOSSES`].
    loss: usize,
    /// Its points in each panel.
    points: Vec<Vec<(f64, f64)>>,
}

/// Sizes of a figure in units of 1/96 inch.
const PANEL: (f64, f64) = (600.0, 420.0);
const ALONE: f64 = 760.0;
const ROW: f64 = 24.0;
const TEXT: f64 = 15.0;
const MARGIN: f64 = 16.0;
/// Sample of a line in the legend.
const SAMPLE: f64 = 28.0;

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
    eprintln!("{}: {} runs", arguments.output.display(), figure.names.len());
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
    let points: Vec<_> = pairs.filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
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

/// How large a figure is drawn.
#[derive(Clone, Copy)]
struct Scale {
    /// Pixels or samples of a unit.
    unit: f64,
    /// Size of a text as the backend takes it.
    text: f64,
}

struct Figure<'a> {
    panels: &'a [(&'a str, &'a str)],
    names: Vec<String>,
    curves: Vec<Curve>,
}

fn failed(error: impl std::fmt::Display) -> CliError {
    CliError::Figure(error.to_string())
}

impl Figure<'_> {
    fn width(&self) -> f64 {
        match self.panels.len() {
            1 => ALONE,
            count => PANEL.0 * count as f64,
        }
    }

    /// Columns of the legend, and the width of each.
    fn columns(&self) -> (usize, f64) {
        let widest = self
            .names
            .iter()
            .map(|name| canvas::width(name, TEXT))
            .fold(0.0, f64::max);
        let column = SAMPLE + widest + 3.0 * MARGIN;
        let fit = ((self.width() - 2.0 * MARGIN) / column).floor().max(1.0) as usize;
        (fit.min(self.names.len()), column)
    }

    fn height(&self) -> f64 {
        let rows = self.names.len().div_ceil(self.columns().0) + 1;
        PANEL.1 + ROW * rows as f64 + MARGIN
    }

    fn svg(&self) -> Result<String, CliError> {
        let mut svg = String::new();
        let size = (self.width() as u32, self.height() as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        // plotters writes texts of 1 / 1.24 of the size that it is told.
        self.draw(
            &area,
            Scale {
                unit: 1.0,
                text: 1.24 * TEXT,
            },
        )?;
        drop(area);
        Ok(svg)
    }

    /// Twice as wide and high in pixels as the SVG figure.
    fn png(&self) -> Result<Vec<u8>, CliError> {
        let unit = 2 * SAMPLES;
        let size = (unit * self.width() as u32, unit * self.height() as u32);
        let scale = Scale {
            unit: f64::from(unit),
            text: f64::from(unit) * TEXT,
        };
        let draw = |canvas: canvas::Canvas<'_>| self.draw(&canvas.into_drawing_area(), scale);
        canvas::png(size, draw, CliError::Figure)
    }

    /// Draws everything.
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: Scale) -> Result<(), CliError> {
        area.fill(&WHITE).map_err(failed)?;
        let (above, below) = area.split_vertically((PANEL.1 * scale.unit) as i32);
        for (at, panel) in above.split_evenly((1, self.panels.len())).iter().enumerate() {
            self.draw_panel(panel, at, scale)?;
        }
        self.draw_legend(&below, scale)?;
        area.present().map_err(failed)
    }

    fn draw_panel<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        at: usize,
        scale: Scale,
    ) -> Result<(), CliError> {
        let points = || self.curves.iter().flat_map(|curve| &curve.points[at]);
        // The same losses in every panel: the same axis.
        let axes =
            Axis::new(points().map(|point| point.0), RATIOS.0).zip(Axis::new(points().map(|point| point.1), RATIOS.1));
        let (x, y) = axes.ok_or_else(|| failed("there are no points"))?;
        let size = |units: f64| (units * scale.unit).round() as u32;
        let mut chart = ChartBuilder::on(area)
            .margin(size(MARGIN))
            .x_label_area_size(size(46.0))
            .y_label_area_size(size(64.0))
            .build_cartesian_2d(x, y)
            .map_err(failed)?;
        let text = ("sans-serif", scale.text).into_font();
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(self.panels[at].1)
            .y_desc("loss")
            .label_style(text.clone())
            .axis_desc_style(text)
            .axis_style(BLACK.stroke_width(size(1.0)))
            .bold_line_style(RGBColor(225, 225, 225).stroke_width(size(1.0)))
            .light_line_style(TRANSPARENT)
            .set_all_tick_mark_size(size(4.0));
        mesh.draw().map_err(failed)?;
        // Thin lines first: they would hide others, being many.
        for loss in 0..LOSSES.len() {
            for curve in self.curves.iter().filter(|curve| curve.loss == loss) {
                let (points, style) = (&curve.points[at], style(curve.run, loss, scale.unit));
                if LOSSES[loss].3 {
                    let dash = size(6.0);
                    let line = DashedLineSeries::new(points.iter().copied(), dash, dash, style);
                    chart.draw_series(line).map_err(failed)?;
                } else {
                    chart
                        .draw_series(LineSeries::new(points.iter().copied(), style))
                        .map_err(failed)?;
                }
                if points.len() == 1 || loss > 0 && points.len() <= MARKED {
                    let marks = points
                        .iter()
                        .map(|point| Circle::new(*point, size(2.5), style.color.filled()));
                    chart.draw_series(marks).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// The runs by color in columns, and below them the losses by line.
    fn draw_legend<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>, scale: Scale) -> Result<(), CliError> {
        let (columns, width) = self.columns();
        let down = self.names.len().div_ceil(columns);
        for (run, name) in self.names.iter().enumerate() {
            let place = (MARGIN + width * (run / down) as f64, ROW * ((run % down) as f64 + 0.5));
            entry(
                area,
                (place, name),
                COLORS[run].stroke_width((4.0 * scale.unit) as u32),
                false,
                scale,
            )?;
        }
        let mut x = MARGIN;
        for loss in (0..LOSSES.len()).filter(|loss| self.curves.iter().any(|curve| curve.loss == *loss)) {
            let (_, name, thickness, dashed) = LOSSES[loss];
            let style = RGBColor(70, 70, 70).stroke_width((thickness * scale.unit).round() as u32);
            entry(area, ((x, ROW * (down as f64 + 0.5)), name), style, dashed, scale)?;
            x += SAMPLE + canvas::width(name, TEXT) + 3.0 * MARGIN;
        }
        Ok(())
    }
}

/// How a loss of a run is drawn; paler while training.
fn style(run: usize, loss: usize, unit: f64) -> ShapeStyle {
    let RGBColor(r, g, b) = COLORS[run];
    let pale = |part: u8| 255 - ((255 - u32::from(part)) * 6 / 10) as u8;
    let color = if loss == 0 {
        RGBColor(pale(r), pale(g), pale(b))
    } else {
        COLORS[run]
    };
    color.stroke_width((LOSSES[loss].2 * unit).round() as u32)
}

/// A sample of a line, and what it stands for.
fn entry<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    ((x, y), name): ((f64, f64), &str),
    style: ShapeStyle,
    dashed: bool,
    scale: Scale,
) -> Result<(), CliError> {
    let at = |x: f64| ((x * scale.unit) as i32, (y * scale.unit) as i32);
    let pieces = if dashed { 3 } else { 1 };
    for piece in 0..pieces {
        let piece_width = SAMPLE / (2 * pieces - 1) as f64;
        let from = x + (2 * piece) as f64 * piece_width;
        let line = PathElement::new(vec![at(from), at(from + piece_width)], style);
        area.draw(&line).map_err(failed)?;
    }
    let text = ("sans-serif", scale.text).into_font().color(&BLACK);
    let text = text.pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(name, at(x + SAMPLE + MARGIN / 2.0), text))
        .map_err(failed)
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
