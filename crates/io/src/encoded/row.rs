//! What is recorded of a sample.

use gfe_model::Cols;
use std::ops::Range;

/// What is recorded of one sample; each field is a dataset of that name.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EncodedRow {
    /// Row index in the input dataset.
    pub sample: i64,
    /// Code of the status; see [`EncodedLayout::statuses`](crate::EncodedLayout::statuses).
    pub status: i8,
    /// Loss at the latent written.
    pub loss: f64,
    /// Loss at the initial latent.
    pub loss_initial: f64,
    /// Norm of the gradient of the loss with respect to z.
    pub grad_norm: f64,
    /// Estimated distance to the minimum, `(D/2) g^T (H + I/tau)^-1 g`.
    pub edm: f64,
    /// chi-squared; NaN where the loss has none.
    pub chi2: f64,
    /// Values that count: those not masked.
    pub n_valid: u32,
    /// Flow time reached.
    pub t: f64,
    /// The start whose end was taken.
    pub start: u32,
    /// Different minima found.
    pub minima: u32,
    /// Accepted steps.
    pub steps: u32,
    /// Rejected steps.
    pub rejected: u32,
    /// Steps forced after too many rejections in a row.
    pub forced: u32,
    /// Evaluations of the decoder.
    pub evaluations: u32,
    /// Vector-Jacobian products.
    pub vjps: u32,
    /// Jacobian-vector products, counted by direction.
    pub jvps: u32,
    /// Hessian-vector products.
    pub hvps: u32,
    /// Jacobians formed.
    pub jacobians: u32,
    /// Matrices factorized.
    pub factorizations: u32,
}

/// A state on the way: the end of an accepted step, or one at a time asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct TracePoint {
    /// Flow time.
    pub t: f64,
    /// Loss there.
    pub loss: f64,
    /// Norm of the gradient there.
    pub grad_norm: f64,
    /// Latent there, `[d]`, where the layout has them.
    pub z: Vec<f64>,
}

/// Error bars of consecutive rows.
#[derive(Clone, Copy)]
pub struct ErrorBars<'a> {
    /// Standard errors, `[d, rows]`.
    pub z_std: Cols<'a>,
    /// Covariances, `[d d, rows]`.
    pub z_cov: Cols<'a>,
    /// Standard errors in physical units, `[d, rows]`, where latents are named.
    pub z_physical_std: Option<Cols<'a>>,
    /// Smallest eigenvalues of H.
    pub h_min: &'a [f64],
    /// Largest eigenvalues of H.
    pub h_max: &'a [f64],
    /// Effective degrees of freedom.
    pub dof: &'a [f64],
}

/// Consecutive rows of the output.
#[derive(Clone)]
pub struct EncodedRows<'a> {
    /// Records.
    pub rows: &'a [EncodedRow],
    /// Latents, `[d, rows]`.
    pub z: Cols<'a>,
    /// Initial latents, `[d, rows]`; needed where the layout has them.
    pub z0: Option<Cols<'a>>,
    /// Reconstructions, the decoded means in units of the input times its scale, `[D, rows]`; needed where the layout has them.
    pub reconstruction: Option<Cols<'a>>,
    /// Weights of the data, `[D, rows]`, 0 where a value is missing; absent where none are. For the flags of the reconstruction.
    pub weights: Option<Cols<'a>>,
    /// Where the integrations began, `[d, rows]`; needed where the layout has it.
    pub z_start: Option<Cols<'a>>,
    /// Latents in physical units, `[d, rows]`; needed where the layout names them.
    pub z_physical: Option<Cols<'a>>,
    /// Error bars; needed where the layout has them.
    pub uncertainty: Option<ErrorBars<'a>>,
    /// States on the way of each row; needed where the layout has traces.
    pub traces: Option<&'a [Vec<TracePoint>]>,
    /// SHA-256 of what was read of each row, see [`crate::row_sha256`].
    pub sha256: &'a [[u8; 32]],
    /// Rows of the input that they are, for what is passed through.
    pub input: Range<usize>,
}

pub(super) type Real = (&'static str, &'static str, fn(&EncodedRow) -> f64);
pub(super) type Count = (&'static str, &'static str, fn(&EncodedRow) -> u32);

/// Datasets of reals: name, long name, value.
pub(super) const REALS: [Real; 6] = [
    ("loss", "loss at z", |row| row.loss),
    ("loss_initial", "loss where the integration starts", |row| {
        row.loss_initial
    }),
    ("grad_norm", "norm of the gradient of what is minimized, at z", |row| {
        row.grad_norm
    }),
    (
        "edm",
        "estimated distance to the minimum, (D/2) g^T H^-1 g (for ptc H + I/t_end), in units of the log likelihood",
        |row| row.edm,
    ),
    ("chi2", "chi-squared at z", |row| row.chi2),
    (
        "t",
        "flow time reached; for ptc the sum of its steps, for amd with fallback_dt for every forced one",
        |row| row.t,
    ),
];
/// Datasets of counts: name, long name, value.
pub(super) const COUNTS: [Count; 10] = [
    ("n_valid", "values that are not masked", |row| row.n_valid),
    ("steps", "accepted steps", |row| row.steps),
    ("rejected", "rejected steps", |row| row.rejected),
    ("forced", "steps taken although none passed the test", |row| row.forced),
    ("evaluations", "evaluations of the decoder", |row| row.evaluations),
    ("vjps", "products with the transposed Jacobian", |row| row.vjps),
    ("jvps", "products with the Jacobian, directions counted", |row| row.jvps),
    ("hvps", "second-order products", |row| row.hvps),
    ("jacobians", "Jacobians of the flow", |row| row.jacobians),
    ("factorizations", "factorizations", |row| row.factorizations),
];
