//! Rows of CSV, TSV, NDJSON, Parquet and Arrow files under one roof: cells as text, by column.

use std::{
    borrow::Cow,
    collections::HashMap,
    io::{self, BufRead, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::{
    array::{Array, RecordBatch, StringArray, StringBuilder},
    datatypes::Schema,
    util::display::{ArrayFormatter, FormatOptions},
};
use csv::ByteRecord;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};

use super::{
    error::ImportError,
    import::ImportSettings,
    input::{Input, Opener},
    mapping::{Format, nearest},
};

/// The columns of a file.
pub(crate) enum Header<'a> {
    /// Named once for all rows.
    Named(&'a [String]),
    /// Each row names its own (NDJSON).
    Free,
}

/// One row.
pub(crate) enum Raw<'a> {
    /// A CSV record.
    Csv(&'a ByteRecord),
    /// A JSON object.
    Json(&'a Map<String, Value>),
    /// A row of columns turned to text.
    Columns(&'a [StringArray], usize),
}

/// Where a column of the mapping is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Nowhere in this file.
    Missing,
    /// At a place of the header.
    At(usize),
    /// By name in each row.
    Named(String),
    /// The line number.
    Line,
    /// The file name.
    File,
}

/// Whether to go on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    Stop,
}

/// What is done with the rows.
pub(crate) trait RowVisitor {
    /// Called once a file, before its rows.
    fn header(&mut self, header: &Header<'_>) -> Result<(), ImportError>;
    /// A readable row.
    fn row(&mut self, line: u64, raw: &Raw<'_>) -> Result<Flow, ImportError>;
    /// A row that cannot be read at all.
    fn bad(&mut self, line: u64, column: Option<String>, message: String, body: &[u8]) -> Result<Flow, ImportError>;
}

/// How a file is to be read.
#[derive(Debug, Clone)]
pub(crate) struct ReadAs {
    pub(crate) format: Format,
    pub(crate) delimiter: Option<u8>,
    pub(crate) header: Option<Vec<String>>,
}

impl Raw<'_> {
    /// The trimmed text of a cell; `None` when it is absent, null or empty.
    pub(crate) fn cell(&self, slot: &Slot, line: u64, file: &str) -> Option<Cow<'_, str>> {
        let text = match (self, slot) {
            (_, Slot::Missing) => return None,
            (_, Slot::Line) => return Some(Cow::Owned(line.to_string())),
            (_, Slot::File) => return Some(Cow::Owned(file.to_owned())),
            (Raw::Csv(record), Slot::At(at)) => Cow::Borrowed(std::str::from_utf8(record.get(*at)?).ok()?),
            (Raw::Columns(columns, row), Slot::At(at)) => {
                let column = columns.get(*at)?;
                if column.is_null(*row) {
                    return None;
                }
                Cow::Borrowed(column.value(*row))
            }
            (Raw::Json(object), Slot::Named(name)) => json_text(json_field(object, name)?)?,
            _ => return None,
        };
        let text = match text {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        };
        (!text.is_empty()).then_some(text)
    }

    /// The row as JSON for the dead letters.
    pub(crate) fn body(&self, header: &[String]) -> String {
        let mut object = Map::new();
        match self {
            Raw::Json(map) => return Value::Object((*map).clone()).to_string(),
            Raw::Csv(_) | Raw::Columns(..) => {
                for (at, name) in header.iter().enumerate() {
                    if let Some(text) = self.cell(&Slot::At(at), 0, "") {
                        object.insert(name.clone(), Value::String(text.into_owned()));
                    }
                }
            }
        }
        Value::Object(object).to_string()
    }
}

fn json_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(Cow::Borrowed(text)),
        other => Some(Cow::Owned(other.to_string())),
    }
}

/// A field by its name, by a path (`properties.amount`), or by a name written otherwise (`Close Date`).
fn json_field<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = object.get(name) {
        return Some(value);
    }
    if let Some((head, tail)) = name.split_once('.')
        && let Some(Value::Object(inner)) = object.get(head)
    {
        return json_field(inner, tail);
    }
    let plain = plain_name(name);
    object.iter().find(|(key, _)| plain_name(key) == plain).map(|(_, value)| value)
}

