//! Every solver through the program.

use crate::train::{DIGITS as SMALL, trained};
use crate::{Folder, fails, gfe, python, read, works};

const MODEL: &str = "tests/data/mnist_decoder.safetensors";
const DIGITS: &str = "tests/data/mnist_test_200.h5";

fn encode(output: &str, flags: &str) -> String {
    let flags: Vec<&str> = flags.split(' ').collect();
    works(
        &[
            &["encode", DIGITS, "-m", MODEL, "-o", output, "--json", "--force"],
            &flags[..],
        ]
        .concat(),
    )
}

fn number(told: &str, key: &str) -> f64 {
    let told: serde_json::Value = serde_json::from_str(told).expect("one object");
    told[key]
        .as_f64()
        .unwrap_or_else(|| panic!("{key} is a number in {told}"))
}

#[test]
fn mixed_precision_gives_the_steady_states_of_double_precision() {
    let folder = Folder::default();
    let (mixed, double) = (folder.path("mixed.h5"), folder.path("double.h5"));
    let tight = "--edm-tol 0 --gtol 1e-5 --rows 0..100";
    for loss in ["bce", "mse"] {
        let flags = format!("{tight} --loss {loss}");
        encode(&mixed, &flags);
        encode(&double, &format!("{flags} --precision f64"));
        assert!(
            read(&mixed, "z") != read(&double, "z"),
            "{loss}: single precision is used"
        );
        let (ours, theirs) = (read(&mixed, "loss"), read(&double, "loss"));
        let same = ours.iter().zip(&theirs).filter(|(a, b)| (*a - *b).abs() < 1e-6).count();
        // Rounding sends few of them to another minimum.
        assert!(same >= 98, "{loss}: {same} of 100 have the same loss");
        assert!(read(&mixed, "grad_norm").iter().all(|norm| *norm <= 1e-5), "{loss}");
        works(&["verify", &mixed]);
    }
    let precision = |output: &str| -> serde_json::Value {
        let told = works(&["inspect", output, "--json"]);
        serde_json::from_str(&told).expect("one object")
    };
    assert_eq!(precision(&mixed)["config"]["precision"], "mixed");
    assert_eq!(precision(&double)["config"]["precision"], "f64");
    fails(
        &["encode", DIGITS, "-m", MODEL, "-o", &mixed, "--precision", "f32"],
        2,
        &["precision", "mixed"],
    );
    fails(
        &[
            "encode",
            DIGITS,
            "-m",
            MODEL,
            "-o",
            &mixed,
            "--solver",
            "amd",
            "--precision",
            "f64",
        ],
        2,
        &["precision", "amd"],
    );
}

#[test]
fn trajectories_agree_with_scipy() {
    let folder = Folder::default();
    let to = |name: &str| folder.path(name);
    let (tsit5, bdf) = (to("tsit5.h5"), to("bdf.h5"));
    let tight = "--t-end 1e4 --rtol 1e-8 --atol 1e-10 --trace-at 0,10,100,1e3,1e4 --rows 0..10";
    encode(&tsit5, &format!("--solver tsit5 {tight}"));
    encode(&bdf, &format!("--solver bdf {tight}"));
    let solvers = [
        "rk4 --steps 2000",
        "tsit5 --rtol 1e-9 --atol 1e-11",
        "bdf --rtol 1e-9 --atol 1e-11",
    ];
    let nesterov: Vec<String> = (0..3).map(|i| to(&format!("nesterov{i}.h5"))).collect();
    for (solver, output) in solvers.iter().zip(&nesterov) {
        encode(
            output,
            &format!("--flow nesterov --t-end 1e3 --rows 0..10 --solver {solver}"),
        );
    }
    python("tests/check_flows.py", &[DIGITS, MODEL, "gradient", &tsit5, &bdf]);
    let of = |name: &'static str| [DIGITS, MODEL, name].map(str::to_owned).to_vec();
    let arguments = [of("nesterov"), nesterov].concat();
    python(
        "tests/check_flows.py",
        &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
    );
}

