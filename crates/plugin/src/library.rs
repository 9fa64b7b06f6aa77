//! A library: looked at, loaded, and asked for its version before anything else.

use crate::table;
use crate::{PluginError, Precision, Threads};
use core::ffi::{CStr, c_void};
use gfe_abi::{self as abi, DatasetFactory, DecoderFactory, EntryFunction, HostInfo, PluginEntry};
use libloading::os::unix::{Library as Loaded, RTLD_LOCAL, RTLD_NOW};
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// Major and minor version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32, pub u32);

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}", self.0, self.1)
    }
}

/// What a library says of one of its decoders.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderListed {
    /// The name by which it is asked for.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Its version.
    pub version: Version,
    /// Which calls may overlap.
    pub threads: Threads,
    /// In which precision it computes.
    pub precision: Precision,
}

/// What a library says of one of its kinds of data sets.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetListed {
    /// The name by which it is asked for.
    pub id: String,
    /// One line for people.
    pub title: String,
    /// Its version.
    pub version: Version,
}

/// A loaded plugin. It is never unloaded: it may own threads and thread-locals.
pub struct Library {
    path: PathBuf,
    sha256: String,
    version: Version,
    decoders: Option<DecoderFactory>,
    datasets: Option<DatasetFactory>,
    /// Said FATAL: nothing of it may be called again.
    dead: AtomicBool,
    /// Held during a call where one at a time is allowed.
    turn: Mutex<()>,
}

impl fmt::Debug for Library {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Library({})", self.path.display())
    }
}

/// Most decoders or data sets in a library.
const MOST: usize = 1000;

impl Library {
    /// Loads the library at `path`; with `pinned`, only if that is its sha256.
    ///
    /// Loading runs the library's code with the user's rights: the path must come from the user. Fails where it cannot be
    /// loaded, everybody may write to it, or it is no plugin of this version.
    pub fn load(path: &Path, pinned: Option<&str>) -> Result<Arc<Library>, PluginError> {
        let not_found = |why: String| PluginError::NotFound {
            name: path.display().to_string(),
            tried: vec![(path.to_owned(), why)],
        };
        // dlopen keeps what it has loaded by its name: the full one is the same from everywhere.
        let full = std::fs::canonicalize(path).map_err(|error| not_found(error.to_string()))?;
        let mode = std::fs::metadata(&full)
            .map_err(|error| not_found(error.to_string()))?
            .permissions()
            .mode();
        if mode & 0o002 != 0 {
            return Err(PluginError::WorldWritable { path: full });
        }
        let sha256 = sha256(&full).map_err(|error| not_found(error.to_string()))?;
        if let Some(wanted) = pinned.filter(|wanted| !wanted.eq_ignore_ascii_case(&sha256)) {
            return Err(PluginError::Sha256 {
                path: full,
                wanted: wanted.to_owned(),
                found: sha256,
            });
        }
        // SAFETY: the user asked for this library's code to be run. RTLD_NOW: what it lacks is told here and not later.
        let loaded = unsafe { Loaded::open(Some(&full), RTLD_NOW | RTLD_LOCAL) };
        let loaded = loaded.map_err(|error| not_found(said(&error)))?;
        let entry = enter(&full, &loaded);
        // Never unloaded, even if it is no plugin: its destructors are as foreign as the rest.
        std::mem::forget(loaded);
        let (version, get_factory) = entry?;
        // SAFETY: the library promises that its factories are constants of the types that follow from their ids.
        let (decoders, datasets) = unsafe {
            let factory = |id: &CStr| get_factory(id.as_ptr());
            (
                table::read(factory(abi::DECODER_FACTORY).cast::<DecoderFactory>()),
                table::read(factory(abi::DATASET_FACTORY).cast::<DatasetFactory>()),
            )
        };
        Ok(Arc::new(Library {
            path: full,
            sha256,
            version,
            decoders,
            datasets,
            dead: AtomicBool::new(false),
            turn: Mutex::new(()),
        }))
    }

    /// Its full path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The hash of its file, in hexadecimal digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// The version of the interface that it was written for.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Its decoders.
    pub fn decoders(&self) -> Result<Vec<DecoderListed>, PluginError> {
        let Some(factory) = &self.decoders else {
            return Ok(Vec::new());
        };
        let (count, info) = (
            self.has("gfe_decoder_factory", "count", factory.count)?,
            self.has("gfe_decoder_factory", "info", factory.info)?,
        );
        // SAFETY: constants of the library, which nobody else calls at the moment.
        let count = unsafe { count() };
        let mut listed = Vec::new();
        for index in 0..count.min(MOST) {
            // SAFETY: as above; the info is null or a constant with texts that end with a NUL.
            unsafe {
                let Some(info) = table::read(info(index)) else { break };
                let id = table::text(info.id);
                listed.push(DecoderListed {
                    title: table::text(info.title),
                    version: Version(info.version.major, info.version.minor),
                    threads: Threads::of(info.threads)
                        .ok_or_else(|| self.broken(&id, "its `threads` is none of the three"))?,
                    precision: Precision::of(info.precision)
                        .ok_or_else(|| self.broken(&id, "its `precision` is neither f64 nor f32"))?,
                    id,
                });
            }
        }
        Ok(listed)
    }

