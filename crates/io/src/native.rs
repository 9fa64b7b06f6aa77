//! The calls to the C library that the safe wrapper lacks: the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_uint};
use std::sync::Once;

use hdf5::{File, Location};
use hdf5_sys::h5a::{H5Aclose, H5Acreate2, H5Awrite};
use hdf5_sys::h5f::H5Fget_file_image;
use hdf5_sys::h5p::H5P_DEFAULT;
use hdf5_sys::h5s::{H5S_class_t, H5Sclose, H5Screate};
use hdf5_sys::h5t::{H5T_C_S1, H5T_str_t, H5Tclose, H5Tcopy, H5Tset_size, H5Tset_strpad};

unsafe extern "C" {
    // Declared here since the -sys crate gives it a pointer where the C function takes an unsigned int.
    fn H5PLset_loading_state(plugin_control_mask: c_uint) -> hdf5_sys::h5::herr_t;
}

/// Forbids HDF5 to load filter plugins: otherwise a dataset that names an unknown filter makes it load every library on
/// its plugin path. To be called before any file is opened; later calls do nothing.
pub(crate) fn forbid_filter_plugins() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the signature is that of H5PLpublic.h, no pointer is passed, and `sync` holds the library's lock after
        // having initialized it.
        let code = hdf5::sync::sync(|| unsafe { H5PLset_loading_state(0) });
        assert!(code >= 0, "HDF5 takes a mask of no plugin types");
    });
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
