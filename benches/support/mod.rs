//! What the benchmarks share: the reference decoder, digits, CPU time as criterion's measurement, and the units of work.

#![allow(dead_code)] // every benchmark uses a part

use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use faer::Mat;
use gfe_io::ModelFile;
use gfe_model::Decoder;
use gfe_model::dense::Dense;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// CPU time of the process, all threads, user and system: what others do on the machine counts little.
pub struct CpuTime;

impl CpuTime {
    /// That of so far.
    pub fn now() -> Duration {
        let now = clock_gettime(ClockId::ProcessCPUTime);
        Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
    }
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        CpuTime::now()
    }
    fn end(&self, start: Duration) -> Duration {
        CpuTime::now() - start
    }
    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }
    fn zero(&self) -> Duration {
        Duration::ZERO
    }
    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// The decoder of the tests: 20-150-300-600-784, trained on MNIST.
pub struct Reference {
    /// Its architecture.
    pub dense: Dense,
    /// Its weights.
    pub params: Vec<f64>,
    /// The first 200 digits of the MNIST test set, `[784, 200]`.
    pub digits: Mat<f64>,
}

impl Reference {
    /// Reads it.
    pub fn read() -> Reference {
        let file = ModelFile::read(&data("mnist_decoder.safetensors")).expect("the model can be read");
        let config = serde_json::from_value(file.decoder.clone()).expect("it is a dense decoder");
        let dense = Dense::new(config).expect("its sizes are valid");
        let params = file.params_for(&dense.tensors()).expect("its tensors are its own");
        let images = hdf5::File::open(data("mnist_test_200.h5")).expect("the digits can be read");
        let images = images.dataset("images").and_then(|images| images.read_raw::<f64>());
        let images = images.expect("it holds images");
        Reference {
            dense,
            params,
            digits: Mat::from_fn(784, 200, |r, b| images[784 * b + r]),
        }
    }
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The units of work of each benchmark, printed and left for `benches/table.py` in `units.json` beside criterion's files.
pub struct Units(Map<String, Value>);

impl Units {
    fn path() -> PathBuf {
        let home = std::env::var_os("CRITERION_HOME").map(PathBuf::from);
        let target = std::env::var_os("CARGO_TARGET_DIR").map(|target| PathBuf::from(target).join("criterion"));
        let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/criterion");
        home.or(target).unwrap_or_else(own).join("units.json")
    }

    /// Those of earlier runs.
    pub fn read() -> Units {
        let text = std::fs::read_to_string(Units::path()).unwrap_or_default();
        Units(serde_json::from_str(&text).unwrap_or_default())
    }

    /// Notes and keeps that one element of the benchmark `id` takes so many units; nothing where it has not run.
    pub fn note(&mut self, id: &str, units: Option<f64>) {
        let Some(units) = units else { return };
        println!("{id:<40} units:  {units:.1} an element\n");
        self.0.insert(id.into(), units.into());
        let path = Units::path();
        let folder = path.parent().expect("it is a file in a folder");
        std::fs::create_dir_all(folder).expect("criterion's folder can be made");
        let text = Value::Object(self.0.clone()).to_string();
        std::fs::write(&path, text).expect("criterion's folder can be written to");
    }
}

/// Runs `with` under criterion with CPU time and the arguments of the command line.
pub fn run(with: impl FnOnce(&mut Criterion<CpuTime>, &mut Units)) {
    let mut criterion = Criterion::default().with_measurement(CpuTime).configure_from_args();
    let mut units = Units::read();
    with(&mut criterion, &mut units);
    criterion.final_summary();
}
