//! The on-disk form of checkpoint objects: magic, version, body, checksum.
//!
//! ```text
//! 8 bytes  "RGSTATE1" for parts, "RGCHECK1" for manifests, "RGSCORE1" for layer 2 (the digit is the version)
//! 8 bytes  length of the body, little endian
//! body     part: Arrow IPC stream, LZ4 frames; manifest: JSON
//! 4 bytes  CRC-32 of everything before, little endian
//! ```

use std::io::Cursor;

use arrow::{
    array::RecordBatch,
    ipc::{
        CompressionType,
        reader::StreamReader,
        writer::{IpcWriteOptions, StreamWriter},
    },
};

use super::Manifest;

const PART: [u8; 8] = *b"RGSTATE1";
const MANIFEST: [u8; 8] = *b"RGCHECK1";
/// What this program writes, and the highest that it reads.
const VERSION: u8 = b'1';
const COMPANION: [u8; 8] = *b"RGSCORE1";
const HEAD: usize = 16;
const TAIL: usize = 4;

fn seal(magic: [u8; 8], body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + body.len() + TAIL);
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(body);
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn open(magic: [u8; 8], bytes: &[u8]) -> Result<&[u8], String> {
    if bytes.len() < HEAD + TAIL {
        return Err(format!("it is cut off at {} bytes", bytes.len()));
    }
    let (sealed, checksum) = bytes.split_at(bytes.len() - TAIL);
    if sealed[..7] != magic[..7] {
        return Err("it is of another kind".to_owned());
    }
    if sealed[7] > VERSION {
        return Err(format!(
            "it has format version {}, this program reads up to {}",
            char::from(sealed[7]),
            char::from(VERSION)
        ));
    }
    if sealed[7] != magic[7] {
        return Err("its format version is none that was ever written".to_owned());
    }
    let mut len = [0; 8];
    len.copy_from_slice(&sealed[8..HEAD]);
    let body = &sealed[HEAD..];
    if u64::from_le_bytes(len) != body.len() as u64 {
        return Err(format!(
            "its body has {} bytes instead of {}",
            body.len(),
            u64::from_le_bytes(len)
        ));
    }
    if crc32fast::hash(sealed).to_le_bytes() != checksum {
        return Err("its checksum does not match".to_owned());
    }
    Ok(body)
}

pub(super) fn seal_part(batches: &[RecordBatch]) -> Result<Vec<u8>, String> {
    let text = |error: arrow::error::ArrowError| error.to_string();
    let first = batches.first().ok_or("a part needs rows")?;
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(CompressionType::LZ4_FRAME))
        .map_err(text)?;
    let mut writer =
        StreamWriter::try_new_with_options(Vec::new(), &first.schema(), options).map_err(text)?;
    for batch in batches {
        writer.write(batch).map_err(text)?;
    }
    Ok(seal(PART, &writer.into_inner().map_err(text)?))
}

pub(super) fn open_part(bytes: &[u8]) -> Result<Vec<RecordBatch>, String> {
    let text = |error: arrow::error::ArrowError| error.to_string();
    let reader = StreamReader::try_new(Cursor::new(open(PART, bytes)?), None).map_err(text)?;
    reader.collect::<Result<_, _>>().map_err(text)
}

pub(super) fn seal_manifest(manifest: &Manifest) -> Result<Vec<u8>, String> {
    let body = serde_json::to_vec_pretty(manifest).map_err(|error| error.to_string())?;
    Ok(seal(MANIFEST, &body))
}

pub(super) fn open_manifest(bytes: &[u8]) -> Result<Manifest, String> {
    serde_json::from_slice(open(MANIFEST, bytes)?).map_err(|error| error.to_string())
}

pub(super) fn seal_companion(body: &[u8]) -> Vec<u8> {
    seal(COMPANION, body)
}

pub(super) fn open_companion(bytes: &[u8]) -> Result<&[u8], String> {
    open(COMPANION, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_flipped_or_missing_byte_is_seen() {
        let sealed = seal(PART, b"state of groups");
        assert_eq!(open(PART, &sealed), Ok(b"state of groups".as_slice()));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 0x10;
            assert!(open(PART, &damaged).is_err(), "byte {at}");
            assert!(open(PART, &sealed[..at]).is_err(), "cut at {at}");
        }
        assert!(open(MANIFEST, &sealed).is_err());
    }

    #[test]
    fn a_later_version_is_named() {
        let sealed = seal(*b"RGSTATE7", b"state of groups");
        let error = open(PART, &sealed).expect_err("refused");
        assert!(error.contains("format version 7"), "{error}");
    }
}
