//! Why a plugin cannot be used.

use std::path::PathBuf;

/// Why a plugin cannot be used. Every message says what was asked, what came and what to change.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// No library of that name could be loaded.
    #[error("no plugin `{name}` could be loaded{}", tried_text(.tried))]
    NotFound {
        /// The name or path asked for.
        name: String,
        /// Every path tried, with what was wrong there.
        tried: Vec<(PathBuf, String)>,
    },
    /// A name that is neither a path nor a plugin's.
    #[error("`{0}` is no plugin: say the path of a library, or a name of letters, digits, - and _")]
    BadName(String),
    /// Others could change what is loaded.
    #[error("{}: everybody may write to it or its folder, and so change what would be run here: chmod o-w them", path.display())]
    WorldWritable {
        /// The library.
        path: PathBuf,
    },
    /// The library is another one than was asked for.
    #[error("{}: its sha256 is {found}, and {wanted} was asked for", path.display())]
    Sha256 {
        /// The library.
        path: PathBuf,
        /// As pinned.
        wanted: String,
        /// As found.
        found: String,
    },
    /// The library is no plugin, or one for another host.
    #[error("{}: {what}", path.display())]
    NotAPlugin {
        /// The library.
        path: PathBuf,
        /// What it lacks.
        what: String,
    },
    /// The library speaks another version of the interface.
    #[error(
        "{}: it is written for version {found} of the plugin interface, and this program has {known}: take a {} program, or build the plugin against its header",
        path.display(), if found.0 > known.0 { "newer" } else { "older" }
    )]
    Version {
        /// The library.
        path: PathBuf,
        /// Its version, major and minor.
        found: crate::Version,
        /// Ours.
        known: crate::Version,
    },
    /// A required function is absent.
    #[error("{}: {table} lacks the function `{member}`, which every plugin needs", path.display())]
    Missing {
        /// The library.
        path: PathBuf,
        /// The struct, as in the header.
        table: &'static str,
        /// Its member.
        member: &'static str,
    },
    /// The library has nothing of that name.
    #[error("{}: it has no {kind} `{id}`{}", path.display(), listed(.available))]
    NoSuchId {
        /// The library.
        path: PathBuf,
        /// `decoder` or `data set`.
        kind: &'static str,
        /// What was asked for.
        id: String,
        /// What there is.
        available: Vec<String>,
    },
    /// The library has several, and none was named.
    #[error("{}: it has several of the kind {kind}: name one{}", path.display(), listed(.available))]
    Ambiguous {
        /// The library.
        path: PathBuf,
        /// `decoder` or `data set`.
        kind: &'static str,
        /// What there is.
        available: Vec<String>,
    },
    /// The plugin refused the configuration.
    #[error("the plugin {id} cannot be set up: {message}")]
    Create {
        /// Which.
        id: String,
        /// Its sentence.
        message: String,
    },
    /// What the plugin says of itself cannot be.
    #[error("the plugin {id} is broken: {what}")]
    Broken {
        /// Which.
        id: String,
        /// What is wrong.
        what: String,
    },
}

impl PluginError {
    /// Exit code of the program: 65 bad data where a data set refuses its files, else 78 bad configuration.
    pub fn exit_code(&self) -> u8 {
        match self {
            PluginError::NotFound { .. } => 66,
            _ => 78,
        }
    }
}

fn tried_text(tried: &[(PathBuf, String)]) -> String {
    let lines = tried.iter().map(|(path, why)| format!("\n  {}: {why}", path.display()));
    if tried.is_empty() {
        format!(
            ": name its path, or set {} to the folders (separated by :) that hold it",
            crate::PATH_VARIABLE
        )
    } else {
        format!("; tried{}", lines.collect::<String>())
    }
}

fn listed(available: &[String]) -> String {
    if available.is_empty() {
        String::new()
    } else {
        format!("; it has {}", available.join(", "))
    }
}
