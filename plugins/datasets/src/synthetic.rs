//! `synthetic`: curves with known parameters, drawn anew from the seed and a sample's number whenever they are read.

use crate::array::VALUES_MAX;
use gfe_sdk::serde::Deserialize;
use gfe_sdk::{Axis, DataError, DataShape, DatasetPlugin, DatasetSource, Dim, TargetsMut};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::f64::consts::TAU;
use std::ffi::CStr;

/// Samples of D values y_i, i = 0 .. D-1, plus noise of standard deviation sigma on each, independently.
///
/// Positions are u_i = i / (D-1), or 0 where D is 1. For each sample are drawn, uniformly and in this order:
/// - `circle`: phi in [0, 2 pi); y_2m = cos((m+1) phi) / (m+1) and y_2m+1 = sin((m+1) phi) / (m+1). Two values are the
///   unit circle; every further two add a harmonic, so that the closed curve fills more dimensions.
/// - `sine`: amplitude a, frequency f, and phase phi in [0, 2 pi); y_i = a sin(2 pi f u_i + phi).
/// - `line`: slope s and offset b; y_i = s u_i + b.
///
/// Sample k has stream k of ChaCha8 seeded with `seed`, so that its values do not depend on what else is read. A uniform
/// number is the upper 53 bits of a draw; noise is Box and Muller's, one number from two draws.
pub struct Synthetic {
    shape: DataShape,
    curve: Curve,
    noise: f64,
    seed: u64,
}

/// A range that numbers are drawn from, uniformly.
type Range = [f64; 2];

enum Curve {
    Circle,
    Sine { amplitude: Range, frequency: Range },
    Line { slope: Range, offset: Range },
}

#[derive(Clone, Copy, Deserialize)]
#[serde(crate = "gfe_sdk::serde", rename_all = "lowercase")]
enum Kind {
    Circle,
    Sine,
    Line,
}

#[derive(Deserialize)]
#[serde(crate = "gfe_sdk::serde", deny_unknown_fields)]
struct Config {
    kind: Kind,
    #[serde(default = "thousand")]
    samples: usize,
    #[serde(default = "sixty_four")]
    values: usize,
    #[serde(default)]
    noise: f64,
    #[serde(default)]
    seed: u64,
    amplitude: Option<Range>,
    frequency: Option<Range>,
    slope: Option<Range>,
    offset: Option<Range>,
}

fn thousand() -> usize {
    1000
}

fn sixty_four() -> usize {
    64
}

impl Config {
    fn curve(&self) -> Result<Curve, String> {
        let ranges = [
            ("amplitude", self.amplitude),
            ("frequency", self.frequency),
            ("slope", self.slope),
            ("offset", self.offset),
        ];
        let (kind, keys): (_, &[&str]) = match self.kind {
            Kind::Circle => ("circle", &[]),
            Kind::Sine => ("sine", &["amplitude", "frequency"]),
            Kind::Line => ("line", &["slope", "offset"]),
        };
        for (key, range) in ranges {
            let Some([from, to]) = range else { continue };
            if !keys.contains(&key) {
                return Err(format!("{key} is not a key of the kind {kind}: leave it out"));
            }
            if !(from <= to && (to - from).is_finite()) {
                return Err(format!(
                    "{key} is [{from:?}, {to:?}], and has to be a range from low to high"
                ));
            }
        }
        Ok(match self.kind {
            Kind::Circle => Curve::Circle,
            Kind::Sine => Curve::Sine {
                amplitude: self.amplitude.unwrap_or([0.5, 1.5]),
                frequency: self.frequency.unwrap_or([1.0, 3.0]),
            },
            Kind::Line => Curve::Line {
                slope: self.slope.unwrap_or([-1.0, 1.0]),
                offset: self.offset.unwrap_or([-1.0, 1.0]),
            },
        })
    }
}

impl DatasetPlugin for Synthetic {
    const ID: &'static CStr = c"synthetic";
    const TITLE: &'static CStr =
        c"Synthetic curves: kind (circle, sine, line), samples, values, noise, seed; sine: amplitude, \
          frequency; line: slope, offset (each a range)";

