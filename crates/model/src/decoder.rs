//! The decoder x = D(z; theta) as a trait, with its optional abilities as further traits.
//!
//! The weights are the host's: an instance holds only its architecture and every call receives `params`. So an instance
//! can be shared, a checkpoint is one vector, and finite differences are free. What a product needs from the forward
//! pass lies in a *tape*, one column per lane, which belongs to the host too: a lane that moves takes its column along.
//! Scratch memory is asked for before and handed in, so that no call has to allocate.

use crate::{Cols, ColsMut, Latent, LossKind, Targets};
use serde::{Deserialize, Serialize};

/// Sizes of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecoderShape {
    /// d, the length of a latent.
    pub latent: usize,
    /// D, the number of values of a sample.
    pub data: usize,
    /// P, the number of weights.
    pub params: usize,
    /// c, the number of known inputs of a sample; may be 0.
    pub context: usize,
}

/// What a decoded value means; the computation is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Output {
    /// Logits of numbers in `[0, 1]`.
    Logits,
    /// Logarithms of rates.
    LogRates,
    /// The values themselves.
    Values,
}

impl Output {
    /// The loss for such values where nobody chose one.
    pub fn loss(self) -> LossKind {
        match self {
            Output::Logits => LossKind::Bce,
            Output::LogRates => LossKind::Poisson,
            Output::Values => LossKind::Mse,
        }
    }
}

/// One tensor of the flat `params`: they follow one another in this order, each in C order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name as in PyTorch's `state_dict`, e.g. `decoder.0.weight`.
    pub name: String,
    /// Shape, `[out, in]` for a matrix.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where a decoder is evaluated: weights, latents `[d, lanes]` and context `[c, lanes]`.
#[derive(Clone, Copy)]
pub struct At<'a> {
    /// Weights, `[P]`.
    pub params: &'a [f64],
    /// Changes whenever `params` do, so that a decoder may keep a repacked copy; 0 where nothing is to be kept.
    pub version: u64,
    /// Latents, `[d, lanes]`.
    pub z: Cols<'a>,
    /// Known inputs of each sample, `[c, lanes]`; c may be 0.
    pub context: Cols<'a>,
}

/// A point and the tape that [`Decoder::forward`] wrote there: `tape` is `[tape_len, lanes]`.
#[derive(Clone, Copy)]
pub struct Taped<'a> {
    /// The point.
    pub at: At<'a>,
    /// Written by `forward` at the same point; column b belongs to lane b.
    pub tape: Cols<'a>,
}

/// Why a decoder call gave no result. It speaks of the whole call; a single lane fails by NaN in its column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No value here; a smaller step may find one.
    #[error("the decoder is not defined here: {0}")]
    Discard(String),
    /// The call failed; other calls may succeed.
    #[error("the decoder failed: {0}")]
    Failed(String),
    /// The decoder must not be called again.
    #[error("the decoder broke down: {0}")]
    Fatal(String),
}

/// x = D(z; theta), column by column.
///
/// Column b of every output depends on column b of the inputs alone, and its bits do not depend on the number of
/// columns as long as there are at least two. `scratch` holds at least [`Decoder::scratch_len`] values of any content.
/// After an error the outputs are undefined.
pub trait Decoder: Send {
    /// Sizes; constant for an instance.
    fn shape(&self) -> DecoderShape;
    /// Names and shapes of the tensors in `params`, in order; their lengths add up to `shape().params`.
    fn tensors(&self) -> Vec<TensorSpec> {
        Vec::new()
    }
    /// What a decoded value means.
    fn output(&self) -> Output {
        Output::Values
    }
    /// What each latent is, d of them; none where they are plain numbers. The functions here take and give physical values:
    /// [`Unbounded`](crate::Unbounded) maps them.
    fn latents(&self) -> &[Latent] {
        &[]
    }
    /// Rows of the tape.
    fn tape_len(&self) -> usize {
        0
    }
    /// Scratch values that any product needs for `columns` columns of the widest matrix it is given or writes.
    fn scratch_len(&self, _columns: usize) -> usize {
        0
    }
    /// x = D(z). Writes `x` `[D, lanes]` and `tape` `[tape_len, lanes]`.
    fn forward(&self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>, scratch: &mut [f64]) -> Result<(), DecodeError>;
    /// z_bar = J^T x_bar, with J = dD/dz. `x_bar` `[D, lanes]`, writes `z_bar` `[d, lanes]`.
    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        z_bar: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError>;
    /// J z_dot, where the decoder has it.
    fn tangent(&self) -> Option<&dyn Tangent> {
        None
    }
    /// Parameter gradients and initial weights, where the decoder has weights to train.
    fn trainable(&self) -> Option<&dyn Trainable> {
        None
    }
    /// The decoder to single precision, where that is quicker.
    fn reduced(&self) -> Option<&dyn Reduced> {
        None
    }
    /// Second-order products, where the decoder has them.
    fn second_order(&self) -> Option<&dyn SecondOrder> {
        None
    }
    /// Guesses at codes, where the decoder makes them.
    fn guess(&self) -> Option<&dyn Guess> {
        None
    }
}

