//! `gfe problem`: test problems with known solutions, for those who study solvers.

use crate::error::CliError;
use crate::logs::say;
use crate::output;
use clap::{Args, Subcommand};
use faer::{Mat, Side};
use gfe_io::{Column, Table, Values, write_tables};
use gfe_ode::Structure;
use gfe_ode::problems::{self, Problem};
use gfe_ode::study::{self, methods};
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List the problems.
    List {
        /// Print them as one JSON array on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Solve a problem and compare with its reference solution.
    Run {
        /// Its name, see `gfe problem list`.
        name: String,
        /// Solver: ptc, amd, euler, rk4, tsit5, tsit45, tr_bdf2, esdirk34 or bdf.
        #[arg(long)]
        solver: String,
        /// Tolerance, 1e-13 or more. tsit5, tsit45, tr_bdf2, esdirk34, bdf: rtol, with atol in the problem's own proportion
        /// (`atol_per_rtol` of the export). euler, rk4, of order p: 10 tolerance^(-1/p) equal steps, 100000 at most. ptc: stops
        /// at that part of its first gradient norm. amd: stops where the loss falls by less than that part of the first loss
        /// per step.
        #[arg(long, default_value_t = 1e-6)]
        tolerance: f64,
        /// Print the outcome as one JSON object on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Write problems as HDF5, a group each: reference trajectory, minimizer, eigenvalues of the Jacobian on the way.
    Export {
        /// Output file.
        output: PathBuf,
        /// Only these.
        #[arg(long, value_name = "NAME,NAME,...", value_delimiter = ',')]
        problems: Vec<String>,
        /// Overwrite the output file.
        #[arg(long)]
        force: bool,
    },
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    match &arguments.what {
        What::List { json } => list(*json)?,
        What::Run {
            name,
            solver,
            tolerance,
            json,
        } => return solve(name, solver, *tolerance, *json),
        What::Export {
            output,
            problems,
            force,
        } => export(output, &named(problems)?, *force)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The problems of these names; all, if there are none.
pub fn named(names: &[String]) -> Result<Vec<Problem>, CliError> {
    if names.is_empty() {
        return Ok(problems::all());
    }
    let mut seen: Vec<&String> = Vec::new();
    let mut found = Vec::new();
    for name in names.iter() {
        if !seen.contains(&name) {
            seen.push(name);
            found.push(one(name)?);
        }
    }
    Ok(found)
}

fn one(name: &str) -> Result<Problem, CliError> {
    problems::named(name).ok_or_else(|| {
        let all = problems::all().into_iter().map(|problem| problem.name);
        let nearest = crate::keys::nearest(name, all);
        CliError::Usage(format!(
            "there is no problem `{name}`; the nearest is `{nearest}`, and `gfe problem list` lists all"
        ))
    })
}

fn list(as_json: bool) -> Result<(), CliError> {
    let all = problems::all();
    if as_json {
        let told: Vec<_> = all
            .iter()
            .map(|problem| {
                json!({"name": problem.name, "about": problem.about, "source": problem.source, "dim": problem.z0.len(),
                    "t_end": problem.t_end, "stiff": problem.stiff, "minimizer": problem.minimizer})
            })
            .collect();
        return output::say(&json!(told).to_string());
    }
    let width = all.iter().map(|problem| problem.name.len()).max().unwrap_or(0);
    for problem in &all {
        let stiff = if problem.stiff { ", stiff" } else { "" };
        let (name, about) = (&problem.name, &problem.about);
        output::say(&format!("{name:width$}  {about}; to t = {}{stiff}", problem.t_end))?;
    }
    Ok(())
}

/// A tolerance that means something in double precision.
pub fn check_tolerance(tolerance: f64) -> Result<(), CliError> {
    if (1e-13..1.0).contains(&tolerance) {
        return Ok(());
    }
    let text = format!("a tolerance is {tolerance:e}: it must be 1e-13 or more and less than 1");
    Err(CliError::Usage(text))
}

/// The method of this name.
pub fn method(name: &str) -> Result<Box<dyn study::Contender>, CliError> {
    methods::named(name).ok_or_else(|| {
        let all = || methods::all().into_iter().map(|method| method.name().to_owned());
        let nearest = crate::keys::nearest(name, all());
        let known = all().collect::<Vec<_>>().join(", ");
        CliError::Usage(format!(
            "there is no solver `{name}` (there are {known}); the nearest is `{nearest}`"
        ))
    })
}

fn solve(name: &str, solver: &str, tolerance: f64, as_json: bool) -> Result<ExitCode, CliError> {
    let (problem, method) = (one(name)?, method(solver)?);
    check_tolerance(tolerance)?;
    if !method.suits(&problem) {
        let why = match method.goal() {
            study::Goal::Minimizer if problem.minimizer.is_none() => "goes to a minimum, and this problem has none",
            _ => "is explicit, and this problem is stiff",
        };
        return Err(CliError::Usage(format!(
            "{solver} {why}: take another solver for {name}"
        )));
    }
    let rows = study::work_precision(std::slice::from_ref(&problem), &[&*method], &[tolerance]);
    let solution = method.solve(&problem, tolerance)?;
    for row in &rows {
        let work = row.work;
        if as_json {
            let told = json!({"problem": row.problem, "solver": row.solver, "goal": row.goal.name(), "tolerance": tolerance,
                "status": row.status.name(), "message": row.message, "error": row.error, "t": solution.t, "z": solution.z,
                "steps": work.steps, "rejected": work.rejected, "forced": work.forced, "evaluations": work.evaluations,
                "vjps": work.vjps, "jvps": work.jvps, "units": work.units(), "jacobians": work.jacobians, "factorizations": work.factorizations, "cpu_seconds": row.cpu});
            output::say(&told.to_string())?;
            continue;
        }
        output::say(&format!(
            "{name} by {solver}: {} at t = {}",
            row.status.name(),
            solution.t
        ))?;
        if let Some(message) = &row.message {
            output::say(message)?;
        }
        output::say(&format!("z = {:?}", solution.z))?;
        if !row.error.is_finite() {
            continue;
        }
        let of = if row.goal == study::Goal::Minimizer {
            "minimizer"
        } else {
            "reference solution"
        };
        output::say(&format!(
            "error against the {of}: {:.2e} (largest over the components, each in units of its largest size on the way)",
            row.error
        ))?;
        output::say(&format!(
            "{} steps, {} rejected, {} evaluations, {} Jacobians, {} factorizations; {:.2e} s of CPU",
            work.steps, work.rejected, work.evaluations, work.jacobians, work.factorizations, row.cpu
        ))?;
    }
    let succeeded = rows.iter().all(|row| row.status.is_success());
    Ok(ExitCode::from(u8::from(!succeeded)))
}

fn export(path: &std::path::Path, problems: &[Problem], force: bool) -> Result<(), CliError> {
    output::check(path, force, &[])?;
    let tables = problems.iter().map(table).collect::<Result<Vec<_>, _>>()?;
    write_tables(path, "Test problems for integrators, with reference solutions", &tables)?;
    say!("{}: {} problems", path.display(), tables.len());
    Ok(())
}

fn table(problem: &Problem) -> Result<Table, CliError> {
    let (dim, times) = (problem.z0.len(), problem.reference.t.len());
    let along = [("t", times), ("component", dim)];
    let (re, im) = eigenvalues(problem)?;
    let mut columns = vec![
        Column::new("t", "time", &[("t", times)], Values::Reals(problem.reference.t.clone())),
        Column::new(
            "z",
            "reference solution, to 1e-12 of the largest size of each component",
            &along,
            Values::Reals(problem.reference.z.clone()),
        ),
        Column::new("z0", "initial state", &along[1..], Values::Reals(problem.z0.clone())),
        Column::new(
            "eigenvalues_real",
            "real part of the eigenvalues of df/dz on the way, ascending",
            &along,
            Values::Reals(re),
        ),
        Column::new(
            "eigenvalues_imag",
            "imaginary part of the same",
            &along,
            Values::Reals(im),
        ),
    ];
    let states = [
        (
            "minimizer",
            "steady state that the gradient flow tends to",
            &problem.minimizer,
        ),
        ("published", "state at t_end as the source has it", &problem.published),
    ];
    for (name, long_name, state) in states {
        if let Some(state) = state {
            columns.push(Column::new(name, long_name, &along[1..], Values::Reals(state.clone())));
        }
    }
    Ok(Table {
        name: problem.name.clone(),
        attributes: vec![
            ("about".into(), problem.about.clone()),
            ("source".into(), problem.source.clone()),
        ],
        numbers: vec![
            ("t_end".into(), problem.t_end),
            ("atol_per_rtol".into(), problem.atol_per_rtol),
            ("stiff".into(), f64::from(u8::from(problem.stiff))),
        ],
        columns,
    })
}

/// Eigenvalues of the exact Jacobian at the states of the reference solution, `[times, d]` each, by ascending real part.
fn eigenvalues(problem: &Problem) -> Result<(Vec<f64>, Vec<f64>), CliError> {
    let dim = problem.z0.len();
    let (_, exact) = problem.equations.structure();
    let mut block = vec![0.0; dim * dim];
    let (mut re, mut im) = (Vec::new(), Vec::new());
    let failed = || {
        CliError::BadData(format!(
            "{}: the eigenvalues of its Jacobian do not converge",
            problem.name
        ))
    };
    for (t, z) in problem.reference.t.iter().zip(problem.reference.z.chunks(dim)) {
        problem.equations.jacobian(*t, z, &mut block);
        let jacobian = Mat::from_fn(dim, dim, |i, j| block[j * dim + i]);
        let mut found: Vec<(f64, f64)> = if exact == Structure::General {
            let found = jacobian.eigenvalues().map_err(|_| failed())?;
            found.iter().map(|value| (value.re, value.im)).collect()
        } else {
            let found = jacobian.self_adjoint_eigenvalues(Side::Lower).map_err(|_| failed())?;
            found.into_iter().map(|value| (value, 0.0)).collect()
        };
        found.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        re.extend(found.iter().map(|value| value.0));
        im.extend(found.iter().map(|value| value.1));
    }
    Ok((re, im))
}
