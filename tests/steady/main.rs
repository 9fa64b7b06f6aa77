//! The steady-state solver on real and hard decoders: what it costs, where it stops, and that its counts are true.
//!
//! `cargo test --release --test steady -- --nocapture` prints the tables.

mod cases;
mod cost;
mod counting;
mod stops;

use faer::{Mat, MatRef};
use gfe_encode::{Block, Encoded, Encoding, Order, Ptc, Solver, Trace, encode_blocks};
use gfe_io::ModelFile;
use gfe_model::dense::{Dense, DenseConfig};
use gfe_model::{Decoder, LossKind};
use gfe_ode::{FlowError, Status, Work};
use std::path::{Path, PathBuf};

/// A decoder under its weights.
pub struct Model {
    /// The architecture.
    pub dense: Dense,
    /// The weights, flat.
    pub params: Vec<f64>,
}

/// The authors' own decoder, and two trained with gfe: see datasets/mnist.toml.
pub const MODELS: [&str; 3] = ["mnist_decoder", "mnist_t_end_1e4", "mnist_t_end_inf"];

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

impl Model {
    /// One of [`MODELS`].
    pub fn read(name: &str) -> Model {
        let file = ModelFile::read(&data(&format!("{name}.safetensors"))).expect("the model can be read");
        let config = serde_json::from_value(file.decoder.clone()).expect("it is a dense decoder");
        let dense = Dense::new(config).expect("its sizes are valid");
        let params = file
            .params_for(&dense.tensors())
            .expect("its tensors are those of its architecture");
        Model { dense, params }
    }

    /// A dense decoder with random weights.
    pub fn random(latent: usize, layers: &[usize], output: &str, seed: u64) -> Model {
        let config = serde_json::json!({"latent": latent, "layers": layers, "activation": "tanh", "output": output});
        let config: DenseConfig = serde_json::from_value(config).expect("it is a dense decoder");
        let dense = Dense::new(config).expect("its sizes are valid");
        let mut params = vec![0.0; dense.shape().params];
        dense
            .trainable()
            .expect("a dense decoder can be trained")
            .init(seed, &mut params)
            .expect("weights can be had");
        Model { dense, params }
    }

    /// D(z) of the columns of `z`.
    pub fn decode(&self, z: MatRef<'_, f64>) -> Mat<f64> {
        let (shape, width) = (self.dense.shape(), z.ncols());
        let mut x = Mat::zeros(shape.data, width);
        let mut tape = Mat::zeros(self.dense.tape_len(), width);
        let at = gfe_model::At {
            params: &self.params,
            version: 0,
            z,
            context: MatRef::from_column_major_slice(&[], 0, width),
        };
        let mut scratch = vec![0.0; self.dense.scratch_len(width)];
        self.dense
            .forward(at, x.as_mut(), tape.as_mut(), &mut scratch)
            .expect("a dense decoder never fails");
        x
    }
}

/// 200 digits of the MNIST test set, `[784, 200]`.
pub fn digits() -> Mat<f64> {
    let file = hdf5::File::open(data("mnist_test_200.h5")).expect("the digits can be read");
    let values = file
        .dataset("images")
        .and_then(|images| images.read_raw::<f64>())
        .expect("it holds images");
    MatRef::from_column_major_slice(&values, 784, 200).to_owned()
}

/// Settings of an encoding by ptc.
#[derive(Clone, Copy)]
pub struct Setting {
    /// tau, or infinity.
    pub t_end: f64,
    /// Bound on the estimated distance to the minimum; 0 for none.
    pub edm_tol: f64,
    /// Bound on the gradient norm.
    pub gtol: f64,
    /// The loss.
    pub loss: LossKind,
    /// Another solver than ptc.
    pub solver: Option<Solver>,
    /// The flow's order.
    pub order: Order,
}

/// To the gradient norm of the claims on cost.
pub const GTOL: Setting = Setting {
    t_end: f64::INFINITY,
    edm_tol: 0.0,
    gtol: 1e-5,
    loss: LossKind::Bce,
    solver: None,
    order: Order::Gradient,
};

/// What a user gets who says nothing.
pub const DEFAULT: Setting = Setting {
    t_end: 1e4,
    edm_tol: 1e-3,
    gtol: 1e-9,
    loss: LossKind::Bce,
    solver: None,
    order: Order::Gradient,
};

/// Data, with weights where there are any.
#[derive(Clone)]
pub struct Samples {
    /// `[D, samples]`.
    pub y: Mat<f64>,
    /// `[D, samples]`.
    pub w: Option<Mat<f64>>,
}

/// Encodes from z0 = 0, or from `start`; gives the work that all samples share too.
pub fn encode(
    open: &(dyn Fn() -> Box<dyn Decoder> + Sync),
    params: &[f64],
    samples: &Samples,
    start: Option<&Mat<f64>>,
    with: Setting,
) -> (Encoded, Work) {
    let latent = open().shape().latent;
    let zeros = vec![0.0; latent];
    let how = Encoding {
        order: with.order,
        common_z0: start.is_none().then_some(&zeros[..]),
        t_end: with.t_end,
        gtol: with.gtol,
        max_steps: 10_000,
        lanes: 64,
        threads: 2,
        trace: Trace::Steps,
        ..Encoding::new(
            open,
            with.loss.loss(),
            with.solver.unwrap_or(Solver::Ptc(Ptc {
                edm_tol: with.edm_tol,
                ..Ptc::default()
            })),
        )
    };
    let mut block = Some(Block {
        row: 0,
        y: samples.y.clone(),
        w: samples.w.clone(),
        context: None,
        z0: Mat::zeros(latent, samples.y.ncols()),
        start: start.cloned(),
    });
    let mut all = None;
    let shared = encode_blocks(
        &how,
        params,
        || Ok(block.take()),
        |_, encoded| {
            all = Some(encoded);
            Ok::<(), FlowError>(())
        },
    );
    (
        all.expect("there was a block"),
        shared.expect("the decoder never breaks down"),
    )
}

/// The same with a model.
pub fn encode_model(model: &Model, samples: &Samples, start: Option<&Mat<f64>>, with: Setting) -> (Encoded, Work) {
    let open = || -> Box<dyn Decoder> { Box::new(model.dense.clone()) };
    encode(&open, &model.params, samples, start, with)
}

/// Mean and largest units per sample, the shared work spread over all; every sample has to be converged.
pub fn units(what: &str, (encoded, shared): &(Encoded, Work)) -> (f64, u64) {
    let records = &encoded.records;
    for (sample, record) in records.iter().enumerate() {
        assert_eq!(record.status, Status::Converged, "{what}, sample {sample}: {record:?}");
    }
    let all: Vec<u64> = records.iter().map(|record| record.work.units()).collect();
    let mean = (all.iter().sum::<u64>() + shared.units()) as f64 / all.len() as f64;
    let most = all.iter().copied().max().unwrap_or(0);
    println!("| {what} | {mean:.1} | {most} | {} of {} |", all.len(), all.len());
    (mean, most)
}
