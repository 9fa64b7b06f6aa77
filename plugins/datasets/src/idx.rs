//! `idx`: the format of MNIST, plain or gzipped.
//!
//! Two zero bytes, one byte for the type, one for the number of axes, the axes' lengths as big-endian u32, then the
//! numbers, big-endian, last axis fastest (LeCun, Cortes & Burges, The MNIST database, "File formats").

use crate::array::{Array, Declared};
use crate::bytes::{self, Bytes, DAMAGED};
use crate::number::{Coding, Number};
use flate2::bufread::MultiGzDecoder;
use gfe_sdk::serde::Deserialize;
use gfe_sdk::{DataError, DataShape, DatasetPlugin, DatasetSource, Element, TargetsMut};
use std::ffi::CStr;
use std::io::{BufReader, Read, Seek};
use std::path::PathBuf;

/// Samples of an IDX file; a file with one axis, such as one of labels, has scalar samples.
pub struct Idx(Array);

#[derive(Deserialize)]
#[serde(crate = "gfe_sdk::serde", deny_unknown_fields)]
struct Config {
    path: PathBuf,
    #[serde(default = "bytes::inflated_max")]
    max_bytes: u64,
}

impl DatasetPlugin for Idx {
    const ID: &'static CStr = c"idx";
    const TITLE: &'static CStr = c"MNIST's IDX files, plain or gzipped: path, max_bytes (inflated data, default 2^26)";

    fn open(config: &str) -> Result<Self, String> {
        let config: Config = gfe_sdk::config(config).map_err(|error| format!("idx: {error}"))?;
        let name = config.path.display().to_string();
        let array = open(&config, &name).map_err(|what| format!("{name}: {what}"))?;
        Ok(Idx(array))
    }
}

impl DatasetSource for Idx {
    fn shape(&self) -> &DataShape {
        self.0.shape()
    }

    fn element(&self) -> Element {
        self.0.element()
    }

    fn read(&mut self, ids: &[usize], to: TargetsMut<'_>) -> Result<(), DataError> {
        self.0.read(ids, to)
    }
}

fn open(config: &Config, name: &str) -> Result<Array, String> {
    let (mut file, len) = bytes::open(&config.path)?;
    let mut magic = [0; 2];
    bytes::head(&mut file, &mut magic)?;
    file.rewind().map_err(bytes::changed)?;
    if magic == [0x1f, 0x8b] {
        let mut stream = MultiGzDecoder::new(BufReader::new(file));
        let (declared, _) = header(&mut stream)?;
        let data = bytes::inflate(&mut stream, len, declared.bytes, config.max_bytes)?;
        return Ok(Array::new(name.to_owned(), declared, Bytes::Memory(data), false));
    }
    let (declared, start) = header(&mut file)?;
    bytes::same_length(declared.bytes, len.saturating_sub(start))?;
    let bytes = Bytes::part(file, start, declared.bytes);
    Ok(Array::new(name.to_owned(), declared, bytes, false))
}

/// The header, and how many bytes it takes.
fn header(stream: &mut impl Read) -> Result<(Declared, u64), String> {
    let mut magic = [0; 4];
    let found = bytes::head(stream, &mut magic)?;
    let (4, [0, 0, code, rank]) = (found, magic) else {
        return Err(format!(
            "begins with {:02x?} and not with two zero bytes, a type and a rank: it is no IDX file",
            &magic[..found]
        ));
    };
    let number = match code {
        0x08 => Number::U8,
        0x09 => Number::I8,
        0x0b => Number::I16,
        0x0c => Number::I32,
        0x0d => Number::F32,
        0x0e => Number::F64,
        _ => {
            return Err(format!(
                "has the type {code:#04x}, and IDX knows 0x08, 0x09 and 0x0b to 0x0e: {DAMAGED}"
            ));
        }
    };
    let mut lens = vec![[0; 4]; rank.into()];
    let lens_bytes = lens.as_flattened_mut();
    if bytes::head(stream, lens_bytes)? < lens_bytes.len() {
        return Err(format!("ends inside its header of {rank} axes: {DAMAGED}"));
    }
    let lens: Vec<u64> = lens.into_iter().map(|len| u32::from_be_bytes(len).into()).collect();
    let names = |axis: usize| match (lens.len(), axis) {
        (3, 0) => "row".to_owned(),
        (3, 1) => "column".to_owned(),
        _ => format!("feature_{axis}"),
    };
    let declared = Declared::new(&lens, Coding::big_endian(number), names)?;
    Ok((declared, 4 + 4 * u64::from(rank)))
}
