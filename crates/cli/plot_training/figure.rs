//! The figure of `gfe plot training`: panels beside each other, and the legend below them.

use super::{Curve, LOSSES};
use crate::axis::Axis;
use crate::canvas::{self, SAMPLES};
use crate::error::CliError;
use crate::figure::COLORS;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Points that are marked where a curve has no more.
const MARKED: usize = 40;
/// From this ratio of largest to smallest on, an axis is logarithmic: images and seconds, losses.
const RATIOS: (f64, f64) = (30.0, 6.0);

/// Sizes of a figure in units of 1/96 inch.
const PANEL: (f64, f64) = (600.0, 420.0);
const ALONE: f64 = 760.0;
const ROW: f64 = 24.0;
const TEXT: f64 = 15.0;
const MARGIN: f64 = 16.0;
/// Sample of a line in the legend.
const SAMPLE: f64 = 28.0;

/// How large a figure is drawn.
#[derive(Clone, Copy)]
struct Scale {
    /// Pixels or samples of a unit.
    unit: f64,
    /// Size of a text as the backend takes it.
    text: f64,
}

/// What is drawn.
pub struct Figure<'a> {
    /// Column and label of each panel.
    pub panels: &'a [(&'a str, &'a str)],
    /// What the runs are called.
    pub names: Vec<String>,
    /// The losses of all runs.
    pub curves: Vec<Curve>,
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

    /// The figure as SVG.
    pub fn svg(&self) -> Result<String, CliError> {
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

    /// The figure as PNG, twice as wide and high in pixels as the other.
    pub fn png(&self) -> Result<Vec<u8>, CliError> {
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
