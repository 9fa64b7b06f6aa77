//! Several starts of one sample: where they begin, which of their ends is taken, and how many minima they found.

use crate::Start;
use crate::encoder::{Block, Encoded, Record};
use crate::encoding::Encoding;
use faer::{Mat, MatRef};
use gfe_model::{Cols, DecodeError, Decoder, Targets};
use gfe_ode::FlowError;

/// Two ends are the same minimum if their decoded data differ by less than this, in squared standard errors: ends of one
/// minimum, each within a tenth of a standard error of it, differ by 0.04 at most.
pub(crate) const SAME: f64 = 0.1;

/// An end counts as a minimum beside the best if chi-squared is above that of the best by at most this: three standard errors.
pub(crate) const NEAR: f64 = 9.0;

/// Seed of the starts of decoders that make no guesses.
const SEED: u64 = 0x5747_4152_5453;

/// Where the starts of each sample begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begin {
    /// At the sample's z0; further ones scattered about it by a standard normal deviate in each component.
    #[default]
    Z0,
    /// At the decoder's guesses.
    Guess,
}

/// Finds the starts of blocks, with a decoder of its own where it makes guesses.
pub(crate) struct Starter<'a> {
    how: Encoding<'a>,
    params: &'a [f64],
    decoder: Option<Box<dyn Decoder>>,
}

impl<'a> Starter<'a> {
    pub(crate) fn new(how: &Encoding<'a>, params: &'a [f64]) -> Self {
        Starter {
            how: *how,
            params,
            decoder: (how.begin == Begin::Guess).then(|| (how.open)()),
        }
    }

    /// Adds to a block where its samples start, `[d, starts samples]`, unless it says so itself for each start or all start at z0.
    pub(crate) fn begin(&self, block: &mut Block) -> Result<(), FlowError> {
        let (starts, samples, dim) = (self.how.starts.max(1), block.y.ncols(), block.z0.nrows());
        if block
            .start
            .as_ref()
            .is_some_and(|start| start.ncols() == starts * samples)
        {
            return Ok(());
        }
        let mut z = Mat::zeros(dim, starts * samples);
        for start in 0..starts {
            let guessed = match &self.decoder {
                Some(decoder) => Some(guess(&self.how, (&**decoder, self.params), block, start)?),
                None if starts == 1 => return Ok(()),
                None => None,
            };
            for b in 0..samples {
                let to = z.col_as_slice_mut(b * starts + start);
                match &guessed {
                    Some(guessed) => to.copy_from_slice(guessed.col_as_slice(b)),
                    None => {
                        let from = block.start.as_ref().unwrap_or(&block.z0);
                        to.copy_from_slice(from.col_as_slice(b));
                        if start > 0 {
                            scatter((block.row + b) * starts + start, to);
                        }
                    }
                }
            }
        }
        block.start = Some(z);
        Ok(())
    }
}

/// Adds standard normal deviates, the same for the same number: the sum of twelve uniform ones.
fn scatter(number: usize, z: &mut [f64]) {
    let mut uniform = vec![0.0; 12 * z.len()];
    Start::Uniform { seed: SEED }.write(number, &mut uniform);
    for (z, of) in z.iter_mut().zip(uniform.chunks(12)) {
        *z += of.iter().sum::<f64>() - 6.0;
    }
}

/// The decoder's guesses `[d, samples]`; a sample for which it fails, or which is not finite, starts at its z0.
fn guess(
    how: &Encoding<'_>,
    (decoder, params): (&dyn Decoder, &[f64]),
    block: &Block,
    start: usize,
) -> Result<Mat<f64>, FlowError> {
    let mut z = block.z0.clone();
    let Some(guess) = decoder.guess() else { return Ok(z) };
    for b in 0..block.y.ncols() {
        let w = block.w.as_ref().map(|w| w.as_ref().subcols(b, 1));
        let y = block.y.as_ref().subcols(b, 1);
        if !how.admits(block, b) {
            continue;
        }
        let none = MatRef::from_column_major_slice(&[], 0, 1);
        let context: Cols<'_> = block
            .context
            .as_ref()
            .map_or(none, |context| context.as_ref().subcols(b, 1));
        let to = z.as_mut().subcols_mut(b, 1);
        match guess.guess(params, context, Targets { y, w }, start, to) {
            Ok(()) if z.col_as_slice(b).iter().all(|value| value.is_finite()) => {}
            Err(error @ DecodeError::Fatal(_)) => return Err(FlowError(error.to_string())),
            Ok(()) | Err(_) => z.col_as_slice_mut(b).copy_from_slice(block.z0.col_as_slice(b)),
        }
    }
    Ok(z)
}

/// What is minimized, at the end of a start.
fn objective(how: &Encoding<'_>, record: &Record, z: &[f64], z0: &[f64]) -> f64 {
    let square: f64 = z.iter().zip(z0).map(|(z, z0)| (z - z0) * (z - z0)).sum();
    record.loss + 0.5 * how.anchor() * square
}

/// The ends of one sample.
pub(crate) struct Ends {
    /// The one that is taken.
    pub(crate) best: usize,
    /// Those that are as good to three standard errors, the best first.
    pub(crate) near: Vec<usize>,
}

/// The unit of D times what is minimized in which differences count: 1 for a likelihood, and for a sum of squares twice the
/// variance, which is what the best end leaves.
pub(crate) fn unit(how: &Encoding<'_>, best: &Record) -> f64 {
    if how.loss.is_likelihood() {
        1.0
    } else {
        (2.0 * best.loss).max(f64::MIN_POSITIVE)
    }
}

/// Which of the ends `first..first + starts` of `encoded` is taken: the lowest of those that succeeded, else the lowest.
pub(crate) fn ends(how: &Encoding<'_>, block: &Block, encoded: &Encoded, sample: usize) -> Ends {
    let starts = how.starts.max(1);
    let all = sample * starts..(sample + 1) * starts;
    let z0 = block.z0.col_as_slice(sample);
    let value = |i: usize| {
        let value = objective(how, &encoded.records[i], encoded.z.col_as_slice(i), z0);
        if value.is_nan() { f64::INFINITY } else { value }
    };
    let good = |i: usize| encoded.records[i].status.is_success();
    let order = |a: &usize, b: &usize| good(*b).cmp(&good(*a)).then(value(*a).total_cmp(&value(*b)));
    let best = all.clone().min_by(order).unwrap_or(all.start);
    let values = block.y.nrows() as f64;
    let unit = unit(how, &encoded.records[best]);
    let mut near: Vec<usize> = all
        .filter(|&i| good(i) && 2.0 * values * (value(i) - value(best)) / unit <= NEAR)
        .collect();
    near.sort_by(|a, b| (*a != best).cmp(&(*b != best)).then(order(a, b)));
    Ends { best, near }
}

/// Takes the ends `best` of the samples, with the work of all of their starts.
pub(crate) fn take(how: &Encoding<'_>, encoded: &mut Encoded, best: &[(usize, u32)]) {
    let starts = how.starts.max(1);
    let mut records = std::mem::take(&mut encoded.records);
    let z = Mat::from_fn(encoded.z.nrows(), best.len(), |r, b| encoded.z[(r, best[b].0)]);
    for (sample, &(i, minima)) in best.iter().enumerate() {
        let mut record = std::mem::replace(&mut records[i], Record::none());
        for (other, of) in records[sample * starts..(sample + 1) * starts].iter().enumerate() {
            if sample * starts + other != i {
                record.work += of.work;
            }
        }
        (record.start, record.minima) = ((i - sample * starts) as u32, minima);
        encoded.records.push(record);
    }
    encoded.z = z;
}
