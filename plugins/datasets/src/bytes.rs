//! Where the numbers lie: a window of a file, or memory into which a packed file was inflated.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

/// Inflated data go into memory up to this, unless `max_bytes` says otherwise.
pub(crate) fn inflated_max() -> u64 {
    1 << 26
}

/// Deflate's bound: 258 bytes take two bits at least, and a block's own bits come on top.
const GROWTH_MAX: u64 = 1032;

/// One read takes this much at most, or one record where that is longer.
const PIECE: usize = 1 << 20;

/// Bytes that can be read at any place.
pub(crate) enum Bytes {
    /// A part of a file.
    File { file: File, start: u64, len: u64 },
    /// Inflated ones.
    Memory(Vec<u8>),
}

impl Bytes {
    /// `len` bytes of a file from `start` on.
    pub(crate) fn part(file: File, start: u64, len: u64) -> Bytes {
        Bytes::File { file, start, len }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Bytes::File { len, .. } => *len,
            Bytes::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// Fills `to` from `at` on; an end before that is an error.
    pub(crate) fn read_at(&mut self, at: u64, to: &mut [u8]) -> io::Result<()> {
        let end = at.checked_add(to.len() as u64).filter(|end| *end <= self.len());
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        match self {
            Bytes::File { file, start, .. } => {
                file.seek(SeekFrom::Start(*start + at))?;
                file.read_exact(to)
            }
            Bytes::Memory(bytes) => {
                to.copy_from_slice(&bytes[at as usize..end as usize]);
                Ok(())
            }
        }
    }
}

/// Records of `size` bytes each, one after another.
pub(crate) struct Records {
    bytes: Bytes,
    size: usize,
    buffer: Vec<u8>,
}

impl Records {
    /// Whoever makes them has checked that they fit.
    pub(crate) fn new(bytes: Bytes, size: usize) -> Records {
        let buffer = Vec::new();
        Records { bytes, size, buffer }
    }

    /// Hands every record of `ids` to `each`, with its place among them.
    pub(crate) fn each(
        &mut self,
        ids: &[usize],
        mut each: impl FnMut(usize, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        for run in runs(ids, (PIECE / self.size).max(1)) {
            self.buffer.resize(run.len() * self.size, 0);
            let at = ids[run.start] as u64 * self.size as u64;
            self.bytes.read_at(at, &mut self.buffer).map_err(changed)?;
            for (lane, record) in run.zip(self.buffer.chunks_exact(self.size)) {
                each(lane, record)?;
            }
        }
        Ok(())
    }
}

/// Cuts `ids` into ranges of successive ids, each of at most `longest`.
pub(crate) fn runs(ids: &[usize], longest: usize) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = *ids.get(start)?;
        let follows = ids[start..].iter().take(longest).zip(first..);
        let len = follows.take_while(|(id, next)| *id == next).count();
        let run = start..start + len;
        start = run.end;
        Some(run)
    })
}

/// What to say of a file whose lengths were right when it was opened.
pub(crate) fn changed(error: io::Error) -> String {
    format!("reading failed ({error}): the file was whole when it was opened; see whether another program changes it")
}

/// Opens a regular file for reading, and measures it; pipes and devices have no length to check against.
pub(crate) fn open(path: &Path) -> Result<(File, u64), String> {
    let failed = |error: io::Error| format!("cannot be opened: {error}");
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err("is not a regular file: name a file".to_owned());
    }
    let file = File::open(path).map_err(failed)?;
    let len = file.metadata().map_err(failed)?.len();
    Ok((file, len))
}

/// Fills the start of `head` and tells how much of it the stream had.
pub(crate) fn head(stream: &mut impl Read, head: &mut [u8]) -> Result<usize, String> {
    let mut filled = 0;
    while filled < head.len() {
        match stream.read(&mut head[filled..]) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("cannot be read: {error}")),
        }
    }
    Ok(filled)
}

/// Inflates the `len` bytes that a header declares, from a file of `packed` bytes.
///
/// Nothing is inflated where they would be more than `max_bytes`, or more than `packed` bytes can hold; memory grows with
/// what comes, and inflating stops at the first byte too many.
pub(crate) fn inflate(stream: &mut impl Read, packed: u64, len: u64, max_bytes: u64) -> Result<Vec<u8>, String> {
    if len > max_bytes {
        return Err(format!(
            "declares {len} bytes of data, and {max_bytes} may be inflated: raise max_bytes, or unpack the file and give that"
        ));
    }
    if len > packed.saturating_mul(GROWTH_MAX) {
        return Err(format!(
            "declares {len} bytes of data, more than its {packed} packed bytes can hold: {DAMAGED}"
        ));
    }
    let mut data = Vec::new();
    let failed = |error| format!("cannot be inflated ({error}): {DAMAGED}");
    stream.take(len + 1).read_to_end(&mut data).map_err(failed)?;
    match data.len() as u64 {
        found if found > len => Err(format!("declares {len} bytes of data, and more follow: {DAMAGED}")),
        found => same_length(len, found).map(|()| data),
    }
}

/// What to do about a file that contradicts itself.
pub(crate) const DAMAGED: &str = "it is damaged or not what it says; fetch or write it again";

/// Data have to be as long as declared, neither shorter nor longer.
pub(crate) fn same_length(declared: u64, found: u64) -> Result<(), String> {
    if declared == found {
        return Ok(());
    }
    let how = if found < declared { "cut short" } else { "too long" };
    Err(format!(
        "declares {declared} bytes of data and holds {found}: it is {how}; fetch or write it again"
    ))
}

/// The start of the first line of a text that a file chose.
pub(crate) fn short(text: &str) -> String {
    const SHOWN: usize = 100;
    let line = text.lines().next().unwrap_or_default().trim_end();
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}
