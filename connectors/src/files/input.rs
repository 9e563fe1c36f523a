//! The files of an import: where they are, how large, and how their bytes are opened.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path as StorePath};
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

use super::{
    error::ImportError,
    mapping::Format,
    pattern::{stem, wild},
};

/// One file to import.
#[derive(Debug, Clone)]
pub struct Input {
    /// File name, by which mappings know it.
    pub name: String,
    /// Size in bytes, as stored (compressed).
    pub bytes: u64,
    location: Location,
}

#[derive(Debug, Clone)]
enum Location {
    Local(PathBuf),
    Store(Arc<dyn ObjectStore>, StorePath),
}

/// Files at a path: the file itself, the data files of a folder, or what a pattern (`*`, `?`) in the last part matches.
/// Sorted by name. Folders are not descended into.
///
/// # Errors
/// [`ImportError::NothingFound`], or what the disk met.
pub fn discover(path: &Path) -> Result<Vec<Input>, ImportError> {
    let asked = path.display().to_string();
    let read = |source| ImportError::Read {
        file: asked.clone(),
        source,
    };
    let last = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let mut found = Vec::new();
    if last.contains(['*', '?']) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        list(
            folder.unwrap_or(Path::new(".")),
            |name| wild(last.as_bytes(), name.as_bytes()),
            &mut found,
        )
        .map_err(read)?;
    } else if path.is_dir() {
        list(
            path,
            |name| stem(name) != name && !name.starts_with('.'),
            &mut found,
        )
        .map_err(read)?;
    } else {
        let bytes = std::fs::metadata(path).map_err(read)?.len();
        found.push(Input {
            name: last.to_owned(),
            bytes,
            location: Location::Local(path.to_owned()),
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if found.is_empty() {
        return Err(ImportError::NothingFound { asked });
    }
    Ok(found)
}

fn list(folder: &Path, wanted: impl Fn(&str) -> bool, found: &mut Vec<Input>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if metadata.is_file() && wanted(&name) {
            found.push(Input {
                name,
                bytes: metadata.len(),
                location: Location::Local(entry.path()),
            });
        }
    }
    Ok(())
}

/// As [`discover`] in an object store: an object, all data objects directly under a prefix, or a pattern.
///
/// # Errors
/// [`ImportError::NothingFound`], or what the store met.
pub async fn discover_in_store(store: &Arc<dyn ObjectStore>, path: &str) -> Result<Vec<Input>, ImportError> {
    let failed = |source| ImportError::Store {
        file: path.to_owned(),
        source,
    };
    let trimmed = path.trim_matches('/');
    let (folder, last) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    let pattern = last.contains(['*', '?']);
    if !pattern && !trimmed.is_empty() {
        match store.head(&StorePath::from(trimmed)).await {
            Ok(meta) => return Ok(vec![in_store(store, meta)]),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(source) => return Err(failed(source)),
        }
    }
    let prefix = StorePath::from(if pattern { folder } else { trimmed });
    let objects: Vec<ObjectMeta> = store.list(Some(&prefix)).try_collect().await.map_err(failed)?;
    let mut found: Vec<Input> = objects
        .into_iter()
        .filter(|meta| meta.location.parts_count() == prefix.parts_count() + 1)
        .map(|meta| in_store(store, meta))
        .filter(|input| {
            if pattern {
                wild(last.as_bytes(), input.name.as_bytes())
            } else {
                stem(&input.name) != input.name
            }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if found.is_empty() {
        return Err(ImportError::NothingFound {
            asked: path.to_owned(),
        });
    }
    Ok(found)
}

fn in_store(store: &Arc<dyn ObjectStore>, meta: ObjectMeta) -> Input {
    Input {
        name: meta.location.filename().unwrap_or_default().to_owned(),
        bytes: meta.size,
        location: Location::Store(Arc::clone(store), meta.location),
    }
}

impl Format {
    /// The format a name speaks of, compression left aside; CSV when it says nothing.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.to_lowercase();
        let bare = name
            .trim_end_matches(".gz")
            .trim_end_matches(".gzip")
            .trim_end_matches(".zst")
            .trim_end_matches(".zstd");
        match bare.rsplit_once('.').map(|(_, ending)| ending) {
            Some("tsv") => Self::Tsv,
            Some("ndjson" | "jsonl" | "json") => Self::Ndjson,
            Some("parquet") => Self::Parquet,
            Some("arrow" | "ipc") => Self::Arrow,
            _ => Self::Csv,
        }
    }
}

/// Opens inputs on a blocking thread and counts the bytes read.
#[derive(Debug, Clone)]
pub(crate) struct Opener {
    /// Drives object store requests; the thread that reads is a blocking one, as for tokio's own `SyncIoBridge`.
    pub(crate) runtime: Handle,
    pub(crate) read_ahead_bytes: u64,
    pub(crate) done: Arc<AtomicU64>,
}

impl Opener {
    /// The bytes of a file, decompressed when they begin like gzip or zstd.
    pub(crate) fn stream(&self, input: &Input) -> Result<Box<dyn BufRead + Send>, ImportError> {
        let failed = |source| ImportError::Read {
            file: input.name.clone(),
            source,
        };
        let bytes: Box<dyn Read + Send> = match &input.location {
            Location::Local(path) => Box::new(File::open(path).map_err(failed)?),
            Location::Store(..) => Box::new(self.object(input, 0)),
        };
        let counted = Counted {
            inner: bytes,
            done: Arc::clone(&self.done),
        };
        let mut reader = BufReader::with_capacity(256 * 1024, counted);
        let magic = reader.fill_buf().map_err(failed)?;
        let decoded: Box<dyn Read + Send> = if magic.starts_with(&[0x1f, 0x8b]) {
            Box::new(flate2::read::MultiGzDecoder::new(reader))
        } else if magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Box::new(zstd::stream::read::Decoder::with_buffer(reader).map_err(failed)?)
        } else {
            return Ok(Box::new(reader));
        };
        Ok(Box::new(BufReader::with_capacity(256 * 1024, decoded)))
    }

    /// The bytes of a file by range, for Parquet.
    pub(crate) fn chunks(&self, input: &Input) -> Result<Chunks, ImportError> {
        Ok(match &input.location {
            Location::Local(path) => Chunks::Local(File::open(path).map_err(|source| ImportError::Read {
                file: input.name.clone(),
                source,
            })?),
            Location::Store(..) => Chunks::Store(self.object(input, 0)),
        })
    }

    fn object(&self, input: &Input, at: u64) -> ObjectReader {
        ObjectReader {
            opener: self.clone(),
            input: input.clone(),
            at,
            buffer: Bytes::new(),
        }
    }
}

struct Counted<R> {
    inner: R,
    done: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.done.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// An object read front to back in ranges.
#[derive(Debug, Clone)]
pub(crate) struct ObjectReader {
    opener: Opener,
    input: Input,
    at: u64,
    buffer: Bytes,
}

impl ObjectReader {
    fn range(&self, start: u64, length: u64) -> io::Result<Bytes> {
        let Location::Store(store, path) = &self.input.location else {
            return Ok(Bytes::new());
        };
        let end = self.input.bytes.min(start.saturating_add(length));
        if start >= end {
            return Ok(Bytes::new());
        }
        self.opener
            .runtime
            .block_on(store.get_range(path, start..end))
            .map_err(io::Error::other)
    }
}

impl Read for ObjectReader {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer = self.range(self.at, self.opener.read_ahead_bytes)?;
            self.at += self.buffer.len() as u64;
        }
        let taken = self.buffer.split_to(target.len().min(self.buffer.len()));
        target[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// Random access for the Parquet reader.
#[derive(Debug)]
pub(crate) enum Chunks {
    Local(File),
    Store(ObjectReader),
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        match self {
            Self::Local(file) => Length::len(file),
            Self::Store(object) => object.input.bytes,
        }
    }
}

impl ChunkReader for Chunks {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(match self {
            Self::Local(file) => Box::new(ChunkReader::get_read(file, start)?),
            Self::Store(object) => Box::new(ObjectReader {
                at: start,
                buffer: Bytes::new(),
                ..object.clone()
            }),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        match self {
            Self::Local(file) => file.get_bytes(start, length),
            Self::Store(object) => object
                .range(start, length as u64)
                .map_err(|error| parquet::errors::ParquetError::External(Box::new(error))),
        }
    }
}
