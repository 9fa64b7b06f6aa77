//! What the plugin interface costs: the dense decoder built in, and the same from the same source as a plugin.
//!
//! `cargo bench --bench plugin`. The two take turns, so that a noisy machine is as noisy for both; medians of CPU time and their ratio.

mod support;

use faer::{Mat, MatRef};
use gfe_encode::{Encoding, Ptc, Samples, Solver, encode};
use gfe_io::ModelFile;
use gfe_model::dense::Dense;
use gfe_model::{At, Decoder, LossKind, Taped, Targets};
use gfe_plugin::{DecoderPlugin, Library};
use std::path::{Path, PathBuf};
use support::CpuTime;

/// Turns.
const TURNS: usize = 15;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Times both in turn and prints the line of a table; gives the speed of the plugin as a part of the other.
fn compare(what: &str, work: &str, mut run: [&mut dyn FnMut(); 2]) -> f64 {
    let mut seconds = [Vec::new(), Vec::new()];
    run.iter_mut().for_each(|run| run());
    for _ in 0..TURNS {
        for (run, seconds) in run.iter_mut().zip(&mut seconds) {
            let start = CpuTime::now();
            run();
            seconds.push((CpuTime::now() - start).as_secs_f64());
        }
    }
    let [own, plugin] = seconds.map(median);
    println!(
        "| {what} | {work} | {:.3} ms | {:.3} ms | {:.1}% |",
        1e3 * own,
        1e3 * plugin,
        100.0 * own / plugin
    );
    own / plugin
}

fn main() {
    let file = ModelFile::read(&data("mnist_decoder.safetensors")).expect("the model can be read");
    let config = serde_json::from_value(file.decoder.clone()).expect("it is a dense decoder");
    let dense = Dense::new(config).expect("its sizes are valid");
    let params = file
        .params_for(&dense.tensors())
        .expect("its tensors are those of its architecture");
    let here = std::env::current_exe().expect("this program has a path");
    let library = here.with_file_name(format!("libdense{}", std::env::consts::DLL_SUFFIX));
    let library = Library::load(&library, None).expect("it is built beside this program");
    let plugin = DecoderPlugin::open(&library, None, &file.decoder.to_string()).expect("it has one decoder");

    let images = hdf5::File::open(data("mnist_test_200.h5")).expect("the digits can be read");
    let images = images.dataset("images").and_then(|images| images.read_raw::<f64>());
    let images = images.expect("it holds images");
    let y = MatRef::from_column_major_slice(&images, 784, 200);
    let zeros = Mat::zeros(20, 200);
    let samples = Samples {
        data: Targets { y, w: None },
        context: None,
        z0: zeros.as_ref(),
    };

    println!("| what | work | built in | plugin | speed of the plugin |\n| --- | --- | --- | --- | --- |");
    let own = || -> Box<dyn Decoder> { Box::new(dense.clone()) };
    let other = || plugin.decoder().expect("it was opened before");
    let encoding = |open: &(dyn Fn() -> Box<dyn Decoder> + Sync)| {
        let how = Encoding::new(open, LossKind::Bce.loss(), Solver::Ptc(Ptc::default()));
        encode(&how, &params, samples).expect("the decoder never breaks down")
    };
    let encoded = [encoding(&own), encoding(&other)];
    assert!(encoded[0].z == encoded[1].z, "the codes have the same bits");
    let evaluations: u32 = encoded[0].records.iter().map(|record| record.work.evaluations).sum();
    let speed = compare(
        "200 digits by ptc",
        &format!("{evaluations} evaluations"),
        [&mut || drop(encoding(&own)), &mut || drop(encoding(&other))],
    );
    for lanes in [2, 16, 64, 256] {
        let z = Mat::from_fn(20, lanes, |r, b| 0.01 * ((3 * r + 7 * b) % 41) as f64 - 0.2);
        let at = At {
            params: &params,
            version: 1,
            z: z.as_ref(),
            context: MatRef::from_column_major_slice(&[], 0, lanes),
        };
        let decoders = [own(), other()];
        let [mut one, mut two] = decoders.map(|decoder| {
            let mut x = Mat::zeros(784, lanes);
            let mut tape = Mat::zeros(decoder.tape_len(), lanes);
            let mut z_bar = Mat::zeros(20, lanes);
            let mut scratch = vec![0.0; decoder.scratch_len(lanes)];
            move || {
                for _ in 0..512 / lanes {
                    let done = decoder.forward(at, x.as_mut(), tape.as_mut(), &mut scratch);
                    done.expect("a dense decoder never fails");
                    let taped = Taped {
                        at,
                        tape: tape.as_ref(),
                    };
                    let done = decoder.vjp(taped, x.as_ref(), z_bar.as_mut(), &mut scratch);
                    done.expect("a dense decoder never fails");
                }
            }
        });
        let calls = 512 / lanes;
        compare(
            &format!("forward and vjp of {lanes} lanes"),
            &format!("{calls} calls each"),
            [&mut one, &mut two],
        );
    }
    assert!(speed >= 0.95, "the plugin is to encode at 95% of the speed at least");
}
