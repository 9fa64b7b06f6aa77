//! Columns: each depends on its own inputs alone, whatever stands beside it, was computed before, or lies between.

use super::batch::{Batch, Scratch};
use super::point::{DIRECTIONS, LANES};
use super::{Outcome, Subject};
use gfe_model::{DecodeError, Seeds, Taped};

/// A failed call as a finding.
pub(crate) fn failed(error: &DecodeError) -> Outcome {
    Outcome::Failed(format!("a call with good arguments failed: {error}"))
}

/// The larger of two errors, in which a NaN is never lost.
pub(crate) fn worse(most: f64, error: f64) -> f64 {
    if most.is_nan() || error <= most { most } else { error }
}

/// The largest difference of two rows over their largest size; NaN where one has a NaN that the other lacks.
pub(crate) fn apart(a: &[f64], b: &[f64]) -> f64 {
    let size = a.iter().chain(b).map(|value| value.abs()).fold(0.0, worse);
    let same = |a: &f64, b: &f64| a == b || (a.is_nan() && b.is_nan());
    let difference = a
        .iter()
        .zip(b)
        .map(|(a, b)| if same(a, b) { 0.0 } else { (a - b).abs() });
    let worst = difference.fold(0.0, worse);
    if worst == 0.0 { 0.0 } else { worst / size }
}

