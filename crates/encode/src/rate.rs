//! The factor alpha(t) of the flow.

/// alpha(t): how fast the flow runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// alpha0 at every time.
    Constant {
        /// alpha0.
        alpha0: f64,
    },
    /// alpha0 exp(-2 t / tau).
    ExpDecay {
        /// alpha0.
        alpha0: f64,
        /// tau, the horizon.
        t_end: f64,
    },
}

impl Default for Rate {
    /// 1 at every time.
    fn default() -> Self {
        Rate::Constant { alpha0: 1.0 }
    }
}

impl Rate {
    /// alpha(t).
    pub fn at(&self, t: f64) -> f64 {
        match self {
            Rate::Constant { alpha0 } => *alpha0,
            Rate::ExpDecay { alpha0, t_end } => alpha0 * (-2.0 * t / t_end).exp(),
        }
    }
}
