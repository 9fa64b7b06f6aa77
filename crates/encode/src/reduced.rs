//! Single precision: codes for a trainer, and what is encoded again in double precision.

use crate::encoder::{Block, Encoded, Samples, encode_block, encode_from};
use crate::encoding::Encoding;
use crate::solver::Precision;
use faer::Mat;
use gfe_model::Cols;
use gfe_ode::{FlowError, Status};

/// Encodes like [`encode_from`], in single precision where the solver is ptc; see [`Precision::Single`].
///
/// The codes stop by the same rules, within `edm_tol` of the same minima. What is to be reported of codes is for
/// [`encode_from`]: with a reconstruction or error bars asked for this is the same as that, in double precision.
pub fn encode_reduced(
    how: &Encoding<'_>,
    params: &[f64],
    samples: Samples<'_>,
    start: Option<Cols<'_>>,
) -> Result<Encoded, FlowError> {
    let precision = if how.reconstruction || how.uncertainty.is_some() {
        Precision::Double
    } else {
        Precision::Single
    };
    encode_from(&how.with_precision(precision), params, samples, start)
}

/// Whether any start of each sample of a block was tried and did not succeed.
pub(crate) fn failed(encoded: &Encoded, starts: usize) -> Vec<bool> {
    let fails = |status: Status| !status.is_success() && status != Status::BadInput;
    let samples = encoded.records.chunks(starts);
    samples
        .map(|records| records.iter().any(|record| fails(record.status)))
        .collect()
}

/// Encodes these samples of a block again in double precision; what it took before counts in their work.
///
/// They have the bits that they would have in a block of their own.
pub(crate) fn again(
    how: &Encoding<'_>,
    params: &[f64],
    (block, samples): (&Block, &[usize]),
    encoded: &mut Encoded,
) -> Result<(), FlowError> {
    let starts = how.starts.max(1);
    let columns = |of: &Mat<f64>, each: usize| {
        let column = |b: usize| samples[b / each] * each + b % each;
        Mat::from_fn(of.nrows(), samples.len() * each, |r, b| of[(r, column(b))])
    };
    let part = Block {
        row: block.row,
        y: columns(&block.y, 1),
        w: block.w.as_ref().map(|w| columns(w, 1)),
        context: block.context.as_ref().map(|context| columns(context, 1)),
        z0: columns(&block.z0, 1),
        // Of several starts each has its column by now, so that none is made from the row.
        start: block.start.as_ref().map(|start| columns(start, starts)),
    };
    let how = Encoding {
        // Its Jacobian would be work that all share.
        common_z0: None,
        threads: 1,
        ..how.with_precision(Precision::Double)
    };
    let double = encode_block(&how, params, None, part)?;
    for (from, (&to, mut record)) in samples.iter().zip(double.records).enumerate() {
        record.work += encoded.records[to].work;
        encoded.records[to] = record;
        encoded.z.as_mut().col_mut(to).copy_from(double.z.col(from));
        if let (Some(to_x), Some(x)) = (&mut encoded.reconstruction, &double.reconstruction) {
            to_x.as_mut().col_mut(to).copy_from(x.col(from));
        }
        if let (Some(errors), Some(others)) = (&mut encoded.uncertainty, &double.uncertainty) {
            errors.take(to, (others, from));
        }
    }
    Ok(())
}