fn same_bits(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

pub(crate) fn values(of: &Subject<'_>) -> Outcome {
    let (x, tape) = match of.place.forward(of.decoder, &of.place.z) {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    let wrong = x.values().filter(|value| !value.is_finite()).count();
    if wrong > 0 {
        let text = "values are not finite near the defaults of the latents (or in [-1, 1] without): with a context, give a \
                    typical one by --context";
        return Outcome::Failed(format!("{wrong} of {} {text}", x.values().count()));
    }
    if x.values().any(|value| value == 1.2345e67) {
        return Outcome::Failed("forward leaves values of x unwritten".into());
    }
    let shape = of.decoder.shape();
    let used = tape.values().filter(|value| *value != 1.2345e67).count();
    Outcome::Passed(format!(
        "{} latents, {} values, {} weights, context of {}, tape of {} ({used} of {} used)",
        shape.latent,
        shape.data,
        shape.params,
        shape.context,
        of.decoder.tape_len(),
        tape.values().count()
    ))
}

/// Every function with gaps between the columns, walls around them, and scratch that is full of NaN.
pub(crate) fn padding(of: &Subject<'_>) -> Outcome {
    let (place, decoder) = (&of.place, of.decoder);
    let shape = decoder.shape();
    let mut touched = Vec::new();
    let mut note = |what: &'static str, intact: bool| {
        if !intact {
            touched.push(what);
        }
    };
    let result = (|| -> Result<(), DecodeError> {
        let at = place.at(&place.z);
        let mut scratch = Scratch::new(decoder.scratch_len(LANES), f64::NAN);
        let (mut x, mut tape) = (Batch::new(shape.data, LANES), Batch::new(decoder.tape_len(), LANES));
        decoder.forward(at, x.cols_mut(), tape.cols_mut(), scratch.get())?;
        note("forward writes outside x", x.intact());
        note("forward writes outside the tape", tape.intact());
        let kept = tape.clone();
        let taped = Taped { at, tape: kept.cols() };
        let mut z_bar = Batch::new(shape.latent, LANES);
        decoder.vjp(taped, place.x_bar.cols(), z_bar.cols_mut(), scratch.get())?;
        note("vjp writes outside z_bar", z_bar.intact());
        note("forward or vjp writes beyond scratch", scratch.intact());
        if let Some(tangent) = decoder.tangent() {
            let columns = LANES * DIRECTIONS;
            let mut scratch = Scratch::new(decoder.scratch_len(columns), f64::NAN);
            let mut x_dot = Batch::new(shape.data, columns);
            tangent.jvp(taped, place.z_dot.cols(), x_dot.cols_mut(), scratch.get())?;
            note("jvp writes outside x_dot", x_dot.intact());
            note("jvp writes beyond scratch", scratch.intact());
        }
        if let Some(second) = decoder.second_order() {
            let z_dot = place.first_directions();
            let seeds = Seeds {
                z_dot: z_dot.cols(),
                x_bar: place.x_bar.cols(),
                x_bar_dot: place.x_bar_dot.cols(),
            };
            let mut z_bar_dot = Batch::new(shape.latent, LANES);
            second.hvp(taped, seeds, z_bar_dot.cols_mut(), None, scratch.get())?;
            note("hvp writes outside z_bar_dot", z_bar_dot.intact());
            note("hvp writes beyond scratch", scratch.intact());
        }
        Ok(())
    })();
    match result {
        Err(error) => failed(&error),
        Ok(()) if touched.is_empty() => Outcome::Passed("nothing is written between or beside the columns".into()),
        Ok(()) => Outcome::Failed(touched.join("; ")),
    }
}

/// The same lanes alone in pairs, reversed, and all together.
pub(crate) fn independent(of: &Subject<'_>) -> Outcome {
    let orders: [&[usize]; 4] = [&[6, 5, 4, 3, 2, 1, 0], &[3, 3], &[0, 5, 2], &[6, 1]];
    let result = (|| -> Result<(f64, bool), DecodeError> {
        let all = of.place.everything(of.decoder)?;
        let (mut worst, mut same) = (0.0_f64, true);
        for lanes in orders {
            let some = of.place.pick(lanes).everything(of.decoder)?;
            for (row, &lane) in some.iter().zip(lanes) {
                worst = worse(worst, apart(row, &all[lane]));
                same &= same_bits(row, &all[lane]);
            }
        }
        Ok((worst, same))
    })();
    match result {
        Err(error) => failed(&error),
        Ok((_, true)) => Outcome::Passed("the same bits alone, reversed and in other company".into()),
        Ok((worst, false)) if worst <= of.limits.adjoint => Outcome::Noted(format!(
            "the same to {worst:.1e} in other company, but not the same bits: results will depend on lanes and threads"
        )),
        Ok((worst, false)) => Outcome::Failed(format!(
            "a lane feels its neighbors: results change by {worst:.1e} with them"
        )),
    }
}

/// Products at a point after other calls: the tape alone carries what they need.
pub(crate) fn stateless(of: &Subject<'_>) -> Outcome {
    let (place, decoder) = (&of.place, of.decoder);
    let result = (|| -> Result<bool, DecodeError> {
        let before = place.everything(decoder)?;
        let other = place.pick(&[4, 2, 6, 0, 1, 3, 5]);
        // In an order in which nothing that a call left behind fits the next one.
        let (x, tape) = place.forward(decoder, &place.z)?;
        other.everything(decoder)?;
        let z_bar = place.vjp(decoder, &place.z, &tape, &place.x_bar)?;
        other.forward(decoder, &other.z)?;
        let x_dot = place.jvp(decoder, &tape, &place.z_dot)?;
        other.everything(decoder)?;
        let again = place.everything(decoder)?;
        let mut same = before.iter().zip(&again).all(|(a, b)| same_bits(a, b));
        let (data, latent) = (decoder.shape().data, decoder.shape().latent);
        for (b, row) in before.iter().enumerate() {
            same &= same_bits(&row[..data], x.column(b)) && same_bits(&row[data..data + latent], z_bar.column(b));
            if let Some(x_dot) = &x_dot {
                let first = data + latent;
                same &= same_bits(&row[first..first + data], x_dot.column(b * DIRECTIONS));
            }
        }
        Ok(same)
    })();
    match result {
        Err(error) => failed(&error),
        Ok(true) => Outcome::Passed("results do not depend on earlier calls".into()),
        Ok(false) => Outcome::Failed("results depend on earlier calls: state is kept outside the tape".into()),
    }
}

/// Another instance computes the same.
pub(crate) fn instances(of: &Subject<'_>) -> Outcome {
    let other = match of.plugin.decoder() {
        Ok(other) => other,
        Err(error) => return Outcome::Failed(format!("a second instance cannot be made: {error}")),
    };
    match (of.place.everything(of.decoder), of.place.everything(&*other)) {
        (Ok(one), Ok(two)) if one.iter().zip(&two).all(|(a, b)| same_bits(a, b)) => {
            Outcome::Passed("two instances compute the same bits".into())
        }
        (Ok(_), Ok(_)) => Outcome::Failed("two instances compute different results".into()),
        (Err(error), _) | (_, Err(error)) => failed(&error),
    }
}

/// Arguments that do not fit are answered by ERROR, and nothing is written.
pub(crate) fn shapes(of: &Subject<'_>) -> Outcome {
    let (place, decoder) = (&of.place, of.decoder);
    let shape = decoder.shape();
    let scratch_len = decoder.scratch_len(LANES);
    let mut wrong = Vec::new();
    let mut expect = |what: &'static str, result: Result<(), DecodeError>, untouched: bool| match result {
        Ok(()) => wrong.push(format!("{what} is accepted")),
        Err(DecodeError::Fatal(text)) => wrong.push(format!("{what} is answered by FATAL ({text})")),
        Err(_) if !untouched => wrong.push(format!("{what} is refused, but something was written")),
        Err(_) => {}
    };
    let untouched = |batch: &Batch| batch.intact() && batch.values().all(|value| value == 1.2345e67);
    let mut scratch = Scratch::new(scratch_len, 0.0);
    let mut tape = Batch::new(decoder.tape_len(), LANES);
    for (what, rows, lanes) in [
        ("an x with a row too few", shape.data - 1, LANES),
        ("an x with a column too few", shape.data, LANES - 1),
    ] {
        let mut x = Batch::new(rows, lanes);
        let result = decoder.forward(place.at(&place.z), x.cols_mut(), tape.cols_mut(), scratch.get());
        expect(what, result, untouched(&x));
    }
    let longer = Batch::new(shape.latent + 1, LANES);
    let mut x = Batch::new(shape.data, LANES);
    let result = decoder.forward(place.at(&longer), x.cols_mut(), tape.cols_mut(), scratch.get());
    expect("a z with a row too many", result, untouched(&x));
    if scratch_len > 0 {
        let result = decoder.forward(
            place.at(&place.z),
            x.cols_mut(),
            tape.cols_mut(),
            &mut scratch.get()[..scratch_len - 1],
        );
        expect("scratch that is too short", result, untouched(&x));
    }
    if let Ok((_, tape)) = place.forward(decoder, &place.z) {
        let mut z_bar = Batch::new(shape.latent, LANES);
        let taped = Taped {
            at: place.at(&place.z),
            tape: tape.cols(),
        };
        let short = Batch::from_fn(shape.data + 1, LANES, |_, _| 1.0);
        let result = decoder.vjp(taped, short.cols(), z_bar.cols_mut(), scratch.get());
        expect("an x_bar with a row too many", result, untouched(&z_bar));
    }
    if wrong.is_empty() {
        Outcome::Passed("arguments of other shapes are refused".into())
    } else {
        Outcome::Failed(wrong.join("; "))
    }
}

