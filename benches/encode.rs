//! Encoding of digits from z0 = 0 by some of the methods, on one thread.
//!
//! `cargo bench --bench encode`. An element is a digit. `ptc steady mixed` is the plain steady state to |grad| <= 1e-5, which is
//! what `benches/peers` compares; `mixed` is single precision with every code confirmed in double, all else is in double.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput};
use faer::Mat;
use gfe_encode::{Amd, Encoding, ErrorControl, Precision, Ptc, Samples, Solver, encode};
use gfe_model::{Decoder, LossKind, Targets};
use gfe_ode::diffsol::Scheme;
use gfe_ode::{Curvature, Tolerance};
use support::{CpuTime, Reference, Units};

/// A method with its horizon and bound of the gradient norm, and how many digits it is given.
struct Case {
    name: &'static str,
    solver: Solver,
    t_end: f64,
    gtol: f64,
    digits: usize,
}

fn cases() -> [Case; 7] {
    let ptc = |edm_tol, precision| {
        Solver::Ptc(Ptc {
            edm_tol,
            precision,
            ..Ptc::default()
        })
    };
    let (mixed, double) = (Precision::Mixed, Precision::Double);
    let bdf = ErrorControl {
        scheme: Scheme::Bdf,
        tolerance: Tolerance::default(),
        curvature: Curvature::Exact,
    };
    let case = |name, solver, t_end, gtol, digits| Case {
        name,
        solver,
        t_end,
        gtol,
        digits,
    };
    [
        case("ptc mixed", ptc(1e-3, mixed), 1e4, 1e-9, 200),
        case("ptc f64", ptc(1e-3, double), 1e4, 1e-9, 200),
        case("ptc steady mixed", ptc(0.0, mixed), f64::INFINITY, 1e-5, 200),
        case("ptc steady f64", ptc(0.0, double), f64::INFINITY, 1e-5, 200),
        case("amd", Solver::Amd(Amd::default()), 1e4, 1e-9, 200),
        case("tsit5", Solver::Tsit5(Tolerance::default()), 1e4, 1e-9, 16),
        case("bdf", Solver::ErrorControl(bdf), 1e4, 1e-9, 4),
    ]
}

fn bench(criterion: &mut Criterion<CpuTime>, units: &mut Units, from: &Reference) {
    let mut group = criterion.benchmark_group("encode");
    group.sample_size(10);
    let zeros = Mat::zeros(20, 200);
    let open = || -> Box<dyn Decoder> { Box::new(from.dense.clone()) };
    for case in cases() {
        let samples = Samples {
            data: Targets {
                y: from.digits.as_ref().subcols(0, case.digits),
                w: None,
            },
            context: None,
            z0: zeros.as_ref().subcols(0, case.digits),
        };
        let how = Encoding {
            common_z0: Some(&[0.0; 20]),
            t_end: case.t_end,
            gtol: case.gtol,
            max_steps: 100_000,
            ..Encoding::new(&open, LossKind::Bce.loss(), case.solver)
        };
        group.throughput(Throughput::Elements(case.digits as u64));
        let mut last = None;
        group.bench_function(BenchmarkId::from_parameter(case.name), |bencher| {
            bencher.iter(|| last = Some(encode(&how, &from.params, samples).expect("the decoder never breaks down")));
        });
        let each = last.map(|encoded| {
            let units = encoded.records.iter().map(|record| record.work.units());
            units.sum::<u64>() as f64 / case.digits as f64
        });
        units.note(&format!("encode/{}", case.name), each);
    }
    group.finish();
}

fn main() {
    let reference = Reference::read();
    support::run(|criterion, units| bench(criterion, units, &reference));
}
