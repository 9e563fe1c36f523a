//! The on-disk format of a journal object: a fixed header, then an Arrow IPC stream.
//!
//! All numbers are little-endian:
//!
//! ```text
//! magic "RVGJRNL\n"  8   format version u16  2   flags u16 (bit 0: claim)  2   schema version u32  4
//! position u64       8   epoch u64           8   nonce u64                 8   written_at i64 (us) 8
//! covers u64         8   rows u64            8   body length u64           8
//! CRC32 of body u32  4   CRC32 of the 76 bytes before u32  4
//! body               one Arrow IPC stream, buffers compressed; absent in a claim
//! ```
//!
//! The header can be trusted without the body, so that a writer can tell its own torn object from another's.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    buffer::Buffer,
    compute::concat_batches,
    datatypes::SchemaRef,
    error::ArrowError,
    ipc::{
        CompressionType,
        reader::StreamDecoder,
        writer::{IpcWriteOptions, StreamWriter},
    },
};
use bytes::Bytes;
use revgauge_contract::{Position, Timestamp};

use crate::{Compression, JournalError};

/// Bytes of the header.
pub const HEADER_LEN: usize = 80;
/// First bytes of every object.
pub const MAGIC: [u8; 8] = *b"RVGJRNL\n";
/// The format version written.
pub const FORMAT_VERSION: u16 = 1;
const FLAG_CLAIM: u16 = 1;

/// What an object says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Whether the object only claims the journal for a new writer and holds no rows.
    pub claim: bool,
    /// Version of the rows' schema.
    pub schema_version: u32,
    /// Its number.
    pub position: Position,
    /// Epoch of the writer; each writer's is higher than all before (J-3).
    pub epoch: u64,
    /// Random number of this object, by which a writer knows its own (J-3).
    pub nonce: u64,
    /// When it was written; never falls within a journal.
    pub written_at: Timestamp,
    /// The event position it speaks up to; for events its own.
    pub covers: Position,
    /// Rows in the body.
    pub rows: u64,
}

/// An encoded body with its checksum.
#[derive(Debug, Clone)]
pub struct Body {
    bytes: Bytes,
    crc: u32,
}

impl Body {
    /// The body of an object without rows.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            bytes: Bytes::new(),
            crc: 0,
        }
    }

    /// Encodes a batch. Costs processor time: call it off the runtime's threads.
    ///
    /// # Errors
    /// [`JournalError::Encode`] when Arrow cannot write the batch.
    pub fn encode(batch: &RecordBatch, compression: Compression) -> Result<Self, JournalError> {
        let bytes = ipc_stream(batch, compression).map_err(|error| JournalError::Encode {
            attempt: "encode a journal object",
            reason: error.to_string(),
        })?;
        Ok(Self {
            crc: crc32fast::hash(&bytes),
            bytes: bytes.into(),
        })
    }

    /// The encoded bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

fn ipc_stream(batch: &RecordBatch, compression: Compression) -> Result<Vec<u8>, ArrowError> {
    let options = match compression {
        Compression::None => IpcWriteOptions::default(),
        Compression::Lz4 => {
            IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?
        }
        Compression::Zstd => IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::ZSTD))?
            .try_with_compression_level(Some(1))?,
    };
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), batch.schema_ref(), options)?;
    writer.write(batch)?;
    writer.into_inner()
}

impl Header {
    /// The header's bytes in front of a body.
    #[must_use]
    pub fn encode(&self, body: &Body) -> Bytes {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend(MAGIC);
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend(if self.claim { FLAG_CLAIM } else { 0 }.to_le_bytes());
        bytes.extend(self.schema_version.to_le_bytes());
        for number in [
            self.position.0,
            self.epoch,
            self.nonce,
            self.written_at.micros() as u64,
            self.covers.0,
            self.rows,
            body.bytes.len() as u64,
        ] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(body.crc.to_le_bytes());
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        bytes.into()
    }

    /// Reads and checks the header alone. `object` is the name for messages.
    ///
    /// # Errors
    /// [`JournalError::Corrupt`] or [`JournalError::TooNew`].
    pub fn decode(object: &str, bytes: &[u8]) -> Result<Self, JournalError> {
        Ok(Frame::decode(object, bytes)?.header)
    }
}

