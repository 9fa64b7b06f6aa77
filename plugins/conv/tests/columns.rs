//! A column's numbers do not depend on its neighbors, on their number, or on what scratch held before.

mod common;

use common::{SMALL, at, decoder, forward, numbers, taped, weights};
use conv::Conv;
use gfe_sdk::faer::Mat;
use gfe_sdk::{ColsMut, Decoder, Seeds};

/// Directions per lane.
const DIRECTIONS: usize = 3;

/// All products of so many lanes, one below the other in every lane's column.
fn products(conv: &Conv, params: &[f64], lanes: usize) -> Mat<f64> {
    let (shape, context) = (conv.shape(), Mat::zeros(0, lanes));
    let (latent, data) = (shape.latent, shape.data);
    let z = numbers(latent, lanes, 0);
    let (z_dot, x_bar, x_bar_dot) = (
        numbers(latent, lanes * DIRECTIONS, 1),
        numbers(data, lanes, 2),
        numbers(data, lanes, 3),
    );
    let at = at(params, &z, &context);
    let mut of = forward(conv, at, DIRECTIONS);
    let mut z_bar = Mat::zeros(latent, lanes);
    let point = taped(at, &of.tape);
    conv.vjp(point, x_bar.as_ref(), z_bar.as_mut(), &mut of.scratch)
        .expect("it does not fail");
    let mut x_dot = Mat::zeros(data, lanes * DIRECTIONS);
    of.scratch.fill(f64::NAN);
    let tangent = conv.tangent().expect("it has tangents");
    tangent
        .jvp(point, z_dot.as_ref(), x_dot.as_mut(), &mut of.scratch)
        .expect("it does not fail");
    let mut z_bar_dot = Mat::zeros(latent, lanes);
    of.scratch.fill(f64::NAN);
    let direction = Mat::from_fn(latent, lanes, |i, b| z_dot[(i, b * DIRECTIONS)]);
    let seeds = Seeds {
        z_dot: direction.as_ref(),
        x_bar: x_bar.as_ref(),
        x_bar_dot: x_bar_dot.as_ref(),
    };
    let second = conv.second_order().expect("it has second-order products");
    second
        .hvp(point, seeds, z_bar_dot.as_mut(), None, &mut of.scratch)
        .expect("it does not fail");
    let parts = [&of.x, &of.tape, &z_bar, &z_bar_dot];
    let rows: usize = parts.iter().map(|part| part.nrows()).sum();
    let mut all = Mat::zeros(rows + DIRECTIONS * data, lanes);
    let mut row = 0;
    for part in parts {
        all.submatrix_mut(row, 0, part.nrows(), lanes).copy_from(part);
        row += part.nrows();
    }
    for lane in 0..lanes {
        for direction in 0..DIRECTIONS {
            let mut to: ColsMut<'_> = all.submatrix_mut(row + direction * data, lane, data, 1);
            to.copy_from(x_dot.get(.., lane * DIRECTIONS + direction..lane * DIRECTIONS + direction + 1));
        }
    }
    all
}

#[test]
fn a_column_has_the_same_bits_at_widths_2_3_7_and_64() {
    let cifar = [
        ("cifar_transposed", include_str!("../cifar_transposed.json")),
        ("cifar_residual", include_str!("../cifar_residual.json")),
    ];
    for (name, config) in SMALL.into_iter().chain(cifar) {
        let conv = decoder(config);
        let params = weights(&conv, 9);
        let widest = products(&conv, &params, 64);
        for lanes in [2, 3, 7] {
            let some = products(&conv, &params, lanes);
            for lane in 0..lanes {
                for row in 0..some.nrows() {
                    let (a, b) = (some[(row, lane)], widest[(row, lane)]);
                    assert!(
                        a.to_bits() == b.to_bits(),
                        "{name}: row {row} of lane {lane} is {a:e} among {lanes}, {b:e} among 64"
                    );
                }
            }
        }
    }
}
