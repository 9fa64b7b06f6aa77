//! What an encoding needs, opened and checked before anything is computed.

use super::arguments::Arguments;
use crate::error::CliError;
use crate::input::Input;
use crate::keys::part_of;
use crate::known::{Asked, Known};
use crate::logs::say;
use crate::method::Method;
use crate::model::{Model, PluginChoice};
use crate::settings::Settings;
use crate::starts_from::StartsFrom;
use crate::z0::Z0;
use crate::{output, rows};
use gfe_encode::{Begin, Noise, WarmStart};
use gfe_io::Coordinate;
use gfe_model::{Decoder, LossKind};
use gfe_ode::Curvature;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What an encoding needs, opened and checked.
pub(super) struct Job {
    pub(super) model: Model,
    pub(super) method: Method,
    pub(super) input: Input,
    pub(super) known: Known,
    pub(super) begin: Begin,
    pub(super) starts: usize,
    pub(super) starts_from: Option<StartsFrom>,
    pub(super) uncertainty: Option<Curvature>,
    pub(super) noise: Option<Noise>,
    pub(super) rows: Range<usize>,
    pub(super) z0: Z0,
    pub(super) warm_start: Option<WarmStart>,
    pub(super) output: PathBuf,
    pub(super) reconstruction: bool,
    pub(super) trace: bool,
    pub(super) trace_at: Vec<f64>,
    pub(super) keep: Vec<Coordinate>,
    pub(super) fail_above: f64,
    pub(super) settings: Settings,
    /// Which share of the rows is encoded: i of n, from 1.
    pub(super) share: Option<(usize, usize)>,
    pub(super) shard_rows: Option<usize>,
    pub(super) keep_parts: bool,
    pub(super) reproducible: bool,
}

impl Job {
    pub(super) fn new(arguments: &Arguments) -> Result<Job, CliError> {
        let mut settings = arguments.settings()?;
        let input: String = settings.need(
            "encode.input",
            "name an HDF5 file, as in gfe encode data.h5:/images ...",
        )?;
        let path: Option<PathBuf> = settings.get("encode.model")?;
        let output: PathBuf = settings.need("encode.output", "name the output file with -o")?;
        let mut model = Model::read(path.as_deref(), &PluginChoice::new(&settings)?)?;
        if let Some(training) = &model.training {
            settings.defaults(training)?;
        }
        settings.check()?;
        let warm_start = match settings.get("encode.warm_start")? {
            Some(true) => Some(model.warm_start(path.as_deref())?),
            _ => None,
        };
        let asked = Asked::to_encode(&settings)?;
        let input = Input::open(&input, scale(&settings)?)?.heeding_missing(asked.nan_missing)?;
        let (samples, values, shape) = (input.shape().samples, input.shape().values(), model.shape());
        if values != shape.data {
            return Err(CliError::Width {
                input: input.name(),
                found: values,
                expected: shape.data,
            });
        }
        let known = Known::open(&input, &asked, shape.context)?;
        let default = known.loss(model.output().loss());
        if default == LossKind::Gaussian {
            // A decoder trained without errors is used with them all the same.
            settings.forget_recorded("method.loss");
        }
        let decoder = model.architecture.decoder();
        let method = Method::new(&settings, decoder, default)?.with_one_worker(model.architecture.one_worker());
        let known = known.under(method.loss())?;
        let starts = settings.count("encode.starts", 1)? as usize;
        let starts_from = starts_from(&settings, &model, warm_start.is_some())?;
        // Who says where to start is not overruled by guesses.
        let guesses = decoder.guess().is_some()
            && method.starts_at_zeros_by_default()
            && warm_start.is_none()
            && starts_from.is_none();
        let noise = noise(&settings, (method.loss(), known.has_sigma()))?
            .then(|| model.noise(path.as_deref()))
            .transpose()?;
        let unknown = noise
            .iter()
            .flat_map(|noise| &noise.sigma)
            .filter(|sigma| sigma.is_nan());
        if let unknown @ 1.. = unknown.count() {
            say!(
                "of {unknown} of {values} values the error is not known: rows in which one of them counts get no error bars"
            );
        }
        let uncertainty = uncertainty(&settings, decoder, (method.loss(), known.has_sigma(), noise.is_some()))?;
        let (trace, trace_at) = traces(&settings, &method)?;
        let keep = kept(&settings)?;
        let job = Job {
            rows: rows::of(&settings, "encode.rows", samples)?,
            z0: method.z0(samples, shape.latent, Some(&mut model))?,
            warm_start,
            known,
            begin: if guesses { Begin::Guess } else { Begin::Z0 },
            starts,
            starts_from,
            uncertainty,
            noise,
            reconstruction: settings.get("encode.reconstruction")?.unwrap_or(false),
            trace,
            trace_at,
            keep: keep
                .iter()
                .map(|name| input.coordinate(name))
                .collect::<Result<_, _>>()?,
            fail_above: settings.number("encode.fail_above", 0.05)?,
            share: share(&settings)?,
            shard_rows: settings.optional_count("encode.shard_rows")?.map(|rows| rows as usize),
            keep_parts: settings.get("encode.keep_parts")?.unwrap_or(false),
            reproducible: settings.get("encode.reproducible")?.unwrap_or(false),
            model,
            method,
            input,
            output,
            settings,
        };
        let inputs: Vec<&Path> = job.files().chain(path.as_deref()).collect();
        // Whether it may be replaced depends on what it is.
        output::check(&job.output, true, &inputs)?;
        Ok(job)
    }
}

