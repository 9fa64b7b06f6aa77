//! Starts at codes that are known already: those whose decoded data are nearest to a sample.

use crate::batch::Engine;
use crate::encoding::Encoding;
use crate::train::shuffle::shuffled;
use faer::{Accum, Mat};
use gfe_model::columns::product;
use gfe_model::{Cols, Loss, Targets};
use gfe_ode::FlowError;

/// Codes kept at most.
const MOST: usize = 1 << 16;

/// Bytes of their decoded data at most.
const BYTES: usize = 128 << 20;

/// Codes decoded, and compared, together.
const TOGETHER: usize = 1024;

/// Samples compared together.
const SAMPLES: usize = 64;

/// Which codes are kept where there are too many.
const SEED: u64 = 0x4e45_4152;

/// Codes with what they decode to.
///
/// Nearest are those of the lowest loss l(y, D(z)) of the sample, so that weights and missing values count as they do in the encoding,
/// and no data but the sample's are read.
pub struct Nearest<'a> {
    loss: &'a dyn Loss,
    /// `[d, codes]`.
    z: Mat<f64>,
    /// `[D, codes]`.
    x: Mat<f64>,
}

/// Which of so many codes are kept, in ascending order, for data of `values` values: all, or a random choice of 65,536 or of what
/// 128 MiB of decoded data hold, always the same.
pub fn kept_codes(count: usize, values: usize) -> Vec<usize> {
    let most = MOST.min((BYTES / 8 / values.max(1)).max(1));
    if count <= most {
        return (0..count).collect();
    }
    let mut kept = shuffled(count, SEED, 0);
    kept.truncate(most);
    kept.sort_unstable();
    kept
}

impl<'a> Nearest<'a> {
    /// Decodes the codes `z` `[d, codes]` under the weights `params`; those that the decoder cannot decode are left out.
    ///
    /// Fails where the decoder breaks down, or takes a context: what a code decodes to is then another for every sample.
    pub fn new(how: &Encoding<'a>, params: &[f64], z: Cols<'_>) -> Result<Nearest<'a>, FlowError> {
        let decoder = (how.open)();
        let shape = decoder.shape();
        if shape.context > 0 {
            let text =
                "codes are decoded once for all samples, and this decoder takes a context that is another for each";
            return Err(FlowError(text.into()));
        }
        let mut engine = Engine::new(decoder, params, SAMPLES, 2 * shape.latent);
        let mut batch = engine.batch(SAMPLES);
        let (mut known, mut x) = (Mat::zeros(shape.latent, z.ncols()), Mat::zeros(shape.data, z.ncols()));
        let mut count = 0;
        for first in (0..z.ncols()).step_by(SAMPLES) {
            let own = SAMPLES.min(z.ncols() - first);
            // A single column is doubled.
            let width = own.max(2);
            for b in 0..width {
                let from = z.col(first + b.min(own - 1));
                batch.z.as_mut().col_mut(b).copy_from(from);
            }
            engine.forward(&mut batch, 0, width)?;
            for b in 0..own {
                if batch.x.col_as_slice(b).iter().all(|x| x.is_finite()) {
                    known.as_mut().col_mut(count).copy_from(batch.z.col(b));
                    x.as_mut().col_mut(count).copy_from(batch.x.col(b));
                    count += 1;
                }
            }
        }
        known.resize_with(shape.latent, count, |_, _| 0.0);
        x.resize_with(shape.data, count, |_, _| 0.0);
        Ok(Nearest {
            loss: how.loss,
            z: known,
            x,
        })
    }

    /// How many codes there are.
    pub fn len(&self) -> usize {
        self.z.ncols()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `starts` nearest codes of each sample, nearest first, `[d, starts samples]` with those of a sample together; of codes with
    /// equal losses the first. See [`Block::start`](crate::Block::start).
    ///
    /// Panics where there are fewer codes than starts.
    pub fn starts(&self, data: Targets<'_>, starts: usize) -> Mat<f64> {
        assert!(starts <= self.len(), "as many codes as starts");
        let samples = data.y.ncols();
        let mut z = Mat::zeros(self.z.nrows(), starts * samples);
        for first in (0..samples).step_by(SAMPLES) {
            let count = SAMPLES.min(samples - first);
            let part = Targets {
                y: data.y.subcols(first, count),
                w: data.w.map(|w| w.subcols(first, count)),
            };
            for (b, nearest) in self.nearest(part, starts).into_iter().enumerate() {
                for (k, (_, code)) in nearest.into_iter().enumerate() {
                    let to = z.as_mut().col_mut((first + b) * starts + k);
                    { to }.copy_from(self.z.col(code));
                }
            }
        }
        z
    }

    /// The nearest codes of each sample with D l, up to what the data alone make of it, in ascending order.
    fn nearest(&self, data: Targets<'_>, starts: usize) -> Vec<Vec<(f64, usize)>> {
        let (values, samples) = (data.y.nrows(), data.y.ncols());
        // A single column is doubled.
        let width = samples.max(2);
        let column = |b: usize| b.min(samples - 1);
        let weight = |i: usize, b: usize| data.w.map_or(1.0, |w| w[(i, column(b))]);
        let w = Mat::from_fn(values, width, weight);
        // -w y; what stands in the place of a missing value is not looked at.
        let minus_wy = Mat::from_fn(values, width, |i, b| match weight(i, b) {
            0.0 => 0.0,
            w => -w * data.y[(i, column(b))],
        });
        let mut best: Vec<Vec<(f64, usize)>> = vec![Vec::new(); samples];
        for first in (0..self.len()).step_by(TOGETHER) {
            let x = self.x.as_ref().subcols(first, TOGETHER.min(self.len() - first));
            let term = |k: usize| Mat::from_fn(values, x.ncols(), |i, c| self.loss.terms(x[(i, c)])[k]);
            let (a, b) = (term(0), term(1));
            let mut losses = Mat::zeros(x.ncols(), width);
            product(losses.as_mut(), Accum::Replace, a.transpose(), w.as_ref());
            product(losses.as_mut(), Accum::Add, b.transpose(), minus_wy.as_ref());
            for (sample, best) in best.iter_mut().enumerate() {
                let own = losses.col_as_slice(sample).iter().enumerate();
                best.extend(own.map(|(c, loss)| (*loss, first + c)));
                let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
                if best.len() > starts {
                    best.select_nth_unstable_by(starts - 1, order);
                    best.truncate(starts);
                }
                best.sort_unstable_by(order);
            }
        }
        best
    }
}
