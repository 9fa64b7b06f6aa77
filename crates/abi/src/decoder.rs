//! Decoders: how they are made, what they compute, and their optional abilities.

use core::ffi::{CStr, c_char, c_void};

use crate::{Matrix, MatrixMut, Slice, SliceMut, Status, Text, TextMut, Version};

/// Id of a [`DecoderFactory`].
pub const DECODER_FACTORY: &CStr = c"gfe.decoder-factory/1";
/// Id of the extension [`TangentTable`].
pub const TANGENT: &CStr = c"gfe.decoder.tangent/1";
/// Id of the extension [`TrainableTable`].
pub const TRAINABLE: &CStr = c"gfe.decoder.trainable/1";
/// Id of the extension [`SecondOrderTable`].
pub const SECOND_ORDER: &CStr = c"gfe.decoder.second-order/1";
/// Id of the extension [`LatentsTable`].
pub const LATENTS: &CStr = c"gfe.decoder.latents/1";
/// Id of the extension [`GuessTable`].
pub const GUESS: &CStr = c"gfe.decoder.guess/1";

/// One call at a time per instance, from any thread: the host opens an instance per worker.
pub const THREADS_INSTANCE: u32 = 0;
/// Any calls at once, on distinct tapes and scratch: the host opens one instance for all workers.
pub const THREADS_SHARED: u32 = 1;
/// One call at a time in the whole library: the host runs one worker.
pub const THREADS_PROCESS: u32 = 2;

/// The decoder computes in double precision.
pub const PRECISION_F64: u32 = 0;
/// The decoder computes in single precision, and is checked with wider tolerances.
pub const PRECISION_F32: u32 = 1;

/// A decoded value means itself.
pub const OUTPUT_VALUES: u32 = 0;
/// A decoded value is the logit of a number in `[0, 1]`.
pub const OUTPUT_LOGITS: u32 = 1;
/// A decoded value is the logarithm of a rate.
pub const OUTPUT_LOG_RATES: u32 = 2;

/// p = default + scale u.
pub const TRANSFORM_IDENTITY: u32 = 0;
/// p = lower + (default - lower) exp(scale u).
pub const TRANSFORM_LOG: u32 = 1;
/// p = lower + (upper - lower) / (1 + exp(-(u0 + scale u))), with u0 so that u = 0 is the default.
pub const TRANSFORM_LOGIT: u32 = 2;

/// What a factory tells about a decoder before one is made. Its texts belong to the library and end with a NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DecoderInfo {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// The name by which the decoder is asked for.
    pub id: *const c_char,
    /// One line for people.
    pub title: *const c_char,
    /// Version of the decoder itself.
    pub version: Version,
    /// One of `THREADS_*`.
    pub threads: u32,
    /// One of `PRECISION_*`.
    pub precision: u32,
}

/// Lists and makes decoders. Any thread, one call at a time.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DecoderFactory {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// Number of decoders.
    pub count: Option<unsafe extern "C" fn() -> usize>,
    /// The decoder at `index`, a constant of the library; null from `count()` on.
    pub info: Option<unsafe extern "C" fn(index: usize) -> *const DecoderInfo>,
    /// Makes a decoder from its id and a configuration in JSON (empty for none), and writes it to `made`.
    ///
    /// On any status but OK nothing was made, and `message` holds a sentence for the user.
    pub create: Option<
        unsafe extern "C" fn(id: *const c_char, config: Text, made: *mut DecoderInstance, message: TextMut) -> Status,
    >,
}

/// A decoder: its functions, and what they get as their first argument. It owns no weights and no scratch memory.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DecoderInstance {
    /// A constant of the library.
    pub table: *const DecoderTable,
    /// The plugin's own; the host only hands it back.
    pub instance: *mut c_void,
}

/// Sizes of a decoder; constant for an instance.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// d, the length of a latent.
    pub latent: usize,
    /// D, the number of values of a sample.
    pub data: usize,
    /// P, the number of weights.
    pub params: usize,
    /// c, the number of known inputs of a sample.
    pub context: usize,
    /// Rows of the tape.
    pub tape: usize,
    /// What a decoded value means: one of `OUTPUT_*`.
    pub output: u32,
    /// 0.
    pub reserved: u32,
}

/// One tensor of the flat `params`, C order. Its pointers belong to the instance.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Tensor {
    /// As in a model file, such as `decoder.0.weight`; ends with a NUL.
    pub name: *const c_char,
    /// `[rank]`.
    pub shape: *const usize,
    /// Number of axes.
    pub rank: usize,
}

/// Where a decoder is evaluated.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct At {
    /// Bytes of this struct, as the host knows it.
    pub size: usize,
    /// Changes whenever `params` do, so that a decoder may keep a repacked copy.
    pub params_version: u64,
    /// Weights, `[P]`.
    pub params: Slice,
    /// Latents, `[d, lanes]`.
    pub z: Matrix,
    /// Known inputs of each sample, `[c, lanes]`.
    pub context: Matrix,
}

