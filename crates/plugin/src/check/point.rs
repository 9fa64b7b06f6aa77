//! Where a decoder is checked, and calls of all its functions there.

use super::Settings;
use super::batch::{Batch, Scratch};
use gfe_model::{At, DecodeError, Decoder, Seeds, Taped};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::sync::atomic::{AtomicU64, Ordering};

/// Lanes of the batches.
pub(crate) const LANES: usize = 7;
/// Directions per lane of a jvp.
pub(crate) const DIRECTIONS: usize = 2;

/// A number that no weights had before.
pub(crate) fn next_version() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Points, directions and cotangents.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) params: Vec<f64>,
    /// The number that stands for `params`.
    pub(crate) version: u64,
    pub(crate) z: Batch,
    pub(crate) context: Batch,
    /// Directions in the size of the latents' own scales, `[d, DIRECTIONS lanes]`.
    pub(crate) z_dot: Batch,
    pub(crate) x_bar: Batch,
    pub(crate) x_bar_dot: Batch,
    pub(crate) params_dot: Vec<f64>,
}

/// Numbers in [-1, 1).
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn next(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn batch(&mut self, rows: usize, columns: usize) -> Batch {
        let mut batch = Batch::new(rows, columns);
        for column in 0..columns {
            batch.column_mut(column).iter_mut().for_each(|to| *to = self.next());
        }
        batch
    }
}

impl Place {
    /// Latents of which each is about its default, or in [-1, 1); weights from `init`, or small.
    pub(crate) fn new(decoder: &dyn Decoder, settings: &Settings) -> Result<Place, String> {
        let shape = decoder.shape();
        let mut random = Random::new(settings.seed);
        let mut params = vec![0.0; shape.params];
        match decoder.trainable() {
            Some(trainable) => trainable
                .init(settings.seed, &mut params)
                .map_err(|error| error.to_string())?,
            None => params.iter_mut().for_each(|value| *value = 0.1 * random.next()),
        }
        let mut z = random.batch(shape.latent, LANES);
        let mut z_dot = random.batch(shape.latent, DIRECTIONS * LANES);
        for (r, latent) in decoder.latents().iter().enumerate() {
            for column in 0..LANES {
                let [p, slope, _] = latent.physical(z.column(column)[r]);
                z.column_mut(column)[r] = p;
                for direction in 0..DIRECTIONS {
                    z_dot.column_mut(column * DIRECTIONS + direction)[r] *= slope;
                }
            }
        }
        if let Some(context) = settings
            .context
            .as_ref()
            .filter(|context| context.len() != shape.context)
        {
            return Err(format!(
                "{} values of context were given, and it takes {}",
                context.len(),
                shape.context
            ));
        }
        let value = |i: usize| settings.context.as_ref().map_or(0.1, |context| context[i]);
        let context = Batch::from_fn(shape.context, LANES, |i, b| value(i) * (1.0 + 0.01 * b as f64));
        let mut params_dot = vec![0.0; shape.params];
        params_dot.iter_mut().for_each(|value| *value = random.next());
        Ok(Place {
            x_bar: random.batch(shape.data, LANES),
            x_bar_dot: random.batch(shape.data, LANES),
            params,
            version: next_version(),
            z,
            context,
            z_dot,
            params_dot,
        })
    }

    /// The first direction of each lane.
    pub(crate) fn first_directions(&self) -> Batch {
        let columns: Vec<usize> = (0..self.z.columns()).map(|lane| lane * DIRECTIONS).collect();
        self.z_dot.pick(&columns)
    }

    /// Some lanes, in this order.
    pub(crate) fn pick(&self, lanes: &[usize]) -> Place {
        let directions: Vec<usize> = lanes
            .iter()
            .flat_map(|lane| (0..DIRECTIONS).map(move |direction| lane * DIRECTIONS + direction))
            .collect();
        Place {
            params: self.params.clone(),
            version: self.version,
            z: self.z.pick(lanes),
            context: self.context.pick(lanes),
            z_dot: self.z_dot.pick(&directions),
            x_bar: self.x_bar.pick(lanes),
            x_bar_dot: self.x_bar_dot.pick(lanes),
            params_dot: self.params_dot.clone(),
        }
    }

    pub(crate) fn at<'a>(&'a self, z: &'a Batch) -> At<'a> {
        At {
            params: &self.params,
            version: self.version,
            z: z.cols(),
            context: self.context.cols(),
        }
    }

    /// x and tape at `z`.
    pub(crate) fn forward(&self, decoder: &dyn Decoder, z: &Batch) -> Result<(Batch, Batch), DecodeError> {
        let (shape, lanes) = (decoder.shape(), z.columns());
        let (mut x, mut tape) = (Batch::new(shape.data, lanes), Batch::new(decoder.tape_len(), lanes));
        let mut scratch = Scratch::new(decoder.scratch_len(lanes), f64::NAN);
        decoder.forward(self.at(z), x.cols_mut(), tape.cols_mut(), scratch.get())?;
        Ok((x, tape))
    }