/// A lane of NaN, infinities or huge numbers does no harm to the others.
pub(crate) fn not_a_number(of: &Subject<'_>) -> Outcome {
    let before = match of.place.everything(of.decoder) {
        Ok(before) => before,
        Err(error) => return failed(&error),
    };
    let mut notes = Vec::new();
    for strange in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300] {
        let mut place = of.place.clone();
        place.z.column_mut(2).fill(strange);
        let rows = match place.everything(of.decoder) {
            Ok(rows) => rows,
            Err(DecodeError::Fatal(text)) => {
                return Outcome::Failed(format!("z = {strange} is answered by FATAL: {text}"));
            }
            // The host repeats such a call lane by lane.
            Err(_) => {
                notes.push(format!("{strange} is refused"));
                continue;
            }
        };
        for b in (0..LANES).filter(|&b| b != 2) {
            let changed = apart(&rows[b], &before[b]);
            if changed.is_nan() || changed > of.limits.adjoint {
                return Outcome::Failed(format!("z = {strange} in one lane changes another"));
            }
        }
        let data = of.decoder.shape().data;
        if strange.is_nan() && rows[2][..data].iter().all(|value| value.is_finite()) {
            return Outcome::Failed("z = NaN is decoded to finite values: a failure could not be told".into());
        }
    }
    let refused = if notes.is_empty() {
        String::new()
    } else {
        format!(" ({})", notes.join(", "))
    };
    Outcome::Passed(format!("NaN, infinities and huge latents harm no other lane{refused}"))
}
