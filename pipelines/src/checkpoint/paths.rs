//! Object paths of checkpoints, printed and parsed.

use object_store::path::Path;

const FOLDER: &str = "checkpoints";

pub(super) fn folder() -> Path {
    Path::from(FOLDER)
}

pub(super) fn manifest(id: u64) -> Path {
    Path::from(format!("{FOLDER}/{id:020}.manifest"))
}

pub(super) fn manifest_id(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".manifest")?.parse().ok()
}

pub(super) fn part(id: u64, pipeline: &str, number: usize) -> Path {
    Path::from(format!("{FOLDER}/{id:020}/{pipeline}-{number:05}.part"))
}

/// Number of the checkpoint in whose folder parts lie.
pub(super) fn part_folder_id(path: &Path) -> Option<u64> {
    path.filename()?.parse().ok()
}

/// Number of the checkpoint that an object was written for.
pub(super) fn id_of(path: &Path) -> Option<u64> {
    let name = path.as_ref().strip_prefix(FOLDER)?.strip_prefix('/')?;
    name.get(..20)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_parse_back() {
        assert_eq!(manifest_id(&manifest(7)), Some(7));
        assert_eq!(id_of(&manifest(7)), Some(7));
        assert_eq!(id_of(&part(8, "crm_state", 3)), Some(8));
        assert_eq!(
            part_folder_id(&Path::from(format!("{FOLDER}/{:020}", 9))),
            Some(9)
        );
        assert_eq!(manifest_id(&part(8, "crm_state", 3)), None);
    }
}
