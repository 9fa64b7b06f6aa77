//! Where a plugin is looked for: at a path, or by name in the folders of a variable. Nothing is scanned.

use crate::{Library, PluginError};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folders, separated by `:`, in which a plugin is looked for by name.
pub const PATH_VARIABLE: &str = "GFE_PLUGIN_PATH";

/// The files that `name` may mean, in order: itself if it is a path (it has a `/`, or ends with `.so` or `.dylib`), else
/// `libNAME.so`, with `-` as it is and as `_`, in each folder of `folders`, the value of [`PATH_VARIABLE`].
pub fn candidates(name: &str, folders: Option<&OsStr>) -> Result<Vec<PathBuf>, PluginError> {
    let suffix = std::env::consts::DLL_SUFFIX;
    if name.contains('/') || name.ends_with(suffix) {
        // A bare file name would make the loader search folders of its own.
        let path = if name.contains('/') {
            PathBuf::from(name)
        } else {
            Path::new(".").join(name)
        };
        return Ok(vec![path]);
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(word) {
        return Err(PluginError::BadName(name.to_owned()));
    }
    let mut files = vec![format!("lib{name}{suffix}")];
    if name.contains('-') {
        files.push(format!("lib{}{suffix}", name.replace('-', "_")));
    }
    let folders = folders.map(std::env::split_paths).into_iter().flatten();
    // An empty part would mean the current folder, which nobody chose.
    let folders = folders.filter(|folder| !folder.as_os_str().is_empty());
    Ok(folders
        .flat_map(|folder| files.iter().map(move |file| folder.join(file)).collect::<Vec<_>>())
        .collect())
}

/// Loads the first of the [`candidates`] that can be; with `pinned`, only if that is its sha256.
///
/// Fails with every path tried and what the loader said of it; at once where a library is there and must not be used.
pub fn load(name: &str, folders: Option<&OsStr>, pinned: Option<&str>) -> Result<Arc<Library>, PluginError> {
    let mut all = Vec::new();
    for path in candidates(name, folders)? {
        match Library::load(&path, pinned) {
            Err(PluginError::NotFound { tried, .. }) => all.extend(tried),
            other => return other,
        }
    }
    Err(PluginError::NotFound {
        name: name.to_owned(),
        tried: all,
    })
}

#[cfg(test)]
mod tests {
    use super::{candidates, load};
    use std::ffi::OsStr;
    use std::path::PathBuf;

    #[test]
    fn a_name_is_looked_for_in_the_folders_alone_and_a_path_taken_as_it_is() {
        let folders = Some(OsStr::new("/a::/b"));
        let paths = |name: &str| candidates(name, folders).expect("it may be a plugin");
        assert_eq!(paths("conv"), ["/a/libconv.so", "/b/libconv.so"].map(PathBuf::from));
        assert_eq!(paths("a-b")[..2], ["/a/liba-b.so", "/a/liba_b.so"].map(PathBuf::from));
        assert_eq!(paths("x/libconv.so"), [PathBuf::from("x/libconv.so")]);
        assert_eq!(paths("libconv.so"), [PathBuf::from("./libconv.so")]);
        assert!(candidates("a b", folders).is_err());
        assert!(candidates("", folders).is_err());
    }

    #[test]
    fn every_path_tried_is_told_with_the_loaders_words() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(folder.path().join("libabsent.so"), "no library").expect("there is room");
        let folders = std::env::join_paths(["/nowhere/1".as_ref(), folder.path(), "/nowhere/2".as_ref()]);
        let folders = folders.expect("no : is in them");
        let told = load("absent", Some(&folders), None)
            .expect_err("it is absent")
            .to_string();
        assert!(told.contains("/nowhere/1/libabsent.so: No such file"), "{told}");
        assert!(told.contains("libabsent.so: ") && told.contains("too short"), "{told}");
        assert!(told.contains("/nowhere/2/libabsent.so: No such file"), "{told}");
        let told = load("absent", None, None)
            .expect_err("there are no folders")
            .to_string();
        assert!(told.contains("GFE_PLUGIN_PATH"), "{told}");
    }
}
