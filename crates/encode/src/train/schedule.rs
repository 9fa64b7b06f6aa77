//! How the learning rate changes while a decoder is trained.

/// The factor of the learning rate, over the progress of the training.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Schedule {
    /// 1 throughout.
    #[default]
    Constant,
    /// From 1 to `last` along half a cosine, last + (1 - last) (1 + cos(pi p)) / 2 at the part p of the training.
    ///
    /// Loshchilov & Hutter, arXiv 1608.03983, eq. 5, without restarts.
    Cosine {
        /// The factor at the end.
        last: f64,
    },
    /// `factor` to the power of the epochs passed, in parts of epochs.
    Exponential {
        /// Of one epoch.
        factor: f64,
    },
    /// `factor` to the power of floor(epochs passed / every).
    Step {
        /// At each step.
        factor: f64,
        /// Epochs between steps.
        every: u32,
    },
}

/// A schedule after a linear warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LearningRate {
    /// What follows the warm-up, and is in force during it too.
    pub schedule: Schedule,
    /// Epochs over which a further factor rises from 0 to 1; 0 for none.
    pub warm_up: f64,
}

impl LearningRate {
    /// The factor for the mini-batch that begins `epochs` (in parts of epochs) after the start of a training over `all`.
    ///
    /// The first mini-batch of a warm-up has a factor above 0: `batch` epochs are counted as passed, the length of one.
    pub fn factor(&self, epochs: f64, batch: f64, all: f64) -> f64 {
        let warm_up = if self.warm_up > 0.0 {
            ((epochs + batch) / self.warm_up).min(1.0)
        } else {
            1.0
        };
        let schedule = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Cosine { last } => {
                let part = (epochs / all).clamp(0.0, 1.0);
                last + (1.0 - last) * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
            }
            Schedule::Exponential { factor } => factor.powf(epochs),
            Schedule::Step { factor, every } => factor.powi((epochs / f64::from(every.max(1))).floor() as i32),
        };
        warm_up * schedule
    }
}

#[cfg(test)]
mod tests {
    use super::{LearningRate, Schedule};

    #[test]
    fn factors_are_those_of_the_formulas() {
        let at = |schedule, epochs| LearningRate { schedule, warm_up: 0.0 }.factor(epochs, 0.1, 10.0);
        assert_eq!(at(Schedule::Constant, 7.0), 1.0);
        let cosine = Schedule::Cosine { last: 0.2 };
        for (epochs, expected) in [(0.0, 1.0), (5.0, 0.6), (10.0, 0.2), (12.0, 0.2)] {
            assert!((at(cosine, epochs) - expected).abs() < 1e-15);
        }
        assert!((at(Schedule::Exponential { factor: 0.5 }, 1.5) - 0.5_f64.powf(1.5)).abs() < 1e-15);
        let step = Schedule::Step { factor: 0.1, every: 3 };
        assert_eq!((at(step, 2.99), at(step, 3.0)), (1.0, 0.1));
        let warm = LearningRate {
            schedule: Schedule::Constant,
            warm_up: 2.0,
        };
        assert_eq!((warm.factor(0.0, 0.1, 10.0), warm.factor(1.9, 0.1, 10.0)), (0.05, 1.0));
    }
}
