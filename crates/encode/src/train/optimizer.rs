//! First-order optimizers of the weights.

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
    /// m <- beta1 m + (1 - beta1) g; v <- beta2 v + (1 - beta2) g^2; p <- p - learning_rate m^ / (sqrt(v^) + eps), with
    /// m^ = m / (1 - beta1^t) and v^ = v / (1 - beta2^t).
    ///
    /// Kingma & Ba, arXiv 1412.6980, algorithm 1.
    Adam {
        /// Step length.
        learning_rate: f64,
        /// Memory of the mean.
        beta1: f64,
        /// Memory of the mean square.
        beta2: f64,
        /// Bounds the step where the gradient vanishes.
        eps: f64,
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
    };
}

/// What an optimizer remembers of each weight.
#[derive(Clone, Debug)]
pub struct OptimizerState {
    rule: Optimizer,
    mean: Vec<f64>,
    square: Vec<f64>,
    steps: i32,
}

impl OptimizerState {
    /// A fresh memory for so many weights.
    pub fn new(rule: Optimizer, params: usize) -> Self {
        let mean = if matches!(rule, Optimizer::Adam { .. }) {
            params
        } else {
            0
        };
        OptimizerState {
            rule,
            mean: vec![0.0; mean],
            square: vec![0.0; params],
            steps: 0,
        }
    }

    /// Moves `params` `[P]` by one step along the gradient `params_bar` `[P]`.
    pub fn step(&mut self, params: &mut [f64], params_bar: &[f64]) {
        self.steps = self.steps.saturating_add(1);
        match self.rule {
            Optimizer::RmsProp {
                learning_rate,
                decay,
                eps,
            } => {
                for ((p, g), v) in params.iter_mut().zip(params_bar).zip(&mut self.square) {
                    *v = decay * *v + (1.0 - decay) * g * g;
                    *p -= learning_rate * g / (v.sqrt() + eps);
                }
            }
            Optimizer::Adam {
                learning_rate,
                beta1,
                beta2,
                eps,
            } => {
                let bias = (1.0 - beta1.powi(self.steps), 1.0 - beta2.powi(self.steps));
                let memory = self.mean.iter_mut().zip(&mut self.square);
                for ((p, g), (m, v)) in params.iter_mut().zip(params_bar).zip(memory) {
                    *m = beta1 * *m + (1.0 - beta1) * g;
                    *v = beta2 * *v + (1.0 - beta2) * g * g;
                    *p -= learning_rate * (*m / bias.0) / ((*v / bias.1).sqrt() + eps);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps of each rule on p = 1 with gradients 2 and -1, worked out by hand from the formulas.
    #[test]
    fn two_steps_are_those_of_the_formula() {
        let run = |rule| {
            let mut state = OptimizerState::new(rule, 1);
            let mut p = [1.0];
            state.step(&mut p, &[2.0]);
            let first = p[0];
            state.step(&mut p, &[-1.0]);
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
        });
        // m^ = 2, v^ = 4; then m = 0, so that nothing moves.
        assert!((first - 0.9).abs() < 1e-15);
        assert!((second - first).abs() < 1e-15);
    }

    #[test]
    fn both_find_the_minimum_of_a_quadratic() {
        for (rule, near) in [(Optimizer::RMSPROP, 1e-2), (Optimizer::ADAM, 1e-6)] {
            let mut state = OptimizerState::new(rule, 2);
            let mut p = [1.0, -2.0];
            for _ in 0..20_000 {
                let g = [100.0 * (p[0] - 0.3), p[1] - 0.5];
                state.step(&mut p, &g);
            }
            // RMSprop's steps keep a length near the learning rate for ever.
            assert!(
                (p[0] - 0.3).abs() < near && (p[1] - 0.5).abs() < near,
                "{rule:?}: {p:?}"
            );
        }
    }
}
