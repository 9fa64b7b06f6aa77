//! Held-out values: codes from some of a sample's values, judged by the others.
//!
//! The encoder sees a random part of the values, the others weigh nothing. D in the loss stays the number of all
//! values, so that the horizon's term means the same prior as where everything is seen.

use crate::encoder::{Block, Encoded, Samples, encode_blocks};
use crate::encoding::Encoding;
use crate::pass::{Codes, Pass};
use crate::train::shuffle::shuffled;
use faer::Mat;
use gfe_model::{Cols, DecodeError, Decoder, Loss, Targets};
use gfe_ode::FlowError;

/// Samples in a block: few enough that their values and weights are small beside the data.
const BLOCK: usize = 256;

/// Which values the encoder sees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldOut {
    /// The part of the values that it sees, between 0 and 1.
    pub fraction: f64,
    /// Of their choice.
    pub seed: u64,
}

/// What codes from some of the values came to. A value's loss is w v, a sample's its mean over the values that count.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HeldOutLoss {
    /// Sum over the usable samples of the loss on the values not seen.
    pub unseen_sum: f64,
    /// The same on the values seen.
    pub seen_sum: f64,
    /// Samples encoded.
    pub samples: usize,
    /// Those whose status is a success.
    pub succeeded: usize,
    /// Those with a finite code and with values not seen that the loss admits, which count in the losses.
    pub usable: usize,
    /// Work of the encodings in units of one forward pass, see [`gfe_ode::Work::units`].
    pub units: u64,
}

impl HeldOutLoss {
    /// Mean over the usable samples of the loss on the values not seen; NaN without any.
    pub fn unseen(&self) -> f64 {
        self.unseen_sum / self.usable as f64
    }

    /// The same on the values seen.
    pub fn seen(&self) -> f64 {
        self.seen_sum / self.usable as f64
    }

    /// Takes in those of `other`.
    pub fn add(&mut self, other: &HeldOutLoss) {
        self.unseen_sum += other.unseen_sum;
        self.seen_sum += other.seen_sum;
        self.samples += other.samples;
        self.succeeded += other.succeeded;
        self.usable += other.usable;
        self.units += other.units;
    }

    /// Adds the sums of a block.
    fn take(&mut self, encoded: &Encoded, losses: &[[f64; 2]]) {
        self.samples += encoded.records.len();
        for record in &encoded.records {
            self.succeeded += usize::from(record.status.is_success());
            self.units += record.work.units();
        }
        self.usable += losses.len();
        for [seen, unseen] in losses {
            self.seen_sum += seen;
            self.unseen_sum += unseen;
        }
    }
}

/// Sets `seen` `[D]` to which values of the sample in row `sample` the encoder sees.
///
/// Exactly round(`fraction` n) of its n values whose weight is not 0 are seen (`w` `[D]`; all without), and none of the
/// others: the first of them in the random order of `seed` and the row, one ChaCha stream per row. So it depends on
/// these and on which values there are alone, is the same on every machine, and what a smaller fraction sees a larger
/// one sees too.
///
/// Panics where `seen` and `w` differ in length.
pub fn seen_values(fraction: f64, seed: u64, sample: usize, w: Option<&[f64]>, seen: &mut [bool]) {
    if let Some(w) = w {
        assert_eq!(w.len(), seen.len(), "a weight for every value");
    }
    let valid: Vec<usize> = (0..seen.len()).filter(|&i| w.is_none_or(|w| w[i] != 0.0)).collect();
    let count = (fraction * valid.len() as f64).round() as usize;
    seen.fill(false);
    for i in shuffled(valid.len(), seed, sample as u64).into_iter().take(count) {
        seen[valid[i]] = true;
    }
}

