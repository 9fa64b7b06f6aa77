//! How samples are encoded, from the `[method]` section: shared by `encode` and `train`.

use crate::error::CliError;
use crate::model::Model;
use crate::settings::Settings;
use crate::z0::Z0;
use gfe_encode::{Amd, Encoding, ErrorControl, Order, Precision, Ptc, Rate, Solver, Steps, default_lanes};
use gfe_model::{Decoder, LossKind};
use gfe_ode::control::{Decrease, Grid, Trust};
use gfe_ode::diffsol::Scheme;
use gfe_ode::implicit::DENSE;
use gfe_ode::{Curvature, Tolerance};
use serde_json::{Value, json};

/// The settings of a method, checked.
#[derive(Clone, Debug)]
pub struct Method {
    order: Order,
    rate: Rate,
    solver: Solver,
    /// ptc's, as it was asked for; none in a training, whose integrations have one of their own.
    precision: Option<Precision>,
    loss: LossKind,
    t_end: f64,
    gtol: f64,
    max_steps: u32,
    /// As it was asked for: `zeros`, `fill=C`, `uniform` or FILE:/DATASET.
    z0: String,
    z0_by_default: bool,
    z0_seed: u64,
    lanes: usize,
    threads: usize,
}

impl Method {
    /// The method of these settings for this decoder; the loss is `default` where nobody chose one.
    pub fn new(settings: &Settings, decoder: &dyn Decoder, default: LossKind) -> Result<Method, CliError> {
        let loss = settings.choice("method.loss")?;
        let loss = LossKind::ALL
            .into_iter()
            .find(|kind| Some(kind.loss().name()) == loss)
            .unwrap_or(default);
        let (solver, max_steps) = solver(settings, decoder)?;
        let order = order(settings, &solver)?;
        let t_end = settings.number("method.t_end", 1e4)?;
        if t_end.is_infinite() && !solver.anchors() {
            let text = "`t_end` is inf: it must be positive and finite, as in --t-end 1e4 (`inf` is for ptc)";
            return Err(settings.error("method.t_end", text.into()));
        }
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get()) as u64;
        Ok(Method {
            order,
            rate: rate(settings, t_end)?,
            solver,
            precision: Some(precision(settings, loss)?),
            loss,
            t_end,
            gtol: settings.number("method.gtol", 1e-9)?,
            max_steps,
            z0_by_default: settings.get::<String>("method.z0")?.is_none(),
            z0: settings.get("method.z0")?.unwrap_or_else(|| "zeros".to_owned()),
            z0_seed: settings.count("method.z0_seed", 0)?,
            lanes: settings.count("method.lanes", default_lanes(decoder) as u64)? as usize,
            threads: settings.count("method.threads", cores.min(1 << 10))? as usize,
        })
    }

    /// The method of a training, which has a precision of its own; fails where these settings have one.
    pub fn of_training(settings: &Settings, decoder: &dyn Decoder, default: LossKind) -> Result<Method, CliError> {
        let method = Method::new(settings, decoder, default)?;
        if settings.choice("method.precision")?.is_some() {
            let text = "`method.precision` is for encode and evaluate: take `precision` of [train]";
            return Err(settings.error("method.precision", text.into()));
        }
        Ok(Method {
            precision: None,
            ..method
        })
    }

    /// The same with one worker, for a decoder that allows no more.
    pub fn with_one_worker(self, one: bool) -> Method {
        Method {
            threads: if one { 1 } else { self.threads },
            ..self
        }
    }

    /// The loss.
    pub fn loss(&self) -> LossKind {
        self.loss
    }

    /// Whether nobody said where samples start.
    pub fn starts_at_zeros_by_default(&self) -> bool {
        self.z0_by_default
    }

    /// What the integrator is given.
    pub fn encoding<'a>(&self, open: &'a (dyn Fn() -> Box<dyn Decoder> + Sync)) -> Encoding<'a> {
        let solver = match self.solver {
            Solver::Ptc(ptc) => Solver::Ptc(Ptc {
                precision: self.precision.unwrap_or_default(),
                ..ptc
            }),
            other => other,
        };
        Encoding {
            order: self.order,
            rate: self.rate,
            t_end: self.t_end,
            gtol: self.gtol,
            max_steps: self.max_steps,
            lanes: self.lanes,
            threads: self.threads,
            ..Encoding::new(open, self.loss.loss(), solver)
        }
    }

    /// Whether the solver goes to the steady state instead of following the flow in time.
    pub fn anchors(&self) -> bool {
        self.solver.anchors()
    }

    /// The horizon.
    pub fn t_end(&self) -> f64 {
        self.t_end
    }

    /// Lanes per worker.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Worker threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The initial latents; a file must hold `[samples, latent]` values. See [`Z0::open`] for `model`.
    pub fn z0(&self, samples: usize, latent: usize, model: Option<&mut Model>) -> Result<Z0, CliError> {
        Z0::open(&self.z0, self.z0_seed, (samples, latent), model)
    }

    /// The settings as they stand, without those that change no number.
    pub fn json(&self) -> Value {
        let number = |value: f64| {
            if value.is_finite() {
                json!(value)
            } else {
                json!(value.to_string())
            }
        };
        let mut all = json!({"flow": "gradient", "loss": self.loss.loss().name(), "t_end": number(self.t_end), "gtol": self.gtol, "z0": self.z0});
        if self.z0 == "uniform" {
            all["z0_seed"] = json!(self.z0_seed);
        }
        if let Order::Nesterov { restart } = self.order {
            (all["flow"], all["restart"]) = (json!("nesterov"), json!(restart));
        }
        match self.rate {
            rate if rate == Rate::default() => {}
            Rate::Constant { alpha0 } => all["alpha0"] = json!(alpha0),
            Rate::ExpDecay { alpha0, .. } => {
                (all["alpha"], all["alpha0"]) = (json!("exp_decay"), json!(alpha0));
            }
        }
        let fixed = |with: Steps| match with.grid {
            Grid::Uniform => json!({"steps": with.steps}),
            Grid::Logarithmic { base } => json!({"steps": with.steps, "grid": "logarithmic", "log_base": base}),
        };
        let (name, own) = match self.solver {
            Solver::Euler(steps) => ("euler", fixed(steps)),
            Solver::Rk4(steps) => ("rk4", fixed(steps)),
            Solver::Tsit5(Tolerance { rtol, atol }) => (
                "tsit5",
                json!({"max_steps": self.max_steps, "rtol": rtol, "atol": atol}),
            ),
            Solver::Amd(Amd {
                decrease: rule,
                loss_slope_tol,
                settle_fraction,
            }) => (
                "amd",
                json!({"max_steps": self.max_steps, "dt0": rule.dt0, "dt_max": rule.dt_max, "shrink": rule.shrink,
                    "max_backtracks": rule.max_backtracks, "armijo": rule.armijo, "fallback_dt": rule.fallback_dt,
                    "loss_slope_tol": loss_slope_tol, "settle_fraction": settle_fraction}),
            ),
            Solver::ErrorControl(ErrorControl {
                scheme,
                tolerance: Tolerance { rtol, atol },
                curvature,
            }) => {
                let mut own = json!({"max_steps": self.max_steps, "rtol": rtol, "atol": atol});
                if scheme.is_implicit() {
                    own["hessian"] = json!(hessian_name(curvature));
                }
                (scheme.name(), own)
            }
            Solver::Ptc(ptc) => {
                let mut own = json!({"max_steps": self.max_steps, "edm_tol": ptc.edm_tol});
                if let Some(h0) = ptc.trust.h0 {
                    own["h0"] = json!(h0);
                }
                if let Some(every) = ptc.refresh_every {
                    own["refresh_every"] = json!(every);
                }
                if let Some(precision) = self.precision {
                    own["precision"] = json!(match precision {
                        Precision::Double => "f64",
                        _ => "mixed",
                    });
                }
                if ptc.exact {
                    own["hessian"] = json!(hessian_name(Curvature::Exact));
                }
                ("ptc", own)
            }
        };
        all["solver"] = json!(name);
        if let (Some(all), Value::Object(own)) = (all.as_object_mut(), own) {
            all.extend(own);
        }
        all
    }
}

