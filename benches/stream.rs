//! What `gfe encode` does by default, in blocks from memory to nowhere: the rate that reading and writing files can only lower.
//!
//! `cargo bench --bench stream -- --digits 20000 --threads 2` prints CPU and wall-clock seconds and units as JSON.

mod support;

use faer::Mat;
use gfe_encode::{Block, Encoding, Precision, Ptc, Solver, encode_blocks};
use gfe_model::{Decoder, LossKind};
use gfe_ode::FlowError;
use std::time::Instant;
use support::{CpuTime, Reference};

/// The number that follows this flag.
fn asked(flag: &str, otherwise: usize) -> usize {
    let mut words = std::env::args().skip_while(|word| word != flag).skip(1);
    words.next().map_or(otherwise, |word| {
        word.parse().unwrap_or_else(|_| panic!("{flag} takes a number"))
    })
}

fn main() {
    let from = Reference::read();
    let (digits, threads) = (asked("--digits", 4000), asked("--threads", 1));
    let open = || -> Box<dyn Decoder> { Box::new(from.dense.clone()) };
    let mixed = Ptc {
        precision: Precision::Mixed,
        ..Ptc::default()
    };
    let how = Encoding {
        common_z0: Some(&[0.0; 20]),
        threads,
        ..Encoding::new(&open, LossKind::Bce.loss(), Solver::Ptc(mixed))
    };
    // The 200 digits over and over.
    let count = from.digits.ncols();
    let mut rows = (0..digits).step_by(count);
    let next = || {
        Ok::<_, FlowError>(rows.next().map(|row| {
            let columns = count.min(digits - row);
            Block {
                row,
                y: from.digits.subcols(0, columns).to_owned(),
                w: None,
                context: None,
                z0: Mat::zeros(20, columns),
                start: None,
            }
        }))
    };
    let mut units = 0;
    let (cpu, wall) = (CpuTime::now(), Instant::now());
    encode_blocks(&how, &from.params, next, |_, encoded| {
        units += encoded.records.iter().map(|record| record.work.units()).sum::<u64>();
        Ok(())
    })
    .expect("the decoder never breaks down");
    let (cpu, wall) = (CpuTime::now() - cpu, wall.elapsed());
    println!(
        "{}",
        serde_json::json!({"digits": digits, "threads": threads, "units_per_digit": units as f64 / digits as f64,
            "cpu": cpu.as_secs_f64(), "wall": wall.as_secs_f64()})
    );
}
