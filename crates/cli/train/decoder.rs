//! Which decoder is trained.

use super::plan::Kind;
use crate::error::CliError;
use crate::model::{Architecture, PluginChoice};
use crate::settings::Settings;
use gfe_model::dense::{Activation, DenseConfig, DenseKind};
use gfe_model::{LossKind, Output};
use serde_json::{Value, json};

/// The decoder that the section `[decoder]` describes; for a linear baseline the linear one of the same sizes.
pub fn architecture(settings: &Settings, kind: Kind) -> Result<Architecture, CliError> {
    let named = named(settings)?;
    let (latent, output) = (named.decoder().shape().latent, named.decoder().output());
    let linear = |output| {
        let config = DenseConfig {
            decoder: DenseKind::Dense,
            latent,
            layers: vec![named.decoder().shape().data],
            activation: Activation::Identity,
            output,
        };
        crate::model::dense(json!(config)).map(Architecture::Dense)
    };
    match kind {
        Kind::Flow | Kind::Autoencoder | Kind::AutoDecoder => Ok(named),
        Kind::Pca => linear(Output::Values),
        Kind::LogisticPca if output.loss() == LossKind::Bce => linear(output),
        Kind::LogisticPca => Err(CliError::Config(
            "`method` is logistic-pca, which is for logits, and the decoder's output is not: take pca".into(),
        )),
    }
}

fn named(settings: &Settings) -> Result<Architecture, CliError> {
    let choice = PluginChoice::new(settings)?;
    let config = Value::Object(
        settings
            .section("decoder")
            .into_iter()
            .filter(|(key, _)| !["plugin", "config", "sha256"].contains(&key.as_str()))
            .map(|(key, value)| (key, json!(value)))
            .collect(),
    );
    let none = config.as_object().is_none_or(serde_json::Map::is_empty);
    if choice.is_made() {
        if !none {
            let text = "[decoder] names a plugin, whose settings stand in `config`: leave out the others";
            return Err(CliError::Config(text.into()));
        }
        return Architecture::new(&choice, None);
    }
    if none {
        let how = "say for instance latent = 8, layers = [32, 64], activation = \"elu\", output = \"logits\"";
        return Err(CliError::Config(format!("the section [decoder] is missing: {how}")));
    }
    Architecture::new(&choice, Some(config))
}
