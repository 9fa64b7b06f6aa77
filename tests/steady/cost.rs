//! Units of forward passes per sample.

use crate::{GTOL, MODELS, Model, Samples, digits, encode_model, units};
use faer::Mat;
use gfe_encode::{Encoded, GradientFlow};
use gfe_model::{Decoder, LossKind, Targets};
use gfe_ode::control::Trust;
use gfe_ode::implicit::{LinearEuler, MatrixFreeEuler};
use gfe_ode::stop::GradNorm;
use gfe_ode::{
    Flow, Lanewise, Method, Next, Point, Queue, ResultSink, Retired, Status, StepRecord, Stepper, Values, Work,
    integrate,
};

/// No accepted step raises the loss by more than its rounding; where the change is within it, the gradient falls.
fn never_rises(encoded: &Encoded) {
    for (sample, record) in encoded.records.iter().enumerate() {
        let (mut loss, mut grad_norm) = (record.loss_initial, f64::INFINITY);
        for point in &record.trace {
            let rise = point.step.loss - loss;
            let rounding = 8.0 * f64::EPSILON * loss.abs();
            assert!(
                rise < -rounding || (rise <= rounding && (rise < 0.0 || point.step.grad_norm < grad_norm)),
                "sample {sample}: from {loss} to {}",
                point.step.loss
            );
            (loss, grad_norm) = (point.step.loss, point.step.grad_norm);
        }
        assert_eq!(record.trace.len(), record.work.steps as usize);
    }
}

#[test]
fn a_digit_costs_what_is_claimed_with_each_of_three_decoders() {
    let samples = Samples { y: digits(), w: None };
    let mut sum = 0.0;
    for name in MODELS {
        let model = Model::read(name);
        let encoded = encode_model(&model, &samples, None, GTOL);
        let (mean, most) = units(name, &encoded);
        never_rises(&encoded.0);
        assert!(
            mean <= 175.0 && most <= 400,
            "{name}: {mean} on average, {most} at most"
        );
        sum += mean;
    }
    let mean = sum / 3.0;
    println!("mean over the three: {mean:.1}");
    assert!(mean <= 120.0, "{mean}");
}

/// Samples 0, 1, ... from z0 = 0.
struct Zeros {
    next: usize,
    samples: usize,
}

impl Queue for Zeros {
    fn next(&mut self, z0: &mut [f64], _idle: bool) -> Next {
        z0.fill(0.0);
        self.next += 1;
        if self.next <= self.samples {
            Next::Sample(self.next - 1)
        } else {
            Next::Finished
        }
    }
}

/// The states of every sample, in order.
struct States {
    z: Vec<Vec<Vec<f64>>>,
    converged: usize,
}

impl ResultSink for States {
    fn retired(&mut self, result: &Retired<'_>) {
        self.converged += usize::from(result.status == Status::Converged);
    }

    fn stepped(&mut self, step: &StepRecord, z: &[f64]) {
        self.z[step.sample].push(z.to_vec());
    }
}

/// Objective and |grad| of sample 0, 1, ... at the columns of `z`, sample b in lane b.
fn places(flow: &mut GradientFlow<'_>, z: &Mat<f64>) -> Vec<(f64, f64)> {
    let (dim, count) = (z.nrows(), z.ncols());
    let (lanes, t): (Vec<usize>, Vec<f64>) = (0..count).map(|lane| (lane, 0.0)).unzip();
    for &lane in &lanes {
        flow.admit(lane, lane, &vec![0.0; dim]);
    }
    let (mut f, mut failed) = (Mat::zeros(dim, count), vec![false; count]);
    let [mut objective, mut loss, mut grad_sq] = [(); 3].map(|()| vec![0.0; count]);
    let at = Point {
        lanes: &lanes,
        t: &t,
        z: z.as_ref(),
    };
    let to = Values {
        f: f.as_mut(),
        objective: &mut objective,
        loss: &mut loss,
        grad_sq: &mut grad_sq,
        failed: &mut failed,
    };
    flow.eval(at, to, &mut vec![Work::default(); count])
        .expect("a dense decoder never breaks down");
    objective.into_iter().zip(grad_sq.into_iter().map(f64::sqrt)).collect()
}

#[test]
fn with_a_horizon_no_step_raises_what_is_minimized_and_within_rounding_the_gradient_falls() {
    let long = Model::random(160, &[32, 784], "logits", 5);
    let digits = digits();
    for (model, exact) in [
        (Model::read("mnist_decoder"), false),
        (Model::read("mnist_decoder"), true),
        (long, false),
    ] {
        let (dim, samples) = (model.dense.shape().latent, 20);
        let data = Targets {
            y: digits.as_ref().subcols(0, samples),
            w: None,
        };
        let loss = LossKind::Bce.loss();
        let open = || {
            GradientFlow::new(
                Box::new(model.dense.clone()),
                &model.params,
                (loss, &data),
                1e-4,
                samples,
            )
        };
        let mut stepper: Box<dyn Stepper> = if dim > 128 {
            Box::new(MatrixFreeEuler::new(dim, samples))
        } else {
            Box::new(LinearEuler::new(None, dim, samples).with_exact(exact))
        };
        let method = Method {
            stepper: &mut *stepper,
            controller: &Trust::default(),
            stop: &[&GradNorm { gtol: 1e-9 }],
            t_end: f64::INFINITY,
            max_steps: 1000,
            lanes: samples,
            at: &[],
        };
        let mut states = States {
            z: vec![vec![vec![0.0; dim]]; samples],
            converged: 0,
        };
        integrate(&mut open(), method, &mut Zeros { next: 0, samples }, &mut states)
            .expect("the decoder never breaks down");
        assert_eq!(states.converged, samples);
        let most = states.z.iter().map(Vec::len).max().unwrap_or(0);
        let at = |step: usize| Mat::from_fn(dim, samples, |r, b| states.z[b][step.min(states.z[b].len() - 1)][r]);
        let mut before = places(&mut open(), &at(0));
        for step in 1..most {
            let now = places(&mut open(), &at(step));
            for b in (0..samples).filter(|&b| step < states.z[b].len()) {
                let ((old, old_norm), (new, new_norm)) = (before[b], now[b]);
                let within = (old - new).abs() <= 8.0 * f64::EPSILON * old;
                assert!(
                    if within { new_norm < old_norm } else { new < old },
                    "{dim} latents, exact {exact}, sample {b}, step {step}: from {old} ({old_norm}) to {new} ({new_norm})"
                );
            }
            before = now;
        }
        println!("{dim} latents, exact {exact}: {} steps at most", most - 1);
    }
}
