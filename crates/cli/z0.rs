//! Where integrations start.

use crate::error::CliError;
use crate::input::Input;
use faer::Mat;
use gfe_encode::Start;

/// Initial latents by row.
pub enum Z0 {
    /// By a rule.
    Rule(Start),
    /// From a file.
    File(Box<Input>),
}

impl Z0 {
    /// Those that `text` asks for; a file must hold `[samples, latent]` values.
    pub fn open(text: &str, seed: u64, (samples, latent): (usize, usize)) -> Result<Z0, CliError> {
        if let Some(value) = text.strip_prefix("fill=") {
            let value = value.parse().ok().filter(|value: &f64| value.is_finite());
            let wrong = || CliError::Usage(format!("z0 is {}: say fill=C with a number C", text));
            return Ok(Z0::Rule(Start::Fill(value.ok_or_else(wrong)?)));
        }
        match text {
            "zeros" => Ok(Z0::Rule(Start::Fill(0.0))),
            "uniform" => Ok(Z0::Rule(Start::Uniform { seed })),
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
                "z0 is {other}: say zeros, fill=C, uniform or FILE:/DATASET"
            ))),
        }
    }

    /// The value of every component of every row, where there is one.
    pub fn constant(&self) -> Option<f64> {
        match self {
            Z0::Rule(Start::Fill(value)) => Some(*value),
            _ => None,
        }
    }

    /// z0 of the given rows, `[latent, rows]`.
    pub fn read(&mut self, rows: &[usize], latent: usize) -> Result<Mat<f64>, CliError> {
        let mut z0 = Mat::zeros(latent, rows.len());
        match self {
            Z0::Rule(start) => {
                for (column, &row) in rows.iter().enumerate() {
                    start.write(row, z0.col_as_slice_mut(column));
                }
            }
            Z0::File(input) => input.read(rows, z0.as_mut(), None)?,
        }
        Ok(z0)
    }
}
