//! How commands find the server that runs on the same folder.
//!
//! The server holds an operating-system lock on `run/lock` for as long as it lives (a killed process lets go of it by
//! itself), and leaves its address and a secret of its own in `run/server.json`, readable by its user alone. Commands of
//! the same user on the same folder so need no key. On object storage there is no run file: name the server by
//! `--server` and a key by `--key`.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// Where a server listens, and the secret that makes a caller its operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunningServer {
    /// Base URL.
    pub(crate) url: String,
    /// Process id, for people.
    pub(crate) pid: u32,
    /// Secret of the operator's door; new at every start.
    pub(crate) operator_secret: String,
}

/// The lock of a folder, held until dropped.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _lock: File,
    folder: PathBuf,
}

fn run_folder(data: &Path) -> PathBuf {
    data.join("run")
}

fn open_lock(data: &Path) -> Result<File> {
    let folder = run_folder(data);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let path = folder.join("lock");
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))
}

/// Takes the folder for this process.
///
/// # Errors
/// Another process holds it.
pub(crate) fn lock(data: &Path) -> Result<FolderLock> {
    let file = open_lock(data)?;
    match file.try_lock() {
        Ok(()) => Ok(FolderLock {
            _lock: file,
            folder: run_folder(data),
        }),
        Err(fs::TryLockError::WouldBlock) => bail!(
            "another revgauge process works on {}: stop it, or use another --store",
            data.display()
        ),
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", data.display()))
        }
    }
}

impl FolderLock {
    /// Leaves the address for commands of the same user.
    ///
    /// # Errors
    /// What writing the file met.
    pub(crate) fn announce(&self, server: &RunningServer) -> Result<()> {
        let path = self.folder.join("server.json");
        let _ = fs::remove_file(&path);
        let mut options = OpenOptions::new();
        options.create_new(true).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options
            .open(&path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        file.write_all(&serde_json::to_vec(server)?)?;
        Ok(())
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join("server.json"));
    }
}

/// The server that runs on a folder, if one does.
///
/// # Errors
/// The folder cannot be read, or its server has not yet said where it listens.
pub(crate) fn find(data: &Path) -> Result<Option<RunningServer>> {
    if !run_folder(data).join("lock").try_exists()? {
        return Ok(None);
    }
    match open_lock(data)?.try_lock() {
        Ok(()) => Ok(None),
        Err(fs::TryLockError::WouldBlock) => {
            let path = run_folder(data).join("server.json");
            let text = fs::read(&path).with_context(|| {
                format!(
                    "a revgauge process works on {} but does not listen yet: try again in a moment",
                    data.display()
                )
            })?;
            Ok(Some(
                serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display()))?,
            ))
        }
        Err(fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", data.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_folder_leads_to_its_server_and_a_free_one_to_none() {
        let folder = tempfile::tempdir().expect("folder");
        assert_eq!(find(folder.path()).expect("free"), None);
        let held = lock(folder.path()).expect("taken");
        assert!(find(folder.path()).is_err(), "not announced yet");
        let server = RunningServer {
            url: "http://127.0.0.1:1".to_owned(),
            pid: 1,
            operator_secret: "s".to_owned(),
        };
        held.announce(&server).expect("announced");
        assert_eq!(find(folder.path()).expect("held"), Some(server));
        assert!(lock(folder.path()).is_err());
        drop(held);
        assert_eq!(find(folder.path()).expect("free again"), None);
    }
}