/// Every solver, both flows, grids and alpha; the loss ends where the others' does.
#[test]
fn every_solver_runs_and_they_agree() {
    let folder = Folder::default();
    let output = folder.path("codes.h5");
    let rows = "--rows 0..4 --t-end 100";
    let exact = number(
        &encode(&output, &format!("--solver tsit5 --rtol 1e-9 --atol 1e-11 {rows}")),
        "loss_mean",
    );
    for (flags, most) in [
        ("--solver tsit45", 1e-6),
        ("--solver tr_bdf2", 1e-5),
        ("--solver esdirk34", 1e-5),
        ("--solver bdf", 1e-5),
        ("--solver bdf --hessian gauss_newton", 1e-5),
        ("--solver rk4 --steps 200", 1e-6),
        (
            "--solver rk4 --steps 200 --set grid=logarithmic --set log_base=10",
            1e-5,
        ),
        ("--solver euler --steps 2000", 1e-3),
    ] {
        let told = encode(&output, &format!("{flags} {rows}"));
        assert!(told.contains("\"horizon_reached\":4"), "{flags}: {told}");
        let off = (number(&told, "loss_mean") - exact).abs();
        assert!(off <= most, "{flags}: {off}");
    }
    // alpha0 exp(-2 t / tau) runs out: all of it is alpha0 (1 - exp(-2)) / 2 of the time.
    let slowed = encode(&output, &format!("--solver tsit5 --alpha exp_decay {rows}"));
    let t_end = 50.0 * (1.0 - (-2.0f64).exp());
    let same = encode(&output, &format!("--solver tsit5 --rows 0..4 --t-end {t_end}"));
    assert!((number(&slowed, "loss_mean") - number(&same, "loss_mean")).abs() < 1e-5);
    for flags in [
        "--solver tsit5",
        "--solver tsit45",
        "--solver esdirk34",
        "--solver tr_bdf2",
        "--solver bdf",
        "--solver rk4 --steps 200",
        "--solver euler --steps 4000",
        "--solver bdf --set restart=true",
        "--solver rk4 --steps 400 --set restart=true",
    ] {
        let told = encode(&output, &format!("--flow nesterov {flags} {rows}"));
        assert!(told.contains("\"horizon_reached\":4"), "{flags}: {told}");
        assert!(
            number(&told, "loss_mean") < exact,
            "momentum is ahead by t = 100: {flags}: {told}"
        );
    }
    let told = encode(&output, "--flow nesterov --solver amd --set restart=true --rows 0..4");
    assert!(
        told.contains("\"converged\":4") || told.contains("\"horizon_reached\":4"),
        "{told}"
    );
    assert!(number(&told, "loss_mean") < 0.14, "{told}");
}

#[test]
fn ptc_may_use_the_exact_hessian_and_lands_where_the_other_does() {
    let folder = Folder::default();
    let (one, two) = (folder.path("one.h5"), folder.path("two.h5"));
    encode(&one, "--rows 0..40 --edm-tol 0");
    encode(&two, "--rows 0..40 --edm-tol 0 --hessian exact");
    assert_eq!(read(&one, "hvps").iter().sum::<f64>(), 0.0);
    assert!(read(&two, "hvps").iter().all(|hvps| *hvps > 0.0));
    let off = read(&one, "loss")
        .iter()
        .zip(read(&two, "loss"))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max);
    assert!(off < 1e-8, "{off}");
    // edm is written with the Gauss-Newton Hessian whichever was used.
    let edm = read(&two, "edm");
    assert!(edm.iter().all(|edm| *edm < 1e-2), "{edm:?}");
}

#[test]
fn a_warm_start_ends_at_the_same_codes_for_less() {
    let folder = Folder::default();
    let model = trained(
        &folder,
        "model.safetensors",
        &["--set", "epochs=6", "--set", "data.rows=0..1400"],
    );
    let run = |name: &str, flags: &[&str]| {
        let output = folder.path(name);
        let told = works(
            &[
                &[
                    "encode",
                    SMALL,
                    "-m",
                    &model,
                    "-o",
                    &output,
                    "--rows",
                    "1437..1797",
                    "--json",
                ],
                flags,
            ]
            .concat(),
        );
        (output, number(&told, "evaluations_per_sample"))
    };
    let (cold, cold_cost) = run("cold.h5", &["--edm-tol", "0", "--gtol", "1e-8"]);
    let (warm, warm_cost) = run("warm.h5", &["--edm-tol", "0", "--gtol", "1e-8", "--warm-start"]);
    assert!(warm_cost < cold_cost, "{warm_cost} evaluations, {cold_cost} without");
    let off = |of: &str| {
        read(&cold, of)
            .iter()
            .zip(read(&warm, of))
            .map(|(a, b)| (a - b).abs())
            .collect::<Vec<_>>()
    };
    let elsewhere = off("loss").iter().filter(|off| **off > 1e-6).count();
    assert!(elsewhere <= 18, "{elsewhere} of 360 in another basin");
    // The start is nearer to the end than z0 = 0.
    let first = |of: &str| read(of, "loss_initial").iter().sum::<f64>();
    assert!(first(&warm) < first(&cold));
    let said = ["--warm-start", "no linear regression"];
    fails(
        &[
            "encode",
            DIGITS,
            "-m",
            MODEL,
            "-o",
            &folder.path("x.h5"),
            "--warm-start",
        ],
        78,
        &said,
    );
    let flags = ["--warm-start", "--solver", "amd"];
    fails(
        &[&["encode", SMALL, "-m", &model, "-o", &folder.path("x.h5")], &flags[..]].concat(),
        2,
        &["warm_start", "amd"],
    );
}

