//! The flags of a method, which `encode` and `train` share.

use crate::settings::Settings;
use clap::Args;

/// How samples are encoded.
#[derive(Args)]
pub struct MethodFlags {
    /// Solver: ptc, amd, euler, rk4, tsit5, tsit45, tr_bdf2, esdirk34 or bdf. Default: ptc.
    #[arg(long)]
    solver: Option<String>,
    /// Flow: gradient, or nesterov (of second order). Default: gradient.
    #[arg(long)]
    flow: Option<String>,
    /// Loss: mse, bce, gaussian or poisson. Default: what the decoder's output means.
    #[arg(long)]
    loss: Option<String>,
    /// Horizon tau; `inf` for the plain steady state (ptc only). Default: 1e4.
    #[arg(long)]
    t_end: Option<f64>,
    /// ptc: bound on the estimated distance to the minimum; 0 leaves gtol alone. Default: 1e-3.
    #[arg(long)]
    edm_tol: Option<f64>,
    /// Bound on the gradient norm; for mse in units of the loss of D(z) = 0. Default: 1e-9.
    #[arg(long)]
    gtol: Option<f64>,
    /// Steps attempted per sample at most (not euler, rk4). Default: 1000 for ptc, else 100000.
    #[arg(long)]
    max_steps: Option<u32>,
    /// euler, rk4: number of steps to t_end. Default: 10000.
    #[arg(long)]
    steps: Option<u32>,
    /// Solvers with error control: relative tolerance. Default: 1e-6.
    #[arg(long)]
    rtol: Option<f64>,
    /// Solvers with error control: absolute tolerance. Default: 1e-8.
    #[arg(long)]
    atol: Option<f64>,
    /// Hessian: gauss_newton, or exact (ptc: near the end). Default: gauss_newton for ptc, else exact where the decoder
    /// has second-order products; only for ptc, tr_bdf2, esdirk34, bdf.
    #[arg(long)]
    hessian: Option<String>,
    /// Factor alpha(t) of the flow: constant, or exp_decay (exp(-2 t / t_end)); not ptc. Default: constant.
    #[arg(long)]
    alpha: Option<String>,
    /// Initial latents: zeros, fill=C, uniform (in [0, 1), from --seed) or FILE:/DATASET, a row per row of the input.
    #[arg(long)]
    z0: Option<String>,
    /// Seed of the initial latents where they are uniform. Default: 0.
    #[arg(long)]
    seed: Option<u32>,
    /// Factor of every input value. Default: 1/255 for unsigned bytes, else 1.
    #[arg(long)]
    scale: Option<f64>,
    /// Samples integrated together per thread. Default: 128, fewer for decoders of many values.
    #[arg(long)]
    lanes: Option<u32>,
    /// Worker threads. Default: one per core.
    #[arg(long)]
    threads: Option<u32>,
}

/// The precision of the steps, which a training has elsewhere.
#[derive(Args)]
pub struct PrecisionFlag {
    /// ptc: precision away from a code. mixed: single where edm_tol or gtol and the decoder allow it, with every code confirmed in
    /// double precision or encoded again; or f64. Default: mixed for bce and mse, f64 for gaussian and poisson.
    #[arg(long)]
    precision: Option<String>,
}

impl PrecisionFlag {
    /// Puts the flag, if it is given, into the table.
    pub fn put(&self, settings: &mut Settings) {
        settings.flag("method.precision", self.precision.clone());
    }
}

impl MethodFlags {
    /// Puts the flags given into the table.
    pub fn put(&self, settings: &mut Settings) {
        settings.flag("method.solver", self.solver.clone());
        settings.flag("method.flow", self.flow.clone());
        settings.flag("method.loss", self.loss.clone());
        settings.flag("method.t_end", self.t_end);
        settings.flag("method.edm_tol", self.edm_tol);
        settings.flag("method.gtol", self.gtol);
        settings.flag("method.max_steps", self.max_steps);
        settings.flag("method.steps", self.steps);
        settings.flag("method.rtol", self.rtol);
        settings.flag("method.atol", self.atol);
        settings.flag("method.hessian", self.hessian.clone());
        settings.flag("method.alpha", self.alpha.clone());
        settings.flag("method.z0", self.z0.clone());
        settings.flag("method.z0_seed", self.seed);
        settings.flag("method.scale", self.scale);
        settings.flag("method.lanes", self.lanes);
        settings.flag("method.threads", self.threads);
    }
}
