//! The implicit gradient: that of an outer objective at codes that minimize an inner one.
//!
//! The codes z*(theta) of ptc satisfy dl/dz + (z - z0)/tau = 0. Differentiated, this gives dz*/dtheta and dz*/dz0
//! without a trajectory, so any outer objective of the codes has its exact gradient for one d x d system per sample and
//! one second-order product for all. Hessians are made and systems solved on all threads, a sample on its own; the sum
//! over the samples is taken in their order on one, so that it has the same bits whatever the lanes and threads.

mod system;

use crate::GradientFlow;
use crate::batch::fresh_version;
use crate::encoder::{Encoded, Samples, encode};
use crate::encoding::Encoding;
use crate::pass::{Codes, Pass};
use crate::solver::Solver;
use faer::Mat;
use gfe_model::columns::column;
use gfe_model::{Cols, ColsMut, DecodeError, Decoder, Seeds, Targets};
use gfe_ode::implicit::DENSE;
use gfe_ode::{FlowError, Lanewise, Status};
use std::panic::resume_unwind;
use system::{Solved, solve};

/// Why there is no implicit gradient.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImplicitError {
    /// The codes are not those of ptc.
    #[error("the implicit gradient is that of codes at a minimum, which {solver} does not seek: take solver ptc")]
    NotPtc {
        /// The solver asked for.
        solver: &'static str,
    },
    /// The decoder has no weights to train.
    #[error("this decoder gives no parameter gradients: it cannot be trained")]
    NotTrainable,
    /// The decoder has no second-order products.
    #[error("the implicit gradient needs second-order products, which this decoder lacks: take the approximate one")]
    NoSecondOrder,
    /// The decoder has no Jacobian-vector products.
    #[error("the implicit gradient needs Jacobian-vector products, which this decoder lacks: take solver amd")]
    NoTangent,
    /// Its systems would be too large.
    #[error(
        "the implicit gradient takes at most {DENSE} latents, and this decoder has {latent}: take the approximate one"
    )]
    TooLong {
        /// d.
        latent: usize,
    },
    /// The decoder broke down.
    #[error(transparent)]
    Flow(#[from] FlowError),
}

/// What an implicit gradient was taken from.
#[derive(Debug)]
pub struct Implicit {
    /// The codes, and how they were found. The record of a sample that was encoded and yet left out of the sums has the
    /// status of what it was left out for, and says so; work is that of the gradient too.
    pub encoded: Encoded,
    /// The outer objective of each sample, l(outer, D(z*)); NaN for those left out of the sums.
    pub outer_loss: Vec<f64>,
}

impl Implicit {
    /// The number of samples in the sums.
    pub fn usable(&self) -> usize {
        self.outer_loss.iter().filter(|loss| loss.is_finite()).count()
    }
}

