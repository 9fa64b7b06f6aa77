//! What is computed once for all samples that start at the same latent.

use crate::batch::Engine;
use faer::Mat;
use gfe_model::Decoder;
use gfe_ode::{FlowError, Work};

/// D and its Jacobian at a latent where many samples start.
pub struct Origin {
    /// The latent, `[d]`.
    pub z: Vec<f64>,
    /// dD/dz there, `[D, d]`.
    pub jacobian: Mat<f64>,
    /// What it cost.
    pub work: Work,
}

impl Origin {
    /// Computes them, for one forward pass and d products; `None` where the decoder has no tangents or fails there.
    pub(crate) fn new(
        decoder: Box<dyn Decoder>,
        (params, version): (&[f64], u64),
        z: &[f64],
        reduced: bool,
    ) -> Result<Option<Origin>, FlowError> {
        let shape = decoder.shape();
        // With a context every sample has a Jacobian of its own.
        if decoder.tangent().is_none() || shape.context > 0 {
            return Ok(None);
        }
        let mut engine = Engine::new(decoder, params, 2, 2 * shape.latent).with_version(version);
        engine.set_reduced(reduced);
        let mut batch = engine.batch(2);
        for b in 0..2 {
            batch.z.col_as_slice_mut(b).copy_from_slice(z);
        }
        engine.forward(&mut batch, 0, 2)?;
        engine.tangents(&mut batch, 2)?;
        if batch.trouble.iter().any(Option::is_some) {
            return Ok(None);
        }
        let jacobian = engine.x_dot.as_ref().subcols(0, shape.latent).to_owned();
        let work = Work {
            evaluations: 1,
            jvps: shape.latent as u32,
            ..Work::default()
        };
        Ok(Some(Origin {
            z: z.to_vec(),
            jacobian,
            work,
        }))
    }
}