/// Letters and digits in lower case: `AccountId`, `account_id` and `Account ID` are one column.
pub(crate) fn plain_name(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Finds the mapping's columns in a header.
pub(crate) fn bind(
    header: &Header<'_>,
    columns: &[String],
    needed: &[Vec<usize>],
    file: &str,
    line: usize,
) -> Result<Vec<Slot>, ImportError> {
    let Header::Named(names) = header else {
        return Ok(columns
            .iter()
            .map(|name| own_slot(name).unwrap_or_else(|| Slot::Named(name.clone())))
            .collect());
    };
    let mut exact = HashMap::new();
    let mut plain = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        exact.entry(name.as_str()).or_insert(at);
        plain.entry(plain_name(name)).or_insert(at);
    }
    let slots: Vec<Slot> = columns
        .iter()
        .map(|name| {
            own_slot(name).unwrap_or_else(|| {
                exact
                    .get(name.as_str())
                    .or_else(|| plain.get(&plain_name(name)))
                    .map_or(Slot::Missing, |at| Slot::At(*at))
            })
        })
        .collect();
    for group in needed {
        // Columns of `each` are filled later and carry a dot.
        let given = |at: &usize| slots[*at] != Slot::Missing || columns[*at].contains('.');
        if !group.iter().any(given) {
            let column = columns[group[0]].clone();
            return Err(ImportError::MissingColumn {
                file: file.to_owned(),
                suggestion: nearest(&column, names.iter().map(String::as_str)),
                column,
                line,
                present: names.iter().take(12).cloned().collect::<Vec<_>>().join(", "),
            });
        }
    }
    Ok(slots)
}

fn own_slot(name: &str) -> Option<Slot> {
    match name {
        "_line" => Some(Slot::Line),
        "_file" => Some(Slot::File),
        _ => None,
    }
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
        let mut stream = opener.stream(input)?;
        skip_file_magic(&mut stream).map_err(|source| ImportError::Read { file: input.name.clone(), source })?;
        let reader = arrow::ipc::reader::StreamReader::try_new(stream, None)
            .map_err(|error| broken(input, format, &error))?;
        for batch in reader {
            if take(&batch.map_err(|error| broken(input, format, &error))?)? == Flow::Stop {
                break;
            }
        }
        return Ok(());
    }
    let fail = |error: &dyn std::fmt::Display| broken(input, format, error);
    let builder = ParquetRecordBatchReaderBuilder::try_new(opener.chunks(input)?).map_err(|error| fail(&error))?;
    let rows = builder.metadata().file_metadata().num_rows().max(1).unsigned_abs();
    let reader = builder
        .with_batch_size(settings.batch_rows)
        .build()
        .map_err(|error| fail(&error))?;
    let before = opener.done.load(Ordering::Relaxed);
    let mut seen = 0;
    for batch in reader {
        let batch = batch.map_err(|error| fail(&error))?;
        seen += batch.num_rows() as u64;
        // Parquet is read by column and range; progress is told by the rows.
        let share = u128::from(input.bytes) * u128::from(seen) / u128::from(rows);
        opener
            .done
            .store(before + u64::try_from(share).unwrap_or(input.bytes), Ordering::Relaxed);
        if take(&batch)? == Flow::Stop {
            break;
        }
    }
    Ok(())
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
    let failed = |source| ImportError::Read { file: input.name.clone(), source };
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
        .map(|name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_owned())
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
    let bad = record.iter().position(|cell| std::str::from_utf8(cell).is_err())?;
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
    let failed = |source| ImportError::Read { file: input.name.clone(), source };
    let mut stream = opener.stream(input)?;
    visitor.header(&Header::Free)?;
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let limit = settings.max_row_bytes;
        let read = (&mut stream).take(limit + 1).read_until(b'\n', &mut line).map_err(failed)?;
        if read == 0 {
            return Ok(());
        }
        number += 1;
        let flow = if line.len() as u64 > limit && line.last() != Some(&b'\n') {
            skip_line(&mut stream).map_err(failed)?;
            visitor.bad(number, None, format!("the line is longer than {limit} bytes"), &line[..1024.min(line.len())])?
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
        for (line, delimiter) in [("a,b;c,d", b','), ("a;b;c\n,,,,", b';'), ("a\tb", b'\t'), ("alone", b',')] {
            assert_eq!(sniff(line.as_bytes()), delimiter, "{line}");
        }
    }

    #[test]
    fn columns_are_found_however_they_are_written() {
        let names = ["Account ID".to_owned(), "StageName".to_owned()];
        let columns = ["account_id".to_owned(), "stage_name".to_owned(), "_line".to_owned(), "amount".to_owned()];
        let slots = bind(&Header::Named(&names), &columns, &[], "f", 1).expect("bound");
        assert_eq!(slots, [Slot::At(0), Slot::At(1), Slot::Line, Slot::Missing]);
        let error = bind(&Header::Named(&names), &["stage_nme".to_owned()], &[vec![0]], "f.csv", 3).expect_err("missing");
        assert_eq!(
            error.to_string(),
            "column 'stage_nme' (mapping line 3) is not in 'f.csv', which has: Account ID, StageName; did you mean 'StageName'?"
        );
    }

    #[test]
    fn json_fields_are_found_by_path() {
        let object: Map<String, Value> =
            serde_json::from_str(r#"{"id":7,"properties":{"Close Date":"x"}}"#).expect("json");
        let raw = Raw::Json(&object);
        let cell = |name: &str| raw.cell(&Slot::Named(name.to_owned()), 1, "f").map(Cow::into_owned);
        assert_eq!(cell("id").as_deref(), Some("7"));
        assert_eq!(cell("properties.close_date").as_deref(), Some("x"));
        assert_eq!(cell("properties.none"), None);
    }
}