/// Encodes `samples` by ptc and gives the gradient of L_out = sum over usable samples of l(outer, D(z*; theta)).
///
/// With g_out = dL_out/dz at z* and (H + I/tau) lambda = g_out, H the exact Hessian of the inner loss, that of
/// `samples` under their own weights: `params_bar` `[P]` is set to dL_out/dtheta - lambda^T d2l/(dz dtheta), and column
/// b of `z0_bar` `[d, samples]` to lambda_b / tau, 0 at tau = infinity. `outer` `[D, samples]` has data and weights of
/// its own. A sample is left out where it cannot be encoded, where the loss does not admit its outer datum, or where
/// its numbers are not finite or its system is singular to rounding; its column of `z0_bar` is then 0. z* is the code
/// after a correction or two towards the minimum: what it then lacks to it the gradient is off by.
///
/// Fails where codes are not those of ptc, or the decoder lacks a product or breaks down; `params_bar` is then
/// undefined. The implicit function theorem: Griewank & Walther, Evaluating Derivatives, 2nd ed. (2008), chapter 15.
pub fn implicit(
    how: &Encoding<'_>,
    params: &[f64],
    samples: Samples<'_>,
    outer: Targets<'_>,
    params_bar: &mut [f64],
    z0_bar: Option<ColsMut<'_>>,
) -> Result<Implicit, ImplicitError> {
    let decoder = (how.open)();
    check(how, &*decoder)?;
    let mut encoded = encode(how, params, samples)?;
    let systems = Systems {
        how,
        params,
        version: fresh_version(),
        samples,
        outer,
    };
    let mut outer_loss = vec![f64::NAN; encoded.records.len()];
    let mut lambda = Mat::zeros(encoded.z.nrows(), encoded.records.len());
    let mut z = encoded.z.clone();
    let mut usable = Vec::with_capacity(encoded.records.len());
    for (b, solved) in systems.solve_all(&encoded)? {
        let record = &mut encoded.records[b];
        record.work += solved.work;
        match solved.outcome {
            Ok(()) => {
                outer_loss[b] = solved.outer_loss;
                lambda.col_as_slice_mut(b).copy_from_slice(&solved.lambda);
                z.col_as_slice_mut(b).copy_from_slice(&solved.z);
                usable.push(b);
            }
            Err((status, message)) => (record.status, record.message) = (status, Some(message)),
        }
    }
    if let Some(mut z0_bar) = z0_bar {
        for b in 0..lambda.ncols() {
            for r in 0..lambda.nrows() {
                z0_bar[(r, b)] = how.anchor() * lambda[(r, b)];
            }
        }
    }
    let codes = Codes {
        z: z.as_ref(),
        context: samples.context,
        usable: &usable,
    };
    systems
        .pull_back(&*decoder, codes, lambda.as_ref(), params_bar)
        .map_err(|error| FlowError(error.to_string()))?;
    for &b in &usable {
        let work = &mut encoded.records[b].work;
        (work.evaluations, work.jvps, work.hvps) = (work.evaluations + 1, work.jvps + 1, work.hvps + 1);
    }
    Ok(Implicit { encoded, outer_loss })
}

/// Whether there is an implicit gradient.
pub(super) fn check(how: &Encoding<'_>, decoder: &dyn Decoder) -> Result<(), ImplicitError> {
    let latent = decoder.shape().latent;
    let solver = match how.solver {
        Solver::Ptc(_) => None,
        Solver::Euler(_) => Some("euler"),
        Solver::Rk4(_) => Some("rk4"),
        Solver::Tsit5(_) => Some("tsit5"),
        Solver::Amd(_) => Some("amd"),
        Solver::ErrorControl(control) => Some(control.scheme.name()),
    };
    if let Some(solver) = solver {
        return Err(ImplicitError::NotPtc { solver });
    }
    decoder.trainable().ok_or(ImplicitError::NotTrainable)?;
    decoder.second_order().ok_or(ImplicitError::NoSecondOrder)?;
    decoder.tangent().ok_or(ImplicitError::NoTangent)?;
    if latent > DENSE {
        return Err(ImplicitError::TooLong { latent });
    }
    Ok(())
}

/// The samples' systems (H + I/tau) lambda = dL_out/dz.
struct Systems<'a> {
    how: &'a Encoding<'a>,
    params: &'a [f64],
    version: u64,
    samples: Samples<'a>,
    outer: Targets<'a>,
}

