//! The C header and the Rust types are the same interface: a C program prints the header's sizes, offsets and numbers.

use core::mem::{offset_of, size_of};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use gfe_abi::*;

/// Rust's side of one struct: its C name, its size and the offset of every member.
macro_rules! layout {
    ($into:ident, $rust:ident = $c:literal { $($member:ident),* $(,)? }) => {
        $into.insert(concat!("sizeof ", $c).to_owned(), size_of::<$rust>() as u64);
        $($into.insert(concat!($c, ".", stringify!($member)).to_owned(), offset_of!($rust, $member) as u64);)*
    };
}

fn rust_side() -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    layout!(all, Version = "gfe_version" { major, minor });
    layout!(all, Matrix = "gfe_matrix" { data, rows, cols, col_stride });
    layout!(all, MatrixMut = "gfe_matrix_mut" { data, rows, cols, col_stride });
    layout!(all, Slice = "gfe_slice" { data, len });
    layout!(all, SliceMut = "gfe_slice_mut" { data, len });
    layout!(all, Text = "gfe_text" { data, len });
    layout!(all, TextMut = "gfe_text_mut" { data, len });
    layout!(all, HostInfo = "gfe_host_info" { size, version, program });
    layout!(all, PluginEntry = "gfe_plugin_entry_info" { magic, size, version, get_factory });
    layout!(all, DecoderInfo = "gfe_decoder_info" { size, id, title, version, threads, precision });
    layout!(all, DecoderInstance = "gfe_decoder_instance" { table, instance });
    layout!(all, DecoderFactory = "gfe_decoder_factory" { size, count, info, create });
    layout!(all, Shape = "gfe_shape" { latent, data, params, context, tape, output, reserved });
    layout!(all, Tensor = "gfe_tensor" { name, shape, rank });
    layout!(all, At = "gfe_at" { size, params_version, params, z, context });
    layout!(all, DecoderTable = "gfe_decoder_table" {
        size, shape, tensor, scratch_len, forward, vjp, last_error, destroy, extension,
    });
    layout!(all, TangentTable = "gfe_tangent_table" { size, jvp });
    layout!(all, TrainableTable = "gfe_trainable_table" { size, init, params_vjp });
    layout!(all, SecondOrderTable = "gfe_second_order_table" { size, hvp });
    layout!(all, Latent = "gfe_latent" { name, unit, lower, upper, scale, default_value, transform, reserved });
    layout!(all, LatentsTable = "gfe_latents_table" { size, latent });
    layout!(all, GuessTable = "gfe_guess_table" { size, guess });
    layout!(all, DatasetInfo = "gfe_dataset_info" { size, id, title, version });
    layout!(all, DatasetInstance = "gfe_dataset_instance" { table, instance });
    layout!(all, DatasetFactory = "gfe_dataset_factory" { size, count, info, create });
    layout!(all, DatasetShape = "gfe_dataset_shape" { samples, rank, element, weighted });
    layout!(all, Axis = "gfe_axis" { name, unit, values, len });
    layout!(all, DatasetTable = "gfe_dataset_table" { size, shape, axis, read, last_error, destroy });
    all
}