/// Encodes every sample from some of its values under the weights `params` `[P]`, and gives the loss on the others.
///
/// `rows` has the row of each sample, by which its values are chosen: see [`seen_values`]. The encoder takes `how` as
/// it is, with weight 0 for the values not seen; losses are told by `score`, which may be another than the encoder's. They
/// are summed in the order of the samples and have the same bits whatever the lanes and threads. Fails where `fraction` is not between 0 and 1, or the decoder breaks down. Panics
/// where `rows` are not as many as the samples.
pub fn held_out(
    how: &Encoding<'_>,
    params: &[f64],
    samples: Samples<'_>,
    (rows, what): (&[usize], HeldOut),
    score: &dyn Loss,
) -> Result<HeldOutLoss, FlowError> {
    let count = samples.data.y.ncols();
    assert_eq!(rows.len(), count, "a row for every sample");
    if !(what.fraction > 0.0 && what.fraction < 1.0) {
        let given = what.fraction;
        return Err(FlowError(format!(
            "the fraction of values seen is {given}: it must lie between 0 and 1"
        )));
    }
    let how = Encoding {
        reconstruction: false,
        uncertainty: None,
        ..*how
    };
    let decoder = (how.open)();
    let mut loss = HeldOutLoss::default();
    let mut blocks = (0..count).step_by(BLOCK);
    let shared = encode_blocks(
        &how,
        params,
        || Ok(blocks.next().map(|first| block(samples, rows, what, first))),
        |block, encoded| {
            let losses = losses(score, (&*decoder, params), (block, samples.data.w), &encoded)
                .map_err(|error| FlowError(error.to_string()))?;
            loss.take(&encoded, &losses);
            Ok::<(), FlowError>(())
        },
    )?;
    loss.units += shared.units();
    Ok(loss)
}

/// The weights of the values that the encoder sees of the samples in these rows, `[D, samples]`: 0 for the others.
pub(crate) fn seen_weights(data: Targets<'_>, rows: &[usize], what: HeldOut) -> Mat<f64> {
    let (values, count) = (data.y.nrows(), data.y.ncols());
    let mut w = data.w.map_or_else(|| Mat::full(values, count, 1.0), |w| w.to_owned());
    let mut seen = vec![false; values];
    for b in 0..count {
        let w = w.col_as_slice_mut(b);
        seen_values(what.fraction, what.seed, rows[b], Some(w), &mut seen);
        let unseen = w.iter_mut().zip(&seen).filter(|(_, seen)| !**seen);
        unseen.for_each(|(w, _)| *w = 0.0);
    }
    w
}

/// The samples from `first` on, with weight 0 for what is not seen.
fn block(samples: Samples<'_>, rows: &[usize], what: HeldOut, first: usize) -> Block {
    let count = BLOCK.min(rows.len() - first);
    let some = |of: Cols<'_>| of.subcols(first, count).to_owned();
    let y = some(samples.data.y);
    let data = Targets {
        y: y.as_ref(),
        w: samples.data.w.map(|w| w.subcols(first, count)),
    };
    let w = seen_weights(data, &rows[first..first + count], what);
    Block {
        row: first,
        y,
        w: Some(w),
        context: samples.context.map(some),
        z0: some(samples.z0),
        start: None,
    }
}

/// Samples without some of their values, and with the others alone.
pub(crate) struct Masked {
    /// Weights of the values that are seen, `[D, samples]`.
    pub(crate) seen: Mat<f64>,
    /// Weights of the others.
    pub(crate) unseen: Mat<f64>,
}

impl Masked {
    pub(crate) fn new(samples: Samples<'_>, rows: &[usize], what: HeldOut) -> Masked {
        let seen = seen_weights(samples.data, rows, what);
        let unseen = Mat::from_fn(seen.nrows(), seen.ncols(), |i, b| match seen[(i, b)] {
            0.0 => samples.data.w.map_or(1.0, |w| w[(i, b)]),
            _ => 0.0,
        });
        Masked { seen, unseen }
    }

    /// The samples with the weights of what is seen, or of what is not.
    pub(crate) fn part<'s>(&'s self, samples: Samples<'s>, seen: bool) -> Samples<'s> {
        let mut part = samples;
        part.data.w = Some(if seen { self.seen.as_ref() } else { self.unseen.as_ref() });
        part
    }

    /// The mean over values in place of the mean over all D of them, of a loss of sample `b` on values not seen.
    pub(crate) fn mean(&self, loss: f64, b: usize) -> f64 {
        let unseen = self.unseen.col_as_slice(b);
        let count = unseen.iter().filter(|w| **w != 0.0).count();
        loss * unseen.len() as f64 / count as f64
    }
}

