//! Plugins by name or path, and the commands about them.

mod check;
mod list;
mod new;

use crate::error::CliError;
use clap::Subcommand;
use gfe_plugin::{DecoderPlugin, Library, PATH_VARIABLE, PluginDataset, guard_against_crashes, load};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

#[derive(Subcommand)]
pub enum Command {
    /// List the plugins in the folders of GFE_PLUGIN_PATH.
    List(list::ListArguments),
    /// Tell what a library offers.
    Info(list::InfoArguments),
    /// Find out whether a decoder is what the interface promises.
    Check(check::Arguments),
    /// Write a crate of a decoder in Rust, to begin with.
    New(new::Arguments),
    /// The checks themselves, in the process that may crash.
    #[command(hide = true)]
    Probe(check::Arguments),
}

/// Runs one of the commands.
pub fn run(command: &Command) -> Result<ExitCode, CliError> {
    match command {
        Command::List(arguments) => list::list(arguments),
        Command::Info(arguments) => list::info(arguments),
        Command::Check(arguments) => check::check(arguments),
        Command::New(arguments) => new::run(arguments),
        Command::Probe(arguments) => check::probe(arguments),
    }
}

/// The library at a path, or of a name in the folders of GFE_PLUGIN_PATH.
pub fn library(name: &str, sha256: Option<&str>) -> Result<Arc<Library>, CliError> {
    let folders = std::env::var_os(PATH_VARIABLE);
    Ok(load(name, folders.as_deref(), sha256)?)
}

/// What a library named `name` offers under that name, if it offers several: none where the name is a path.
fn id_of(name: &str, known: &[String]) -> Option<String> {
    let stem = Path::new(name)
        .file_name()
        .map(|file| file.to_string_lossy().into_owned())
        .unwrap_or_default();
    let stem = stem.strip_prefix("lib").unwrap_or(&stem);
    let stem = stem.strip_suffix(std::env::consts::DLL_SUFFIX).unwrap_or(stem);
    [name, stem]
        .into_iter()
        .find(|id| known.iter().any(|one| one == id))
        .map(str::to_owned)
}

/// The decoder of that name, or of the library at that path, with its configuration in JSON; from here on a crash is told
/// as the plugin's.
pub fn decoder(name: &str, sha256: Option<&str>, config: &str) -> Result<DecoderPlugin, CliError> {
    guard_against_crashes(name);
    let library = library(name, sha256)?;
    let known: Vec<String> = library.decoders()?.into_iter().map(|one| one.id).collect();
    Ok(DecoderPlugin::open(&library, id_of(name, &known).as_deref(), config)?)
}

/// The data set of that name.
pub fn dataset(name: &str, config: &str) -> Result<PluginDataset, CliError> {
    guard_against_crashes(name);
    let library = library(name, None)?;
    let known: Vec<String> = library.datasets()?.into_iter().map(|one| one.id).collect();
    PluginDataset::open(&library, id_of(name, &known).as_deref(), config).map_err(CliError::Source)
}
