//! First-order optimizers of the weights.
//!
//! A step is a pass over all weights and their memory: it uses whatever vector instructions there are, which change no bit of
//! sums, products, quotients and roots taken one by one.

/// A rule that turns a gradient into a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// v <- decay v + (1 - decay) g^2; p <- p - learning_rate g / (sqrt(v) + eps).
    ///
    /// Tieleman & Hinton (2012), in PyTorch's form.
    RmsProp {
        /// Step length.
        learning_rate: f64,
        /// Memory of the mean square.
        decay: f64,
        /// Bounds the step where the gradient vanishes.
        eps: f64,
    },
    /// m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2;
    /// p <- p - learning_rate (m^ / (sqrt(v^) + eps) + weight_decay p), with m^ = m / (1 - beta1^t) and
    /// v^ = v / (1 - beta2^t).
    ///
    /// Kingma & Ba, arXiv 1412.6980, algorithm 1; with a weight decay AdamW, Loshchilov & Hutter, arXiv 1711.05101,
    /// algorithm 2, in PyTorch's form, where the learning rate scales the decay.
    Adam {
        /// Step length.
        learning_rate: f64,
        /// Memory of the mean.
        beta1: f64,
        /// Memory of the mean square.
        beta2: f64,
        /// Bounds the step where the gradient vanishes.
        eps: f64,
        /// Pull of the weights toward 0.
        weight_decay: f64,
    },
}

impl Optimizer {
    /// The authors' values: RMSprop with learning rate 5e-4, decay 0.9, eps 1e-6.
    pub const RMSPROP: Optimizer = Optimizer::RmsProp {
        learning_rate: 5e-4,
        decay: 0.9,
        eps: 1e-6,
    };
    /// The values of Kingma & Ba: learning rate 1e-3, beta1 0.9, beta2 0.999, eps 1e-8.
    pub const ADAM: Optimizer = Optimizer::Adam {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.0,
    };

    /// Step length before any schedule.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Optimizer::RmsProp { learning_rate, .. } | Optimizer::Adam { learning_rate, .. } => *learning_rate,
        }
    }

    /// The same rule with another step length, and no pull toward 0.
    pub fn for_codes(self, step: f64) -> Optimizer {
        match self {
            Optimizer::RmsProp { decay, eps, .. } => Optimizer::RmsProp {
                learning_rate: step,
                decay,
                eps,
            },
            Optimizer::Adam { beta1, beta2, eps, .. } => Optimizer::Adam {
                learning_rate: step,
                beta1,
                beta2,
                eps,
                weight_decay: 0.0,
            },
        }
    }

    /// Moves `p` by its step number `step` (from 1) along the gradient `g`, with the memory `m` and `v` and the factor `rate`
    /// of the learning rate.
    fn step(&self, (p, g): (&mut [f64], &[f64]), (m, v): (&mut [f64], &mut [f64]), step: i32, rate: f64) {
        match *self {
            Optimizer::RmsProp {
                learning_rate,
                decay,
                eps,
            } => {
                let length = rate * learning_rate;
                let all = p.iter_mut().zip(g).zip(v);
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        for ((p, g), v) in all {
                            *v = decay * *v + (1.0 - decay) * g * g;
                            *p -= length * g / (v.sqrt() + eps);
                        }
                    },
                );
            }
            Optimizer::Adam {
                learning_rate,
                beta1,
                beta2,
                eps,
                weight_decay,
            } => {
                let bias = (1.0 - beta1.powi(step), 1.0 - beta2.powi(step));
                let (length, to_square) = (rate * learning_rate / bias.0, 1.0 / bias.1);
                let pull = rate * learning_rate * weight_decay;
                let all = p.iter_mut().zip(g).zip(m.iter_mut().zip(v));
                pulp::Arch::new().dispatch(
                    #[inline(always)]
                    || {
                        for ((p, g), (m, v)) in all {
                            *m = beta1 * *m + (1.0 - beta1) * g;
                            *v = beta2 * *v + (1.0 - beta2) * g * g;
                            *p -= length * *m / ((*v * to_square).sqrt() + eps) + pull * *p;
                        }
                    },
                );
            }
        }
    }
}

