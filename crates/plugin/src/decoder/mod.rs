//! A plugin's decoder as one of ours: what it says of itself, its instances, and their calls.

mod instance;
mod products;

use crate::library::DecoderListed;
use crate::{Library, PluginError, view};
use gfe_abi::{self as abi, DecoderInstance, Status};
use gfe_model::Decoder;
use instance::Instance;
use products::PluginDecoder;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

/// Which calls of a decoder may overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    /// Any: one instance serves all workers.
    Shared,
    /// One at a time per instance: every worker has its own.
    Instance,
    /// One at a time in the whole library: there is one worker.
    Process,
}

impl Threads {
    pub(crate) fn of(number: u32) -> Option<Threads> {
        match number {
            abi::THREADS_SHARED => Some(Threads::Shared),
            abi::THREADS_INSTANCE => Some(Threads::Instance),
            abi::THREADS_PROCESS => Some(Threads::Process),
            _ => None,
        }
    }

    /// Its name in the interface.
    pub fn name(self) -> &'static str {
        match self {
            Threads::Shared => "shared",
            Threads::Instance => "instance",
            Threads::Process => "process",
        }
    }
}

/// In which precision a decoder computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Double.
    F64,
    /// Single.
    F32,
}

impl Precision {
    pub(crate) fn of(number: u32) -> Option<Precision> {
        match number {
            abi::PRECISION_F64 => Some(Precision::F64),
            abi::PRECISION_F32 => Some(Precision::F32),
            _ => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F64 => "f64",
            Precision::F32 => "f32",
        }
    }
}

/// A decoder of a library with its configuration: opens instances for workers, and keeps those handed back.
pub struct DecoderPlugin {
    library: Arc<Library>,
    listed: DecoderListed,
    config: String,
    idle: Arc<Mutex<Vec<Arc<Instance>>>>,
}

impl DecoderPlugin {
    /// The decoder `id` of a library, or its only one, set up from a configuration in JSON (empty for none).
    ///
    /// Fails where there is none, it refuses the configuration, or what it says of itself cannot be.
    pub fn open(library: &Arc<Library>, id: Option<&str>, config: &str) -> Result<DecoderPlugin, PluginError> {
        let listed = library.decoders()?;
        let available = || listed.iter().map(|one| one.id.clone()).collect();
        let found = match id {
            Some(id) => listed
                .iter()
                .find(|one| one.id == id)
                .ok_or_else(|| PluginError::NoSuchId {
                    path: library.path().to_owned(),
                    kind: "decoder",
                    id: id.to_owned(),
                    available: available(),
                })?,
            None if listed.len() > 1 => {
                return Err(PluginError::Ambiguous {
                    path: library.path().to_owned(),
                    kind: "decoder",
                    available: available(),
                });
            }
            None => listed.first().ok_or_else(|| PluginError::NotAPlugin {
                path: library.path().to_owned(),
                what: "it has no decoder".into(),
            })?,
        };
        let plugin = DecoderPlugin {
            library: Arc::clone(library),
            listed: found.clone(),
            config: config.to_owned(),
            idle: Arc::default(),
        };
        let first = plugin.create()?;
        plugin.keep(first);
        Ok(plugin)
    }

    /// What the library says of it.
    pub fn listed(&self) -> &DecoderListed {
        &self.listed
    }

    /// The library.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// A decoder for a worker: the shared instance, or one of its own. Latents are physical: see
    /// [`Unbounded`](gfe_model::Unbounded).
    pub fn decoder(&self) -> Result<Box<dyn Decoder>, PluginError> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let instance = match self.listed.threads {
            Threads::Shared => idle.first().cloned(),
            Threads::Instance | Threads::Process => idle.pop(),
        };
        drop(idle);
        let instance = match instance {
            Some(instance) => instance,
            None => Arc::new(self.create()?),
        };
        Ok(Box::new(PluginDecoder {
            idle: (self.listed.threads != Threads::Shared).then(|| Arc::clone(&self.idle)),
            instance,
        }))
    }

    fn keep(&self, instance: Instance) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::new(instance));
    }

    fn create(&self) -> Result<Instance, PluginError> {
        let (library, id) = (&self.library, &self.listed.id);
        let failed = |message: String| PluginError::Create {
            id: id.clone(),
            message,
        };
        // Factories are called by one thread at a time.
        let _turn = library.turn();
        if let Some(words) = library.last_words() {
            return Err(failed(words.to_owned()));
        }
        let factory = library
            .decoder_factory()
            .ok_or_else(|| failed("the library has no decoders".into()))?;
        let create = library.has("gfe_decoder_factory", "create", factory.create)?;
        let name = CString::new(id.as_str()).map_err(|_| failed("its name has a NUL in it".into()))?;
        let mut made = DecoderInstance {
            table: core::ptr::null(),
            instance: core::ptr::null_mut(),
        };
        // SAFETY: everything passed in is valid during the call.
        let call = |config, room| unsafe { create(name.as_ptr(), config, &mut made, room) };
        view::create(&self.config, call).map_err(|(status, said)| {
            if status != Status::ERROR && status != Status::DISCARD {
                library.die(&said);
            }
            failed(said)
        })?;
        Instance::new(library, &self.listed, made)
    }
}
