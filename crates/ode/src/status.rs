//! How the integration of a sample ended: numerical outcomes are statuses, not errors.

/// How one sample ended. Stored in output files as `i8`; 0 and 1 are successes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i8)]
pub enum Status {
    /// A stopping rule was met.
    Converged = 0,
    /// The finite `t_end` that was asked for was reached.
    HorizonReached = 1,
    /// The number of steps is used up.
    MaxSteps = 2,
    /// The step fell below the smallest one that makes sense.
    StepTooSmall = 3,
    /// No acceptable step changes z.
    Stagnated = 4,
    /// The flow is NaN or infinite where the sample has to go.
    NotFinite = 5,
    /// A linear system could not be solved.
    SolveFailed = 6,
    /// The decoder reported a failure.
    DecoderFailed = 7,
    /// The datum cannot be encoded.
    BadInput = 8,
}

impl Status {
    /// Every status, in the order of its value.
    pub const ALL: [Status; 9] = [
        Status::Converged,
        Status::HorizonReached,
        Status::MaxSteps,
        Status::StepTooSmall,
        Status::Stagnated,
        Status::NotFinite,
        Status::SolveFailed,
        Status::DecoderFailed,
        Status::BadInput,
    ];

    /// Whether the result is what was asked for.
    pub fn is_success(self) -> bool {
        matches!(self, Status::Converged | Status::HorizonReached)
    }

    /// Name as in files and summaries.
    pub fn name(self) -> &'static str {
        match self {
            Status::Converged => "converged",
            Status::HorizonReached => "horizon_reached",
            Status::MaxSteps => "max_steps",
            Status::StepTooSmall => "step_too_small",
            Status::Stagnated => "stagnated",
            Status::NotFinite => "not_finite",
            Status::SolveFailed => "solve_failed",
            Status::DecoderFailed => "decoder_failed",
            Status::BadInput => "bad_input",
        }
    }

    /// What happened and which option to change.
    pub fn advice(self) -> &'static str {
        match self {
            Status::Converged => "a stopping rule (edm_tol, gtol or loss_slope_tol) was met",
            Status::HorizonReached => "the integration reached t_end, as asked",
            Status::MaxSteps => "the steps were used up before a stopping rule was met: raise max_steps",
            Status::StepTooSmall => {
                "the step size fell to nothing: loosen gtol with ptc, else rtol and atol, try another z0, or a decoder without kinks (relu)"
            }
            Status::Stagnated => {
                "no acceptable step changes z any more: gtol lies below rounding, loosen it (or z0 is huge, or the decoder has kinks)"
            }
            Status::NotFinite => {
                "the loss or the flow became NaN or infinite: look at the size of the datum, take a smaller step, or another z0"
            }
            Status::SolveFailed => {
                "the equations of a step could not be solved: with ptc take a smaller t_end or another h0, else other rtol and atol, or another solver"
            }
            Status::DecoderFailed => "the decoder gave an error or NaN where the sample has to go: try another z0",
            Status::BadInput => {
                "the datum, its error, weight or mask is not finite or outside its range, or no value counts: mend the input or take another loss"
            }
        }
    }
}
