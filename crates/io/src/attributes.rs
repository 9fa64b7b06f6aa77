//! What an input says of itself: attributes of the file, of a dataset and of the scales of its axes.
//!
//! Read from files that nobody vouches for: texts and numbers of a few kilobytes are taken, everything else (references,
//! compounds, megabytes) is passed over, since nothing depends on it.

use hdf5::types::{FixedAscii, FixedUnicode, TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{Attribute as H5Attribute, Location};
use ndarray::Array1;
use serde_json::{Map, Value, json};

use crate::encoded::{text, unicode};
use crate::native::descriptor_of;

/// Longest text that is taken, in bytes.
const TEXT: usize = 4096;
/// Most values of an attribute.
const VALUES: usize = 64;
/// Most attributes of one object.
const COUNT: usize = 64;

/// What belongs to the file it is in and means nothing in another: dimension scales, netCDF's own, names of neighbors.
const OF_THE_FILE: [&str; 18] = [
    "CLASS",
    "NAME",
    "DIMENSION_LIST",
    "DIMENSION_LABELS",
    "REFERENCE_LIST",
    "_Netcdf4Dimid",
    "_Netcdf4Coordinates",
    "_NCProperties",
    "_nc3_strict",
    "coordinates",
    "bounds",
    "ancillary_variables",
    "cell_measures",
    "grid_mapping",
    "formula_terms",
    "target",
    "NX_class",
    "default",
];

/// Attributes of one object.
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<Attribute>);

#[derive(Clone, Debug)]
struct Attribute {
    name: String,
    values: Values,
    scalar: bool,
    /// The type of numbers, which a reader may depend on, as netCDF does on that of `_FillValue`.
    number: Option<TypeDescriptor>,
}

#[derive(Clone, Debug)]
enum Values {
    Texts(Vec<String>),
    Signed(Vec<i64>),
    Unsigned(Vec<u64>),
    Reals(Vec<f64>),
}

