//! Products against one another and against differences; weights, guesses.

use super::batch::Batch;
use super::columns::{apart, failed, worse};
use super::differences::{Compared, compare, differences, verdict};
use super::point::{DIRECTIONS, LANES, next_version};
use super::{Outcome, Subject};
use gfe_model::{Cols, DecodeError, Targets};

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

const NO_TANGENT: &str = "no Jacobian-vector products: the solvers ptc, tr_bdf2, esdirk34 and bdf cannot use it";
const NO_WEIGHTS: &str = "no trainable weights";
const NO_SECOND: &str = "no second-order products";

pub(crate) fn adjoint(of: &Subject<'_>) -> Outcome {
    let (place, decoder) = (&of.place, of.decoder);
    let result = (|| {
        let (_, tape) = place.forward(decoder, &place.z)?;
        let z_bar = place.vjp(decoder, &place.z, &tape, &place.x_bar)?;
        let Some(x_dot) = place.jvp(decoder, &tape, &place.z_dot)? else {
            return Ok(None);
        };
        let mut worst = 0.0_f64;
        for b in 0..LANES * DIRECTIONS {
            let (x_dot, x_bar) = (x_dot.column(b), place.x_bar.column(b / DIRECTIONS));
            let (z_dot, z_bar) = (place.z_dot.column(b), z_bar.column(b / DIRECTIONS));
            let size = (dot(x_dot, x_dot) * dot(x_bar, x_bar)).sqrt();
            let difference = (dot(x_bar, x_dot) - dot(z_bar, z_dot)).abs();
            worst = worse(worst, if difference == 0.0 { 0.0 } else { difference / size });
        }
        Ok(Some(worst))
    })();
    verdict(
        result,
        of.limits.adjoint,
        ("<x_bar, J z_dot> is <J^T x_bar, z_dot>", NO_TANGENT),
    )
}

/// z + h direction, a direction per lane.
fn moved(z: &Batch, direction: &Batch, h: f64) -> Batch {
    Batch::from_fn(z.column(0).len(), z.columns(), |r, b| {
        z.column(b)[r] + h * direction.column(b)[r]
    })
}

/// What differences of x say of J z_dot.
fn tangents(of: &Subject<'_>) -> Result<Option<Compared>, DecodeError> {
    let (place, decoder) = (&of.place, of.decoder);
    let (_, tape) = place.forward(decoder, &place.z)?;
    let direction = place.first_directions();
    let Some(x_dot) = place.jvp(decoder, &tape, &place.z_dot)? else {
        return Ok(None);
    };
    let firsts: Vec<usize> = (0..LANES).map(|lane| lane * DIRECTIONS).collect();
    let product: Vec<f64> = x_dot.pick(&firsts).values().collect();
    let along = |h: f64| {
        let (x, _) = place.forward(decoder, &moved(&place.z, &direction, h))?;
        Ok(x.values().collect())
    };
    compare(&product, of.limits, along).map(Some)
}

pub(crate) fn jvp(of: &Subject<'_>) -> Outcome {
    let told = ("J z_dot agrees with differences", NO_TANGENT);
    differences(tangents(of), of.limits, told)
}

/// Latents that are looked at one by one.
const ONE_BY_ONE: usize = 16;

pub(crate) fn vjp(of: &Subject<'_>) -> Outcome {
    let decoder = of.decoder;
    let latent = decoder.shape().latent;
    let result = (|| {
        let mut all = Compared::NONE;
        // Some of many latents, and one lane of them.
        let some: Vec<usize> = (0..latent).step_by(latent.div_ceil(ONE_BY_ONE)).collect();
        let lanes = if latent > ONE_BY_ONE { 1 } else { LANES };
        for lane in 0..lanes {
            let place = of.place.pick(&[lane, lane]);
            let (_, tape) = place.forward(decoder, &place.z)?;
            let z_bar = place.vjp(decoder, &place.z, &tape, &place.x_bar)?;
            // Component by component, in the latents' own scales.
            let size = |r: usize| {
                let directions = (0..DIRECTIONS).map(|k| place.z_dot.column(k)[r].abs());
                directions.fold(0.0, f64::max)
            };
            let scaled: Vec<f64> = some.iter().map(|&r| size(r) * z_bar.column(0)[r]).collect();
            let along = |h: f64| {
                let component = |&r: &usize| {
                    let mut z = place.z.clone();
                    z.column_mut(0)[r] += h * size(r);
                    let (x, _) = place.forward(decoder, &z)?;
                    Ok(dot(x.column(0), place.x_bar.column(0)))
                };
                some.iter().map(component).collect()
            };
            all = all.and(compare(&scaled, of.limits, along)?);
        }
        Ok(Some(all))
    })();
    differences(result, of.limits, ("J^T x_bar agrees with differences", NO_TANGENT))
}

