//! One array of an `.npz` file: a zip archive with an `.npy` file per array.
//!
//! Stored arrays are read in place, deflated ones go into memory. The archive's end is checked here before `zip` reads its
//! directory, since `zip` reserves memory for as many entries as the end declares, and searches the whole file for an end
//! that is not where it should be.

use crate::bytes::{self, Bytes, DAMAGED};
use crate::npy_header::NpyHeader;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use zip::CompressionMethod;
use zip::read::{ArchiveOffset, Config, ZipArchive, ZipReadOptions};

/// More arrays than this are not looked through.
const ARRAYS_MAX: u64 = 4096;

/// Nor is a longer directory.
const DIRECTORY_MAX: u64 = 1 << 20;

type Archive = ZipArchive<BufReader<File>>;

/// The array `array`, or the only one, of an archive of `len` bytes: its header, and its data.
pub(crate) fn open(
    mut file: File,
    len: u64,
    array: Option<&str>,
    max_bytes: u64,
) -> Result<(NpyHeader, Bytes), String> {
    check_end(&mut file, len)?;
    let config = Config {
        archive_offset: ArchiveOffset::Known(0),
    };
    let mut archive = ZipArchive::with_config(config, BufReader::new(file)).map_err(damaged)?;
    if archive.has_overlapping_entries().map_err(damaged)? {
        return Err(format!("has arrays that share bytes: {DAMAGED}"));
    }
    let index = choose(&archive, array)?;
    let options = ZipReadOptions::new().enforce_header_consistency(true);
    let mut entry = archive.by_index_with_options(index, options).map_err(damaged)?;
    let (size, packed) = (entry.size(), entry.compressed_size());
    let stored = match entry.compression() {
        CompressionMethod::Deflated => false,
        CompressionMethod::Stored if size == packed => true,
        CompressionMethod::Stored => {
            return Err(format!("has an array of {size} bytes stored in {packed}: {DAMAGED}"));
        }
        other => {
            return Err(format!(
                "has its array packed by {other}, and NumPy stores or deflates: write it with numpy.savez"
            ));
        }
    };
    let header = NpyHeader::read(&mut entry)?;
    bytes::same_length(header.declared.bytes, size.saturating_sub(header.len))?;
    if !stored {
        let data = bytes::inflate(&mut entry, packed, header.declared.bytes, max_bytes)?;
        return Ok((header, Bytes::Memory(data)));
    }
    let start = entry.data_start().ok_or("has an array without a place")? + header.len;
    drop(entry);
    let file = archive.into_inner().into_inner();
    let data = Bytes::part(file, start, header.declared.bytes);
    Ok((header, data))
}

fn damaged(error: zip::result::ZipError) -> String {
    let why = bytes::short(&error.to_string());
    format!("cannot be read as .npz ({why}): {DAMAGED}")
}

/// The index of the array of this name, or of the only one.
fn choose(archive: &Archive, array: Option<&str>) -> Result<usize, String> {
    let mut names = Vec::new();
    for index in 0..archive.len() {
        let name = archive.name_for_index(index).transpose().map_err(damaged)?;
        names.extend(name.and_then(|name| Some((index, name.strip_suffix(".npy")?.to_owned()))));
    }
    match (array, &names[..]) {
        (_, []) => Err("has no array: save one with numpy.savez".to_owned()),
        (None, [(index, _)]) => Ok(*index),
        (None, _) => Err(format!(
            "has several arrays: choose one with array, of {}",
            listed(&names)
        )),
        (Some(array), _) => match names.iter().find(|(_, name)| name == array) {
            Some((index, _)) => Ok(*index),
            None => Err(format!(
                "has no array of the name {array}: choose one of {}",
                listed(&names)
            )),
        },
    }
}

fn listed(names: &[(usize, String)]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(10)
        .map(|(_, name)| format!("{:?}", bytes::short(name)))
        .collect();
    let more = if names.len() > shown.len() { ", ..." } else { "" };
    shown.join(", ") + more
}

/// Checks that the archive ends as NumPy ends it: directory, end (in zip64 end and locator before it), and no comment.
///
/// PKWARE, APPNOTE.TXT 6.3.10, 4.3.14 to 4.3.16.
fn check_end(file: &mut File, len: u64) -> Result<(), String> {
    let wrong = |what: &str| format!("has {what} and is no .npz file as NumPy writes it: {DAMAGED}");
    let end: [u8; 22] = tail(file, len).ok_or_else(|| wrong("no end of an archive"))?;
    if !end.starts_with(b"PK\x05\x06") || end[20..] != [0, 0] {
        return Err(wrong("no end of an archive in its last 22 bytes"));
    }
    let mut directory = Directory {
        entries: u16::from_le_bytes([end[10], end[11]]).into(),
        size: u32_at(&end, 12).into(),
        start: u32_at(&end, 16).into(),
        end: len - 22,
    };
    if directory.entries == 0xffff || directory.size == 0xffff_ffff || directory.start == 0xffff_ffff {
        let all: [u8; 76] = tail(file, directory.end).ok_or_else(|| wrong("no 64-bit end"))?;
        let (end, locator) = all.split_at(56);
        directory = Directory {
            entries: u64_at(end, 32),
            size: u64_at(end, 40),
            start: u64_at(end, 48),
            end: len - 22 - 76,
        };
        let in_place = u64_at(end, 4) == 44 && u64_at(locator, 8) == directory.end;
        if !in_place || !end.starts_with(b"PK\x06\x06") || !locator.starts_with(b"PK\x06\x07") {
            return Err(wrong("a 64-bit end that is not in its place"));
        }
    }
    if directory.entries > ARRAYS_MAX || directory.size > DIRECTORY_MAX {
        return Err(format!(
            "declares {} arrays in a directory of {} bytes, and {ARRAYS_MAX} in {DIRECTORY_MAX} are the limit: {DAMAGED}",
            directory.entries, directory.size
        ));
    }
    if directory.start.checked_add(directory.size) != Some(directory.end) {
        return Err(wrong("a directory that does not lie before its end"));
    }
    Ok(())
}

/// What the end of an archive says of its directory, and where that has to end.
struct Directory {
    entries: u64,
    size: u64,
    start: u64,
    end: u64,
}

/// The `N` bytes before `end`.
fn tail<const N: usize>(file: &mut File, end: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.seek(SeekFrom::Start(end.checked_sub(N as u64)?)).ok()?;
    let found = bytes::head(file, &mut bytes).ok()?;
    (found == N).then_some(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}
