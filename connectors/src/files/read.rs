//! Reads CSV, TSV, NDJSON, Parquet and Arrow files row by row (or batch by batch) in bounded memory.

use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{
    array::{Array, RecordBatch, StringArray, StringBuilder},
    buffer::Buffer,
    datatypes::Schema,
    ipc::reader::StreamDecoder,
    util::display::{ArrayFormatter, FormatOptions},
};
use csv::ByteRecord;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::{
    error::ImportError,
    import::ImportSettings,
    input::{Input, Opener},
    mapping::Format,
    rows::{Flow, Header, Raw, RowVisitor},
};

/// How a file is to be read.
#[derive(Debug, Clone)]
pub(crate) struct ReadAs {
    pub(crate) format: Format,
    pub(crate) delimiter: Option<u8>,
    pub(crate) header: Option<Vec<String>>,
}

/// Reads a file and hands each row to the visitor.
pub(crate) fn read(
    input: &Input,
    read_as: &ReadAs,
    opener: &Opener,
    settings: &ImportSettings,
    visitor: &mut dyn RowVisitor,
) -> Result<(), ImportError> {
    match read_as.format {
        Format::Csv | Format::Tsv => read_csv(input, read_as, opener, settings, visitor),
        Format::Ndjson => read_ndjson(input, opener, settings, visitor),
        Format::Parquet | Format::Arrow => {
            let mut lines = 0;
            let mut named = false;
            each_batch(input, read_as.format, opener, settings, &mut |batch| {
                if !named {
                    visitor.header(&Header::Named(&column_names(&batch.schema())))?;
                    named = true;
                }
                let columns = text_columns(batch).map_err(|error| broken(input, read_as.format, &error))?;
                for row in 0..batch.num_rows() {
                    lines += 1;
                    if visitor.row(lines, &Raw::Columns(&columns, row))? == Flow::Stop {
                        return Ok(Flow::Stop);
                    }
                }
                Ok(Flow::Continue)
            })
        }
    }
}

pub(crate) fn broken(input: &Input, format: Format, error: &dyn std::fmt::Display) -> ImportError {
    ImportError::Format {
        file: input.name.clone(),
        format: format.as_str(),
        message: error.to_string().trim_end_matches('.').to_owned(),
    }
}

fn column_names(schema: &Schema) -> Vec<String> {
    schema.fields().iter().map(|field| field.name().clone()).collect()
}

fn text_columns(batch: &RecordBatch) -> Result<Vec<StringArray>, arrow::error::ArrowError> {
    let options = FormatOptions::default();
    batch
        .columns()
        .iter()
        .map(|column| {
            let formatter = ArrayFormatter::try_new(column, &options)?;
            let mut texts = StringBuilder::new();
            for row in 0..column.len() {
                if column.is_null(row) {
                    texts.append_null();
                } else {
                    texts.append_value(formatter.value(row).try_to_string()?);
                }
            }
            Ok(texts.finish())
        })
        .collect()
}

/// Record batches of a Parquet or Arrow file, in order.
pub(crate) fn each_batch(
    input: &Input,
    format: Format,
    opener: &Opener,
    settings: &ImportSettings,
    take: &mut dyn FnMut(&RecordBatch) -> Result<Flow, ImportError>,
) -> Result<(), ImportError> {
    if format == Format::Arrow {
        return each_arrow_batch(input, opener, settings, take);
    }
    let fail = |error: &dyn std::fmt::Display| broken(input, format, error);
    let chunks = opener.chunks(input)?;
    let builder = guarded(input, format, || ParquetRecordBatchReaderBuilder::try_new(chunks))?
        .map_err(|error| fail(&error))?;
    let rows = builder
        .metadata()
        .file_metadata()
        .num_rows()
        .max(1)
        .unsigned_abs();
    let mut reader = guarded(input, format, || {
        builder.with_batch_size(settings.batch_rows).build()
    })?
    .map_err(|error| fail(&error))?;
    let before = opener.done.load(Ordering::Relaxed);
    let mut seen = 0;
    while let Some(batch) = guarded(input, format, || reader.next())? {
        let batch = batch.map_err(|error| fail(&error))?;
        seen += batch.num_rows() as u64;
        // Parquet is read by column and range; progress is told by the rows.
        let share = u128::from(input.bytes) * u128::from(seen) / u128::from(rows);
        opener.done.store(
            before + u64::try_from(share).unwrap_or(input.bytes),
            Ordering::Relaxed,
        );
        if take(&batch)? == Flow::Stop {
            break;
        }
    }
    Ok(())
}

