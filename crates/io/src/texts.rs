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
    let one = (container.ndim() == 0).then(|| bytes(container)).flatten()?;
    String::from_utf8(one.into_iter().next()?).ok()
}

/// The texts that an attribute of this name holds; none where there are more than 64, or it holds others.
pub(crate) fn list(location: &Location, name: &str) -> Vec<String> {
    let attribute = location.attr(name).ok().filter(|attribute| attribute.size() <= MOST);
    let texts = attribute.and_then(|attribute| bytes(&attribute)).unwrap_or_default();
    texts.iter().map(|text| lossy(text)).collect()
}

/// Texts as they stand in the file; HDF5 converts between no two encodings, and its own calls write labels in ASCII.
fn bytes(container: &Container) -> Option<Vec<Vec<u8>>> {
    macro_rules! read {
        ($kind:ty) => {{
            let texts = container.read_raw::<$kind>().ok()?;
            Some(texts.iter().map(|text| text.as_bytes().to_vec()).collect())
        }};
    }
    match descriptor_of(container).ok()? {
        TypeDescriptor::VarLenUnicode => read!(VarLenUnicode),
        TypeDescriptor::VarLenAscii => read!(VarLenAscii),
        _ => None,
    }
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
