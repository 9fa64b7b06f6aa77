//! The crates depend on each other one way only: `cargo metadata` against the arrows that the design allows.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

/// What each crate may depend on. Whatever lives in `plugins/` may depend on [`PLUGINS_MAY_USE`] alone.
const ALLOWED: &[(&str, &[&str])] = &[
    ("gfe-abi", &[]),
    ("gfe-ode", &[]),
    ("gfe-model", &[]),
    ("gfe-encode", &["gfe-ode", "gfe-model"]),
    ("gfe-plugin", &["gfe-abi", "gfe-model"]),
    ("gfe-sdk", &["gfe-abi", "gfe-model"]),
    ("gfe-io", &["gfe-model"]),
    ("gfe", &["gfe-ode", "gfe-model", "gfe-encode", "gfe-plugin", "gfe-io"]),
];

/// A plugin is written against the SDK, or against the C header alone.
const PLUGINS_MAY_USE: &[&str] = &["gfe-sdk"];

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no {key} in {value}"))
}

fn is_plugin(package: &Value, root: &Path) -> bool {
    Path::new(text(package, "manifest_path")).starts_with(root.join("plugins"))
}

/// Every arrow between packages of the workspace that the table does not allow, as `from -> to`, and every package
/// that the table does not know.
fn forbidden(metadata: &Value) -> Vec<String> {
    let root = Path::new(text(metadata, "workspace_root"));
    let packages = list(metadata, "packages");
    let names: Vec<&str> = packages.iter().map(|p| text(p, "name")).collect();
    let plugins: Vec<&str> = packages
        .iter()
        .filter(|p| is_plugin(p, root))
        .map(|p| text(p, "name"))
        .collect();
    let mut found = Vec::new();
    for package in packages {
        let from = text(package, "name");
        let allowed = if plugins.contains(&from) {
            PLUGINS_MAY_USE
        } else if let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == from) {
            allowed
        } else {
            found.push(format!("{from} is not in the table"));
            continue;
        };
        for dependency in list(package, "dependencies") {
            let to = text(dependency, "name");
            let loads_it_in_a_test = from == "gfe" && plugins.contains(&to) && dependency["kind"] == "dev";
            if names.contains(&to) && !allowed.contains(&to) && !loads_it_in_a_test {
                found.push(format!("{from} -> {to}"));
            }
        }
    }
    found
}

fn package(name: &str, folder: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
    let dependencies: Vec<Value> = dependencies
        .iter()
        .map(|(name, kind)| json!({"name": name, "kind": kind}))
        .collect();
    json!({"name": name, "manifest_path": format!("/project/{folder}/Cargo.toml"), "dependencies": dependencies})
}

#[test]
fn crates_depend_on_each_other_only_as_designed() {
    let run = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let metadata: Value = serde_json::from_slice(&run.stdout).expect("cargo prints JSON");

    let names: Vec<&str> = list(&metadata, "packages").iter().map(|p| text(p, "name")).collect();
    for (name, _) in ALLOWED {
        assert!(
            names.contains(name),
            "{name} is in the table but not in the workspace: {names:?}"
        );
    }
    assert_eq!(forbidden(&metadata), Vec::<String>::new());
}

#[test]
fn an_arrow_against_the_design_is_found_whatever_its_kind() {
    let metadata = json!({"workspace_root": "/project", "packages": [
        package("gfe-model", "crates/model", &[("faer", None)]),
        package("gfe-io", "crates/io", &[("gfe-model", None), ("gfe-plugin", Some("dev"))]),
        package("gfe-plugin", "crates/plugin", &[("gfe-io", None)]),
        package("gfe-new", "crates/new", &[]),
    ]});
    assert_eq!(
        forbidden(&metadata),
        [
            "gfe-io -> gfe-plugin",
            "gfe-plugin -> gfe-io",
            "gfe-new is not in the table"
        ]
    );
}

#[test]
fn a_plugin_sees_the_sdk_alone_and_only_tests_see_a_plugin() {
    let metadata = json!({"workspace_root": "/project", "packages": [
        package("gfe", "", &[("linear-plugin", Some("dev")), ("other-plugin", None)]),
        package("gfe-sdk", "crates/sdk", &[]),
        package("gfe-model", "crates/model", &[]),
        package("linear-plugin", "plugins/linear", &[("gfe-sdk", None)]),
        package("other-plugin", "plugins/other", &[("gfe-model", None)]),
    ]});
    assert_eq!(
        forbidden(&metadata),
        ["gfe -> other-plugin", "other-plugin -> gfe-model"]
    );
}
