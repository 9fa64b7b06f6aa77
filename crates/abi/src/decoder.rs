//! Decoders: how they are made, what they compute, and their optional abilities.

use core::ffi::{CStr, c_char, c_void};

use crate::{Matrix, MatrixMut, Slice, SliceMut, Status, Text, TextMut, Version};

/// Id of a [`DecoderFactory`].
pub const DECODER_FACTORY: &CStr = c"gfe.decoder-factory/1";
/// Id of the extension [`TangentTable`].
pub const TANGENT: &CStr = c"gfe.decoder.tangent/1";
/// Id of the extension [`TrainableTable`].
pub const TRAINABLE: &CStr = c"gfe.decoder.trainable/1";

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

/// x = D(z; theta), column by column: column b of an output depends on column b of the inputs alone.
///
/// Who may call when is what the decoder's `threads` says; `destroy` is the last call of an instance. A function whose
/// arguments do not have the shapes given here answers ERROR and writes nothing. `scratch` has any content and at least
/// `scratch_len` values. Required are all members but `extension`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct DecoderTable {
    /// Bytes of this struct, as the plugin knows it.
    pub size: usize,
    /// Writes the decoder's sizes to `shape`.
    pub shape: Option<unsafe extern "C" fn(instance: *mut c_void, shape: *mut Shape) -> Status>,
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
    /// Why the last call of this instance on this thread failed: ends with a NUL, valid until the instance's next call,
    /// never null. Empty if nothing failed.
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
