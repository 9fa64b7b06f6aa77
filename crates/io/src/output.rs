//! An HDF5 file written row by row, in memory or on disk; there with bounded memory, and under its name whole or not at all.
//!
//! HDF5 crashes where a disk is full: a flush fails, and the close after it dies of a signal. So it never meets one. The
//! structure is laid out in memory, its image is written to a temporary file by the operating system's own calls, which
//! report a full disk as an error, and the space that all rows will need is reserved behind it. Only then HDF5 opens the
//! file and fills the rows in. At the end the file is synced and renamed.

use std::cell::RefCell;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hdf5::file::LibraryVersion;
use hdf5::{File, H5Type, Hyperslab, SliceOrIndex};
use ndarray::ArrayD;
use rustix::fs::FallocateFlags;

use crate::input::open_file;
use crate::native::RawRows;
use crate::space::free_bytes;
use crate::{IoError, atomic, native};

/// What HDF5 may add to the rows: chunk indices, alignment, notes.
const SLACK: u64 = 1 << 20;

/// A file being written; without [`Output::finish`] nothing appears at its path.
pub(crate) struct Output {
    path: PathBuf,
    /// None once it is closed.
    file: Option<File>,
    disk: Option<Disk>,
}

/// Where a file is until it is whole.
struct Disk {
    temporary: PathBuf,
    reserved: u64,
    /// What was written by `put`.
    written: RefCell<Vec<Written>>,
}

/// A block of rows as it was written: dataset, first row, rows, and a hash of the values.
pub(crate) type Written = (String, usize, usize, u64);

/// Reads back what was written to the file at `temporary`, which is to become `path`: HDF5 does not tell every write that fails.
pub(crate) fn check_written(path: &Path, temporary: &Path, written: &[Written]) -> Result<File, IoError> {
    let lost = |what: &str| IoError::Write {
        path: path.to_owned(),
        source: io::Error::other(format!("its {what} reads otherwise than it was written")),
    };
    let file = open_file(temporary)?;
    for (name, start, rows, digest) in written {
        let dataset = file.dataset(name).map_err(|source| IoError::Hdf5 {
            path: path.to_owned(),
            source,
        })?;
        let mut block = RawRows::new(&dataset, *rows).ok_or_else(|| lost(name))?;
        if !block.read(&dataset, *start..start + rows, 0) || block.digest() != *digest {
            return Err(lost(name));
        }
    }
    Ok(file)
}

impl Output {
    /// Starts a file that `lay_out` gives its structure and whose rows will take up to `bytes`.
    pub(crate) fn create(
        path: &Path,
        bytes: u64,
        lay_out: impl FnOnce(&File) -> hdf5::Result<()>,
    ) -> Result<Output, IoError> {
        let path = &atomic::target(path);
        atomic::check_creatable(path)?;
        Output::from_image(path, &atomic::beside(path), &image(path, lay_out)?, bytes)
    }

    /// Starts the file of `path` at `temporary`, with the structure of `image`, whose rows will take up to `bytes`.
    pub(crate) fn from_image(path: &Path, temporary: &Path, image: &[u8], bytes: u64) -> Result<Output, IoError> {
        let mut output = Output {
            path: path.to_owned(),
            file: None,
            disk: Some(Disk {
                temporary: temporary.to_owned(),
                reserved: image.len() as u64,
                written: RefCell::default(),
            }),
        };
        fs::write(temporary, image).map_err(|source| IoError::Write {
            path: path.to_owned(),
            source,
        })?;
        output.reserve(bytes.saturating_add(SLACK))?;
        let file = File::with_options()
            .with_fapl(|access| access.libver_bounds(LibraryVersion::V18, LibraryVersion::V110))
            .open_rw(temporary);
        output.file = Some(file.map_err(|source| IoError::Hdf5 {
            path: path.to_owned(),
            source,
        })?);
        Ok(output)
    }

    /// Starts a file in memory that `lay_out` gives its structure; `path` is what errors name.
    pub(crate) fn in_memory(path: &Path, lay_out: impl FnOnce(&File) -> hdf5::Result<()>) -> Result<Output, IoError> {
        let build = || {
            let file = in_memory()?;
            lay_out(&file)?;
            Ok(file)
        };
        let file = build().map_err(|source| IoError::Hdf5 {
            path: path.to_owned(),
            source,
        })?;
        Ok(Output {
            path: path.to_owned(),
            file: Some(file),
            disk: None,
        })
    }

    /// Where the file is until it is whole; for one in memory its path.
    pub(crate) fn temporary(&self) -> &Path {
        self.disk.as_ref().map_or(&self.path, |disk| &disk.temporary)
    }

