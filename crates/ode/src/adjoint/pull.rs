//! The adjoint of one step of every lane that takes it.

use super::march::March;
use super::{Discrete, Rule};
use crate::explicit::Tableau;
use crate::{Flow, FlowError, Point};
use faer::Mat;

/// Memory for the adjoint of a step.
pub(super) struct Pull {
    rule: Rule,
    stride: usize,
    /// States and slopes of the stages, and the cotangents of the states, `[d, lanes]` each.
    stages: Vec<Mat<f64>>,
    slopes: Vec<Mat<f64>>,
    bars: Vec<Mat<f64>>,
    /// Cotangents of the slopes of a stage.
    seed: Mat<f64>,
    t: Vec<f64>,
    /// How many times its own length a step counts in the parameters' integral, per lane; 0: not at all.
    weight: Vec<f64>,
    part: Part,
}

/// Some of the lanes, gathered.
struct Part {
    lanes: Vec<usize>,
    t: Vec<f64>,
    z: Mat<f64>,
    seed: Mat<f64>,
    bar: Mat<f64>,
}

impl Pull {
    pub(super) fn new(how: &Discrete, dim: usize, lanes: usize) -> Self {
        let stages = match how.rule {
            Rule::RungeKutta(tableau) => tableau.b.len(),
            Rule::SemiImplicit => 1,
        };
        let batches = |count: usize| (0..count).map(|_| Mat::zeros(dim, lanes)).collect();
        Pull {
            rule: how.rule,
            stride: how.quadrature_stride.max(1) as usize,
            stages: batches(stages),
            slopes: batches(stages - 1),
            bars: batches(stages),
            seed: Mat::zeros(dim, lanes),
            t: vec![0.0; lanes],
            weight: vec![1.0; lanes],
            part: Part {
                lanes: Vec::with_capacity(lanes),
                t: Vec::with_capacity(lanes),
                z: Mat::zeros(dim, lanes),
                seed: Mat::zeros(dim, lanes),
                bar: Mat::zeros(dim, lanes),
            },
        }
    }

    /// Pulls `bar` `[d, lanes]` back through step `index`, which starts at `z`, in the lanes that take it.
    pub(super) fn step(
        &mut self,
        flow: &mut dyn Flow,
        march: &mut March<'_>,
        (index, z): (usize, &Mat<f64>),
        bar: &mut Mat<f64>,
        params_bar: &mut [f64],
    ) -> Result<(), FlowError> {
        let live = march.live(index);
        for lane in 0..live {
            self.weight[lane] = weight(march, lane, index, self.stride);
        }
        match self.rule {
            Rule::RungeKutta(tableau) => self.runge_kutta(tableau, flow, march, (index, z), bar, params_bar)?,
            Rule::SemiImplicit => self.semi_implicit(flow, march, (index, z), bar, params_bar)?,
        }
        for lane in 0..live {
            march.lost[lane] |= bar.col_as_slice(lane).iter().any(|bar| !bar.is_finite());
        }
        Ok(())
    }

    fn runge_kutta(
        &mut self,
        tableau: &Tableau,
        flow: &mut dyn Flow,
        march: &mut March<'_>,
        (index, z): (usize, &Mat<f64>),
        bar: &mut Mat<f64>,
        params_bar: &mut [f64],
    ) -> Result<(), FlowError> {
        let live = march.live(index);
        for stage in 0..tableau.b.len() {
            self.stage(tableau, march, (index, stage), z);
            if stage + 1 < tableau.b.len() {
                march.slopes(flow, &self.t[..live], &self.stages[stage], &mut self.slopes[stage])?;
            }
        }
        for stage in (0..tableau.b.len()).rev() {
            for lane in 0..live {
                let step = march.path(lane)[index];
                self.t[lane] = step.t + tableau.c[stage] * step.h;
                let seed = self.seed.col_as_slice_mut(lane);
                let from = bar.col_as_slice(lane).iter();
                seed.iter_mut()
                    .zip(from)
                    .for_each(|(seed, bar)| *seed = tableau.b[stage] * bar);
                for later in stage + 1..tableau.b.len() {
                    let a = tableau.a[later - 1][stage];
                    let from = self.bars[later].col_as_slice(lane).iter();
                    seed.iter_mut().zip(from).for_each(|(seed, bar)| *seed += a * bar);
                }
                seed.iter_mut().for_each(|seed| *seed *= step.h);
            }
            self.product(flow, march, stage, live, params_bar)?;
        }
        for lane in 0..live {
            for stage in &self.bars {
                let from = stage.col_as_slice(lane).iter();
                bar.col_as_slice_mut(lane)
                    .iter_mut()
                    .zip(from)
                    .for_each(|(bar, stage)| *bar += stage);
            }
        }
        Ok(())
    }

