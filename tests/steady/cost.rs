//! Units of forward passes per sample.

use gfe_encode::Encoded;

use crate::{GTOL, MODELS, Model, Samples, digits, encode_model, units};

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
