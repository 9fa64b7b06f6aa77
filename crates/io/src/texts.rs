//! Texts out of HDF5 files, which may hold any bytes: the wrapper takes them for UTF-8 unseen, so that nothing here goes
//! through its `as_str`.

use hdf5::types::{TypeDescriptor, VarLenAscii, VarLenUnicode};
use hdf5::{Container, Location};

use crate::native::descriptor_of;

/// Most texts that are read from an attribute.
const MOST: usize = 64;

/// `bytes` as a text, with a sign in the place of what is none.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The one text that an attribute of this name holds, where there is one and it is UTF-8.
pub(crate) fn attribute(location: &Location, name: &str) -> Option<String> {
    scalar(&*location.attr(name).ok()?)
}

/// The one text that a dataset or an attribute holds, where it is UTF-8.
pub(crate) fn scalar(container: &Container) -> Option<String> {
    let bytes = match kind(container)? {
        TypeDescriptor::VarLenUnicode => container.read_scalar::<VarLenUnicode>().ok()?.as_bytes().to_vec(),
        TypeDescriptor::VarLenAscii => container.read_scalar::<VarLenAscii>().ok()?.as_bytes().to_vec(),
        _ => return None,
    };
    String::from_utf8(bytes).ok()
}

/// The texts that an attribute of this name holds; none where there are more than 64, or it holds others.
pub(crate) fn list(location: &Location, name: &str) -> Vec<String> {
    let read = || {
        let attribute = location.attr(name).ok().filter(|attribute| attribute.size() <= MOST)?;
        // HDF5 converts between no two encodings, and its own calls write labels in ASCII.
        let texts: Vec<String> = match kind(&attribute)? {
            TypeDescriptor::VarLenUnicode => {
                let texts = attribute.read_raw::<VarLenUnicode>().ok()?;
                texts.iter().map(|text| lossy(text.as_bytes())).collect()
            }
            TypeDescriptor::VarLenAscii => {
                let texts = attribute.read_raw::<VarLenAscii>().ok()?;
                texts.iter().map(|text| lossy(text.as_bytes())).collect()
            }
            _ => return None,
        };
        Some(texts)
    };
    read().unwrap_or_default()
}

/// What kind of numbers or texts these are; none where they are anything else.
fn kind(values: &Container) -> Option<TypeDescriptor> {
    descriptor_of(&values.dtype().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_in_either_encoding() {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let file = hdf5::File::create(folder.path().join("labels.h5")).expect("there is room");
        let ascii = ["", "wavelength"].map(|text| VarLenAscii::from_ascii(text).expect("it is ASCII"));
        let unicode = ["", "λ"].map(|text| text.parse::<VarLenUnicode>().expect("no null is in it"));
        let ascii = file.new_attr_builder().with_data(&ascii).create("ascii");
        let unicode = file.new_attr_builder().with_data(&unicode).create("unicode");
        ascii.and(unicode).expect("there is room");
        assert_eq!(list(&file, "ascii"), ["", "wavelength"]);
        assert_eq!(list(&file, "unicode"), ["", "λ"]);
        assert!(list(&file, "none").is_empty());
    }
}
