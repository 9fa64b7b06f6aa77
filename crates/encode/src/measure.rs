//! What is measured at the codes of a finished block: the estimated distance to the minimum, chi-squared, D(z).

use crate::GradientFlow;
use crate::encoder::{Block, Encoded, Encoding, Record};
use crate::gradient_flow::Data;
use faer::Mat;
use gfe_ode::{Cholesky, Flow, FlowError, Lanewise, Point, Values, Work};

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
    blocks: Vec<f64>,
    solution: Vec<f64>,
    t: Vec<f64>,
    lanes: Vec<usize>,
    cholesky: Cholesky,
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
            blocks: vec![0.0; if tangent { dim * dim * lanes } else { 0 }],
            solution: vec![0.0; dim],
            t: vec![0.0; lanes],
            lanes: (0..lanes).collect(),
            cholesky: Cholesky::new(dim),
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
        let (values, tangent) = (block.y.nrows(), !memory.blocks.is_empty());
        let finite = encoded.records.iter().map(|record| record.loss.is_finite());
        let done: Vec<usize> = finite
            .enumerate()
            .filter_map(|(sample, finite)| finite.then_some(sample))
            .collect();
        for samples in done.chunks(lanes) {
            for (lane, &sample) in samples.iter().enumerate() {
                memory.z.as_mut().col_mut(lane).copy_from(encoded.z.col(sample));
                flow.admit(lane, first + sample, block.z0.col_as_slice(sample));
            }
            memory.measure(flow, samples.len(), tangent)?;
            for (lane, &sample) in samples.iter().enumerate() {
                let record = &mut encoded.records[sample];
                if tangent {
                    record.edm = values as f64 * memory.edm(lane);
                }
                let x = flow.decoded().col(lane);
                let x: Vec<f64> = x.iter().copied().collect();
                let (y, w) = flow.datum(lane);
                record.chi2 = how.loss.chi2(&x, y, w);
                add_work(record, &memory.work[lane]);
                if let Some(to) = &mut encoded.reconstruction {
                    let to = to.col_as_slice_mut(sample);
                    to.iter_mut().zip(&x).for_each(|(to, x)| *to = how.loss.data_units(*x));
                }
            }
        }
        Ok(())
    }
}

impl Memory {
    /// The flow and, with `tangent`, its Jacobian in the first `count` lanes; the flow's last values are those at z.
    fn measure(&mut self, flow: &mut GradientFlow<'_>, count: usize, tangent: bool) -> Result<(), FlowError> {
        self.work.fill(Work::default());
        let at = Point {
            lanes: &self.lanes[..count],
            t: &self.t[..count],
            z: self.z.as_ref().subcols(0, count),
        };
        if tangent {
            let dim = self.z.nrows();
            flow.jacobian(at, &mut self.blocks[..count * dim * dim], &mut self.work)?;
        }
        let to = Values {
            f: self.f.as_mut().subcols_mut(0, count),
            objective: &mut self.objective[..count],
            loss: &mut self.loss[..count],
            failed: &mut self.failed[..count],
        };
        flow.eval(at, to, &mut self.work)
    }

    fn edm(&mut self, lane: usize) -> f64 {
        let size = self.z.nrows() * self.z.nrows();
        let block = &self.blocks[lane * size..(lane + 1) * size];
        self.work[lane].factorizations += 1;
        self.cholesky.edm(block, self.f.col_as_slice(lane), &mut self.solution)
    }
}

fn add_work(record: &mut Record, work: &Work) {
    record.work.evaluations += work.evaluations;
    record.work.vjps += work.vjps;
    record.work.jvps += work.jvps;
    record.work.jacobians += work.jacobians;
    record.work.factorizations += work.factorizations;
}
