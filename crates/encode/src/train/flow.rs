//! The flow as learner: codes are integrated, from wherever each sample starts.

use super::adjoint::{self, adjoint};
use super::frozen::frozen;
use super::implicit::{self, implicit};
use super::learner::{KeptCodes, Learner, TRAINING_UNITS, Visit, broke_down, finite, init};
use super::mini_batch::MiniBatch;
use super::{Optimizer, OptimizerState, Tally, TrainError};
use crate::encoder::{Encoded, Samples, encode_from};
use crate::encoding::Encoding;
use crate::held_out::{HeldOut, seen_weights};
use crate::pass;
use crate::reduced::encode_reduced;
use faer::Mat;
use gfe_model::{Cols, DecodeError, Decoder};

/// How the gradient with respect to the weights is had.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Gradient {
    /// dl/dtheta at the code, which is taken as constant.
    #[default]
    Approximate,
    /// That of the outer objective at the minimum: see [`implicit`].
    Implicit,
    /// The total derivative through the integration: see [`adjoint`].
    Adjoint {
        /// Steps for each evaluation of the integrand of the weights.
        quadrature_stride: u32,
    },
}

/// What is minimized over the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outer {
    /// What the solver minimizes over the codes: l + |z - z0|^2 / (2 tau) for ptc, l for the others.
    #[default]
    Objective,
    /// l at the code.
    Loss,
}

/// Where the flow of a training sample starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowStart {
    /// At its z0.
    #[default]
    Z0,
    /// At its own last code, which takes the place of its z0: the flow continues where it stopped.
    Previous,
    /// At its own last code, with the horizon still tied to its z0.
    Warm,
    /// At one vector shared by all, which is trained too.
    Learned,
}

/// How the flow trains a decoder.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FlowLearning {
    /// The gradient.
    pub gradient: Gradient,
    /// What it is of.
    pub outer: Outer,
    /// Values that the encoder does not see, others at each visit, while the loss at the code is that of all of them.
    pub hidden: Option<HeldOut>,
    /// Where samples start.
    pub start: FlowStart,
    /// Whether ptc calls the decoder in single precision where that is enough, see [`crate::Precision::Single`]; the gradient at the
    /// code is that of double precision all the same. For the approximate gradient alone.
    pub mixed: bool,
}

impl FlowLearning {
    /// Fails where the gradient does not go with the solver, the decoder, the objective or the start.
    pub(super) fn check(&self, how: &Encoding<'_>) -> Result<(), TrainError> {
        let (to_minimum, anchored) = (how.solver.anchors(), how.anchor() > 0.0);
        let pair = |text: &str| Err(TrainError::Pair(text.into()));
        match self.gradient {
            Gradient::Approximate => {}
            Gradient::Implicit => implicit::check(how, &*(how.open)())?,
            Gradient::Adjoint { .. } => adjoint::check(how)?,
        }
        let whole = self.outer == Outer::Loss || self.hidden.is_some();
        match self.gradient {
            Gradient::Approximate if self.hidden.is_some() => pair(
                "with hidden values the loss of all values is minimized over the weights, and the approximate gradient is that of what the codes minimize: take gradient implicit",
            ),
            Gradient::Approximate if whole && anchored => pair(
                "outer = loss is not what ptc minimizes with a finite t_end, so that the approximate gradient is not its own: take gradient implicit, or outer objective",
            ),
            Gradient::Implicit if !whole => pair(
                "gradient implicit is for another objective than that of the codes, whose gradient is the approximate one: take outer loss, or gradient approximate",
            ),
            Gradient::Adjoint { .. } if self.hidden.is_some() => pair(
                "gradient adjoint is that of the loss that the flow lowers, so that no value can be hidden from it: take solver ptc and gradient implicit",
            ),
            _ if self.start == FlowStart::Learned && how.common_z0.is_none() => {
                pair("start learned begins at one z0 for all samples: take z0 zeros, or fill=C")
            }
            _ if self.start == FlowStart::Warm && !to_minimum => pair(
                "start warm begins at the last code with the horizon tied to z0, which is for ptc: take start previous",
            ),
            Gradient::Approximate if self.start == FlowStart::Learned && !anchored => pair(
                "a learned z0 has no approximate gradient but under ptc with a finite t_end: take gradient adjoint, or ptc with a finite t_end",
            ),
            Gradient::Implicit if self.start == FlowStart::Learned && !anchored => {
                pair("with t_end inf no code depends on z0, and a learned one has no gradient: take a finite t_end")
            }
            _ if self.start == FlowStart::Warm && self.gradient != Gradient::Approximate => {
                pair("start warm goes with gradient approximate: take another start")
            }
            _ => Ok(()),
        }
    }
}

