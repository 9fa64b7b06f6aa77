//! Axes of figures: where a value lies and which values are labeled, on a linear or a logarithmic scale.

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// An axis that shows all values it was made for.
#[derive(Clone, Debug)]
pub struct Axis {
    logarithmic: bool,
    range: Range<f64>,
    ticks: Vec<f64>,
}

impl Axis {
    /// An axis for `values`, of which those that are not finite count for nothing: logarithmic where they are positive and
    /// the largest is at least `ratio` times the smallest. None where there are no values.
    pub fn new(values: impl Iterator<Item = f64>, ratio: f64) -> Option<Axis> {
        let finite = values.filter(|value| value.is_finite());
        let bounds = finite.fold(None, |bounds: Option<(f64, f64)>, value| {
            let (least, most) = bounds.unwrap_or((value, value));
            Some((least.min(value), most.max(value)))
        });
        let (least, most) = bounds?;
        let logarithmic = least > 0.0 && most / least >= ratio && (most / least).is_finite();
        let range = if logarithmic {
            let margin = (most / least).powf(0.03);
            least / margin..most * margin
        } else {
            let margin = match (most - least) * 0.03 {
                0.0 => most.abs().max(1.0) * 0.03,
                margin => margin,
            };
            least - margin..most + margin
        };
        let ticks = if logarithmic && range.end / range.start >= 10.0 {
            decades(&range)
        } else {
            even(&range)
        };
        Some(Axis {
            logarithmic,
            range,
            ticks,
        })
    }
}

/// Round numbers times powers of ten, as many of them as are no more than 8.
fn decades(range: &Range<f64>) -> Vec<f64> {
    let powers = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
    let choices: [(&[f64], i32); 6] = [
        (&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0], 1),
        (&[1.0, 2.0, 5.0], 1),
        (&[1.0], 1),
        (&[1.0], 2),
        (&[1.0], 4),
        (&[1.0], 8),
    ];
    // A quotient has the digits of its label; a product with 0.1 may have others.
    let times = |factor: f64, power: i32| match power {
        ..0 => factor / 10f64.powi(-power),
        _ => factor * 10f64.powi(power),
    };
    for (factors, stride) in choices {
        let kept = powers.clone().filter(|power| power.rem_euclid(stride) == 0);
        let ticks = kept.flat_map(|power| factors.iter().map(move |factor| times(*factor, power)));
        let ticks: Vec<f64> = ticks.filter(|tick| range.contains(tick)).collect();
        if ticks.len() <= 8 {
            return ticks;
        }
    }
    vec![range.start, range.end]
}

/// Multiples of 1, 2 or 5 times a power of ten, 9 at most.
fn even(range: &Range<f64>) -> Vec<f64> {
    let width = range.end - range.start;
    let power = 10f64.powf((width / 8.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = steps.into_iter().find(|step| width / step <= 8.0).unwrap_or(width);
    let (first, last) = ((range.start / step).ceil() as i64, (range.end / step).floor() as i64);
    // A tick is rounded to its own decimals, so that its label has no others.
    let decimals = 10f64.powf(-step.log10().floor());
    let tick = |i: i64| {
        let value = i as f64 * step;
        if decimals.is_finite() && decimals >= 1.0 {
            (value * decimals).round() / decimals
        } else {
            value
        }
    };
    (first..=last.min(first + 16)).map(tick).collect()
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let scale = |value: f64| if self.logarithmic { value.ln() } else { value };
        let (start, end) = (scale(self.range.start), scale(self.range.end));
        let part = (scale(*value) - start) / (end - start);
        from + (f64::from(to - from) * part).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        if *value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
            format!("{value}")
        } else {
            format!("{value:e}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(values: &[f64], ratio: f64) -> Vec<String> {
        let axis = Axis::new(values.iter().copied(), ratio).expect("there are values");
        axis.ticks.iter().map(Axis::format).collect()
    }

    #[test]
    fn ticks_are_round_and_not_too_many() {
        assert_eq!(ticks(&[0.0, 10.0], 20.0), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(
            ticks(&[0.094, 0.101], 5.0),
            ["0.094", "0.095", "0.096", "0.097", "0.098", "0.099", "0.1", "0.101"]
        );
        assert_eq!(ticks(&[16.0, 1008.0], 20.0), ["20", "50", "100", "200", "500", "1000"]);
        assert_eq!(ticks(&[1e-9, 1e9], 20.0), ["1e-8", "0.0001", "1", "10000", "1e8"]);
        assert_eq!(ticks(&[0.083, 0.77], 5.0), ["0.1", "0.15", "0.2", "0.3", "0.5", "0.7"]);
        assert_eq!(ticks(&[3.0], 20.0), ["2.95", "3", "3.05"]);
        assert_eq!(
            ticks(&[0.1, 0.7], 5.0),
            ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7"]
        );
        assert_eq!(
            ticks(&[0.0, 6e7], 20.0),
            ["0", "1e7", "2e7", "3e7", "4e7", "5e7", "6e7"]
        );
    }

    #[test]
    fn a_value_lies_where_its_scale_says_and_others_do_not_count() {
        let axis = Axis::new([1.0, f64::NAN, 100.0, f64::INFINITY].into_iter(), 20.0).expect("there are values");
        let place = |value: f64| axis.map(&value, (0, 1000));
        assert_eq!(place(10.0), 500);
        assert!(place(1.0) > 0 && place(100.0) < 1000);
        assert!(Axis::new([f64::NAN].into_iter(), 20.0).is_none());
        let linear = Axis::new([-1.0, 1.0].into_iter(), 20.0).expect("there are values");
        assert_eq!(linear.map(&0.0, (1000, 0)), 500);
    }
}
