//! What the machine has to offer a file: room on its disk, and the time of day.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::IoError;

/// Bytes free for a file at `path`; fails where its folder cannot be asked.
pub fn free_bytes(path: &Path) -> Result<u64, IoError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let found = rustix::fs::statvfs(folder).map_err(|source| IoError::Create {
        path: path.to_owned(),
        source: source.into(),
    })?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The time as ISO 8601 in UTC, to the second, as NeXus has its dates.
pub fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    iso8601(since.as_secs())
}

/// Seconds since 1970 as a date: days to civil after Hinnant, chrono-Compatible Low-Level Date Algorithms.
fn iso8601(seconds: u64) -> String {
    let (days, of_day) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = 400 * era + year + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00Z");
        assert_eq!(iso8601(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(iso8601(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(iso8601(4_107_542_400), "2100-03-01T00:00:00Z");
    }

    #[test]
    fn there_is_room_beside_a_file_and_none_in_a_folder_that_is_not() {
        assert!(free_bytes(Path::new("some.h5")).expect("the folder is there") > 0);
        assert!(free_bytes(Path::new("/no/such/folder/a.h5")).is_err());
    }
}
