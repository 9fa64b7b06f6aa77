//! The program `gfe`: flags, wiring and exit codes. The work is done by the library crates.

mod encode;
mod error;
mod method;
mod model;
mod progress;
mod rows;
mod settings;
mod summary;
mod train;

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
    /// Train a decoder on its own encodings.
    Train(train::Arguments),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Encode(arguments) => encode::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("gfe: {error}");
        ExitCode::from(error.exit_code())
    })
}
