//! Encoding in blocks: order, bits, and an end whatever goes wrong.

use faer::Mat;
use gfe_encode::{Block, Encoded, Encoding, Ptc, Samples, Solver, encode, encode_blocks};
use gfe_model::{At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, LossKind, Tangent, Taped, Targets, TensorSpec};
use gfe_ode::{Curvature, FlowError, Status};
use std::cell::Cell;

/// What a decoder does where its first output would be beyond 50.
#[derive(Clone, Copy)]
enum Trap {
    None,
    Panic,
    Fatal,
}

/// x = sinh(z), value by value.
struct Sinh(Trap);

impl Decoder for Sinh {
    fn shape(&self) -> DecoderShape {
        DecoderShape {
            latent: 2,
            data: 2,
            params: 0,
            context: 0,
        }
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        Vec::new()
    }

    fn tape_len(&self) -> usize {
        2
    }

    fn scratch_len(&self, _columns: usize) -> usize {
        0
    }

    fn forward(
        &self,
        at: At<'_>,
        mut x: ColsMut<'_>,
        mut tape: ColsMut<'_>,
        _scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        for (r, b) in (0..at.z.ncols()).flat_map(|b| [(0, b), (1, b)]) {
            x[(r, b)] = at.z[(r, b)].sinh();
            tape[(r, b)] = at.z[(r, b)].cosh();
            match self.0 {
                Trap::Panic => assert!(x[(r, b)] < 50.0, "a decoder's own fault"),
                Trap::Fatal if x[(r, b)] >= 50.0 => return Err(DecodeError::Fatal("beyond 50".into())),
                _ => {}
            }
        }
        Ok(())
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        mut z_bar: ColsMut<'_>,
        _scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        for (r, b) in (0..x_bar.ncols()).flat_map(|b| [(0, b), (1, b)]) {
            z_bar[(r, b)] = taped.tape[(r, b)] * x_bar[(r, b)];
        }
        Ok(())
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        Some(self)
    }
}

impl Tangent for Sinh {
    fn jvp(
        &self,
        taped: Taped<'_>,
        z_dot: Cols<'_>,
        mut x_dot: ColsMut<'_>,
        _scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let per_lane = z_dot.ncols() / taped.tape.ncols();
        for (r, b) in (0..z_dot.ncols()).flat_map(|b| [(0, b), (1, b)]) {
            x_dot[(r, b)] = taped.tape[(r, b / per_lane)] * z_dot[(r, b)];
        }
        Ok(())
    }
}

fn encoding<'a>(open: &'a (dyn Fn() -> Box<dyn Decoder> + Sync)) -> Encoding<'a> {
    Encoding {
        t_end: f64::INFINITY,
        gtol: 1e-10,
        lanes: 5,
        threads: 2,
        reconstruction: true,
        ..Encoding::new(
            open,
            LossKind::Mse.loss(),
            Solver::Ptc(Ptc {
                edm_tol: 0.0,
                ..Ptc::default()
            }),
        )
    }
}

fn data(samples: usize) -> Mat<f64> {
    Mat::from_fn(2, samples, |r, b| 0.1 * b as f64 + r as f64)
}

fn blocks(y: &Mat<f64>, sizes: &[usize]) -> Vec<Block> {
    let mut first = 0;
    let cut = |&size: &usize| {
        first += size;
        Block {
            row: first - size,
            y: y.as_ref().subcols(first - size, size).to_owned(),
            w: None,
            context: None,
            z0: Mat::zeros(2, size),
            start: None,
        }
    };
    sizes.iter().map(cut).collect()
}

#[test]
fn blocks_of_any_size_come_back_in_order_with_the_bits_of_one_block() {
    let open = || -> Box<dyn Decoder> { Box::new(Sinh(Trap::None)) };
    let how = encoding(&open);
    let mut y = data(60);
    y[(0, 33)] = f64::NAN;
    let z0 = Mat::zeros(2, 60);
    let whole = Samples {
        data: Targets { y: y.as_ref(), w: None },
        context: None,
        z0: z0.as_ref(),
    };
    let whole = encode(&how, &[], whole).expect("the decoder works");
    let mut source = blocks(&y, &[1, 0, 20, 7, 5, 1, 1, 0, 25]).into_iter();
    let (mut z, mut records) = (Vec::new(), Vec::new());
    let done = |_: &Block, encoded: gfe_encode::Encoded| {
        z.extend(encoded.z.col_iter().flat_map(|z| z.iter().map(|z| z.to_bits())));
        records.extend(encoded.records);
        Ok::<(), FlowError>(())
    };
    encode_blocks(&how, &[], || Ok(source.next()), done).expect("the decoder works");
    let expected: Vec<u64> = whole.z.col_iter().flat_map(|z| z.iter().map(|z| z.to_bits())).collect();
    assert_eq!(z, expected);
    assert_eq!(format!("{records:?}"), format!("{:?}", whole.records));
    assert_eq!(records[33].status, Status::BadInput);
    for (b, record) in whole.records.iter().enumerate().filter(|(b, _)| *b != 33) {
        assert_eq!(record.status, Status::Converged);
        // The data can be met exactly.
        let x = whole.reconstruction.as_ref().expect("it was asked for").col_as_slice(b);
        assert!((x[0] - 0.1 * b as f64).abs() < 1e-8 && (x[1] - 0.1 * b as f64 - 1.0).abs() < 1e-8);
    }
}

