//! Products held against differences, component by component.

use super::columns::{failed, worse};
use super::{Limits, Outcome};
use gfe_model::DecodeError;

/// Steps of the differences, in units of the directions: the first serve smooth decoders, the last those with kinks, which
/// short steps seldom cross.
const STEPS: [f64; 6] = [0.3, 0.03, 3e-3, 1e-4, 1e-5, 1e-6];

/// A component of a product that is small beside the largest is held against this part of it at least.
const FLOOR: f64 = 1e-3;

/// A derivative by differences, component by component, and how far it may be off.
struct Measured {
    value: Vec<f64>,
    doubt: Vec<f64>,
}

/// Central differences of `f` at 0 with step h, h/2, h/4, h/8, extrapolated to an error of order h^8 (Romberg). In doubt is
/// twice what the extrapolation changed, which also sees a kink, and the rounding of `f`, `epsilon` of its size.
fn derivative<F>(f: &F, h: f64, epsilon: f64) -> Result<Measured, DecodeError>
where
    F: Fn(f64) -> Result<Vec<f64>, DecodeError>,
{
    let (mut table, mut size): (Vec<Vec<f64>>, Vec<f64>) = (Vec::new(), Vec::new());
    for level in 0..4 {
        let step = h / f64::from(1 << level);
        let (above, below) = (f(step)?, f(-step)?);
        size.resize(above.len(), 0.0);
        for (size, value) in size.iter_mut().zip(&above) {
            *size = size.max(value.abs());
        }
        table.push(above.iter().zip(&below).map(|(a, b)| (a - b) / (2.0 * step)).collect());
    }
    let before = table[3].clone();
    for order in 1..4 {
        let factor = f64::from(1 << (2 * order));
        for level in (order..4).rev() {
            let (lower, upper) = table.split_at_mut(level);
            let coarse = &lower[level - 1];
            upper[0]
                .iter_mut()
                .zip(coarse)
                .for_each(|(fine, coarse)| *fine += (*fine - coarse) / (factor - 1.0));
        }
    }
    let value = table.remove(3);
    let rounding = 8.0 * epsilon / (h / 8.0);
    let doubt = value.iter().zip(&before).zip(&size);
    let doubt = doubt
        .map(|((value, before), size)| 2.0 * (value - before).abs() + rounding * size)
        .collect();
    Ok(Measured { value, doubt })
}

/// What differences say of a product.
pub(super) struct Compared {
    /// The worst of the components that could be measured, relative to its size.
    pub(super) worst: f64,
    /// How many could not: a kink is too near.
    pub(super) unknown: usize,
    /// Of so many.
    pub(super) components: usize,
}

impl Compared {
    pub(super) const NONE: Compared = Compared {
        worst: 0.0,
        unknown: 0,
        components: 0,
    };

    pub(super) fn and(self, other: Compared) -> Compared {
        Compared {
            worst: worse(self.worst, other.worst),
            unknown: self.unknown + other.unknown,
            components: self.components + other.components,
        }
    }
}

/// How far `product` is from the derivative of `f`, component by component, each measured by the step that leaves the least
/// in doubt.
pub(super) fn compare<F>(product: &[f64], limits: Limits, f: F) -> Result<Compared, DecodeError>
where
    F: Fn(f64) -> Result<Vec<f64>, DecodeError>,
{
    let mut best = Measured {
        value: vec![f64::NAN; product.len()],
        doubt: vec![f64::INFINITY; product.len()],
    };
    for h in STEPS {
        let Measured { value, doubt } = derivative(&f, h, limits.epsilon)?;
        for k in 0..product.len() {
            if doubt[k] < best.doubt[k] {
                (best.value[k], best.doubt[k]) = (value[k], doubt[k]);
            }
        }
    }
    // Of the product alone: what differences make of a kink may be of any size.
    let largest = product.iter().map(|value| value.abs()).fold(0.0, f64::max);
    let mut compared = Compared {
        components: product.len(),
        ..Compared::NONE
    };
    for (k, (a, b)) in product.iter().zip(&best.value).enumerate() {
        let size = a.abs().max(b.abs()).max(FLOOR * largest);
        if !a.is_finite() {
            compared.worst = f64::NAN;
        } else if a == b {
            continue;
        } else if best.doubt[k] > 0.3 * limits.differences * size || !b.is_finite() {
            compared.unknown += 1;
        } else {
            compared.worst = worse(compared.worst, (a - b).abs() / size);
        }
    }
    Ok(compared)
}

/// The outcome of an error that was measured against a limit.
pub(super) fn verdict(result: Result<Option<f64>, DecodeError>, limit: f64, (what, lacking): (&str, &str)) -> Outcome {
    match result {
        Err(error) => failed(&error),
        Ok(None) => Outcome::Absent(lacking.into()),
        Ok(Some(error)) if error <= limit => Outcome::Passed(format!("{what} to {error:.1e}")),
        Ok(Some(error)) => Outcome::Failed(format!("{what} only to {error:.1e}, and {limit:.0e} is the limit")),
    }
}

/// The same of what differences say; where most components lie too near a kink, that is told.
pub(super) fn differences(
    result: Result<Option<Compared>, DecodeError>,
    limits: Limits,
    (what, lacking): (&str, &str),
) -> Outcome {
    let compared = match result {
        Ok(Some(compared)) => compared,
        Ok(None) => return verdict(Ok(None), limits.differences, (what, lacking)),
        Err(error) => return failed(&error),
    };
    let Compared {
        worst,
        unknown,
        components,
    } = compared;
    if unknown == components && components > 0 {
        return Outcome::Failed(format!(
            "none of {components} components can be measured by differences: kinks or rounding are larger; try another --context or \
             a smooth activation"
        ));
    }
    let told = verdict(Ok(Some(worst)), limits.differences, (what, lacking));
    match told {
        Outcome::Passed(text) if 2 * unknown > components => Outcome::Noted(format!(
            "{text}, but {unknown} of {components} components cannot be measured: kinks, or noise; try a smooth activation"
        )),
        Outcome::Passed(text) if unknown > 0 => Outcome::Passed(format!(
            "{text} ({unknown} of {components} components lie too near a kink to be measured)"
        )),
        other => other,
    }
}