pub(crate) fn params_vjp(of: &Subject<'_>) -> Outcome {
    let (place, decoder) = (&of.place.pick(&[0, 3]), of.decoder);
    let result = (|| {
        let (_, tape) = place.forward(decoder, &place.z)?;
        let Some(params_bar) = place.params_vjp(decoder, (&place.z, &tape), &place.x_bar, 0.0)? else {
            return Ok(None);
        };
        let added = place
            .params_vjp(decoder, (&place.z, &tape), &place.x_bar, 1.0)?
            .unwrap_or_default();
        let sum: Vec<f64> = added.iter().map(|value| value - 1.0).collect();
        if apart(&sum, &params_bar) > 1e-6 {
            return Ok(Some(Err("params_vjp overwrites params_bar instead of adding to it")));
        }
        let mut all = Compared::NONE;
        let tensors = decoder.tensors();
        let mut first = 0;
        for tensor in &tensors {
            let block = first..first + tensor.len();
            first += tensor.len();
            let product = dot(&params_bar[block.clone()], &place.params_dot[block.clone()]);
            let along = |h: f64| {
                let mut there = place.clone();
                there.version = next_version();
                for i in block.clone() {
                    there.params[i] += h * 0.1 * place.params_dot[i];
                }
                let (x, _) = there.forward(decoder, &there.z)?;
                Ok(vec![(0..2).map(|b| dot(x.column(b), place.x_bar.column(b))).sum()])
            };
            all = all.and(compare(&[0.1 * product], of.limits, along)?);
        }
        Ok(Some(Ok(all)))
    })();
    match result {
        Ok(Some(Err(fault))) => Outcome::Failed(fault.into()),
        Ok(Some(Ok(all))) => differences(
            Ok(Some(all)),
            of.limits,
            (
                "(dD/dparams)^T x_bar agrees with differences, tensor by tensor,",
                NO_WEIGHTS,
            ),
        ),
        Ok(None) => Outcome::Absent(NO_WEIGHTS.into()),
        Err(error) => failed(&error),
    }
}

pub(crate) fn second_order(of: &Subject<'_>) -> Outcome {
    let (place, decoder) = (&of.place, of.decoder);
    let result = (|| {
        let (_, tape) = place.forward(decoder, &place.z)?;
        let Some((z_bar_dot, params_bar_dot)) = place.hvp(decoder, &tape)? else {
            return Ok(None);
        };
        let direction = place.first_directions();
        let cotangent = |h: f64| {
            Batch::from_fn(place.x_bar.column(0).len(), LANES, |i, b| {
                place.x_bar.column(b)[i] + h * place.x_bar_dot.column(b)[i]
            })
        };
        let product: Vec<f64> = z_bar_dot.values().collect();
        let along = |h: f64| {
            let z = moved(&place.z, &direction, h);
            let (_, tape) = place.forward(decoder, &z)?;
            Ok(place.vjp(decoder, &z, &tape, &cotangent(h))?.values().collect())
        };
        let mut all = compare(&product, of.limits, along)?;
        if decoder.trainable().is_some() {
            let along = |h: f64| {
                let z = moved(&place.z, &direction, h);
                let (_, tape) = place.forward(decoder, &z)?;
                Ok(place
                    .params_vjp(decoder, (&z, &tape), &cotangent(h), 0.0)?
                    .unwrap_or_default())
            };
            all = all.and(compare(&params_bar_dot, of.limits, along)?);
        }
        Ok(Some(all))
    })();
    let told = ("second-order products agree with differences", NO_SECOND);
    match differences(result, of.limits, told) {
        // Where the first derivative has corners the second has jumps, which differences take for slopes.
        Outcome::Failed(text) if tangents(of).is_ok_and(|first| first.is_some_and(|first| first.unknown > 0)) => {
            Outcome::Noted(format!(
                "{text}; but the decoder has kinks, where differences say nothing of it"
            ))
        }
        other => other,
    }
}