    /// J^T x_bar at the z of the tape.
    pub(crate) fn vjp(
        &self,
        decoder: &dyn Decoder,
        z: &Batch,
        tape: &Batch,
        x_bar: &Batch,
    ) -> Result<Batch, DecodeError> {
        let mut z_bar = Batch::new(decoder.shape().latent, z.columns());
        let mut scratch = Scratch::new(decoder.scratch_len(z.columns()), f64::NAN);
        let taped = Taped {
            at: self.at(z),
            tape: tape.cols(),
        };
        decoder.vjp(taped, x_bar.cols(), z_bar.cols_mut(), scratch.get())?;
        Ok(z_bar)
    }

    /// J z_dot; `None` without tangents.
    pub(crate) fn jvp(&self, decoder: &dyn Decoder, tape: &Batch, z_dot: &Batch) -> Result<Option<Batch>, DecodeError> {
        let Some(tangent) = decoder.tangent() else {
            return Ok(None);
        };
        let columns = z_dot.columns();
        let mut x_dot = Batch::new(decoder.shape().data, columns);
        let mut scratch = Scratch::new(decoder.scratch_len(columns), f64::NAN);
        let taped = Taped {
            at: self.at(&self.z),
            tape: tape.cols(),
        };
        tangent.jvp(taped, z_dot.cols(), x_dot.cols_mut(), scratch.get())?;
        Ok(Some(x_dot))
    }

    /// (dD/dparams)^T x_bar; `None` without trainable weights.
    pub(crate) fn params_vjp(
        &self,
        decoder: &dyn Decoder,
        (z, tape): (&Batch, &Batch),
        x_bar: &Batch,
        start: f64,
    ) -> Result<Option<Vec<f64>>, DecodeError> {
        let Some(trainable) = decoder.trainable() else {
            return Ok(None);
        };
        let mut params_bar = vec![start; self.params.len()];
        let mut scratch = Scratch::new(decoder.scratch_len(z.columns()), f64::NAN);
        let taped = Taped {
            at: self.at(z),
            tape: tape.cols(),
        };
        trainable.params_vjp(taped, x_bar.cols(), &mut params_bar, scratch.get())?;
        Ok(Some(params_bar))
    }

    /// z_bar_dot and params_bar_dot; `None` without second-order products.
    pub(crate) fn hvp(&self, decoder: &dyn Decoder, tape: &Batch) -> Result<Option<(Batch, Vec<f64>)>, DecodeError> {
        let Some(second) = decoder.second_order() else {
            return Ok(None);
        };
        let lanes = self.z.columns();
        let z_dot = self.first_directions();
        let mut z_bar_dot = Batch::new(decoder.shape().latent, lanes);
        let mut params_bar_dot = vec![0.0; self.params.len()];
        let mut scratch = Scratch::new(decoder.scratch_len(lanes), f64::NAN);
        let taped = Taped {
            at: self.at(&self.z),
            tape: tape.cols(),
        };
        let seeds = Seeds {
            z_dot: z_dot.cols(),
            x_bar: self.x_bar.cols(),
            x_bar_dot: self.x_bar_dot.cols(),
        };
        let params = (!params_bar_dot.is_empty()).then_some(&mut params_bar_dot[..]);
        second.hvp(taped, seeds, z_bar_dot.cols_mut(), params, scratch.get())?;
        Ok(Some((z_bar_dot, params_bar_dot)))
    }

    /// Everything that the decoder computes at the place, in one row of numbers per lane.
    pub(crate) fn everything(&self, decoder: &dyn Decoder) -> Result<Vec<Vec<f64>>, DecodeError> {
        let (x, tape) = self.forward(decoder, &self.z)?;
        let z_bar = self.vjp(decoder, &self.z, &tape, &self.x_bar)?;
        let x_dot = self.jvp(decoder, &tape, &self.z_dot)?;
        let z_bar_dot = self.hvp(decoder, &tape)?;
        let lane = |b: usize| {
            let mut row = x.column(b).to_vec();
            row.extend_from_slice(z_bar.column(b));
            if let Some(x_dot) = &x_dot {
                (0..DIRECTIONS).for_each(|direction| row.extend_from_slice(x_dot.column(b * DIRECTIONS + direction)));
            }
            if let Some((z_bar_dot, _)) = &z_bar_dot {
                row.extend_from_slice(z_bar_dot.column(b));
            }
            row
        };
        Ok((0..self.z.columns()).map(lane).collect())
    }
}
