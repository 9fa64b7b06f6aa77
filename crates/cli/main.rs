//! The program `gfe`: flags, wiring and exit codes. The work is done by the library crates.

mod encode;
mod error;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Gradient-flow encoding: HDF5 in, HDF5 out.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Encode every sample of an HDF5 dataset with a decoder.
    Encode(encode::Arguments),
}

fn main() -> ExitCode {
    let Cli {
        command: Command::Encode(arguments),
    } = Cli::parse();
    match encode::run(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("gfe: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
