//! `npy`: arrays that `numpy.save` and `numpy.savez` wrote, of integers or floating-point numbers.

use crate::array::Array;
use crate::bytes::{self, Bytes};
use crate::npy_header::NpyHeader;
use crate::npz;
use gfe_sdk::serde::Deserialize;
use gfe_sdk::{DataError, DataShape, DatasetPlugin, DatasetSource, Element, TargetsMut};
use std::ffi::CStr;
use std::io::Seek;
use std::path::PathBuf;

/// Samples of a NumPy array; its first axis counts them.
pub struct Npy(Array);

#[derive(Deserialize)]
#[serde(crate = "gfe_sdk::serde", deny_unknown_fields)]
struct Config {
    path: PathBuf,
    array: Option<String>,
    #[serde(default = "bytes::inflated_max")]
    max_bytes: u64,
}

impl DatasetPlugin for Npy {
    const ID: &'static CStr = c"npy";
    const TITLE: &'static CStr =
        c"NumPy's .npy and .npz files: path, array (its name in an .npz), max_bytes (inflated data, default 2^26)";

    fn open(config: &str) -> Result<Self, String> {
        let config: Config = gfe_sdk::config(config).map_err(|error| format!("npy: {error}"))?;
        let name = config.path.display().to_string();
        let array = open(&config, &name).map_err(|what| format!("{name}: {what}"))?;
        Ok(Npy(array))
    }
}

impl DatasetSource for Npy {
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
    if &magic == b"PK" {
        let (header, bytes) = npz::open(file, len, config.array.as_deref(), config.max_bytes)?;
        return Ok(Array::new(name.to_owned(), header.declared, bytes, header.fortran));
    }
    if let Some(array) = &config.array {
        return Err(format!(
            "is no .npz file, so that it has no array of the name {array}: leave array out"
        ));
    }
    let header = NpyHeader::read(&mut file)?;
    let bytes = Bytes::part(file, header.len, len.saturating_sub(header.len));
    bytes::same_length(header.declared.bytes, bytes.len())?;
    Ok(Array::new(name.to_owned(), header.declared, bytes, header.fortran))
}
