//! A local object store that answers only after the bytes are on the disk.

use std::{
    fmt,
    fs::{File, Metadata},
    io::{self, ErrorKind, Write},
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path as FsPath, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::ready, stream::BoxStream};
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
    local::LocalFileSystem, path::Path,
};
use tokio::task::spawn_blocking;

use crate::{
    StoreError,
    staging::{STAGING, Staging, sync_folder},
};

const NAME: &str = "SyncedLocal";

/// A folder as an object store whose writes are durable when they answer.
///
/// `PutMode::Create` has exactly one winner among threads and processes (it links the final name); `Overwrite` is
/// atomic. Cost of a put: two syncs, plus one per new parent folder. Reads and lists are `object_store`'s own.
#[derive(Debug, Clone)]
pub struct SyncedLocal {
    inner: LocalFileSystem,
    folder: PathBuf,
    staging: Arc<Staging>,
}

impl fmt::Display for SyncedLocal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}({})", self.folder.display())
    }
}

impl SyncedLocal {
    /// Opens a folder, making it when absent, and removes what dead processes left in its staging folder.
    ///
    /// # Errors
    /// [`StoreError::Folder`] when the folder cannot be made, read or locked.
    pub async fn open(folder: &FsPath) -> Result<Self, StoreError> {
        let asked = folder.to_owned();
        let failed = |source| StoreError::Folder {
            path: folder.to_owned(),
            source,
        };
        spawn_blocking(move || Self::open_blocking(&asked))
            .await
            .map_err(|error| failed(io::Error::other(error)))?
            .map_err(failed)
    }

    fn open_blocking(folder: &FsPath) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        if let Some(parent) = folder.parent() {
            sync_folder(parent)?;
        }
        Ok(Self {
            inner: LocalFileSystem::new_with_prefix(&folder).map_err(io::Error::other)?,
            staging: Arc::new(Staging::open(&folder)?),
            folder,
        })
    }

    /// The folder, absolute.
    #[must_use]
    pub fn folder(&self) -> &FsPath {
        &self.folder
    }

    fn target(&self, location: &Path) -> Result<PathBuf> {
        if is_staging(location) {
            return Err(Error::NotSupported {
                source: format!("'{location}' lies in the staging folder").into(),
            });
        }
        self.inner.path_to_filesystem(location)
    }
}

fn is_staging(location: &Path) -> bool {
    location
        .parts()
        .next()
        .is_some_and(|part| part.as_ref() == STAGING)
}

fn refuse_attributes(any: bool) -> Result<()> {
    if any {
        return Err(Error::NotImplemented {
            operation: "object attributes".into(),
            implementer: NAME.into(),
        });
    }
    Ok(())
}

fn failed(location: &Path, source: io::Error) -> Error {
    let path = location.to_string();
    match source.kind() {
        ErrorKind::AlreadyExists => Error::AlreadyExists {
            path,
            source: source.into(),
        },
        ErrorKind::NotFound => Error::NotFound {
            path,
            source: source.into(),
        },
        ErrorKind::PermissionDenied => Error::PermissionDenied {
            path,
            source: source.into(),
        },
        _ => Error::Generic {
            store: NAME,
            source: source.into(),
        },
    }
}

/// The tag that [`LocalFileSystem`] gives on reading the same file.
fn put_result(metadata: &Metadata) -> PutResult {
    let mtime = metadata
        .modified()
        .ok()
        .and_then(|at| at.duration_since(std::time::SystemTime::UNIX_EPOCH).ok())
        .unwrap_or_default()
        .as_micros();
    PutResult {
        e_tag: Some(format!("{:x}-{mtime:x}-{:x}", metadata.ino(), metadata.len())),
        version: None,
    }
}

fn write_durably(
    staging: &Staging,
    target: &FsPath,
    payload: &PutPayload,
    mode: &PutMode,
) -> io::Result<PutResult> {
    // The common conflict costs no sync; the link below decides.
    if matches!(mode, PutMode::Create) && target.try_exists()? {
        return Err(ErrorKind::AlreadyExists.into());
    }
    let (mut file, staged) = staging.file()?;
    let written = payload
        .iter()
        .try_for_each(|part| file.write_all(part))
        .and_then(|()| file.sync_all())
        .and_then(|()| file.metadata());
    let metadata = written.inspect_err(|_| {
        let _ = std::fs::remove_file(&staged);
    })?;
    match mode {
        PutMode::Create => staging.create(&staged, target)?,
        PutMode::Overwrite | PutMode::Update(_) => staging.replace(&staged, target)?,
    }
    Ok(put_result(&metadata))
}