impl Systems<'_> {
    /// The systems of the encoded samples, in their order.
    fn solve_all(&self, encoded: &Encoded) -> Result<Vec<(usize, Solved)>, FlowError> {
        let (mut solved, mut ids) = (Vec::new(), Vec::new());
        for b in (0..encoded.records.len()).filter(|&b| encoded.records[b].loss.is_finite()) {
            let w = self.outer.w.map(|w| column(w, b));
            match self.how.loss.admits(column(self.outer.y, b), w) {
                Ok(()) => ids.push(b),
                Err(bad) => {
                    let message = format!("the outer objective: {bad}");
                    let z = encoded.z.col_as_slice(b);
                    solved.push((b, Solved::left_out(z, Status::BadInput, message)));
                }
            }
        }
        let part = ids.len().div_ceil(self.how.threads.max(1)).max(1);
        let parts: Vec<Result<Vec<Solved>, FlowError>> = std::thread::scope(|scope| {
            let z = encoded.z.as_ref();
            let workers: Vec<_> = ids
                .chunks(part)
                .map(|ids| scope.spawn(move || self.solve_some(z, ids)))
                .collect();
            let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
                worker.join().unwrap_or_else(|panic| resume_unwind(panic))
            };
            workers.into_iter().map(join).collect()
        });
        for (ids, part) in ids.chunks(part).zip(parts) {
            solved.extend(ids.iter().copied().zip(part?));
        }
        solved.sort_by_key(|(b, _)| *b);
        Ok(solved)
    }

    /// The systems of some samples, a few lanes at a time.
    fn solve_some(&self, z: Cols<'_>, ids: &[usize]) -> Result<Vec<Solved>, FlowError> {
        let (how, outer) = (
            self.how,
            Samples {
                data: self.outer,
                ..self.samples
            },
        );
        let lanes = how.lanes.max(1).min(ids.len());
        let flow = |data, anchor| {
            GradientFlow::new((how.open)(), self.params, (how.loss, data), anchor, lanes).with_version(self.version)
        };
        let (mut inner, mut target) = (flow(&self.samples, how.anchor()), flow(&outer, 0.0));
        let mut solved = Vec::with_capacity(ids.len());
        for ids in ids.chunks(lanes) {
            let z = Mat::from_fn(z.nrows(), ids.len(), |r, b| z[(r, ids[b])]);
            for (lane, &sample) in ids.iter().enumerate() {
                inner.admit(lane, sample, z.col_as_slice(lane));
                target.admit(lane, sample, z.col_as_slice(lane));
            }
            solved.extend(solve(&mut inner, &mut target, z)?);
        }
        Ok(solved)
    }

    /// params_bar = the sum over the codes that count of dL_out/dtheta - lambda^T d2l/(dz dtheta).
    ///
    /// One second-order product along z_dot = -lambda gives both, with x_bar = dl/dx and
    /// x_bar_dot = dL_out/dx - (d2l/dx2) J lambda.
    fn pull_back(
        &self,
        decoder: &dyn Decoder,
        codes: Codes<'_>,
        lambda: Cols<'_>,
        params_bar: &mut [f64],
    ) -> Result<(), DecodeError> {
        let lost = || DecodeError::Fatal("the decoder has lost an ability".into());
        let tangent = decoder.tangent().ok_or_else(lost)?;
        let second = decoder.second_order().ok_or_else(lost)?;
        params_bar.fill(0.0);
        if codes.usable.is_empty() {
            return Ok(());
        }
        let (loss, data) = (self.how.loss, self.samples.data);
        let pass = Pass::new(decoder, self.params, codes)?;
        let mut scratch = pass.scratch();
        let mut z_dot = -pass.gather(lambda);
        pass.clear_double(&mut z_dot);
        let (_, mut x_bar_dot) = pass.slopes(loss, self.outer);
        let (_, x_bar) = pass.slopes(loss, data);
        let mut x_dot = Mat::zeros(x_bar.nrows(), x_bar.ncols());
        tangent.jvp(pass.taped(), z_dot.as_ref(), x_dot.as_mut(), &mut scratch)?;
        let curvature = pass.curvature(loss, data);
        for b in 0..x_dot.ncols() {
            let images = curvature.col_as_slice(b).iter().zip(x_dot.col_as_slice(b));
            let to = x_bar_dot.col_as_slice_mut(b).iter_mut();
            to.zip(images).for_each(|(to, (c, x_dot))| *to += c * x_dot);
        }
        let seeds = Seeds {
            z_dot: z_dot.as_ref(),
            x_bar: x_bar.as_ref(),
            x_bar_dot: x_bar_dot.as_ref(),
        };
        let mut z_bar_dot = Mat::zeros(z_dot.nrows(), z_dot.ncols());
        second.hvp(pass.taped(), seeds, z_bar_dot.as_mut(), Some(params_bar), &mut scratch)
    }
}