/// The losses on the values seen and on the others of each usable sample of a block, in their order; `w` `[D, samples]`
/// are the weights before some were taken away.
fn losses(
    score: &dyn Loss,
    (decoder, params): (&dyn Decoder, &[f64]),
    (block, w): (&Block, Option<Cols<'_>>),
    encoded: &Encoded,
) -> Result<Vec<[f64; 2]>, DecodeError> {
    let (values, count) = (block.y.nrows(), block.y.ncols());
    let seen = block
        .w
        .as_ref()
        .map_or_else(|| Mat::full(values, count, 1.0), Clone::clone);
    let unseen = Mat::from_fn(values, count, |i, b| match seen[(i, b)] {
        0.0 => w.map_or(1.0, |w| w[(i, block.row + b)]),
        _ => 0.0,
    });
    let admitted = |b: usize| {
        let (y, w) = (block.y.col_as_slice(b), unseen.col_as_slice(b));
        encoded.records[b].loss.is_finite() && score.admits(y, Some(w)).is_ok()
    };
    let usable: Vec<usize> = (0..count).filter(|&b| admitted(b)).collect();
    if usable.is_empty() {
        return Ok(Vec::new());
    }
    let codes = Codes {
        z: encoded.z.as_ref(),
        context: block.context.as_ref().map(Mat::as_ref),
        usable: &usable,
    };
    let pass = Pass::new(decoder, params, codes)?;
    let of = |w: &Mat<f64>| {
        let (y, w) = (block.y.as_ref(), Some(w.as_ref()));
        pass.slopes(score, Targets { y, w }).0
    };
    let (on_seen, on_unseen) = (of(&seen), of(&unseen));
    let number = |w: &Mat<f64>, b: usize| w.col_as_slice(b).iter().filter(|w| **w != 0.0).count();
    let mean = |of: f64, w: &Mat<f64>, b: usize| of * values as f64 / number(w, b) as f64;
    let each = usable.iter().enumerate();
    Ok(each
        .map(|(i, &b)| [mean(on_seen[i], &seen, b), mean(on_unseen[i], &unseen, b)])
        .collect())
}

#[cfg(test)]
mod tests {
    use super::seen_values;

    fn of(fraction: f64, seed: u64, row: usize, w: Option<&[f64]>) -> Vec<bool> {
        let mut seen = vec![true; 50];
        seen_values(fraction, seed, row, w, &mut seen);
        seen
    }

    fn number(seen: &[bool]) -> usize {
        seen.iter().filter(|seen| **seen).count()
    }

    #[test]
    fn exactly_the_rounded_part_of_the_values_that_count_is_seen_and_none_of_the_others() {
        let w: Vec<f64> = (0..50).map(|i| if i % 3 == 0 { 0.0 } else { 0.5 }).collect();
        // 33 of 50 values count.
        for (fraction, all, some) in [(0.0, 0, 0), (0.2, 10, 7), (0.33, 17, 11), (0.5, 25, 17), (1.0, 50, 33)] {
            for row in 0..5 {
                assert_eq!(number(&of(fraction, 1, row, None)), all, "{fraction}");
                let seen = of(fraction, 1, row, Some(&w));
                assert_eq!(number(&seen), some, "{fraction}");
                assert!(seen.iter().zip(&w).all(|(seen, w)| !seen || *w != 0.0));
            }
        }
    }

    #[test]
    fn what_is_seen_depends_on_row_and_seed_alone_and_grows_with_the_fraction() {
        let seen = of(0.4, 1, 7, None);
        assert_eq!(seen, of(0.4, 1, 7, Some(&[3.0; 50])));
        assert_ne!(seen, of(0.4, 1, 8, None));
        assert_ne!(seen, of(0.4, 2, 7, None));
        let less = of(0.2, 1, 7, None);
        assert!(less.iter().zip(&seen).all(|(less, more)| !less || *more));
    }

    #[test]
    fn the_choice_is_the_same_on_every_machine_and_even() {
        let indices = |row| (0..50).filter(move |&i| of(0.1, 5, row, None)[i]).collect::<Vec<_>>();
        assert_eq!(indices(3), EXPECTED);
        let mut times = [0; 50];
        (0..2000).for_each(|row| indices(row).into_iter().for_each(|i| times[i] += 1));
        // Binomial with mean 200 and standard deviation 13.4: six of them.
        assert!(
            times.iter().all(|&times: &i32| (120..280).contains(&times)),
            "{times:?}"
        );
    }

    /// By a program of its own in Python: the first five of Fisher-Yates on ChaCha8 with seed 5 and stream 3.
    const EXPECTED: [usize; 5] = [26, 27, 37, 42, 48];
}
