//! Work done is tested behaviour: what every method of the study costs on three problems, to the last evaluation.

use gfe_ode::problems;
use gfe_ode::study::methods;

/// status, steps, rejected, forced, evaluations, Jacobians, factorizations at a tolerance of 1e-6.
const EXPECTED: &str = "\
quadratic-1e2 ptc converged 6 0 0 7 2 12
quadratic-1e2 amd converged 52 2 0 55 0 0
quadratic-1e2 euler horizon_reached 100000 0 0 100001 0 0
quadratic-1e2 rk4 horizon_reached 316 0 0 1265 0 0
quadratic-1e2 tsit5 horizon_reached 57 1 0 350 0 0
quadratic-1e2 tsit45 horizon_reached 53 3 0 338 0 0
quadratic-1e2 tr_bdf2 horizon_reached 209 0 0 668 5 27
quadratic-1e2 esdirk34 horizon_reached 111 0 0 502 3 21
quadratic-1e2 bdf horizon_reached 131 0 0 267 3 20
rosenbrock ptc converged 32 11 0 44 11 75
rosenbrock amd converged 53 470 0 524 0 0
rosenbrock euler horizon_reached 100000 0 0 100001 0 0
rosenbrock rk4 not_finite 1 0 0 9 0 0
rosenbrock tsit5 horizon_reached 2447 2 0 14696 0 0
rosenbrock tsit45 horizon_reached 2395 89 0 14906 0 0
rosenbrock tr_bdf2 horizon_reached 296 5 0 2914 9 44
rosenbrock esdirk34 horizon_reached 199 8 0 2671 19 51
rosenbrock bdf horizon_reached 206 4 0 684 15 49
mlp ptc converged 9 2 0 12 3 20
mlp amd converged 232 876 0 1109 0 0
mlp euler horizon_reached 100000 0 0 100001 0 0
mlp rk4 horizon_reached 316 0 0 1265 0 0
mlp tsit5 horizon_reached 339 1 0 2042 0 0
mlp tsit45 horizon_reached 330 15 0 2072 0 0
mlp tr_bdf2 horizon_reached 214 0 0 1063 5 20
mlp esdirk34 horizon_reached 133 0 0 1037 3 14
mlp bdf horizon_reached 146 0 0 388 3 25
";

#[test]
fn every_method_costs_what_it_did() {
    let mut found = String::new();
    for name in ["quadratic-1e2", "rosenbrock", "mlp"] {
        let problem = problems::named(name).unwrap_or_else(|| panic!("there is no problem {name}"));
        for method in methods::all() {
            let solved = method.solve(&problem, 1e-6).expect("the flow never fails");
            let work = solved.work;
            let counts = [
                work.steps,
                work.rejected,
                work.forced,
                work.evaluations,
                work.jacobians,
                work.factorizations,
            ];
            let counts = counts.map(|count| count.to_string()).join(" ");
            found += &format!("{name} {} {} {counts}\n", method.name(), solved.status.name());
        }
    }
    assert_eq!(found, EXPECTED, "found:\n{found}");
}
