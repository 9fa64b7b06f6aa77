//! How large the errors of a decoder's values are, where the loss says nothing of them: estimated from what codes leave of data that
//! the decoder was not trained on.

use crate::GradientFlow;
use crate::encoder::{Encoded, Samples, encode};
use crate::encoding::Encoding;
use faer::Mat;
use gfe_ode::{FlowError, Lanewise, Point, Work};

/// Samples encoded together.
const TOGETHER: usize = 512;

/// A value whose residuals have no more freedom than this part of their number is determined by its own datum: they say nothing.
const FREE: f64 = 1e-6;

/// Standard errors of the values, those of measurement and the decoder's own together.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// `[D]`, in the units of the data that the decoder was fitted to; 0 for a value that is always right, NaN for one that nothing is
    /// known of.
    pub sigma: Vec<f64>,
    /// Samples that they come from.
    pub samples: usize,
}

impl Noise {
    /// From `samples` that the decoder with the weights `params` `[P]` has not seen: with r the residual y - D(z) at the code that `how`
    /// gives of each, sigma_i^2 = sum r_i^2 / sum (1 - p_i), both over the samples in which value i counts (its weight is not 0).
    ///
    /// p_i is the part of its own datum that value i of the decoded code takes up, the diagonal of the matrix that maps data to decoded
    /// data, so that the codes' freedom is not taken for accuracy: sum_i p_i is the effective number of latents. With it the
    /// estimate has no bias where the errors are the same for all values and the decoder is linear over them (MacKinnon & White 1985,
    /// J. Econometrics 29(3), HC2). Weights other than 0 and 1 enter the codes and p, not the residuals. Samples whose code was not
    /// found are left out.
    ///
    /// Fails where the decoder breaks down, or has no Jacobian-vector products.
    pub fn estimate(how: &Encoding<'_>, params: &[f64], samples: Samples<'_>) -> Result<Noise, FlowError> {
        let how = Encoding {
            reconstruction: false,
            uncertainty: None,
            ..*how
        };
        let (values, count) = (samples.data.y.nrows(), samples.data.y.ncols());
        let mut sums = Sums {
            squares: vec![0.0; values],
            freedom: vec![0.0; values],
            seen: vec![0; values],
            samples: 0,
        };
        for first in (0..count).step_by(TOGETHER) {
            let part = samples.part(first, TOGETHER.min(count - first));
            let encoded = encode(&how, params, part)?;
            sums.add(&how, params, part, &encoded)?;
        }
        Ok(sums.noise())
    }

    /// sigma^2, `[D]`.
    pub(crate) fn variances(&self) -> Vec<f64> {
        self.sigma.iter().map(|sigma| sigma * sigma).collect()
    }

    /// The mean of sigma^2 over the values of which it is known.
    pub(crate) fn mean_variance(&self) -> f64 {
        let known = || self.variances().into_iter().filter(|variance| variance.is_finite());
        known().sum::<f64>() / known().count() as f64
    }

    /// sum (y - x)^2 / sigma^2 over the values that count and whose sigma is known and not 0.
    pub(crate) fn chi2(&self, x: &[f64], y: &[f64], w: Option<&[f64]>) -> f64 {
        let counts = |i: &usize| w.is_none_or(|w| w[*i] != 0.0) && self.sigma[*i] > 0.0;
        let residual = |i: usize| (y[i] - x[i]) / self.sigma[i];
        (0..y.len()).filter(counts).map(|i| residual(i).powi(2)).sum()
    }
}

/// Over samples, for each value.
struct Sums {
    squares: Vec<f64>,
    freedom: Vec<f64>,
    seen: Vec<u32>,
    samples: usize,
}

impl Sums {
    /// Adds samples with their codes.
    fn add(
        &mut self,
        how: &Encoding<'_>,
        params: &[f64],
        samples: Samples<'_>,
        encoded: &Encoded,
    ) -> Result<(), FlowError> {
        let lanes = how.lanes.max(1);
        let mut flow = GradientFlow::new((how.open)(), params, (how.loss, &samples), how.anchor(), lanes);
        let good: Vec<usize> = (0..encoded.records.len())
            .filter(|&b| encoded.records[b].status.is_success())
            .collect();
        let mut work = vec![Work::default(); lanes];
        for some in good.chunks(lanes) {
            let z = Mat::from_fn(encoded.z.nrows(), some.len(), |r, b| encoded.z[(r, some[b])]);
            for (lane, &sample) in some.iter().enumerate() {
                // Samples bring their z0 themselves.
                flow.admit(lane, sample, &[]);
            }
            let at = Point {
                lanes: &Vec::from_iter(0..some.len()),
                t: &vec![0.0; some.len()],
                z: z.as_ref(),
            };
            let mut leverages = Mat::zeros(self.squares.len(), some.len());
            flow.leverages(&at, &mut leverages, &mut work)?;
            for lane in 0..some.len() {
                let (y, w) = flow.datum(lane);
                self.take((flow.decoded(lane), y, w), leverages.col_as_slice(lane));
            }
        }
        Ok(())
    }

    /// Adds a sample; one whose leverages are not known says nothing.
    fn take(&mut self, (x, y, w): (&[f64], &[f64], Option<&[f64]>), leverages: &[f64]) {
        if leverages.iter().any(|p| !p.is_finite()) {
            return;
        }
        self.samples += 1;
        for i in (0..y.len()).filter(|&i| w.is_none_or(|w| w[i] != 0.0)) {
            self.squares[i] += (y[i] - x[i]).powi(2);
            self.freedom[i] += 1.0 - leverages[i];
            self.seen[i] += 1;
        }
    }

    fn noise(self) -> Noise {
        let sigma = |i: usize| {
            if self.freedom[i] > FREE * f64::from(self.seen[i]) {
                (self.squares[i] / self.freedom[i]).sqrt()
            } else {
                f64::NAN
            }
        };
        Noise {
            sigma: (0..self.squares.len()).map(sigma).collect(),
            samples: self.samples,
        }
    }
}
