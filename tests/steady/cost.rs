//! Units of forward passes per sample.

use crate::{GTOL, MODELS, Model, Samples, digits, encode_model, units};

#[test]
fn a_digit_costs_what_is_claimed_with_each_of_three_decoders() {
    let samples = Samples { y: digits(), w: None };
    let mut sum = 0.0;
    for name in MODELS {
        let model = Model::read(name);
        let (mean, most) = units(name, &encode_model(&model, &samples, None, GTOL));
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