/// The learner.
pub(super) struct Flow<'a> {
    how: Encoding<'a>,
    learning: FlowLearning,
    decoder: &'a dyn Decoder,
    latent: usize,
    /// Samples and codes of the last mini-batch, where codes are kept.
    found: Vec<(usize, Vec<f64>)>,
}

impl<'a> Flow<'a> {
    pub(super) fn new(how: Encoding<'a>, learning: FlowLearning, decoder: &'a dyn Decoder) -> Self {
        Flow {
            how,
            learning,
            latent: decoder.shape().latent,
            decoder,
            found: Vec::new(),
        }
    }

    /// Where the samples of a mini-batch belong and, if elsewhere, begin, `[d, samples]`.
    fn starts(&self, shared: &[f64], batch: &MiniBatch<'_>, codes: &KeptCodes) -> (Mat<f64>, Option<Mat<f64>>) {
        let latest = || {
            let mut z = batch.z0.clone();
            for (b, &id) in batch.ids.iter().enumerate() {
                let last = codes.z.col_as_slice(id);
                if last.iter().all(|z| z.is_finite()) {
                    z.col_as_slice_mut(b).copy_from_slice(last);
                }
            }
            z
        };
        match self.learning.start {
            FlowStart::Z0 => (batch.z0.clone(), None),
            FlowStart::Previous => (latest(), None),
            FlowStart::Warm => (batch.z0.clone(), Some(latest())),
            FlowStart::Learned => (Mat::from_fn(self.latent, batch.ids.len(), |r, _| shared[r]), None),
        }
    }

    /// Codes of the samples with z0 as given, and the sums over the usable of the gradients with respect to weights and z0.
    fn differentiate(
        &self,
        (how, params): (&Encoding<'_>, &[f64]),
        (batch, seen): (&MiniBatch<'_>, Samples<'_>),
        start: Option<Cols<'_>>,
        params_bar: &mut [f64],
    ) -> Result<Found, TrainError> {
        let mut z0_bar = Mat::zeros(self.latent, batch.ids.len());
        let (encoded, losses) = match self.learning.gradient {
            Gradient::Implicit => {
                let found = implicit(how, params, seen, batch.data(), params_bar, Some(z0_bar.as_mut()))?;
                (found.encoded, found.outer_loss)
            }
            Gradient::Adjoint { quadrature_stride } => {
                let to = Some(z0_bar.as_mut());
                let encoded = adjoint(how, params, seen, quadrature_stride, params_bar, to)?;
                let losses = encoded.records.iter().map(|record| record.loss).collect();
                (encoded, losses)
            }
            Gradient::Approximate => {
                let encoded = if self.learning.mixed {
                    encode_reduced(how, params, seen, start)?
                } else {
                    encode_from(how, params, seen, start)?
                };
                let losses: Vec<f64> = encoded.records.iter().map(|record| record.loss).collect();
                let usable = finite(losses.iter().copied());
                let at = pass::Codes {
                    z: encoded.z.as_ref(),
                    context: seen.context,
                    usable: &usable,
                };
                frozen(self.decoder, params, (how.loss, batch.data()), at, params_bar).map_err(broke_down)?;
                for &b in &usable {
                    for r in 0..self.latent {
                        z0_bar[(r, b)] = how.anchor() * (seen.z0[(r, b)] - encoded.z[(r, b)]);
                    }
                }
                (encoded, losses)
            }
        };
        Ok(Found {
            encoded,
            losses,
            z0_bar,
        })
    }
}

/// Codes and gradients of a mini-batch.
struct Found {
    encoded: Encoded,
    /// What counts of each, NaN where nothing does.
    losses: Vec<f64>,
    /// `[d, samples]`.
    z0_bar: Mat<f64>,
}

impl Learner for Flow<'_> {
    fn len(&self) -> usize {
        let shared = match self.learning.start {
            FlowStart::Learned => self.latent,
            _ => 0,
        };
        self.decoder.shape().params + shared
    }

