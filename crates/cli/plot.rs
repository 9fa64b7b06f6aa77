//! `gfe plot reconstructions`: data above their reconstructions, as images or as curves.

use crate::error::CliError;
use crate::input::{Input, file_of};
use crate::logs::say;
use crate::{output, rows};
use clap::Args;
use gfe_io::{EncodedFile, IoError, write_whole};
use plotters::prelude::*;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Width of the figure in pixels, at least.
const WIDTH: usize = 960;
/// Pixels between samples.
const GAP: usize = 6;
/// Pairs beside each other.
const ACROSS: usize = 12;

#[derive(Args)]
pub struct Arguments {
    /// A file written by `gfe encode --reconstruction` or `gfe decode`.
    encoded: PathBuf,
    /// The data that were encoded: FILE.h5, FILE.h5:/DATASET or plugin:NAME?key=value&key=value.
    #[arg(long)]
    input: String,
    /// Figure to write, FILE.png.
    #[arg(short, long)]
    output: PathBuf,
    /// Samples drawn, evenly spaced over the rows.
    #[arg(long, default_value_t = 24)]
    count: usize,
    /// Only rows A..B of the encoded file.
    #[arg(long)]
    rows: Option<String>,
    /// Factor of every input value. Default: the one recorded when encoding.
    #[arg(long)]
    scale: Option<f64>,
    /// Overwrite the figure.
    #[arg(long)]
    force: bool,
}

/// Pairs of datum and reconstruction with the axes of a sample.
struct Pairs {
    lens: Vec<usize>,
    data: Vec<Vec<f64>>,
    decoded: Vec<Vec<f64>>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let png = arguments
        .output
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    if !png || arguments.count == 0 {
        return Err(CliError::Usage(
            "the figure must be named FILE.png, and --count be 1 or more".into(),
        ));
    }
    let input = file_of(&arguments.input);
    let inputs: Vec<&Path> = input.as_deref().into_iter().chain([&*arguments.encoded]).collect();
    output::check(&arguments.output, arguments.force, &inputs)?;
    let pairs = read(arguments)?;
    let (width, height, pixels) = match image_size(&pairs.lens) {
        Some(size) => images(&pairs, size)?,
        None => curves(&pairs)?,
    };
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    image::ImageEncoder::write_image(encoder, &pixels, width as u32, height as u32, image::ColorType::Rgb8)
        .map_err(|error| CliError::Figure(error.to_string()))?;
    write_whole(&arguments.output, &png)?;
    say!("{}: {} samples", arguments.output.display(), pairs.data.len());
    Ok(ExitCode::SUCCESS)
}

fn read(arguments: &Arguments) -> Result<Pairs, CliError> {
    let file = EncodedFile::open(&arguments.encoded)?;
    if !file.has("reconstruction") {
        return Err(CliError::Io(IoError::NotEncoded {
            path: arguments.encoded.clone(),
            what: "it has no `reconstruction`: encode with --reconstruction, or decode it first".into(),
        }));
    }
    let note = file.note("input");
    let recorded = note.as_ref().and_then(|note| note.get("scale")).and_then(Value::as_f64);
    let mut input = Input::open(&arguments.input, arguments.scale.or(recorded))?.heeding_missing(false)?;
    let lens: Vec<usize> = file.axes("reconstruction")?.iter().map(|axis| axis.dim.len).collect();
    let (samples, values) = (input.shape().samples, input.shape().values());
    if lens.iter().product::<usize>() != values {
        let found = format!(
            "{} has {values} values per sample, the reconstructions have {lens:?}",
            input.name()
        );
        return Err(CliError::BadData(format!("{found}: name the data that were encoded")));
    }
    let range = arguments
        .rows
        .as_deref()
        .map_or(Ok(0..file.samples()), |text| rows::parse(text, file.samples()))?;
    let count = arguments.count.min(range.len());
    let mut pairs = Pairs {
        lens: input.shape().dims.iter().map(|dim| dim.len).collect(),
        data: Vec::new(),
        decoded: Vec::new(),
    };
    for i in 0..count {
        let row = range.start + i * range.len() / count;
        let sample = file.read("sample", row..row + 1)?[0];
        let known = sample >= 0.0 && (sample as usize) < samples;
        if !known {
            let (path, name) = (arguments.encoded.display(), input.name());
            let text = format!("{path}: row {row} is sample {sample}, but {name} has {samples}");
            return Err(CliError::BadData(format!("{text}: name the data that were encoded")));
        }
        let y = input.matrix(&[sample as usize])?;
        pairs.data.push(y.col_as_slice(0).to_vec());
        pairs.decoded.push(file.read("reconstruction", row..row + 1)?);
    }
    Ok(pairs)
}

