//! The built-in decoder: linear layers with one nonlinearity between them, as faer matrix products over all lanes.
//!
//! With h_0 = z: a_i = W_i h_(i-1) + b_i, h_i = activation(a_i), and x is the last a, without activation. The tape holds
//! a, h and the slope s = activation'(a) of every hidden layer. Products that need scratch cut a wide batch into blocks
//! of columns, so that scratch does not grow with the batch.

mod activation;
mod config;
mod layer;
mod packed;
mod reduced;
mod second_order;
mod tangent;
mod train;

pub use activation::Activation;
pub use config::{DenseConfig, DenseError, DenseKind};

use crate::columns::{batch, batch_mut, blocks, column_mut, cut, lanes_of, widest};
use crate::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, Output, Reduced, SecondOrder, Tangent, Taped, TensorSpec,
    Trainable,
};
use faer::prelude::IntoConst;
use layer::{Layer, affine, product, scale};
use packed::Store;

/// Columns that a product treats at a time: bounds scratch, and is wide enough that packing the weights once per block
/// costs little beside the product.
const BLOCK: usize = 256;

/// A dense decoder: its architecture, and copies of the weights it was called with last.
#[derive(Clone, Debug)]
pub struct Dense {
    config: DenseConfig,
    layers: Vec<Layer>,
    /// Outputs of all hidden layers together.
    hidden: usize,
    /// Outputs of the widest hidden layer; 0 without any.
    widest: usize,
    params: usize,
    store: Store,
}

impl Dense {
    /// The decoder of this configuration.
    ///
    /// Fails where there is no layer, a size is 0, or the decoder would not fit the address space.
    pub fn new(config: DenseConfig) -> Result<Self, DenseError> {
        let params = config.params()?;
        let mut layers = Vec::with_capacity(config.layers.len());
        let (mut inputs, mut weight, mut tape) = (config.latent, 0, 0);
        for &outputs in &config.layers {
            layers.push(Layer {
                inputs,
                outputs,
                weight,
                tape,
            });
            weight += (inputs + 1) * outputs;
            tape += 3 * outputs;
            inputs = outputs;
        }
        let above = &config.layers[..config.layers.len() - 1];
        let (hidden, widest) = (above.iter().sum(), above.iter().copied().max().unwrap_or(0));
        Ok(Dense {
            config,
            layers,
            hidden,
            widest,
            params,
            store: Store::default(),
        })
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &DenseConfig {
        &self.config
    }

    /// The input of layer `index` in every lane: z, or the activation below.
    fn input<'a>(&self, index: usize, taped: Taped<'a>) -> Cols<'a> {
        match index {
            0 => taped.at.z,
            _ => self.layers[index - 1].activated(taped.tape),
        }
    }

    /// delta_i = dl/da_i of every layer, last to first, from that of the last layer, `x_bar`.
    ///
    /// `visit(i, delta_i)` is called once per layer. delta_(i-1) = s_(i-1) * (W_i^T delta_i).
    fn pull_back(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        scratch: &mut [f64],
        mut visit: impl FnMut(usize, Cols<'_>),
    ) {
        let lanes = x_bar.ncols();
        let (mut here, mut below) = scratch[..2 * self.widest * lanes].split_at_mut(self.widest * lanes);
        let last = self.layers.len() - 1;
        for index in (0..=last).rev() {
            let layer = self.layers[index];
            let delta = if index == last {
                x_bar
            } else {
                batch(here, layer.outputs, lanes)
            };
            visit(index, delta);
            if index > 0 {
                let mut next = batch_mut(below, layer.inputs, lanes);
                product(next.as_mut(), layer.transposed(taped.at.params), delta);
                scale(next, self.layers[index - 1].slope(taped.tape), |lane| lane);
            }
            std::mem::swap(&mut here, &mut below);
        }
    }
}

impl Decoder for Dense {
    fn shape(&self) -> DecoderShape {
        let data = self.layers[self.layers.len() - 1].outputs;
        DecoderShape {
            latent: self.config.latent,
            data,
            params: self.params,
            context: 0,
        }
    }

    /// `decoder.{2i}.weight` `[out, in]` and `decoder.{2i}.bias` `[out]` of layer i: an activation takes the odd places
    /// of PyTorch's `Sequential`.
    fn tensors(&self) -> Vec<TensorSpec> {
        let tensors = |(index, layer): (usize, &Layer)| {
            let name = |tensor| format!("decoder.{}.{tensor}", 2 * index);
            [
                TensorSpec {
                    name: name("weight"),
                    shape: vec![layer.outputs, layer.inputs],
                },
                TensorSpec {
                    name: name("bias"),
                    shape: vec![layer.outputs],
                },
            ]
        };
        self.layers.iter().enumerate().flat_map(tensors).collect()
    }

    fn output(&self) -> Output {
        self.config.output
    }

    fn tape_len(&self) -> usize {
        3 * self.hidden
    }

    fn scratch_len(&self, columns: usize) -> usize {
        second_order::scratch_per_column(self) * widest(columns, BLOCK)
    }

    fn forward(
        &self,
        at: At<'_>,
        x: ColsMut<'_>,
        mut tape: ColsMut<'_>,
        _scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        let last = self.layers.len() - 1;
        let copies = self.store.copies(at);
        let weights = copies.double(at.params, &self.layers);
        for (index, &layer) in self.layers[..last].iter().enumerate() {
            let (below, own) = tape.as_mut().split_at_row_mut(layer.tape);
            let mut own = own.subrows_mut(0, 3 * layer.outputs);
            let input = self.input(
                index,
                Taped {
                    at,
                    tape: below.into_const(),
                },
            );
            let a = own.as_mut().subrows_mut(0, layer.outputs);
            product(a, weights.weight(layer), input);
            activate(self.config.activation, layer.bias(at.params), own);
        }
        let layer = self.layers[last];
        let input = self.input(
            last,
            Taped {
                at,
                tape: tape.into_const(),
            },
        );
        affine(x, weights.weight(layer), input, layer.bias(at.params));
        Ok(())
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        mut z_bar: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        for block in blocks(x_bar.ncols(), BLOCK) {
            let x_bar = cut(x_bar, &block);
            let mut z_bar = z_bar.as_mut().subcols_mut(block.start, block.len());
            self.pull_back(lanes_of(taped, &block), x_bar, scratch, |index, delta| {
                if index == 0 {
                    product(z_bar.as_mut(), self.layers[0].transposed(taped.at.params), delta);
                }
            });
        }
        Ok(())
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        Some(self)
    }

    fn trainable(&self) -> Option<&dyn Trainable> {
        Some(self)
    }

    fn reduced(&self) -> Option<&dyn Reduced> {
        Some(self)
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        Some(self)
    }
}

/// Adds `bias` to a and writes h and s; `own` holds the three, as many rows each as `bias` has values.
fn activate(activation: Activation, bias: &[f64], mut own: ColsMut<'_>) {
    for lane in 0..own.ncols() {
        let (a, rest) = column_mut(&mut own, lane).split_at_mut(bias.len());
        let (h, s) = rest.split_at_mut(bias.len());
        activation.apply(a, bias, h, s);
    }
}
