//! What one stored number is: its type, and the order of its bytes.

use gfe_sdk::Element;

/// A type of stored numbers. Integers beyond 2^53 are rounded to the next double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    F32,
    F64,
}

/// How a number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Coding {
    pub(crate) number: Number,
    pub(crate) big_endian: bool,
}

impl Coding {
    /// Most significant byte first.
    pub(crate) fn big_endian(number: Number) -> Coding {
        Coding {
            number,
            big_endian: true,
        }
    }

    /// How many bytes one takes.
    pub(crate) fn size(self) -> usize {
        match self.number {
            Number::U8 | Number::I8 => 1,
            Number::U16 | Number::I16 | Number::F16 => 2,
            Number::U32 | Number::I32 | Number::F32 => 4,
            Number::U64 | Number::I64 | Number::F64 => 8,
        }
    }

    /// What the host is told of it.
    pub(crate) fn element(self) -> Element {
        match self.number {
            Number::U8 => Element::U8,
            Number::F16 | Number::F32 => Element::F32,
            _ => Element::F64,
        }
    }

    /// Writes the numbers of `bytes` into `to`.
    pub(crate) fn decode<'a>(self, bytes: &[u8], to: impl Iterator<Item = &'a mut f64>) {
        match self.number {
            Number::U8 => self.put(bytes, to, |b: [u8; 1]| b[0].into()),
            Number::I8 => self.put(bytes, to, |b| i8::from_le_bytes(b).into()),
            Number::U16 => self.put(bytes, to, |b| u16::from_le_bytes(b).into()),
            Number::I16 => self.put(bytes, to, |b| i16::from_le_bytes(b).into()),
            Number::U32 => self.put(bytes, to, |b| u32::from_le_bytes(b).into()),
            Number::I32 => self.put(bytes, to, |b| i32::from_le_bytes(b).into()),
            Number::U64 => self.put(bytes, to, |b| u64::from_le_bytes(b) as f64),
            Number::I64 => self.put(bytes, to, |b| i64::from_le_bytes(b) as f64),
            Number::F16 => self.put(bytes, to, |b| half::f16::from_le_bytes(b).to_f64()),
            Number::F32 => self.put(bytes, to, |b| f32::from_le_bytes(b).into()),
            Number::F64 => self.put(bytes, to, f64::from_le_bytes),
        }
    }

    fn put<'a, const N: usize>(
        self,
        bytes: &[u8],
        to: impl Iterator<Item = &'a mut f64>,
        value: impl Fn([u8; N]) -> f64,
    ) {
        for (stored, to) in bytes.as_chunks::<N>().0.iter().zip(to) {
            let mut stored = *stored;
            if self.big_endian {
                stored.reverse();
            }
            *to = value(stored);
        }
    }
}
