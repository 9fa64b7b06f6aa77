//! The calls to the C library that the safe wrapper lacks: the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_uint};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Once;

use hdf5::types::TypeDescriptor;
use hdf5::{Container, Dataset, Datatype, File, H5Type, Location};
use hdf5_sys::h5a::{H5Aclose, H5Acreate2, H5Awrite};
use hdf5_sys::h5d::{
    H5Dget_chunk_info_by_coord, H5Dget_space, H5Dget_storage_size, H5Dget_type, H5Dopen2, H5Dread, H5Dwrite,
};
use hdf5_sys::h5f::H5Fget_file_image;
use hdf5_sys::h5i::hid_t;
use hdf5_sys::h5l::{H5L_type_t, H5Lunregister};
use hdf5_sys::h5p::{H5P_CLS_DATASET_ACCESS, H5P_DEFAULT, H5Pclose, H5Pcreate, H5Pset_chunk_cache};
use hdf5_sys::h5pl::{H5PLremove, H5PLsize};
use hdf5_sys::h5s::{H5S_class_t, H5S_seloper_t, H5Sclose, H5Screate, H5Screate_simple, H5Sselect_hyperslab};
use hdf5_sys::h5t::{
    H5T_C_S1, H5T_class_t, H5T_str_t, H5Tclose, H5Tcopy, H5Tequal, H5Tget_class, H5Tget_size, H5Tget_super,
    H5Tis_variable_str, H5Treclaim, H5Tset_size, H5Tset_strpad,
};

use crate::texts;

unsafe extern "C" {
    // Declared here since the -sys crate gives it a pointer where the C function takes an unsigned int.
    fn H5PLset_loading_state(plugin_control_mask: c_uint) -> hdf5_sys::h5::herr_t;
}

/// Forbids HDF5 to load libraries. To be called before any file is opened; later calls do nothing.
///
/// A dataset that names an unknown filter makes it load every library on its plugin path, unless its loading state forbids
/// that; a file that is no HDF5 makes 2.x do the same, in search of a connector that could open it, whatever that state
/// (`H5PL_iterate`): so the path is emptied too.
pub(crate) fn forbid_plugins() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the signature is that of H5PLpublic.h, the one pointer is to the stack, and `sync` holds the library's lock
        // after having initialized it.
        let left = hdf5::sync::sync(|| unsafe {
            let state = H5PLset_loading_state(0);
            assert!(state >= 0, "HDF5 takes a mask of no plugin types");
            let mut left = 0;
            while H5PLsize(&mut left) >= 0 && left > 0 && H5PLremove(left - 1) >= 0 {}
            left
        });
        assert_eq!(left, 0, "HDF5 takes folders from its plugin path");
    });
}

/// Forbids HDF5 to follow external links, by taking their class away: whoever meets one gets an error, and no other file is
/// opened. To be called before any file is opened.
pub(crate) fn forbid_external_links() {
    // SAFETY: no pointer is passed; `sync` holds the library's lock after having initialized it.
    let code = hdf5::sync::sync(|| unsafe { H5Lunregister(H5L_type_t::H5L_TYPE_EXTERNAL) });
    assert!(code >= 0, "HDF5 has the class of external links");
}

/// Sets HDF5_USE_FILE_LOCKING, which HDF5 reads when it is initialized and prefers to what a file is opened with.
pub(crate) fn set_locking_variable(value: &str) {
    // SAFETY: the caller, `set_access`, is to be called before there is another thread.
    unsafe { std::env::set_var("HDF5_USE_FILE_LOCKING", value) };
}

/// What values are, as far as it can be said without reading more of the type's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Integers.
    Integer,
    /// Floating-point numbers.
    Float,
    /// Integers with names: an enumeration.
    Named,
    /// Texts.
    Text,
    /// Anything else, in words.
    Other(&'static str),
}

/// The class of a type.
fn class_of(datatype: &Datatype) -> Class {
    // SAFETY: `datatype` is an open handle for the whole call.
    match hdf5::sync::sync(|| unsafe { H5Tget_class(datatype.id()) }) {
        H5T_class_t::H5T_INTEGER => Class::Integer,
        H5T_class_t::H5T_FLOAT => Class::Float,
        H5T_class_t::H5T_STRING => Class::Text,
        H5T_class_t::H5T_COMPOUND => Class::Other("compound values"),
        H5T_class_t::H5T_ENUM => Class::Named,
        H5T_class_t::H5T_REFERENCE => Class::Other("references"),
        H5T_class_t::H5T_OPAQUE => Class::Other("opaque bytes"),
        H5T_class_t::H5T_BITFIELD => Class::Other("bit fields"),
        H5T_class_t::H5T_TIME => Class::Other("times"),
        H5T_class_t::H5T_VLEN => Class::Other("sequences of variable length"),
        H5T_class_t::H5T_ARRAY => Class::Other("arrays"),
        _ => Class::Other("values of a type that is not known"),
    }
}

