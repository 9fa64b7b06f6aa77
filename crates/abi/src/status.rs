//! What a call answers: are the outputs defined, is the object usable, may the call be repeated?

/// The answer of a plugin's function. Any other number than the four below is read as [`Status::FATAL`].
///
/// The four levels are those of FMI 3.0. They speak of a whole call: a decoder that fails for one lane writes NaN into
/// that column and answers [`Status::OK`].
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status(pub i32);

impl Status {
    /// The outputs are defined.
    pub const OK: Status = Status(0);
    /// No value here, and the outputs are undefined; the object is usable, and a smaller step may find a value.
    pub const DISCARD: Status = Status(1);
    /// The call failed and the outputs are undefined; the object is usable for other calls.
    pub const ERROR: Status = Status(2);
    /// The outputs are undefined, and nothing in this library may be called again.
    pub const FATAL: Status = Status(3);
}
