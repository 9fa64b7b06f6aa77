//! gfe as a step of pipelines: shares under Snakemake and as an array of Slurm jobs, with a job that is killed and rows that fail.

#[path = "program/support.rs"]
mod support;

use std::path::Path;
use std::process::Command;
use support::{Folder, python, read, root, text, works};

/// Rows of the data: 1% each with a NaN, outside of the loss's range, and constant.
const ROWS: &str = "2000";

/// A pipeline's folder with `data.h5`.
fn data() -> Folder {
    let folder = Folder::default();
    python(
        "tests/pipelines/make_data.py",
        &[&folder.path(""), &text("tests/data/mnist_test_200.h5"), ROWS],
    );
    folder
}

fn model() -> String {
    text("tests/data/mnist_decoder.safetensors")
}

/// The bytes of the output of one run.
fn expected(folder: &Folder) -> Vec<u8> {
    let output = folder.path("whole.h5");
    works(&[
        "encode",
        &folder.path("data.h5:/images"),
        "-m",
        &model(),
        "-o",
        &output,
        "--reproducible",
    ]);
    std::fs::read(output).expect("the output is there")
}

#[test]
fn snakemake_tries_a_killed_share_again_and_keeps_an_output_with_failed_rows() {
    let folder = data();
    let expected = expected(&folder);
    let output = folder.path("codes.h5");
    let ran = Command::new(root(".tools/venv/bin/snakemake"))
        .args(["--cores", "2", "--quiet", "all", "--snakefile"])
        .arg(root("tests/pipelines/Snakefile"))
        .args(["--directory", &folder.path("")])
        .arg("--config")
        .arg(format!("gfe={}", text("tests/pipelines/killed_once.sh")))
        .arg(format!("input={}", folder.path("data.h5:/images")))
        .arg(format!("model={}", model()))
        .arg(format!("output={output}"))
        .args(["shares=4", "options=--reproducible"])
        .env("GFE", env!("CARGO_BIN_EXE_gfe"))
        .env("KILLED", "2/4")
        .env("MARK", folder.path("mark"))
        .env("PARTS", folder.path("codes.h5.parts"))
        .output()
        .expect("the snakemake of `make setup` starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    assert!(Path::new(&folder.path("mark")).exists(), "a share was killed: {said}");
    assert!(std::fs::read(&output).expect("the output is there") == expected);
    let failed = read(&output, "status")
        .into_iter()
        .filter(|status| *status != 0.0)
        .count();
    assert_eq!(failed, 40, "1% with a NaN and 1% out of range");
}

#[test]
fn slurm_jobs_go_on_after_the_warning_of_their_end() {
    let folder = data();
    let expected = expected(&folder);
    let output = folder.path("codes.h5");
    let bin = folder.path("bin");
    std::fs::create_dir(&bin).expect("there is room");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_gfe"), format!("{bin}/gfe")).expect("there is room");
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let job = |i: usize| {
        let mut command = Command::new("bash");
        command
            .arg(root("tests/pipelines/encode.sbatch"))
            .args([
                &folder.path("data.h5:/images"),
                &model(),
                &output,
                "--reproducible",
                "--shard-rows",
                "50",
            ])
            .env("PATH", &path)
            .env("SLURM_ARRAY_TASK_ID", i.to_string())
            .env("SLURM_ARRAY_TASK_COUNT", "3")
            .env("SLURM_CPUS_PER_TASK", "1");
        command
    };
    let mut warned = job(2).spawn().expect("bash starts");
    let parts = folder.path("codes.h5.parts");
    let committed = || {
        let names = std::fs::read_dir(&parts).into_iter().flatten().flatten();
        names
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(".h5"))
            .count()
    };
    while committed() < 2 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let sent = Command::new("kill")
        .args(["-s", "USR1", &warned.id().to_string()])
        .status();
    assert!(sent.expect("kill starts").success());
    assert_eq!(warned.wait().expect("it ends").code(), Some(143));
    for i in 1..=3 {
        let ran = job(i).output().expect("bash starts");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }
    works(&["merge", &output]);
    assert!(std::fs::read(&output).expect("the output is there") == expected);
}
