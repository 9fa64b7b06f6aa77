//! Which stored values stand for one that is missing.

use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
use hdf5::{Attribute, Dataset};

use crate::listing::descriptor_of;
use crate::{InputPath, IoError};

/// The attributes that name values for what is missing, after the CF conventions.
const ATTRIBUTES: [&str; 2] = ["_FillValue", "missing_value"];
/// Most values that one attribute may name.
const LIMIT: usize = 64;

/// Stored values that stand for a missing one: those that the attributes `_FillValue` and `missing_value` of the dataset name,
/// and NaN where the caller says so.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Missing {
    values: Vec<f64>,
    nan: bool,
}

impl Missing {
    /// What the attributes of a dataset name: numbers, scalars or lists of up to 64, each rounded to the dataset's own type, as
    /// the values are. A number that this type cannot hold (-999 among unsigned bytes) stands for none of its values and
    /// counts for nothing.
    ///
    /// Fails where an attribute is there and holds no numbers, or too many: to go on would take missing values for data.
    pub(crate) fn of(path: &InputPath, dataset: &Dataset) -> Result<Missing, IoError> {
        let stored = descriptor_of(dataset).ok();
        let there = dataset.attr_names().unwrap_or_default();
        let mut missing = Missing::default();
        for name in ATTRIBUTES
            .into_iter()
            .filter(|name| there.iter().any(|other| other == name))
        {
            let wrong = |found: String| IoError::BadMissing {
                path: path.to_string(),
                attribute: name,
                found,
                limit: LIMIT,
            };
            let attribute = dataset.attr(name).map_err(|error| wrong(error.to_string()))?;
            for value in numbers(&attribute).map_err(wrong)? {
                match stored.as_ref().and_then(|stored| held(value, stored)) {
                    Some(value) if value.is_nan() => missing.nan = true,
                    Some(value) if !missing.values.contains(&value) => missing.values.push(value),
                    _ => {}
                }
            }
        }
        Ok(missing)
    }

    /// The same with NaN among them.
    pub(crate) fn with_nan(self) -> Missing {
        Missing { nan: true, ..self }
    }

    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.nan || !self.values.is_empty()
    }

    /// Whether a value, as it is stored, is one of them.
    pub fn is(&self, stored: f64) -> bool {
        if stored.is_nan() {
            self.nan
        } else {
            self.values.contains(&stored)
        }
    }

    /// All of them, NaN last.
    pub fn values(&self) -> impl Iterator<Item = f64> {
        self.values.iter().copied().chain(self.nan.then_some(f64::NAN))
    }
}

/// The numbers of an attribute, or what it is instead.
fn numbers(attribute: &Attribute) -> Result<Vec<f64>, String> {
    descriptor_of(attribute).map_err(|what| format!("of {what}"))?;
    // Before anything is allocated for them.
    let shape = attribute.shape();
    let count = shape.iter().try_fold(1_usize, |product, len| product.checked_mul(*len));
    if count.is_none_or(|count| count > LIMIT) {
        return Err(format!("of shape {shape:?}"));
    }
    attribute.read_raw::<f64>().map_err(|error| error.to_string())
}

/// A number as values of type `stored` hold it, if they can.
fn held(value: f64, stored: &TypeDescriptor) -> Option<f64> {
    match stored {
        TypeDescriptor::Float(FloatSize::U2) => Some(to_half(value)),
        TypeDescriptor::Float(FloatSize::U4) => Some(f64::from(value as f32)),
        TypeDescriptor::Float(_) => Some(value),
        TypeDescriptor::Integer(size) => whole(value, -bound(*size, 1), bound(*size, 1)),
        TypeDescriptor::Unsigned(size) => whole(value, 0.0, bound(*size, 0)),
        _ => None,
    }
}

/// 2^(bits - sign): integers of this size lie below, as far as doubles tell.
fn bound(size: IntSize, sign: i32) -> f64 {
    let bits = match size {
        IntSize::U1 => 8,
        IntSize::U2 => 16,
        IntSize::U4 => 32,
        IntSize::U8 => 64,
    };
    f64::from(bits - sign).exp2()
}

fn whole(value: f64, least: f64, most: f64) -> Option<f64> {
    // The largest integers of 64 bits are 2^63 and 2^64 as doubles.
    let fits = value >= least && (value < most || (value == most && most > 2_f64.powi(60)));
    (fits && value.fract() == 0.0).then_some(value)
}

/// Rounded to half precision: 11 significant bits, and multiples of 2^-24.
fn to_half(value: f64) -> f64 {
    if !value.is_finite() || value == 0.0 {
        return value;
    }
    let unit = (value.abs().log2().floor() - 10.0).max(-24.0).exp2();
    let rounded = (value / unit).round_ties_even() * unit;
    if rounded.abs() > 65504.0 {
        f64::INFINITY.copysign(value)
    } else {
        rounded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_rounded_to_the_stored_type_and_dropped_where_that_cannot_hold_it() {
        let float = TypeDescriptor::Float;
        assert_eq!(held(-999.9, &float(FloatSize::U8)), Some(-999.9));
        assert_eq!(held(-999.9, &float(FloatSize::U4)), Some(f64::from(-999.9_f32)));
        // Half precision has steps of 0.5 there, and of 2^-24 near 0.
        assert_eq!(held(-999.9, &float(FloatSize::U2)), Some(-1000.0));
        assert_eq!(
            held(1.4 * 2_f64.powi(-24), &float(FloatSize::U2)),
            Some(2_f64.powi(-24))
        );
        assert_eq!(held(1e20, &float(FloatSize::U2)), Some(f64::INFINITY));
        let (i2, u1, i8) = (
            TypeDescriptor::Integer(IntSize::U2),
            TypeDescriptor::Unsigned(IntSize::U1),
            TypeDescriptor::Integer(IntSize::U8),
        );
        assert_eq!(held(-32768.0, &i2), Some(-32768.0));
        assert_eq!(held(255.0, &u1), Some(255.0));
        assert_eq!(held(i64::MIN as f64, &i8), Some(i64::MIN as f64));
        assert_eq!(held(i64::MAX as f64, &i8), Some(i64::MAX as f64));
        for (value, of) in [
            (-999.0, &u1),
            (256.0, &u1),
            (0.5, &i2),
            (32768.0, &i2),
            (f64::NAN, &i2),
            (1e20, &i8),
        ] {
            assert_eq!(held(value, of), None, "{value} as {of}");
        }
    }

    #[test]
    fn nan_is_missing_only_where_it_is_said() {
        let missing = Missing {
            values: vec![-999.0],
            nan: false,
        };
        assert!(missing.is(-999.0) && !missing.is(0.0) && !missing.is(f64::NAN) && missing.any());
        assert!(missing.clone().with_nan().is(f64::NAN) && !missing.with_nan().is(f64::INFINITY));
        assert!(!Missing::default().any());
    }
}
