//! Where the default stop leaves a code: its distance, in standard errors, from the minimum of its own basin.

use crate::{DEFAULT, MODELS, Model, Samples, Setting, digits, encode_model};
use faer::{Mat, Side};
use gfe_encode::GradientFlow;
use gfe_model::{Decoder, Targets};
use gfe_ode::{Curvature, Flow, Lanewise, Point, Work};

/// D (H~ + I/tau), the information of each code `[d, d]`, at the columns of `z`.
fn information(model: &Model, samples: &Samples, z: &Mat<f64>, with: Setting) -> Vec<Mat<f64>> {
    let shape = model.dense.shape();
    let (dim, count) = (shape.latent, z.ncols());
    let data = Targets {
        y: samples.y.as_ref(),
        w: None,
    };
    let loss = with.loss.loss();
    let mut flow = GradientFlow::new(
        Box::new(model.dense.clone()),
        &model.params,
        (loss, &data),
        1.0 / with.t_end,
        count,
    );
    let (mut work, mut blocks) = (vec![Work::default(); count], vec![0.0; dim * dim * count]);
    let (lanes, t): (Vec<usize>, Vec<f64>) = (0..count).map(|lane| (lane, 0.0)).unzip();
    lanes.iter().for_each(|&lane| flow.admit(lane, lane, &vec![0.0; dim]));
    let at = Point {
        lanes: &lanes,
        t: &t,
        z: z.as_ref(),
    };
    flow.jacobian(at, Curvature::GaussNewton, &mut blocks, &mut work)
        .expect("a dense decoder never breaks down");
    let scale = -(shape.data as f64);
    let of = |block: &[f64]| Mat::from_fn(dim, dim, |i, j| scale * block[j * dim + i]);
    blocks.chunks(dim * dim).map(of).collect()
}

/// sqrt((a - b)^T M (a - b)).
fn errors_apart(information: &Mat<f64>, a: &[f64], b: &[f64]) -> f64 {
    let difference = Mat::from_fn(a.len(), 1, |i, _| a[i] - b[i]);
    (difference.transpose() * information * &difference)[(0, 0)]
        .max(0.0)
        .sqrt()
}

#[test]
fn the_default_stop_is_within_a_tenth_of_a_standard_error_of_the_minimum() {
    let samples = Samples { y: digits(), w: None };
    for t_end in [1e4, f64::INFINITY] {
        for name in MODELS {
            let model = Model::read(name);
            let stopping = Setting { t_end, ..DEFAULT };
            let exact = Setting {
                edm_tol: 0.0,
                ..stopping
            };
            let (stopped, _) = encode_model(&model, &samples, None, stopping);
            // From the code on: the minimum of the basin in which it lies. From z0: of the one that a longer run finds.
            let (own, _) = encode_model(&model, &samples, Some(&stopped.z), exact);
            let (direct, _) = encode_model(&model, &samples, None, exact);
            let information = information(&model, &samples, &own.z, exact);
            let (mut near, mut elsewhere) = (0, 0);
            for b in 0..200 {
                assert!(stopped.records[b].status.is_success() && own.records[b].status.is_success());
                let (code, minimum) = (stopped.z.col_as_slice(b), own.z.col_as_slice(b));
                let apart = errors_apart(&information[b], code, minimum);
                near += usize::from(apart <= 0.1);
                elsewhere += usize::from(errors_apart(&information[b], direct.z.col_as_slice(b), minimum) > 1.0);
                if apart > 0.1 {
                    let eigenvalues = information[b]
                        .self_adjoint_eigenvalues(Side::Lower)
                        .expect("it is symmetric");
                    let edm = stopped.records[b].edm;
                    println!(
                        "  {name}, digit {b}: {apart:.2} standard errors, edm {edm:.1e}, smallest eigenvalue of D H {:.1e}",
                        eigenvalues[0]
                    );
                }
            }
            println!(
                "{name}, t_end {t_end:e}: {near} of 200 within 0.1 standard errors; {elsewhere} in another basin than a longer run"
            );
            let enough = if t_end.is_finite() { 200 } else { 180 };
            assert!(near >= enough, "{name}, t_end {t_end}: {near} of 200");
            assert!(elsewhere <= 20, "{name}, t_end {t_end}: {elsewhere} of 200 elsewhere");
        }
    }
}