    /// The state of a stage, z + h sum_j a_ij k_j, and its time.
    fn stage(&mut self, tableau: &Tableau, march: &March<'_>, (index, stage): (usize, usize), z: &Mat<f64>) {
        for lane in 0..march.live(index) {
            let step = march.path(lane)[index];
            self.t[lane] = step.t + tableau.c[stage] * step.h;
            let to = self.stages[stage].col_as_slice_mut(lane);
            to.fill(0.0);
            let row = if stage > 0 { tableau.a[stage - 1] } else { &[] };
            for (a, slopes) in row.iter().zip(&self.slopes) {
                let from = slopes.col_as_slice(lane).iter();
                to.iter_mut().zip(from).for_each(|(to, k)| *to += a * k);
            }
            let from = z.col_as_slice(lane).iter();
            to.iter_mut().zip(from).for_each(|(to, z)| *to = z + step.h * *to);
        }
    }

    /// With m1 = (m + h force(z)) / (1 + h c(t + h)) and z1 = z + h m1: m1_bar += h z1_bar, m_bar = m1_bar / (1 + h c),
    /// force_bar = h m_bar, z_bar = z1_bar + (dforce/dz)^T force_bar.
    fn semi_implicit(
        &mut self,
        flow: &mut dyn Flow,
        march: &mut March<'_>,
        (index, z): (usize, &Mat<f64>),
        bar: &mut Mat<f64>,
        params_bar: &mut [f64],
    ) -> Result<(), FlowError> {
        let (live, half) = (march.live(index), z.nrows() / 2);
        let Some(inertial) = flow.inertial() else {
            return Err(FlowError("the semi-implicit step is for flows of second order".into()));
        };
        self.stages[0].copy_from(z);
        for lane in 0..live {
            let step = march.path(lane)[index];
            self.t[lane] = step.t;
            let damping = 1.0 / (1.0 + inertial.friction(lane, step.t, step.h));
            // The product is that of dm/dt, of which the force is a part.
            let share = inertial.share(lane, step.t);
            let (z_bar, m_bar) = bar.col_as_slice_mut(lane).split_at_mut(half);
            let (seed_z, seed_m) = self.seed.col_as_slice_mut(lane).split_at_mut(half);
            seed_z.fill(0.0);
            for i in 0..half {
                m_bar[i] = damping * (m_bar[i] + step.h * z_bar[i]);
                seed_m[i] = step.h * m_bar[i] / share;
            }
        }
        self.product(flow, march, 0, live, params_bar)?;
        for lane in 0..live {
            let from = &self.bars[0].col_as_slice(lane)[..half];
            let z_bar = &mut bar.col_as_slice_mut(lane)[..half];
            z_bar.iter_mut().zip(from).for_each(|(bar, product)| *bar += product);
        }
        Ok(())
    }