/// Name of a Hessian in settings and outputs.
pub fn hessian_name(curvature: Curvature) -> &'static str {
    match curvature {
        Curvature::GaussNewton => "gauss_newton",
        Curvature::Exact => "exact",
    }
}

/// Which Hessian was asked for, if any; the exact one needs a decoder with second-order products.
fn hessian(settings: &Settings, decoder: &dyn Decoder) -> Result<Option<Curvature>, CliError> {
    let named = settings.choice("method.hessian")?;
    if named == Some("exact") && decoder.second_order().is_none() {
        let text =
            "`hessian` is exact, which needs second-order products, and this decoder has none: take gauss_newton";
        return Err(settings.error("method.hessian", text.into()));
    }
    Ok(named.map(|name| {
        if name == "exact" {
            Curvature::Exact
        } else {
            Curvature::GaussNewton
        }
    }))
}

/// One of diffsol's methods; its Jacobian is exact where the decoder has second-order products.
fn error_control(settings: &Settings, scheme: Scheme, decoder: &dyn Decoder) -> Result<ErrorControl, CliError> {
    let best = match decoder.second_order() {
        Some(_) => Curvature::Exact,
        None => Curvature::GaussNewton,
    };
    if scheme.is_implicit() && decoder.tangent().is_none() {
        let text = format!(
            "{} needs Jacobian-vector products, and this decoder has none: take tsit45",
            scheme.name()
        );
        return Err(settings.error("method.solver", text));
    }
    let curvature = if scheme.is_implicit() {
        hessian(settings, decoder)?.unwrap_or(best)
    } else {
        best
    };
    Ok(ErrorControl {
        scheme,
        tolerance: tolerance(settings)?,
        curvature,
    })
}