/// Header with what is needed to check the body.
struct Frame {
    header: Header,
    body_len: u64,
    body_crc: u32,
}

impl Frame {
    fn decode(object: &str, bytes: &[u8]) -> Result<Self, JournalError> {
        let corrupt = |reason: String| JournalError::corrupt(object, reason);
        let header = bytes.get(..HEADER_LEN).ok_or_else(|| {
            corrupt(format!(
                "it holds {} bytes, the header alone has {HEADER_LEN}",
                bytes.len()
            ))
        })?;
        if header[..8] != MAGIC {
            return Err(corrupt("it does not begin like a journal object".to_owned()));
        }
        if crc32fast::hash(&header[..76]) != u32_at(header, 76) {
            return Err(corrupt("the checksum of its header does not match".to_owned()));
        }
        let version = u16_at(header, 8);
        if version > FORMAT_VERSION {
            return Err(JournalError::TooNew {
                object: object.to_owned(),
                what: "format version",
                found: version.into(),
                known: FORMAT_VERSION.into(),
            });
        }
        Ok(Self {
            header: Header {
                claim: u16_at(header, 10) & FLAG_CLAIM != 0,
                schema_version: u32_at(header, 12),
                position: Position(u64_at(header, 16)),
                epoch: u64_at(header, 24),
                nonce: u64_at(header, 32),
                written_at: Timestamp(u64_at(header, 40) as i64),
                covers: Position(u64_at(header, 48)),
                rows: u64_at(header, 56),
            },
            body_len: u64_at(header, 64),
            body_crc: u32_at(header, 72),
        })
    }
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(take(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(take(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(take(bytes, at))
}

/// Reads and checks a whole object. Costs processor time: call it off the runtime's threads.
///
/// # Errors
/// [`JournalError::Corrupt`] for torn, altered or foreign bytes; [`JournalError::TooNew`] for a later format or schema.
pub fn decode(
    object: &str,
    bytes: &Bytes,
    schema: &SchemaRef,
    schema_version: u32,
) -> Result<(Header, RecordBatch), JournalError> {
    let frame = Frame::decode(object, bytes)?;
    let body = bytes.slice(HEADER_LEN..);
    if body.len() as u64 != frame.body_len {
        let reason = format!(
            "its body holds {} bytes of {}: it was torn",
            body.len(),
            frame.body_len
        );
        return Err(JournalError::corrupt(object, reason));
    }
    if crc32fast::hash(&body) != frame.body_crc {
        return Err(JournalError::corrupt(
            object,
            "the checksum of its body does not match",
        ));
    }
    let header = frame.header;
    if header.schema_version > schema_version {
        return Err(JournalError::TooNew {
            object: object.to_owned(),
            what: "schema version",
            found: header.schema_version,
            known: schema_version,
        });
    }
    let batch = decode_body(body, schema)
        .map_err(|error| JournalError::corrupt(object, format!("its rows cannot be read: {error}")))?;
    if batch.num_rows() as u64 != header.rows {
        let reason = format!(
            "it holds {} rows, its header says {}",
            batch.num_rows(),
            header.rows
        );
        return Err(JournalError::corrupt(object, reason));
    }
    Ok((header, batch))
}

fn decode_body(body: Bytes, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let mut batches = Vec::with_capacity(1);
    if !body.is_empty() {
        let mut buffer = Buffer::from(body);
        let mut decoder = StreamDecoder::new();
        while let Some(batch) = decoder.decode(&mut buffer)? {
            batches.push(batch);
        }
        decoder.finish()?;
    }
    let same = |batch: &RecordBatch| batch.schema_ref().fields() == schema.fields();
    if !batches.iter().all(same) {
        return Err(ArrowError::SchemaError(
            "the columns are not the journal's".to_owned(),
        ));
    }
    match batches.as_slice() {
        [] => Ok(RecordBatch::new_empty(Arc::clone(schema))),
        [one] => one.clone().with_schema(Arc::clone(schema)),
        many => concat_batches(schema, many),
    }
}

#[cfg(test)]
mod tests;
