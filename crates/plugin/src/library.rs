//! A library: looked at, loaded, and asked for its version before anything else.

use crate::table;
use crate::{PluginError, Precision, Threads};
use core::ffi::{CStr, c_void};
use gfe_abi::{self as abi, DatasetFactory, DecoderFactory, EntryFunction, HostInfo, PluginEntry};
use libloading::os::unix::{Library as Loaded, RTLD_LOCAL, RTLD_NOW};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

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
    /// Said FATAL, with these words: nothing of it may be called again.
    dead: OnceLock<String>,
    /// Held while an instance is made, and during every call where one at a time is allowed in the whole library.
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
        /// Libraries by their full paths: an entry function is called once in a process.
        static LOADED: Mutex<Option<HashMap<PathBuf, Arc<Library>>>> = Mutex::new(None);
        let not_found = |why: String| PluginError::NotFound {
            name: path.display().to_string(),
            tried: vec![(path.to_owned(), why)],
        };
        let full = std::fs::canonicalize(path).map_err(|error| not_found(error.to_string()))?;
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = loaded.get_or_insert_default();
        if let Some(known) = loaded.get(&full) {
            check_pin(&full, pinned, &known.sha256)?;
            return Ok(Arc::clone(known));
        }
        refuse_writable(&full).map_err(|error| not_found(error.to_string()))??;
        let sha256 = sha256(&full).map_err(|error| not_found(error.to_string()))?;
        check_pin(&full, pinned, &sha256)?;
        let before = identity(&full).map_err(|error| not_found(error.to_string()))?;
        // SAFETY: the user asked for this library's code to be run. RTLD_NOW: what it lacks is told here and not later.
        let opened = unsafe { Loaded::open(Some(&full), RTLD_NOW | RTLD_LOCAL) };
        let opened = opened.map_err(|error| not_found(said(&error)))?;
        let entry = match identity(&full) {
            Ok(after) if after == before => enter(&full, &opened),
            _ => Err(PluginError::NotAPlugin {
                path: full.clone(),
                what: "it changed while it was loaded".into(),
            }),
        };
        // Never unloaded, even if it is no plugin: its destructors are as foreign as the rest.
        std::mem::forget(opened);
        let (version, get_factory) = entry?;
        // SAFETY: the library promises that its factories are constants of the types that follow from their ids.
        let (decoders, datasets) = unsafe {
            let factory = |id: &CStr| get_factory(id.as_ptr());
            (
                table::read(factory(abi::DECODER_FACTORY).cast::<DecoderFactory>()),
                table::read(factory(abi::DATASET_FACTORY).cast::<DatasetFactory>()),
            )
        };
        let library = Arc::new(Library {
            path: full.clone(),
            sha256,
            version,
            decoders,
            datasets,
            dead: OnceLock::new(),
            turn: Mutex::new(()),
        });
        loaded.insert(full, Arc::clone(&library));
        Ok(library)
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
                if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
                    return Err(self.broken(&id, "its id is not made of letters, digits, - and _"));
                }
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

    /// Waits for its turn where one call at a time is allowed, and keeps it as long as the result lives.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With which words it said FATAL, if it did: it is not to be called any more.
    pub(crate) fn last_words(&self) -> Option<&str> {
        self.dead.get().map(String::as_str)
    }

    /// It said FATAL.
    pub(crate) fn die(&self, words: &str) {
        // The first words are those that matter.
        let _ = self.dead.set(words.to_owned());
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

/// A library that everybody may write to, or replace in its folder, is none that was chosen.
fn refuse_writable(path: &Path) -> std::io::Result<Result<(), PluginError>> {
    let mode = |path: &Path| std::fs::metadata(path).map(|found| found.permissions().mode());
    // In a folder with the sticky bit others cannot replace it.
    let folder = path.parent().map_or(Ok(0), mode)?;
    if mode(path)? & 0o002 != 0 || (folder & 0o002 != 0 && folder & 0o1000 == 0) {
        let path = path.to_owned();
        return Ok(Err(PluginError::WorldWritable { path }));
    }
    Ok(Ok(()))
}

fn check_pin(path: &Path, pinned: Option<&str>, found: &str) -> Result<(), PluginError> {
    match pinned {
        Some(wanted) if !wanted.eq_ignore_ascii_case(found) => Err(PluginError::Sha256 {
            path: path.to_owned(),
            wanted: wanted.to_owned(),
            found: found.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What changes when a file is replaced or written to.
fn identity(path: &Path) -> std::io::Result<(u64, u64, i64, i64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let found = std::fs::metadata(path)?;
    Ok((
        found.dev(),
        found.ino(),
        found.mtime(),
        found.mtime_nsec(),
        found.size(),
    ))
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