/// What an optimizer remembers of groups of values that are stepped together: all weights, or the code of a sample each.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerState {
    rule: Optimizer,
    /// Running mean of the gradient, `[values]`; empty where the rule has none.
    pub mean: Vec<f64>,
    /// Running mean square of the gradient, `[values]`.
    pub square: Vec<f64>,
    /// Steps taken, one number per group.
    pub steps: Vec<i32>,
}

impl OptimizerState {
    /// A fresh memory for `groups` groups of `len` values.
    pub fn new(rule: Optimizer, groups: usize, len: usize) -> Self {
        let mean = match rule {
            Optimizer::Adam { .. } => groups * len,
            Optimizer::RmsProp { .. } => 0,
        };
        OptimizerState {
            rule,
            mean: vec![0.0; mean],
            square: vec![0.0; groups * len],
            steps: vec![0; groups],
        }
    }

    /// This rule with the memory of another state.
    pub(super) fn with_memory_of(&self, other: OptimizerState) -> OptimizerState {
        OptimizerState {
            rule: self.rule,
            ..other
        }
    }

    /// Moves the values `p` of a group by one step along the gradient `p_bar`, with a factor of the learning rate.
    pub fn step(&mut self, group: usize, p: &mut [f64], p_bar: &[f64], rate: f64) {
        let own = group * p.len()..(group + 1) * p.len();
        let step = self.steps[group].saturating_add(1);
        self.steps[group] = step;
        let mean = if self.mean.is_empty() {
            &mut []
        } else {
            &mut self.mean[own.clone()]
        };
        self.rule.step((p, p_bar), (mean, &mut self.square[own]), step, rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps of each rule on p = 1 with gradients 2 and -1, worked out by hand from the formulas.
    #[test]
    fn two_steps_are_those_of_the_formula() {
        let run = |rule| {
            let mut state = OptimizerState::new(rule, 1, 1);
            let mut p = [1.0];
            state.step(0, &mut p, &[2.0], 1.0);
            let first = p[0];
            state.step(0, &mut p, &[-1.0], 1.0);
            (first, p[0])
        };
        let (first, second) = run(Optimizer::RmsProp {
            learning_rate: 0.1,
            decay: 0.9,
            eps: 0.0,
        });
        // v = 0.4, then 0.46.
        assert!((first - (1.0 - 0.2 / 0.4_f64.sqrt())).abs() < 1e-15);
        assert!((second - first - 0.1 / 0.46_f64.sqrt()).abs() < 1e-15);
        let (first, second) = run(Optimizer::Adam {
            learning_rate: 0.1,
            beta1: 0.5,
            beta2: 0.75,
            eps: 0.0,
            weight_decay: 0.0,
        });
        // m^ = 2, v^ = 4; then m = 0, so that nothing moves.
        assert!((first - 0.9).abs() < 1e-15);
        assert!((second - first).abs() < 1e-15);
        let (first, _) = run(Optimizer::Adam {
            learning_rate: 0.1,
            beta1: 0.5,
            beta2: 0.75,
            eps: 0.0,
            weight_decay: 0.25,
        });
        assert!((first - (0.9 - 0.1 * 0.25)).abs() < 1e-15);
    }

    #[test]
    fn groups_keep_their_memory_apart() {
        let mut state = OptimizerState::new(Optimizer::ADAM, 2, 1);
        let (mut one, mut other, mut alone) = ([1.0], [1.0], [1.0]);
        state.step(0, &mut one, &[3.0], 1.0);
        state.step(1, &mut other, &[-7.0], 1.0);
        OptimizerState::new(Optimizer::ADAM, 1, 1).step(0, &mut alone, &[-7.0], 1.0);
        assert_eq!((other, state.steps), (alone, vec![1, 1]));
    }

    #[test]
    fn both_find_the_minimum_of_a_quadratic() {
        for (rule, near) in [(Optimizer::RMSPROP, 1e-2), (Optimizer::ADAM, 1e-6)] {
            let mut state = OptimizerState::new(rule, 1, 2);
            let mut p = [1.0, -2.0];
            for _ in 0..20_000 {
                let g = [100.0 * (p[0] - 0.3), p[1] - 0.5];
                state.step(0, &mut p, &g, 1.0);
            }
            // RMSprop's steps keep a length near the learning rate for ever.
            assert!(
                (p[0] - 0.3).abs() < near && (p[1] - 0.5).abs() < near,
                "{rule:?}: {p:?}"
            );
        }
    }
}