impl Job {
    /// The files that are read, but for the model.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let z0 = match &self.z0 {
            Z0::File(input) => input.file(),
            _ => None,
        };
        let codes = self.starts_from.as_ref().map(StartsFrom::path);
        self.input
            .file()
            .into_iter()
            .chain(self.known.files())
            .chain(z0)
            .chain(codes)
    }

    /// The rows of this run: all, or its share, cut between chunks of the input where there are enough of them.
    pub(super) fn own(&self) -> Range<usize> {
        let (Range { start, end }, Some((i, n))) = (self.rows.clone(), self.share) else {
            return self.rows.clone();
        };
        let chunk = self
            .input
            .chunk_rows()
            .filter(|chunk| chunk * n <= end - start)
            .unwrap_or(1);
        let edge = |i: usize| match i {
            0 => start,
            _ if i == n => end,
            _ => ((start + (end - start) / n * i + (end - start) % n * i / n) / chunk * chunk).clamp(start, end),
        };
        edge(i - 1)..edge(i)
    }

    /// Whether integrations begin elsewhere than at z0.
    pub(super) fn begins_elsewhere(&self) -> bool {
        self.begin == Begin::Guess || self.starts > 1 || self.warm_start.is_some() || self.starts_from.is_some()
    }
}

/// What can be wrong with settings together, whatever the files are: an outcome of each kind.
pub fn check(settings: &Settings, method: &Method) -> [Result<(), CliError>; 3] {
    [
        traces(settings, method).map(|_| ()),
        kept(settings).map(|_| ()),
        Asked::to_encode(settings).map(|_| ()),
    ]
}

/// The datasets that are passed through, each once.
fn kept(settings: &Settings) -> Result<Vec<String>, CliError> {
    let names: Vec<String> = settings.get("encode.keep")?.unwrap_or_default();
    let twice = names.iter().enumerate().find(|(i, name)| names[..*i].contains(name));
    match twice {
        Some((_, name)) => Err(settings.error("encode.keep", format!("`keep` names {name} twice: leave out one"))),
        None => Ok(names),
    }
}

/// The share `I/N` that is asked for.
fn share(settings: &Settings) -> Result<Option<(usize, usize)>, CliError> {
    let text: Option<String> = settings.get("encode.shard")?;
    let part = text.as_deref().and_then(part_of);
    Ok(part.map(|(i, n)| (i as usize, n as usize)))
}

