//! Commands that let HDF5 write to a disk, each in a process of its own: HDF5 dies where a disk fails.

use crate::error::CliError;
use gfe_plugin::signal_name;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Set for the process that does the work, to the process that it works for.
const PARENT: &str = "GFE_WORKS_FOR";

/// Runs `command`, which writes `output`, in a process of its own; the exit code is that of the command, and 74 where the
/// process died.
pub fn run(output: &Path, command: impl FnOnce() -> Result<ExitCode, CliError>) -> Result<ExitCode, CliError> {
    let internal = |what: &str, error: &dyn std::fmt::Display| CliError::Internal(format!("{what}: {error}"));
    let own = rustix::process::Pid::as_raw(rustix::process::getppid());
    if std::env::var(PARENT).is_ok_and(|parent| parent == own.to_string()) {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
            .map_err(|error| internal("the end of the parent process cannot be waited for", &error))?;
        return command();
    }
    let ended = Command::new("/proc/self/exe")
        .args(std::env::args_os().skip(1))
        .env(PARENT, std::process::id().to_string())
        .status()
        .map_err(|error| internal("the process that writes cannot be started", &error))?;
    match (ended.code(), ended.signal()) {
        (Some(code), _) => Ok(ExitCode::from(u8::try_from(code).unwrap_or(70))),
        (None, signal) => {
            // What it left is cleared; if it cannot be, it does no harm.
            let _ = gfe_io::check_creatable(output);
            Err(CliError::Died {
                output: output.to_owned(),
                signal: signal.map_or_else(|| "a signal".into(), signal_name),
            })
        }
    }
}
