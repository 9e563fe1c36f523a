//! The house rules as code: what the tree promises about itself, checked by `tests/tidy.rs`.

pub mod wire;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The repository's root, found from this crate's manifest.
///
/// # Panics
/// Never in a checkout: the manifest lies two folders below the root.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("tests/testkit lies two folders below the root")
        .to_path_buf()
}

/// Every file below a folder with one of the endings, build output and hidden folders left out.
///
/// # Errors
/// What reading a folder met.
pub fn files(folder: &Path, endings: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default()
                .to_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    open.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A source file without its inline test module (everything from a `#[cfg(test)]` line on).
#[must_use]
pub fn without_tests(source: &str) -> &str {
    source.find("#[cfg(test)]").map_or(source, |at| &source[..at])
}

/// Whether a path is test code by its place.
#[must_use]
pub fn is_test_file(path: &Path) -> bool {
    path.components()
        .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches")
        || path
            .file_name()
            .is_some_and(|name| name == "tests.rs" || name.to_string_lossy().ends_with("_tests.rs"))
}