/// The solver and the most steps per sample.
fn solver(settings: &Settings, decoder: &dyn Decoder) -> Result<(Solver, u32), CliError> {
    let count = |key, default| settings.count(key, default).map(|found| found as u32);
    let name = settings.choice("method.solver")?;
    let scheme = Scheme::ALL.into_iter().find(|scheme| Some(scheme.name()) == name);
    if let Some(scheme) = scheme {
        let control = error_control(settings, scheme, decoder)?;
        return Ok((Solver::ErrorControl(control), count("method.max_steps", 100_000)?));
    }
    let fixed = || -> Result<(Steps, u32), CliError> {
        let steps = count("method.steps", 10_000)?;
        let base = settings.number("method.log_base", 10.0)?;
        let grid = match settings.choice("method.grid")? {
            Some("logarithmic") => Grid::Logarithmic { base },
            _ => Grid::Uniform,
        };
        // One attempt more than steps: rounding never turns the horizon into max_steps.
        Ok((Steps { steps, grid }, steps.saturating_add(1)))
    };
    Ok(match name {
        Some("euler") => fixed().map(|(steps, most)| (Solver::Euler(steps), most))?,
        Some("rk4") => fixed().map(|(steps, most)| (Solver::Rk4(steps), most))?,
        Some("tsit5") => (Solver::Tsit5(tolerance(settings)?), count("method.max_steps", 100_000)?),
        Some("amd") => (Solver::Amd(amd(settings)?), count("method.max_steps", 100_000)?),
        _ => (Solver::Ptc(ptc(settings, decoder)?), count("method.max_steps", 1000)?),
    })
}

fn order(settings: &Settings, solver: &Solver) -> Result<Order, CliError> {
    let restart = settings.get("method.restart")?.unwrap_or(false);
    match settings.choice("method.flow")? {
        Some("nesterov") if solver.anchors() => Err(settings.error(
            "method.flow",
            "ptc goes to the steady state, which both flows share: take flow gradient, or another solver for nesterov"
                .into(),
        )),
        Some("nesterov") => Ok(Order::Nesterov { restart }),
        _ => Ok(Order::Gradient),
    }
}

fn rate(settings: &Settings, t_end: f64) -> Result<Rate, CliError> {
    let alpha0 = settings.number("method.alpha0", 1.0)?;
    Ok(match settings.choice("method.alpha")? {
        Some("exp_decay") => Rate::ExpDecay { alpha0, t_end },
        _ => Rate::Constant { alpha0 },
    })
}

fn tolerance(settings: &Settings) -> Result<Tolerance, CliError> {
    let default = Tolerance::default();
    Ok(Tolerance {
        rtol: settings.number("method.rtol", default.rtol)?,
        atol: settings.number("method.atol", default.atol)?,
    })
}

fn ptc(settings: &Settings, decoder: &dyn Decoder) -> Result<Ptc, CliError> {
    let default = Ptc::default();
    let h0 = settings.number("method.h0", f64::NAN)?;
    let exact = hessian(settings, decoder)? == Some(Curvature::Exact);
    let latent = decoder.shape().latent;
    if exact && latent > DENSE {
        let text = format!(
            "`hessian` is exact, but beyond {DENSE} latents (here {latent}) ptc makes no Hessian: leave it out"
        );
        return Err(settings.error("method.hessian", text));
    }
    Ok(Ptc {
        exact,
        precision: default.precision,
        trust: Trust {
            h0: (!h0.is_nan()).then_some(h0),
            ..default.trust
        },
        edm_tol: settings.number("method.edm_tol", default.edm_tol)?,
        refresh_every: settings
            .optional_count("method.refresh_every")?
            .map(|every| every as u32),
    })
}

/// The precision of ptc: mixed but for likelihoods, whose data may be more exact than single precision.
fn precision(settings: &Settings, loss: LossKind) -> Result<Precision, CliError> {
    Ok(match (settings.choice("method.precision")?, loss) {
        (Some("f64"), _) | (None, LossKind::Gaussian | LossKind::Poisson) => Precision::Double,
        (Some(_), _) | (None, LossKind::Mse | LossKind::Bce) => Precision::Mixed,
    })
}

fn amd(settings: &Settings) -> Result<Amd, CliError> {
    let (default, rule) = (Amd::default(), Decrease::default());
    let decrease = Decrease {
        dt0: settings.number("method.dt0", rule.dt0)?,
        dt_max: settings.number("method.dt_max", rule.dt_max)?,
        shrink: settings.number("method.shrink", rule.shrink)?,
        max_backtracks: settings.count("method.max_backtracks", u64::from(rule.max_backtracks))? as u32,
        armijo: settings.number("method.armijo", rule.armijo)?,
        fallback_dt: settings.number("method.fallback_dt", rule.fallback_dt)?,
    };
    if decrease.dt0 > decrease.dt_max {
        let text = format!(
            "`dt0` is {} and `dt_max` {}: the first step is at most the largest",
            decrease.dt0, decrease.dt_max
        );
        return Err(settings.error("method.dt0", text));
    }
    Ok(Amd {
        decrease,
        loss_slope_tol: settings.number("method.loss_slope_tol", default.loss_slope_tol)?,
        settle_fraction: settings.number("method.settle_fraction", default.settle_fraction)?,
    })
}
