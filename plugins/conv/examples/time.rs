//! Milliseconds a sample of every product of both CIFAR-10 decoders, one thread, 16 lanes and 64 directions.

use conv::Conv;
use gfe_sdk::faer::Mat;
use gfe_sdk::{At, Decoder, Seeds, Taped};
use std::time::Instant;

const LANES: usize = 16;

fn main() {
    for (name, config) in [
        ("cifar_residual", include_str!("../cifar_residual.json")),
        ("cifar_transposed", include_str!("../cifar_transposed.json")),
    ] {
        let conv = Conv::new(config).expect("the configuration is right");
        let shape = conv.shape();
        let directions = shape.latent;
        let mut params = vec![0.0; shape.params];
        conv.trainable()
            .expect("it has weights")
            .init(1, &mut params)
            .expect("weights can be had");
        let numbers = |rows, columns| Mat::from_fn(rows, columns, |i, b| ((i * 37 + b * 101) % 23) as f64 / 11.0 - 1.0);
        let (z, z_dot) = (numbers(shape.latent, LANES), numbers(shape.latent, LANES * directions));
        let (x_bar, context) = (numbers(shape.data, LANES), Mat::zeros(0, LANES));
        let mut x = Mat::zeros(shape.data, LANES);
        let mut tape = Mat::zeros(conv.tape_len(), LANES);
        let mut scratch = vec![0.0; conv.scratch_len(LANES * directions)];
        println!(
            "{name}: P = {}, tape {} KiB a lane, scratch {} MiB",
            shape.params,
            conv.tape_len() / 128,
            scratch.len() >> 17
        );
        let at = At {
            params: &params,
            version: 0,
            z: z.as_ref(),
            context: context.as_ref(),
        };
        time("forward", LANES, || {
            conv.forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
        });
        let taped = Taped {
            at,
            tape: tape.as_ref(),
        };
        let mut z_bar = Mat::zeros(shape.latent, LANES);
        time("vjp", LANES, || {
            conv.vjp(taped, x_bar.as_ref(), z_bar.as_mut(), &mut scratch)
        });
        let mut params_bar = vec![0.0; shape.params];
        let trainable = conv.trainable().expect("it has weights");
        time("params_vjp", LANES, || {
            trainable.params_vjp(taped, x_bar.as_ref(), &mut params_bar, &mut scratch)
        });
        let seeds = Seeds {
            z_dot: z.as_ref(),
            x_bar: x_bar.as_ref(),
            x_bar_dot: x_bar.as_ref(),
        };
        let second = conv.second_order().expect("it has second-order products");
        time("hvp", LANES, || {
            second.hvp(taped, seeds, z_bar.as_mut(), None, &mut scratch)
        });
        let mut x_dot = Mat::zeros(shape.data, LANES * directions);
        let tangent = conv.tangent().expect("it has tangents");
        time("jvp, a direction", LANES * directions, || {
            tangent.jvp(taped, z_dot.as_ref(), x_dot.as_mut(), &mut scratch)
        });
    }
}

/// Prints the best of three calls.
fn time<E: std::fmt::Debug>(what: &str, columns: usize, mut call: impl FnMut() -> Result<(), E>) {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        call().expect("it does not fail");
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("  {what}: {:.3} ms", 1e3 * best / columns as f64);
}