/// The type of values that are numbers or texts, or in words what the values are instead. An enumeration (truth values, labels) is the
/// integers that it names, which HDF5 converts it to.
///
/// To be asked before the wrapper reads what nobody vouches for: it describes the type of whatever it cannot convert, and for that
/// of an enumeration writes as many bytes as the file says to a place for eight.
pub(crate) fn descriptor_of(values: &Container) -> Result<TypeDescriptor, String> {
    let words = |error: hdf5::Error| texts::lossy(error.to_string().as_bytes());
    let datatype = values.dtype().map_err(words)?;
    match class_of(&datatype) {
        Class::Integer | Class::Float | Class::Text => datatype.to_descriptor().map_err(words),
        Class::Named => {
            // SAFETY: `datatype` is an open handle for the whole call; the identifier of its base is new and handed to its
            // wrapper alone, which refuses a negative one.
            let base: Datatype =
                hdf5::sync::sync(|| unsafe { hdf5::from_id(H5Tget_super(datatype.id())) }).map_err(words)?;
            match class_of(&base) {
                Class::Integer if base.size() == datatype.size() => base.to_descriptor().map_err(words),
                _ => Err("an enumeration of what are no integers".into()),
            }
        }
        Class::Other(what) => Err(what.into()),
    }
}

/// Whether values are lists of references, which may be read as such.
pub(crate) fn are_lists_of_references(datatype: &Datatype) -> bool {
    // SAFETY: `datatype` is an open handle for the whole call; the identifier of its base is new and closed once.
    hdf5::sync::sync(|| unsafe {
        if H5Tget_class(datatype.id()) != H5T_class_t::H5T_VLEN {
            return false;
        }
        let base = H5Tget_super(datatype.id());
        let are = base >= 0 && H5Tget_class(base) == H5T_class_t::H5T_REFERENCE;
        if base >= 0 {
            H5Tclose(base);
        }
        are
    })
}

/// Opens a dataset with a cache of `slots` chunks and `bytes` bytes of its own, from which what was read whole goes first.
pub(crate) fn open_with_cache(file: &File, name: &str, (slots, bytes): (usize, usize)) -> hdf5::Result<Dataset> {
    let name = CString::new(name).map_err(|_| hdf5::Error::from("the name has a null in it"))?;
    // SAFETY: `file` is open and `name` ends with a null for the whole call; the property list is closed once; the identifier
    // of the dataset is new and handed to its wrapper alone. A failed create gives a negative identifier, which the calls
    // after it refuse.
    hdf5::sync::sync(|| unsafe {
        let access = H5Pcreate(*H5P_CLS_DATASET_ACCESS);
        H5Pset_chunk_cache(access, slots, bytes, 1.0);
        let opened = H5Dopen2(file.id(), name.as_ptr(), access);
        H5Pclose(access);
        if opened < 0 {
            return Err("the dataset cannot be opened with a cache of its own".into());
        }
        hdf5::from_id(opened)
    })
}

/// Bytes that the values of `dataset` take in the file; 0 for one that was never written.
pub(crate) fn stored_bytes(dataset: &Dataset) -> u64 {
    // SAFETY: `dataset` is open for the whole call.
    hdf5::sync::sync(|| unsafe { H5Dget_storage_size(dataset.id()) })
}

/// What the file has of a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredChunk {
    /// Bit i: it did without filter i.
    pub(crate) without: u32,
    /// Where it is in the file.
    pub(crate) address: u64,
    /// Its length there; 0 where it was never written.
    pub(crate) bytes: u64,
}

/// What the file has of the chunk whose first value is at `offset`.
pub(crate) fn stored_chunk(dataset: &Dataset, offset: &[u64]) -> hdf5::Result<StoredChunk> {
    let (mut without, mut address, mut bytes) = (0, 0, 0);
    // SAFETY: `dataset` is open for the whole call and has as many axes as `offset` has values; the three places are on the
    // stack.
    let code = hdf5::sync::sync(|| unsafe {
        H5Dget_chunk_info_by_coord(dataset.id(), offset.as_ptr(), &mut without, &mut address, &mut bytes)
    });
    if code < 0 {
        return Err("a chunk cannot be found".into());
    }
    Ok(StoredChunk {
        without,
        address,
        bytes,
    })
}

