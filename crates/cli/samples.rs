//! Samples in memory: which rows of an input, with what is known of each.

use crate::error::CliError;
use crate::input::Input;
use crate::known::Known;
use crate::rows;
use crate::settings::Settings;
use crate::z0::Z0;
use faer::Mat;
use gfe_encode::train::split;
use gfe_encode::{HeldOut, Samples};
use gfe_io::RowsHash;
use gfe_model::{Loss, Targets};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

/// Data in memory.
pub struct Set {
    /// Rows of the input.
    pub rows: Vec<usize>,
    /// `[D, samples]`.
    pub y: Mat<f64>,
    /// Weights, `[D, samples]`.
    pub w: Option<Mat<f64>>,
    /// `[c, samples]`.
    pub context: Option<Mat<f64>>,
    /// `[d, samples]`.
    pub z0: Mat<f64>,
}

impl Set {
    /// What the library takes.
    pub fn samples(&self) -> Samples<'_> {
        Samples {
            data: Targets {
                y: self.y.as_ref(),
                w: self.w.as_ref().map(Mat::as_ref),
            },
            context: self.context.as_ref().map(Mat::as_ref),
            z0: self.z0.as_ref(),
        }
    }

    /// Those that the loss does not admit, by their place.
    pub fn bad(&self, loss: &dyn Loss) -> Vec<usize> {
        let admits = |b: &usize| {
            let w = self.w.as_ref().map(|w| w.col_as_slice(*b));
            loss.admits(self.y.col_as_slice(*b), w).is_ok()
        };
        (0..self.len()).filter(|b| !admits(b)).collect()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.y.ncols()
    }

    /// The first of them.
    pub fn first(&self, count: usize) -> Samples<'_> {
        let all = self.samples();
        Samples {
            data: Targets {
                y: all.data.y.subcols(0, count),
                w: all.data.w.map(|w| w.subcols(0, count)),
            },
            context: all.context.map(|context| context.subcols(0, count)),
            z0: all.z0.subcols(0, count),
        }
    }

    /// The sha256 of everything that is known of the rows.
    pub fn sha256(&self) -> String {
        let mut hash = RowsHash::default();
        let all = [Some(&self.y), self.w.as_ref(), self.context.as_ref(), Some(&self.z0)];
        all.into_iter().flatten().for_each(|part| hash.push(part.as_ref()));
        hash.finish()
    }
}

/// Where samples are read from.
pub struct Source {
    /// The data.
    pub input: Input,
    /// What is known beside them.
    pub known: Known,
    /// Initial latents.
    pub z0: Z0,
    /// d.
    pub latent: usize,
}

impl Source {
    /// The files that are read.
    pub fn files(&self) -> Vec<&Path> {
        let z0 = match &self.z0 {
            Z0::File(input) => input.file(),
            _ => None,
        };
        self.input
            .file()
            .into_iter()
            .chain(self.known.files())
            .chain(z0)
            .collect()
    }

    /// Reads rows.
    pub fn read(&mut self, rows: Vec<usize>) -> Result<Set, CliError> {
        let values = self.input.shape().values();
        let mut y = Mat::zeros(values, rows.len());
        let mut own = self.known.reads_weights().then(|| Mat::zeros(values, rows.len()));
        self.input.read(&rows, y.as_mut(), own.as_mut().map(|w| w.as_mut()))?;
        let w = self.known.weigh(&rows, self.input.scale(), own, &mut y)?;
        let data = Targets {
            y: y.as_ref(),
            w: w.as_ref().map(Mat::as_ref),
        };
        Ok(Set {
            context: self.known.context(&rows)?,
            z0: self.z0.read(&rows, data, self.latent)?,
            y,
            w,
            rows,
        })
    }

    /// The rows that `data.rows` and `data.select` name; all without them.
    pub fn rows(&self, settings: &Settings) -> Result<Vec<usize>, CliError> {
        self.selected(settings, rows::of(settings, "data.rows", self.input.shape().samples)?)
    }

