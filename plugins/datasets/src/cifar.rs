//! `cifar`: the binary version of CIFAR-10 and CIFAR-100.
//!
//! Records of one label (CIFAR-100: the coarse one, then the fine one), each a byte, and 3 x 32 x 32 bytes: red, green and
//! blue, row by row (Krizhevsky, Learning multiple layers of features from tiny images, 2009, "Binary version").

use crate::bytes::{self, Bytes, Records};
use gfe_sdk::serde::Deserialize;
use gfe_sdk::{DataError, DataShape, DatasetPlugin, DatasetSource, Dim, Element, TargetsMut};
use std::ffi::CStr;
use std::path::{Path, PathBuf};

const PIXELS: usize = 3 * 32 * 32;

/// Images of CIFAR, `[channel, row, column]`, or their labels as scalar samples.
pub struct Cifar {
    files: Vec<Part>,
    shape: DataShape,
    classes: Classes,
    labels: bool,
}

/// One file, and how many samples come before it.
struct Part {
    path: PathBuf,
    records: Records,
    first: usize,
}

#[derive(Clone, Copy)]
enum Classes {
    Ten,
    Hundred,
}

impl Classes {
    /// How many of them each label byte of a record tells apart.
    fn labels(self) -> &'static [u8] {
        match self {
            Classes::Ten => &[10],
            Classes::Hundred => &[20, 100],
        }
    }

    fn record(self) -> usize {
        self.labels().len() + PIXELS
    }

    /// The training files of a folder.
    fn training(self) -> &'static [&'static str] {
        match self {
            Classes::Ten => &[
                "data_batch_1.bin",
                "data_batch_2.bin",
                "data_batch_3.bin",
                "data_batch_4.bin",
                "data_batch_5.bin",
            ],
            Classes::Hundred => &["train.bin"],
        }
    }

    /// Looks whether labels are among the classes, which those of another format seldom are.
    fn check(self, record: &[u8]) -> Result<(), String> {
        match record
            .iter()
            .zip(self.labels())
            .find(|(label, classes)| label >= classes)
        {
            None => Ok(()),
            Some((label, classes)) => Err(format!(
                "has a record with the label {label} where there are {classes}: give the binary version, not the one for \
                 Python, and see whether classes is right"
            )),
        }
    }
}

#[derive(Deserialize)]
#[serde(crate = "gfe_sdk::serde", deny_unknown_fields)]
struct Config {
    path: Paths,
    #[serde(default = "ten")]
    classes: u32,
    #[serde(default)]
    labels: bool,
}

#[derive(Deserialize)]
#[serde(
    crate = "gfe_sdk::serde",
    untagged,
    expecting = "path has to be a text or a list of texts"
)]
enum Paths {
    One(PathBuf),
    Several(Vec<PathBuf>),
}

fn ten() -> u32 {
    10
}

impl DatasetPlugin for Cifar {
    const ID: &'static CStr = c"cifar";
    const TITLE: &'static CStr =
        c"CIFAR's binary version: path (file, list of files or folder), classes (10 or 100), labels (true or false)";

    fn open(config: &str) -> Result<Self, String> {
        let config: Config = gfe_sdk::config(config).map_err(|error| format!("cifar: {error}"))?;
        let classes = match config.classes {
            10 => Classes::Ten,
            100 => Classes::Hundred,
            other => return Err(format!("cifar: classes is {other}, and has to be 10 or 100")),
        };
        let paths = match config.path {
            Paths::One(path) if path.is_dir() => classes.training().iter().map(|name| path.join(name)).collect(),
            Paths::One(path) => vec![path],
            Paths::Several(paths) => paths,
        };
        Cifar::of(&paths, classes, config.labels)
    }
}

impl Cifar {
    fn of(paths: &[PathBuf], classes: Classes, labels: bool) -> Result<Cifar, String> {
        let mut samples = 0;
        let mut files = Vec::new();
        for path in paths {
            let (records, count) = open(path, classes).map_err(|what| format!("{}: {what}", path.display()))?;
            files.push(Part {
                path: path.clone(),
                records,
                first: samples,
            });
            samples += count;
        }
        if files.is_empty() {
            return Err("cifar: path is an empty list: name a file".to_owned());
        }
        let axes: &[(&str, usize)] = match labels {
            true => &[],
            false => &[("channel", 3), ("row", 32), ("column", 32)],
        };
        let dims = axes.iter().map(|(name, len)| Dim {
            name: (*name).to_owned(),
            len: *len,
        });
        let shape = DataShape {
            samples,
            dims: dims.collect(),
        };
        Ok(Cifar {
            files,
            shape,
            classes,
            labels,
        })
    }

    fn fill(&mut self, ids: &[usize], to: TargetsMut<'_>) -> Result<(), String> {
        let TargetsMut { mut y, w } = to;
        if let Some(mut w) = w {
            w.fill(1.0);
        }
        if let Some(id) = ids.iter().find(|id| **id >= self.shape.samples) {
            return Err(format!(
                "cifar: sample {id} was asked for, and there are {}",
                self.shape.samples
            ));
        }
        let labels = self.classes.labels().len();
        let wanted = if self.labels {
            labels - 1..labels
        } else {
            labels..self.classes.record()
        };
        let file_of = |id: usize| self.files.partition_point(|file| file.first <= id) - 1;
        let mut lane = 0;
        let parts: Vec<(usize, &[usize])> = ids
            .chunk_by(|a, b| file_of(*a) == file_of(*b))
            .map(|ids| (file_of(ids[0]), ids))
            .collect();
        for (index, ids) in parts {
            let file = &mut self.files[index];
            let inside: Vec<usize> = ids.iter().map(|id| id - file.first).collect();
            let read = file.records.each(&inside, |_, record| {
                self.classes.check(record)?;
                for (to, value) in y.as_mut().col_mut(lane).iter_mut().zip(&record[wanted.clone()]) {
                    *to = (*value).into();
                }
                lane += 1;
                Ok(())
            });
            read.map_err(|what| format!("{}: {what}", file.path.display()))?;
        }
        Ok(())
    }
}

/// One file, and the number of its records; the first one is read to see whether it is one.
fn open(path: &Path, classes: Classes) -> Result<(Records, usize), String> {
    let (file, len) = bytes::open(path)?;
    let size = classes.record();
    if len % size as u64 != 0 {
        return Err(format!(
            "has {len} bytes, which is no multiple of a record's {size}: fetch it again, or see whether classes is right"
        ));
    }
    let count = usize::try_from(len / size as u64).map_err(|_| format!("has {len} bytes, too many to address"))?;
    let mut records = Records::new(Bytes::part(file, 0, len), size);
    if count > 0 {
        records.each(&[0], |_, record| classes.check(record))?;
    }
    Ok((records, count))
}

impl DatasetSource for Cifar {
    fn shape(&self) -> &DataShape {
        &self.shape
    }

    /// Labels are numbers, not intensities that the host would divide by 255.
    fn element(&self) -> Element {
        if self.labels { Element::F64 } else { Element::U8 }
    }

    fn read(&mut self, ids: &[usize], to: TargetsMut<'_>) -> Result<(), DataError> {
        self.fill(ids, to).map_err(|message| DataError { message })
    }
}