    /// bars = (df/dz)^T seed at the states of a stage and the times `t`; adds the parameters' part of the lanes that have a
    /// weight.
    fn product(
        &mut self,
        flow: &mut dyn Flow,
        march: &mut March<'_>,
        stage: usize,
        live: usize,
        params_bar: &mut [f64],
    ) -> Result<(), FlowError> {
        let weight = std::mem::take(&mut self.weight);
        let counting = weight[..live].iter().filter(|weight| **weight != 0.0).count();
        for lane in (0..live).filter(|&lane| weight[lane] != 0.0 && weight[lane] != 1.0) {
            self.seed
                .col_as_slice_mut(lane)
                .iter_mut()
                .for_each(|seed| *seed *= weight[lane]);
        }
        if counting == 0 || counting == live {
            let at = Point {
                lanes: &march.lanes[..live],
                t: &self.t[..live],
                z: self.stages[stage].as_ref().subcols(0, live),
            };
            let seed = self.seed.as_ref().subcols(0, live);
            let bar = self.bars[stage].as_mut().subcols_mut(0, live);
            let params = (counting > 0).then_some(params_bar);
            vjp(flow, at, (seed, bar), params, &mut march.work)?;
        } else {
            for counts in [true, false] {
                let params = counts.then_some(&mut *params_bar);
                self.gather(stage, (0..live).filter(|&lane| (weight[lane] != 0.0) == counts));
                self.part_product(flow, march, stage, params)?;
            }
        }
        for lane in (0..live).filter(|&lane| weight[lane] != 0.0 && weight[lane] != 1.0) {
            let bar = self.bars[stage].col_as_slice_mut(lane);
            bar.iter_mut().for_each(|bar| *bar /= weight[lane]);
        }
        self.weight = weight;
        Ok(())
    }

    /// Copies lanes to the front of `part`.
    fn gather(&mut self, stage: usize, lanes: impl Iterator<Item = usize>) {
        self.part.lanes.clear();
        self.part.t.clear();
        for (column, lane) in lanes.enumerate() {
            self.part.lanes.push(lane);
            self.part.t.push(self.t[lane]);
            self.part
                .z
                .as_mut()
                .col_mut(column)
                .copy_from(self.stages[stage].col(lane));
            self.part.seed.as_mut().col_mut(column).copy_from(self.seed.col(lane));
        }
    }

    fn part_product(
        &mut self,
        flow: &mut dyn Flow,
        march: &mut March<'_>,
        stage: usize,
        params: Option<&mut [f64]>,
    ) -> Result<(), FlowError> {
        let Part { lanes, t, z, seed, bar } = &mut self.part;
        let count = lanes.len();
        let at = Point {
            lanes,
            t,
            z: z.as_ref().subcols(0, count),
        };
        let seed = seed.as_ref().subcols(0, count);
        vjp(
            flow,
            at,
            (seed, bar.as_mut().subcols_mut(0, count)),
            params,
            &mut march.work,
        )?;
        for (column, &lane) in lanes.iter().enumerate() {
            self.bars[stage].as_mut().col_mut(lane).copy_from(bar.col(column));
        }
        Ok(())
    }
}

/// The product of the flow, which is known to have it.
fn vjp(
    flow: &mut dyn Flow,
    at: Point<'_>,
    (seed, bar): (crate::Cols<'_>, crate::ColsMut<'_>),
    params: Option<&mut [f64]>,
    work: &mut [crate::Work],
) -> Result<(), FlowError> {
    match flow.adjoint() {
        Some(adjoint) => adjoint.vjp(at, seed, bar, params, work),
        None => Err(FlowError("the flow has no adjoint any more".into())),
    }
}

/// How many times its own length step `index` counts in the parameters' integral: the steps of a lane are cut into blocks of
/// `stride`, and the middle one of each stands for all.
fn weight(march: &March<'_>, lane: usize, index: usize, stride: usize) -> f64 {
    if stride == 1 {
        return 1.0;
    }
    let steps = march.path(lane);
    let first = index - index % stride;
    let block = &steps[first..steps.len().min(first + stride)];
    if index != first + (block.len() - 1) / 2 {
        return 0.0;
    }
    block.iter().map(|step| step.h).sum::<f64>() / steps[index].h
}
