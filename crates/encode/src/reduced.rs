//! Codes for a trainer: in single precision where that is enough.

use crate::encoder::{Encoded, Encoding, Samples, encode_from};
use crate::{Ptc, Solver};
use faer::Mat;
use gfe_model::{Cols, Targets};
use gfe_ode::{FlowError, Status};

/// Encodes like [`encode_from`], with [`Ptc::reduced`] where the solver is ptc; what did not succeed in single precision is encoded
/// again in double precision, and both count in its work.
///
/// The codes stop by the same rules, within `edm_tol` of the same minima; losses and gradient norms are those of single
/// precision, to some 1e-7. What is to be reported of codes is for [`encode_from`]: with a reconstruction or error bars asked for
/// this is the same as that.
pub fn encode_reduced(
    how: &Encoding<'_>,
    params: &[f64],
    samples: Samples<'_>,
    start: Option<Cols<'_>>,
) -> Result<Encoded, FlowError> {
    let solver = match how.solver {
        Solver::Ptc(ptc) => Solver::Ptc(Ptc { reduced: true, ..ptc }),
        other => other,
    };
    if !solver.reduced() || how.reconstruction || how.uncertainty.is_some() {
        return encode_from(how, params, samples, start);
    }
    let mut encoded = encode_from(&Encoding { solver, ..*how }, params, samples, start)?;
    let failed = encoded.records.iter().enumerate().filter_map(|(b, record)| {
        let fails = !record.status.is_success() && record.status != Status::BadInput;
        fails.then_some(b)
    });
    let failed: Vec<usize> = failed.collect();
    if failed.is_empty() {
        return Ok(encoded);
    }
    let columns = |of: Cols<'_>| Mat::from_fn(of.nrows(), failed.len(), |r, b| of[(r, failed[b])]);
    let (y, w) = (columns(samples.data.y), samples.data.w.map(columns));
    let (context, z0) = (samples.context.map(columns), columns(samples.z0));
    let part = Samples {
        data: Targets {
            y: y.as_ref(),
            w: w.as_ref().map(Mat::as_ref),
        },
        context: context.as_ref().map(Mat::as_ref),
        z0: z0.as_ref(),
    };
    let start = start.map(columns);
    let again = encode_from(how, params, part, start.as_ref().map(Mat::as_ref))?;
    for (from, (&to, mut record)) in failed.iter().zip(again.records).enumerate() {
        record.work += encoded.records[to].work;
        encoded.records[to] = record;
        encoded.z.as_mut().col_mut(to).copy_from(again.z.col(from));
    }
    Ok(encoded)
}
