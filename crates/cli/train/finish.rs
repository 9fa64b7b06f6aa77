//! The end of a training: its model file, and what is told of it.

use super::files::{remove_checkpoint, title};
use super::history::Rows;
use super::plan::Kind;
use super::{Job, Sets};
use crate::encode::scale;
use crate::encoder_network::EncoderNetwork;
use crate::error::CliError;
use crate::logs::say;
use crate::model::{LEARNED_Z0, noise_tensor, tensors};
use crate::output;
use crate::samples::Set;
use faer::{Mat, MatRef};
use gfe_encode::train::FlowStart;
use gfe_encode::{Noise, WarmStart, encode};
use gfe_io::{ModelFile, StoredTensor};
use gfe_model::{LossKind, Targets};
use serde_json::{Value, json};
use std::process::ExitCode;

/// A training that is done.
pub struct Done {
    pub params: Vec<f64>,
    /// What was trained beside them.
    pub others: Vec<f64>,
    pub rows: Rows,
    /// Where patience chose: the validation loss, and the images seen then.
    pub best: Option<(f64, u64)>,
    pub seconds: f64,
    pub seen: u64,
}

impl Done {
    /// Of the weights taken.
    fn validation_loss(&self) -> Option<f64> {
        self.best
            .map_or_else(|| self.rows.last("validation_loss"), |(loss, _)| Some(loss))
    }
}

impl Job {
    /// Writes the model file and the history, takes the checkpoint away, and tells.
    pub fn finish(&self, sets: &Sets, identity: &Value, done: Done, as_json: bool) -> Result<ExitCode, CliError> {
        let decoder = self.architecture.decoder();
        let settings = json!(self.settings.section("train"));
        let mut record = self.method.json();
        // The default factor goes with the type of the data, which need not be that of data encoded later.
        if let Some(scale) = scale(&self.settings)? {
            record["scale"] = json!(scale);
        }
        record["train"] = json!({"settings": settings, "samples": sets.training.len(),
            "validation_samples": sets.validation.as_ref().map_or(0, Set::len), "seen": done.seen,
            "loss": done.rows.last("loss"), "validation_loss": done.validation_loss()});
        record["identity"] = identity.clone();
        let mut tensors = Vec::new();
        if let Some(encoder) = &self.encoder {
            let network = EncoderNetwork::new(encoder.clone(), done.others.clone());
            let (config, named) = network.stored()?;
            record["encoder"] = config;
            tensors.extend(named);
        } else if self.plan.flow.start == FlowStart::Learned {
            record["z0"] = json!("learned");
            let shape = vec![done.others.len()];
            let values = done.others.clone();
            tensors.push((LEARNED_Z0.to_owned(), StoredTensor { shape, values }));
        }
        if self.method.loss() == LossKind::Mse {
            match self.noise(sets, &done) {
                Ok(noise) => {
                    let known = noise.sigma.iter().filter(|sigma| sigma.is_finite()).count();
                    record["noise"] = json!({"samples": noise.samples, "values": known});
                    tensors.push(noise_tensor(&noise));
                }
                Err(why) => record["noise"] = json!({"samples": 0, "why": why}),
            }
        }
        let mut file = ModelFile::new(self.architecture.json(), Some(record), &decoder.tensors(), &done.params)?;
        file.tensors.extend(tensors);
        file.tensors.extend(self.regression(sets, &done)?);
        file.write(&self.files.model)?;
        if self.plan.kind != Kind::Pca {
            done.rows
                .write(&self.files.history, &title(&self.files.model), identity)?;
            remove_checkpoint(&self.files.checkpoint)?;
        }
        self.tell(sets, &done, as_json)
    }

