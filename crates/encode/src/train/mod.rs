//! Training: min over theta of (1/M) sum_m l(y_m, D(z_m; theta)), by mini-batches.
//!
//! The codes z_m are those of the flow ([`Learning::Flow`]), or, for comparison, those of an encoder network or free ones:
//! the baselines share the data's order, the optimizer, the loss and the evaluation. The sum over a mini-batch is taken in its
//! order on one thread, so that trained weights have the same bits whatever the lanes and threads.

mod adjoint;
mod auto_decoder;
mod autoencoder;
mod evaluate;
mod flow;
mod frozen;
mod implicit;
mod learner;
mod linear;
mod mini_batch;
mod optimizer;
mod schedule;
pub(crate) mod shuffle;
mod sum;
mod tally;
mod trainer;

pub use crate::pass::Codes;
pub use adjoint::{AdjointError, adjoint, encode_recording};
pub use autoencoder::{encoder_codes, losses_at};
pub use evaluate::{Evaluated, Evaluation, evaluate};
pub use flow::{FlowLearning, FlowStart, Gradient, Outer};
pub use frozen::frozen;
pub use implicit::{Implicit, ImplicitError, implicit};
pub use learner::KeptCodes;
pub use linear::Linear;
pub use optimizer::{Optimizer, OptimizerState};
pub use schedule::{LearningRate, Schedule};
pub use shuffle::split;
pub use tally::Tally;
pub use trainer::{Best, Event, Position, Record, State, Trainer};

use crate::encoder::Samples;
use crate::encoding::Encoding;
use crate::held_out::HeldOut;
use auto_decoder::AutoDecoder;
use autoencoder::Autoencoder;
use flow::Flow;
use gfe_model::{DecodeError, Decoder};
use gfe_ode::FlowError;
use learner::Learner;

/// How a decoder is trained.
#[derive(Clone, Copy)]
pub struct Training<'a> {
    /// How samples are encoded, for validation too.
    pub encoding: Encoding<'a>,
    /// A decoder for the calling thread.
    pub decoder: &'a dyn Decoder,
    /// Where codes of training samples come from.
    pub learning: Learning<'a>,
    /// The most steps that a training sample takes at each visit, if not those of `encoding`.
    pub visit_steps: Option<u32>,
    /// The rule of the weights.
    pub optimizer: Optimizer,
    /// How its learning rate changes.
    pub learning_rate: LearningRate,
    /// The norm to which longer gradients are shortened.
    pub clip_norm: Option<f64>,
    /// Samples in a mini-batch.
    pub batch_size: usize,
    /// When it ends.
    pub length: Length,
    /// Of the order of the samples, and of initial weights.
    pub seed: u64,
    /// When the validation samples are encoded; also at the end.
    pub validate_every: Every,
    /// Validations in a row without a lower loss after which training ends; the best weights are then taken.
    pub patience: Option<u32>,
    /// Which values validations hold out in a further encoding.
    pub held_out: Option<HeldOut>,
}

/// Samples to validate with.
#[derive(Clone, Copy)]
pub struct Validation<'a> {
    /// They.
    pub samples: Samples<'a>,
    /// The row of each, by which values are held out.
    pub rows: &'a [usize],
}

/// Where the codes of training samples come from.
#[derive(Clone, Copy)]
pub enum Learning<'a> {
    /// The flow.
    Flow(FlowLearning),
    /// An encoder network from data to codes, itself of the kind of a decoder, trained with it.
    Autoencoder {
        /// The network, `[D]` to `[d]`.
        encoder: &'a dyn Decoder,
        /// Whether patience looks at the loss by its codes instead of those of the flow.
        judged_by_encoder: bool,
    },
    /// Free codes, trained with the decoder.
    AutoDecoder {
        /// The rule of the codes.
        optimizer: Optimizer,
    },
}

/// When training ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// After so many passes over the data.
    Epochs(u32),
    /// After so many samples.
    Samples(u64),
}

/// How often something happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// After so many epochs.
    Epochs(u32),
    /// After so many samples.
    Samples(u64),
}

