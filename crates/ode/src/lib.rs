//! Batched integrators for many small independent ODEs that share one vector field.
//!
//! A *sample* is one initial value problem and keeps its index for ever; a *lane* is the column it occupies while it is
//! being integrated. Every lane has its own time, step and status. A finished lane is handed to the sink, the last live
//! lane moves into the hole, and the free lane takes the next sample, so that batches stay full. Nothing here knows of
//! decoders.

pub mod adjoint;
mod columns;
pub mod control;
pub mod diffsol;
mod drive;
pub mod explicit;
mod factor;
mod first;
mod flow;
pub mod implicit;
mod lane;
mod momentum;
pub mod problems;
mod state;
mod status;
mod stepper;
pub mod stop;
pub mod study;
mod tolerance;

pub use drive::{Method, Next, Queue, ResultSink, Retired, StepRecord, integrate};
pub use factor::Cholesky;
pub use flow::{Curvature, Failure, Flow, FlowAdjoint, FlowError, Inertial, Point, Structure, Values};
pub use lane::{History, Lanewise, Work};
pub use momentum::Momentum;
pub use status::Status;
pub use stepper::{Distance, End, Span, Start, Stepper, Trial, hermite};
pub use tolerance::Tolerance;

/// A batch read column by column: `[rows, lanes]`, column-major with unit row stride.
pub type Cols<'a> = faer::MatRef<'a, f64>;
/// A batch written column by column; see [`Cols`].
pub type ColsMut<'a> = faer::MatMut<'a, f64>;