/// Pushes bytes into the decoder rather than let it read: it would allocate what a damaged length field asks for.
fn each_arrow_batch(
    input: &Input,
    opener: &Opener,
    settings: &ImportSettings,
    take: &mut dyn FnMut(&RecordBatch) -> Result<Flow, ImportError>,
) -> Result<(), ImportError> {
    let failed = |source| ImportError::Read {
        file: input.name.clone(),
        source,
    };
    let fail = |error: &dyn std::fmt::Display| broken(input, Format::Arrow, error);
    let mut stream = opener.stream(input)?;
    skip_file_magic(&mut stream).map_err(failed)?;
    let mut decoder = StreamDecoder::new();
    loop {
        let mut chunk = Vec::new();
        (&mut stream)
            .take(ARROW_CHUNK)
            .read_to_end(&mut chunk)
            .map_err(failed)?;
        if chunk.is_empty() {
            return decoder.finish().map_err(|error| fail(&error));
        }
        let mut bytes = Buffer::from_vec(chunk);
        while !bytes.is_empty() {
            match guarded(input, Format::Arrow, || decoder.decode(&mut bytes))? {
                // A batch may hold far more rows than are handed on at once.
                Ok(Some(batch)) => {
                    for at in (0..batch.num_rows()).step_by(settings.batch_rows.max(1)) {
                        let rows = settings.batch_rows.max(1).min(batch.num_rows() - at);
                        if take(&batch.slice(at, rows))? == Flow::Stop {
                            return Ok(());
                        }
                    }
                }
                Ok(None) => {}
                // What follows the end of the stream is the footer of the file.
                Err(_) if decoder.finish().is_ok() => return Ok(()),
                Err(error) => return Err(fail(&error)),
            }
        }
    }
}

const ARROW_CHUNK: u64 = 1 << 20;

/// Runs a step of a decoder that panics on some damaged files; the import ends with the file's name instead.
fn guarded<T>(input: &Input, format: Format, step: impl FnOnce() -> T) -> Result<T, ImportError> {
    // The decoder is not used again after a panic.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(step))
        .map_err(|_| broken(input, format, &"it is damaged, its decoder gave up"))
}

/// An Arrow file is an Arrow stream between two magic words, the first padded with zeros to the writer's alignment;
/// the stream itself begins with 0xff.
fn skip_file_magic(stream: &mut dyn BufRead) -> io::Result<()> {
    if !stream.fill_buf()?.starts_with(b"ARROW1") {
        return Ok(());
    }
    stream.read_exact(&mut [0; 6])?;
    while stream.fill_buf()?.first() == Some(&0) {
        stream.consume(1);
    }
    Ok(())
}

/// Fails when one record grows past the limit: a quote that is never closed would swallow the file.
struct Bounded<R> {
    inner: R,
    since_record: Arc<AtomicU64>,
    limit: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        let total = self.since_record.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
        if total > self.limit {
            let message = "one row is longer than 'max_row_bytes'; is a quote not closed?";
            return Err(io::Error::other(message));
        }
        Ok(read)
    }
}

const CSV_BUFFER: usize = 64 * 1024;

