//! How HDF5 files are opened by this process: with which locks, and whether they may lead to other files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Once, OnceLock};

use crate::native;

/// Whether HDF5 locks the files that it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// Where the file system has locks.
    Auto,
    /// Always; a file system without locks is an error.
    On,
    /// Never, as some network file systems need it.
    Off,
}

/// What holds for every file that this process opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Locks; `None` leaves them to the variable HDF5_USE_FILE_LOCKING, and to HDF5 where it is not set.
    pub locking: Option<Locking>,
    /// Whether external links, external storage and virtual datasets are followed into other files.
    pub allow_external: bool,
}

static ACCESS: OnceLock<Access> = OnceLock::new();
/// Whether `set_access` was called.
static IS_SET: AtomicBool = AtomicBool::new(false);

/// Says how files are to be opened: to be called once, by `main`, before any other thread is started and any file opened.
///
/// From here on the memory of the process is bounded while the structure of an HDF5 file is looked at: what other threads ask
/// for meanwhile may be refused, so that files are to be opened before there are any that would mind.
///
/// # Panics
/// Where it is called twice, or a file has been opened before.
pub fn set_access(access: Access) {
    ACCESS.set(access).expect("no file has been opened yet");
    IS_SET.store(true, Ordering::Relaxed);
    if let Some(locking) = access.locking {
        native::set_locking_variable(match locking {
            Locking::Auto => "BEST_EFFORT",
            Locking::On => "TRUE",
            Locking::Off => "FALSE",
        });
    }
}

/// Whether values may lie in other files.
pub(crate) fn external_is_allowed() -> bool {
    ACCESS.get_or_init(Access::default).allow_external
}

/// To be called before any file is opened; later calls do nothing. HDF5 loads no plugins from here on, and follows no
/// external link unless that is allowed.
pub(crate) fn prepare() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        native::forbid_plugins();
        // It holds for the whole process, which its `main` has to say; without it links are followed and then refused.
        if is_set() && !external_is_allowed() {
            native::forbid_external_links();
        }
    });
}

/// Whether `main` has said how files are opened, and so that they are by its own thread.
pub(crate) fn is_set() -> bool {
    IS_SET.load(Ordering::Relaxed)
}