    fn init(&self, seed: u64, samples: usize, values: &mut [f64]) -> Result<KeptCodes, DecodeError> {
        let kept = match self.learning.start {
            FlowStart::Previous | FlowStart::Warm => samples,
            FlowStart::Z0 | FlowStart::Learned => 0,
        };
        let (params, shared) = values.split_at_mut(self.decoder.shape().params);
        init(self.decoder, seed, params)?;
        if let Some(z0) = self.how.common_z0.filter(|_| !shared.is_empty()) {
            shared.copy_from_slice(z0);
        }
        Ok(KeptCodes {
            z: Mat::full(self.latent, kept, f64::NAN),
            optimizer: OptimizerState::new(Optimizer::RMSPROP, 0, 0),
        })
    }

    fn gradient(
        &mut self,
        values: &[f64],
        batch: &MiniBatch<'_>,
        visit: Visit,
        codes: &KeptCodes,
        values_bar: &mut [f64],
    ) -> Result<Tally, TrainError> {
        let (params, shared) = values.split_at(self.decoder.shape().params);
        let (params_bar, shared_bar) = values_bar.split_at_mut(params.len());
        let (z0, start) = self.starts(shared, batch, codes);
        let mut how = self.how;
        how.common_z0 = match self.learning.start {
            FlowStart::Z0 => how.common_z0,
            FlowStart::Learned => Some(shared),
            FlowStart::Previous | FlowStart::Warm => None,
        };
        let w = self.learning.hidden.map(|hidden| {
            // Others at each visit.
            let seed = hidden.seed.wrapping_add(u64::from(visit.epoch));
            seen_weights(batch.data(), batch.ids, HeldOut { seed, ..hidden })
        });
        let mut seen = Samples {
            z0: z0.as_ref(),
            ..batch.samples()
        };
        seen.data.w = w.as_ref().map(Mat::as_ref).or(seen.data.w);
        let start = start.as_ref().map(Mat::as_ref);
        let found = self.differentiate((&how, params), (batch, seen), start, params_bar)?;
        let usable = finite(found.losses.iter().copied());
        let mut tally = Tally::of(&found.encoded);
        tally.usable = usable.len();
        tally.sum = usable.iter().map(|&b| found.losses[b]).sum();
        if self.learning.gradient == Gradient::Approximate {
            tally.units += TRAINING_UNITS * usable.len() as u64;
            tally.evaluations += usable.len() as u64;
        }
        shared_bar.fill(0.0);
        self.found.clear();
        for &b in &usable {
            let z0_bar = found.z0_bar.col_as_slice(b);
            shared_bar.iter_mut().zip(z0_bar).for_each(|(sum, bar)| *sum += bar);
            if codes.z.ncols() > 0 {
                self.found
                    .push((batch.ids[b], found.encoded.z.col_as_slice(b).to_vec()));
            }
        }
        let mean = 1.0 / usable.len().max(1) as f64;
        values_bar.iter_mut().for_each(|g| *g *= mean);
        Ok(tally)
    }

    fn commit(&mut self, _rate: f64, codes: &mut KeptCodes) {
        for (id, z) in self.found.drain(..) {
            codes.z.col_as_slice_mut(id).copy_from_slice(&z);
        }
    }
}
