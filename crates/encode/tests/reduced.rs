//! ptc in single precision: it stops by the same rule at the same codes, is not used for what it is too coarse for, and where it
//! is to be confirmed in double precision it is.

use faer::Mat;
use gfe_encode::{
    Block, Encoded, Encoding, Precision, Ptc, Samples, Solver, Trace, at_codes, encode, encode_blocks, encode_reduced,
};
use gfe_model::dense::{Activation, Dense, DenseConfig, DenseKind};
use gfe_model::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, LossKind, Output, Reduced, SecondOrder, Tangent, Taped,
    Targets,
};
use gfe_ode::{Curvature, FlowError, Status, Work};

const VALUES: usize = 100;
const SAMPLES: usize = 40;

fn dense() -> (Dense, Vec<f64>) {
    let config = DenseConfig {
        decoder: DenseKind::Dense,
        latent: 6,
        layers: vec![40, VALUES],
        activation: Activation::Elu,
        output: Output::Logits,
    };
    let dense = Dense::new(config).expect("a valid configuration");
    let mut params = vec![0.0; dense.shape().params];
    let trainable = dense.trainable().expect("it has weights");
    trainable.init(3, &mut params).expect("weights can be had");
    params.iter_mut().for_each(|p| *p *= 3.0);
    (dense, params)
}

fn codes(ptc: Ptc, lanes: usize, threads: usize) -> Encoded {
    with(|how, params, samples| {
        let solver = Solver::Ptc(ptc);
        let how = Encoding {
            solver,
            lanes,
            threads,
            ..*how
        };
        encode(&how, params, samples).expect("a dense decoder never breaks down")
    })
}

/// Calls `run` with ptc's defaults and the samples.
fn with<R>(run: impl FnOnce(&Encoding<'_>, &[f64], Samples<'_>) -> R) -> R {
    let (dense, params) = dense();
    let open = || -> Box<dyn Decoder> { Box::new(dense.clone()) };
    let how = Encoding {
        max_steps: 200,
        lanes: 16,
        ..Encoding::new(&open, LossKind::Bce.loss(), Solver::Ptc(Ptc::default()))
    };
    // Brighter and darker stripes, different for every sample.
    let y = Mat::from_fn(VALUES, SAMPLES, |i, b| {
        0.5 + 0.5 * (0.1 * (i * (b % 7 + 1)) as f64 + b as f64).sin()
    });
    let z0 = Mat::zeros(6, SAMPLES);
    let samples = Samples {
        data: Targets { y: y.as_ref(), w: None },
        context: None,
        z0: z0.as_ref(),
    };
    run(&how, &params, samples)
}

fn reduced() -> Ptc {
    Ptc {
        precision: Precision::Single,
        ..Ptc::default()
    }
}

#[test]
fn single_precision_stops_at_the_codes_of_double_precision() {
    let (single, double) = (codes(reduced(), 16, 1), codes(Ptc::default(), 16, 1));
    assert!(single.z != double.z);
    for (b, (single, double)) in single.records.iter().zip(&double.records).enumerate() {
        assert_eq!(single.status, Status::Converged, "sample {b}");
        // Both are within edm_tol / D = 1e-5 of the same minimum.
        assert!(
            (single.loss - double.loss).abs() < 1e-5,
            "sample {b}: {} {}",
            single.loss,
            double.loss
        );
        let (one, other) = (single.work.units() as f64, double.work.units() as f64);
        assert!(
            one <= 1.2 * other,
            "sample {b}: {one} units, {other} in double precision"
        );
    }
}

#[test]
fn a_code_in_single_precision_has_the_same_bits_whatever_its_neighbors_lanes_and_threads() {
    let first = codes(reduced(), 16, 1);
    for (lanes, threads) in [(3, 1), (64, 1), (7, 2)] {
        assert!(
            codes(reduced(), lanes, threads).z == first.z,
            "{lanes} lanes, {threads} threads"
        );
    }
}

