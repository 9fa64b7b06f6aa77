//! From the configuration to the program: shapes, names of tensors and where they lie.

use crate::config::{self, Config, ConvConfig, ConvError, Fault, Layer, TransposeConfig, UpsampleConfig};
use crate::layer::{Affine, Conv2d, ConvTranspose2d, Geometry, Linear, Map, Upsample, Weights, Window};
use crate::program::{Program, Step};
use gfe_sdk::TensorSpec;
use serde_json::Value;

/// No matrix and no image has more values: 8 TiB, far from any overflow of what is computed from it.
const LARGEST: usize = 1 << 40;

/// What a value is besides its numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Row(usize),
    Image([usize; 3]),
}

impl Shape {
    fn len(self) -> usize {
        match self {
            Shape::Row(len) => len,
            Shape::Image(image) => image.iter().product(),
        }
    }

    fn image(self, layer: &'static str) -> Result<[usize; 3], Fault> {
        match self {
            Shape::Image(image) => Ok(image),
            Shape::Row(values) => Err(Fault::WantsImage { layer, values }),
        }
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Shape::Row(len) => write!(f, "{len} values"),
            Shape::Image([channels, height, width]) => write!(f, "{channels} x {height} x {width}"),
        }
    }
}

/// A value with its shape, as the layers hand it on.
#[derive(Clone, Copy)]
struct At {
    value: usize,
    shape: Shape,
}

/// What has been built so far.
struct Builder {
    steps: Vec<Step>,
    lens: Vec<usize>,
    params: usize,
    tensors: Vec<TensorSpec>,
}

/// The program of a configuration.
pub(crate) fn program(config: &Config) -> Result<Program, ConvError> {
    if config.latent == 0 {
        return Err(ConvError::NoLatent);
    }
    let shape = Shape::Row(config.latent);
    let mut builder = Builder {
        steps: Vec::new(),
        lens: vec![config.latent],
        params: 0,
        tensors: Vec::new(),
    };
    builder.list(&config.layers, "layers", &config.prefix, At { value: 0, shape })?;
    if builder.steps.is_empty() {
        return Err(ConvError::NoLayers);
    }
    Ok(Program::new(
        builder.steps,
        &builder.lens,
        builder.params,
        builder.tensors,
    ))
}

/// The product of sizes, where it is not too large.
fn volume(sizes: &[usize]) -> Result<usize, Fault> {
    let product = sizes
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size));
    product.filter(|&product| product <= LARGEST).ok_or(Fault::TooLarge)
}

fn at_least_one(key: &'static str, sizes: &[usize]) -> Result<(), Fault> {
    match sizes.contains(&0) {
        true => Err(Fault::Zero { key }),
        false => Ok(()),
    }
}

impl Builder {
    /// Layers one after the other: `place` names the list, `prefix` starts the names of its tensors.
    fn list(&mut self, layers: &[Value], place: &str, prefix: &str, mut at: At) -> Result<At, ConvError> {
        for (index, value) in layers.iter().enumerate() {
            let (place, prefix) = (format!("{place}[{index}]"), format!("{prefix}{index}."));
            let layer = config::layer(value);
            let in_place = |fault| ConvError::Layer {
                place: place.clone(),
                fault,
            };
            at = match layer.map_err(in_place)? {
                Layer::Sequential(inner) => self.list(&inner, &format!("{place}.sequential"), &prefix, at)?,
                Layer::Residual(inner) => {
                    let (main_place, main_prefix) = (format!("{place}.residual.main"), format!("{prefix}main."));
                    let main = self.list(&inner.main, &main_place, &main_prefix, at)?;
                    let (short_place, short_prefix) =
                        (format!("{place}.residual.shortcut"), format!("{prefix}shortcut."));
                    let shortcut = self.list(&inner.shortcut, &short_place, &short_prefix, at)?;
                    self.sum(main, shortcut).map_err(in_place)?
                }
                layer => self.layer(layer, &prefix, at).map_err(in_place)?,
            };
        }
        Ok(at)
    }

    /// A layer that holds no others.
    fn layer(&mut self, layer: Layer, prefix: &str, at: At) -> Result<At, Fault> {
        match layer {
            Layer::Linear(options) => self.linear(options.out_features, options.bias, prefix, at),
            Layer::Conv2d(options) => self.conv(&options, prefix, at),
            Layer::ConvTranspose2d(options) => self.transpose(&options, prefix, at),
            Layer::Upsample(options) => self.upsample(&options, at),
            Layer::Unflatten(image) => {
                at_least_one("unflatten", &image)?;
                match at.shape {
                    Shape::Row(values) if volume(&image)? != values => Err(Fault::Unflatten { image, values }),
                    Shape::Row(_) => Ok(At {
                        shape: Shape::Image(image),
                        ..at
                    }),
                    Shape::Image(image) => Err(Fault::WantsRow {
                        layer: "unflatten",
                        image,
                    }),
                }
            }
            Layer::Flatten => Ok(At {
                shape: Shape::Row(at.shape.len()),
                ..at
            }),
            Layer::Activation(activation) => Ok(self.push(at.value, Map::Activation(activation), at.shape)),
            Layer::Identity => Ok(at),
            Layer::Sequential(_) | Layer::Residual(_) => unreachable!("lists are taken apart before"),
        }
    }

    /// One more step.
    fn push(&mut self, from: usize, map: Map, shape: Shape) -> At {
        self.steps.push(Step { from, map });
        self.lens.push(shape.len());
        At {
            value: self.steps.len(),
            shape,
        }
    }

    fn affine(&mut self, from: At, map: impl Affine + 'static, shape: Shape) -> At {
        self.push(from.value, Map::Affine(Box::new(map)), shape)
    }

