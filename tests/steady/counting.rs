//! A decoder that counts its own calls finds the totals that the records claim.

use crate::{DEFAULT, GTOL, Model, Samples, Setting, digits, encode};
use gfe_encode::{Amd, ErrorControl, Order, Ptc, Solver, Steps};
use gfe_model::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, SecondOrder, Seeds, Tangent, Taped, TensorSpec,
};
use gfe_ode::control::Grid;
use gfe_ode::diffsol::Scheme;
use gfe_ode::{Curvature, Tolerance, Work};
use std::sync::Mutex;

/// Columns seen, by all instances.
#[derive(Default)]
struct Counts {
    evaluations: u32,
    vjps: u32,
    jvps: u32,
    hvps: u32,
}

static COUNTS: Mutex<Counts> = Mutex::new(Counts {
    evaluations: 0,
    vjps: 0,
    jvps: 0,
    hvps: 0,
});

fn count(add: impl FnOnce(&mut Counts)) {
    add(&mut COUNTS.lock().expect("no test panics while it counts"));
}

/// How many columns are asked for: a single one goes in twice, since products of two columns have other bits than of one.
fn asked(columns: &[Cols<'_>]) -> u32 {
    let width = columns[0].ncols();
    let doubled = width == 2 && columns.iter().all(|of| of.col(0) == of.col(1));
    if doubled { 1 } else { width as u32 }
}

struct Counting {
    inner: Box<dyn Decoder>,
    /// Whether the last call was a forward pass of two equal columns: it belongs to two samples if their pullbacks differ.
    doubtful: Mutex<bool>,
}

impl Counting {
    fn doubt(&self, doubt: bool) -> bool {
        std::mem::replace(
            &mut *self.doubtful.lock().expect("no test panics while it counts"),
            doubt,
        )
    }
}

impl Decoder for Counting {
    fn shape(&self) -> DecoderShape {
        self.inner.shape()
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.inner.tensors()
    }

    fn tape_len(&self) -> usize {
        self.inner.tape_len()
    }

    fn scratch_len(&self, columns: usize) -> usize {
        self.inner.scratch_len(columns)
    }

    fn forward(&self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>, scratch: &mut [f64]) -> Result<(), DecodeError> {
        let found = asked(&[at.z]);
        count(|counts| counts.evaluations += found);
        self.doubt(at.z.ncols() == 2 && found == 1);
        self.inner.forward(at, x, tape, scratch)
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        z_bar: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let found = asked(&[taped.at.z, x_bar]);
        let doubted = self.doubt(false);
        count(|counts| {
            counts.vjps += found;
            counts.evaluations += u32::from(doubted && found == 2);
        });
        self.inner.vjp(taped, x_bar, z_bar, scratch)
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        Some(self)
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        Some(self)
    }
}

impl Tangent for Counting {
    fn jvp(
        &self,
        taped: Taped<'_>,
        z_dot: Cols<'_>,
        x_dot: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        self.doubt(false);
        let width = taped.at.z.ncols();
        let directions = (z_dot.ncols() / width) as u32;
        // All directions of a doubled column are the same twice over.
        let found = if directions == 1 {
            asked(&[taped.at.z, z_dot])
        } else {
            asked(&[taped.at.z, taped.tape])
        };
        count(|counts| counts.jvps += directions * found);
        let inner = self.inner.tangent().expect("a dense decoder has tangents");
        inner.jvp(taped, z_dot, x_dot, scratch)
    }
}

impl SecondOrder for Counting {
    fn hvp(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        z_bar_dot: ColsMut<'_>,
        params_bar_dot: Option<&mut [f64]>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        self.doubt(false);
        let found = asked(&[taped.at.z, seeds.x_bar, seeds.z_dot]);
        count(|counts| counts.hvps += found);
        let inner = self
            .inner
            .second_order()
            .expect("a dense decoder has second-order products");
        inner.hvp(taped, seeds, z_bar_dot, params_bar_dot, scratch)
    }
}

#[test]
fn the_decoder_is_called_as_often_as_the_records_say() {
    // Counts are shared: one decoder after the other.
    let long = Model::random(160, &[32, 784], "logits", 5);
    for (model, matrix_free) in [(Model::read("mnist_decoder"), false), (long, true)] {
        counts_agree(&model, matrix_free);
    }
}

fn counts_agree(model: &Model, matrix_free: bool) {
    let samples = Samples { y: digits(), w: None };
    let open = || -> Box<dyn Decoder> {
        Box::new(Counting {
            inner: Box::new(model.dense.clone()),
            doubtful: Mutex::new(false),
        })
    };
    let ptc = |ptc: Ptc| Some(Solver::Ptc(ptc));
    let exact = ptc(Ptc {
        exact: true,
        ..Ptc::default()
    });
    let by = |scheme| {
        Some(Solver::ErrorControl(ErrorControl {
            scheme,
            tolerance: Tolerance { rtol: 1e-4, atol: 1e-6 },
            curvature: Curvature::Exact,
        }))
    };
    let grid = Steps {
        steps: 40,
        grid: Grid::Uniform,
    };
    let short = Setting { t_end: 30.0, ..DEFAULT };
    let inertial = Setting {
        order: Order::Nesterov { restart: true },
        ..short
    };
    let following = [
        Some(Solver::Euler(grid)),
        Some(Solver::Rk4(grid)),
        by(Scheme::Tsit45),
        by(Scheme::TrBdf2),
        by(Scheme::Esdirk34),
        by(Scheme::Bdf),
    ];
    let of_short_latents = following
        .map(|solver| Setting { solver, ..short })
        .into_iter()
        .chain([Setting {
            solver: exact,
            ..DEFAULT
        }])
        .filter(|_| !matrix_free);
    let of_all = [
        GTOL,
        DEFAULT,
        Setting {
            solver: Some(Solver::Tsit5(Tolerance::default())),
            ..short
        },
        Setting {
            solver: Some(Solver::Amd(Amd::default())),
            ..inertial
        },
    ];
    for setting in of_all.into_iter().chain(of_short_latents) {
        let few = Samples {
            y: samples
                .y
                .as_ref()
                .subcols(0, if setting.t_end < 100.0 || matrix_free { 20 } else { 200 })
                .to_owned(),
            w: None,
        };
        *COUNTS.lock().expect("no test panics while it counts") = Counts::default();
        let (encoded, mut claimed) = encode(&open, &model.params, &few, None, setting);
        encoded.records.iter().for_each(|record| claimed += record.work);
        let counts = COUNTS.lock().expect("no test panics while it counts");
        let found = Work {
            evaluations: counts.evaluations,
            vjps: counts.vjps,
            jvps: counts.jvps,
            hvps: counts.hvps,
            ..claimed
        };
        assert_eq!(found, claimed);
        let least = (3 * few.y.ncols() as u32).max(if matrix_free { 0 } else { 200 });
        assert!(claimed.evaluations > least && claimed.vjps > least);
    }
}