#[test]
fn a_tight_tolerance_and_the_exact_hessian_take_double_precision() {
    for ptc in [
        Ptc {
            edm_tol: 0.0,
            ..Ptc::default()
        },
        Ptc {
            exact: true,
            ..Ptc::default()
        },
    ] {
        let asked = codes(
            Ptc {
                precision: Precision::Single,
                ..ptc
            },
            16,
            1,
        );
        assert!(asked.z == codes(ptc, 16, 1).z, "{ptc:?}");
    }
}

#[test]
fn what_fails_in_single_precision_is_encoded_again_in_double_precision() {
    with(|how, params, samples| {
        // Enough steps for some of them.
        let double = encode(how, params, samples).expect("it never breaks down");
        let mut steps: Vec<u32> = double.records.iter().map(|record| record.work.steps).collect();
        steps.sort_unstable();
        let how = Encoding {
            max_steps: steps[SAMPLES / 2],
            ..*how
        };
        let double = encode(&how, params, samples).expect("it never breaks down");
        let single = encode_reduced(&how, params, samples, None).expect("it never breaks down");
        let mixed = encode(&with_precision(&how, Precision::Mixed), params, samples).expect("it never breaks down");
        for found in [&single, &mixed] {
            let (mut again, mut kept) = (0, 0);
            for (b, (record, other)) in found.records.iter().zip(&double.records).enumerate() {
                if found.z.col(b) == double.z.col(b) {
                    again += 1;
                    assert_eq!(record.status, other.status, "sample {b}");
                    assert_eq!(record.loss.to_bits(), other.loss.to_bits(), "sample {b}");
                    let attempts = |work: Work| work.steps + work.rejected;
                    assert!(
                        attempts(record.work) >= attempts(other.work) + how.max_steps,
                        "sample {b}"
                    );
                } else {
                    kept += 1;
                    assert_eq!(record.status, Status::Converged, "sample {b}");
                    assert!(record.work.units() < 2 * other.work.units(), "sample {b}");
                }
            }
            assert!(again > 0 && kept > 0, "{again} again, {kept} kept");
        }
    });
}

#[test]
fn a_code_of_mixed_precision_meets_the_rule_in_double_precision_and_reports_what_is_there() {
    with(|how, params, samples| {
        for (edm_tol, gtol) in [(0.0, 1e-5), (0.0, 1e-6), (1e-3, 1e-9)] {
            let solver = |precision| {
                Solver::Ptc(Ptc {
                    edm_tol,
                    precision,
                    ..Ptc::default()
                })
            };
            let how = Encoding {
                gtol,
                solver: solver(Precision::Mixed),
                ..*how
            };
            let mixed = encode(&how, params, samples).expect("it never breaks down");
            let solver = solver(Precision::Double);
            let double = encode(&Encoding { solver, ..how }, params, samples).expect("it never breaks down");
            let there = at_codes(&how, params, samples, mixed.z.as_ref()).expect("it never breaks down");
            let mut differ = 0;
            for (b, (record, there)) in mixed.records.iter().zip(&there).enumerate() {
                assert_eq!(record.status, Status::Converged, "sample {b}");
                assert_eq!(record.loss.to_bits(), there.loss.to_bits(), "sample {b}");
                assert_eq!(record.grad_norm.to_bits(), there.grad_norm.to_bits(), "sample {b}");
                assert!(
                    edm_tol > 0.0 || there.grad_norm <= gtol,
                    "sample {b}: {}",
                    there.grad_norm
                );
                // Both are within edm_tol / D of the same minimum, or within gtol^2 times 1/(2 least curvature), 1e4 at most.
                let apart = (record.loss - double.records[b].loss).abs();
                assert!(apart < 1e-6 + edm_tol / VALUES as f64, "sample {b}: {apart:e}");
                differ += usize::from(mixed.z.col(b) != double.z.col(b));
            }
            assert!(differ > SAMPLES / 2, "gtol {gtol}: {differ} of {SAMPLES}");
        }
    });
}

