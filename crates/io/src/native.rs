//! The calls to the C library that the safe wrapper lacks: the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::ffi::c_uint;
use std::sync::Once;

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
