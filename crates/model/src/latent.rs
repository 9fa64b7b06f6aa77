//! What a decoder's latents are, and the map between their physical values and the unbounded coordinates of the flow.

/// How a physical value p depends on the unbounded coordinate u; u = 0 is the default value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// p = default + scale u.
    Identity,
    /// p = lower + (default - lower) exp(scale u), for p > lower.
    Log,
    /// p = lower + (upper - lower) / (1 + exp(-(u0 + scale u))), for lower < p < upper.
    Logit,
}

impl Transform {
    /// Name as in files.
    pub fn name(self) -> &'static str {
        match self {
            Transform::Identity => "identity",
            Transform::Log => "log",
            Transform::Logit => "logit",
        }
    }
}

/// One latent.
#[derive(Clone, Debug, PartialEq)]
pub struct Latent {
    /// A word.
    pub name: String,
    /// As UDUNITS writes it; empty for none.
    pub unit: String,
    /// Lower bound; minus infinity for none.
    pub lower: f64,
    /// Upper bound; infinity for none.
    pub upper: f64,
    /// How p depends on u.
    pub transform: Transform,
    /// What a change of u by 1 is: one of p, of ln(p - lower), or of the logit.
    pub scale: f64,
    /// p at u = 0.
    pub default: f64,
}

/// The nearest that a value comes to a bound, as a part of the distance of the default from it, or of the interval.
const NEAREST: f64 = 1e-9;

impl Latent {
    /// What is wrong with it, if anything.
    pub fn fault(&self) -> Option<String> {
        let Latent {
            name,
            lower,
            upper,
            scale,
            default,
            ..
        } = self;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Some(format!("the name {name:?} of a latent is not a word"));
        }
        if !(*scale > 0.0 && scale.is_finite()) {
            return Some(format!(
                "`scale` of latent {name} is {scale}: it must be positive and finite"
            ));
        }
        if !(lower < default && default < upper && default.is_finite()) {
            return Some(format!(
                "`default` of latent {name} is {default}: it must lie between {lower} and {upper}"
            ));
        }
        let missing = match self.transform {
            Transform::Identity => None,
            Transform::Log => (!lower.is_finite()).then_some("lower"),
            Transform::Logit if !lower.is_finite() => Some("lower"),
            Transform::Logit => (!upper.is_finite()).then_some("upper"),
        };
        missing.map(|bound| {
            let transform = self.transform.name();
            format!("`{bound}` of latent {name} is not finite, which its transform {transform} needs")
        })
    }

    /// p, dp/du and d2p/du2 at `u`.
    pub fn physical(&self, u: f64) -> [f64; 3] {
        let scale = self.scale;
        match self.transform {
            Transform::Identity => [self.default + scale * u, scale, 0.0],
            Transform::Log => {
                let above = (self.default - self.lower) * (scale * u).exp();
                [self.lower + above, scale * above, scale * scale * above]
            }
            Transform::Logit => {
                let width = self.upper - self.lower;
                let exponential = (-(self.offset() + scale * u)).exp();
                let part = 1.0 / (1.0 + exponential);
                // 1 - part without cancellation.
                let rest = 1.0 / (1.0 + exponential.recip());
                let slope = width * scale * part * rest;
                [self.lower + width * part, slope, slope * scale * (rest - part)]
            }
        }
    }

    /// u at the physical value `p`; one at or beyond a bound is taken for one just inside, and NaN stays NaN.
    pub fn unbounded(&self, p: f64) -> f64 {
        if p.is_nan() {
            return p;
        }
        let u = match self.transform {
            Transform::Identity => p - self.default,
            Transform::Log => {
                let whole = self.default - self.lower;
                ((p - self.lower).max(NEAREST * whole) / whole).ln()
            }
            Transform::Logit => {
                let part = ((p - self.lower) / (self.upper - self.lower)).clamp(NEAREST, 1.0 - NEAREST);
                (part / (1.0 - part)).ln() - self.offset()
            }
        };
        u / self.scale
    }

    /// u0 of the logit.
    fn offset(&self) -> f64 {
        ((self.default - self.lower) / (self.upper - self.default)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::{Latent, Transform};

    fn latent(transform: Transform) -> Latent {
        Latent {
            name: "width".into(),
            unit: "nm".into(),
            lower: 1.0,
            upper: 4.0,
            transform,
            scale: 0.7,
            default: 2.5,
        }
    }

    const ALL: [Transform; 3] = [Transform::Identity, Transform::Log, Transform::Logit];

    #[test]
    fn zero_is_the_default_and_the_map_is_inverted() {
        for latent in ALL.map(latent) {
            assert!((latent.physical(0.0)[0] - 2.5).abs() < 1e-15);
            for u in [-3.0, -0.4, 0.0, 1.3, 2.0] {
                let back = latent.unbounded(latent.physical(u)[0]);
                assert!((back - u).abs() < 1e-12, "{latent:?}: {u} became {back}");
            }
        }
    }

    #[test]
    fn both_derivatives_are_those_of_differences() {
        for latent in ALL.map(latent) {
            for u in [-1.5, 0.2, 1.1] {
                let h = 1e-5;
                let ([_, slope, bend], above, below) =
                    (latent.physical(u), latent.physical(u + h), latent.physical(u - h));
                assert!((slope - (above[0] - below[0]) / (2.0 * h)).abs() < 1e-9);
                assert!((bend - (above[1] - below[1]) / (2.0 * h)).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn a_value_on_a_bound_is_taken_for_one_inside_and_far_values_stay_within() {
        for latent in [Transform::Log, Transform::Logit].map(latent) {
            let u = latent.unbounded(0.0);
            assert!(u.is_finite() && latent.physical(u)[0] >= 1.0);
            assert!(latent.physical(-1e6).iter().all(|value| value.is_finite()));
        }
        assert_eq!(latent(Transform::Logit).physical(1e6), [4.0, 0.0, 0.0]);
    }

    #[test]
    fn a_latent_that_cannot_be_is_told() {
        let with = |change: fn(&mut Latent)| {
            let mut latent = latent(Transform::Logit);
            change(&mut latent);
            latent.fault().unwrap_or_default()
        };
        assert_eq!(with(|_| ()), "");
        assert!(with(|latent| latent.upper = f64::INFINITY).contains("`upper` of latent width"));
        assert!(with(|latent| latent.default = 5.0).contains("`default`"));
        assert!(with(|latent| latent.scale = 0.0).contains("`scale`"));
        assert!(with(|latent| latent.name = "a b".into()).contains("not a word"));
    }
}
