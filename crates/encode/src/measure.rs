//! What is measured at the codes of a finished block: the estimated distance to the minimum, chi-squared, D(z).

use crate::GradientFlow;
use crate::data::Data;
use crate::encoder::{Block, Encoded, Encoding};
use faer::Mat;
use gfe_ode::implicit::distances;
use gfe_ode::{Flow, FlowError, Lanewise, Point, Start, Values, Work};

/// Measures codes with a decoder of its own, opened when the first are there.
pub(crate) struct Measure<'a> {
    how: Encoding<'a>,
    params: &'a [f64],
    data: &'a dyn Data,
    ready: Option<(GradientFlow<'a>, Memory)>,
}

/// Room for the lanes measured together.
struct Memory {
    z: Mat<f64>,
    f: Mat<f64>,
    objective: Vec<f64>,
    loss: Vec<f64>,
    failed: Vec<bool>,
    work: Vec<Work>,
    grad_sq: Vec<f64>,
    edm: Vec<f64>,
    t: Vec<f64>,
    lanes: Vec<usize>,
    /// Whether the decoder has tangents, without which there is no distance.
    tangent: bool,
}

impl Memory {
    fn new(dim: usize, lanes: usize, tangent: bool) -> Self {
        Memory {
            z: Mat::zeros(dim, lanes),
            f: Mat::zeros(dim, lanes),
            objective: vec![0.0; lanes],
            loss: vec![0.0; lanes],
            failed: vec![false; lanes],
            work: vec![Work::default(); lanes],
            grad_sq: vec![0.0; lanes],
            edm: vec![f64::NAN; lanes],
            t: vec![0.0; lanes],
            lanes: (0..lanes).collect(),
            tangent,
        }
    }
}

impl<'a> Measure<'a> {
    pub(crate) fn new(how: &Encoding<'a>, params: &'a [f64], data: &'a dyn Data) -> Self {
        Measure {
            how: *how,
            params,
            data,
            ready: None,
        }
    }

    /// Adds to `encoded` what is measured at its finite codes; sample 0 of the block is number `first` of the data.
    ///
    /// `edm` needs a decoder with tangents and is NaN without.
    pub(crate) fn add(&mut self, first: usize, block: &Block, encoded: &mut Encoded) -> Result<(), FlowError> {
        let (how, lanes) = (&self.how, self.how.lanes.max(1));
        let (flow, memory) = self.ready.get_or_insert_with(|| {
            let decoder = (how.open)();
            let memory = Memory::new(decoder.shape().latent, lanes, decoder.tangent().is_some());
            let flow = GradientFlow::new(decoder, self.params, (how.loss, self.data), how.anchor(), lanes);
            (flow, memory)
        });
        let values = block.y.nrows() as f64;
        let decode = encoded.reconstruction.is_some() || how.loss.has_chi2();
        let (known, unknown): (Vec<usize>, Vec<usize>) = (0..encoded.records.len())
            .filter(|&sample| encoded.records[sample].loss.is_finite())
            .partition(|&sample| !memory.tangent || encoded.records[sample].edm.is_finite());
        for (samples, edm) in [(known, false), (unknown, true)] {
            if !(decode || edm) {
                continue;
            }
            for samples in samples.chunks(lanes) {
                for (lane, &sample) in samples.iter().enumerate() {
                    memory.z.as_mut().col_mut(lane).copy_from(encoded.z.col(sample));
                    flow.admit(lane, first + sample, block.z0.col_as_slice(sample));
                }
                memory.measure(flow, samples.len(), edm)?;
                for (lane, &sample) in samples.iter().enumerate() {
                    let record = &mut encoded.records[sample];
                    if edm {
                        record.edm = values * memory.edm[lane];
                    }
                    record.work += memory.work[lane];
                    if !decode {
                        continue;
                    }
                    let x = flow.decoded(lane);
                    let (y, w) = flow.datum(lane);
                    record.chi2 = how.loss.chi2(x, y, w);
                    if let Some(to) = &mut encoded.reconstruction {
                        let to = to.col_as_slice_mut(sample);
                        to.iter_mut().zip(x).for_each(|(to, x)| *to = how.loss.data_units(*x));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Memory {
    /// The decoder at the first `count` lanes and, with `distance`, the estimated distance to the minimum there.
    fn measure(&mut self, flow: &mut GradientFlow<'_>, count: usize, distance: bool) -> Result<(), FlowError> {
        self.work.fill(Work::default());
        let at = Point {
            lanes: &self.lanes[..count],
            t: &self.t[..count],
            z: self.z.as_ref().subcols(0, count),
        };
        if !distance {
            return flow.pass(&at, &mut self.work).map(|_| ());
        }
        let to = Values {
            f: self.f.as_mut().subcols_mut(0, count),
            objective: &mut self.objective[..count],
            loss: &mut self.loss[..count],
            grad_sq: &mut self.grad_sq[..count],
            failed: &mut self.failed[..count],
        };
        flow.eval(at, to, &mut self.work)?;
        let from = Start {
            lanes: at.lanes,
            t: at.t,
            h: at.t,
            z: at.z,
            f: self.f.as_ref().subcols(0, count),
        };
        distances(flow, &from, &mut self.edm[..count], &mut self.work)
    }
}
