//! `COPY (select) TO STDOUT`: text, CSV and binary. Files, programs and the other direction are refused.

use datafusion::sql::sqlparser::ast::{self, CopyLegacyOption, CopyOption, CopySource, CopyTarget};
use pgwire::{
    error::{PgWireError, PgWireResult},
    messages::{copy::CopyData, data::DataRow},
};

use super::sqlstate;

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CopyFormat {
    Text {
        delimiter: char,
        null: String,
    },
    Csv {
        delimiter: char,
        null: String,
        quote: char,
        header: bool,
    },
    Binary,
}

/// The query behind a `COPY`, and its format.
pub(super) fn plan(statement: &ast::Statement) -> PgWireResult<(ast::Statement, CopyFormat)> {
    let ast::Statement::Copy {
        source,
        to,
        target,
        options,
        legacy_options,
        ..
    } = statement
    else {
        return Err(sqlstate::error("XX000", "this is no COPY"));
    };
    if !to {
        return Err(sqlstate::error(
            "25006",
            "cannot run COPY FROM: this door only reads",
        ));
    }
    if !matches!(target, CopyTarget::Stdout) {
        return Err(sqlstate::error(
            "42501",
            "cannot copy to a file or program of the server: use COPY (select ...) TO STDOUT, or \\copy in psql",
        ));
    }
    let query = match source {
        CopySource::Query(query) => ast::Statement::Query(query.clone()),
        CopySource::Table { table_name, columns } => select(table_name, columns)?,
    };
    Ok((query, format_of(options, legacy_options)?))
}

fn select(table: &ast::ObjectName, columns: &[ast::Ident]) -> PgWireResult<ast::Statement> {
    let listed: Vec<String> = columns.iter().map(ToString::to_string).collect();
    let listed = if listed.is_empty() {
        "*".to_owned()
    } else {
        listed.join(", ")
    };
    let text = format!("SELECT {listed} FROM {table}");
    let dialect = datafusion::sql::sqlparser::dialect::PostgreSqlDialect {};
    datafusion::sql::sqlparser::parser::Parser::parse_sql(&dialect, &text)
        .ok()
        .and_then(|mut parsed| parsed.pop())
        .ok_or_else(|| {
            sqlstate::error(
                sqlstate::SYNTAX,
                format!("cannot read the table name of COPY {table}"),
            )
        })
}

fn format_of(options: &[CopyOption], legacy: &[CopyLegacyOption]) -> PgWireResult<CopyFormat> {
    let mut name = "text".to_owned();
    let (mut delimiter, mut null, mut quote, mut header) = (None, None, '"', false);
    for option in options {
        match option {
            CopyOption::Format(format) => name = format.value.to_lowercase(),
            CopyOption::Delimiter(one) => delimiter = Some(*one),
            CopyOption::Null(text) => null = Some(text.clone()),
            CopyOption::Header(on) => header = *on,
            CopyOption::Quote(one) => quote = *one,
            CopyOption::Encoding(encoding) if encoding.eq_ignore_ascii_case("utf8") => {}
            other => return Err(unsupported(&other.to_string())),
        }
    }
    for option in legacy {
        match option {
            CopyLegacyOption::Binary => "binary".clone_into(&mut name),
            CopyLegacyOption::Delimiter(one) => delimiter = Some(*one),
            CopyLegacyOption::Null(text) => null = Some(text.clone()),
            CopyLegacyOption::Csv(parts) => {
                "csv".clone_into(&mut name);
                header |= parts
                    .iter()
                    .any(|part| matches!(part, ast::CopyLegacyCsvOption::Header));
            }
            other => return Err(unsupported(&other.to_string())),
        }
    }
    match name.as_str() {
        "text" => Ok(CopyFormat::Text {
            delimiter: delimiter.unwrap_or('\t'),
            null: null.unwrap_or_else(|| "\\N".to_owned()),
        }),
        "csv" => Ok(CopyFormat::Csv {
            delimiter: delimiter.unwrap_or(','),
            null: null.unwrap_or_default(),
            quote,
            header,
        }),
        "binary" => Ok(CopyFormat::Binary),
        other => Err(sqlstate::error(
            sqlstate::BAD_VALUE,
            format!("COPY format \"{other}\" not recognized: use text, csv or binary"),
        )),
    }
}

fn unsupported(option: &str) -> PgWireError {
    sqlstate::error(
        sqlstate::NOT_SUPPORTED,
        format!("COPY option {option} is not supported: use FORMAT, DELIMITER, NULL, HEADER or QUOTE"),
    )
}

impl CopyFormat {
    /// What comes before the first row.
    pub(super) fn prologue(&self, names: &[String]) -> Option<CopyData> {
        match self {
            Self::Csv { header: true, .. } => {
                let values: Vec<Option<&[u8]>> = names.iter().map(|name| Some(name.as_bytes())).collect();
                Some(CopyData::new(self.line(&values).into()))
            }
            Self::Binary => {
                let mut bytes = b"PGCOPY\n\xff\r\n\0".to_vec();
                bytes.extend([0_u8; 8]);
                Some(CopyData::new(bytes.into()))
            }
            Self::Csv { .. } | Self::Text { .. } => None,
        }
    }

