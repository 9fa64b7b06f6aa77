//! Everything that ends the program, with its exit code after BSD's sysexits.

use crate::finding::{Finding, told};
use gfe_encode::train::{AdjointError, ImplicitError, TrainError};
use gfe_io::IoError;
use gfe_model::{DataError, DecodeError};
use gfe_ode::FlowError;
use gfe_plugin::PluginError;
use std::path::PathBuf;

/// Why the program stops.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error(transparent)]
    Io(#[from] IoError),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error("the decoder cannot be used: {0}")]
    Decoder(String),
    #[error(transparent)]
    Flow(#[from] FlowError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error("{input} has {found} values per sample, but the decoder gives {expected}: take the model of these data")]
    Width {
        input: String,
        found: usize,
        expected: usize,
    },
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// A data set of a plugin could not be opened.
    #[error("{0}")]
    Source(PluginError),
    /// What is wrong with what a file holds.
    #[error("{file}: {error}")]
    In { file: String, error: Box<CliError> },
    #[error("{0}")]
    BadData(String),
    #[error("the figure cannot be drawn: {0}")]
    Figure(String),
    #[error("{0} exists already: choose another name, or say --force")]
    Exists(String),
    #[error("{output} is read by this very command: choose another name for the output")]
    SameFile { output: String },
    #[error("{output} is a folder or a device: name a file for the output")]
    NotAFile { output: String },
    #[error("{0}")]
    Folder(String),
    #[error("{what} needs {bytes} bytes of memory, which there are not: make it smaller")]
    Memory { what: &'static str, bytes: usize },
    #[error("stdout cannot be written: {0}")]
    Stdout(std::io::Error),
    #[error(
        "{}: its parts could not be merged ({how}); they stand in {}: mend what is told above, then run the same command again, \
         or gfe merge", output.display(), parts.display()
    )]
    NotMerged {
        output: PathBuf,
        parts: PathBuf,
        how: String,
        code: u8,
    },
    #[error(
        "{}: the process that wrote it ended by {signal}: so HDF5 ends where a disk fails, and the system what takes too much memory; what stood there stands",
        output.display()
    )]
    Died { output: PathBuf, signal: String },
    #[error("stopped while the parts of {} were merged; they are kept: the same command goes on", .1.display())]
    Stopped(u8, PathBuf),
    #[error("{0}")]
    Internal(String),
    #[error("{0}")]
    NoRunFile(String),
    #[error("{0}")]
    Config(String),
    /// What is wrong in a run file.
    #[error("{}", told(.0))]
    RunFile(Vec<Finding>),
    #[error("{0}")]
    Usage(String),
}

impl CliError {
    /// The same, with the file that it is about.
    pub fn within(self, file: &std::path::Path) -> CliError {
        CliError::In {
            file: file.display().to_string(),
            error: Box::new(self),
        }
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Io(error) => error.exit_code(),
            CliError::In { error, .. } => error.exit_code(),
            CliError::Data(_) | CliError::Width { .. } | CliError::BadData(_) => 65,
            CliError::Source(PluginError::Create { .. }) => 65,
            CliError::Plugin(error) | CliError::Source(error) => error.exit_code(),
            CliError::NoRunFile(_) => 66,
            CliError::Train(TrainError::NothingUsable { .. }) => 65,
            CliError::Train(TrainError::Diverged { .. }) => 1,
            CliError::Train(
                TrainError::Implicit(ImplicitError::Flow(_)) | TrainError::Adjoint(AdjointError::Flow(_)),
            ) => 70,
            CliError::Train(
                TrainError::NotTrainable | TrainError::Pair(_) | TrainError::Implicit(_) | TrainError::Adjoint(_),
            ) => 78,
            CliError::Train(TrainError::Init(DecodeError::Discard(_) | DecodeError::Failed(_))) => 78,
            CliError::Train(TrainError::OtherState { .. }) => 65,
            CliError::Internal(_) | CliError::Flow(_) | CliError::Train(_) | CliError::Figure(_) => 70,
            CliError::Exists(_) | CliError::SameFile { .. } | CliError::NotAFile { .. } | CliError::Folder(_) => 73,
            CliError::Memory { .. } => 71,
            CliError::Stdout(_) | CliError::Died { .. } => 74,
            CliError::NotMerged { code, .. } => *code,
            CliError::Stopped(code, _) => *code,
            CliError::Decoder(_) | CliError::Config(_) | CliError::RunFile(_) => 78,
            CliError::Usage(_) => 2,
        }
    }
}