/// Writes `value` as a scalar attribute of type fixed-length, null-terminated ASCII.
///
/// The wrapper's fixed strings are null-padded, which no reader accepts as the CLASS of a dimension scale.
pub(crate) fn write_null_terminated(location: &Location, name: &CStr, value: &CStr) -> bool {
    let bytes = value.to_bytes_with_nul();
    // SAFETY: `location` is an open handle for the whole call; the strings end with a null; `bytes` has the length that
    // the type was given; every identifier is closed once. A failed create gives a negative identifier, which the calls
    // after it refuse.
    hdf5::sync::sync(|| unsafe {
        let string = H5Tcopy(*H5T_C_S1);
        let sized = H5Tset_size(string, bytes.len()) >= 0 && H5Tset_strpad(string, H5T_str_t::H5T_STR_NULLTERM) >= 0;
        let scalar = H5Screate(H5S_class_t::H5S_SCALAR);
        let attribute = H5Acreate2(location.id(), name.as_ptr(), string, scalar, H5P_DEFAULT, H5P_DEFAULT);
        let written = sized && attribute >= 0 && H5Awrite(attribute, string, bytes.as_ptr().cast()) >= 0;
        if attribute >= 0 {
            H5Aclose(attribute);
        }
        H5Sclose(scalar);
        H5Tclose(string);
        written
    })
}

/// The bytes that `file` would have on disk, or `None` where HDF5 fails. The file must have been flushed.
pub(crate) fn file_image(file: &File) -> Option<Vec<u8>> {
    // SAFETY: `file` is open for the whole call; a null buffer asks for the length; the second call gets a buffer of
    // that length, and the lock is held across both.
    hdf5::sync::sync(|| unsafe {
        let length = H5Fget_file_image(file.id(), std::ptr::null_mut(), 0);
        let mut image = vec![0; usize::try_from(length).ok()?];
        let copied = H5Fget_file_image(file.id(), image.as_mut_ptr().cast(), image.len());
        (copied == length).then_some(image)
    })
}

/// Rows of a dataset in memory, in the dataset's own type: whatever the type, they can be written to another of the same.
pub(crate) struct RawRows {
    bytes: Vec<u8>,
    /// Values in memory, which HDF5 allocated where they have a length of their own.
    values: u64,
    kind: Type,
}

/// An HDF5 type, closed in the end.
struct Type(hid_t);

impl Type {
    fn of(dataset: &Dataset) -> Option<Type> {
        // SAFETY: `dataset` is open for the whole call.
        let kind = hdf5::sync::sync(|| unsafe { H5Dget_type(dataset.id()) });
        (kind >= 0).then_some(Type(kind))
    }
}

impl Drop for Type {
    fn drop(&mut self) {
        // SAFETY: the identifier was opened by `of` and is closed here alone.
        hdf5::sync::sync(|| unsafe { H5Tclose(self.0) });
    }
}

/// A hash of values, the one that [`RawRows::digest`] gives of them once they are in a dataset of their own type.
pub(crate) fn digest_of<T: H5Type>(values: &[T]) -> u64 {
    let mut hash = DefaultHasher::new();
    // SAFETY: the values are numbers, as HDF5 stores them, without gaps between them.
    hash.write(unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) });
    hash.finish()
}

/// Whether two datasets have values of the same type.
pub(crate) fn same_type(one: &Dataset, other: &Dataset) -> bool {
    let (Some(one), Some(other)) = (Type::of(one), Type::of(other)) else {
        return false;
    };
    // SAFETY: both are open types.
    hdf5::sync::sync(|| unsafe { H5Tequal(one.0, other.0) }) > 0
}

impl RawRows {
    /// Room for `rows` rows of `dataset`, all zeros.
    pub(crate) fn new(dataset: &Dataset, rows: usize) -> Option<RawRows> {
        let kind = Type::of(dataset)?;
        // SAFETY: an open type.
        let size = hdf5::sync::sync(|| unsafe { H5Tget_size(kind.0) });
        let values = dataset.shape()[1..]
            .iter()
            .try_fold(rows, |n, len| n.checked_mul(*len))?;
        Some(RawRows {
            bytes: vec![0; values.checked_mul(size)?],
            values: values as u64,
            kind,
        })
    }