#[test]
fn what_diffsol_says_of_a_failure_is_kept_with_its_row() {
    let folder = Folder::default();
    let output = folder.path("codes.h5");
    let flags = [
        "--solver",
        "bdf",
        "--rtol",
        "1e-13",
        "--atol",
        "1e-30",
        "--rows",
        "3..5",
        "--fail-above",
        "1",
    ];
    let ran = gfe(&[&["encode", DIGITS, "-m", MODEL, "-o", &output], &flags[..]].concat());
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(
        ran.status.success() && said.contains("row 3: bdf: ODE solver error"),
        "{said}"
    );
    let note = hdf5::File::open(&output)
        .and_then(|file| file.dataset("entry/process/messages/data"))
        .and_then(|data| data.read_scalar::<hdf5::types::VarLenUnicode>())
        .expect("the note is there");
    let note: serde_json::Value = serde_json::from_str(&note).expect("JSON");
    assert!(note["3"].is_string() && note["4"].is_string(), "{note}");
}

#[test]
fn options_that_do_not_go_together_are_refused() {
    let folder = Folder::default();
    let output = folder.path("codes.h5");
    for (flags, words) in [
        ("--flow nesterov", &["ptc", "nesterov"][..]),
        ("--solver bdf --t-end inf", &["t_end", "finite"]),
        ("--solver bdf --steps 5", &["steps", "bdf"]),
        ("--solver tsit45 --hessian exact", &["hessian", "tsit45"]),
        ("--solver bdff", &["bdff", "nearest is bdf"]),
        ("--trace-at 1,2", &["trace_at", "ptc"]),
        ("--solver tsit5 --trace-at 2,1", &["ascend"]),
        ("--set restart=true", &["restart", "nesterov"]),
        ("--solver rk4 --set log_base=10", &["log_base", "logarithmic"]),
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        fails(
            &[&["encode", DIGITS, "-m", MODEL, "-o", &output], &flags[..]].concat(),
            2,
            words,
        );
    }
}

/// What a model records of its training by ptc is not meant for another solver.
#[test]
fn a_models_limits_of_one_solver_do_not_bind_another() {
    let folder = Folder::default();
    let (model, output) = (
        trained(&folder, "model.safetensors", &["--max-steps", "40"]),
        folder.path("codes.h5"),
    );
    let run = |flags: &[&str]| {
        works(
            &[
                &[
                    "encode", SMALL, "-m", &model, "-o", &output, "--rows", "0..3", "--force", "--json",
                ],
                flags,
            ]
            .concat(),
        )
    };
    let told = run(&["--solver", "tsit5", "--t-end", "1e3"]);
    assert!(told.contains("\"horizon_reached\":3"), "{told}");
    let note = |what: &str| {
        let note = hdf5::File::open(&output).and_then(|file| file.dataset(&format!("entry/process/{what}/data")));
        let note = note
            .and_then(|data| data.read_scalar::<hdf5::types::VarLenUnicode>())
            .expect("the note is there");
        serde_json::from_str::<serde_json::Value>(&note).expect("JSON")
    };
    assert_eq!(note("config")["max_steps"], 100_000);
    run(&[]);
    assert_eq!(note("config")["max_steps"], 40);
}

/// Times in a forced step lie between its ends, a sample done at its start has its state at t = 0, and no other.
#[test]
fn traces_hold_what_was_passed() {
    let folder = Folder::default();
    let output = folder.path("codes.h5");
    encode(
        &output,
        "--solver amd --set armijo=1e6 --set max_backtracks=3 --t-end 50 --trace-at 0,2,8,10,50 --rows 0..1",
    );
    let losses = read(&output, "trace_loss");
    assert!(
        losses.len() == 5 && losses.windows(2).all(|pair| pair[1] <= pair[0]),
        "{losses:?}"
    );
    for solver in ["tsit5", "bdf", "amd"] {
        encode(
            &output,
            &format!("--solver {solver} --t-end 50 --gtol 10 --trace-at 0,5,50 --rows 0..2"),
        );
        assert_eq!(read(&output, "trace_row_size"), [1.0, 1.0], "{solver}");
        assert_eq!(read(&output, "trace_t"), [0.0, 0.0], "{solver}");
    }
}
