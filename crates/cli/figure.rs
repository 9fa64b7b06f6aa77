//! Line figures as SVG.

use crate::error::CliError;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

/// A named line.
pub struct Line {
    /// Name in the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (720, 480);

/// Lines on doubly logarithmic axes; none where there is nothing to draw.
pub fn lines(title: &str, axes: [&str; 2], lines: &[Line]) -> Result<Option<String>, CliError> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (Some(x), Some(y)) = (range(points().map(|p| p.0)), range(points().map(|p| p.1))) else {
        return Ok(None);
    };
    let style = (SeriesLabelPosition::LowerLeft, 2);
    draw((title, axes), lines, (x.log_scale(), y.log_scale()), style).map(Some)
}

/// Performance profiles: fractions against ratios.
pub fn profile(title: &str, lines: &[Line]) -> Result<Option<String>, CliError> {
    let ratios = lines.iter().flat_map(|line| &line.points).map(|point| point.0);
    let Some(Range { end, .. }) = range(ratios) else {
        return Ok(None);
    };
    let axes = ["ratio to the best", "fraction of tests"];
    let end = end.max(2.0);
    // The fraction reached last holds for every larger ratio.
    let extended = |line: &Line| Line {
        name: line.name.clone(),
        points: line
            .points
            .iter()
            .copied()
            .chain(line.points.last().map(|last| (end, last.1)))
            .collect(),
    };
    let lines: Vec<Line> = lines.iter().map(extended).collect();
    let style = (SeriesLabelPosition::LowerRight, 0);
    draw((title, axes), &lines, ((1.0..end).log_scale(), 0.0..1.05), style).map(Some)
}

/// A line that rises in steps, to the fraction at each ratio.
pub fn steps(name: String, ratios: &[f64], fractions: &[f64]) -> Line {
    let mut points = Vec::new();
    let mut height = 0.0;
    for (&ratio, &fraction) in ratios.iter().zip(fractions) {
        points.push((ratio, height));
        points.push((ratio, fraction));
        height = fraction;
    }
    Line { name, points }
}

/// The span of some positive values, a little wider than they are.
fn range(values: impl Iterator<Item = f64>) -> Option<Range<f64>> {
    let (least, most) = values.fold((f64::INFINITY, 0.0f64), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    // A decade at the least, so that there are ticks.
    let margin = if most / least < 4.0 { 4.0 } else { 1.5 };
    (most > 0.0).then(|| least / margin..most * margin)
}

/// Dark enough on white, and far enough from each other.
pub const COLORS: [RGBColor; 12] = [
    RGBColor(0, 0, 0),
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 60, 150),
    RGBColor(130, 90, 44),
    RGBColor(150, 140, 0),
    RGBColor(90, 60, 190),
    RGBColor(220, 30, 50),
    RGBColor(86, 180, 233),
    RGBColor(240, 170, 0),
    RGBColor(140, 140, 140),
];

/// The same color for a solver in every figure; those from outside share one.
fn color_of(name: &str) -> RGBColor {
    let known = gfe_ode::study::methods::all()
        .iter()
        .position(|method| method.name() == name);
    known
        .and_then(|place| COLORS.get(place))
        .copied()
        .unwrap_or(RGBColor(110, 110, 110))
}

fn draw<X, Y>(
    (title, [x_name, y_name]): (&str, [&str; 2]),
    lines: &[Line],
    (x, y): (X, Y),
    (legend_at, point_size): (SeriesLabelPosition, u32),
) -> Result<String, CliError>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
    Y::CoordDescType: ValueFormatter<f64>,
{
    fn failed(error: impl std::fmt::Display) -> CliError {
        CliError::Figure(error.to_string())
    }
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(x, y)
            .map_err(failed)?;
        let short = |value: &f64| {
            // Ticks are sums of steps, with the rounding of those.
            let rounded = (value * 1e3).round() / 1e3;
            if *value == 0.0 || (0.01..1e4).contains(value) {
                format!("{rounded}")
            } else {
                format!("{value:.0e}")
            }
        };
        let mut mesh = chart.configure_mesh();
        mesh.x_desc(x_name).y_desc(y_name).light_line_style(WHITE.mix(0.0));
        mesh.x_label_formatter(&short)
            .y_label_formatter(&short)
            .draw()
            .map_err(failed)?;
        for line in lines {
            let color = color_of(&line.name);
            let drawn = chart.draw_series(
                LineSeries::new(line.points.iter().copied(), color.stroke_width(2)).point_size(point_size),
            );
            drawn
                .map_err(failed)?
                .label(line.name.as_str())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
        }
        let mut legend = chart.configure_series_labels();
        let legend = legend.background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3));
        legend.position(legend_at).draw().map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}
