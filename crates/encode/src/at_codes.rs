//! Loss, gradient and chi-squared at codes that are given: what an encoding reports, computed once more.

use crate::encoder::Samples;
use crate::encoding::Encoding;
use crate::gradient_flow::GradientFlow;
use faer::Mat;
use gfe_model::Cols;
use gfe_ode::{Flow, FlowError, Lanewise, Point, Values, Work};

/// What is found at a code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtCode {
    /// Whether the loss admits the datum, and what is known of it is finite: else everything is NaN.
    pub admitted: bool,
    /// The loss.
    pub loss: f64,
    /// Norm of the gradient of what the solver minimizes: of l + |z - z0|^2 / (2 tau) for one that goes to the steady state, else
    /// of l; without the flow's factor alpha.
    pub grad_norm: f64,
    /// chi-squared, see [`gfe_model::Loss::chi2`].
    pub chi2: f64,
    /// Values that count: those not masked.
    pub n_valid: u32,
}

impl AtCode {
    const NOTHING: AtCode = AtCode {
        admitted: false,
        loss: f64::NAN,
        grad_norm: f64::NAN,
        chi2: f64::NAN,
        n_valid: 0,
    };
}

/// What is found at the codes `z` `[d, samples]` under the weights `params` `[P]`; codes that are not finite give NaN.
///
/// The numbers have the bits of those that an encoding reports for these codes. Fails where the decoder breaks down.
pub fn at_codes(
    how: &Encoding<'_>,
    params: &[f64],
    samples: Samples<'_>,
    z: Cols<'_>,
) -> Result<Vec<AtCode>, FlowError> {
    let (dim, lanes) = (z.nrows(), how.lanes.max(2));
    let mut found = vec![AtCode::NOTHING; z.ncols()];
    let mut finite = Vec::with_capacity(z.ncols());
    for (b, at) in found.iter_mut().enumerate() {
        let y: Vec<f64> = samples.data.y.col(b).iter().copied().collect();
        let w: Option<Vec<f64>> = samples.data.w.map(|w| w.col(b).iter().copied().collect());
        let known = samples
            .context
            .is_none_or(|context| context.col(b).iter().all(|value| value.is_finite()));
        at.admitted = known && how.loss.admits(&y, w.as_deref()).is_ok();
        if at.admitted {
            at.n_valid = w.map_or(y.len(), |w| w.iter().filter(|w| **w != 0.0).count()) as u32;
            if z.col(b).iter().all(|z| z.is_finite()) {
                finite.push(b);
            }
        }
    }
    let mut flow = GradientFlow::new((how.open)(), params, (how.loss, &samples), how.anchor(), lanes);
    let mut work = vec![Work::default(); lanes];
    for some in finite.chunks(lanes) {
        let count = some.len();
        let gathered = Mat::from_fn(dim, count, |r, lane| z[(r, some[lane])]);
        for (lane, &b) in some.iter().enumerate() {
            flow.admit(lane, b, gathered.col_as_slice(lane));
        }
        let (lane_ids, t): (Vec<usize>, Vec<f64>) = ((0..count).collect(), vec![0.0; count]);
        let mut f = Mat::zeros(dim, count);
        let (mut objective, mut loss, mut grad_sq) = (vec![0.0; count], vec![0.0; count], vec![0.0; count]);
        let mut failed = vec![false; count];
        let at = Point {
            lanes: &lane_ids,
            t: &t,
            z: gathered.as_ref(),
        };
        let to = Values {
            f: f.as_mut(),
            objective: &mut objective,
            loss: &mut loss,
            grad_sq: &mut grad_sq,
            failed: &mut failed,
        };
        flow.eval(at, to, &mut work)?;
        for (lane, &b) in some.iter().enumerate() {
            let (y, w) = flow.datum(lane);
            found[b].loss = loss[lane];
            found[b].grad_norm = grad_sq[lane].sqrt();
            let x = flow.decoded(lane);
            found[b].chi2 = how
                .noise
                .map_or_else(|| how.loss.chi2(x, y, w), |noise| noise.chi2(x, y, w));
        }
    }
    Ok(found)
}
