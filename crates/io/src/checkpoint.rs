//! Checkpoints: tensors and notes of a computation that is to go on later, whole or refused.
//!
//! The file is HDF5 behind a user block of 512 bytes, which readers of HDF5 skip: it states the version of the format and
//! the length and the SHA-256 of everything after it. They are checked before HDF5 sees the file, since a parser of a
//! format as rich as HDF5 is no judge of damage. Inside are `notes`, JSON as bytes of UTF-8, and a dataset per tensor in
//! the group `tensors`, contiguous and of f64: nothing that HDF5 would have to convert, decompress or look up elsewhere.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::Path;

use hdf5::dataset::Layout;
use hdf5::types::{FloatSize, IntSize, TypeDescriptor};
use hdf5::{Dataset, Group, H5Type, IndexType, IterationOrder, LinkType};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::encoded::{group_of, text};
use crate::input::{RANK_LIMIT, refuse_foreign_storage_always, regular_file};
use crate::listing::descriptor_of;
use crate::{InputPath, IoError, StoredTensor, access, atomic, guard, output, texts};

/// Version of the format.
const VERSION: u32 = 1;
/// How a checkpoint begins.
const MARK: &[u8; 15] = b"gfe checkpoint ";
/// The least that HDF5 allows for a user block.
const BLOCK: usize = 512;

/// What a computation needs to go on where it stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Any JSON, nested at most 127 deep. Integers of 64 bits and finite reals come back exactly; JSON has no others.
    pub notes: Value,
    /// Tensors by name; any text is a name. At most 8 axes each, of any length.
    pub tensors: BTreeMap<String, StoredTensor>,
}

impl Checkpoint {
    /// Whether `path` begins as such a file does.
    pub fn is_one(path: &Path) -> bool {
        let mut start = [0; MARK.len()];
        regular_file(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok() && start == *MARK)
    }

    /// Writes the file, replacing one at `path` as a whole; the same content gives the same bytes.
    ///
    /// Fails where a tensor's values do not fill its shape or have more than 8 axes, and where the file cannot be created
    /// or written: then what stood at `path` still stands.
    pub fn write(&self, path: &Path) -> Result<(), IoError> {
        for (name, tensor) in &self.tensors {
            let len = tensor.shape.iter().try_fold(1_usize, |n, len| n.checked_mul(*len));
            if len != Some(tensor.values.len()) || tensor.shape.len() > RANK_LIMIT {
                return Err(IoError::TensorValues {
                    name: name.clone(),
                    shape: tensor.shape.clone(),
                    rank_limit: RANK_LIMIT,
                    found: tensor.values.len(),
                });
            }
        }
        let notes = self.notes.to_string();
        let image = output::image(path, |file| {
            text(file, "title", "Checkpoint of gfe")?;
            put(file, "notes", &[notes.len()], notes.as_bytes())?;
            let group = group_of(file, "tensors")?;
            let mut tensors = self.tensors.iter();
            tensors.try_for_each(|(name, tensor)| put(&group, &link_of(name), &tensor.shape, &tensor.values))
        })?;
        let mut bytes = Vec::with_capacity(BLOCK + image.len());
        bytes.extend_from_slice(&block(image.len() as u64, &Sha256::digest(&image)));
        bytes.extend_from_slice(&image);
        atomic::write_whole(path, &bytes)
    }

    /// Reads `path`; every value has the bits that were written.
    ///
    /// Fails where there is no such file, it is no checkpoint or one of another version, it is not as it was written, or
    /// it has anything in it that [`Checkpoint::write`] does not write.
    pub fn read(path: &Path) -> Result<Checkpoint, IoError> {
        let source = verified(path)?;
        access::prepare();
        // By its descriptor: what is read is what was checked, even where another file has taken the name since.
        let opened = hdf5::File::open(format!("/proc/self/fd/{}", source.as_raw_fd()));
        let file = opened.map_err(|source| IoError::NotHdf5 {
            path: path.to_owned(),
            source,
        })?;
        let length = file.size();
        guard::reading(path, (length, false), || Reader { path, file, length }.read())
    }
}

/// Writes a contiguous dataset.
fn put<T: H5Type>(parent: &Group, name: &str, shape: &[usize], values: &[T]) -> hdf5::Result<()> {
    let made = parent
        .new_dataset::<T>()
        .with_dcpl(|creation| creation.obj_track_times(false))
        .shape(shape.to_vec())
        .create(name)?;
    if values.is_empty() {
        Ok(())
    } else {
        made.write_raw(values)
    }
}

/// The user block of an image of `length` bytes: three lines of text, filled up with zeros.
fn block(length: u64, sha256: &[u8]) -> [u8; BLOCK] {
    let sha256: String = sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!("gfe checkpoint {VERSION}\nbytes {length}\nsha256 {sha256}\n");
    let mut block = [0; BLOCK];
    block[..text.len()].copy_from_slice(text.as_bytes());
    block
}

