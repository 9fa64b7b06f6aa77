//! How many numbers there are, and in what order: arrays whose first axis counts samples.

use crate::bytes::{self, Bytes, DAMAGED, Records};
use crate::number::Coding;
use gfe_sdk::{ColsMut, DataError, DataShape, DatasetSource, Dim, Element, TargetsMut};

/// More axes than this are no data.
pub(crate) const RANK_MAX: usize = 8;

/// A sample has at most this many values, 2 GiB as doubles.
pub(crate) const VALUES_MAX: u64 = 1 << 28;

/// One read of a column takes this many bytes at most.
const PIECE: usize = 1 << 20;

/// The axes that a header declares, checked.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) shape: DataShape,
    pub(crate) coding: Coding,
    /// Bytes that the data take.
    pub(crate) bytes: u64,
}

impl Declared {
    /// Checks lengths, the first that of samples, which alone may be 0; every product is one that cannot overflow.
    pub(crate) fn new(lens: &[u64], coding: Coding, names: impl Fn(usize) -> String) -> Result<Declared, String> {
        let text = lens.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
        let [samples, of_sample @ ..] = lens else {
            return Err("has no axis of samples: the first axis has to count them; give it one".to_owned());
        };
        if lens.len() > RANK_MAX {
            return Err(format!(
                "has {} axes, and {RANK_MAX} is the limit: reshape it",
                lens.len()
            ));
        }
        if of_sample.contains(&0) {
            return Err(format!(
                "has the shape {text}: only the first axis, that of samples, may be 0"
            ));
        }
        let values = of_sample
            .iter()
            .try_fold(1, |product: u64, len| product.checked_mul(*len));
        let Some(values) = values.filter(|values| *values <= VALUES_MAX) else {
            return Err(format!(
                "has the shape {text}, and {VALUES_MAX} values of a sample are the limit: {DAMAGED}"
            ));
        };
        let bytes = samples.checked_mul(values * coding.size() as u64);
        let (Some(bytes), Ok(samples)) = (bytes, usize::try_from(*samples)) else {
            return Err(format!("has the shape {text}, more than can be addressed: {DAMAGED}"));
        };
        let dims = of_sample.iter().enumerate().map(|(axis, len)| Dim {
            name: names(axis),
            len: *len as usize,
        });
        let shape = DataShape {
            samples,
            dims: dims.collect(),
        };
        Ok(Declared { shape, coding, bytes })
    }
}

/// Numbers in an order.
pub(crate) struct Array {
    /// What errors begin with.
    name: String,
    declared: Declared,
    order: Order,
}

enum Order {
    /// A sample's values lie side by side.
    C(Records),
    /// All samples' first values lie side by side, then their second, the sample's first axis running fastest.
    Fortran { bytes: Bytes, buffer: Vec<u8> },
}

impl Array {
    /// The data of `declared`; whoever makes it has checked their length.
    pub(crate) fn new(name: String, declared: Declared, bytes: Bytes, fortran: bool) -> Array {
        let values = declared.shape.values();
        let order = if fortran && values > 1 {
            let buffer = Vec::new();
            Order::Fortran { bytes, buffer }
        } else {
            Order::C(Records::new(bytes, values * declared.coding.size()))
        };
        Array { name, declared, order }
    }

    fn fill(&mut self, ids: &[usize], mut y: ColsMut<'_>) -> Result<(), String> {
        let Declared { shape, coding, .. } = &self.declared;
        if let Some(id) = ids.iter().find(|id| **id >= shape.samples) {
            return Err(format!("sample {id} was asked for, and there are {}", shape.samples));
        }
        match &mut self.order {
            Order::C(records) => records.each(ids, |lane, record| {
                coding.decode(record, y.as_mut().col_mut(lane).iter_mut());
                Ok(())
            }),
            Order::Fortran { bytes, buffer } => {
                let size = coding.size();
                for run in bytes::runs(ids, PIECE / size) {
                    buffer.resize(run.len() * size, 0);
                    for (value, column) in columns(shape).enumerate() {
                        let place = (column * shape.samples + ids[run.start]) as u64;
                        bytes.read_at(place * size as u64, buffer).map_err(bytes::changed)?;
                        let lanes = y.as_mut().row_mut(value).subcols_mut(run.start, run.len());
                        coding.decode(buffer, lanes.iter_mut());
                    }
                }
                Ok(())
            }
        }
    }
}

/// For every value of a sample, last axis fastest, its place with the first axis fastest.
fn columns(shape: &DataShape) -> impl Iterator<Item = usize> {
    (0..shape.values()).map(|value| {
        let mut left = value;
        let mut stride = shape.values();
        shape.dims.iter().rev().fold(0, |place, dim| {
            let index = left % dim.len;
            left /= dim.len;
            stride /= dim.len;
            place + index * stride
        })
    })
}

impl DatasetSource for Array {
    fn shape(&self) -> &DataShape {
        &self.declared.shape
    }

    /// Scalar samples are labels more often than intensities, which the host would divide by 255.
    fn element(&self) -> Element {
        match self.declared.coding.element() {
            Element::U8 if self.declared.shape.dims.is_empty() => Element::F64,
            element => element,
        }
    }

    fn read(&mut self, ids: &[usize], to: TargetsMut<'_>) -> Result<(), DataError> {
        if let Some(mut w) = to.w {
            w.fill(1.0);
        }
        self.fill(ids, to.y).map_err(|what| DataError {
            message: format!("{}: {what}", self.name),
        })
    }
}
