//! `gfe plugin check`: the conformance test, in a process that may crash.

use crate::error::CliError;
use crate::model;
use crate::output;
use clap::Args;
use gfe_plugin::check::{Event, Outcome, Settings, run};
use gfe_plugin::{DecoderPlugin, signal_name};
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

#[derive(Args)]
#[command(allow_negative_numbers = true)]
pub struct Arguments {
    /// A library by its path, or by a name in the folders of GFE_PLUGIN_PATH.
    file: String,
    /// The decoder's configuration: JSON, or the path of a JSON file.
    #[arg(long)]
    config: Option<String>,
    /// Which decoder, where the library has several.
    #[arg(long)]
    id: Option<String>,
    /// A typical context, one value after another. Default: 0.1 for each.
    #[arg(long, value_name = "C,C,...", value_delimiter = ',')]
    context: Vec<f64>,
    /// Seed of the points at which it is checked. Default: 0.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Print one JSON object on stdout.
    #[arg(long)]
    json: bool,
    /// Where the process that runs the checks tells of them.
    #[arg(long, hide = true)]
    socket: Option<PathBuf>,
}

/// A check and how it ended.
type Finding = (String, Outcome);

/// How long a check may take: a deadlock would last for ever.
const PATIENCE: Duration = Duration::from_secs(300);

/// The checks, told line by line as JSON where nobody else writes: a plugin may print what it likes.
pub fn probe(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let socket = arguments.socket.as_deref().unwrap_or(Path::new(""));
    let mut parent = UnixStream::connect(socket).map_err(CliError::Stdout)?;
    let config = match &arguments.config {
        None => String::new(),
        Some(text) => model::config_json(text)?.to_string(),
    };
    let library = super::library(&arguments.file, None)?;
    let known: Vec<String> = library.decoders()?.into_iter().map(|one| one.id).collect();
    let id = arguments.id.clone().or_else(|| super::id_of(&arguments.file, &known));
    let plugin = DecoderPlugin::open(&library, id.as_deref(), &config)?;
    let settings = Settings {
        context: (!arguments.context.is_empty()).then(|| arguments.context.clone()),
        seed: arguments.seed,
    };
    let mut broken = None;
    run(&plugin, &settings, &mut |event| {
        let line = serde_json::to_string(&event).unwrap_or_default();
        if let Err(error) = writeln!(parent, "{line}") {
            broken.get_or_insert(error);
        }
    })?;
    broken.map_or(Ok(ExitCode::SUCCESS), |error| Err(CliError::Stdout(error)))
}

/// Runs the checks in a child and reports; exit code 1 where one fails.
pub fn check(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let program = std::env::current_exe().map_err(CliError::Stdout)?;
    let mut command = Command::new(program);
    command.args([
        "plugin",
        "probe",
        &arguments.file,
        "--seed",
        &arguments.seed.to_string(),
    ]);
    if let Some(config) = &arguments.config {
        command.args(["--config", config]);
    }
    if let Some(id) = &arguments.id {
        command.args(["--id", id]);
    }
    if !arguments.context.is_empty() {
        let context: Vec<String> = arguments.context.iter().map(f64::to_string).collect();
        command.args(["--context", &context.join(",")]);
    }
    let folder = std::env::temp_dir().join(format!("gfe-check-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(CliError::Stdout)?;
    let socket = folder.join("socket");
    let listener = UnixListener::bind(&socket).map_err(CliError::Stdout)?;
    // What the plugin prints goes where people read it.
    let stderr = std::io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .map_err(CliError::Stdout)?;
    command.arg("--socket").arg(&socket).stdout(stderr).stdin(Stdio::null());
    let mut child = command.spawn().map_err(CliError::Stdout)?;
    let (speak, hear) = mpsc::channel();
    // The thread ends with the program: it may wait for a child that never spoke.
    std::thread::spawn(move || {
        let lines = listener.accept().map(|(stream, _)| BufReader::new(stream).lines());
        for line in lines.into_iter().flatten().map_while(Result::ok) {
            if speak.send(line).is_err() {
                break;
            }
        }
    });
    let (mut under_way, mut done, mut late, mut findings) = (None, false, false, Vec::new());
    let mut spoken = Instant::now();
    let mut gone = false;
    loop {
        match hear.recv_timeout(Duration::from_millis(200)) {
            Ok(line) => {
                spoken = Instant::now();
                match serde_json::from_str(&line) {
                    Ok(Event::Begun(name)) => under_way = Some(name),
                    Ok(Event::Ended(name, outcome)) => {
                        under_way = None;
                        report(arguments.json, (name, outcome), &mut findings)?;
                    }
                    Ok(Event::Done) => done = true,
                    Err(error) => return Err(CliError::Stdout(error.into())),
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            // What it said before it ended has been heard by now.
            Err(RecvTimeoutError::Timeout) if gone => break,
            Err(RecvTimeoutError::Timeout) => {
                gone = child.try_wait().map_err(CliError::Stdout)?.is_some();
                late = spoken.elapsed() > PATIENCE;
                if late {
                    // It may have ended by itself in the meantime.
                    let _ = child.kill();
                    break;
                }
            }
        }
    }
    let status = child.wait().map_err(CliError::Stdout)?;
    let _ = std::fs::remove_dir_all(&folder);
    let name = under_way.unwrap_or_else(|| if done { "ending" } else { "loading" }.into());
    let fault = match status.signal() {
        _ if late => Some(format!("it does not return within {} s", PATIENCE.as_secs())),
        Some(signal) => Some(format!("the plugin crashed: {}", signal_name(signal))),
        None if !status.success() => Some("it cannot be used; see above".into()),
        None if !done => Some("the plugin ended the process".into()),
        None => None,
    };
    if let Some(fault) = fault {
        report(arguments.json, (name, Outcome::Failed(fault)), &mut findings)?;
    }
    let failed = findings
        .iter()
        .filter(|(_, outcome)| matches!(outcome, Outcome::Failed(_)))
        .count();
    if arguments.json {
        let all: Vec<_> = findings
            .iter()
            .map(|(name, outcome)| json!({"check": name, "outcome": outcome}))
            .collect();
        output::say(&json!({"file": arguments.file, "failed": failed, "checks": all}).to_string())?;
    } else if failed == 0 {
        output::say(&format!("{}: passes", arguments.file))?;
    } else {
        output::say(&format!("{}: {failed} checks failed", arguments.file))?;
    }
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// Tells a finding, and keeps it.
fn report(json: bool, (name, outcome): Finding, findings: &mut Vec<Finding>) -> Result<(), CliError> {
    if !json {
        output::say(&told(&name, &outcome))?;
    }
    findings.push((name, outcome));
    Ok(())
}

fn told(name: &str, outcome: &Outcome) -> String {
    let (word, text) = match outcome {
        Outcome::Passed(text) => ("ok", text),
        Outcome::Noted(text) => ("note", text),
        Outcome::Failed(text) => ("FAILED", text),
        Outcome::Absent(text) => ("-", text),
    };
    format!("{word:>6}  {name}: {text}")
}