    fn sum(&mut self, main: At, shortcut: At) -> Result<At, Fault> {
        if main.shape != shortcut.shape {
            return Err(Fault::Residual {
                main: main.shape.to_string(),
                shortcut: shortcut.shape.to_string(),
            });
        }
        Ok(self.push(main.value, Map::Add(shortcut.value), main.shape))
    }

    /// Places a weight of this shape and its bias, `outputs` long, in `params`. The first dimension makes the rows.
    fn weights(&mut self, prefix: &str, shape: &[usize], outputs: Option<usize>) -> Result<Weights, Fault> {
        let start = self.params;
        let (rows, columns, bias) = (shape[0], volume(&shape[1..])?, outputs.unwrap_or(0));
        let len = volume(shape)? + bias;
        self.params = start
            .checked_add(len)
            .filter(|&params| params <= LARGEST)
            .ok_or(Fault::TooLarge)?;
        let mut tensor = |name, shape| {
            self.tensors.push(TensorSpec {
                name: format!("{prefix}{name}"),
                shape,
            });
        };
        tensor("weight", shape.to_vec());
        if let Some(outputs) = outputs {
            tensor("bias", vec![outputs]);
        }
        Ok(Weights {
            start,
            rows,
            columns,
            bias,
        })
    }

    fn linear(&mut self, outputs: usize, bias: bool, prefix: &str, at: At) -> Result<At, Fault> {
        at_least_one("out_features", &[outputs])?;
        if let Shape::Image(image) = at.shape {
            return Err(Fault::WantsRow { layer: "linear", image });
        }
        volume(&[outputs])?;
        let weights = self.weights(prefix, &[outputs, at.shape.len()], bias.then_some(outputs))?;
        Ok(self.affine(at, Linear(weights), Shape::Row(outputs)))
    }

    fn conv(&mut self, options: &ConvConfig, prefix: &str, at: At) -> Result<At, Fault> {
        let big = at.shape.image("conv2d")?;
        let (kernel, stride, padding) = (options.kernel_size.0, options.stride.0, options.padding.0);
        let channels = options.out_channels;
        check_window(channels, kernel, stride)?;
        let mut small = [channels, 0, 0];
        for axis in 0..2 {
            let size = big[axis + 1];
            let padded = padding[axis].checked_mul(2).and_then(|both| both.checked_add(size));
            let padded = padded.ok_or(Fault::TooLarge)?;
            let room = padded.checked_sub(kernel[axis]).ok_or(Fault::Kernel {
                kernel: kernel[axis],
                size,
                padding: padding[axis],
            })?;
            small[axis + 1] = room / stride[axis] + 1;
        }
        let geometry = geometry(
            big,
            small,
            Window {
                kernel,
                stride,
                padding,
            },
        )?;
        let shape = [channels, big[0], kernel[0], kernel[1]];
        let weights = self.weights(prefix, &shape, options.bias.then_some(channels))?;
        Ok(self.affine(at, Conv2d { geometry, weights }, Shape::Image(small)))
    }

    fn transpose(&mut self, options: &TransposeConfig, prefix: &str, at: At) -> Result<At, Fault> {
        let small = at.shape.image("conv_transpose2d")?;
        let (kernel, stride, padding) = (options.kernel_size.0, options.stride.0, options.padding.0);
        let channels = options.out_channels;
        check_window(channels, kernel, stride)?;
        let mut big = [channels, 0, 0];
        for axis in 0..2 {
            let output_padding = options.output_padding.0[axis];
            if output_padding >= stride[axis] && output_padding > 0 {
                return Err(Fault::OutputPadding {
                    output_padding,
                    stride: stride[axis],
                });
            }
            let size = (small[axis + 1] - 1).checked_mul(stride[axis]);
            let size = size.and_then(|size| size.checked_add(kernel[axis])?.checked_add(output_padding));
            let size = size.ok_or(Fault::TooLarge)?;
            let left = padding[axis].checked_mul(2).and_then(|both| size.checked_sub(both));
            big[axis + 1] = left.filter(|&left| left > 0).ok_or(Fault::Padding {
                padding: padding[axis],
                size,
            })?;
        }
        let geometry = geometry(
            big,
            small,
            Window {
                kernel,
                stride,
                padding,
            },
        )?;
        let shape = [small[0], channels, kernel[0], kernel[1]];
        let weights = self.weights(prefix, &shape, options.bias.then_some(channels))?;
        Ok(self.affine(at, ConvTranspose2d { geometry, weights }, Shape::Image(big)))
    }

    fn upsample(&mut self, options: &UpsampleConfig, at: At) -> Result<At, Fault> {
        let input = at.shape.image("upsample")?;
        let scale = options.scale_factor;
        at_least_one("scale_factor", &[scale])?;
        volume(&[input[0], input[1], scale, input[2], scale])?;
        let output = [input[0], input[1] * scale, input[2] * scale];
        Ok(self.affine(at, Upsample { input, scale }, Shape::Image(output)))
    }
}

fn check_window(channels: usize, kernel: [usize; 2], stride: [usize; 2]) -> Result<(), Fault> {
    at_least_one("out_channels", &[channels])?;
    at_least_one("kernel_size", &kernel)?;
    at_least_one("stride", &stride)
}

/// The two images, where neither they nor the scratch of a tile is too large.
fn geometry(big: [usize; 3], small: [usize; 3], window: Window) -> Result<Geometry, Fault> {
    volume(&big)?;
    volume(&small)?;
    let patch = volume(&[big[0], window.kernel[0], window.kernel[1]])?;
    volume(&[patch.saturating_add(small[0]), 512, small[2]])?;
    Ok(Geometry { big, small, window })
}