/// Jacobian-vector products.
pub trait Tangent {
    /// x_dot = J z_dot for k directions per lane.
    ///
    /// `z_dot` `[d, k lanes]`, writes `x_dot` `[D, k lanes]`; column b k + j is direction j of lane b.
    fn jvp(
        &self,
        taped: Taped<'_>,
        z_dot: Cols<'_>,
        x_dot: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError>;
}

/// The decoder to single precision, for those to whom that is enough and speed matters: relative errors of some 1e-6.
///
/// The functions are those of [`Decoder`] and [`Tangent`] by the same names, with scratch memory of their own. They read
/// tapes written here or by [`Decoder::forward`]; one written here is read by nobody else.
pub trait Reduced {
    /// x = D(z).
    fn forward(&self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>) -> Result<(), DecodeError>;
    /// z_bar = J^T x_bar.
    fn vjp(&self, taped: Taped<'_>, x_bar: Cols<'_>, z_bar: ColsMut<'_>) -> Result<(), DecodeError>;
    /// x_dot = J z_dot for k directions per lane.
    fn jvp(&self, taped: Taped<'_>, z_dot: Cols<'_>, x_dot: ColsMut<'_>) -> Result<(), DecodeError>;
}

/// What training needs.
pub trait Trainable {
    /// Fills `params` `[P]` with initial weights, the same for the same seed.
    fn init(&self, seed: u64, params: &mut [f64]) -> Result<(), DecodeError>;
    /// params_bar += sum over lanes of (dD/dtheta)^T x_bar. `params_bar` `[P]`.
    fn params_vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        params_bar: &mut [f64],
        scratch: &mut [f64],
    ) -> Result<(), DecodeError>;
}

/// Inputs of a second-order product; every member has a column per lane.
#[derive(Clone, Copy)]
pub struct Seeds<'a> {
    /// Direction in z, `[d, lanes]`.
    pub z_dot: Cols<'a>,
    /// Cotangent of x, `[D, lanes]`.
    pub x_bar: Cols<'a>,
    /// Its derivative along the direction, `[D, lanes]`.
    pub x_bar_dot: Cols<'a>,
}

/// Forward over reverse.
pub trait SecondOrder {
    /// The derivative, along z_dot, of the vjp and of the parameter gradient.
    ///
    /// z_bar_dot = d/de `[J(z + e z_dot)^T (x_bar + e x_bar_dot)]` at e = 0, written to `[d, lanes]`. With x_bar = l'(x)
    /// and x_bar_dot = l''(x) J z_dot it is H z_dot. If `params_bar_dot` `[P]` is given, the same derivative of
    /// (dD/dtheta)^T x_bar, summed over lanes, is added to it.
    fn hvp(
        &self,
        taped: Taped<'_>,
        seeds: Seeds<'_>,
        z_bar_dot: ColsMut<'_>,
        params_bar_dot: Option<&mut [f64]>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError>;
}

/// Where to start.
pub trait Guess {
    /// z = a guess at the code of y.
    ///
    /// `start` 0 asks for the best, 1, 2, ... for different ones, the same for the same y. `context` `[c, lanes]`, data
    /// `[D, lanes]`, of which a value with weight 0 is not to be read; writes `z` `[d, lanes]`.
    fn guess(
        &self,
        params: &[f64],
        context: Cols<'_>,
        data: Targets<'_>,
        start: usize,
        z: ColsMut<'_>,
    ) -> Result<(), DecodeError>;
}
