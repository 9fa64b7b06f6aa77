//! `gfe convert`: anything that a source can read, as HDF5 with named dimensions.

use crate::error::CliError;
use crate::input::{Input, file_of};
use crate::logs::say;
use crate::{output, progress, rows};
use clap::Args;
use gfe_io::{DataWriter, RowsHash};
use gfe_plugin::unlink_on_crash;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

/// Up to here every integer is a double.
const EXACT: f64 = (1u64 << 53) as f64;

/// Bytes of data in a block.
const BLOCK_BYTES: usize = 4 << 20;

#[derive(Args)]
pub struct Arguments {
    /// Input: FILE.h5:/DATASET, or plugin:NAME?key=value&key=value.
    input: String,
    /// Output file: HDF5 with the dataset `data`, values as they are stored in the input.
    pub output: PathBuf,
    /// Rows A..B of the input, B excluded. Default: all.
    #[arg(long)]
    rows: Option<String>,
    /// Print the outcome as one JSON object on stdout.
    #[arg(long)]
    json: bool,
    /// Overwrite the output file.
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let own = file_of(&arguments.input);
    let inputs: Vec<&std::path::Path> = own.iter().map(PathBuf::as_path).collect();
    output::check(&arguments.output, arguments.force, &inputs)?;
    let mut input = Input::open(&arguments.input, Some(1.0))?;
    let (samples, values) = (input.shape().samples, input.shape().values());
    let range = arguments
        .rows
        .as_deref()
        .map_or(Ok(0..samples), |text| rows::parse(text, samples))?;
    if input.weighted() {
        say!(
            "{}: its weights are left out: name it as the input of gfe encode itself to use them",
            input.name()
        );
    }
    let title = format!("Data of {}", input.name());
    let (axes, attributes) = (input.axes(), input.attributes());
    let extent = (range.len(), &axes[..], &attributes);
    let mut writer = DataWriter::create(&arguments.output, extent, input.element(), &title)?;
    unlink_on_crash(Some(writer.temporary()));
    // Values go over as they are stored, and so do those that stand for missing ones.
    let declared = Input::open(&arguments.input, Some(1.0))?.heeding_missing(false)?;
    writer.declare_missing(&declared.missing())?;
    let bar = progress::bar(range.len() as u64, "samples");
    let size = (BLOCK_BYTES / (8 * values.max(1))).clamp(1, 65_536);
    let mut hash = RowsHash::default();
    for first in range.clone().step_by(size) {
        let ids: Vec<usize> = (first..range.end.min(first + size)).collect();
        let y = input.matrix(&ids)?;
        let integers = input.stores_long_integers();
        if integers
            && y.col_iter()
                .any(|column| column.iter().any(|value| value.abs() > EXACT))
        {
            let text = format!("{} has integers beyond 2^53, which do not fit a double", input.name());
            return Err(CliError::BadData(format!("{text}: copy it with h5copy instead")));
        }
        hash.push(y.as_ref());
        writer.write(y.as_ref())?;
        bar.inc(ids.len() as u64);
    }
    bar.finish_and_clear();
    let mut from = input.json();
    from["rows"] = json!([range.start, range.end]);
    from["rows_sha256"] = json!(hash.finish());
    let notes = [
        ("input".to_owned(), from.to_string()),
        (
            "environment".to_owned(),
            json!({"gfe": env!("CARGO_PKG_VERSION"), "hdf5": gfe_io::hdf5_version()}).to_string(),
        ),
    ];
    writer.finish(&notes)?;
    unlink_on_crash(None);
    if arguments.json {
        output::say(&json!({"samples": range.len(), "values": values, "output": arguments.output}).to_string())?;
    } else {
        say!(
            "{}: {} samples of {values} values",
            arguments.output.display(),
            range.len()
        );
    }
    Ok(ExitCode::SUCCESS)
}