fn read_csv(
    input: &Input,
    read_as: &ReadAs,
    opener: &Opener,
    settings: &ImportSettings,
    visitor: &mut dyn RowVisitor,
) -> Result<(), ImportError> {
    let mut stream = opener.stream(input)?;
    let failed = |source| ImportError::Read {
        file: input.name.clone(),
        source,
    };
    let delimiter = match read_as.delimiter {
        Some(delimiter) => delimiter,
        None if read_as.format == Format::Tsv => b'\t',
        None => sniff(stream.fill_buf().map_err(failed)?),
    };
    let since_record = Arc::new(AtomicU64::new(0));
    let bounded = Bounded {
        inner: stream,
        since_record: Arc::clone(&since_record),
        limit: settings.max_row_bytes + 2 * CSV_BUFFER as u64,
    };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(CSV_BUFFER)
        .from_reader(bounded);
    let mut record = ByteRecord::new();
    let names = match &read_as.header {
        Some(names) => names.clone(),
        None => {
            reader
                .read_byte_record(&mut record)
                .map_err(|error| broken(input, read_as.format, &error))?;
            header_names(&record)
        }
    };
    visitor.header(&Header::Named(&names))?;
    loop {
        since_record.store(0, Ordering::Relaxed);
        let line = reader.position().line();
        let more = reader
            .read_byte_record(&mut record)
            .map_err(|error| broken(input, read_as.format, &format!("line {line}: {error}")))?;
        if !more {
            return Ok(());
        }
        let line = record.position().map_or(line, csv::Position::line);
        let flow = match fault_of(&record, &names) {
            None => visitor.row(line, &Raw::Csv(&record))?,
            Some((column, message)) => visitor.bad(line, column, message, record.as_slice())?,
        };
        if flow == Flow::Stop {
            return Ok(());
        }
    }
}

fn header_names(record: &ByteRecord) -> Vec<String> {
    record
        .iter()
        .map(|name| {
            String::from_utf8_lossy(name)
                .trim_start_matches('\u{feff}')
                .trim()
                .to_owned()
        })
        .collect()
}

/// Why a record cannot be read, if it cannot.
fn fault_of(record: &ByteRecord, names: &[String]) -> Option<(Option<String>, String)> {
    let surplus = record.iter().skip(names.len()).any(|cell| !cell.is_empty());
    if record.len() < names.len() || surplus {
        let message = format!(
            "the row has {} fields, the header {}; is a delimiter or quote missing?",
            record.len(),
            names.len()
        );
        return Some((None, message));
    }
    let bad = record
        .iter()
        .position(|cell| std::str::from_utf8(cell).is_err())?;
    let message = "the field is not UTF-8 text; save the file as UTF-8".to_owned();
    Some((names.get(bad).cloned(), message))
}

/// The delimiter of a CSV file by its first line: a comma unless only others stand there.
fn sniff(start: &[u8]) -> u8 {
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |byte: u8| line.iter().filter(|other| **other == byte).count();
    [b',', b';', b'\t', b'|']
        .into_iter()
        .rev()
        .max_by_key(|byte| count(*byte))
        .filter(|byte| count(*byte) > 0)
        .unwrap_or(b',')
}

fn read_ndjson(
    input: &Input,
    opener: &Opener,
    settings: &ImportSettings,
    visitor: &mut dyn RowVisitor,
) -> Result<(), ImportError> {
    let failed = |source| ImportError::Read {
        file: input.name.clone(),
        source,
    };
    let mut stream = opener.stream(input)?;
    visitor.header(&Header::Free)?;
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let limit = settings.max_row_bytes;
        let read = (&mut stream)
            .take(limit + 1)
            .read_until(b'\n', &mut line)
            .map_err(failed)?;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        let flow = if line.len() as u64 > limit && line.last() != Some(&b'\n') {
            skip_line(&mut stream).map_err(failed)?;
            visitor.bad(
                number,
                None,
                format!("the line is longer than {limit} bytes"),
                &line[..1024.min(line.len())],
            )?
        } else if line.trim_ascii().is_empty() {
            Flow::Continue
        } else {
            match serde_json::from_slice::<Value>(&line) {
                Ok(Value::Object(object)) => visitor.row(number, &Raw::Json(&object))?,
                Ok(_) => visitor.bad(number, None, "the line is JSON but no object".to_owned(), &line)?,
                Err(error) => {
                    let message = format!("the line is no valid JSON at column {}: {error}", error.column());
                    visitor.bad(number, None, message, &line)?
                }
            }
        };
        if flow == Flow::Stop {
            return Ok(());
        }
    }
}

fn skip_line(stream: &mut dyn BufRead) -> io::Result<()> {
    loop {
        let chunk = stream.fill_buf()?;
        if chunk.is_empty() {
            return Ok(());
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(chunk.len(), |at| at + 1);
        stream.consume(length);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_are_found_in_the_first_line() {
        for (line, delimiter) in [
            ("a,b;c,d", b','),
            ("a;b;c\n,,,,", b';'),
            ("a\tb", b'\t'),
            ("alone", b','),
        ] {
            assert_eq!(sniff(line.as_bytes()), delimiter, "{line}");
        }
    }
}
