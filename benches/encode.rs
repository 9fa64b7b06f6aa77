//! Encoding of digits from z0 = 0 by some of the methods, on one thread.
//!
//! `cargo bench --bench encode`. An element is a digit. `ptc steady` is the plain steady state to |grad| <= 1e-5, which is what
//! `benches/peers` compares.

mod support;

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};
use faer::Mat;
use gfe_encode::{Amd, Block, Encoding, ErrorControl, Precision, Ptc, Samples, Solver, encode, encode_blocks};
use gfe_model::{Decoder, LossKind, Targets};
use gfe_ode::diffsol::Scheme;
use gfe_ode::{Curvature, FlowError, Tolerance};
use support::{CpuTime, Reference, Units};

/// Blocks of the 200 digits that are encoded as they are read.
const BLOCKS: usize = 20;

/// A method with its horizon and bound of the gradient norm, and how many digits it is given.
struct Case {
    name: &'static str,
    solver: Solver,
    t_end: f64,
    gtol: f64,
    digits: usize,
}

fn cases() -> [Case; 5] {
    let steady = Ptc {
        edm_tol: 0.0,
        ..Ptc::default()
    };
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
        case("ptc", Solver::Ptc(Ptc::default()), 1e4, 1e-9, 200),
        case("ptc steady", Solver::Ptc(steady), f64::INFINITY, 1e-5, 200),
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
    stream(&mut group, units, from, &open);
    group.finish();
}

/// What `gfe encode` does by default, in blocks from memory to nowhere: the rate that reading and writing files can only lower.
fn stream(
    group: &mut BenchmarkGroup<'_, CpuTime>,
    units: &mut Units,
    from: &Reference,
    open: &(dyn Fn() -> Box<dyn Decoder> + Sync),
) {
    let mixed = Ptc {
        precision: Precision::Mixed,
        ..Ptc::default()
    };
    let how = Encoding {
        common_z0: Some(&[0.0; 20]),
        ..Encoding::new(open, LossKind::Bce.loss(), Solver::Ptc(mixed))
    };
    let count = from.digits.ncols();
    group.throughput(Throughput::Elements((BLOCKS * count) as u64));
    let mut spent = 0;
    group.bench_function(BenchmarkId::from_parameter("stream"), |bencher| {
        bencher.iter(|| {
            spent = 0;
            let mut rows = (0..BLOCKS).map(|block| block * count);
            let next = || {
                Ok::<_, FlowError>(rows.next().map(|row| Block {
                    row,
                    y: from.digits.clone(),
                    w: None,
                    context: None,
                    z0: Mat::zeros(20, count),
                    start: None,
                }))
            };
            encode_blocks(&how, &from.params, next, |_, encoded| {
                let units = encoded.records.iter().map(|record| record.work.units());
                spent += units.sum::<u64>();
                Ok(())
            })
            .expect("the decoder never breaks down");
        });
    });
    units.note("encode/stream", Some(spent as f64 / (BLOCKS * count) as f64));
}

fn main() {
    let reference = Reference::read();
    support::run(|criterion, units| bench(criterion, units, &reference));
}
