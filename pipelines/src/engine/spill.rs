//! Cold state on local disk (P-3): one Arrow IPC file a chunk, read back a block of rows at a time.
//!
//! The files are a swap space, not a record: they are made anew after each start and go with their chunk.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{
    array::{ArrayRef, RecordBatch},
    buffer::Buffer,
    datatypes::{Field, Schema, SchemaRef},
    ipc::{
        Block, MetadataVersion,
        reader::{FileDecoder, read_footer_length},
        root_as_footer,
        writer::FileWriter,
    },
};

use crate::error::PipelineError;

/// Rows of a block: what one touched cold group costs to read.
const BLOCK_ROWS: usize = 256;

const PREFIX: &str = "revgauge-spill-";

/// Removes the folders of processes that were killed. What cannot be removed or judged stays: it only costs disk.
fn remove_abandoned(parent: &Path) {
    if !Path::new("/proc/self").try_exists().unwrap_or(false) {
        return;
    }
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if let Some(process) = process
            && !Path::new(&format!("/proc/{process}"))
                .try_exists()
                .unwrap_or(true)
        {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// The folder of spilled chunks of one runtime; removed with it.
#[derive(Debug)]
pub(crate) struct SpillFolder {
    path: PathBuf,
    next: AtomicU64,
}

fn failed(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PipelineError {
    let path = path.display().to_string();
    move |source| PipelineError::Spill { doing, path, source }
}

impl SpillFolder {
    /// Makes the folder, empty. `distinct` keeps the folders of several runtimes of one process apart.
    pub(crate) fn create(configured: Option<&Path>, distinct: u64) -> Result<Arc<Self>, PipelineError> {
        let parent = configured.map_or_else(std::env::temp_dir, Path::to_path_buf);
        remove_abandoned(&parent);
        let path = parent.join(format!("{PREFIX}{}-{distinct}", std::process::id()));
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed("create", &path)(error));
            }
            _ => {}
        }
        std::fs::create_dir_all(&path).map_err(failed("create", &path))?;
        Ok(Arc::new(Self {
            path,
            next: AtomicU64::new(0),
        }))
    }

    pub(super) fn write(self: &Arc<Self>, columns: &[ArrayRef]) -> Result<SpilledChunk, PipelineError> {
        let path = self
            .path
            .join(format!("{}.arrow", self.next.fetch_add(1, Ordering::Relaxed)));
        let file = SpillFile {
            path,
            _folder: Arc::clone(self),
        };
        SpilledChunk::write(file, columns)
    }
}

impl Drop for SpillFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "spill folder was not removed");
        }
    }
}

#[derive(Debug)]
struct SpillFile {
    path: PathBuf,
    _folder: Arc<SpillFolder>,
}

impl Drop for SpillFile {
    fn drop(&mut self) {
        // The folder goes with the runtime; a file that stays until then only costs disk.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A chunk on disk.
#[derive(Debug)]
pub(super) struct SpilledChunk {
    file: SpillFile,
    schema: SchemaRef,
    version: MetadataVersion,
    blocks: Vec<Block>,
    bytes: usize,
}

impl SpilledChunk {
    fn write(file: SpillFile, columns: &[ArrayRef]) -> Result<Self, PipelineError> {
        let arrow =
            |error: arrow::error::ArrowError| failed("write", &file.path)(std::io::Error::other(error));
        let fields: Vec<Field> = columns
            .iter()
            .enumerate()
            .map(|(at, column)| Field::new(format!("c{at}"), column.data_type().clone(), true))
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns.to_vec()).map_err(arrow)?;
        let mut writer = FileWriter::try_new(Vec::new(), &schema).map_err(arrow)?;
        for start in (0..batch.num_rows()).step_by(BLOCK_ROWS) {
            let rows = BLOCK_ROWS.min(batch.num_rows() - start);
            writer.write(&batch.slice(start, rows)).map_err(arrow)?;
        }
        let bytes = writer.into_inner().map_err(arrow)?;
        std::fs::write(&file.path, &bytes).map_err(failed("write", &file.path))?;
        let (version, blocks) = footer(&bytes).map_err(arrow)?;
        Ok(Self {
            file,
            schema,
            version,
            blocks,
            bytes: bytes.len(),
        })
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) const fn blocks(&self) -> usize {
        self.blocks.len()
    }

    pub(super) const fn block_of(&self, row: usize) -> (usize, usize) {
        (row / BLOCK_ROWS, row % BLOCK_ROWS)
    }

    pub(super) fn read(&self, block: usize) -> Result<Vec<ArrayRef>, PipelineError> {
        let place = &self.blocks[block];
        let len = place.bodyLength() as usize + place.metaDataLength() as usize;
        let mut bytes = vec![0; len];
        // Opened for each block: a large state has more chunks than a process may have files open.
        File::open(&self.file.path)
            .map_err(failed("read", &self.file.path))?
            .read_exact_at(&mut bytes, place.offset() as u64)
            .map_err(failed("read", &self.file.path))?;
        let decoder = FileDecoder::new(Arc::clone(&self.schema), self.version);
        let batch = decoder
            .read_record_batch(place, &Buffer::from(bytes))
            .map_err(|error| failed("read", &self.file.path)(std::io::Error::other(error)))?;
        batch.map(|batch| batch.columns().to_vec()).ok_or_else(|| {
            failed("read", &self.file.path)(std::io::Error::other("the block holds no record batch"))
        })
    }
}

fn footer(bytes: &[u8]) -> Result<(MetadataVersion, Vec<Block>), arrow::error::ArrowError> {
    let parse = |message: &str| arrow::error::ArrowError::ParseError(message.to_owned());
    let mut tail = [0; 10];
    let mut end = bytes.get(bytes.len().saturating_sub(10)..).unwrap_or_default();
    end.read_exact(&mut tail)?;
    let len = read_footer_length(tail)?;
    let start = bytes
        .len()
        .checked_sub(10 + len)
        .ok_or_else(|| parse("footer too long"))?;
    let footer =
        root_as_footer(&bytes[start..bytes.len() - 10]).map_err(|error| parse(&error.to_string()))?;
    let blocks = footer.recordBatches().ok_or_else(|| parse("no record batches"))?;
    Ok((footer.version(), blocks.iter().copied().collect()))
}
