//! The decoder's products: forward, with the transposed Jacobian, with the Jacobian, in double and in single precision; and
//! plain matrix products of the same shapes by faer and by ndarray (matrixmultiply).
//!
//! `cargo bench --bench products`. An element is a column, which is one unit of work: 0.70 million multiplications and as
//! many additions. The `gemm` crate can be called by unsafe code alone, and is left out.

mod support;

use criterion::{BenchmarkId, Criterion, Throughput};
use faer::linalg::matmul::matmul;
use faer::traits::ComplexField;
use faer::{Accum, Mat, MatRef, Par};
use gfe_model::{At, Cols, ColsMut, DecodeError, Decoder, Reduced, Taped};
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, LinalgScalar, ShapeBuilder};
use support::{CpuTime, Reference, Units};

/// Columns of a product.
const WIDTHS: [usize; 5] = [16, 64, 256, 1024, 2560];
/// Sizes of the decoder's layers.
const LAYERS: [usize; 5] = [20, 150, 300, 600, 784];
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

/// A number type that both libraries multiply.
trait Number: ComplexField + LinalgScalar + Copy {
    const NAME: &str;
    fn of(value: f64) -> Self;
}

impl Number for f32 {
    const NAME: &str = "f32";
    fn of(value: f64) -> f32 {
        value as f32
    }
}

impl Number for f64 {
    const NAME: &str = "f64";
    fn of(value: f64) -> f64 {
        value
    }
}

/// The products of a forward pass, and nothing else.
fn plain<T: Number>(criterion: &mut Criterion<CpuTime>, units: &mut Units) {
    let mut group = criterion.benchmark_group(format!("plain {}", T::NAME));
    for columns in WIDTHS {
        let value = |r: usize, c: usize| T::of(0.01 * ((3 * r + 7 * c) % 41) as f64 - 0.2);
        let sizes = || LAYERS[1..].iter().zip(LAYERS);
        let pairs = || sizes().map(|(&outputs, inputs)| [(outputs, inputs), (inputs, columns), (outputs, columns)]);
        group.throughput(Throughput::Elements(columns as u64));
        let mut own: Vec<_> = pairs()
            .map(|shapes| shapes.map(|(r, c)| Mat::from_fn(r, c, value)))
            .collect();
        let mut ran = None;
        group.bench_function(BenchmarkId::new("faer", columns), |bencher| {
            ran = Some(1.0);
            bencher.iter(|| {
                for [w, h, to] in &mut own {
                    matmul(
                        to.as_mut(),
                        Accum::Replace,
                        w.as_ref(),
                        h.as_ref(),
                        T::of(1.0),
                        Par::Seq,
                    );
                }
            });
        });
        units.note(&format!("plain {}/faer/{columns}", T::NAME), ran);
        // Stored by columns, as faer's are.
        let theirs = |(r, c)| Array2::from_shape_fn((r, c).f(), |(r, c)| value(r, c));
        let mut theirs: Vec<_> = pairs().map(|shapes| shapes.map(theirs)).collect();
        let mut ran = None;
        group.bench_function(BenchmarkId::new("ndarray", columns), |bencher| {
            ran = Some(1.0);
            bencher.iter(|| {
                for [w, h, to] in &mut theirs {
                    general_mat_mul(T::of(1.0), w, h, T::of(0.0), to);
                }
            });
        });
        units.note(&format!("plain {}/ndarray/{columns}", T::NAME), ran);
    }
    group.finish();
}

fn main() {
    let reference = Reference::read();
    support::run(|criterion, units| {
        plain::<f32>(criterion, units);
        plain::<f64>(criterion, units);
        let dense = &reference.dense;
        bench(criterion, units, "products f64", Products::Double(dense), &reference);
        let reduced = dense.reduced().expect("a dense decoder has single precision");
        bench(criterion, units, "products f32", Products::Single(reduced), &reference);
    });
}
