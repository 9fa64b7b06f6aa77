//! The program `gfe`: flags, wiring and exit codes. The work is done by the library crates.

mod apart;
mod axis;
mod canvas;
mod config;
mod convert;
mod decode;
mod encode;
mod encoder_network;
mod error;
mod evaluate;
mod figure;
mod finding;
mod flags;
#[cfg(test)]
mod fuzzed;
mod import;
mod input;
mod inspect;
mod keys;
mod known;
mod logs;
mod method;
mod model;
mod output;
mod parts;
mod plot;
mod plot_training;
mod plugin;
mod problem;
mod progress;
mod rows;
mod samples;
mod schema;
mod settings;
mod signals;
mod starts_from;
mod summary;
mod text_file;
mod train;
mod verify;
mod work_precision;
mod z0;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use gfe_io::{Access, Locking};
use std::process::ExitCode;

/// Gradient-flow encoding: HDF5 in, HDF5 out.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    logs: logs::LogFlags,
    #[command(subcommand)]
    command: Command,
    /// Whether HDF5 locks the files that it opens: auto (where the file system has locks), on or off. Default: as the variable
    /// HDF5_USE_FILE_LOCKING says, else auto.
    #[arg(long, global = true, value_enum, value_name = "WHEN")]
    hdf5_locking: Option<Locks>,
    /// Follow external links, external storage and virtual datasets of HDF5 inputs into other files. Default: refuse them, since
    /// a file could copy any other into the output that way.
    #[arg(long, global = true)]
    allow_external: bool,
}

/// Locks of HDF5 files.
#[derive(Clone, Copy, ValueEnum)]
enum Locks {
    Auto,
    On,
    Off,
}

impl Cli {
    fn access(&self) -> Access {
        Access {
            locking: self.hdf5_locking.map(|locks| match locks {
                Locks::Auto => Locking::Auto,
                Locks::On => Locking::On,
                Locks::Off => Locking::Off,
            }),
            allow_external: self.allow_external,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Encode every sample of an HDF5 dataset with a decoder.
    Encode(Box<encode::Arguments>),
    /// Merge the parts that gfe encode --shard I/N made.
    Merge(parts::MergeArguments),
    /// Tell how far an output of gfe encode is.
    Status(parts::StatusArguments),
    #[command(name = parts::WORKER, hide = true)]
    MergeWorker(parts::WorkerArguments),
    /// Train a decoder on its own encodings.
    Train(Box<train::Arguments>),
    /// Tell what a decoder is worth on data, by codes from all values and from some of them.
    Evaluate(Box<evaluate::Arguments>),
    /// Decode codes: D(z), values as the decoder was fitted to, the input times its scale.
    Decode(decode::Arguments),
    /// Write data of any source as HDF5 with named dimensions.
    Convert(convert::Arguments),
    /// Check that a model file from PyTorch decodes as it did there.
    Import(import::Arguments),
    /// Decoders and data sets in libraries: list, look at, check, begin one.
    Plugin {
        #[command(subcommand)]
        what: plugin::Command,
    },
    /// Tell what a file is: encoded or decoded samples, a model, a run file, or HDF5 data.
    Inspect(inspect::Arguments),
    /// Recompute losses and gradients of written codes, and check every hash that the file records.
    Verify(Box<verify::Arguments>),
    /// Run files: find what is wrong in one, print their schema.
    Config {
        #[command(subcommand)]
        what: config::Command,
    },
    /// Test problems with known solutions, for those who study solvers.
    Problem(problem::Arguments),
    /// Measure error against work, for solvers on test problems.
    WorkPrecision(work_precision::Arguments),
    /// Draw results.
    Plot {
        #[command(subcommand)]
        what: Plot,
    },
    /// Print the completions of a shell: source them there.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Subcommand)]
enum Plot {
    /// Data above their reconstructions.
    Reconstructions(plot::Arguments),
    /// Losses of training runs: thin while training, thick in validation, dashed on held-out values.
    Training(plot_training::Arguments),
}

fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| {
        if let Some(flags) = logs::LogFlags::of_a_wrong_command(std::env::args_os())
            && error.use_stderr()
        {
            logs::start(&flags);
            tracing::error!(exit_code = error.exit_code(), "{}", error.to_string().trim_end());
            std::process::exit(error.exit_code());
        }
        error.exit()
    });
    logs::start(&cli.logs);
    gfe_io::set_access(cli.access());
    let result = match cli.command {
        Command::Encode(arguments) => encode::run(&arguments),
        Command::Merge(arguments) => parts::run_merge(&arguments),
        Command::Status(arguments) => parts::run_status(&arguments),
        Command::MergeWorker(arguments) => parts::run_worker(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Evaluate(arguments) => evaluate::run(&arguments),
        Command::Decode(arguments) => apart::run(&arguments.output, || decode::run(&arguments)),
        Command::Convert(arguments) => apart::run(&arguments.output, || convert::run(&arguments)),
        Command::Import(arguments) => import::run(&arguments),
        Command::Plugin { what } => plugin::run(&what),
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::Config { what } => config::run(&what),
        Command::Plot { what } => match what {
            Plot::Reconstructions(arguments) => plot::run(&arguments),
            Plot::Training(arguments) => plot_training::run(&arguments),
        },
        Command::Problem(arguments) => problem::run(&arguments),
        Command::WorkPrecision(arguments) => work_precision::run(&arguments),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "gfe", &mut script);
            output::say(String::from_utf8_lossy(&script).trim_end()).map(|()| ExitCode::SUCCESS)
        }
    };
    let code = result.unwrap_or_else(|error| {
        let exit_code = error.exit_code();
        let text = output::printable(&error.to_string()).to_string();
        if logs::in_json() {
            tracing::error!(exit_code, "{text}");
        } else {
            eprintln!("gfe: {text}");
        }
        ExitCode::from(exit_code)
    });
    gfe_plugin::finished();
    code
}
