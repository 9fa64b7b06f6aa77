//! The files that a training writes.

use super::Arguments;
use crate::error::CliError;
use crate::output;
use crate::samples::Source;
use gfe_io::check_creatable;
use std::path::{Path, PathBuf};

/// The files that a training writes.
pub struct Files {
    pub model: PathBuf,
    pub history: PathBuf,
    pub checkpoint: PathBuf,
}

impl Files {
    /// Their names; fails where one may not be written, two are the same, or an unfinished training stands in the way.
    pub fn new(arguments: &Arguments, source: &Source) -> Result<Files, CliError> {
        let model = arguments.output.clone();
        let mut inputs = source.files();
        inputs.push(&arguments.config);
        let named = |ending: &str| match model.extension() {
            Some(extension) if extension == "safetensors" => model.with_extension(ending),
            _ => {
                let mut name = model.file_name().unwrap_or_default().to_owned();
                name.push(format!(".{ending}"));
                model.with_file_name(name)
            }
        };
        let files = Files {
            history: arguments.history.clone().unwrap_or_else(|| named("history.h5")),
            checkpoint: named("checkpoint.h5"),
            model,
        };
        let all = [&files.model, &files.history, &files.checkpoint];
        for (i, one) in all.iter().enumerate() {
            let twice = all[i + 1..].iter().any(|other| place(one) == place(other));
            if twice || inputs.iter().any(|input| place(input) == place(one)) {
                let output = one.display().to_string();
                return Err(CliError::SameFile { output });
            }
        }
        let replaces = arguments.force || arguments.resume;
        if files.checkpoint.exists() && !replaces {
            let text = format!("{}: a training was interrupted here", files.checkpoint.display());
            return Err(CliError::Folder(format!(
                "{text}: say --resume to go on with it, or --force to begin anew"
            )));
        }
        for file in all {
            output::check(file, replaces, &inputs)?;
            check_creatable(file)?;
        }
        Ok(files)
    }
}

/// The absolute place of a file that need not be there.
fn place(path: &Path) -> PathBuf {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    path.canonicalize()
        .unwrap_or_else(|_| folder.join(path.file_name().unwrap_or_default()))
}

/// The name of a run in figures: that of its model file without endings.
pub fn title(model: &Path) -> String {
    model
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

pub fn remove_checkpoint(path: &Path) -> Result<(), CliError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(CliError::Folder(format!(
            "{}: the checkpoint of the finished training cannot be removed: {error}",
            path.display()
        ))),
        _ => Ok(()),
    }
}