#[test]
fn codes_of_mixed_precision_have_the_same_bits_whatever_the_lanes_threads_and_blocks() {
    with(|how, params, samples| {
        // Some have too few steps and are encoded again.
        let found = encode(how, params, samples).expect("it never breaks down");
        let mut steps: Vec<u32> = found.records.iter().map(|record| record.work.steps).collect();
        steps.sort_unstable();
        let how = Encoding {
            max_steps: steps[SAMPLES / 2],
            reconstruction: true,
            uncertainty: Some(Curvature::GaussNewton),
            ..with_precision(how, Precision::Mixed)
        };
        let first = encode(&how, params, samples).expect("it never breaks down");
        let failing = first.records.iter().filter(|record| !record.status.is_success());
        let failing = failing.count();
        assert!(failing > 0 && failing < SAMPLES, "{failing} of {SAMPLES}");
        for lanes in [3, 16, 64] {
            for threads in [1, 2] {
                for rows in [1, 7, SAMPLES] {
                    let how = Encoding { lanes, threads, ..how };
                    let context = format!("{lanes} lanes, {threads} threads, blocks of {rows}");
                    same_in_blocks((&how, params, samples), rows, &first, &context);
                }
            }
        }
    });
}

/// Asserts that blocks of so many rows give what one gave.
fn same_in_blocks(
    (how, params, samples): (&Encoding<'_>, &[f64], Samples<'_>),
    rows: usize,
    first: &Encoded,
    context: &str,
) {
    let (mut row, mut done) = (0, 0);
    let next = || -> Result<Option<Block>, FlowError> {
        let count = rows.min(SAMPLES - row);
        row += count;
        Ok((count > 0).then(|| Block {
            row: row - count,
            y: samples.data.y.subcols(row - count, count).to_owned(),
            w: None,
            context: None,
            z0: samples.z0.subcols(row - count, count).to_owned(),
            start: None,
        }))
    };
    let take = |_: &Block, encoded: Encoded| -> Result<(), FlowError> {
        for (b, record) in encoded.records.iter().enumerate() {
            let (of, errors) = (&first.records[done], encoded.uncertainty.as_ref());
            assert!(encoded.z.col(b) == first.z.col(done), "{context}: sample {done}");
            assert_eq!(record.work, of.work, "{context}: sample {done}");
            assert_eq!(record.edm.to_bits(), of.edm.to_bits(), "{context}: sample {done}");
            assert_eq!(record.loss.to_bits(), of.loss.to_bits(), "{context}: sample {done}");
            let x = encoded.reconstruction.as_ref().expect("it was asked for");
            let expected = first.reconstruction.as_ref().expect("it was asked for");
            assert!(x.col(b) == expected.col(done), "{context}: sample {done}");
            let dof = |of: &Encoded, b: usize| of.uncertainty.as_ref().map(|errors| errors.dof[b].to_bits());
            assert_eq!(errors.map(|errors| errors.dof[b].to_bits()), dof(first, done));
            done += 1;
        }
        Ok(())
    };
    encode_blocks(how, params, next, take).expect("it never breaks down");
    assert_eq!(done, SAMPLES, "{context}");
}

/// A dense decoder whose single precision is that of other values, or that has none.
#[derive(Clone)]
struct Other {
    dense: Dense,
    factor: Option<f64>,
}

impl Decoder for Other {
    fn shape(&self) -> DecoderShape {
        self.dense.shape()
    }

    fn output(&self) -> Output {
        Decoder::output(&self.dense)
    }

    fn tape_len(&self) -> usize {
        self.dense.tape_len()
    }

    fn scratch_len(&self, columns: usize) -> usize {
        self.dense.scratch_len(columns)
    }

    fn forward(&self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>, scratch: &mut [f64]) -> Result<(), DecodeError> {
        Decoder::forward(&self.dense, at, x, tape, scratch)
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        z_bar: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        Decoder::vjp(&self.dense, taped, x_bar, z_bar, scratch)
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        self.dense.tangent()
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        self.dense.second_order()
    }

    fn reduced(&self) -> Option<&dyn Reduced> {
        self.factor.is_some().then_some(self as &dyn Reduced)
    }
}

