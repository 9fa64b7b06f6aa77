//! The integration loop allocates nothing: twice as many steps of twice as many samples ask for no more memory.

use faer::Mat;
use gfe_encode::{GradientFlow, Samples};
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{Decoder, LossKind, Output, Targets};
use gfe_ode::control::{Decrease, Fixed, Grid, Pi, StepController, Trust};
use gfe_ode::explicit::{EULER, RK4, RungeKutta, TSIT5};
use gfe_ode::implicit::{LinearEuler, MatrixFreeEuler};
use gfe_ode::{Method, ResultSink, Retired, StepRecord, Stepper, Tolerance, integrate};

const LATENT: usize = 3;
const LANES: usize = 8;

/// A method by its name, whether it calls the decoder to single precision, what takes its steps, and what judges them.
type Batched = (&'static str, bool, Box<dyn Stepper>, Box<dyn StepController>);

/// Counts attempts.
#[derive(Default)]
struct Attempts(u32);

impl ResultSink for Attempts {
    fn retired(&mut self, result: &Retired<'_>) {
        self.0 += result.work.steps + result.work.rejected;
    }
    fn stepped(&mut self, _step: &StepRecord, _z: &[f64]) {}
}

#[test]
fn no_step_allocates() {
    let config = DenseConfig {
        decoder: DenseKind::Dense,
        latent: LATENT,
        layers: vec![20, 30, 40],
        activation: Activation::Elu,
        output: Output::Logits,
    };
    let dense = Dense::new(config).expect("a valid configuration");
    let mut params = vec![0.0; dense.shape().params];
    let trainable = dense.trainable().expect("it has weights");
    trainable.init(7, &mut params).expect("weights can be had");
    let y = Mat::from_fn(40, 4 * LANES, |i, b| (0.3 * i as f64 + 1.7 * b as f64).sin().abs());
    let zeros = Mat::zeros(LATENT, y.ncols());
    let samples = Samples {
        data: Targets { y: y.as_ref(), w: None },
        context: None,
        z0: zeros.as_ref(),
    };
    let tolerance = Tolerance::default();
    let grid = Fixed {
        t_end: 10.0,
        steps: 40,
        grid: Grid::Uniform,
    };
    let explicit = |tableau| Box::new(RungeKutta::new(tableau, tolerance, LATENT, LANES));
    let ptc = || Box::new(LinearEuler::new(None, LATENT, LANES));
    let matrix_free = Box::new(MatrixFreeEuler::new(LATENT, LANES));
    let methods: [Batched; 7] = [
        ("euler", false, explicit(&EULER), Box::new(grid)),
        ("rk4", false, explicit(&RK4), Box::new(grid)),
        ("tsit5", false, explicit(&TSIT5), Box::new(Pi::new(tolerance))),
        ("amd", false, explicit(&EULER), Box::new(Decrease::default())),
        ("ptc", false, ptc(), Box::new(Trust::default())),
        ("ptc to single precision", true, ptc(), Box::new(Trust::default())),
        ("ptc without a matrix", false, matrix_free, Box::new(Trust::default())),
    ];
    for (name, reduced, mut stepper, controller) in methods {
        let decoder = Box::new(dense.clone());
        let loss = LossKind::Bce.loss();
        let mut flow = GradientFlow::new(decoder, &params, (loss, &samples), 1e-4, LANES).with_reduced(reduced);
        let mut spent = |count: usize, max_steps: u32| {
            let mut attempts = Attempts::default();
            let mut queue = 0..count;
            let method = Method {
                stepper: &mut *stepper,
                controller: &*controller,
                stop: &[],
                t_end: if name.starts_with("ptc") { f64::INFINITY } else { 10.0 },
                max_steps,
                lanes: LANES,
                at: &[],
            };
            let counted = allocation_counter::measure(|| {
                integrate(&mut flow, method, &mut queue, &mut attempts).expect("the decoder never breaks down");
            });
            (attempts.0, counted.count_total)
        };
        // What is made once is made here.
        spent(LANES, 12);
        let (few, some) = (spent(LANES, 6), spent(4 * LANES, 12));
        assert!(some.0 >= 4 * few.0 && few.0 >= 6, "{name}: {few:?} {some:?}");
        assert_eq!(few.1, some.1, "{name}: {few:?} {some:?}");
    }
}