/// The file at `path`, after its user block was found to be true.
fn verified(path: &Path) -> Result<File, IoError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => IoError::NotFound { path: path.to_owned() },
        _ => IoError::Read {
            path: path.to_owned(),
            source,
        },
    };
    let wrong = |what: String| IoError::NotCheckpoint {
        path: path.to_owned(),
        what,
    };
    let mut file = regular_file(path)?;
    let mut stated = Vec::with_capacity(BLOCK);
    file.by_ref()
        .take(BLOCK as u64)
        .read_to_end(&mut stated)
        .map_err(failed)?;
    let head = String::from_utf8_lossy(&stated);
    let mut lines = head.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("gfe checkpoint "));
    match version.map(str::parse::<u32>) {
        Some(Ok(VERSION)) => {}
        Some(Ok(other)) => {
            let text = format!("it has version {other} of the format, and this program knows {VERSION}");
            return Err(wrong(text));
        }
        _ => return Err(wrong("it does not begin as one does".into())),
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hash.update(&buffer[..count]);
                length += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if stated == block(length, &hash.finalize()) {
        return Ok(file);
    }
    let announced = lines
        .next()
        .and_then(|line| line.strip_prefix("bytes ")?.parse::<u64>().ok());
    Err(wrong(match announced {
        Some(announced) if announced > length => {
            format!("it is truncated: {length} of {announced} bytes are there behind its first {BLOCK}")
        }
        _ => "it is damaged: its SHA-256 is not the one stated in it".into(),
    }))
}

/// An open checkpoint whose bytes are those that somebody wrote, but who knows who.
struct Reader<'a> {
    path: &'a Path,
    file: hdf5::File,
    /// Bytes of the file: what is read out of it is no more.
    length: u64,
}

impl Reader<'_> {
    fn read(mut self) -> Result<Checkpoint, IoError> {
        let root = self.hdf5(self.file.group("/"))?;
        if self.links(&root)? != ["notes", "tensors"] {
            return Err(self.wrong("it has other things in it than `notes` and `tensors`".into()));
        }
        let is_byte = |found: &TypeDescriptor| *found == TypeDescriptor::Unsigned(IntSize::U1);
        let (_, notes) = self.values::<u8>(&root, "notes", is_byte)?;
        let notes = serde_json::from_slice(&notes).map_err(|source| IoError::BadMetadata {
            path: self.path.to_owned(),
            key: "notes",
            source,
        })?;
        let group = self.hdf5(root.group("tensors"))?;
        let mut tensors = BTreeMap::new();
        for link in self.links(&group)? {
            let name = name_of(&link).ok_or_else(|| self.wrong(format!("`{link}` is no name of a tensor")))?;
            let is_real = |found: &TypeDescriptor| *found == TypeDescriptor::Float(FloatSize::U8);
            let (shape, values) = self.values::<f64>(&group, &link, is_real)?;
            tensors.insert(name, StoredTensor { shape, values });
        }
        Ok(Checkpoint { notes, tensors })
    }

    /// Names of the hard links of `group`; fails where it has others, which may lead out of the file.
    fn links(&self, group: &Group) -> Result<Vec<String>, IoError> {
        let links = self.hdf5(group.links(IndexType::Name, IterationOrder::Increasing))?;
        let other = links.iter().find(|(_, link)| link.link_type != LinkType::Hard);
        match other {
            Some((name, _)) => Err(self.wrong(format!("its `{name}` is a soft or an external link"))),
            None => Ok(links
                .into_iter()
                .map(|(name, _)| texts::lossy(name.as_bytes()))
                .collect()),
        }
    }

    /// Shape and values of a dataset whose type is `wanted`; fails before anything is allocated for a false one.
    fn values<T: H5Type>(
        &mut self,
        group: &Group,
        name: &str,
        wanted: impl Fn(&TypeDescriptor) -> bool,
    ) -> Result<(Vec<usize>, Vec<T>), IoError> {
        let dataset: Dataset = self.hdf5(group.dataset(name))?;
        let from = InputPath {
            file: self.path.to_owned(),
            dataset: Some(dataset.name()),
        };
        refuse_foreign_storage_always(&from, &self.file, &dataset)?;
        let shape = dataset.shape();
        let found = descriptor_of(&dataset).map_err(|found| self.wrong(format!("its `{name}` holds {found}")))?;
        let bytes = shape
            .iter()
            .try_fold(size_of::<T>() as u64, |bytes, len| bytes.checked_mul(*len as u64))
            .filter(|bytes| *bytes <= self.length);
        // HDF5 has no layout of nothing.
        let in_one_piece = bytes == Some(0) || matches!(dataset.layout(), Layout::Contiguous);
        let (Some(bytes), true, true) = (bytes, in_one_piece, wanted(&found)) else {
            let text = format!("its `{name}` is {found} of shape {shape:?}, or stored in pieces");
            return Err(self.wrong(text));
        };
        self.length -= bytes;
        let values = if bytes == 0 {
            Vec::new()
        } else {
            self.hdf5(dataset.read_raw())?
        };
        Ok((shape, values))
    }

    fn hdf5<T>(&self, result: hdf5::Result<T>) -> Result<T, IoError> {
        result.map_err(|source| IoError::NotHdf5 {
            path: self.path.to_owned(),
            source,
        })
    }

    fn wrong(&self, what: String) -> IoError {
        IoError::NotCheckpoint {
            path: self.path.to_owned(),
            what,
        }
    }
}

/// The name of the dataset of the tensor `name`: HDF5 has no names that are empty or ".", and none with a slash or a null.
fn link_of(name: &str) -> String {
    match name {
        "" => "%".to_owned(),
        "." => "%2E".to_owned(),
        _ => name.replace('%', "%25").replace('/', "%2F").replace('\0', "%00"),
    }
}

/// The tensor's name of a dataset, where [`link_of`] gives the one for the other.
fn name_of(link: &str) -> Option<String> {
    let name = match link {
        "%" => String::new(),
        "%2E" => ".".to_owned(),
        _ => link.replace("%00", "\0").replace("%2F", "/").replace("%25", "%"),
    };
    (link_of(&name) == link).then_some(name)
}

#[cfg(test)]
mod tests;
