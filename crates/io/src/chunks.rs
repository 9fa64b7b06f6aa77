//! A dataset read in runs of rows, chunk after chunk: each chunk once, none beyond the memory, none that is a trap.
//!
//! HDF5 decompresses a chunk as far as its stream goes, whatever the file says of its size, and reads four bytes before the
//! start of one that is shorter than its checksum: so what is stored is looked at first.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use flate2::read::ZlibDecoder;
use hdf5::filters::Filter;
use hdf5::{Dataset, File};

use crate::access::external_is_allowed;
use crate::input::refuse_foreign_storage;
use crate::{InputPath, IoError, guard, native};

/// Most bytes of chunks that are held at once: those along a row of them, which reading in blocks of rows goes over again.
pub const CHUNK_MEMORY: u64 = 128 << 20;
/// Most chunks along one row of them, and in one call of HDF5, which takes a few hundred bytes for each.
const MOST_CHUNKS: u64 = 1 << 16;
/// Datasets that declare less than this need not be stored: HDF5 gives the fill value.
const UNWRITTEN: u64 = 1 << 30;
/// Deflate's bound: 258 bytes take two bits at least.
const GROWTH: u64 = 1032;
/// A chunk that cannot inflate to more than its size and this is not looked at any closer.
const SPARE: u64 = 32 << 20;
/// Size of the chunks that a command line for h5repack asks for.
const GOOD_CHUNK: u64 = 1 << 20;

/// How a dataset lies in pieces.
#[derive(Clone, Debug)]
struct Chunks {
    /// Lengths of a chunk.
    lens: Vec<u64>,
    /// Number of chunks along every axis but the first.
    across: Vec<u64>,
    /// Bytes of a chunk, unpacked.
    bytes: u64,
    filters: Vec<Filter>,
}

/// A dataset whose first axis counts rows.
#[derive(Debug)]
pub(crate) struct Rows {
    path: InputPath,
    pub(crate) dataset: Dataset,
    chunks: Option<Chunks>,
    /// Bytes of a row.
    row: u64,
    /// Rows of chunks that have been looked at.
    seen: HashSet<u64>,
}

impl Rows {
    /// The open `dataset` of `file`, which `path` names, with a cache that holds a row of its chunks.
    ///
    /// Fails where it keeps its values in another file, does not hold what it declares, or its chunks cannot be held.
    pub(crate) fn new(file: &File, path: &InputPath, dataset: Dataset) -> Result<Rows, IoError> {
        refuse_foreign_storage(path, file, &dataset)?;
        let damaged = |source| IoError::NotHdf5 {
            path: path.file.clone(),
            source,
        };
        let shape: Vec<u64> = dataset.shape().into_iter().map(|len| len as u64).collect();
        let size = dataset.dtype().map_err(damaged)?.size() as u64;
        let row = product(shape.iter().skip(1)).saturating_mul(size);
        let declared = row.saturating_mul(*shape.first().unwrap_or(&1));
        if declared > UNWRITTEN && !external_is_allowed() {
            let stored = native::stored_bytes(&dataset);
            if stored.saturating_mul(GROWTH) < declared {
                return Err(IoError::Unwritten {
                    path: path.to_string(),
                    declared,
                    stored,
                });
            }
        }
        let chunks = match dataset.chunk() {
            Some(lens) => Some(Chunks::new(path, &dataset, (&shape, size), lens)?),
            None => None,
        };
        let cache = chunks.as_ref().map(Chunks::cache);
        let dataset = match (cache, &path.dataset) {
            (Some(cache), Some(name)) => {
                // An open dataset is opened again with the cache that it has.
                drop(dataset);
                native::open_with_cache(file, name, cache).map_err(damaged)?
            }
            _ => dataset,
        };
        Ok(Rows {
            path: path.clone(),
            dataset,
            chunks,
            row,
            seen: HashSet::new(),
        })
    }

    /// Cuts `rows` into what one call of HDF5 may read.
    pub(crate) fn pieces(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let step = self.chunks.as_ref().map_or(usize::MAX, |chunks| {
            let bands = (MOST_CHUNKS / product(chunks.across.iter()).max(1)).max(1);
            usize::try_from(bands.saturating_mul(chunks.lens[0])).unwrap_or(usize::MAX)
        });
        let mut first = rows.start;
        std::iter::from_fn(move || {
            let end = first.saturating_add(step).min(rows.end);
            let piece = first..end;
            first = end;
            (!piece.is_empty()).then_some(piece)
        })
    }

