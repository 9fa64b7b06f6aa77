//! The header of an `.npy` file: a Python literal with type, order and shape.
//!
//! `ndarray-npy` reads it, after a look at its length and its letters: the literal's parser recurses as deep as the text
//! nests, and takes any length for true.

use crate::array::Declared;
use crate::bytes::{self, DAMAGED};
use crate::number::{Coding, Number};
use ndarray_npy::npy::header::Header;
use std::io::Read;

/// NumPy's own limit (`max_header_size` of `numpy.load`).
const HEADER_MAX: usize = 10_000;

/// A dictionary with a tuple in it; structured types nest deeper and are refused all the same.
const NESTED_MAX: usize = 4;

/// What an `.npy` file says of its data.
pub(crate) struct NpyHeader {
    pub(crate) declared: Declared,
    /// Whether the first axis runs fastest.
    pub(crate) fortran: bool,
    /// Bytes of the header.
    pub(crate) len: u64,
}

impl NpyHeader {
    /// Reads no more than the header.
    pub(crate) fn read(stream: &mut impl Read) -> Result<NpyHeader, String> {
        let text = text(stream)?;
        let read = Header::from_reader(&mut &text[..]);
        let header = read.map_err(|error| {
            let why = bytes::short(&error.to_string());
            format!("has a header that cannot be read ({why}): {DAMAGED}")
        })?;
        let Some(descr) = header.type_descriptor.as_string() else {
            return Err(format!(
                "has the structured type {}: save one of its fields",
                bytes::short(&header.type_descriptor.to_string())
            ));
        };
        let lens: Vec<u64> = header.shape.iter().map(|len| *len as u64).collect();
        let declared = Declared::new(&lens, coding(descr)?, |axis| format!("feature_{axis}"))?;
        Ok(NpyHeader {
            declared,
            fortran: header.layout.is_fortran(),
            len: text.len() as u64,
        })
    }
}

/// The header's bytes, magic and length included, when they are harmless.
fn text(stream: &mut impl Read) -> Result<Vec<u8>, String> {
    let cut_short = || format!("ends inside its header: {DAMAGED}");
    let mut start = [0; 12];
    let found = bytes::head(stream, &mut start[..10])?;
    if found < 6 || &start[..6] != b"\x93NUMPY" {
        return Err(format!(
            "begins with {:02x?}, neither an .npy nor an .npz file",
            &start[..found.min(6)]
        ));
    }
    let (fixed, len) = match (found, start[6]) {
        (10, 1) => (10, u16::from_le_bytes([start[8], start[9]]).into()),
        (10, 2 | 3) => {
            if bytes::head(stream, &mut start[10..])? < 2 {
                return Err(cut_short());
            }
            (
                12,
                u32::from_le_bytes([start[8], start[9], start[10], start[11]]) as usize,
            )
        }
        (10, version) => {
            return Err(format!(
                "has version {version} of the format, and 1 to 3 are known: {DAMAGED}"
            ));
        }
        _ => return Err(cut_short()),
    };
    if len > HEADER_MAX {
        return Err(format!(
            "declares a header of {len} bytes, and {HEADER_MAX} is the limit: {DAMAGED}"
        ));
    }
    let mut text = start[..fixed].to_vec();
    text.resize(fixed + len, 0);
    if bytes::head(stream, &mut text[fixed..])? < len {
        return Err(cut_short());
    }
    if let Some(odd) = odd_letter(&text[fixed..]) {
        return Err(format!(
            "has the byte {odd:#04x} in its header, where it has no use: {DAMAGED}"
        ));
    }
    Ok(text)
}

/// The first byte that no header of numbers has: none but printable ones, no escape, and no bracket too deep.
fn odd_letter(text: &[u8]) -> Option<u8> {
    let mut depth = 0;
    text.iter().copied().find(|byte| {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth = usize::saturating_sub(depth, 1),
            _ => {}
        }
        depth > NESTED_MAX || *byte == b'\\' || !matches!(byte, b' '..=b'~' | b'\n')
    })
}

/// A type as NumPy names it: order of bytes, kind, size.
fn coding(descr: &str) -> Result<Coding, String> {
    let (order, name) = descr.split_at_checked(1).unwrap_or_default();
    let number = match name {
        "u1" => Number::U8,
        "i1" => Number::I8,
        "u2" => Number::U16,
        "i2" => Number::I16,
        "u4" => Number::U32,
        "i4" => Number::I32,
        "u8" => Number::U64,
        "i8" => Number::I64,
        "f2" => Number::F16,
        "f4" => Number::F32,
        "f8" => Number::F64,
        "O" => return Err("holds objects, which are pickled code and never read: save an array of numbers".to_owned()),
        _ => return Err(unknown(descr)),
    };
    match order {
        "<" | "|" if order == "<" || name.ends_with('1') => Ok(Coding {
            number,
            big_endian: false,
        }),
        ">" => Ok(Coding {
            number,
            big_endian: true,
        }),
        _ => Err(unknown(descr)),
    }
}

fn unknown(descr: &str) -> String {
    format!(
        "has the type {descr:?}, and integers of 1 to 8 bytes and floating-point numbers of 2 to 8 are read: save it with \
         .astype('f4') or another of them",
        descr = bytes::short(descr)
    )
}
