//! Performance profiles: on what part of the tests a solver is within a factor of the best.
//!
//! Dolan & More, Benchmarking optimization software with performance profiles, Math. Program. 91, 201 (2002).

use super::{Goal, Row};
use std::collections::BTreeMap;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Evaluations of the slope.
    Evaluations,
    /// Factorizations.
    Factorizations,
    /// Work in units of a forward pass, see [`Work::units`](crate::Work::units).
    Units,
    /// Time of the processor.
    Cpu,
}

impl Measure {
    /// All of them.
    pub const ALL: [Measure; 4] = [
        Measure::Evaluations,
        Measure::Factorizations,
        Measure::Units,
        Measure::Cpu,
    ];

    /// Name as in files.
    pub fn name(self) -> &'static str {
        match self {
            Measure::Evaluations => "evaluations",
            Measure::Factorizations => "factorizations",
            Measure::Units => "units",
            Measure::Cpu => "cpu",
        }
    }

    /// Its value in a row.
    pub fn of(self, row: &Row) -> f64 {
        match self {
            Measure::Evaluations => f64::from(row.work.evaluations),
            Measure::Factorizations => f64::from(row.work.factorizations),
            Measure::Units => row.work.units() as f64,
            Measure::Cpu => row.cpu,
        }
    }
}

/// The profile of one solver.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// Its name.
    pub solver: String,
    /// The ratios to the best at which the fraction rises, ascending.
    pub ratios: Vec<f64>,
    /// The fraction of all tests on which the ratio is at most that.
    pub fractions: Vec<f64>,
}

/// The profiles of all solvers with this goal.
///
/// A test is a problem and an error: 1e-2, 1e-4, 1e-6 or 1e-8. A solver's cost there is the least among its rows with at
/// most that error, infinite where it has none; the ratio is cost over the least cost of all solvers. Tests that nobody
/// passes count for nobody. A solver that is never charged, such as an explicit one for factorizations, has no ratio: it is
/// left out, and the others are compared among themselves.
pub fn profiles(rows: &[Row], goal: Goal, measure: Measure) -> Vec<Curve> {
    let charged = |solver: &str| rows.iter().any(|row| row.solver == solver && measure.of(row) > 0.0);
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|row| row.goal == goal && charged(&row.solver))
        .collect();
    let mut solvers: Vec<&str> = Vec::new();
    let mut problems: Vec<&str> = Vec::new();
    for row in &rows {
        for (names, name) in [(&mut solvers, &row.solver), (&mut problems, &row.problem)] {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    let mut ratios: BTreeMap<&str, Vec<f64>> = solvers.iter().map(|&solver| (solver, Vec::new())).collect();
    let mut tests = 0;
    for problem in problems {
        for bound in [1e-2, 1e-4, 1e-6, 1e-8] {
            let good = rows.iter().filter(|row| row.problem == problem && row.error <= bound);
            let mut costs: BTreeMap<&str, f64> = BTreeMap::new();
            for row in good {
                let cost = costs.entry(&row.solver).or_insert(f64::INFINITY);
                *cost = cost.min(measure.of(row));
            }
            let best = costs.values().copied().fold(f64::INFINITY, f64::min);
            if !(best > 0.0 && best.is_finite()) {
                continue;
            }
            tests += 1;
            for (solver, cost) in costs {
                ratios.entry(solver).or_default().push(cost / best);
            }
        }
    }
    let curve = |&solver: &&str| {
        let mut ratios = ratios.remove(solver).unwrap_or_default();
        ratios.sort_by(f64::total_cmp);
        let fractions = (1..=ratios.len())
            .map(|passed| passed as f64 / f64::from(tests))
            .collect();
        Curve {
            solver: solver.to_owned(),
            ratios,
            fractions,
        }
    };
    solvers.iter().map(curve).collect()
}

#[cfg(test)]
mod tests {
    use super::{Curve, Measure, profiles};
    use crate::study::{Goal, Row};
    use crate::{Status, Work};

    fn row(problem: &str, solver: &str, error: f64, evaluations: u32) -> Row {
        Row {
            problem: problem.to_owned(),
            solver: solver.to_owned(),
            goal: Goal::Trajectory,
            tolerance: error,
            status: Status::HorizonReached,
            message: None,
            error,
            work: Work {
                evaluations,
                ..Work::default()
            },
            cpu: 0.0,
        }
    }

    #[test]
    fn a_profile_counts_the_tests_within_a_factor_of_the_best() {
        // On `p` both reach 1e-2, only `a` 1e-4; on `q` only `b` reaches 1e-2; nobody reaches more.
        let rows = [
            row("p", "a", 1e-3, 20),
            row("p", "a", 1e-5, 40),
            row("p", "b", 5e-3, 10),
            row("q", "a", f64::NAN, 5),
            row("q", "b", 9e-3, 30),
        ];
        let curve = |solver: &str, ratios: &[f64], fractions: &[f64]| Curve {
            solver: solver.into(),
            ratios: ratios.to_vec(),
            fractions: fractions.to_vec(),
        };
        let found = profiles(&rows, Goal::Trajectory, Measure::Evaluations);
        let third = 1.0 / 3.0;
        assert_eq!(
            found,
            [
                curve("a", &[1.0, 2.0], &[third, 2.0 / 3.0]),
                curve("b", &[1.0, 1.0], &[third, 2.0 / 3.0])
            ]
        );
        assert!(profiles(&rows, Goal::Minimizer, Measure::Units).is_empty());
    }
}
