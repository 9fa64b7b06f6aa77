//! What the program says on stderr beside its products: sentences for people, or events, a JSON object a line.
//!
//! Quiet by default: of events only warnings are shown. A sample that failed is an event of level info: a million of them
//! would hide what matters, and their sums stand in the summary. `--log-level info` shows them, and so does
//! `--log-format json`, in which everything is an event, the sentences for people included.

use clap::{Args, ValueEnum};
use std::ffi::OsString;
use std::sync::OnceLock;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, fmt};

/// What is told of a run while it runs.
#[derive(Args)]
pub struct LogFlags {
    /// Events on stderr as text, or as JSON: then every line there is one object.
    #[arg(long, value_enum, global = true, default_value = "text", value_name = "FORMAT")]
    log_format: Format,
    /// Least level of the events shown: error, warn, info (a line per failed sample), debug or trace. Default: warn; info in
    /// JSON.
    #[arg(long, value_enum, global = true, value_name = "LEVEL")]
    log_level: Option<Level>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl Level {
    fn filter(self) -> LevelFilter {
        match self {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

static FORMAT: OnceLock<Format> = OnceLock::new();

impl LogFlags {
    /// The flags in words that are no command, if they ask for JSON: what is wrong with them is then told in it.
    pub fn of_a_wrong_command(words: impl Iterator<Item = OsString>) -> Option<LogFlags> {
        let words: Vec<OsString> = words.collect();
        let apart = words
            .windows(2)
            .any(|pair| pair[0] == "--log-format" && pair[1] == "json");
        (apart || words.iter().any(|word| word == "--log-format=json")).then_some(LogFlags {
            log_format: Format::Json,
            log_level: None,
        })
    }
}

/// Takes the flags; to be called once, before anything is said.
pub fn start(flags: &LogFlags) {
    let format = *FORMAT.get_or_init(|| flags.log_format);
    let default = if format == Format::Json {
        Level::Info
    } else {
        Level::Warn
    };
    // Of this program alone: libraries have events of their own.
    let own = Targets::new().with_target("gfe", flags.log_level.unwrap_or(default).filter());
    let layer = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .with_span_events(FmtSpan::NONE);
    let set = match format {
        Format::Text => {
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer.with_filter(own)))
        }
        Format::Json => {
            let layer = layer
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false);
            tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer.with_filter(own)))
        }
    };
    set.expect("logs are started once");
}

/// Whether everything on stderr is to be JSON.
pub fn in_json() -> bool {
    FORMAT.get() == Some(&Format::Json)
}

/// Flags by which another process of this program speaks in the same way.
pub fn arguments() -> &'static [&'static str] {
    if in_json() { &["--log-format", "json"] } else { &[] }
}

/// Whether events of level info are shown.
pub fn shows_info() -> bool {
    tracing::enabled!(tracing::Level::INFO)
}

/// Says a sentence to people, or to their program as an event of level info.
pub fn tell(text: &str) {
    if in_json() {
        tracing::info!("{text}");
    } else {
        eprintln!("{text}");
    }
}

/// Says what is wrong to people, or to their program as an event of level error.
pub fn fault(text: &str) {
    if in_json() {
        tracing::error!("{text}");
    } else {
        eprintln!("{text}");
    }
}

/// [`tell`] with a format.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::logs::tell(&format!($($text)*))
    };
}

pub(crate) use say;
