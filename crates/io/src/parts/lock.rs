//! Locks that keep a second run away from the parts of an output.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::Hold;
use crate::IoError;

pub(super) const LOCK: &str = "lock";

/// Tries, and the pause between them, where somebody holds a lock: who only looks, or sets up, does not take long.
const TRIES: (u32, Duration) = (40, Duration::from_millis(25));
/// Shares that start together wait for the one that sets up.
const SHARE_TRIES: (u32, Duration) = (400, Duration::from_millis(25));

/// A lock that is held as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    _files: Vec<File>,
    /// Whether nobody else holds a part of it.
    pub(super) alone: bool,
    /// Whether the file system has no locks, so that nothing is held.
    pub(super) lacking: bool,
}

/// How a lock was answered.
enum Taken {
    Yes,
    Held,
    Lacking,
}

impl Lock {
    /// Locks the folder as a whole; fails where somebody holds it for longer than a second.
    pub(super) fn whole(folder: &Path) -> Result<Lock, IoError> {
        for _ in 0..TRIES.0 {
            let (file, taken) = take(&folder.join(LOCK), true)?;
            match taken {
                Taken::Held => std::thread::sleep(TRIES.1),
                taken => return Ok(Lock::of(vec![file], true, &taken)),
            }
        }
        Err(held(folder))
    }

    /// Whether somebody holds the folder or a share of it.
    pub(super) fn is_held(folder: &Path) -> bool {
        matches!(take(&folder.join(LOCK), true), Ok((_, Taken::Held)))
    }

    /// Locks a share beside others: alone where nobody else is at work yet, so that the folder can be set up, see
    /// [`Lock::beside_others`].
    pub(super) fn share(folder: &Path, hold: Hold) -> Result<Lock, IoError> {
        let Hold::Share { i, n } = hold else {
            return Lock::whole(folder);
        };
        let (own, taken) = take(&folder.join(format!("lock-{i}-of-{n}")), true)?;
        if let Taken::Held = taken {
            return Err(IoError::Held {
                path: folder.join(format!("lock-{i}-of-{n}")),
            });
        }
        for _ in 0..SHARE_TRIES.0 {
            for alone in [true, false] {
                let (file, taken) = take(&folder.join(LOCK), alone)?;
                if !matches!(taken, Taken::Held) {
                    return Ok(Lock::of(vec![file, own], alone, &taken));
                }
            }
            std::thread::sleep(SHARE_TRIES.1);
        }
        Err(held(folder))
    }

    /// Lets other shares in.
    pub(super) fn beside_others(&mut self, folder: &Path) -> Result<(), IoError> {
        self.alone = false;
        // The same open file: a lock that is taken again is changed, not taken twice.
        match self._files[0].try_lock_shared() {
            Err(TryLockError::WouldBlock) => Err(held(folder)),
            _ => Ok(()),
        }
    }

    fn of(files: Vec<File>, alone: bool, taken: &Taken) -> Lock {
        Lock {
            _files: files,
            alone,
            lacking: matches!(taken, Taken::Lacking),
        }
    }
}

fn held(folder: &Path) -> IoError {
    IoError::Held {
        path: folder.join(LOCK),
    }
}

/// Takes the lock `path`, if it can be had at once.
fn take(path: &Path, exclusive: bool) -> Result<(File, Taken), IoError> {
    let failed = |source| IoError::Create {
        path: path.to_owned(),
        source,
    };
    loop {
        // NFS wants a file open for reading for a shared lock and one open for writing for the other. A pipe in its place is
        // not waited for.
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
            .open(path)
            .map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(std::io::Error::other("it is no file")));
        }
        let locked = if exclusive {
            file.try_lock()
        } else {
            file.try_lock_shared()
        };
        let taken = match locked {
            Ok(()) => Taken::Yes,
            Err(TryLockError::WouldBlock) => return Ok((file, Taken::Held)),
            Err(TryLockError::Error(_)) => Taken::Lacking,
        };
        // A run that ended in between has removed the file that was opened here: another one stands for the lock now.
        let inode = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        if fs::metadata(path).is_ok_and(|now| inode(&now) == inode(&metadata)) {
            return Ok((file, taken));
        }
    }
}
