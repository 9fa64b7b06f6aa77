//! `gfe plugin list` and `gfe plugin info`.

use crate::error::CliError;
use crate::output;
use clap::Args;
use gfe_plugin::{Library, PATH_VARIABLE};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[derive(Args)]
pub struct ListArguments {
    /// Print one JSON array on stdout.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub struct InfoArguments {
    /// A library by its path, or by a name in the folders of GFE_PLUGIN_PATH.
    file: String,
    /// Print one JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// What a library offers.
fn describe(library: &Library) -> Result<Value, CliError> {
    let decoders: Vec<Value> = library
        .decoders()?
        .iter()
        .map(|one| {
            json!({"id": one.id, "title": one.title, "version": one.version.to_string(),
                "threads": one.threads.name(), "precision": one.precision.name()})
        })
        .collect();
    let datasets: Vec<Value> = library
        .datasets()?
        .iter()
        .map(|one| json!({"id": one.id, "title": one.title, "version": one.version.to_string()}))
        .collect();
    Ok(
        json!({"path": library.path(), "sha256": library.sha256(), "interface": library.version().to_string(),
        "decoders": decoders, "datasets": datasets}),
    )
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn lines(told: &Value) -> Vec<String> {
    let mut lines = vec![
        text(told, "path"),
        format!(
            "  interface {}, sha256 {}",
            text(told, "interface"),
            text(told, "sha256")
        ),
    ];
    for one in told["decoders"].as_array().into_iter().flatten() {
        let (threads, precision) = (text(one, "threads"), text(one, "precision"));
        lines.push(format!(
            "  decoder {} {}: {} ({precision}, threads {threads})",
            text(one, "id"),
            text(one, "version"),
            text(one, "title")
        ));
    }
    for one in told["datasets"].as_array().into_iter().flatten() {
        lines.push(format!(
            "  data set {} {}: {}",
            text(one, "id"),
            text(one, "version"),
            text(one, "title")
        ));
    }
    lines
}

/// Tells what one library offers.
pub fn info(arguments: &InfoArguments) -> Result<ExitCode, CliError> {
    let told = describe(&*super::library(&arguments.file, None)?)?;
    if arguments.json {
        output::say(&told.to_string())?;
    } else {
        output::say(&lines(&told).join("\n"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The libraries in a folder, by name.
fn libraries(folder: &Path) -> Vec<PathBuf> {
    let suffix = std::env::consts::DLL_SUFFIX;
    let entries = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let named = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        name.starts_with("lib") && name.ends_with(suffix) && path.is_file()
    };
    let mut found: Vec<PathBuf> = entries.filter(named).collect();
    found.sort();
    found
}

/// Loads each in a process of its own: what is no plugin may do anything.
pub fn list(arguments: &ListArguments) -> Result<ExitCode, CliError> {
    let Some(folders) = std::env::var_os(PATH_VARIABLE) else {
        let text = format!("{PATH_VARIABLE} is not set: set it to the folders, separated by :, that hold plugins");
        return Err(CliError::Usage(text));
    };
    let program = std::env::current_exe().map_err(CliError::Stdout)?;
    let (mut found, mut seen) = (Vec::new(), Vec::new());
    for path in std::env::split_paths(&folders).flat_map(|folder| libraries(&folder)) {
        // Links to one library are one plugin.
        let full = std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if seen.contains(&full) {
            continue;
        }
        seen.push(full);
        let run = Command::new(&program)
            .args(["plugin", "info", "--json"])
            .arg(&path)
            .output();
        let told = match run {
            Ok(run) if run.status.success() => {
                // A library may print lines of its own when it is loaded.
                let told = String::from_utf8_lossy(&run.stdout);
                serde_json::from_str(told.lines().last().unwrap_or_default()).unwrap_or_default()
            }
            Ok(run) => {
                let said = String::from_utf8_lossy(&run.stderr)
                    .trim()
                    .trim_start_matches("gfe: ")
                    .to_owned();
                json!({"path": path, "error": if said.is_empty() { run.status.to_string() } else { said }})
            }
            Err(error) => json!({"path": path, "error": error.to_string()}),
        };
        found.push(told);
    }
    if arguments.json {
        output::say(&Value::from(found).to_string())?;
        return Ok(ExitCode::SUCCESS);
    }
    for told in &found {
        match told["error"].as_str() {
            Some(error) => output::say(&format!("{}\n  not usable: {error}", text(told, "path")))?,
            None => output::say(&lines(told).join("\n"))?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