impl Other {
    fn single(&self) -> &dyn Reduced {
        self.dense.reduced().expect("a dense decoder has single precision")
    }
}

/// The values times the factor; products are those of the values as they are.
impl Reduced for Other {
    fn forward(&self, at: At<'_>, mut x: ColsMut<'_>, tape: ColsMut<'_>) -> Result<(), DecodeError> {
        self.single().forward(at, x.as_mut(), tape)?;
        let factor = self.factor.unwrap_or(1.0);
        for column in x.col_iter_mut() {
            column.iter_mut().for_each(|x| *x *= factor);
        }
        Ok(())
    }

    fn vjp(&self, taped: Taped<'_>, x_bar: Cols<'_>, z_bar: ColsMut<'_>) -> Result<(), DecodeError> {
        self.single().vjp(taped, x_bar, z_bar)
    }

    fn jvp(&self, taped: Taped<'_>, z_dot: Cols<'_>, x_dot: ColsMut<'_>) -> Result<(), DecodeError> {
        self.single().jvp(taped, z_dot, x_dot)
    }
}

#[test]
fn a_single_precision_that_is_wrong_is_found_out_and_its_codes_are_those_of_double_precision() {
    with(|how, params, samples| {
        let open = |factor| {
            move || -> Box<dyn Decoder> {
                Box::new(Other {
                    dense: dense().0,
                    factor,
                })
            }
        };
        let (none, lying) = (open(None), open(Some(1.02)));
        for (edm_tol, gtol, starts) in [(1e-3, 1e-9, 1), (0.0, 1e-5, 1), (1e-3, 1e-9, 3)] {
            let solver = |precision| {
                Solver::Ptc(Ptc {
                    edm_tol,
                    precision,
                    ..Ptc::default()
                })
            };
            let codes = |open: &(dyn Fn() -> Box<dyn Decoder> + Sync), precision| {
                let how = Encoding {
                    open,
                    gtol,
                    starts,
                    solver: solver(precision),
                    reconstruction: true,
                    uncertainty: Some(Curvature::GaussNewton),
                    ..*how
                };
                encode(&how, params, samples).expect("it never breaks down")
            };
            let double = codes(&none, Precision::Double);
            let without = codes(&none, Precision::Mixed);
            let found = codes(&lying, Precision::Mixed);
            for (b, record) in double.records.iter().enumerate() {
                let (without, found) = (&without.records[b], &found.records[b]);
                assert_eq!(without.work, record.work, "sample {b}");
                assert!(found.work.units() > record.work.units(), "sample {b}");
                for other in [without, found] {
                    assert_eq!(
                        (other.status, other.start, other.minima),
                        (record.status, record.start, record.minima)
                    );
                    assert_eq!(other.loss.to_bits(), record.loss.to_bits(), "sample {b}");
                    assert_eq!(other.grad_norm.to_bits(), record.grad_norm.to_bits(), "sample {b}");
                    assert_eq!(other.edm.to_bits(), record.edm.to_bits(), "sample {b}");
                }
            }
            for other in [&without, &found] {
                assert!(other.z == double.z, "edm_tol {edm_tol}, {starts} starts");
                assert!(other.reconstruction == double.reconstruction);
                assert_eq!(other.uncertainty, double.uncertainty);
            }
        }
    });
}

#[test]
fn with_traces_mixed_precision_is_double_precision() {
    with(|how, params, samples| {
        let how = Encoding {
            trace: Trace::Steps,
            ..*how
        };
        let double = encode(&how, params, samples).expect("it never breaks down");
        let mixed = encode(&with_precision(&how, Precision::Mixed), params, samples).expect("it never breaks down");
        assert!(mixed.z == double.z);
        for (mixed, double) in mixed.records.iter().zip(&double.records) {
            assert_eq!(mixed.trace, double.trace);
            assert_eq!(mixed.work, double.work);
        }
    });
}

fn with_precision<'a>(how: &Encoding<'a>, precision: Precision) -> Encoding<'a> {
    let solver = Solver::Ptc(Ptc {
        precision,
        ..Ptc::default()
    });
    Encoding { solver, ..*how }
}
