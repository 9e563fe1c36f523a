//! Blocking file work: where bytes are staged, and how a staged file becomes a durable name.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use parking_lot::Mutex;
use uuid::Uuid;

/// Name of the staging folder within a store; never listed.
pub(crate) const STAGING: &str = ".staging";
const OWNER: &str = "owner";
/// Folders remembered as durable; past it the memory starts anew and folders are synced once more.
const MAX_KNOWN_FOLDERS: usize = 16_384;

/// The staging folder of one open store.
#[derive(Debug)]
pub(crate) struct Staging {
    root: PathBuf,
    dir: PathBuf,
    /// Held while the store is open: tells other openers that the folder is in use.
    _owner: File,
    next: AtomicU64,
    durable_folders: Mutex<HashSet<PathBuf>>,
}

impl Staging {
    /// Makes a staging folder under `root` and removes those whose owner is gone.
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let all = root.join(STAGING);
        fs::create_dir_all(&all)?;
        // Cleaning and claiming exclude each other, or a cleaner could take a folder that is not locked yet.
        let gate = OpenOptions::new()
            .create(true)
            .append(true)
            .open(all.join("gate"))?;
        gate.lock()?;
        remove_abandoned(&all)?;
        let dir = all.join(Uuid::now_v7().to_string());
        fs::create_dir(&dir)?;
        let owner = File::create_new(dir.join(OWNER))?;
        owner.lock()?;
        gate.unlock()?;
        sync_folder(root)?;
        Ok(Self {
            root: root.to_owned(),
            dir,
            _owner: owner,
            next: AtomicU64::new(0),
            durable_folders: Mutex::default(),
        })
    }

    /// A new, empty staged file.
    pub(crate) fn file(&self) -> io::Result<(File, PathBuf)> {
        let path = self.unused_name();
        Ok((File::create_new(&path)?, path))
    }

    /// A name in the staging folder that nothing has.
    pub(crate) fn unused_name(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.dir.join(format!("{number:x}"))
    }

    /// Gives a synced staged file its final name, only if nothing has it, and syncs the folder.
    pub(crate) fn create(&self, staged: &Path, target: &Path) -> io::Result<()> {
        let linked = self.with_folder(target, || fs::hard_link(staged, target));
        // A second name of the same bytes; what stays behind is removed at the next open.
        let _ = fs::remove_file(staged);
        linked
    }

    /// Gives a synced staged file its final name, replacing what had it, and syncs the folder.
    pub(crate) fn replace(&self, staged: &Path, target: &Path) -> io::Result<()> {
        let renamed = self.with_folder(target, || fs::rename(staged, target));
        if renamed.is_err() {
            let _ = fs::remove_file(staged);
        }
        renamed
    }

    fn with_folder(&self, target: &Path, publish: impl Fn() -> io::Result<()>) -> io::Result<()> {
        let folder = target.parent().unwrap_or(&self.root);
        self.make_durable(folder)?;
        match publish() {
            // Somebody removed the folder since we made it.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.durable_folders.lock().clear();
                self.make_durable(folder)?;
                publish()?;
            }
            other => other?,
        }
        sync_folder(folder)
    }

    /// Makes the folder and syncs each parent up to the root, once per process: a folder left by a process that died
    /// may exist without being durable.
    fn make_durable(&self, folder: &Path) -> io::Result<()> {
        if folder == self.root || self.durable_folders.lock().contains(folder) {
            return Ok(());
        }
        fs::create_dir_all(folder)?;
        let parents = folder.ancestors().skip(1);
        for parent in parents.take_while(|parent| parent.starts_with(&self.root)) {
            sync_folder(parent)?;
        }
        let mut known = self.durable_folders.lock();
        if known.len() >= MAX_KNOWN_FOLDERS {
            known.clear();
        }
        known.insert(folder.to_owned());
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next opener.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn remove_abandoned(all: &Path) -> io::Result<()> {
    for entry in fs::read_dir(all)? {
        let dir = entry?.path();
        if dir.is_dir() && is_abandoned(&dir)? {
            tracing::info!(folder = %dir.display(), "staging folder of a process that is gone removed");
            fs::remove_dir_all(&dir)?;
        }
    }
    Ok(())
}

fn is_abandoned(dir: &Path) -> io::Result<bool> {
    let owner = match File::open(dir.join(OWNER)) {
        Ok(owner) => owner,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    };
    match owner.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
