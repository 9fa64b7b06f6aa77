//! Where the flow of each row starts.

use crate::encoder_network::EncoderNetwork;
use crate::error::CliError;
use crate::input::Input;
use crate::model::Model;
use faer::Mat;
use gfe_encode::Start;
use gfe_model::Targets;

/// Initial latents, row by row.
pub enum Z0 {
    /// By a rule.
    Rule(Start),
    /// From a file.
    File(Box<Input>),
    /// One for all, `[d]`.
    Shared(Vec<f64>),
    /// The codes of an encoder network.
    Encoder(EncoderNetwork),
}

impl Z0 {
    /// Those that `text` asks for; a file must hold `[samples, latent]` values. What a training has left, a learned z0 or an
    /// encoder network, is taken out of `model`.
    pub fn open(
        text: &str,
        seed: u64,
        (samples, latent): (usize, usize),
        model: Option<&mut Model>,
    ) -> Result<Z0, CliError> {
        if let Some(value) = text.strip_prefix("fill=") {
            let value = value.parse().ok().filter(|value: &f64| value.is_finite());
            let wrong = || CliError::Usage(format!("z0 is {}: say fill=C with a number C", text));
            return Ok(Z0::Rule(Start::Fill(value.ok_or_else(wrong)?)));
        }
        let lacking = |what: &str, how: &str| {
            CliError::Usage(format!(
                "z0 is {text}, and the model file holds no {what}: {how}, or take another z0"
            ))
        };
        match text {
            "zeros" => Ok(Z0::Rule(Start::Fill(0.0))),
            "uniform" => Ok(Z0::Rule(Start::Uniform { seed })),
            "learned" => {
                let found = model.and_then(|model| model.z0.take());
                let how = "train it with start = \"learned\"";
                found.map(Z0::Shared).ok_or_else(|| lacking("learned z0", how))
            }
            "encoder" => {
                let found = model.and_then(|model| model.encoder.take());
                let how = "train it with method = \"autoencoder\"";
                found.map(Z0::Encoder).ok_or_else(|| lacking("encoder network", how))
            }
            path if path.contains(":/") || path.starts_with("plugin:") => {
                let input = Input::open(path, Some(1.0))?;
                let (rows, values) = (input.shape().samples, input.shape().values());
                if (rows, values) == (samples, latent) {
                    return Ok(Z0::File(Box::new(input)));
                }
                let found = format!("z0 is {path} of shape [{rows}, {values}]");
                Err(CliError::BadData(format!(
                    "{found}: [{samples}, {latent}] is needed, a row per row of the input"
                )))
            }
            other => Err(CliError::Usage(format!(
                "z0 is {other}: say zeros, fill=C, uniform, learned, encoder or FILE:/DATASET"
            ))),
        }
    }

    /// The z0 of every row, where they all share one.
    pub fn common(&self, latent: usize) -> Option<Vec<f64>> {
        match self {
            Z0::Rule(Start::Fill(value)) => Some(vec![*value; latent]),
            Z0::Shared(z0) => Some(z0.clone()),
            _ => None,
        }
    }

    /// The value of every component of every row, where there is one.
    pub fn constant(&self) -> Option<f64> {
        match self {
            Z0::Rule(Start::Fill(value)) => Some(*value),
            _ => None,
        }
    }

    /// z0 of the given rows with these data, `[latent, rows]`.
    pub fn read(&mut self, rows: &[usize], data: Targets<'_>, latent: usize) -> Result<Mat<f64>, CliError> {
        let mut z0 = Mat::zeros(latent, rows.len());
        match self {
            Z0::Rule(start) => {
                for (column, &row) in rows.iter().enumerate() {
                    start.write(row, z0.col_as_slice_mut(column));
                }
            }
            Z0::File(input) => input.read(rows, z0.as_mut(), None)?,
            Z0::Shared(shared) => {
                for column in 0..rows.len() {
                    z0.col_as_slice_mut(column).copy_from_slice(shared);
                }
            }
            Z0::Encoder(network) => z0 = network.codes(data)?,
        }
        Ok(z0)
    }
}
