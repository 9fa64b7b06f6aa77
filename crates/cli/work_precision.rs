//! `gfe work-precision`: error against work, for every solver on every problem, as HDF5 and as figures.

use crate::error::CliError;
use crate::figure::{self, Line};
use crate::logs::say;
use crate::problem::{check_tolerance, method, named};
use crate::{output, progress};
use clap::Args;
use gfe_io::{Column, Table, Values, write_tables, write_whole};
use gfe_ode::problems::Problem;
use gfe_ode::study::{Contender, Goal, Measure, Row, methods, profiles, work_precision};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[derive(Args)]
pub struct Arguments {
    /// Problems, see `gfe problem list`. Default: all.
    #[arg(long, value_name = "NAME,NAME,...", value_delimiter = ',')]
    problems: Vec<String>,
    /// Solvers. Default: all. Explicit ones are left out on stiff problems, and ptc and amd where nothing is minimized.
    #[arg(long, value_name = "NAME,NAME,...", value_delimiter = ',')]
    solvers: Vec<String>,
    /// Tolerances, 1e-13 or more; `gfe problem run --help` says what one means to each solver. Default: 1e-3, 1e-4, ...,
    /// 1e-10.
    #[arg(long, value_name = "TOL,TOL,...", value_delimiter = ',')]
    tolerances: Vec<f64>,
    /// Output file: the runs, and the points of the performance profiles, in groups.
    #[arg(short, long)]
    output: PathBuf,
    /// Draw the figures into this folder, which is made if it is not there.
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Overwrite the output file and figures.
    #[arg(long)]
    force: bool,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode, CliError> {
    let problems = named(&arguments.problems)?;
    let solvers = match &arguments.solvers[..] {
        [] => methods::all(),
        names => {
            let mut unique = names.to_vec();
            unique.sort_unstable();
            unique.dedup();
            unique.iter().map(|name| method(name)).collect::<Result<_, _>>()?
        }
    };
    let tolerances = match &arguments.tolerances[..] {
        [] => (3..=10).map(|digits| 10f64.powi(-digits)).collect(),
        given => {
            let mut unique = given.to_vec();
            unique.sort_by(|a, b| b.total_cmp(a));
            unique.dedup();
            unique
        }
    };
    tolerances
        .iter()
        .try_for_each(|&tolerance| check_tolerance(tolerance))?;
    output::check(&arguments.output, arguments.force, &[])?;
    if let Some(folder) = &arguments.plot {
        prepare(folder, &problems, arguments.force)?;
    }
    let contenders: Vec<&dyn Contender> = solvers.iter().map(|solver| &**solver).collect();
    let bar = progress::bar(problems.len() as u64, "problems");
    let mut rows = Vec::new();
    for problem in &problems {
        rows.extend(work_precision(std::slice::from_ref(problem), &contenders, &tolerances));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if rows.is_empty() {
        let text = "none of these solvers suits any of these problems: explicit ones are not run on stiff problems, nor ptc and amd \
                    where nothing is minimized";
        return Err(CliError::Usage(text.into()));
    }
    let mut tables = vec![table(&rows)];
    for goal in [Goal::Trajectory, Goal::Minimizer] {
        for measure in Measure::ALL {
            tables.extend(profile(&rows, goal, measure));
        }
    }
    write_tables(
        &arguments.output,
        "Work and precision of integrators on test problems",
        &tables,
    )?;
    if let Some(folder) = &arguments.plot {
        draw(folder, &rows)?;
    }
    let failed = rows.iter().filter(|row| !row.status.is_success());
    for row in failed.clone() {
        let said = row.message.as_deref().unwrap_or(row.status.advice());
        let status = row.status.name();
        say!(
            "{} by {} at {:e}: {status}: {said}",
            row.problem,
            row.solver,
            row.tolerance
        );
    }
    say!(
        "{}: {} runs, {} of them failed",
        arguments.output.display(),
        rows.len(),
        failed.count()
    );
    // Failures are results too, unless there is nothing else.
    Ok(ExitCode::from(u8::from(
        rows.iter().all(|row| !row.status.is_success()),
    )))
}

fn table(rows: &[Row]) -> Table {
    let dims = [("run", rows.len())];
    let texts = |of: &dyn Fn(&Row) -> String| Values::Texts(rows.iter().map(of).collect());
    let reals = |of: &dyn Fn(&Row) -> f64| Values::Reals(rows.iter().map(of).collect());
    let counts = |of: &dyn Fn(&Row) -> u32| Values::Integers(rows.iter().map(|row| i64::from(of(row))).collect());
    let column = |name: &str, long_name: &str, values| Column::new(name, long_name, &dims, values);
    let columns = vec![
        column("problem", "problem", texts(&|row| row.problem.clone())),
        column("solver", "solver", texts(&|row| row.solver.clone())),
        column(
            "goal",
            "what the solver is after",
            texts(&|row| row.goal.name().to_owned()),
        ),
        column("tolerance", "tolerance asked for", reals(&|row| row.tolerance)),
        column("status", "how it ended", texts(&|row| row.status.name().to_owned())),
        column(
            "message",
            "what the solver says of a failure",
            texts(&|row| row.message.clone().unwrap_or_default()),
        ),
        column(
            "error",
            "largest |z_i - w_i| / s_i over the components i at the end, with w the reference solution at t_end or the minimizer and s_i the largest |w_i| along the exported trajectory",
            reals(&|row| row.error),
        ),
        column(
            "cpu_seconds",
            "time of the processor, least of three runs",
            reals(&|row| row.cpu),
        ),
        column(
            "units",
            "work: an evaluation, a vjp and a jvp per direction 1, a second-order product 2; a Jacobian is d jvps",
            Values::Integers(rows.iter().map(|row| row.work.units() as i64).collect()),
        ),
        column(
            "evaluations",
            "evaluations of the slope",
            counts(&|row| row.work.evaluations),
        ),
        column(
            "vjps",
            "products with the transposed Jacobian",
            counts(&|row| row.work.vjps),
        ),
        column(
            "jvps",
            "products with the Jacobian, directions counted",
            counts(&|row| row.work.jvps),
        ),
        column("jacobians", "Jacobians", counts(&|row| row.work.jacobians)),
        column(
            "factorizations",
            "factorizations",
            counts(&|row| row.work.factorizations),
        ),
        column("steps", "accepted steps", counts(&|row| row.work.steps)),
        column("rejected", "rejected steps", counts(&|row| row.work.rejected)),
        column(
            "forced",
            "steps taken although none passed the test",
            counts(&|row| row.work.forced),
        ),
    ];
    Table {
        name: "runs".into(),
        columns,
        ..Table::default()
    }
}

/// What a profile counts.
const PROFILE: &str = "Dolan & More (2002): a test is a problem and an error of 1e-2, 1e-4, 1e-6 or 1e-8 that some solver reaches; \
                       a solver's cost there is the least of its runs with at most that error; solvers that are never charged are left out";

/// The performance profiles of one measure, where there are any: points of all solvers one after another.
fn profile(rows: &[Row], goal: Goal, measure: Measure) -> Option<Table> {
    let curves = profiles(rows, goal, measure);
    let points: usize = curves.iter().map(|curve| curve.ratios.len()).sum();
    if points == 0 {
        return None;
    }
    let dims = [("point", points)];
    let solvers = curves
        .iter()
        .flat_map(|curve| vec![curve.solver.clone(); curve.ratios.len()]);
    let ratios = curves.iter().flat_map(|curve| curve.ratios.clone());
    let fractions = curves.iter().flat_map(|curve| curve.fractions.clone());
    Some(Table {
        name: format!("profile_{}_{}", goal.name(), measure.name()),
        attributes: vec![("about".into(), PROFILE.into())],
        columns: vec![
            Column::new("solver", "solver", &dims, Values::Texts(solvers.collect())),
            Column::new(
                "ratio",
                "cost over that of the best solver",
                &dims,
                Values::Reals(ratios.collect()),
            ),
            Column::new(
                "fraction",
                "fraction of tests within that ratio",
                &dims,
                Values::Reals(fractions.collect()),
            ),
        ],
        ..Table::default()
    })
}

/// Error against work on a problem.
fn figure_of(problem: &str, goal: Goal, measure: Measure) -> String {
    format!("{problem}_{}_{}.svg", goal.name(), measure.name())
}

/// Performance profiles.
fn profile_of(goal: Goal, measure: Measure) -> String {
    format!("profile_{}_{}.svg", goal.name(), measure.name())
}

const GOALS: [Goal; 2] = [Goal::Trajectory, Goal::Minimizer];

/// Makes the folder of the figures; fails where one of them stands there and may not be replaced.
fn prepare(folder: &Path, problems: &[Problem], force: bool) -> Result<(), CliError> {
    std::fs::create_dir_all(folder)
        .map_err(|error| CliError::Folder(format!("the folder {} cannot be made: {error}", folder.display())))?;
    for (goal, measure) in GOALS
        .iter()
        .flat_map(|goal| Measure::ALL.map(|measure| (*goal, measure)))
    {
        let of_problems = problems.iter().map(|problem| figure_of(&problem.name, goal, measure));
        for name in of_problems.chain([profile_of(goal, measure)]) {
            output::check(&folder.join(name), force, &[])?;
        }
    }
    Ok(())
}

fn draw(folder: &Path, rows: &[Row]) -> Result<(), CliError> {
    let save = |name: String, svg: String| write_whole(&folder.join(name), svg.as_bytes());
    let mut problems: Vec<&str> = rows.iter().map(|row| row.problem.as_str()).collect();
    problems.dedup();
    for (goal, measure) in GOALS
        .iter()
        .flat_map(|goal| Measure::ALL.map(|measure| (*goal, measure)))
    {
        let work = if measure == Measure::Cpu {
            "cpu (s)"
        } else {
            measure.name()
        };
        for problem in &problems {
            let lines = lines(rows, (problem, goal), measure);
            let error = if goal == Goal::Minimizer {
                "error against the minimizer"
            } else {
                "error at t_end"
            };
            if let Some(svg) = figure::lines(problem, [work, error], &lines)? {
                save(figure_of(problem, goal, measure), svg)?;
            }
        }
        let curves = profiles(rows, goal, measure).into_iter();
        let lines: Vec<Line> = curves
            .filter(|curve| !curve.ratios.is_empty())
            .map(|curve| figure::steps(curve.solver, &curve.ratios, &curve.fractions))
            .collect();
        let title = format!("{}: {work}", goal.name());
        // A single solver is always its own best.
        if let Some(svg) = figure::profile(&title, &lines)?.filter(|_| lines.len() > 1) {
            save(profile_of(goal, measure), svg)?;
        }
    }
    Ok(())
}

/// Error against a measure on one problem, a line per solver.
fn lines(rows: &[Row], (problem, goal): (&str, Goal), measure: Measure) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows.iter().filter(|row| row.problem == problem && row.goal == goal) {
        if lines.last().is_none_or(|line| line.name != row.solver) {
            lines.push(Line {
                name: row.solver.clone(),
                points: Vec::new(),
            });
        }
        let point = (measure.of(row), row.error);
        if let Some(line) = lines.last_mut().filter(|_| point.0 > 0.0 && point.1 > 0.0) {
            line.points.push(point);
        }
    }
    lines.retain(|line| !line.points.is_empty());
    lines
}
