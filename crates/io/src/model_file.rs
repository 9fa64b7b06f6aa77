//! Model files: weights as safetensors tensors, the architecture as JSON in the metadata. No code, one file.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use gfe_model::TensorSpec;
use safetensors::tensor::Metadata;
use safetensors::{Dtype, SafeTensorError, SafeTensors};
use serde_json::{Map, Value, json};

use crate::input::regular_file;
use crate::{IoError, atomic};

/// Metadata key of the architecture.
const DECODER: &str = "gfe.decoder";
/// Metadata key of the training settings.
const TRAINING: &str = "gfe.training";
/// Tensors that belong to the host and not to the decoder begin with this.
const OWN: &str = "gfe.";
/// A header needs about 100 bytes per tensor: this leaves room for 40 000 of them, and takes 30 times as much memory.
const HEADER_LIMIT: u64 = 4 << 20;
/// Most bytes of a metadata value, which takes 16 times as much memory as JSON.
const METADATA_LIMIT: usize = 1 << 20;
/// How files begin that are pickled, or archives of what is: PyTorch's of today, and of before version 1.6.
const PICKLES: [&[u8]; 5] = [b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"];

/// A tensor of a model file.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTensor {
    /// Shape, `[out, in]` for a matrix.
    pub shape: Vec<usize>,
    /// Values in C order.
    pub values: Vec<f64>,
}

/// What a model file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFile {
    /// Architecture: the metadata value `gfe.decoder`.
    pub decoder: Value,
    /// How the weights were trained: the metadata value `gfe.training`, where there is one.
    pub training: Option<Value>,
    /// Tensors by name. Those called `gfe.*` are the host's own, such as a learned z0.
    pub tensors: BTreeMap<String, StoredTensor>,
}

impl ModelFile {
    /// A model file of the flat weights `params`, which are the tensors `specs` one after the other.
    ///
    /// Fails with [`IoError::ParamsLength`] where the lengths disagree.
    pub fn new(
        decoder: Value,
        training: Option<Value>,
        specs: &[TensorSpec],
        params: &[f64],
    ) -> Result<ModelFile, IoError> {
        let expected = specs.iter().map(TensorSpec::len).sum();
        if params.len() != expected {
            return Err(IoError::ParamsLength {
                expected,
                found: params.len(),
            });
        }
        let mut rest = params;
        let mut tensors = BTreeMap::new();
        for spec in specs {
            let (values, after) = rest.split_at(spec.len());
            tensors.insert(
                spec.name.clone(),
                StoredTensor {
                    shape: spec.shape.clone(),
                    values: values.to_vec(),
                },
            );
            rest = after;
        }
        Ok(ModelFile {
            decoder,
            training,
            tensors,
        })
    }

    /// Reads `path`; F32 and F64 tensors become f64, which is exact for both.
    ///
    /// Fails where there is no such file, its header is malformed or larger than 4 MiB, it is a pickle, `gfe.decoder` is absent, or a
    /// tensor has another type.
    pub fn read(path: &Path) -> Result<ModelFile, IoError> {
        let bytes = read_bounded(path)?;
        let bad = |source| IoError::BadSafetensors {
            path: path.to_owned(),
            source,
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(bad)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let json_of = |key: &'static str| {
            let text = metadata.get(key)?;
            if text.len() > METADATA_LIMIT {
                return Some(Err(IoError::MetadataTooLarge {
                    path: path.to_owned(),
                    key,
                    found: text.len(),
                    limit: METADATA_LIMIT,
                }));
            }
            Some(serde_json::from_str(text).map_err(|source| IoError::BadMetadata {
                path: path.to_owned(),
                key,
                source,
            }))
        };
        let decoder = json_of(DECODER).ok_or_else(|| IoError::NoDecoder { path: path.to_owned() })??;
        let training = json_of(TRAINING).transpose()?;
        let mut tensors = BTreeMap::new();
        for (name, view) in SafeTensors::deserialize(&bytes).map_err(bad)?.iter() {
            let values = to_f64(view.dtype(), view.data()).ok_or_else(|| IoError::TensorType {
                path: path.to_owned(),
                name: name.to_owned(),
                found: format!("{:?}", view.dtype()),
            })?;
            tensors.insert(
                name.to_owned(),
                StoredTensor {
                    shape: view.shape().to_vec(),
                    values,
                },
            );
        }
        Ok(ModelFile {
            decoder,
            training,
            tensors,
        })
    }

    /// The flat weights of a decoder whose tensors are `specs`, in that order.
    ///
    /// Fails where a tensor is missing or has another shape, or where one is left over that is not called `gfe.*`.
    pub fn params_for(&self, specs: &[TensorSpec]) -> Result<Vec<f64>, IoError> {
        // No more than there is: what the decoder says of its size comes from a file.
        let there: usize = self.tensors.values().map(|tensor| tensor.values.len()).sum();
        let mut params = Vec::with_capacity(there);
        for spec in specs {
            let tensor = self.tensors.get(&spec.name).ok_or_else(|| IoError::TensorMissing {
                name: spec.name.clone(),
                shape: spec.shape.clone(),
                present: self.tensors.keys().cloned().collect(),
            })?;
            if tensor.shape != spec.shape {
                return Err(IoError::TensorShape {
                    name: spec.name.clone(),
                    expected: spec.shape.clone(),
                    found: tensor.shape.clone(),
                });
            }
            params.extend_from_slice(&tensor.values);
        }
        let asked = |name: &String| specs.iter().any(|spec| spec.name == *name);
        let names: Vec<String> = self
            .tensors
            .keys()
            .filter(|name| !name.starts_with(OWN) && !asked(name))
            .cloned()
            .collect();
        if names.is_empty() {
            Ok(params)
        } else {
            Err(IoError::TensorExtra { names })
        }
    }

