//! How a library says that it is a plugin, and of which version, before anything else of it is called.

use core::ffi::{CStr, c_char, c_void};

/// The one symbol that a plugin exports; its type is [`EntryFunction`].
pub const ENTRY_SYMBOL: &CStr = c"gfe_plugin_entry";

/// First member of a [`PluginEntry`]: the bytes `GFEPLUG` and a 0 as a number, most significant first.
pub const MAGIC: u64 = u64::from_be_bytes(*b"GFEPLUG\0");

/// The version that this crate describes.
pub const VERSION: Version = Version { major: 1, minor: 0 };

/// Version of the interface. Two sides understand each other if their major versions are equal.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Raised when a table's existing part changes.
    pub major: u32,
    /// Raised when a table grows or an extension is added.
    pub minor: u32,
}

/// What a plugin may know of the program that loads it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct HostInfo {
    /// Bytes of this struct, as the host knows it.
    pub size: usize,
    /// The interface's version, as the host knows it.
    pub version: Version,
    /// Name and version of the program, ends with a NUL; valid as long as the process.
    pub program: *const c_char,
}

/// What [`ENTRY_SYMBOL`] returns: a constant of the library.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PluginEntry {
    /// [`MAGIC`]; the host reads nothing further if it is not.
    pub magic: u64,
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// The interface's version, as the plugin knows it.
    pub version: Version,
    /// The factory of an id such as [`DECODER_FACTORY`](crate::DECODER_FACTORY), or null if there is none.
    ///
    /// `id` ends with a NUL. The type of what is returned follows from the id; it is a constant of the library. Any
    /// thread, any time after the entry function has returned.
    pub get_factory: Option<unsafe extern "C" fn(id: *const c_char) -> *const c_void>,
}

/// Type of the function at [`ENTRY_SYMBOL`]; null says that the plugin cannot work with this host.
///
/// Called before any other function, once, by one thread. `host` is valid during the call alone.
pub type EntryFunction = unsafe extern "C" fn(host: *const HostInfo) -> *const PluginEntry;