    /// Bytes of a row of `dataset` in memory.
    pub(crate) fn row_bytes(dataset: &Dataset) -> Option<usize> {
        RawRows::new(dataset, 1).map(|row| row.bytes.len())
    }

    /// Reads the rows `from` of `dataset`, whose type and further axes have to be those that this was made for, to the
    /// rows here from `to` on; false where they do not fit or HDF5 fails.
    pub(crate) fn read(&mut self, dataset: &Dataset, from: std::ops::Range<usize>, to: usize) -> bool {
        self.transfer(dataset, from, to, true)
    }

    /// Writes all rows to `dataset` from row `start` on; false where they do not fit or HDF5 fails.
    pub(crate) fn write(mut self, dataset: &Dataset, start: usize) -> bool {
        let per_row: usize = dataset.shape()[1..].iter().product();
        let rows = self.values as usize / per_row.max(1);
        self.transfer(dataset, start..start + rows, 0, false)
    }

    /// A hash of the values: of the texts themselves where they have a length of their own.
    pub(crate) fn digest(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        // SAFETY: an open type.
        if hdf5::sync::sync(|| unsafe { H5Tis_variable_str(self.kind.0) }) > 0 {
            for pointer in self.bytes.as_chunks::<{ size_of::<usize>() }>().0 {
                let text = std::ptr::with_exposed_provenance::<std::ffi::c_char>(usize::from_ne_bytes(*pointer));
                if !text.is_null() {
                    // SAFETY: HDF5 gave a null-terminated text, which is reclaimed when this is dropped.
                    hash.write(unsafe { CStr::from_ptr(text) }.to_bytes_with_nul());
                }
            }
        } else {
            hash.write(&self.bytes);
        }
        hash.finish()
    }

    fn transfer(&mut self, dataset: &Dataset, rows: std::ops::Range<usize>, at: usize, read: bool) -> bool {
        let shape = dataset.shape();
        let per_row: usize = shape[1..].iter().product();
        let (first, count) = (at * per_row, rows.len() * per_row);
        let fits = shape[0] >= rows.end && first + count <= self.values as usize;
        let same = Type::of(dataset).is_some_and(|kind| {
            // SAFETY: both are open types.
            hdf5::sync::sync(|| unsafe { H5Tequal(kind.0, self.kind.0) }) > 0
        });
        if !fits || !same || count == 0 {
            return fits && same;
        }
        let size = self.bytes.len() / self.values as usize;
        let place = &mut self.bytes[first * size..(first + count) * size];
        // SAFETY: `dataset` is open; the selection lies within its extent, which was checked above, and selects as many
        // values as the memory space and `place` have, each of the size of the type that both sides share; every
        // identifier is closed once. A failed call gives a negative identifier, which the calls after it refuse.
        hdf5::sync::sync(|| unsafe {
            let file = H5Dget_space(dataset.id());
            let mut start: Vec<u64> = vec![0; shape.len()];
            start[0] = rows.start as u64;
            let mut lens: Vec<u64> = shape.iter().map(|len| *len as u64).collect();
            lens[0] = rows.len() as u64;
            let null = std::ptr::null();
            let chosen = H5Sselect_hyperslab(
                file,
                H5S_seloper_t::H5S_SELECT_SET,
                start.as_ptr(),
                null,
                lens.as_ptr(),
                null,
            );
            let values = count as u64;
            let memory = H5Screate_simple(1, &values, null);
            let done = chosen >= 0
                && if read {
                    H5Dread(
                        dataset.id(),
                        self.kind.0,
                        memory,
                        file,
                        H5P_DEFAULT,
                        place.as_mut_ptr().cast(),
                    )
                } else {
                    H5Dwrite(
                        dataset.id(),
                        self.kind.0,
                        memory,
                        file,
                        H5P_DEFAULT,
                        place.as_ptr().cast(),
                    )
                } >= 0;
            H5Sclose(memory);
            H5Sclose(file);
            done
        })
    }
}

impl Drop for RawRows {
    fn drop(&mut self) {
        if self.values == 0 {
            return;
        }
        // SAFETY: the buffer holds `values` values of the type, zeros where nothing was read, for which nothing is freed;
        // values of variable length were allocated by HDF5.
        hdf5::sync::sync(|| unsafe {
            let space = H5Screate_simple(1, &self.values, std::ptr::null());
            H5Treclaim(self.kind.0, space, H5P_DEFAULT, self.bytes.as_mut_ptr().cast());
            H5Sclose(space);
        });
    }
}
