//! `gfe problem`, `gfe work-precision`, and a stepper from outside.

use crate::{Folder, fails, python, root, works};
use std::process::Command;

#[test]
fn problems_and_tables_are_read_by_xarray() {
    let folder = Folder::default();
    let (problems, work, figures) = (
        folder.path("problems.h5"),
        folder.path("work.h5"),
        folder.path("figures"),
    );
    let listed = works(&["problem", "list"]);
    assert!(listed.contains("robertson") && listed.contains("stiff"), "{listed}");
    let listed: serde_json::Value = serde_json::from_str(&works(&["problem", "list", "--json"])).expect("an array");
    assert!(listed.as_array().is_some_and(|all| all.len() >= 12));
    works(&["problem", "export", &problems]);
    let some = [
        "--problems",
        "mlp,robertson",
        "--solvers",
        "ptc,tsit5,bdf",
        "--tolerances",
        "1e-3,1e-5,1e-7",
    ];
    works(&[&["work-precision", "-o", &work, "--plot", &figures], &some[..]].concat());
    python("tests/check_studies.py", &[&problems, &work]);
    for name in [
        "mlp_trajectory_evaluations",
        "mlp_minimizer_units",
        "robertson_trajectory_factorizations",
        "profile_trajectory_cpu",
    ] {
        let figure =
            std::fs::read_to_string(format!("{figures}/{name}.svg")).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(figure.contains("<svg") && figure.contains("polyline"), "{name}");
    }
    fails(&["problem", "export", &problems], 73, &["--force"]);
    fails(&["work-precision", "-o", &work], 73, &["--force"]);
    let other = folder.path("other.h5");
    let again = ["work-precision", "-o", &other, "--problems", "mlp", "--plot", &figures];
    fails(&again, 73, &["mlp_", "--force"]);
    fails(&["work-precision", "-o", &other, "--plot", &work], 73, &["folder"]);
    let unsuited = [
        "work-precision",
        "-o",
        &other,
        "--problems",
        "robertson",
        "--solvers",
        "rk4",
    ];
    fails(&unsuited, 2, &["none of these solvers"]);
}

#[test]
fn a_problem_is_solved_and_compared() {
    let told = works(&[
        "problem",
        "run",
        "robertson",
        "--solver",
        "bdf",
        "--tolerance",
        "1e-8",
        "--json",
    ]);
    let told: serde_json::Value = serde_json::from_str(&told).expect("one object");
    assert!(
        told["error"].as_f64().is_some_and(|error| error > 0.0 && error < 1e-8),
        "{told}"
    );
    let said = works(&["problem", "run", "rosenbrock", "--solver", "ptc"]);
    assert!(said.contains("converged") && said.contains("minimizer"), "{said}");
    fails(
        &["problem", "run", "robertson", "--solver", "rk4"],
        2,
        &["explicit", "stiff"],
    );
    fails(&["problem", "run", "robertson", "--solver", "ptc"], 2, &["minimum"]);
    fails(&["problem", "run", "robertsen", "--solver", "bdf"], 2, &["robertson"]);
    fails(&["problem", "run", "robertson", "--solver", "bdff"], 2, &["bdf"]);
    fails(
        &["problem", "run", "robertson", "--solver", "bdf", "--tolerance", "0"],
        2,
        &["1e-13 or more"],
    );
}

/// A crate of its own, outside the workspace, builds against gfe-ode and puts a method into the table.
#[test]
fn a_stepper_from_outside_enters_the_same_table() {
    // The versions that are here already: nothing is fetched.
    std::fs::copy(root("Cargo.lock"), root("tests/outside/Cargo.lock")).expect("the lock file can be copied");
    let run = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--offline", "--manifest-path"])
        .arg(root("tests/outside/Cargo.toml"))
        .env("CARGO_TARGET_DIR", root("target/outside"))
        .output()
        .expect("cargo starts");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    let table = String::from_utf8_lossy(&run.stdout);
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let errors = |solver: &str| -> Vec<f64> {
        let of = rows.iter().filter(|row| row[1] == solver);
        of.map(|row| row[3].parse().expect("an error")).collect()
    };
    let (heun, rk4) = (errors("heun"), errors("rk4"));
    assert!(heun.len() == 3 && rk4.len() == 3, "{table}");
    // Order 2: a hundredth of the tolerance, a tenth of the step, a hundredth of the error.
    assert!(
        heun.windows(2).all(|pair| (50.0..200.0).contains(&(pair[0] / pair[1]))),
        "{table}"
    );
}