    /// Looks at the chunks that hold `rows`, and then lets `read` read them, within bounds on its time.
    pub(crate) fn read<T>(
        &mut self,
        rows: Range<usize>,
        read: impl FnOnce(&Dataset) -> hdf5::Result<T>,
    ) -> Result<T, IoError> {
        self.read_within(rows, false, read)
    }

    /// The same for texts, for each of which HDF5 gets as much memory as the file says.
    pub(crate) fn read_texts<T>(
        &mut self,
        rows: Range<usize>,
        read: impl FnOnce(&Dataset) -> hdf5::Result<T>,
    ) -> Result<T, IoError> {
        self.read_within(rows, true, read)
    }

    fn read_within<T>(
        &mut self,
        rows: Range<usize>,
        texts: bool,
        read: impl FnOnce(&Dataset) -> hdf5::Result<T>,
    ) -> Result<T, IoError> {
        let touched = match &self.chunks {
            Some(chunks) => chunks.bands(&rows).count() as u64 * chunks.band_bytes(),
            None => self.row.saturating_mul(rows.len() as u64),
        };
        let path = self.path.file.clone();
        guard::reading(&path, (touched, texts), || {
            self.check(rows.clone())?;
            read(&self.dataset).map_err(|source| IoError::Rows {
                path: self.path.to_string(),
                first: rows.start,
                end: rows.end,
                source,
            })
        })
    }

    fn check(&mut self, rows: Range<usize>) -> Result<(), IoError> {
        let Some(chunks) = &self.chunks else { return Ok(()) };
        for band in chunks.bands(&rows) {
            if self.seen.insert(band) {
                chunks.check(&self.path, &self.dataset, band)?;
            }
        }
        Ok(())
    }
}

impl Chunks {
    fn new(
        path: &InputPath,
        dataset: &Dataset,
        (shape, size): (&[u64], u64),
        lens: Vec<usize>,
    ) -> Result<Chunks, IoError> {
        let lens: Vec<u64> = lens.into_iter().map(|len| (len as u64).max(1)).collect();
        let bytes = product(lens.iter()).saturating_mul(size);
        let across: Vec<u64> = shape
            .iter()
            .zip(&lens)
            .skip(1)
            .map(|(len, chunk)| len.div_ceil(*chunk))
            .collect();
        let too_much = |found, limit, what| IoError::BadChunks {
            path: path.to_string(),
            chunk: lens.clone(),
            found,
            limit,
            what,
            repack: repack(path, shape, size),
        };
        if bytes > CHUNK_MEMORY {
            return Err(too_much(bytes, CHUNK_MEMORY, "bytes each"));
        }
        if product(across.iter()) > MOST_CHUNKS {
            return Err(too_much(product(across.iter()), MOST_CHUNKS, "along a row of them"));
        }
        let filters = dataset.filters();
        // Packing what is packed is no use to anyone, and its bounds would multiply.
        let packing = |filter: &Filter| matches!(filter, Filter::Deflate(_));
        let after = filters.iter().skip_while(|filter| !packing(filter)).skip(1);
        let odd = |filter: &Filter| !matches!(filter, Filter::Fletcher32);
        if after.into_iter().any(odd) || filters.iter().any(|filter| matches!(filter, Filter::User(..))) {
            return Err(IoError::BadFilters {
                path: path.to_string(),
                filters: filters.iter().map(name_of).collect(),
                repack: repack(path, shape, size),
            });
        }
        Ok(Chunks {
            lens,
            across,
            bytes,
            filters,
        })
    }

    fn band_bytes(&self) -> u64 {
        product(self.across.iter()).saturating_mul(self.bytes)
    }

    /// The rows of chunks in which `rows` lie.
    fn bands(&self, rows: &Range<usize>) -> Range<u64> {
        let chunk = self.lens[0];
        rows.start as u64 / chunk..(rows.end as u64).div_ceil(chunk)
    }