    /// Writes the file, tensors as F64; the same content gives the same bytes. A file at `path` is replaced as a whole.
    pub fn write(&self, path: &Path) -> Result<(), IoError> {
        atomic::write_whole(path, &self.to_bytes())
    }

    /// The safetensors crate writes its metadata in the order of a hash map, which differs from run to run: so the
    /// header is put together here.
    fn to_bytes(&self) -> Vec<u8> {
        let mut metadata = Map::new();
        metadata.insert(DECODER.to_owned(), Value::String(self.decoder.to_string()));
        if let Some(training) = &self.training {
            metadata.insert(TRAINING.to_owned(), Value::String(training.to_string()));
        }
        let mut header = Map::new();
        header.insert("__metadata__".to_owned(), Value::Object(metadata));
        let mut start = 0;
        for (name, tensor) in &self.tensors {
            let end = start + size_of_val(tensor.values.as_slice());
            let entry = json!({"dtype": "F64", "shape": tensor.shape, "data_offsets": [start, end]});
            header.insert(name.clone(), entry);
            start = end;
        }
        let mut text = Value::Object(header).to_string().into_bytes();
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.append(&mut text);
        for tensor in self.tensors.values() {
            bytes.extend(tensor.values.iter().flat_map(|value| value.to_le_bytes()));
        }
        bytes
    }
}

/// The bytes of `path`, read only after the length of the header in the first eight was found plausible, and the rest only
/// after the header was found to be of this file.
fn read_bounded(path: &Path) -> Result<Vec<u8>, IoError> {
    let failed = |source: io::Error| IoError::Read {
        path: path.to_owned(),
        source,
    };
    let bad = |source| IoError::BadSafetensors {
        path: path.to_owned(),
        source,
    };
    let mut file = regular_file(path)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    file.by_ref().take(8).read_to_end(&mut bytes).map_err(failed)?;
    if let Ok(prefix) = <[u8; 8]>::try_from(bytes.as_slice()) {
        let claimed = u64::from_le_bytes(prefix);
        let limit = HEADER_LIMIT.min(length.saturating_sub(8));
        // Only then: the length of a header may well begin as a pickle does.
        if claimed > limit && PICKLES.iter().any(|start| bytes.starts_with(start)) {
            return Err(IoError::Pickle { path: path.to_owned() });
        }
        if claimed > limit {
            return Err(IoError::HeaderTooLarge {
                path: path.to_owned(),
                claimed,
                limit,
            });
        }
        file.by_ref().take(claimed).read_to_end(&mut bytes).map_err(failed)?;
        let header: Metadata = serde_json::from_slice(&bytes[8..])
            .map_err(|error| bad(SafeTensorError::InvalidHeaderDeserialization(error)))?;
        if header.data_len() as u64 != length - 8 - claimed {
            return Err(bad(SafeTensorError::MetadataIncompleteBuffer));
        }
        if let Some(name) = twice(&bytes[8..]) {
            return Err(IoError::DuplicateTensor {
                path: path.to_owned(),
                name,
            });
        }
    }
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// A name that stands twice in an object of the header, which JSON's parser lets pass: the last would win, or the first,
/// as the reader is made.
fn twice(header: &[u8]) -> Option<String> {
    struct Names(Option<String>);
    impl<'de> serde::Deserialize<'de> for Names {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Names, D::Error> {
            from.deserialize_map(Visitor)
        }
    }
    struct Visitor;
    impl<'de> serde::de::Visitor<'de> for Visitor {
        type Value = Names;
        fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            out.write_str("an object")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
            let (mut seen, mut found) = (std::collections::HashSet::new(), None);
            while let Some(name) = map.next_key::<String>()? {
                if name == "__metadata__" {
                    found = found.or(map.next_value::<Names>()?.0);
                } else {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
                if !seen.insert(name.clone()) {
                    found = Some(name);
                }
            }
            Ok(Names(found))
        }
    }
    serde_json::from_slice::<Names>(header).ok()?.0
}

/// Little-endian F32 or F64 `bytes` as f64; `None` for another type.
fn to_f64(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f64>> {
    const WHOLE: &str = "chunks_exact gives whole chunks";
    match dtype {
        Dtype::F32 => {
            let single = |chunk: &[u8]| f64::from(f32::from_le_bytes(chunk.try_into().expect(WHOLE)));
            Some(bytes.chunks_exact(4).map(single).collect())
        }
        Dtype::F64 => {
            let double = |chunk: &[u8]| f64::from_le_bytes(chunk.try_into().expect(WHOLE));
            Some(bytes.chunks_exact(8).map(double).collect())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
