//! What is measured at the codes of a finished block: the estimated distance to the minimum, chi-squared, D(z).

use crate::GradientFlow;
use crate::data::Data;
use crate::encoder::{Block, Encoded};
use crate::encoding::Encoding;
use crate::noise::Noise;
use crate::solver::Precision;
use crate::uncertainty::{Errors, Uncertainty};
use crate::{reduced, starts};
use faer::{Mat, MatRef, Side};
use gfe_model::Decoder;
use gfe_ode::implicit::distances;
use gfe_ode::{Curvature, Flow, FlowError, Lanewise, Point, Start, Values, Work};

/// Measures codes with a decoder of its own, opened when the first are there.
pub(crate) struct Measure<'a> {
    how: Encoding<'a>,
    params: (&'a [f64], u64),
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
    /// Whether it has second-order products, by which a saddle is told from a minimum.
    second_order: bool,
    /// Whether the decoder offers single precision.
    single: bool,
    /// Whether that is enough for distances: they are then those by which single precision stops.
    rough: bool,
}

/// What is measured at codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The decoded values.
    Decoded,
    /// Loss and gradient too.
    Gradient,
    /// And the estimated distance to the minimum.
    Distance,
}

/// Part of a gradient norm by which that of single precision may be off where the estimated distance ended an integration.
const OFF: f64 = 0.05;

impl Memory {
    fn new(decoder: &dyn Decoder, lanes: usize, precision: Precision) -> Self {
        let dim = decoder.shape().latent;
        let single = decoder.reduced().is_some();
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
            tangent: decoder.tangent().is_some(),
            second_order: decoder.second_order().is_some(),
            single,
            rough: single && precision != Precision::Double,
        }
    }
}

