//! What a decoder is worth on samples that it was not trained on.

use super::autoencoder::{encoder_codes, losses_at};
use super::learner::broke_down;
use super::{Tally, TrainError};
use crate::encoder::{Encoded, Samples, encode};
use crate::encoding::Encoding;
use crate::held_out::{HeldOut, HeldOutLoss, Masked, held_out};
use faer::Mat;
use gfe_model::{Cols, Decoder, Loss};

/// Samples encoded between two looks at whether to stop.
const TOGETHER: usize = 512;

/// What is evaluated beside the codes of the flow.
#[derive(Clone, Copy)]
pub struct Evaluated<'a> {
    /// A decoder for this thread.
    pub decoder: &'a dyn Decoder,
    /// Where every sample starts, `[d]`, in place of its z0.
    pub z0: Option<&'a [f64]>,
    /// An encoder network with its weights.
    pub encoder: Option<(&'a dyn Decoder, &'a [f64])>,
    /// Which values are held out in a further encoding.
    pub held_out: Option<HeldOut>,
    /// What losses are told by, if not by that of the encoding.
    pub score: Option<&'a dyn Loss>,
}

/// Losses of the same samples, by different codes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evaluation {
    /// By the codes of the flow.
    pub codes: Tally,
    /// By the codes of the flow from some of the values.
    pub held_out: Option<HeldOutLoss>,
    /// By the codes of the encoder network.
    pub encoder: Option<Tally>,
    /// By the flow with the encoder network's codes as z0.
    pub hybrid: Option<Tally>,
    /// On values that the encoder network did not see, which count as 0 for it, by its codes.
    pub encoder_held_out: Option<Tally>,
    /// On the same values, by the flow on the seen ones from these codes.
    pub hybrid_held_out: Option<Tally>,
}

/// Encodes samples under the weights `params` `[P]`; `rows` has the row of each, by which values are held out. None where `stop`
/// asked to.
///
/// Fails where a decoder or an encoder network breaks down.
pub fn evaluate(
    how: &Encoding<'_>,
    params: &[f64],
    (samples, rows): (Samples<'_>, &[usize]),
    what: &Evaluated<'_>,
    stop: &dyn Fn() -> bool,
) -> Result<Option<Evaluation>, TrainError> {
    let mut told = Evaluation::default();
    let count = samples.data.y.ncols();
    for first in (0..count).step_by(TOGETHER) {
        let width = TOGETHER.min(count - first);
        let some = samples.part(first, width);
        let shared = what.z0.map(|z0| Mat::from_fn(z0.len(), width, |r, _| z0[r]));
        let mut how = *how;
        how.common_z0 = what.z0.or(how.common_z0);
        let given = Samples {
            z0: shared.as_ref().map_or(some.z0, Mat::as_ref),
            ..some
        };
        if stop() {
            return Ok(None);
        }
        told.codes
            .add(&what.tally(&encode(&how, params, given)?, params, given)?);
        if let Some(hidden) = what.held_out {
            if stop() {
                return Ok(None);
            }
            let score = what.score.unwrap_or(how.loss);
            let part = held_out(&how, params, given, (&rows[first..first + width], hidden), score)?;
            told.held_out.get_or_insert_default().add(&part);
        }
        if let Some((encoder, phi)) = what.encoder {
            let z = encoder_codes(encoder, phi, some.data).map_err(broke_down)?;
            let values = losses_at(what.decoder, how.loss, params, some, z.as_ref()).map_err(broke_down)?;
            told.encoder
                .get_or_insert_default()
                .add(&Tally::of_losses(&values, ENCODER_UNITS));
            how.common_z0 = None;
            let given = Samples { z0: z.as_ref(), ..some };
            let hybrid = Tally::of(&encode(&how, params, given)?);
            told.hybrid.get_or_insert_default().add(&hybrid);
            if let Some(hidden) = what.held_out {
                let masked = Masked::new(some, &rows[first..first + width], hidden);
                let (own, from_it) = what.encoder_held_out((&how, params), (encoder, phi), some, &masked)?;
                told.encoder_held_out.get_or_insert_default().add(&own);
                told.hybrid_held_out.get_or_insert_default().add(&from_it);
            }
        }
    }
    Ok(Some(told))
}

/// Work of an encoder network that mirrors the decoder, and of decoding its code.
const ENCODER_UNITS: u64 = 2;

impl Evaluated<'_> {
    /// Losses on values not seen, by an encoder network's codes of the seen ones and by the flow from there.
    fn encoder_held_out(
        &self,
        (how, params): (&Encoding<'_>, &[f64]),
        (encoder, phi): (&dyn Decoder, &[f64]),
        samples: Samples<'_>,
        masked: &Masked,
    ) -> Result<(Tally, Tally), TrainError> {
        let (seen, unseen) = (masked.part(samples, true), masked.part(samples, false));
        let z = encoder_codes(encoder, phi, seen.data).map_err(broke_down)?;
        let losses = |z: Cols<'_>| -> Result<Vec<f64>, TrainError> {
            let values = losses_at(self.decoder, how.loss, params, unseen, z).map_err(broke_down)?;
            Ok(values
                .iter()
                .enumerate()
                .map(|(b, value)| masked.mean(*value, b))
                .collect())
        };
        let own = Tally::of_losses(&losses(z.as_ref())?, ENCODER_UNITS);
        let from = Samples { z0: z.as_ref(), ..seen };
        let encoded = encode(how, params, from)?;
        let values = losses(encoded.z.as_ref())?;
        let mut hybrid = Tally::of(&encoded);
        let good = || values.iter().filter(|value| value.is_finite());
        (hybrid.usable, hybrid.sum) = (good().count(), good().sum());
        Ok((own, hybrid))
    }

    /// What encodings came to, by the score.
    fn tally(&self, encoded: &Encoded, params: &[f64], samples: Samples<'_>) -> Result<Tally, TrainError> {
        let mut tally = Tally::of(encoded);
        let Some(score) = self.score else { return Ok(tally) };
        let values = losses_at(self.decoder, score, params, samples, encoded.z.as_ref()).map_err(broke_down)?;
        let good = || values.iter().filter(|value| value.is_finite());
        (tally.usable, tally.sum) = (good().count(), good().sum());
        Ok(tally)
    }
}