    /// Those of the rows that `data.select` names; all without it.
    fn selected(&self, settings: &Settings, rows: Range<usize>) -> Result<Vec<usize>, CliError> {
        let Some(select) = settings.get::<String>("data.select")? else {
            return Ok(rows.collect());
        };
        let wrong = || {
            CliError::Usage(format!(
                "`select` is {select}: say DATASET=VALUE,VALUE,..., as in labels=0,1,2"
            ))
        };
        let (name, values) = select.split_once('=').ok_or_else(wrong)?;
        let wanted: Vec<&str> = values.split(',').map(str::trim).collect();
        let found = self.input.coordinate(name.trim())?.texts(rows.clone())?;
        let kept: Vec<usize> = rows
            .zip(found)
            .filter_map(|(row, value)| wanted.contains(&value.as_str()).then_some(row))
            .collect();
        if kept.is_empty() {
            let text = format!("{}: no row has {select}", self.input.name());
            return Err(CliError::BadData(text));
        }
        Ok(kept)
    }

    /// Rows to train on, and rows to validate with: a fraction or a number of the rows, or of the groups that a dataset names, or
    /// a range of its own.
    pub fn split(&self, settings: &Settings, seed: u64) -> Result<(Vec<usize>, Vec<usize>), CliError> {
        let rows = self.rows(settings)?;
        if let Some(text) = settings.get::<String>("data.validation_rows")? {
            for other in ["data.validation", "data.groups"] {
                if settings.get::<toml::Value>(other)?.is_some() {
                    let text = format!("`validation_rows` and `{other}` are both set: leave out one");
                    return Err(CliError::Usage(text));
                }
            }
            let held = self.selected(settings, rows::parse(&text, self.input.shape().samples)?)?;
            if held.is_empty() {
                let text = format!("`validation_rows` is {text}, which names no row: say A..B with A < B");
                return Err(CliError::Usage(text));
            }
            if let Some(both) = held.iter().find(|row| rows.binary_search(row).is_ok()) {
                let text =
                    format!("`validation_rows` is {text}: row {both} is trained on too; name others, or set `rows`");
                return Err(CliError::Usage(text));
            }
            return Ok((rows, held));
        }
        let asked = settings.number("data.validation", 0.1)?;
        let groups = match settings.get::<String>("data.groups")? {
            None => rows.iter().map(|row| vec![*row]).collect(),
            Some(name) => self.groups(&rows, &name)?,
        };
        let held = if asked < 1.0 {
            (groups.len() as f64 * asked).round() as usize
        } else {
            asked as usize
        };
        if held >= groups.len() {
            let text = format!("`validation` is {asked}, and there are {} to train on", groups.len());
            return Err(CliError::BadData(format!("{}: {text}", self.input.name())));
        }
        if held == 0 && asked > 0.0 && settings.get::<toml::Value>("data.validation")?.is_some() {
            let text = format!(
                "`validation` is {asked} of {}, so that none would be held out",
                groups.len()
            );
            return Err(CliError::Usage(format!("{text}: take more, or 0 for no validation")));
        }
        let (training, validation) = split(groups.len(), held, seed);
        let of = |ids: Vec<usize>| {
            let mut rows: Vec<usize> = ids.into_iter().flat_map(|id| groups[id].iter().copied()).collect();
            rows.sort_unstable();
            rows
        };
        Ok((of(training), of(validation)))
    }

    /// The rows of each value of a dataset, in the order of first appearance.
    fn groups(&self, rows: &[usize], name: &str) -> Result<Vec<Vec<usize>>, CliError> {
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else {
            return Ok(Vec::new());
        };
        let names = self.input.coordinate(name)?.texts(*first..last + 1)?;
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for row in rows {
            let id = *known.entry(&names[row - first]).or_insert(groups.len());
            if id == groups.len() {
                groups.push(Vec::new());
            }
            groups[id].push(*row);
        }
        Ok(groups)
    }
}

/// Which values evaluations hold out, from `data.held_out`, the part of them; nothing where it is 0.
pub fn held_out(settings: &Settings) -> Result<Option<HeldOut>, CliError> {
    let part = settings.number("data.held_out", 0.8)?;
    let seed = settings.count("data.held_out_seed", 0)?;
    Ok((part > 0.0).then_some(HeldOut {
        fraction: 1.0 - part,
        seed,
    }))
}