/// What went wrong where training diverged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trouble {
    /// The gradient was NaN or infinite.
    Gradient,
    /// No sample of a mini-batch could be encoded, although the loss admits them, and others could before.
    Codes,
    /// The mean loss of an epoch rose far above the lowest so far.
    Loss {
        /// It.
        found: f64,
        /// The lowest.
        lowest: f64,
    },
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Gradient => write!(out, "the gradient is not finite"),
            Trouble::Codes => write!(out, "none of its samples can be encoded any more"),
            Trouble::Loss { found, lowest } => {
                write!(out, "the loss of the epoch is {found:.4e}, after {lowest:.4e} before")
            }
        }
    }
}

/// Why training stopped; the state is that of the last good step.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The decoder has no weights to train.
    #[error("this decoder gives no parameter gradients: it cannot be trained")]
    NotTrainable,
    /// It gave no initial weights.
    #[error("the decoder gives no initial weights: {0}")]
    Init(DecodeError),
    /// Settings that do not go together.
    #[error("{0}")]
    Pair(String),
    /// There is no implicit gradient.
    #[error(transparent)]
    Implicit(#[from] ImplicitError),
    /// There is no adjoint gradient.
    #[error(transparent)]
    Adjoint(#[from] AdjointError),
    /// The decoder broke down.
    #[error(transparent)]
    Flow(#[from] FlowError),
    /// It does not get better but worse.
    #[error(
        "epoch {epoch}, mini-batch {batch}: {trouble}; lower learning_rate, or set clip_norm{}",
        of(samples)
    )]
    Diverged {
        /// From 1.
        epoch: u32,
        /// From 1.
        batch: usize,
        /// What was seen.
        trouble: Trouble,
        /// The training samples of the mini-batch, where it is about one.
        samples: Vec<usize>,
    },
    /// No sample can be encoded.
    #[error("epoch {epoch}: none of its {samples} samples could be encoded; look at the data's range and the loss")]
    NothingUsable {
        /// From 1.
        epoch: u32,
        /// How many there were.
        samples: usize,
    },
    /// A state of another training.
    #[error("the state to go on from has the sizes {found}, and this training {expected}")]
    OtherState {
        /// Sizes of this training.
        expected: String,
        /// Sizes found.
        found: String,
    },
}

/// The samples of a mini-batch, in words.
fn of(samples: &[usize]) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let all: Vec<String> = samples.iter().map(usize::to_string).collect();
    format!(" (samples {})", all.join(", "))
}

impl<'a> Training<'a> {
    /// What finds the codes and gradients of mini-batches, in so many lanes.
    fn learner(&self, lanes: usize) -> Result<Box<dyn Learner + 'a>, TrainError> {
        let decoder = self.decoder;
        if decoder.trainable().is_none() {
            return Err(TrainError::NotTrainable);
        }
        let mut how = self.encoding;
        how.lanes = lanes;
        how.max_steps = self.visit_steps.unwrap_or(how.max_steps);
        let anchor = self.encoding.anchor();
        Ok(match self.learning {
            Learning::Flow(mut learning) => {
                // What a visit leaves unfinished has not failed, and is not to be done again in double precision.
                learning.mixed &= self.visit_steps.is_none();
                learning.check(&how)?;
                Box::new(Flow::new(how, learning, decoder))
            }
            Learning::Autoencoder { encoder, .. } => {
                if encoder.trainable().is_none() {
                    return Err(TrainError::NotTrainable);
                }
                Box::new(Autoencoder::new(how.loss, decoder, encoder))
            }
            Learning::AutoDecoder { optimizer } => Box::new(AutoDecoder::new(how.loss, decoder, (optimizer, anchor))),
        })
    }

    /// What a validation looks at, with the values `others` that are trained beside the weights.
    fn evaluated<'v>(&self, others: &'v [f64]) -> Evaluated<'v>
    where
        'a: 'v,
    {
        let with = Evaluated {
            decoder: self.decoder,
            z0: None,
            encoder: None,
            held_out: self.held_out,
            score: None,
        };
        match self.learning {
            Learning::Flow(learning) if learning.start == FlowStart::Learned => Evaluated {
                z0: Some(others),
                ..with
            },
            Learning::Autoencoder { encoder, .. } => Evaluated {
                encoder: Some((encoder, others)),
                ..with
            },
            _ => with,
        }
    }

    /// The loss that patience looks at.
    fn judged(&self, evaluation: &Evaluation) -> f64 {
        match (self.learning, evaluation.encoder) {
            (
                Learning::Autoencoder {
                    judged_by_encoder: true,
                    ..
                },
                Some(encoder),
            ) => encoder.loss(),
            _ => evaluation.codes.loss(),
        }
    }
}
