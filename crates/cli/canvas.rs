//! Figures as pixels, with smooth lines and with texts, which the bitmaps of plotters have only with the system's fonts.
//!
//! A figure is drawn [`SAMPLES`] times as wide and high as it becomes, and every pixel is the mean of its samples.

use ab_glyph::{Font, FontRef, Glyph, ScaleFont, point};
use plotters::prelude::DrawingBackend;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind};
use std::convert::Infallible;

/// Samples of a pixel along each axis.
pub const SAMPLES: u32 = 2;

/// The samples of a figure.
pub struct Canvas<'a> {
    samples: &'a mut [u8],
    size: (u32, u32),
}

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// What `draw` draws on a white canvas of this many samples, as PNG.
pub fn png<E>(
    (width, height): (u32, u32),
    draw: impl FnOnce(Canvas<'_>) -> Result<(), E>,
    failed: impl Fn(String) -> E,
) -> Result<Vec<u8>, E> {
    let mut samples = vec![255; 3 * width as usize * height as usize];
    draw(Canvas {
        samples: &mut samples,
        size: (width, height),
    })?;
    let (across, down) = (width / SAMPLES, height / SAMPLES);
    let mut pixels = Vec::with_capacity(3 * across as usize * down as usize);
    for (row, column, channel) in (0..down).flat_map(|r| (0..across).flat_map(move |c| (0..3).map(move |k| (r, c, k))))
    {
        let places = (0..SAMPLES).flat_map(|i| (0..SAMPLES).map(move |j| (SAMPLES * row + i, SAMPLES * column + j)));
        let sum: u32 = places
            .map(|(r, c)| u32::from(samples[(3 * (r * width + c) + channel) as usize]))
            .sum();
        pixels.push((sum / (SAMPLES * SAMPLES)) as u8);
    }
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    image::ImageEncoder::write_image(encoder, &pixels, across, down, image::ColorType::Rgb8)
        .map_err(|error| failed(error.to_string()))?;
    Ok(png)
}

fn font() -> FontRef<'static> {
    FontRef::try_from_slice(include_bytes!("font/DejaVuSans.ttf")).expect("the font is a part of the program")
}

/// A text of `size` pixels: where each glyph is when the text begins at the left on a baseline at 0, and its width.
fn set(text: &str, size: f64) -> (Vec<Glyph>, f64) {
    let font = font();
    // The scale of a glyph is its line's height, the size of a text the side of its em square.
    let em = f64::from(font.units_per_em().unwrap_or(1000.0));
    let scale = size * f64::from(font.height_unscaled()) / em;
    let scaled = font.as_scaled(scale as f32);
    let (mut glyphs, mut x) = (Vec::new(), 0.0);
    for letter in text.chars() {
        let mut glyph = scaled.scaled_glyph(letter);
        glyph.position = point(x, 0.0);
        x += scaled.h_advance(glyph.id);
        glyphs.push(glyph);
    }
    (glyphs, f64::from(x))
}

/// Width of a text of `size` pixels.
pub fn width(text: &str, size: f64) -> f64 {
    set(text, size).1
}

impl Canvas<'_> {
    fn blend(&mut self, (x, y): BackendCoord, color: BackendColor, coverage: f64) {
        let (width, height) = self.size;
        let inside = (0..width as i32).contains(&x) && (0..height as i32).contains(&y);
        if !inside {
            return;
        }
        let place = 3 * (y as usize * width as usize + x as usize);
        let (r, g, b) = color.rgb;
        for (sample, new) in self.samples[place..place + 3].iter_mut().zip([r, g, b]) {
            let mixed = f64::from(*sample) + color.alpha * coverage * (f64::from(new) - f64::from(*sample));
            *sample = mixed.round() as u8;
        }
    }
}

impl DrawingBackend for Canvas<'_> {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, at: BackendCoord, color: BackendColor) -> Drawn {
        self.blend(at, color, 1.0);
        Ok(())
    }

    /// With round joins: mitered ones make spikes of noise.
    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(&mut self, path: I, style: &S) -> Drawn {
        let radius = f64::from(style.stroke_width()) / 2.0;
        let mut last: Option<BackendCoord> = None;
        for to in path {
            self.draw_circle(to, radius as u32, &style.color(), true)?;
            if let Some(from) = last.replace(to) {
                let (x, y) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
                let length = x.hypot(y).max(1.0);
                let (across, down) = (-y / length * radius, x / length * radius);
                let corner = |(x, y): BackendCoord, side: f64| {
                    let place = (f64::from(x) + side * across, f64::from(y) + side * down);
                    (place.0.round() as i32, place.1.round() as i32)
                };
                let corners = [corner(from, 1.0), corner(to, 1.0), corner(to, -1.0), corner(from, -1.0)];
                self.fill_polygon(corners, &style.color())?;
            }
        }
        Ok(())
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Drawn {
        let (glyphs, width) = set(text, style.size());
        let left = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => -width / 2.0,
            HPos::Right => -width,
        };
        // From the place to the baseline, in the height of a capital letter, 0.73 of an em.
        let baseline = style.size()
            * match style.anchor().v_pos {
                VPos::Top => 0.76,
                VPos::Center => 0.36,
                VPos::Bottom => 0.0,
            };
        let (font, turn, color) = (font(), style.transform(), style.color());
        for glyph in glyphs {
            let Some(outline) = font.outline_glyph(glyph) else {
                continue;
            };
            let bounds = outline.px_bounds();
            let (x0, y0) = (left + f64::from(bounds.min.x), baseline + f64::from(bounds.min.y));
            outline.draw(|x, y, coverage| {
                let place = (x0.round() as i32 + x as i32, y0.round() as i32 + y as i32);
                let (x, y) = turn.transform(place.0, place.1);
                self.blend((at.0 + x, at.1 + y), color, f64::from(coverage));
            });
        }
        Ok(())
    }

    fn estimate_text_size<S: BackendTextStyle>(
        &self,
        text: &str,
        style: &S,
    ) -> Result<(u32, u32), DrawingErrorKind<Infallible>> {
        Ok((width(text, style.size()).ceil() as u32, style.size().ceil() as u32))
    }
}