    /// Slots and bytes of a cache of one row of chunks.
    ///
    /// A chunk's slot is made of the bits of its indices, the last axis' lowest (`H5D__chunk_hash_val`): with as many slots as
    /// there are numbers of so many bits, no two chunks of a row take each other's place.
    fn cache(&self) -> (usize, usize) {
        let slots: u64 = self.across.iter().map(|count| count.next_power_of_two()).product();
        (
            slots.clamp(1, 1 << 20) as usize,
            self.band_bytes().min(CHUNK_MEMORY) as usize,
        )
    }

    /// Looks at every chunk of a row of them.
    fn check(&self, path: &InputPath, dataset: &Dataset, band: u64) -> Result<(), IoError> {
        let mut index = vec![0; self.across.len()];
        for _ in 0..product(self.across.iter()) {
            let mut offset = vec![band * self.lens[0]];
            offset.extend(index.iter().zip(&self.lens[1..]).map(|(index, len)| index * len));
            self.check_one(path, dataset, &offset)?;
            for (at, count) in index.iter_mut().zip(&self.across).rev() {
                *at += 1;
                if *at < *count {
                    break;
                }
                *at = 0;
            }
        }
        Ok(())
    }

    fn check_one(&self, path: &InputPath, dataset: &Dataset, offset: &[u64]) -> Result<(), IoError> {
        let failed = |source| IoError::NotHdf5 {
            path: path.file.clone(),
            source,
        };
        let chunk = native::stored_chunk(dataset, offset).map_err(failed)?;
        let (without, stored) = (chunk.without, chunk.bytes);
        let damaged = |what: &'static str| IoError::BadChunk {
            path: path.to_string(),
            offset: offset.to_vec(),
            stored,
            unpacked: self.bytes,
            what,
        };
        if stored == 0 {
            return Ok(());
        }
        let with = |i: usize| i >= 32 || without & (1 << i) == 0;
        let used: Vec<&Filter> = (0..)
            .zip(&self.filters)
            .filter(|(i, _)| with(*i))
            .map(|(_, filter)| filter)
            .collect();
        let checksums = used
            .iter()
            .filter(|filter| matches!(filter, Filter::Fletcher32))
            .count() as u64;
        let packed = used.iter().any(|filter| matches!(filter, Filter::Deflate(_)));
        if stored <= 4 * checksums {
            return Err(damaged("shorter than its checksum"));
        }
        if stored > self.bytes + self.bytes / 8 + 4096 {
            return Err(damaged("longer than packed values can be"));
        }
        let most = self.bytes + 64;
        if packed && stored.saturating_mul(GROWTH) > most + SPARE {
            let inflated = || {
                let mut file = fs::File::open(dataset.filename())?;
                file.seek(SeekFrom::Start(chunk.address))?;
                let stream = ZlibDecoder::new(file.take(stored));
                io::copy(&mut stream.take(most + 1), &mut io::sink())
            };
            // What does not inflate HDF5 says itself.
            if inflated().is_ok_and(|found| found > most) {
                return Err(damaged("of values without end"));
            }
        }
        Ok(())
    }
}

fn product<'a>(lens: impl Iterator<Item = &'a u64>) -> u64 {
    lens.fold(1, |product, len| product.saturating_mul(*len))
}

fn name_of(filter: &Filter) -> String {
    match filter {
        Filter::User(id, _) => format!("number {id}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The command that rewrites the dataset of `path` in chunks of about 1 MiB.
fn repack(path: &InputPath, shape: &[u64], size: u64) -> String {
    let mut lens: Vec<u64> = shape.iter().map(|len| (*len).max(1)).collect();
    let bytes = |lens: &[u64]| product(lens.iter()).saturating_mul(size.max(1));
    let sample = bytes(&lens[1..]);
    lens[0] = lens[0].min((GOOD_CHUNK / sample.max(1)).max(1));
    while bytes(&lens) > GOOD_CHUNK {
        let longest = lens.iter_mut().max().expect("there is an axis");
        if *longest == 1 {
            break;
        }
        *longest = longest.div_ceil(2);
    }
    let lens: Vec<String> = lens.iter().map(u64::to_string).collect();
    let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
    let name = path.dataset.as_deref().unwrap_or("/data");
    let layout = quoted(&format!("{name}:CHUNK={}", lens.join("x")));
    let filter = quoted(&format!("{name}:GZIP=1"));
    format!(
        "h5repack -l {layout} -f {filter} {} repacked.h5",
        quoted(&path.file.display().to_string())
    )
}