/// x = D(z; theta), column by column: column b of an output depends on column b of the inputs alone, and nothing on earlier
/// calls.
///
/// Who may call when is what the decoder's `threads` says; `destroy` is the last call of an instance. A function whose
/// arguments do not have the shapes given here answers ERROR and writes nothing. `scratch` has any content and at least
/// `scratch_len` values. After DISCARD and ERROR to a call with several lanes the host repeats it lane by lane. Required are all
/// members but `tensor` (where there are no params) and `extension`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DecoderTable {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// Writes the decoder's sizes to `shape`.
    pub shape: Option<unsafe extern "C" fn(instance: *mut c_void, shape: *mut Shape) -> Status>,
    /// Writes tensor `index` of `params` to `tensor`; ERROR from the last one on. They follow one another without gaps.
    pub tensor: Option<unsafe extern "C" fn(instance: *mut c_void, index: usize, tensor: *mut Tensor) -> Status>,
    /// Scratch values that any product needs for `columns` columns of the widest matrix in the call.
    pub scratch_len: Option<unsafe extern "C" fn(instance: *mut c_void, columns: usize) -> usize>,
    /// x = D(z). Writes `x` `[D, lanes]` and `tape` `[tape, lanes]`.
    pub forward: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            at: *const At,
            x: MatrixMut,
            tape: MatrixMut,
            scratch: SliceMut,
        ) -> Status,
    >,
    /// z_bar = J^T x_bar with J = dD/dz, after `forward` wrote `tape` at the same point. `x_bar` `[D, lanes]`; writes
    /// `z_bar` `[d, lanes]`.
    pub vjp: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            at: *const At,
            tape: Matrix,
            x_bar: Matrix,
            z_bar: MatrixMut,
            scratch: SliceMut,
        ) -> Status,
    >,
    /// Why the last call of this instance on this thread failed: ends with a NUL, valid until the instance's next call on
    /// this thread, never null. Empty if nothing failed.
    pub last_error: Option<unsafe extern "C" fn(instance: *mut c_void) -> *const c_char>,
    /// Ends the instance. It is not used again.
    pub destroy: Option<unsafe extern "C" fn(instance: *mut c_void)>,
    /// The table of an optional ability such as [`TANGENT`], a constant of the library; null if the decoder lacks it.
    pub extension: Option<unsafe extern "C" fn(instance: *mut c_void, id: *const c_char) -> *const c_void>,
}

/// Extension [`TANGENT`]: Jacobian-vector products.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TangentTable {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// x_dot = J z_dot for k directions per lane. `z_dot` `[d, k lanes]`; writes `x_dot` `[D, k lanes]`; column b k + j is
    /// direction j of lane b.
    pub jvp: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            at: *const At,
            tape: Matrix,
            z_dot: Matrix,
            x_dot: MatrixMut,
            scratch: SliceMut,
        ) -> Status,
    >,
}

/// Extension [`TRAINABLE`]: what training needs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TrainableTable {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// Fills `params` `[P]` with initial weights, the same for the same seed.
    pub init: Option<unsafe extern "C" fn(instance: *mut c_void, seed: u64, params: SliceMut) -> Status>,
    /// params_bar += the sum over lanes of (dD/dtheta)^T x_bar. `x_bar` `[D, lanes]`, `params_bar` `[P]`.
    pub params_vjp: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            at: *const At,
            tape: Matrix,
            x_bar: Matrix,
            params_bar: SliceMut,
            scratch: SliceMut,
        ) -> Status,
    >,
}

/// Extension [`SECOND_ORDER`]: forward over reverse.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct SecondOrderTable {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// z_bar_dot = d/de `[J(z + e z_dot)^T (x_bar + e x_bar_dot)]` at e = 0. `z_dot` `[d, lanes]`, `x_bar` and `x_bar_dot`
    /// `[D, lanes]`; writes `z_bar_dot` `[d, lanes]`. Unless its length is 0, the same derivative of (dD/dtheta)^T x_bar,
    /// summed over lanes, is added to `params_bar_dot` `[P]`.
    pub hvp: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            at: *const At,
            tape: Matrix,
            z_dot: Matrix,
            x_bar: Matrix,
            x_bar_dot: Matrix,
            z_bar_dot: MatrixMut,
            params_bar_dot: SliceMut,
            scratch: SliceMut,
        ) -> Status,
    >,
}

/// What one latent is. The decoder's functions get and give z in physical coordinates; the host alone maps them to the
/// unbounded ones of the flow, see `TRANSFORM_*`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Latent {
    /// A word; ends with a NUL, belongs to the instance.
    pub name: *const c_char,
    /// As UDUNITS writes it, empty for none; ends with a NUL, belongs to the instance.
    pub unit: *const c_char,
    /// Lower bound; minus infinity for none, finite for log and logit.
    pub lower: f64,
    /// Upper bound; infinity for none, finite for logit.
    pub upper: f64,
    /// > 0.
    pub scale: f64,
    /// Where u = 0; between the bounds.
    pub default_value: f64,
    /// One of `TRANSFORM_*`.
    pub transform: u32,
    /// 0.
    pub reserved: u32,
}

/// Extension [`LATENTS`]: what the latents are.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct LatentsTable {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// Writes what latent `index` < d is.
    pub latent: Option<unsafe extern "C" fn(instance: *mut c_void, index: usize, latent: *mut Latent) -> Status>,
}

/// Extension [`GUESS`]: where to start.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct GuessTable {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// z = a guess at the code of y, in physical coordinates, within the bounds.
    ///
    /// `start` 0 asks for the best, 1, 2, ... for different ones, the same for the same y. `y` `[D, lanes]`; `w` `[D, lanes]`
    /// are weights, and a y whose weight is 0 is not to be read; `w` has 0 columns where all weights are 1. Writes `z`
    /// `[d, lanes]`.
    pub guess: Option<
        unsafe extern "C" fn(
            instance: *mut c_void,
            params: Slice,
            context: Matrix,
            y: Matrix,
            w: Matrix,
            start: usize,
            z: MatrixMut,
        ) -> Status,
    >,
}
