//! `gfe plugin new`: a crate of a decoder, to begin with.

use crate::error::CliError;
use crate::output;
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Name of the decoder, of its crate and of the folder that is made.
    name: String,
    /// The folder of the crate gfe-sdk. Default: that of the sources from which this program was built.
    #[arg(long)]
    sdk: Option<PathBuf>,
}

const MANIFEST: &str = include_str!("template/Cargo.toml.in");
const SOURCE: &str = include_str!("template/lib.rs.in");
const README: &str = include_str!("template/README.md.in");

/// Writes the crate.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let name = &arguments.name;
    let good = name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !good {
        let text = format!(
            "{name} is no name of a crate: begin with a letter, and go on with lower-case letters, digits and -"
        );
        return Err(CliError::Usage(text));
    }
    let sdk = arguments
        .sdk
        .clone()
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/sdk"));
    let Ok(sdk) = std::fs::canonicalize(&sdk) else {
        let text = format!(
            "{} is not there: name the folder crates/sdk of gfe's sources by --sdk",
            sdk.display()
        );
        return Err(CliError::Usage(text));
    };
    let folder = Path::new(name);
    if folder.exists() {
        return Err(CliError::Exists(name.clone()));
    }
    let type_name: String = name
        .split('-')
        .map(|part| {
            let mut letters = part.chars();
            letters.next().map_or(String::new(), |first| {
                first.to_ascii_uppercase().to_string() + letters.as_str()
            })
        })
        .collect();
    let fill = |text: &str| {
        text.replace("@name@", name)
            .replace("@lib@", &name.replace('-', "_"))
            .replace("@Type@", &type_name)
            .replace("@sdk@", &sdk.display().to_string())
    };
    let made = std::fs::create_dir_all(folder.join("src"))
        .and_then(|()| std::fs::write(folder.join("Cargo.toml"), fill(MANIFEST)))
        .and_then(|()| std::fs::write(folder.join("README.md"), fill(README)))
        .and_then(|()| std::fs::write(folder.join("src/lib.rs"), fill(SOURCE)));
    made.map_err(|error| CliError::Folder(format!("{name} cannot be made: {error}")))?;
    let library = format!(
        "{name}/target/release/lib{}{}",
        name.replace('-', "_"),
        std::env::consts::DLL_SUFFIX
    );
    output::say(&format!(
        "{name}: made; build it with\n  cargo build --release --manifest-path {name}/Cargo.toml\nand check it with\n  gfe plugin check {library}"
    ))?;
    Ok(ExitCode::SUCCESS)
}
