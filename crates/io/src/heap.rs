//! A look at HDF5's global heaps, where texts of variable length are kept, before HDF5 itself looks.
//!
//! HDF5 2.2.0 never comes back from a collection with an object of length 0 (`H5HG__cache_heap_deserialize` goes from
//! object to object by their lengths), which a single flipped bit can make.

/// How HDF5 files begin.
const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";
/// Bytes of the header of a collection, and of each object in it.
const HEADER: usize = 16;

/// Whether HDF5 can go through every global heap in the file `bytes`.
///
/// False also where the file does not begin as HDF5 or has other than 8 bytes for a length: no writer of today gives it
/// others. HDF5 File Format Specification 3.0, II.A (superblock) and III.E (global heap).
pub(crate) fn is_sound(bytes: &[u8]) -> bool {
    let lengths = match bytes.strip_prefix(SIGNATURE) {
        Some([0 | 1, rest @ ..]) => rest.get(5),
        Some([2 | 3, rest @ ..]) => rest.get(1),
        _ => None,
    };
    let starts = bytes
        .windows(5)
        .enumerate()
        .filter(|(_, window)| *window == b"GCOL\x01");
    lengths == Some(&8) && { starts }.all(|(start, _)| ends(&bytes[start..]))
}

/// Whether the objects of the collection that `bytes` begin with come to an end.
fn ends(bytes: &[u8]) -> bool {
    let length = |at: usize| {
        let eight = bytes.get(at + 8..at + HEADER)?;
        usize::try_from(u64::from_le_bytes(eight.try_into().ok()?)).ok()
    };
    let size = length(0).unwrap_or(0).min(bytes.len());
    let mut at = HEADER;
    while at + HEADER <= size {
        let is_free_space = bytes[at..at + 2] == [0, 0];
        let needed = length(at).and_then(|length| match is_free_space {
            true => Some(length),
            false => length.checked_next_multiple_of(8)?.checked_add(HEADER),
        });
        match needed {
            // Beyond the end: HDF5 says so itself.
            Some(needed) if needed > size - at => return true,
            Some(needed) if needed >= HEADER => at += needed,
            _ => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heaps_without_an_end_are_found_and_others_are_not() {
        let object = |index: u16, length: u64, body: usize| {
            let mut bytes = index.to_le_bytes().to_vec();
            bytes.extend([0; 6]);
            bytes.extend(length.to_le_bytes());
            bytes.resize(HEADER + body, 7);
            bytes
        };
        let file = |objects: Vec<u8>| {
            let mut bytes = SIGNATURE.to_vec();
            bytes.extend([3, 8, 8, 0, 1, 2, 3]);
            bytes.extend(b"GCOL\x01\0\0\0");
            bytes.extend((HEADER as u64 + objects.len() as u64).to_le_bytes());
            bytes.extend(objects);
            bytes
        };
        let text = object(1, 5, 8);
        let with = |next: Vec<u8>| file([text.clone(), next].concat());
        assert!(is_sound(&file(text.clone())));
        assert!(is_sound(&with(object(0, 40, 24))));
        assert!(
            is_sound(&with(object(2, 1 << 40, 8))),
            "HDF5 reports that it runs off the end"
        );
        assert!(!is_sound(&with(object(0, 0, 24))));
        assert!(!is_sound(&with(object(2, u64::MAX - 15, 24))));
        let mut short_lengths = file(text.clone());
        short_lengths[10] = 4;
        assert!(!is_sound(&short_lengths));
        assert!(!is_sound(b"text"));
    }
}