    fn tell(&self, sets: &Sets, done: &Done, as_json: bool) -> Result<ExitCode, CliError> {
        let by_flow = matches!(self.plan.kind, Kind::Flow | Kind::LogisticPca) && self.plan.visit_steps.is_none();
        let bad = sets.training.bad(self.method.loss().loss()).len() as f64 / sets.training.len() as f64;
        let found = done
            .rows
            .last("converged")
            .filter(|found| by_flow && *found + bad < 0.9);
        if let Some(found) = found {
            say!(
                "only {:.1}% of the codes of the last epoch were found (converged, or at t_end): the decoder is trained on the others \
                 too; raise max_steps, or take an activation without kinks",
                100.0 * found
            );
        }
        let rate = done.seen as f64 / done.seconds;
        if as_json {
            let column = |name| done.rows.last(name);
            let told = json!({"loss": column("loss"), "units": column("units"), "epochs": column("epoch"),
                "validation_loss": done.validation_loss(), "held_out_loss": column("held_out_loss"),
                "best_images": done.best.map(|(_, seen)| seen), "images": done.seen, "seconds": done.seconds,
                "images_per_second": rate, "output": self.files.model,
                "history": (self.plan.kind != Kind::Pca).then_some(&self.files.history)});
            output::say(&told.to_string())?;
        } else {
            say!("{}: {rate:.0} images per second", self.files.model.display());
        }
        Ok(ExitCode::SUCCESS)
    }

    /// How large the errors of the decoder's values are, from the validation samples; else why that is not known.
    fn noise(&self, sets: &Sets, done: &Done) -> Result<Noise, String> {
        let Some(held) = &sets.validation else {
            return Err("no samples were held out for validation".into());
        };
        if self.architecture.decoder().tangent().is_none() {
            return Err("the decoder has no Jacobian-vector products".into());
        }
        let open = self.architecture.opener();
        let encoding = self.method.encoding(&open);
        let learned = self.learned_z0(done, held.len());
        let mut samples = held.samples();
        samples.z0 = learned.as_ref().map_or(samples.z0, Mat::as_ref);
        // The training itself is done and must not be lost.
        let noise = Noise::estimate(&encoding, &done.params, samples).map_err(|error| {
            say!("no estimate of the decoder's errors for --noise: {error}");
            error.to_string()
        })?;
        if noise.sigma.iter().any(|sigma| *sigma > 0.0) {
            Ok(noise)
        } else {
            Err("the validation samples leave no residuals".into())
        }
    }

    /// The learned z0 for so many samples, where one was trained.
    fn learned_z0(&self, done: &Done, count: usize) -> Option<Mat<f64>> {
        (self.plan.flow.start == FlowStart::Learned && self.encoder.is_none())
            .then(|| Mat::from_fn(done.others.len(), count, |r, _| done.others[r]))
    }

    /// The linear regression of codes on data for warm starts, from the first of the training samples under the final weights.
    fn regression(&self, sets: &Sets, done: &Done) -> Result<Vec<(String, StoredTensor)>, CliError> {
        let count = sets.training.len().min(self.plan.regression_samples);
        if count == 0 {
            return Ok(Vec::new());
        }
        let open = self.architecture.opener();
        let encoding = self.method.encoding(&open);
        let mut samples = sets.training.first(count);
        let learned = self.learned_z0(done, count);
        samples.z0 = learned.as_ref().map_or(samples.z0, Mat::as_ref);
        // The training itself is done and must not be lost.
        let encoded = match encode(&encoding, &done.params, samples) {
            Ok(encoded) => encoded,
            Err(error) => {
                say!("no linear regression for --warm-start: {error}");
                return Ok(Vec::new());
            }
        };
        let good: Vec<usize> = (0..count).filter(|&b| encoded.records[b].status.is_success()).collect();
        let columns = |of: MatRef<'_, f64>| Mat::from_fn(of.nrows(), good.len(), |r, b| of[(r, good[b])]);
        let (y, w) = (columns(samples.data.y), samples.data.w.map(columns));
        let data = Targets {
            y: y.as_ref(),
            w: w.as_ref().map(Mat::as_ref),
        };
        let fitted = WarmStart::fit(data, columns(encoded.z.as_ref()).as_ref());
        if fitted.is_none() {
            say!("the codes allow no linear regression: the model file has none for --warm-start");
        }
        Ok(fitted.iter().flat_map(tensors).collect())
    }
}
