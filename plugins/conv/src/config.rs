//! The list of layers as a configuration states it, in JSON, in the terms of PyTorch.

use crate::layer::Activation;
use gfe_sdk::Output;
use gfe_sdk::model::dense;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Why there is no such decoder.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConvError {
    /// The configuration as a whole cannot be read.
    #[error("the configuration of the decoder `conv`: {0}")]
    Config(String),
    /// `latent` is 0.
    #[error("`latent` is 0: a code has at least one value")]
    NoLatent,
    /// Nothing is computed.
    #[error("`layers` computes nothing: name at least one layer that is no `flatten` or `unflatten`")]
    NoLayers,
    /// A layer cannot be had.
    #[error("{place}: {fault}")]
    Layer {
        /// Which, as in `layers[2].residual.main[0]`.
        place: String,
        /// Why.
        fault: Fault,
    },
}

/// What is wrong with a layer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// It is no name and no object of one key.
    #[error(
        "a layer is a name, as in \"relu\", or an object of one key, as in {{\"upsample\": {{\"scale_factor\": 2}}}}; this is {0}"
    )]
    NotALayer(Value),
    /// No layer is called that.
    #[error("there is no layer `{0}`; there are {known}", known = LAYERS.join(", "))]
    Unknown(String),
    /// Its options cannot be read.
    #[error("`{layer}`: {reason}")]
    Options {
        /// Its name.
        layer: String,
        /// What is wrong, with the key.
        reason: String,
    },
    /// It wants an image.
    #[error(
        "`{layer}` takes an image, and {values} values in a row come: put {{\"unflatten\": [channels, height, width]}} before it"
    )]
    WantsImage {
        /// Its name.
        layer: &'static str,
        /// Values that come.
        values: usize,
    },
    /// It wants values in a row.
    #[error("`{layer}` takes values in a row, and an image {image:?} comes: put \"flatten\" before it")]
    WantsRow {
        /// Its name.
        layer: &'static str,
        /// `[channels, height, width]` that come.
        image: [usize; 3],
    },
    /// An image of another size.
    #[error("`unflatten` to {image:?} takes {wanted} values, and {values} come", wanted = image.iter().product::<usize>())]
    Unflatten {
        /// `[channels, height, width]` that are wanted.
        image: [usize; 3],
        /// Values that come.
        values: usize,
    },
    /// A size of 0.
    #[error("`{key}` is 0: it is at least 1")]
    Zero {
        /// The option.
        key: &'static str,
    },
    /// The window is larger than the padded image.
    #[error(
        "a kernel of {kernel} does not fit a side of {size} with {padding} of padding at each end: enlarge `padding`"
    )]
    Kernel {
        /// Pixels of the kernel.
        kernel: usize,
        /// Pixels of the image in that direction.
        size: usize,
        /// Padding in that direction.
        padding: usize,
    },
    /// The padding of a transposed convolution takes all of the image.
    #[error("with `padding` {padding} no pixel is left of {size}: make `padding` smaller")]
    Padding {
        /// Padding in one direction.
        padding: usize,
        /// Pixels before it is taken away at both ends.
        size: usize,
    },
    /// PyTorch's own condition.
    #[error("`output_padding` {output_padding} is not below `stride` {stride}")]
    OutputPadding {
        /// Rows or columns added.
        output_padding: usize,
        /// The stride in the same direction.
        stride: usize,
    },
    /// A residual block's two lists give different shapes.
    #[error("`residual` adds {main} from `main` and {shortcut} from `shortcut`: they must be of one shape")]
    Residual {
        /// Shape from `main`.
        main: String,
        /// Shape from `shortcut`.
        shortcut: String,
    },
    /// A size out of bounds.
    #[error("too large: no matrix or image may have more than 2^40 values")]
    TooLarge,
}

/// The names of all layers.
const LAYERS: [&str; 18] = [
    "linear",
    "conv2d",
    "conv_transpose2d",
    "upsample",
    "unflatten",
    "flatten",
    "sequential",
    "residual",
    "identity",
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "tanh",
    "sigmoid",
];

/// A decoder as a list of layers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// d.
    pub latent: usize,
    /// From z to x.
    pub layers: Vec<Value>,
    /// What a decoded value means.
    #[serde(default = "values")]
    pub output: Output,
    /// Before the names of all tensors.
    #[serde(default)]
    pub prefix: String,
}

fn values() -> Output {
    Output::Values
}

fn yes() -> bool {
    true
}

/// One layer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Layer {
    Linear(LinearConfig),
    Conv2d(ConvConfig),
    ConvTranspose2d(TransposeConfig),
    Upsample(UpsampleConfig),
    Unflatten([usize; 3]),
    Flatten,
    Sequential(Vec<Value>),
    Residual(ResidualConfig),
    Identity,
    Activation(Activation),
}