    /// Reserves `bytes` behind what is reserved already.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<(), IoError> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let free = || free_bytes(&disk.temporary).ok();
        let no_space = |source| IoError::NoSpace {
            path: self.path.clone(),
            bytes,
            free: free(),
            source,
        };
        let file = OpenOptions::new().write(true).open(&disk.temporary).map_err(no_space)?;
        // HDF5 cuts a file that is longer than it knows: so the length stays.
        match rustix::fs::fallocate(&file, FallocateFlags::KEEP_SIZE, disk.reserved, bytes) {
            Ok(()) => {}
            // File systems without reservations at least say what is free now.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                if free().is_none_or(|free| free < bytes) {
                    return Err(no_space(io::ErrorKind::StorageFull.into()));
                }
            }
            Err(error) => return Err(no_space(error.into())),
        }
        disk.reserved = disk.reserved.saturating_add(bytes);
        Ok(())
    }

    /// Writes `values` `[rows, lens]` to the dataset `name` from row `start` on.
    pub(crate) fn put<T: H5Type>(
        &self,
        name: &str,
        start: usize,
        lens: &[usize],
        values: Vec<T>,
    ) -> Result<(), IoError> {
        let rows = values.len() / lens.iter().product::<usize>().max(1);
        if rows == 0 {
            return Ok(());
        }
        if let Some(disk) = &self.disk {
            let block = (name.to_owned(), start, rows, native::digest_of(&values));
            disk.written.borrow_mut().push(block);
        }
        let shape: Vec<usize> = std::iter::once(rows).chain(lens.iter().copied()).collect();
        let first = SliceOrIndex::from(start..start + rows);
        let slab: Vec<SliceOrIndex> = std::iter::once(first)
            .chain(lens.iter().map(|len| SliceOrIndex::from(0..*len)))
            .collect();
        let array = ArrayD::from_shape_vec(shape, values).expect("rows were counted from the values");
        self.with(|file| file.dataset(name)?.write_slice(&array, Hyperslab::from(slab)))
    }

    /// Appends columns (name, values of an entry, entries one after another) of the same length to growing datasets of
    /// `start` entries; reserves their space first.
    pub(crate) fn append(&mut self, columns: &[(&str, &[usize], Vec<f64>)], start: usize) -> Result<(), IoError> {
        let bytes: usize = columns.iter().map(|(.., values)| size_of_val(values.as_slice())).sum();
        // A chunk is allocated whole, however little of it is filled.
        self.reserve((2 * bytes) as u64 + columns.len() as u64 * GROWING_CHUNK as u64 * 8)?;
        for (name, entry, values) in columns {
            let end = start + values.len() / entry.iter().product::<usize>().max(1);
            let shape: Vec<usize> = std::iter::once(end).chain(entry.iter().copied()).collect();
            self.with(|file| file.dataset(name)?.resize(shape))?;
            self.put(name, start, entry, values.clone())?;
        }
        Ok(())
    }

    /// Does something with the open file.
    pub(crate) fn with<T>(&self, run: impl FnOnce(&File) -> hdf5::Result<T>) -> Result<T, IoError> {
        let file = self.file.as_ref().expect("the file is open until `finish`");
        run(file).map_err(|source| IoError::Hdf5 {
            path: self.path.clone(),
            source,
        })
    }

    /// The bytes of a file in memory.
    pub(crate) fn into_image(self) -> Result<Vec<u8>, IoError> {
        self.with(image_of)
    }

    /// Closes the file and gives it its name; the file is synced before and its folder after.
    pub(crate) fn finish(mut self) -> Result<(), IoError> {
        self.close()?;
        let temporary = self.temporary().to_owned();
        atomic::publish(&temporary, &self.path).map_err(|source| IoError::Write {
            path: self.path.clone(),
            source,
        })
    }

    /// Closes the file, syncs it and leaves it where it is.
    pub(crate) fn leave(mut self) -> Result<(), IoError> {
        self.close()?;
        self.disk = None;
        Ok(())
    }

    /// Closes the file, syncs it and reads it back.
    fn close(&mut self) -> Result<(), IoError> {
        self.with(|file| file.flush())?;
        let closed = self.file.take().map_or(Ok(()), File::close);
        closed.map_err(|source| IoError::Hdf5 {
            path: self.path.clone(),
            source,
        })?;
        let synced = OpenOptions::new().write(true).open(self.temporary()).and_then(|file| {
            // Gives back what was reserved behind the end.
            file.set_len(file.metadata()?.len())?;
            file.sync_all()
        });
        synced.map_err(|source| IoError::Write {
            path: self.path.clone(),
            source,
        })?;
        self.disk.as_ref().map_or(Ok(()), |disk| {
            check_written(&self.path, &disk.temporary, &disk.written.borrow()).map(drop)
        })
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        drop(self.file.take());
        if let Some(disk) = &self.disk {
            // After `finish` there is none; a leftover does no harm.
            let _ = fs::remove_file(&disk.temporary);
        }
    }
}

/// Values of a chunk of a growing dataset.
pub(crate) const GROWING_CHUNK: usize = 1 << 14;

/// The bytes of an HDF5 file for `path` that `lay_out` fills, built in memory: HDF5 touches no disk.
pub(crate) fn image(path: &Path, lay_out: impl FnOnce(&File) -> hdf5::Result<()>) -> Result<Vec<u8>, IoError> {
    Output::in_memory(path, lay_out)?.into_image()
}

/// An empty file in memory.
fn in_memory() -> hdf5::Result<File> {
    native::forbid_plugins();
    static IMAGES: AtomicU64 = AtomicU64::new(0);
    // HDF5 first tries to open what it is told to create, and takes files of one name for one file: under this name there
    // never is any.
    let name = format!("/dev/null/{}", IMAGES.fetch_add(1, Ordering::Relaxed));
    File::with_options()
        .with_fapl(|access| {
            access
                .core_filebacked(false)
                .libver_bounds(LibraryVersion::V18, LibraryVersion::V110)
        })
        .with_fcpl(|creation| creation.obj_track_times(false))
        .create(&name)
}

/// The bytes of a file in memory as far as it is written.
fn image_of(file: &File) -> hdf5::Result<Vec<u8>> {
    file.flush()?;
    native::file_image(file).ok_or_else(|| hdf5::Error::from("the file image cannot be had"))
}