    fn open(config: &str) -> Result<Self, String> {
        let named = |what: String| format!("synthetic: {what}");
        let config: Config = gfe_sdk::config(config).map_err(named)?;
        if config.values == 0 || config.values as u64 > VALUES_MAX {
            return Err(named(format!(
                "values is {}, and has to be from 1 to {VALUES_MAX}",
                config.values
            )));
        }
        if !(config.noise >= 0.0 && config.noise.is_finite()) {
            return Err(named(format!(
                "noise is {}, and has to be a standard deviation, 0 or more",
                config.noise
            )));
        }
        let curve = config.curve().map_err(named)?;
        let name = match curve {
            Curve::Circle => "feature_0",
            Curve::Sine { .. } | Curve::Line { .. } => "position",
        };
        let dims = vec![Dim {
            name: name.to_owned(),
            len: config.values,
        }];
        Ok(Synthetic {
            shape: DataShape {
                samples: config.samples,
                dims,
            },
            curve,
            noise: config.noise,
            seed: config.seed,
        })
    }
}

impl Synthetic {
    /// u_i.
    fn position(&self, i: usize) -> f64 {
        i as f64 / (self.shape.values() - 1).max(1) as f64
    }

    fn draw<'a>(&self, id: usize, to: impl Iterator<Item = &'a mut f64>) {
        let mut stream = ChaCha8Rng::seed_from_u64(self.seed);
        stream.set_stream(id as u64);
        let value = self.curve.draw(&mut stream);
        for (i, to) in to.enumerate() {
            *to = value(i, self.position(i));
            if self.noise > 0.0 {
                *to += self.noise * normal(&mut stream);
            }
        }
    }
}

impl Curve {
    /// y_i as a function of i and u_i, for parameters from the stream.
    fn draw(&self, stream: &mut ChaCha8Rng) -> impl Fn(usize, f64) -> f64 + use<> {
        let parameters = match *self {
            Curve::Circle => [uniform(stream, [0.0, TAU]), 0.0, 0.0],
            Curve::Sine { amplitude, frequency } => [
                uniform(stream, amplitude),
                uniform(stream, frequency),
                uniform(stream, [0.0, TAU]),
            ],
            Curve::Line { slope, offset } => [uniform(stream, slope), uniform(stream, offset), 0.0],
        };
        let formula = match self {
            Curve::Circle => |[phi, ..]: [f64; 3], i: usize, _| {
                let harmonic = (i / 2 + 1) as f64;
                let wave = if i.is_multiple_of(2) { libm::cos } else { libm::sin };
                wave(harmonic * phi) / harmonic
            },
            Curve::Sine { .. } => |[a, f, phi]: [f64; 3], _, u| a * libm::sin(TAU * f * u + phi),
            Curve::Line { .. } => |[slope, offset, _]: [f64; 3], _, u| slope * u + offset,
        };
        move |i, u| formula(parameters, i, u)
    }
}

/// From 0 on, less than 1.
fn unit(stream: &mut ChaCha8Rng) -> f64 {
    (stream.next_u64() >> 11) as f64 * (-53.0_f64).exp2()
}

fn uniform(stream: &mut ChaCha8Rng, [from, to]: Range) -> f64 {
    from + (to - from) * unit(stream)
}

/// Box & Muller, A note on the generation of random normal deviates, 1958, eq. (1).
fn normal(stream: &mut ChaCha8Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - unit(stream)));
    radius * libm::cos(TAU * unit(stream))
}

impl DatasetSource for Synthetic {
    fn shape(&self) -> &DataShape {
        &self.shape
    }

    fn axes(&self) -> Vec<Axis> {
        let values = match self.curve {
            Curve::Circle => None,
            Curve::Sine { .. } | Curve::Line { .. } => {
                Some((0..self.shape.values()).map(|i| self.position(i)).collect())
            }
        };
        let dims = self.shape.dims.iter().cloned();
        dims.map(|dim| Axis {
            dim,
            values: values.clone(),
        })
        .collect()
    }

    fn read(&mut self, ids: &[usize], to: TargetsMut<'_>) -> Result<(), DataError> {
        let TargetsMut { mut y, w } = to;
        if let Some(mut w) = w {
            w.fill(1.0);
        }
        if let Some(id) = ids.iter().find(|id| **id >= self.shape.samples) {
            let samples = self.shape.samples;
            let message = format!("synthetic: sample {id} was asked for, and there are {samples}");
            return Err(DataError { message });
        }
        for (lane, id) in ids.iter().enumerate() {
            self.draw(*id, y.as_mut().col_mut(lane).iter_mut());
        }
        Ok(())
    }
}
