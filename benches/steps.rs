//! One step of each method, at 128 lanes.
//!
//! `cargo bench --bench steps`. An element is an attempted step of one sample: ten of each are taken from z0 = 0, with what
//! it takes to begin; diffsol's methods see one sample at a time. All are in double precision but `ptc f32`.

mod support;

use criterion::{BenchmarkGroup, BenchmarkId, Throughput};
use gfe_encode::{GradientFlow, Samples};
use gfe_model::{LossKind, Targets};
use gfe_ode::control::{Decrease, Fixed, Grid, Pi, StepController, Trust};
use gfe_ode::diffsol::{Integration, Scheme};
use gfe_ode::explicit::{EULER, RK4, RungeKutta, SemiImplicit, TSIT5};
use gfe_ode::implicit::{LinearEuler, MatrixFreeEuler};
use gfe_ode::{
    Curvature, Flow, Method, Momentum, ResultSink, Retired, StepRecord, Stepper, Tolerance, Work, diffsol, integrate,
};
use support::{CpuTime, Reference, Units};

/// Criterion's groups with CPU time.
type Group<'a> = BenchmarkGroup<'a, CpuTime>;

/// A method for all lanes by its name: what takes the steps, and what judges them.
type Batched = (&'static str, Box<dyn Stepper>, Box<dyn StepController>);

const LANES: usize = 128;
const LATENT: usize = 20;
const STEPS: u32 = 10;
const T_END: f64 = 1e4;

/// Adds up work.
#[derive(Default)]
struct Sum(Work);

impl ResultSink for Sum {
    fn retired(&mut self, result: &Retired<'_>) {
        self.0 += result.work;
    }
    fn stepped(&mut self, _step: &StepRecord, _z: &[f64]) {}
}

impl Sum {
    fn steps(&self) -> u64 {
        u64::from(self.0.steps) + u64::from(self.0.rejected)
    }
}

/// Times `take`, which attempts steps and gives their work.
fn bench(group: &mut Group<'_>, units: &mut Units, name: &str, mut take: impl FnMut() -> Sum) {
    let first = take();
    group.throughput(Throughput::Elements(first.steps()));
    let mut last = None;
    group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
        bencher.iter(|| last = Some(take()));
    });
    let each = last.map(|sum| sum.0.units() as f64 / sum.steps() as f64);
    units.note(&format!("steps/{name}"), each);
}

fn grid() -> Fixed {
    Fixed {
        t_end: f64::from(STEPS),
        steps: STEPS,
        grid: Grid::Uniform,
    }
}

fn main() {
    let reference = Reference::read();
    let zeros = faer::Mat::zeros(LATENT, LANES);
    let samples = Samples {
        data: Targets {
            y: reference.digits.as_ref().subcols(0, LANES),
            w: None,
        },
        context: None,
        z0: zeros.as_ref(),
    };
    let flow = |lanes| {
        let decoder = Box::new(reference.dense.clone());
        GradientFlow::new(
            decoder,
            &reference.params,
            (LossKind::Bce.loss(), &samples),
            1.0 / T_END,
            lanes,
        )
    };
    support::run(|criterion, units| {
        let mut group = criterion.benchmark_group("steps");
        batched(&mut group, units, &flow);
        one_by_one(&mut group, units, &flow);
        group.finish();
    });
}

/// The methods that step all lanes together.
fn batched<'a>(group: &mut Group<'_>, units: &mut Units, flow: &dyn Fn(usize) -> GradientFlow<'a>) {
    let tolerance = Tolerance::default();
    let explicit = |tableau| RungeKutta::new(tableau, tolerance, LATENT, LANES);
    let fresh = || LinearEuler::new(Some(1), LATENT, LANES);
    let own = || LinearEuler::new(None, LATENT, LANES);
    let steppers: [Batched; 9] = [
        ("euler", Box::new(explicit(&EULER)), Box::new(grid())),
        ("rk4", Box::new(explicit(&RK4)), Box::new(grid())),
        ("tsit5", Box::new(explicit(&TSIT5)), Box::new(Pi::new(tolerance))),
        ("amd", Box::new(explicit(&EULER)), Box::new(Decrease::default())),
        (
            "amd nesterov",
            Box::new(SemiImplicit::new(2 * LATENT)),
            Box::new(Decrease::default()),
        ),
        ("ptc", Box::new(own()), Box::new(Trust::default())),
        ("ptc f32", Box::new(own()), Box::new(Trust::default())),
        ("ptc fresh Hessians", Box::new(fresh()), Box::new(Trust::default())),
        (
            "ptc matrix-free",
            Box::new(MatrixFreeEuler::new(LATENT, LANES)),
            Box::new(Trust::default()),
        ),
    ];
    for (name, mut stepper, controller) in steppers {
        let mut flow: Box<dyn Flow + 'a> = match name {
            "amd nesterov" => Box::new(Momentum::new(flow(LANES), false, LANES)),
            _ => Box::new(flow(LANES).with_reduced(name == "ptc f32")),
        };
        let anchored = name.starts_with("ptc");
        bench(group, units, name, || {
            let method = Method {
                stepper: &mut *stepper,
                controller: &*controller,
                stop: &[],
                t_end: if anchored { f64::INFINITY } else { T_END },
                max_steps: STEPS,
                lanes: LANES,
                at: &[],
            };
            let mut sum = Sum::default();
            let mut queue = 0..LANES;
            integrate(&mut *flow, method, &mut queue, &mut sum).expect("the decoder never breaks down");
            sum
        });
    }
}

/// diffsol's methods.
fn one_by_one<'a>(group: &mut Group<'_>, units: &mut Units, flow: &dyn Fn(usize) -> GradientFlow<'a>) {
    for scheme in Scheme::ALL {
        let mut flow = flow(1);
        let how = Integration {
            scheme,
            tolerance: Tolerance::default(),
            curvature: Curvature::Exact,
            stop: &[],
            t_end: T_END,
            max_steps: STEPS,
            at: &[],
        };
        bench(group, units, scheme.name(), || {
            let mut sum = Sum::default();
            let mut queue = 0..4;
            diffsol::integrate(&mut flow, &how, &mut queue, &mut sum).expect("the decoder never breaks down");
            sum
        });
    }
}
