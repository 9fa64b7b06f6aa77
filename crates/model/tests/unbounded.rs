//! A decoder in unbounded coordinates: every product against differences, with every transform.

use faer::Mat;
use gfe_model::dense::{Dense, DenseConfig};
use gfe_model::{
    At, Cols, ColsMut, DecodeError, Decoder, DecoderShape, Guess, Latent, SecondOrder, Tangent, Taped, Targets,
    TensorSpec, Trainable, Transform, Unbounded, check,
};

/// A dense decoder whose latents have bounds.
struct Bounded {
    dense: Dense,
    latents: Vec<Latent>,
}

impl Decoder for Bounded {
    fn shape(&self) -> DecoderShape {
        self.dense.shape()
    }

    fn tensors(&self) -> Vec<TensorSpec> {
        self.dense.tensors()
    }

    fn latents(&self) -> &[Latent] {
        &self.latents
    }

    fn tape_len(&self) -> usize {
        self.dense.tape_len()
    }

    fn scratch_len(&self, columns: usize) -> usize {
        self.dense.scratch_len(columns)
    }

    fn forward(&self, at: At<'_>, x: ColsMut<'_>, tape: ColsMut<'_>, scratch: &mut [f64]) -> Result<(), DecodeError> {
        self.dense.forward(at, x, tape, scratch)
    }

    fn vjp(
        &self,
        taped: Taped<'_>,
        x_bar: Cols<'_>,
        z_bar: ColsMut<'_>,
        scratch: &mut [f64],
    ) -> Result<(), DecodeError> {
        self.dense.vjp(taped, x_bar, z_bar, scratch)
    }

    fn tangent(&self) -> Option<&dyn Tangent> {
        self.dense.tangent()
    }

    fn trainable(&self) -> Option<&dyn Trainable> {
        self.dense.trainable()
    }

    fn second_order(&self) -> Option<&dyn SecondOrder> {
        self.dense.second_order()
    }

    fn guess(&self) -> Option<&dyn Guess> {
        Some(self)
    }
}

impl Guess for Bounded {
    /// The middle of every interval, or 2.
    fn guess(
        &self,
        _params: &[f64],
        _context: Cols<'_>,
        _data: Targets<'_>,
        _start: usize,
        mut z: ColsMut<'_>,
    ) -> Result<(), DecodeError> {
        z.fill(2.0);
        Ok(())
    }
}

fn bounded() -> Bounded {
    let config = serde_json::json!({"latent": 3, "layers": [7, 9], "activation": "tanh", "output": "values"});
    let config: DenseConfig = serde_json::from_value(config).expect("it is a dense decoder");
    let latent = |name: &str, transform, scale| Latent {
        name: name.into(),
        unit: String::new(),
        lower: 0.5,
        upper: 4.0,
        transform,
        scale,
        default: 1.2,
    };
    Bounded {
        dense: Dense::new(config).expect("its sizes are valid"),
        latents: vec![
            latent("a", Transform::Identity, 0.3),
            latent("b", Transform::Log, 0.8),
            latent("c", Transform::Logit, 1.4),
        ],
    }
}

#[test]
fn every_product_is_that_of_the_composed_map() {
    let inner = bounded();
    let mut params = vec![0.0; inner.shape().params];
    inner
        .trainable()
        .expect("it can be trained")
        .init(4, &mut params)
        .expect("weights can be had");
    let decoder = Unbounded::of(Box::new(inner));
    let z = Mat::from_fn(3, 4, |r, b| 0.4 * (r as f64 - 1.0) + 0.3 * b as f64 - 0.5);
    let at = At {
        params: &params,
        version: 1,
        z: z.as_ref(),
        context: Cols::from_column_major_slice(&[], 0, 4),
    };
    let report = check::report(&*decoder, at, 9).expect("it never fails");
    assert!(report.adjoint.is_some_and(|error| error < 1e-13), "{report:?}");
    for error in [
        report.jvp,
        Some(report.vjp),
        report.params_vjp,
        report.hvp,
        report.params_hvp,
    ] {
        assert!(error.is_some_and(|error| error < 1e-8), "{report:?}");
    }
}

#[test]
fn guesses_are_mapped_and_latents_without_a_meaning_left_alone() {
    let decoder = Unbounded::of(Box::new(bounded()));
    let (y, mut z) = (Mat::zeros(9, 2), Mat::zeros(3, 2));
    let data = Targets { y: y.as_ref(), w: None };
    let guess = decoder.guess().expect("it guesses");
    let none = Cols::from_column_major_slice(&[], 0, 2);
    guess.guess(&[], none, data, 0, z.as_mut()).expect("it never fails");
    for (r, latent) in decoder.latents().iter().enumerate() {
        assert!((latent.physical(z[(r, 1)])[0] - 2.0).abs() < 1e-12);
    }
    let plain = bounded().dense;
    let tape = plain.tape_len();
    assert_eq!(Unbounded::of(Box::new(plain)).tape_len(), tape);
}