impl Attributes {
    /// Those of `location` that can be taken.
    pub(crate) fn of(location: &Location) -> Attributes {
        let names = location.attr_names().unwrap_or_default();
        let wanted = names.into_iter().filter(|name| !OF_THE_FILE.contains(&name.as_str()));
        let read = wanted.filter_map(|name| {
            let attribute = location.attr(&name).ok()?;
            read(&attribute, name)
        });
        Attributes(read.take(COUNT).collect())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one of this name alone, where there is one.
    pub fn only(&self, name: &str) -> Attributes {
        Attributes(self.0.iter().filter(|one| one.name == name).cloned().collect())
    }

    /// All but those of these names.
    pub(crate) fn without(&self, names: &[&str]) -> Attributes {
        let others = self.0.iter().filter(|one| !names.contains(&one.name.as_str()));
        Attributes(others.cloned().collect())
    }

    /// By name, as JSON: a scalar as such, others as lists; numbers that JSON has no word for as texts.
    pub fn json(&self) -> Value {
        let real = |value: &f64| {
            if value.is_finite() {
                json!(value)
            } else {
                json!(value.to_string())
            }
        };
        let all = self.0.iter().map(|one| {
            let mut list: Vec<Value> = match &one.values {
                Values::Texts(values) => values.iter().map(|value| json!(value)).collect(),
                Values::Signed(values) => values.iter().map(|value| json!(value)).collect(),
                Values::Unsigned(values) => values.iter().map(|value| json!(value)).collect(),
                Values::Reals(values) => values.iter().map(real).collect(),
            };
            let value = if one.scalar && list.len() == 1 {
                list.remove(0)
            } else {
                Value::Array(list)
            };
            (one.name.clone(), value)
        });
        Value::Object(all.collect::<Map<_, _>>())
    }

    /// Writes them to `location`, but for those that it has already.
    pub(crate) fn write(&self, location: &Location) -> hdf5::Result<()> {
        for one in self.0.iter().filter(|one| location.attr(&one.name).is_err()) {
            match &one.values {
                Values::Texts(values) if one.scalar && values.len() == 1 => text(location, &one.name, &values[0])?,
                Values::Texts(values) => {
                    let texts: Vec<VarLenUnicode> =
                        values.iter().map(|one| unicode(one)).collect::<hdf5::Result<_>>()?;
                    let made = location.new_attr::<VarLenUnicode>().shape(texts.len());
                    made.create(one.name.as_str())?.write(&Array1::from(texts))?;
                }
                Values::Signed(values) => one.write_numbers(location, values)?,
                Values::Unsigned(values) => one.write_numbers(location, values)?,
                Values::Reals(values) => one.write_numbers(location, values)?,
            }
        }
        Ok(())
    }
}

impl Attribute {
    fn write_numbers<T: hdf5::H5Type + Copy>(&self, location: &Location, values: &[T]) -> hdf5::Result<()> {
        let Some(number) = &self.number else { return Ok(()) };
        let builder = location.new_attr_builder().empty_as(number);
        if self.scalar {
            return builder.shape(()).create(self.name.as_str())?.write_scalar(&values[0]);
        }
        let made = builder.shape(values.len()).create(self.name.as_str())?;
        made.write(&Array1::from(values.to_vec()))
    }
}

/// An attribute, if it is one to be taken.
fn read(attribute: &H5Attribute, name: String) -> Option<Attribute> {
    let count = attribute.size();
    if count == 0 || count > VALUES || attribute.ndim() > 1 || name.contains('\0') {
        return None;
    }
    let descriptor = descriptor_of(attribute).ok()?;
    macro_rules! texts {
        ($kind:ty) => {{
            let texts = attribute.read_raw::<$kind>().ok()?;
            // The wrapper takes it for granted that they are UTF-8.
            let texts = texts
                .iter()
                .map(|text| String::from_utf8(text.as_bytes().to_vec()).ok());
            Values::Texts(texts.collect::<Option<_>>()?)
        }};
    }
    let values = match descriptor {
        TypeDescriptor::Integer(_) => Values::Signed(attribute.read_raw().ok()?),
        TypeDescriptor::Unsigned(_) => Values::Unsigned(attribute.read_raw().ok()?),
        TypeDescriptor::Float(_) => Values::Reals(attribute.read_raw().ok()?),
        TypeDescriptor::FixedAscii(length) if length <= TEXT => texts!(FixedAscii<TEXT>),
        TypeDescriptor::FixedUnicode(length) if length <= TEXT => texts!(FixedUnicode<TEXT>),
        TypeDescriptor::VarLenAscii => texts!(VarLenAscii),
        TypeDescriptor::VarLenUnicode => texts!(VarLenUnicode),
        _ => return None,
    };
    let found = match &values {
        Values::Texts(values) => values.len(),
        Values::Signed(values) => values.len(),
        Values::Unsigned(values) => values.len(),
        Values::Reals(values) => values.len(),
    };
    // An attribute without a value says that it has one.
    if found != count {
        return None;
    }
    if let Values::Texts(texts) = &values
        && (texts.iter().map(String::len).sum::<usize>() > TEXT || texts.iter().any(|text| text.contains('\0')))
    {
        return None;
    }
    Some(Attribute {
        name,
        scalar: attribute.ndim() == 0,
        number: (!matches!(values, Values::Texts(_))).then_some(descriptor),
        values,
    })
}

/// What an input says of itself.
#[derive(Clone, Debug, Default)]
pub struct InputAttributes {
    /// Attributes of the file's root, such as `title` and `source`.
    pub file: Attributes,
    /// Those of the dataset, such as `units`.
    pub data: Attributes,
    /// Those of the scale of each axis of a sample.
    pub axes: Vec<Attributes>,
}

impl InputAttributes {
    /// As JSON, by what they belong to; nothing where there are none. `names` are those of the axes.
    pub fn json<'a>(&self, names: impl Iterator<Item = &'a str>) -> Option<Value> {
        let mut told = Map::new();
        for (name, attributes) in [("file", &self.file), ("dataset", &self.data)] {
            if !attributes.is_empty() {
                told.insert(name.into(), attributes.json());
            }
        }
        let axes = names.zip(&self.axes).filter(|(_, attributes)| !attributes.is_empty());
        let axes: Map<String, Value> = axes.map(|(name, of)| (name.to_owned(), of.json())).collect();
        if !axes.is_empty() {
            told.insert("axes".into(), Value::Object(axes));
        }
        (!told.is_empty()).then_some(Value::Object(told))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdf5::types::VarLenArray;
    use hdf5::{File, ObjectReference, ObjectReference1};

    #[test]
    fn attributes_come_over_with_their_types_and_what_is_large_or_a_reference_stays_behind() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let file = File::create(folder.path().join("a.h5")).expect("a file");
        let from = file.new_dataset::<f32>().shape(3).create("from").expect("a dataset");
        let to = file.new_dataset::<f32>().shape(3).create("to").expect("a dataset");
        let make = || -> hdf5::Result<()> {
            text(&from, "units", "erg")?;
            text(&from, "long_name", "flux")?;
            text(&from, "huge", &"x".repeat(TEXT + 1))?;
            text(&from, "CLASS", "DIMENSION_SCALE")?;
            text(&to, "long_name", "ours")?;
            from.new_attr::<f32>()
                .shape(())
                .create("_FillValue")?
                .write_scalar(&-999.0_f32)?;
            let range = from.new_attr::<i16>().shape(2).create("valid_range")?;
            range.write(&Array1::from(vec![0_i16, 300]))?;
            let many = from.new_attr::<f64>().shape(VALUES + 1).create("many")?;
            many.write(&Array1::from(vec![0.0; VALUES + 1]))?;
            let list = VarLenArray::from_slice(&[ObjectReference1::create(&file, "to")?]);
            let refers = from
                .new_attr::<VarLenArray<ObjectReference1>>()
                .shape(1)
                .create("refers")?;
            refers.write(&Array1::from(vec![list]))?;
            Attributes::of(&from).write(&to)
        };
        make().expect("HDF5 works");
        let told = Attributes::of(&from).json();
        let expected = json!({"_FillValue": -999.0, "long_name": "flux", "units": "erg", "valid_range": [0, 300]});
        let sorted = |value: &Value| -> std::collections::BTreeMap<String, Value> {
            serde_json::from_value(value.clone()).expect("an object")
        };
        assert_eq!(sorted(&told), sorted(&expected));
        let number = |name: &str| {
            let attribute = to.attr(name).expect("it came over");
            attribute
                .dtype()
                .and_then(|dtype| dtype.to_descriptor())
                .expect("a type")
        };
        assert_eq!(
            number("_FillValue"),
            from.attr("_FillValue")
                .and_then(|a| a.dtype()?.to_descriptor())
                .expect("a type")
        );
        let kept = to.attr("long_name").and_then(|a| a.read_scalar::<VarLenUnicode>());
        assert_eq!(kept.expect("a text").as_str(), "ours");
    }
}