impl<'a> Measure<'a> {
    pub(crate) fn new(how: &Encoding<'a>, params: (&'a [f64], u64), data: &'a dyn Data) -> Self {
        Measure {
            how: *how,
            params,
            data,
            ready: None,
        }
    }

    fn get_ready(&mut self) -> (&mut GradientFlow<'a>, &mut Memory) {
        let (how, lanes, (params, version)) = (&self.how, self.how.lanes.max(1), self.params);
        let (flow, memory) = self.ready.get_or_insert_with(|| {
            let decoder = (how.open)();
            let memory = Memory::new(&*decoder, lanes, how.precision());
            let flow = GradientFlow::new(decoder, params, (how.loss, self.data), how.anchor(), lanes);
            (flow.with_version(version), memory)
        });
        (flow, memory)
    }

    /// Does all that is left to do for a block whose samples have ended; see [`Measure::choose`] and [`Measure::add`], and
    /// [`Precision`] for what is encoded again.
    pub(crate) fn finish(&mut self, first: usize, block: &Block, encoded: &mut Encoded) -> Result<(), FlowError> {
        let (how, params) = (self.how, self.params.0);
        if how.precision() == Precision::Double || !self.get_ready().1.single {
            self.choose(first, block, encoded)?;
            return self.add(first, block, encoded, &mut vec![false; block.y.ncols()]);
        }
        let mut open = reduced::failed(encoded, how.starts.max(1));
        self.choose(first, block, encoded)?;
        self.add(first, block, encoded, &mut open)?;
        let open: Vec<usize> = (0..open.len()).filter(|&sample| open[sample]).collect();
        if open.is_empty() {
            return Ok(());
        }
        reduced::again(&how, params, (block, &open), encoded)
    }

    /// Takes the best end of each sample's starts, and counts their minima; number `first` of the data is the first start of
    /// the first sample of the block.
    fn choose(&mut self, first: usize, block: &Block, encoded: &mut Encoded) -> Result<(), FlowError> {
        let how = self.how;
        let starts = how.starts.max(1);
        let values = block.y.nrows() as f64;
        let mut best = Vec::with_capacity(block.y.ncols());
        for sample in 0..block.y.ncols() {
            let ends = starts::ends(&how, block, encoded, sample);
            if ends.near.len() <= 1 {
                best.push((ends.best, ends.near.len() as u32));
                continue;
            }
            let lanes = how.lanes.max(1);
            let (flow, memory) = self.get_ready();
            let (mut found, mut curvature): (Vec<Vec<f64>>, Vec<f64>) = (Vec::new(), Vec::new());
            for some in ends.near.chunks(lanes) {
                for (lane, &i) in some.iter().enumerate() {
                    memory.z.as_mut().col_mut(lane).copy_from(encoded.z.col(i));
                    flow.admit(lane, first + i, block.z0.col_as_slice(sample));
                }
                memory.measure(flow, some.len(), Wanted::Decoded)?;
                for (lane, &i) in some.iter().enumerate() {
                    encoded.records[i].work += memory.work[lane];
                }
                let minimum = memory.minima(flow, some.len())?;
                for (lane, &i) in some.iter().enumerate() {
                    if memory.second_order {
                        encoded.records[i].work += memory.work[lane];
                    }
                    if curvature.is_empty() {
                        curvature = flow.information(lane);
                    }
                    let x = flow.decoded(lane);
                    let apart = |other: &Vec<f64>| -> f64 {
                        let squares = x.iter().zip(other).zip(&curvature);
                        squares.map(|((a, b), c)| values * c * (a - b) * (a - b)).sum()
                    };
                    let unit = starts::unit(&how, &encoded.records[ends.best]);
                    if minimum[lane] && found.iter().all(|other| apart(other) > starts::SAME * unit) {
                        found.push(x.to_vec());
                    }
                }
            }
            best.push((ends.best, found.len() as u32));
        }
        if starts > 1 {
            starts::take(&how, encoded, &best);
        } else {
            encoded
                .records
                .iter_mut()
                .zip(&best)
                .for_each(|(record, (_, minima))| record.minima = *minima);
        }
        Ok(())
    }

    /// Adds to `encoded` what is measured at its finite codes, but of samples that are `open`; the first start of sample 0 of
    /// the block is number `first` of the data.
    ///
    /// `edm` needs a decoder with tangents and is NaN without. Of codes of [`Precision::Mixed`] loss and gradient norm become
    /// those of double precision, and those that these do not confirm become `open`.
    fn add(&mut self, first: usize, block: &Block, encoded: &mut Encoded, open: &mut [bool]) -> Result<(), FlowError> {
        make_room(&self.how, block, encoded);
        let (how, lanes, starts) = (self.how, self.how.lanes.max(1), self.how.starts.max(1));
        let (flow, memory) = self.get_ready();
        let values = block.y.nrows() as f64;
        let decode = encoded.reconstruction.is_some() || how.loss.has_chi2() || how.uncertainty.is_some();
        let confirm = how.precision() == Precision::Mixed && memory.single;
        let (known, unknown): (Vec<usize>, Vec<usize>) = (0..encoded.records.len())
            .filter(|&sample| encoded.records[sample].loss.is_finite() && !open[sample])
            .partition(|&sample| !memory.tangent || encoded.records[sample].edm.is_finite());
        for (samples, edm) in [(known, false), (unknown, true)] {
            let wanted = match (edm, confirm, decode) {
                (true, _, _) => Wanted::Distance,
                (false, true, _) => Wanted::Gradient,
                (false, false, true) => Wanted::Decoded,
                (false, false, false) => continue,
            };
            for samples in samples.chunks(lanes) {
                for (lane, &sample) in samples.iter().enumerate() {
                    memory.z.as_mut().col_mut(lane).copy_from(encoded.z.col(sample));
                    flow.admit(lane, first + sample * starts, block.z0.col_as_slice(sample));
                }
                memory.measure(flow, samples.len(), wanted)?;
                for (lane, &sample) in samples.iter().enumerate() {
                    let record = &mut encoded.records[sample];
                    if edm {
                        record.edm = values * memory.edm[lane];
                    }
                    record.work += memory.work[lane];
                    if confirm {
                        let norm = memory.grad_sq[lane].sqrt();
                        open[sample] = !confirms(norm, record.grad_norm, how.gtol * flow.gradient_unit(lane));
                        (record.loss, record.grad_norm) = (memory.loss[lane], norm);
                    }
                    if !decode {
                        continue;
                    }
                    let x = flow.decoded(lane);
                    let (y, w) = flow.datum(lane);
                    record.chi2 = how
                        .noise
                        .map_or_else(|| how.loss.chi2(x, y, w), |noise| noise.chi2(x, y, w));
                    if let Some(to) = &mut encoded.reconstruction {
                        let to = to.col_as_slice_mut(sample);
                        to.iter_mut().zip(x).for_each(|(to, x)| *to = how.loss.data_units(*x));
                    }
                }
                if let (Some(curvature), Some(to)) = (how.uncertainty, &mut encoded.uncertainty) {
                    let blocks = memory.hessians(flow, samples.len(), curvature)?;
                    let spread = memory.spread(flow, samples.len(), how.noise)?;
                    let size = memory.z.nrows().pow(2);
                    for (lane, &sample) in samples.iter().enumerate() {
                        let record = &mut encoded.records[sample];
                        record.work += memory.work[lane];
                        if record.status.is_success() {
                            let own = lane * size..(lane + 1) * size;
                            let errors = match &spread {
                                Some(spread) => Errors::Spread(&spread[own.clone()]),
                                None => Errors::Likelihood { values },
                            };
                            to.set(sample, &blocks[own], how.anchor(), errors);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a gradient norm of double precision confirms a code that stopped at one of single precision under this bound.
fn confirms(double: f64, single: f64, bound: f64) -> bool {
    double <= bound || (single > bound && (double - single).abs() <= OFF * single)
}

/// Makes room in `encoded` for what is to be measured: NaN.
pub(crate) fn make_room(how: &Encoding<'_>, block: &Block, encoded: &mut Encoded) {
    let samples = block.y.ncols();
    if how.reconstruction {
        encoded.reconstruction = Some(Mat::full(block.y.nrows(), samples, f64::NAN));
    }
    if how.uncertainty.is_some() {
        encoded.uncertainty = Some(Uncertainty::unknown(block.z0.nrows(), samples));
    }
}

impl Memory {
    /// Whether what is minimized curves upward in every direction at the first `count` lanes; taken for granted where the
    /// decoder has no second-order products.
    fn minima(&mut self, flow: &mut GradientFlow<'_>, count: usize) -> Result<Vec<bool>, FlowError> {
        if !self.second_order {
            return Ok(vec![true; count]);
        }
        let dim = self.z.nrows();
        let blocks = self.hessians(flow, count, Curvature::Exact)?;
        let upward = |block: &[f64]| {
            MatRef::from_column_major_slice(block, dim, dim)
                .llt(Side::Lower)
                .is_ok()
        };
        Ok(blocks.chunks(dim * dim).map(upward).collect())
    }

    /// H + I/tau of the first `count` lanes, `[d, d]` each, one after another.
    fn hessians(
        &mut self,
        flow: &mut GradientFlow<'_>,
        count: usize,
        curvature: Curvature,
    ) -> Result<Vec<f64>, FlowError> {
        self.work.fill(Work::default());
        let dim = self.z.nrows();
        let mut blocks = vec![0.0; count * dim * dim];
        let at = Point {
            lanes: &self.lanes[..count],
            t: &self.t[..count],
            z: self.z.as_ref().subcols(0, count),
        };
        flow.jacobian(at, curvature, &mut blocks, &mut self.work)?;
        blocks.iter_mut().for_each(|value| *value = -*value);
        Ok(blocks)
    }

    /// M of the first `count` lanes, see [`Uncertainty`], where errors of the values are estimated; adds to the work.
    fn spread(
        &mut self,
        flow: &mut GradientFlow<'_>,
        count: usize,
        noise: Option<&Noise>,
    ) -> Result<Option<Vec<f64>>, FlowError> {
        let Some(noise) = noise else { return Ok(None) };
        let mut blocks = vec![0.0; count * self.z.nrows().pow(2)];
        let at = Point {
            lanes: &self.lanes[..count],
            t: &self.t[..count],
            z: self.z.as_ref().subcols(0, count),
        };
        let (variances, mean) = (noise.variances(), noise.mean_variance());
        flow.spread(&at, (&variances, mean), &mut blocks, &mut self.work)?;
        Ok(Some(blocks))
    }

    /// What is wanted at the first `count` lanes.
    fn measure(&mut self, flow: &mut GradientFlow<'_>, count: usize, wanted: Wanted) -> Result<(), FlowError> {
        self.work.fill(Work::default());
        let at = Point {
            lanes: &self.lanes[..count],
            t: &self.t[..count],
            z: self.z.as_ref().subcols(0, count),
        };
        if wanted == Wanted::Decoded {
            return flow.pass(&at, &mut self.work);
        }
        let to = Values {
            f: self.f.as_mut().subcols_mut(0, count),
            objective: &mut self.objective[..count],
            loss: &mut self.loss[..count],
            grad_sq: &mut self.grad_sq[..count],
            failed: &mut self.failed[..count],
        };
        flow.eval(at, to, &mut self.work)?;
        if wanted == Wanted::Gradient {
            return Ok(());
        }
        let from = Start {
            lanes: at.lanes,
            t: at.t,
            h: at.t,
            z: at.z,
            f: self.f.as_ref().subcols(0, count),
        };
        let (edm, work) = (&mut self.edm[..count], &mut self.work);
        if self.rough {
            flow.in_single(|flow| distances(flow, &from, edm, work))?;
            // Where H is too near to singular for it, one by one: a code's distance has nothing to do with its neighbors.
            for lane in (0..count).filter(|&lane| edm[lane].is_nan()).collect::<Vec<_>>() {
                let alone = Start {
                    lanes: &from.lanes[lane..=lane],
                    t: &from.t[lane..=lane],
                    h: &from.h[lane..=lane],
                    z: from.z.subcols(lane, 1),
                    f: from.f.subcols(lane, 1),
                };
                distances(flow, &alone, &mut edm[lane..=lane], work)?;
            }
            return Ok(());
        }
        distances(flow, &from, edm, work)
    }
}