    /// Its kinds of data sets.
    pub fn datasets(&self) -> Result<Vec<DatasetListed>, PluginError> {
        let Some(factory) = &self.datasets else {
            return Ok(Vec::new());
        };
        let (count, info) = (
            self.has("gfe_dataset_factory", "count", factory.count)?,
            self.has("gfe_dataset_factory", "info", factory.info)?,
        );
        // SAFETY: constants of the library, which nobody else calls at the moment.
        let count = unsafe { count() };
        let mut listed = Vec::new();
        for index in 0..count.min(MOST) {
            // SAFETY: as above; the info is null or a constant with texts that end with a NUL.
            unsafe {
                let Some(info) = table::read(info(index)) else { break };
                listed.push(DatasetListed {
                    id: table::text(info.id),
                    title: table::text(info.title),
                    version: Version(info.version.major, info.version.minor),
                });
            }
        }
        Ok(listed)
    }

    pub(crate) fn decoder_factory(&self) -> Option<&DecoderFactory> {
        self.decoders.as_ref()
    }

    pub(crate) fn dataset_factory(&self) -> Option<&DatasetFactory> {
        self.datasets.as_ref()
    }

    /// What is held during a call where one at a time is allowed.
    pub(crate) fn turn(&self) -> &Mutex<()> {
        &self.turn
    }

    /// Whether it may still be called.
    pub(crate) fn alive(&self) -> bool {
        !self.dead.load(Ordering::Acquire)
    }

    /// It said FATAL.
    pub(crate) fn die(&self) {
        self.dead.store(true, Ordering::Release);
    }

    /// A function that every plugin needs.
    pub(crate) fn has<F>(
        &self,
        table: &'static str,
        member: &'static str,
        function: Option<F>,
    ) -> Result<F, PluginError> {
        function.ok_or_else(|| PluginError::Missing {
            path: self.path.clone(),
            table,
            member,
        })
    }

    pub(crate) fn broken(&self, id: &str, what: &str) -> PluginError {
        PluginError::Broken {
            id: id.to_owned(),
            what: what.to_owned(),
        }
    }
}

type GetFactory = unsafe extern "C" fn(*const core::ffi::c_char) -> *const c_void;

/// Calls the entry function and checks magic and version before anything else is read.
fn enter(path: &Path, loaded: &Loaded) -> Result<(Version, GetFactory), PluginError> {
    let not = |what: &str| PluginError::NotAPlugin {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    // SAFETY: by the interface this symbol has this type.
    let entry = unsafe { loaded.get::<EntryFunction>(abi::ENTRY_SYMBOL.to_bytes_with_nul()) };
    let entry = entry.map_err(|_| not("it is no plugin: it does not export `gfe_plugin_entry`"))?;
    let host = HostInfo {
        size: size_of::<HostInfo>(),
        version: abi::VERSION,
        program: concat!("gfe ", env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast(),
    };
    // SAFETY: `host` is valid during the call.
    let info = unsafe { entry(&host) };
    if info.is_null() {
        return Err(not("it says that it cannot work with this program"));
    }
    // SAFETY: not null; by the interface it points to a constant that begins with the magic number.
    if unsafe { (&raw const (*info).magic).read() } != abi::MAGIC {
        return Err(not("it is no plugin: its magic number is wrong"));
    }
    // SAFETY: the magic number says that size and version follow.
    let (size, version) = unsafe { ((&raw const (*info).size).read(), (&raw const (*info).version).read()) };
    let (found, known) = (
        Version(version.major, version.minor),
        Version(abi::VERSION.major, abi::VERSION.minor),
    );
    if found.0 != known.0 {
        return Err(PluginError::Version {
            path: path.to_owned(),
            found,
            known,
        });
    }
    if size < size_of::<PluginEntry>() {
        return Err(not("its entry is shorter than the interface's first version"));
    }
    // SAFETY: its size says that it is there.
    let get_factory = unsafe { (&raw const (*info).get_factory).read() };
    let get_factory = get_factory.ok_or_else(|| PluginError::Missing {
        path: path.to_owned(),
        table: "gfe_plugin_entry_info",
        member: "get_factory",
    })?;
    Ok((found, get_factory))
}

/// The loader's own words.
fn said(error: &libloading::Error) -> String {
    use std::error::Error;
    error
        .source()
        .map_or_else(|| error.to_string(), |source| source.to_string())
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(format!("{:x}", hash.finalize())),
            read => hash.update(&buffer[..read]),
        }
    }
}