/// More lanes than one product for all directions takes; and the same with everything in fewer.
#[test]
fn any_number_of_lanes_gives_the_same_bits() {
    let open = || -> Box<dyn Decoder> { Box::new(Sinh(Trap::None)) };
    let (y, z0) = (data(700), Mat::zeros(2, 700));
    let samples = Samples {
        data: Targets { y: y.as_ref(), w: None },
        context: None,
        z0: z0.as_ref(),
    };
    let [few, many] = [5, 700].map(|lanes| {
        let how = Encoding {
            lanes,
            threads: 1,
            uncertainty: Some(Curvature::GaussNewton),
            noise: None,
            loss: LossKind::Gaussian.loss(),
            ..encoding(&open)
        };
        encode(&how, &[], samples).expect("nothing fails")
    });
    assert!(few.records.iter().all(|record| record.status == Status::Converged));
    assert_eq!(few.z, many.z);
    let bits = |encoded: &Encoded| -> Vec<u64> { encoded.records.iter().map(|record| record.edm.to_bits()).collect() };
    assert_eq!(bits(&few), bits(&many));
}

/// However many samples a block has, those of another load of every lane are read ahead.
#[test]
fn enough_blocks_are_read_ahead_for_all_lanes_of_all_threads() {
    let open = || -> Box<dyn Decoder> { Box::new(Sinh(Trap::None)) };
    let how = Encoding {
        threads: 3,
        lanes: 10,
        ..encoding(&open)
    };
    let most = [1, 7, 15, 100].map(|rows| how.blocks_in_memory(rows));
    assert_eq!(most, [60, 9, 4, 4]);
    let y = data(200);
    let (mut blocks, read, mut delivered) = (blocks(&y, &[4; 50]).into_iter(), Cell::new(0), 0);
    let mut ahead = Vec::new();
    encode_blocks(
        &how,
        &[],
        || {
            let block = blocks.next();
            read.set(read.get() + usize::from(block.is_some()));
            Ok::<_, FlowError>(block)
        },
        |_, _| {
            ahead.push(read.get() - delivered);
            delivered += 1;
            Ok(())
        },
    )
    .expect("nothing fails");
    assert_eq!((ahead.len(), ahead[0], ahead.iter().max()), (50, 15, Some(&15)));
}

#[test]
fn an_error_of_the_reader_or_of_the_writer_ends_the_encoding_with_it() {
    let open = || -> Box<dyn Decoder> { Box::new(Sinh(Trap::None)) };
    let (how, y) = (encoding(&open), data(40));
    let failed = || FlowError("the disk is gone".into());
    let mut source = blocks(&y, &[10, 10]).into_iter().map(Some);
    let next = || source.next().ok_or_else(failed);
    let read = encode_blocks(&how, &[], next, |_, _| Ok(()));
    assert_eq!(read, Err(failed()));
    let mut source = blocks(&y, &[10, 10, 10, 10]).into_iter();
    let written = encode_blocks(&how, &[], || Ok(source.next()), |_, _| Err(failed()));
    assert_eq!(written, Err(failed()));
}

#[test]
fn a_decoder_that_breaks_down_or_panics_ends_the_encoding() {
    let y = Mat::from_fn(2, 40, |_, b| if b == 17 { 1e4 } else { 1.0 });
    let with = |trap: Trap| {
        let open = move || -> Box<dyn Decoder> { Box::new(Sinh(trap)) };
        let mut source = blocks(&y, &[10, 10, 10, 10]).into_iter();
        encode_blocks(
            &encoding(&open),
            &[],
            || Ok(source.next()),
            |_, _| Ok::<(), FlowError>(()),
        )
    };
    let fatal = with(Trap::Fatal).expect_err("a breakdown is an error");
    assert!(fatal.0.contains("beyond 50"), "{fatal}");
    assert!(std::panic::catch_unwind(|| with(Trap::Panic)).is_err());
}