    /// What comes after the last row.
    pub(super) fn epilogue(&self) -> Option<CopyData> {
        (*self == Self::Binary).then(|| CopyData::new((-1_i16).to_be_bytes().to_vec().into()))
    }

    /// One row. The row is in text form, for `Binary` in binary form.
    pub(super) fn row(&self, row: &DataRow) -> CopyData {
        if *self == Self::Binary {
            let mut bytes = row.field_count.to_be_bytes().to_vec();
            bytes.extend_from_slice(&row.data);
            return CopyData::new(bytes.into());
        }
        CopyData::new(self.line(&values_of(&row.data)).into())
    }

    fn line(&self, values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut line = Vec::new();
        let mut utf8 = [0_u8; 4];
        for (index, value) in values.iter().enumerate() {
            let (Self::Text { delimiter, null } | Self::Csv { delimiter, null, .. }) = self else {
                return line;
            };
            if index > 0 {
                line.extend_from_slice(delimiter.encode_utf8(&mut utf8).as_bytes());
            }
            match (value, self) {
                (None, _) => line.extend_from_slice(null.as_bytes()),
                (Some(value), Self::Csv { quote, .. }) => quoted(&mut line, value, *delimiter, *quote, null),
                (Some(value), _) => escaped(&mut line, value, *delimiter),
            }
        }
        line.push(b'\n');
        line
    }
}

/// The values of a row: each a length, or -1 for NULL, and that many bytes.
fn values_of(mut data: &[u8]) -> Vec<Option<&[u8]>> {
    let mut values = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<4>() {
        match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) if length <= rest.len() => {
                let (value, after) = rest.split_at(length);
                values.push(Some(value));
                data = after;
            }
            _ => {
                values.push(None);
                data = rest;
            }
        }
    }
    values
}

fn escaped(line: &mut Vec<u8>, value: &[u8], delimiter: char) {
    for byte in value {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b'\n' => line.extend_from_slice(b"\\n"),
            b'\r' => line.extend_from_slice(b"\\r"),
            b'\t' => line.extend_from_slice(b"\\t"),
            other => {
                if char::from(*other) == delimiter && other.is_ascii() {
                    line.push(b'\\');
                }
                line.push(*other);
            }
        }
    }
}

fn quoted(line: &mut Vec<u8>, value: &[u8], delimiter: char, quote: char, null: &str) {
    let special = |byte: &u8| {
        let one = char::from(*byte);
        matches!(byte, b'\n' | b'\r') || (byte.is_ascii() && (one == delimiter || one == quote))
    };
    let plain = !value.iter().any(special) && value != null.as_bytes() && value != b"\\.";
    if plain {
        line.extend_from_slice(value);
        return;
    }
    let mut utf8 = [0_u8; 4];
    let mark = quote.encode_utf8(&mut utf8).as_bytes().to_vec();
    line.extend_from_slice(&mark);
    for byte in value {
        if byte.is_ascii() && char::from(*byte) == quote {
            line.extend_from_slice(&mark);
        }
        line.push(*byte);
    }
    line.extend_from_slice(&mark);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Option<&str>]) -> DataRow {
        let mut data = Vec::new();
        for value in values {
            match value {
                None => data.extend((-1_i32).to_be_bytes()),
                Some(text) => {
                    data.extend(i32::try_from(text.len()).expect("short").to_be_bytes());
                    data.extend(text.as_bytes());
                }
            }
        }
        DataRow::new(data.as_slice().into(), i16::try_from(values.len()).expect("few"))
    }

    fn statement(text: &str) -> ast::Statement {
        let dialect = datafusion::sql::sqlparser::dialect::PostgreSqlDialect {};
        datafusion::sql::sqlparser::parser::Parser::parse_sql(&dialect, text)
            .expect("SQL")
            .remove(0)
    }

    #[test]
    fn rows_as_postgres_writes_them() {
        let values = row(&[Some("a,b"), None, Some(""), Some("say \"x\"\n"), Some("tab\t\\")]);
        for (copy, expected) in [
            (
                "COPY (select 1) TO STDOUT",
                "a,b\t\\N\t\tsay \"x\"\\n\ttab\\t\\\\\n",
            ),
            (
                "COPY (select 1) TO STDOUT WITH (FORMAT csv)",
                "\"a,b\",,\"\",\"say \"\"x\"\"\n\",tab\t\\\n",
            ),
            (
                "COPY (select 1) TO STDOUT WITH (FORMAT csv, DELIMITER ';', NULL 'none')",
                "a,b;none;;\"say \"\"x\"\"\n\";tab\t\\\n",
            ),
        ] {
            let (_, format) = plan(&statement(copy)).expect("a copy");
            let written = format.row(&values);
            assert_eq!(String::from_utf8_lossy(&written.data), expected, "{copy}");
        }
    }

    #[test]
    fn only_to_the_client() {
        for (copy, state) in [
            ("COPY deals FROM STDIN", "25006"),
            ("COPY (select 1) TO '/tmp/x'", "42501"),
            ("COPY (select 1) TO PROGRAM 'cat'", "42501"),
        ] {
            let Err(PgWireError::UserError(info)) = plan(&statement(copy)) else {
                panic!("{copy} was not refused");
            };
            assert_eq!(info.code, state, "{copy}");
        }
    }
}