/// The codes to start at, where a file of them was named.
fn starts_from(settings: &Settings, model: &Model, warm: bool) -> Result<Option<StartsFrom>, CliError> {
    let Some(path) = settings.get::<PathBuf>("encode.starts_from")? else {
        return Ok(None);
    };
    let refused = |why: &str| Err(CliError::Usage(format!("`starts_from` is {}, {why}", path.display())));
    if warm {
        return refused("and `warm_start` is set: both say where to start; leave out one");
    }
    if model.shape().context > 0 {
        return refused(
            "whose codes are decoded once, and this decoder takes a context that is another for every row: leave it out",
        );
    }
    StartsFrom::read(&path, model.shape(), &model.params).map(Some)
}

/// Whether every step is written, and the times at which states are asked for: ascending, within the horizon.
fn traces(settings: &Settings, method: &Method) -> Result<(bool, Vec<f64>), CliError> {
    let trace = settings.get("encode.trace")?.unwrap_or(false);
    let times: Vec<f64> = settings.get("encode.trace_at")?.unwrap_or_default();
    let wrong = |text: String| Err(settings.error("encode.trace_at", text));
    if !times.is_empty() && method.anchors() {
        let text = "`trace_at` asks for times on the way, and ptc has none: its steps lead to the end alone; take another solver";
        return wrong(text.into());
    }
    let ascending = times.windows(2).all(|pair| pair[0] < pair[1]);
    if !ascending || times.iter().any(|t| !(0.0..=method.t_end()).contains(t)) {
        return wrong(format!(
            "`trace_at` is {times:?}: times must ascend and lie between 0 and t_end, {}",
            method.t_end()
        ));
    }
    if trace && !times.is_empty() {
        let text = "`trace` and `trace_at` are both set: either every step is written, or the states at some times; leave one out";
        return wrong(text.into());
    }
    Ok((trace, times))
}

/// The factor of every input value, where one was named.
pub fn scale(settings: &Settings) -> Result<Option<f64>, CliError> {
    let scale = settings.number("method.scale", f64::NAN)?;
    Ok(scale.is_finite().then_some(scale))
}

/// Whether the errors of the values are those that the model file holds.
fn noise(settings: &Settings, (loss, errors): (LossKind, bool)) -> Result<bool, CliError> {
    if settings.choice("encode.noise")?.is_none() {
        return Ok(false);
    }
    let why = if errors {
        "and errors of the values are given too, which the estimate contains already: leave out one".to_owned()
    } else if loss != LossKind::Mse {
        let name = loss.loss().name();
        format!("which is for loss mse, and the loss is {name}: leave it out, or take loss mse")
    } else {
        return Ok(true);
    };
    Err(CliError::Usage(format!("`noise` is estimate, {why}")))
}

/// With which Hessian error bars are made, if they are asked for: exact where the decoder has second-order products. They need to know
/// how large the `errors` of the values are, given or estimated.
fn uncertainty(
    settings: &Settings,
    decoder: &dyn Decoder,
    (loss, given, estimated): (LossKind, bool, bool),
) -> Result<Option<Curvature>, CliError> {
    if settings.get("encode.uncertainty")? != Some(true) {
        return Ok(None);
    }
    let why = match loss {
        LossKind::Gaussian if !given => "which needs errors of the values beside loss gaussian: name them by --sigma",
        LossKind::Mse if !estimated => {
            "and loss mse says nothing of how large the errors of the values are: give them by --sigma, which makes the loss gaussian, \
             or take those that the model file holds by --noise estimate"
        }
        LossKind::Bce => {
            "and loss bce is no likelihood of values between 0 and 1: encode with loss gaussian or poisson, or leave it out"
        }
        LossKind::Gaussian | LossKind::Poisson | LossKind::Mse => "",
    };
    if !why.is_empty() {
        return Err(CliError::Usage(format!("`uncertainty` is set, {why}")));
    }
    if decoder.tangent().is_none() {
        let text = "`uncertainty` needs Jacobian-vector products, and this decoder has none: leave it out";
        return Err(CliError::Usage(text.into()));
    }
    Ok(Some(match decoder.second_order() {
        Some(_) => Curvature::Exact,
        None => Curvature::GaussNewton,
    }))
}

/// A text, or a number as one.
pub fn text_of(settings: &Settings, name: &'static str) -> Result<Option<String>, CliError> {
    let value: Option<toml::Value> = settings.get(name)?;
    Ok(value.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
}