/// Options of `linear`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinearConfig {
    pub out_features: usize,
    #[serde(default = "yes")]
    pub bias: bool,
}

/// Options of `conv2d`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConvConfig {
    pub out_channels: usize,
    pub kernel_size: Pair,
    #[serde(default = "ones")]
    pub stride: Pair,
    #[serde(default = "zeros")]
    pub padding: Pair,
    #[serde(default = "yes")]
    pub bias: bool,
}

/// Options of `conv_transpose2d`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransposeConfig {
    pub out_channels: usize,
    pub kernel_size: Pair,
    #[serde(default = "ones")]
    pub stride: Pair,
    #[serde(default = "zeros")]
    pub padding: Pair,
    #[serde(default = "zeros")]
    pub output_padding: Pair,
    #[serde(default = "yes")]
    pub bias: bool,
}

/// Options of `upsample`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpsampleConfig {
    pub scale_factor: usize,
}

/// Options of `residual`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResidualConfig {
    pub main: Vec<Value>,
    #[serde(default)]
    pub shortcut: Vec<Value>,
}

/// Options of `leaky_relu`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeakyConfig {
    #[serde(default = "hundredth")]
    negative_slope: f64,
}

fn hundredth() -> f64 {
    0.01
}

/// Two numbers, `[vertical, horizontal]`; one number stands for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pair(pub [usize; 2]);

fn ones() -> Pair {
    Pair([1, 1])
}

fn zeros() -> Pair {
    Pair([0, 0])
}

impl<'de> Deserialize<'de> for Pair {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Both;
        impl<'de> Visitor<'de> for Both {
            type Value = Pair;

            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("a whole number, or two, [vertical, horizontal]")
            }

            fn visit_u64<E: serde::de::Error>(self, both: u64) -> Result<Pair, E> {
                let both = usize::try_from(both).map_err(E::custom)?;
                Ok(Pair([both, both]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut two: A) -> Result<Pair, A::Error> {
                let mut next = |index| {
                    two.next_element()?
                        .ok_or_else(|| A::Error::invalid_length(index, &self))
                };
                let pair = [next(0)?, next(1)?];
                match two.next_element::<usize>()? {
                    None => Ok(Pair(pair)),
                    Some(_) => Err(A::Error::invalid_length(3, &self)),
                }
            }
        }
        use serde::de::Error;
        deserializer.deserialize_any(Both)
    }
}

/// The layer that a value of the list describes.
pub(crate) fn layer(value: &Value) -> Result<Layer, Fault> {
    let (name, options) = match value {
        Value::String(name) => (name, Value::Object(Map::new())),
        Value::Object(map) if map.len() == 1 => {
            let (name, options) = map.iter().next().expect("it has one key");
            (name, options.clone())
        }
        _ => return Err(Fault::NotALayer(value.clone())),
    };
    if !LAYERS.contains(&name.as_str()) {
        return Err(Fault::Unknown(name.clone()));
    }
    let fault = |error: serde_json::Error| Fault::Options {
        layer: name.clone(),
        reason: error.to_string(),
    };
    Ok(match name.as_str() {
        "linear" => Layer::Linear(serde_json::from_value(options).map_err(fault)?),
        "conv2d" => Layer::Conv2d(serde_json::from_value(options).map_err(fault)?),
        "conv_transpose2d" => Layer::ConvTranspose2d(serde_json::from_value(options).map_err(fault)?),
        "upsample" => Layer::Upsample(serde_json::from_value(options).map_err(fault)?),
        "unflatten" => Layer::Unflatten(serde_json::from_value(options).map_err(fault)?),
        "sequential" => Layer::Sequential(serde_json::from_value(options).map_err(fault)?),
        "residual" => Layer::Residual(serde_json::from_value(options).map_err(fault)?),
        "leaky_relu" => {
            let LeakyConfig { negative_slope } = serde_json::from_value(options).map_err(fault)?;
            Layer::Activation(Activation::LeakyRelu(negative_slope))
        }
        _ => {
            // All others have no option.
            if let Some(key) = options.as_object().and_then(|options| options.keys().next()) {
                let reason = format!("unknown field `{key}`, it has no options");
                return Err(Fault::Options {
                    layer: name.clone(),
                    reason,
                });
            }
            match name.as_str() {
                "flatten" => Layer::Flatten,
                "identity" => Layer::Identity,
                _ => {
                    let activation: dense::Activation =
                        serde_json::from_value(Value::String(name.clone())).map_err(fault)?;
                    Layer::Activation(Activation::Dense(activation))
                }
            }
        }
    })
}
