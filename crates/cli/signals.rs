//! Signals that ask the program to stop: SIGHUP, SIGINT, SIGTERM, and SIGUSR1, by which schedulers warn.

use crate::error::CliError;
use crate::logs::say;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// From a signal to the end of the program at the latest; whoever sent it may kill after 5 seconds.
const GRACE: Duration = Duration::from_secs(4);

/// Whether a signal came, and which.
#[derive(Clone, Debug)]
pub struct Signals {
    came: Arc<AtomicBool>,
    number: Arc<AtomicUsize>,
}

impl Signals {
    /// From now on the signals are noted, and do nothing else; those that are ignored, as SIGHUP is under nohup, stay so.
    pub fn note() -> Result<Signals, CliError> {
        let signals = Signals {
            came: Arc::default(),
            number: Arc::default(),
        };
        let ignored = ignored();
        let heeded = [SIGHUP, SIGINT, SIGTERM, SIGUSR1].into_iter();
        for number in heeded.filter(|number| ignored >> (number - 1) & 1 == 0) {
            // In this order: who sees that one came can tell which.
            signal_hook::flag::register_usize(number, signals.number.clone(), number as usize)
                .and_then(|_| signal_hook::flag::register(number, signals.came.clone()))
                .map_err(|error| CliError::Internal(format!("signal {number} cannot be waited for: {error}")))?;
        }
        Ok(signals)
    }

    /// Whether one came.
    pub fn came(&self) -> &AtomicBool {
        &self.came
    }

    /// 130 for SIGINT and 143 for the others.
    pub fn exit_code(&self) -> u8 {
        let interrupted = self.number.load(Ordering::Relaxed) == SIGINT as usize;
        if interrupted { 130 } else { 143 }
    }

    /// Ends the program 4 seconds after a signal whatever it is doing: a decoder may take its time.
    pub fn end_in_time(&self) {
        let signals = self.clone();
        std::thread::spawn(move || {
            while !signals.came.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
            }
            std::thread::sleep(GRACE);
            say!("stopped; what is committed is kept, and the same command goes on");
            gfe_plugin::finished();
            std::process::exit(i32::from(signals.exit_code()));
        });
    }
}

/// The signals that this process was started to ignore, a bit each; none where nobody tells.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}

impl From<&Signals> for ExitCode {
    fn from(signals: &Signals) -> ExitCode {
        ExitCode::from(signals.exit_code())
    }
}
