//! The decoder's products: forward, with the transposed Jacobian, with the Jacobian, in double and in single precision.
//!
//! `cargo bench --bench products`. An element is a column, which is one unit of work: 0.70 million multiplications and as
//! many additions.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput};
use faer::{Mat, MatRef};
use gfe_model::{At, Cols, ColsMut, DecodeError, Decoder, Reduced, Taped};
use support::{CpuTime, Reference, Units};

/// Columns of a product.
const WIDTHS: [usize; 4] = [16, 64, 256, 1024];
/// Directions of each lane in a product with the Jacobian, where the columns are enough: all, as for a Hessian.
const DIRECTIONS: usize = 20;

/// The products in either precision.
#[derive(Clone, Copy)]
enum Products<'a> {
    Double(&'a dyn Decoder),
    Single(&'a dyn Reduced),
}

impl Products<'_> {
    fn forward(self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>, scratch: &mut [f64]) -> Result<(), DecodeError> {
        match self {
            Products::Double(dense) => dense.forward(at, x, tape, scratch),
            Products::Single(reduced) => reduced.forward(at, x, tape),
        }
    }

    fn vjp(self, taped: Taped<'_>, x_bar: Cols<'_>, z_bar: ColsMut<'_>, s: &mut [f64]) -> Result<(), DecodeError> {
        match self {
            Products::Double(dense) => dense.vjp(taped, x_bar, z_bar, s),
            Products::Single(reduced) => reduced.vjp(taped, x_bar, z_bar),
        }
    }

    fn jvp(self, taped: Taped<'_>, z_dot: Cols<'_>, x_dot: ColsMut<'_>, s: &mut [f64]) -> Result<(), DecodeError> {
        match self {
            Products::Double(dense) => {
                let tangent = dense.tangent().expect("a dense decoder has tangents");
                tangent.jvp(taped, z_dot, x_dot, s)
            }
            Products::Single(reduced) => reduced.jvp(taped, z_dot, x_dot),
        }
    }
}

/// Numbers of the size of latents.
fn matrix(rows: usize, columns: usize) -> Mat<f64> {
    Mat::from_fn(rows, columns, |r, b| 0.01 * ((3 * r + 7 * b) % 41) as f64 - 0.2)
}

fn bench(criterion: &mut Criterion<CpuTime>, units: &mut Units, name: &str, products: Products<'_>, from: &Reference) {
    let mut group = criterion.benchmark_group(name);
    for columns in WIDTHS {
        let directions = DIRECTIONS.min(columns / 2);
        for (product, lanes) in [("forward", columns), ("vjp", columns), ("jvp", columns / directions)] {
            let z = matrix(20, lanes);
            let at = At {
                params: &from.params,
                version: 1,
                z: z.as_ref(),
                context: MatRef::from_column_major_slice(&[], 0, lanes),
            };
            let (x_bar, z_dot) = (matrix(784, lanes), matrix(20, lanes * directions));
            let (mut x, mut z_bar) = (Mat::zeros(784, lanes), Mat::zeros(20, lanes));
            let mut x_dot = Mat::zeros(784, z_dot.ncols());
            let mut tape = Mat::zeros(from.dense.tape_len(), lanes);
            let mut scratch = vec![0.0; from.dense.scratch_len(columns)];
            let done = products.forward(at, x.as_mut(), tape.as_mut(), &mut scratch);
            done.expect("a dense decoder never fails");
            let elements = if product == "jvp" { z_dot.ncols() } else { lanes };
            group.throughput(Throughput::Elements(elements as u64));
            let mut ran = None;
            group.bench_function(BenchmarkId::new(product, columns), |bencher| {
                ran = Some(1.0);
                bencher.iter(|| {
                    if product == "forward" {
                        return products.forward(at, x.as_mut(), tape.as_mut(), &mut scratch);
                    }
                    let taped = Taped {
                        at,
                        tape: tape.as_ref(),
                    };
                    match product {
                        "vjp" => products.vjp(taped, x_bar.as_ref(), z_bar.as_mut(), &mut scratch),
                        _ => products.jvp(taped, z_dot.as_ref(), x_dot.as_mut(), &mut scratch),
                    }
                });
            });
            units.note(&format!("{name}/{product}/{columns}"), ran);
        }
    }
    group.finish();
}

fn main() {
    let reference = Reference::read();
    support::run(|criterion, units| {
        let dense = &reference.dense;
        bench(criterion, units, "products f64", Products::Double(dense), &reference);
        let reduced = dense.reduced().expect("a dense decoder has single precision");
        bench(criterion, units, "products f32", Products::Single(reduced), &reference);
    });
}