#[async_trait]
impl ObjectStore for SyncedLocal {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) {
            return Err(Error::NotImplemented {
                operation: "`put_opts` with mode `PutMode::Update`".into(),
                implementer: NAME.into(),
            });
        }
        refuse_attributes(!opts.attributes.is_empty())?;
        let target = self.target(location)?;
        let staging = Arc::clone(&self.staging);
        spawn_blocking(move || write_durably(&staging, &target, &payload, &opts.mode))
            .await?
            .map_err(|error| failed(location, error))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        refuse_attributes(!opts.attributes.is_empty())?;
        let target = self.target(location)?;
        let staging = Arc::clone(&self.staging);
        let (file, staged) = spawn_blocking(move || staging.file())
            .await?
            .map_err(|error| failed(location, error))?;
        Ok(Box::new(StagedUpload {
            staging: Arc::clone(&self.staging),
            location: location.clone(),
            target,
            file: Arc::new(file),
            staged: Some(staged),
            offset: 0,
        }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner
            .list(prefix)
            .try_filter(|meta| ready(!is_staging(&meta.location)))
            .boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner
            .list_with_offset(prefix, offset)
            .try_filter(|meta| ready(!is_staging(&meta.location)))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.common_prefixes.retain(|prefix| !is_staging(prefix));
        listed.objects.retain(|meta| !is_staging(&meta.location));
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let source = self.target(from)?;
        let target = self.target(to)?;
        let staging = Arc::clone(&self.staging);
        spawn_blocking(move || {
            // The source was written by us, so its bytes are durable: a second name is a copy.
            let staged = staging.unused_name();
            std::fs::hard_link(&source, &staged)?;
            match options.mode {
                CopyMode::Create => staging.create(&staged, &target),
                CopyMode::Overwrite => staging.replace(&staged, &target),
            }
        })
        .await?
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => failed(from, error),
            _ => failed(to, error),
        })
    }
}

/// A multipart upload: parts land in a staged file, `complete` syncs it and gives it its name.
#[derive(Debug)]
struct StagedUpload {
    staging: Arc<Staging>,
    location: Path,
    target: PathBuf,
    file: Arc<File>,
    staged: Option<PathBuf>,
    offset: u64,
}

impl StagedUpload {
    fn take_staged(&mut self) -> Result<PathBuf> {
        self.staged.take().ok_or_else(|| Error::Generic {
            store: NAME,
            source: format!("the upload of '{}' is already over", self.location).into(),
        })
    }
}

#[async_trait]
impl MultipartUpload for StagedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let mut offset = self.offset;
        self.offset += data.content_length() as u64;
        let file = Arc::clone(&self.file);
        let location = self.location.clone();
        async move {
            spawn_blocking(move || {
                data.iter().try_for_each(|part| {
                    file.write_all_at(part, offset)?;
                    offset += part.len() as u64;
                    Ok(())
                })
            })
            .await?
            .map_err(|error| failed(&location, error))
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.take_staged()?;
        let (file, target) = (Arc::clone(&self.file), self.target.clone());
        let staging = Arc::clone(&self.staging);
        spawn_blocking(move || {
            file.sync_all()?;
            let metadata = file.metadata()?;
            staging.replace(&staged, &target)?;
            Ok(put_result(&metadata))
        })
        .await?
        .map_err(|error| failed(&self.location, error))
    }

    async fn abort(&mut self) -> Result<()> {
        let staged = self.take_staged()?;
        spawn_blocking(move || std::fs::remove_file(staged))
            .await?
            .map_err(|error| failed(&self.location, error))
    }
}

impl Drop for StagedUpload {
    fn drop(&mut self) {
        if let Some(staged) = self.staged.take() {
            let _ = std::fs::remove_file(staged);
        }
    }
}

#[cfg(test)]
mod tests;