fn constants() -> BTreeMap<String, u64> {
    let all = [
        ("GFE_MAGIC", MAGIC),
        ("GFE_VERSION_MAJOR", VERSION.major.into()),
        ("GFE_VERSION_MINOR", VERSION.minor.into()),
        ("sizeof gfe_status", size_of::<Status>() as u64),
        ("GFE_OK", Status::OK.0 as u64),
        ("GFE_DISCARD", Status::DISCARD.0 as u64),
        ("GFE_ERROR", Status::ERROR.0 as u64),
        ("GFE_FATAL", Status::FATAL.0 as u64),
        ("GFE_THREADS_INSTANCE", THREADS_INSTANCE.into()),
        ("GFE_THREADS_SHARED", THREADS_SHARED.into()),
        ("GFE_THREADS_PROCESS", THREADS_PROCESS.into()),
        ("GFE_PRECISION_F64", PRECISION_F64.into()),
        ("GFE_PRECISION_F32", PRECISION_F32.into()),
        ("GFE_OUTPUT_VALUES", OUTPUT_VALUES.into()),
        ("GFE_OUTPUT_LOGITS", OUTPUT_LOGITS.into()),
        ("GFE_OUTPUT_LOG_RATES", OUTPUT_LOG_RATES.into()),
        ("GFE_TRANSFORM_IDENTITY", TRANSFORM_IDENTITY.into()),
        ("GFE_TRANSFORM_LOG", TRANSFORM_LOG.into()),
        ("GFE_TRANSFORM_LOGIT", TRANSFORM_LOGIT.into()),
        ("GFE_ELEMENT_F64", ELEMENT_F64.into()),
        ("GFE_ELEMENT_F32", ELEMENT_F32.into()),
        ("GFE_ELEMENT_U8", ELEMENT_U8.into()),
    ];
    all.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

/// Ids, as the header defines them.
fn ids() -> [(&'static str, &'static str); 7] {
    let text = |id: &'static core::ffi::CStr| id.to_str().expect("ids are ASCII");
    [
        ("GFE_DECODER_FACTORY", text(DECODER_FACTORY)),
        ("GFE_DATASET_FACTORY", text(DATASET_FACTORY)),
        ("GFE_TANGENT", text(TANGENT)),
        ("GFE_TRAINABLE", text(TRAINABLE)),
        ("GFE_SECOND_ORDER", text(SECOND_ORDER)),
        ("GFE_LATENTS", text(LATENTS)),
        ("GFE_GUESS", text(GUESS)),
    ]
}

/// The C program that prints `name value` of each.
fn program(rust: &BTreeMap<String, u64>) -> String {
    let mut lines = vec!["#include \"gfe_plugin.h\"\n#include <stdio.h>\nint main(void) {".to_owned()];
    for name in rust.keys() {
        let value = match (name.strip_prefix("sizeof "), name.split_once('.')) {
            (Some(of), _) => format!("sizeof({of})"),
            (None, Some((of, member))) => format!("offsetof({of}, {member})"),
            (None, None) => name.clone(),
        };
        lines.push(format!(
            "printf(\"%s=%llu\\n\", \"{name}\", (unsigned long long)({value}));"
        ));
    }
    for (name, _) in ids() {
        lines.push(format!("printf(\"%s=%s\\n\", \"{name}\", {name});"));
    }
    lines.push("return 0; }\n".into());
    lines.join("\n")
}

fn include() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("include")
}

/// Compiles `source` in a folder of its own with the header in sight.
fn compile(name: &str, source: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, made) = (folder.join(name), folder.join(format!("{name}.out")));
    std::fs::write(&file, source).expect("the folder is writable");
    let run = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror"])
        .arg("-I")
        .arg(include())
        .arg(&file)
        .arg("-o")
        .arg(&made)
        .output()
        .unwrap_or_else(|error| panic!("cc does not start: {error}"));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    made
}

#[test]
fn the_c_header_has_the_sizes_offsets_and_numbers_of_the_rust_types() {
    let mut rust = rust_side();
    rust.extend(constants());
    let made = compile("layout.c", &program(&rust));
    let run = Command::new(made).output().expect("it was compiled");
    let printed = String::from_utf8(run.stdout).expect("it prints ASCII");
    let lines: BTreeMap<&str, &str> = printed.lines().filter_map(|line| line.split_once('=')).collect();
    for (name, value) in &rust {
        assert_eq!(lines[name.as_str()], value.to_string(), "{name}");
    }
    for (name, id) in ids() {
        assert_eq!(lines[name], id, "{name}");
    }
    assert_eq!(lines.len(), rust.len() + ids().len());
}

/// Members that only one side has would pass the comparison: the header declares as many as are compared.
#[test]
fn no_member_of_the_header_is_left_out() {
    let header = std::fs::read_to_string(include().join("gfe_plugin.h")).expect("the header can be read");
    let mut declared = 0;
    let mut inside = false;
    let mut comment = false;
    let mut statement = String::new();
    for line in header.lines() {
        let mut rest = line;
        let mut code = String::new();
        while !rest.is_empty() {
            let (mark, next) = if comment { ("*/", false) } else { ("/*", true) };
            let (before, after) = rest.split_once(mark).map_or((rest, None), |(b, a)| (b, Some(a)));
            if !comment {
                code += before;
            }
            let Some(after) = after else { break };
            (comment, rest) = (next, after);
        }
        if code.starts_with("typedef struct") && code.contains('{') {
            inside = true;
        } else if code.starts_with('}') {
            inside = false;
        } else if inside {
            statement += code.trim();
            if statement.ends_with(';') {
                declared += 1;
                statement.clear();
            }
        }
    }
    let compared = rust_side().keys().filter(|name| name.contains('.')).count();
    assert_eq!(declared, compared);
}