pub(crate) fn init(of: &Subject<'_>) -> Outcome {
    let Some(trainable) = of.decoder.trainable() else {
        return Outcome::Absent(NO_WEIGHTS.into());
    };
    let weights = |seed: u64| {
        let mut params = vec![f64::NAN; of.decoder.shape().params];
        trainable.init(seed, &mut params).map(|()| params)
    };
    let (one, again, other) = match (weights(1), weights(1), weights(2)) {
        (Ok(one), Ok(again), Ok(other)) => (one, again, other),
        (Err(error), ..) | (_, Err(error), _) | (.., Err(error)) => return failed(&error),
    };
    if one.iter().any(|value| !value.is_finite()) {
        return Outcome::Failed("init leaves weights that are not finite".into());
    }
    if one != again {
        return Outcome::Failed("init gives other weights for the same seed".into());
    }
    if one == other {
        return Outcome::Noted("init gives the same weights for every seed".into());
    }
    Outcome::Passed("weights depend on the seed alone".into())
}

pub(crate) fn guess(of: &Subject<'_>) -> Outcome {
    let (place, decoder) = (&of.place, of.decoder);
    let Some(guess) = decoder.guess() else {
        return Outcome::Absent("no guesses: samples start at the defaults of the latents".into());
    };
    let latent = decoder.shape().latent;
    let result = (|| -> Result<Outcome, DecodeError> {
        let (y, _) = place.forward(decoder, &place.z)?;
        let kept = y.clone();
        let guessed = |start: usize, w: Option<Cols<'_>>, lanes: &[usize]| -> Result<Batch, DecodeError> {
            let (y, context) = (y.pick(lanes), place.context.pick(lanes));
            let mut z = Batch::new(latent, lanes.len());
            let data = Targets { y: y.cols(), w };
            guess.guess(&place.params, context.cols(), data, start, z.cols_mut())?;
            Ok(z)
        };
        let all: Vec<usize> = (0..LANES).collect();
        let (first, again) = (guessed(0, None, &all)?, guessed(0, None, &all)?);
        if !first.intact() {
            return Ok(Outcome::Failed("guess writes outside z".into()));
        }
        let one = guessed(0, None, &[3, 3])?;
        if first
            .values()
            .zip(again.values())
            .any(|(a, b)| a.to_bits() != b.to_bits())
            || one.column(0) != first.column(3)
        {
            return Ok(Outcome::Failed("the same data give different guesses".into()));
        }
        let ones = Batch::from_fn(y.column(0).len(), LANES, |_, _| 1.0);
        guessed(0, Some(ones.cols()), &all)?;
        // What is masked is not to be read: NaN stands there, and then another number.
        let masked = Batch::from_fn(y.column(0).len(), LANES, |i, _| if i % 3 == 1 { 0.0 } else { 1.0 });
        let hidden = |number: f64| -> Result<Batch, DecodeError> {
            let y = Batch::from_fn(y.column(0).len(), LANES, |i, b| {
                if i % 3 == 1 { number } else { y.column(b)[i] }
            });
            let mut z = Batch::new(latent, LANES);
            let data = Targets {
                y: y.cols(),
                w: Some(masked.cols()),
            };
            guess.guess(&place.params, place.context.cols(), data, 0, z.cols_mut())?;
            Ok(z)
        };
        let (one, other) = (hidden(f64::NAN)?, hidden(1e9)?);
        if one
            .values()
            .zip(other.values())
            .any(|(a, b)| a.to_bits() != b.to_bits())
        {
            return Ok(Outcome::Failed("guess reads values whose weight is 0".into()));
        }
        let mut starts = vec![first];
        for start in 1..4 {
            starts.push(guessed(start, None, &all)?);
        }
        if starts.iter().any(|z| !z.intact()) {
            return Ok(Outcome::Failed("guess writes outside z".into()));
        }
        if kept.values().zip(y.values()).any(|(a, b)| a.to_bits() != b.to_bits()) {
            return Ok(Outcome::Failed("guess writes to y".into()));
        }
        for z in &starts {
            for b in 0..LANES {
                for (r, value) in z.column(b).iter().enumerate() {
                    let bounds = decoder
                        .latents()
                        .get(r)
                        .map_or([f64::NEG_INFINITY, f64::INFINITY], |l| [l.lower, l.upper]);
                    if !(*value >= bounds[0] && *value <= bounds[1] && value.is_finite()) {
                        return Ok(Outcome::Failed(format!(
                            "the guess {value} of latent {r} is out of its bounds"
                        )));
                    }
                }
            }
        }
        let differ = (1..4)
            .filter(|&k| (0..LANES).any(|b| starts[k].column(b) != starts[0].column(b)))
            .count();
        Ok(match differ {
            0 => Outcome::Noted("every start gives the same guess: --starts is of no use with it".into()),
            _ => {
                Outcome::Passed("guesses lie in the bounds, are the same for the same data, and differ by start".into())
            }
        })
    })();
    result.unwrap_or_else(|error| failed(&error))
}