/// Height, width and where the channels are, for samples that are images: gray, or with 1 or 3 channels first or last.
fn image_size(lens: &[usize]) -> Option<(usize, usize, Channels)> {
    match *lens {
        [height, width] => Some((height, width, Channels::Gray)),
        [1, height, width] | [height, width, 1] => Some((height, width, Channels::Gray)),
        [3, height, width] => Some((height, width, Channels::First)),
        [height, width, 3] => Some((height, width, Channels::Last)),
        _ => None,
    }
}

#[derive(Clone, Copy)]
enum Channels {
    Gray,
    First,
    Last,
}

/// Smallest and largest finite value.
fn range(values: &[Vec<f64>]) -> (f64, f64) {
    let finite = values.iter().flatten().filter(|value| value.is_finite());
    let (least, most) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(*v), b.max(*v)));
    if least < most {
        (least, most)
    } else {
        (least.min(0.0), least.max(0.0) + 1.0)
    }
}

type Figure = (usize, usize, Vec<u8>);

/// A grid of images, datum above reconstruction, on the gray scale of the data.
fn images(pairs: &Pairs, (height, width, channels): (usize, usize, Channels)) -> Result<Figure, CliError> {
    let across = pairs.data.len().clamp(1, ACROSS);
    let down = pairs.data.len().div_ceil(across).max(1);
    let zoom = (WIDTH / (across * (width + 1))).max(1);
    let (cell, pair) = (zoom * width + GAP, 2 * zoom * height + 3 * GAP);
    let (full, tall) = (across * cell + GAP, down * pair + GAP);
    let (least, most) = range(&pairs.data);
    let mut pixels = vec![255; 3 * full * tall];
    for (i, (datum, decoded)) in pairs.data.iter().zip(&pairs.decoded).enumerate() {
        let left = GAP + (i % across) * cell;
        for (below, values) in [(0, datum), (zoom * height + GAP, decoded)] {
            let top = GAP + (i / across) * pair + below;
            for (r, c) in (0..zoom * height).flat_map(|r| (0..zoom * width).map(move |c| (r, c))) {
                let at = (r / zoom) * width + c / zoom;
                for channel in 0..3 {
                    let index = match channels {
                        Channels::Gray => at,
                        Channels::First => channel * height * width + at,
                        Channels::Last => 3 * at + channel,
                    };
                    let shade = 255.0 * (values[index] - least) / (most - least);
                    // A float cast saturates, and NaN becomes 0.
                    pixels[3 * ((top + r) * full + left + c) + channel] = shade as u8;
                }
            }
        }
    }
    Ok((full, tall, pixels))
}

/// Panels with the datum in gray and the reconstruction in red.
fn curves(pairs: &Pairs) -> Result<Figure, CliError> {
    let across = pairs.data.len().clamp(1, 3);
    let down = pairs.data.len().div_ceil(across).max(1);
    let (width, height) = (WIDTH, 160 * down);
    let mut pixels = vec![255; 3 * width * height];
    let failed = |error: &dyn std::fmt::Display| CliError::Figure(error.to_string());
    {
        let root = BitMapBackend::with_buffer(&mut pixels, (width as u32, height as u32)).into_drawing_area();
        root.fill(&WHITE).map_err(|error| failed(&error))?;
        for ((datum, decoded), panel) in pairs
            .data
            .iter()
            .zip(&pairs.decoded)
            .zip(root.split_evenly((down, across)))
        {
            let (least, most) = range(&[datum.clone(), decoded.clone()]);
            let mut chart = ChartBuilder::on(&panel)
                .margin(GAP as u32)
                .build_cartesian_2d(0.0..datum.len().max(2) as f64 - 1.0, least..most)
                .map_err(|error| failed(&error))?;
            for (values, color) in [(datum, RGBColor(150, 150, 150)), (decoded, RED)] {
                let points = values.iter().enumerate().map(|(i, value)| (i as f64, *value));
                let line = LineSeries::new(points.filter(|(_, value)| value.is_finite()), color);
                chart.draw_series(line).map_err(|error| failed(&error))?;
            }
        }
        root.present().map_err(|error| failed(&error))?;
    }
    Ok((width, height, pixels))
}
