//! The columnar lane: batches that already are our events are checked by the column and passed on whole.
//!
//! A row is *clean* when `EventDraft::accept` would give the same event; the check allocates nothing and remembers
//! types and hosts it has judged. Rows that are not clean take the ordinary way, one by one, so this lane is only ever
//! faster, never more lenient.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use arrow::{
    array::{
        Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, StringViewArray,
        TimestampMicrosecondArray, new_null_array,
    },
    compute::{cast, filter_record_batch},
    datatypes::{DataType, TimeUnit, TimestampMicrosecondType},
};
use revgauge_contract::{
    Timestamp,
    domain::company_domain,
    event::{Direction, MAX_ID_BYTES, MAX_NAME_BYTES, MachineClass, Reception, Trust},
    event_type::{EventKind, implied_direction, implied_kind},
    schema::{EVENT_COLUMNS, events},
};
use serde::de::IgnoredAny;

use super::{error::ImportError, native::draft_from_cells, work::Collector};

const TEXTS: [&str; 13] = [
    "event_id",
    "kind",
    "type",
    "source",
    "account_id",
    "contact_id",
    "deal_id",
    "user_id",
    "email",
    "domain",
    "direction",
    "machine_class",
    "payload",
];
const TIMES: [&str; 2] = ["event_time", "known_at"];
/// Hosts and types remembered; past it the memory starts anew.
const MAX_REMEMBERED: usize = 65_536;

/// Takes the batches of one file.
#[derive(Debug)]
pub(crate) struct Columnar<'a> {
    file: &'a str,
    rows: u64,
    types: HashMap<String, TypeFacts>,
    hosts: HashMap<String, Option<String>>,
}

#[derive(Debug, Clone, Copy)]
struct TypeFacts {
    named_well: bool,
    kind: Option<EventKind>,
    direction: Option<Direction>,
    count: u64,
}

/// The columns of a batch in our own types.
struct Columns {
    text: [StringViewArray; 13],
    event_time: TimestampMicrosecondArray,
    known_at: TimestampMicrosecondArray,
    value: Float64Array,
}

impl<'a> Columnar<'a> {
    pub(crate) fn new(file: &'a str) -> Self {
        Self {
            file,
            rows: 0,
            types: HashMap::new(),
            hosts: HashMap::new(),
        }
    }

    /// Judges a batch and hands it on.
    pub(crate) fn take(&mut self, batch: &RecordBatch, out: &mut Collector<'_>) -> Result<(), ImportError> {
        let first = self.rows;
        self.rows += batch.num_rows() as u64;
        for _ in 0..batch.num_rows() {
            out.count_row();
        }
        let Some(columns) = Columns::of(batch) else {
            return self.by_rows(batch, (0..batch.num_rows()).collect(), first, out);
        };
        let clean: Vec<bool> = (0..batch.num_rows())
            .map(|row| self.is_clean(&columns, row, out.reception()))
            .collect();
        let unclean: Vec<usize> = (0..clean.len()).filter(|row| !clean[*row]).collect();
        if unclean.len() < clean.len() {
            let ready = columns.ready(out.reception());
            let ready = if unclean.is_empty() {
                ready
            } else {
                filter_record_batch(&ready, &BooleanArray::from(clean))
                    .map_err(|error| self.broken(&error))?
            };
            let counts: Vec<(String, u64)> = self
                .types
                .iter_mut()
                .filter(|(_, facts)| facts.count > 0)
                .map(|(name, facts)| (name.clone(), std::mem::take(&mut facts.count)))
                .collect();
            out.batch(self.file, ready, counts.into_iter())?;
        }
        self.by_rows(batch, unclean, first, out)
    }

    fn broken(&self, error: &dyn std::fmt::Display) -> ImportError {
        ImportError::Format {
            file: self.file.to_owned(),
            format: "events",
            message: error.to_string(),
        }
    }

    /// The ordinary way: every column as text, unknown ones into the payload.
    fn by_rows(
        &self,
        batch: &RecordBatch,
        rows: Vec<usize>,
        first: u64,
        out: &mut Collector<'_>,
    ) -> Result<(), ImportError> {
        if rows.is_empty() {
            return Ok(());
        }
        let schema = batch.schema();
        if schema.index_of("type").is_err() {
            return Err(
                self.broken(&"there is no column 'type'; use a mapping for files that are not our events")
            );
        }
        let options = arrow::util::display::FormatOptions::default();
        let mut cells = Vec::with_capacity(batch.num_columns());
        for (field, column) in schema.fields().iter().zip(batch.columns()) {
            let formatter = arrow::util::display::ArrayFormatter::try_new(column, &options)
                .map_err(|error| self.broken(&error))?;
            cells.push((field.name().as_str(), column, formatter));
        }
        for row in rows {
            let texts: Vec<(&str, Cow<'_, str>)> = cells
                .iter()
                .filter(|(_, column, _)| !column.is_null(row))
                .map(|(name, _, formatter)| (*name, Cow::Owned(formatter.value(row).to_string())))
                .collect();
            let body = || {
                let object = texts
                    .iter()
                    .map(|(name, text)| ((*name).to_owned(), text.as_ref().into()))
                    .collect();
                serde_json::Value::Object(object).to_string()
            };
            let line = first + row as u64 + 1;
            match draft_from_cells(texts.iter().cloned()) {
                Ok(draft) => out.accept(draft, self.file, line, &|_| None, &body)?,
                Err(refusal) => {
                    out.refuse(self.file, line, refusal.field.clone(), refusal, body().as_bytes())?
                }
            }
        }
        Ok(())
    }

    fn is_clean(&mut self, columns: &Columns, row: usize, reception: &Reception) -> bool {
        let text = |index: usize| {
            let column = &columns.text[index];
            (!column.is_null(row)).then(|| column.value(row))
        };
        let [event_id, kind, event_type, source] = [0, 1, 2, 3].map(text);
        let (Some(event_id), Some(kind), Some(event_type), Some(source)) =
            (event_id, kind, event_type, source)
        else {
            return false;
        };
        let ids = [4, 5, 6, 7].map(text);
        let (email, domain) = (text(8), text(9));
        let sound_ids = is_id(event_id) && ids.iter().flatten().all(|id| is_id(id));
        let sound_time = !columns.event_time.is_null(row) && {
            let at = Timestamp(columns.event_time.value(row));
            at >= Timestamp::EARLIEST_EVENT
                && at <= reception.received_at.plus_micros(reception.max_future_us)
        };
        let sound_value = columns.value.is_null(row) || columns.value.value(row).is_finite();
        let sound_class = matches!(text(11), Some("none" | "proxy" | "scanner" | "bot"));
        let sound = sound_ids && sound_time && sound_value && sound_class && is_name(source);
        if !sound || !email.is_none_or(is_plain_email) || !text(12).is_none_or(is_object) {
            return false;
        }
        if !self.is_own_domain(domain, email) || !has_subject(kind, event_type, ids, email, domain) {
            return false;
        }
        self.is_typed(event_type, kind, text(10))
    }

    /// Type, kind and direction agree; counts the type when they do.
    fn is_typed(&mut self, event_type: &str, kind: &str, direction: Option<&str>) -> bool {
        if !self.types.contains_key(event_type) {
            if self.types.len() >= MAX_REMEMBERED {
                return false;
            }
            let facts = TypeFacts {
                named_well: is_name(event_type),
                kind: implied_kind(event_type),
                direction: implied_direction(event_type),
                count: 0,
            };
            self.types.insert(event_type.to_owned(), facts);
        }
        let Some(facts) = self.types.get_mut(event_type) else {
            return false;
        };
        let kind_fits = match facts.kind {
            Some(implied) => implied.as_str() == kind,
            None => matches!(kind, "engagement" | "enrichment" | "crm"),
        };
        let direction_fits = match direction {
            None => facts.direction.is_none(),
            Some(direction) => matches!(direction, "inbound" | "outbound"),
        };
        let clean = facts.named_well && kind_fits && direction_fits;
        facts.count += u64::from(clean);
        clean
    }

    /// Whether the domain is the one that acceptance would set from domain or address.
    fn is_own_domain(&mut self, domain: Option<&str>, email: Option<&str>) -> bool {
        let host = match (domain, email) {
            (Some(domain), _) => domain,
            (None, Some(email)) => email.rsplit_once('@').map_or(email, |(_, host)| host),
            (None, None) => return true,
        };
        if let Some(known) = self.hosts.get(host) {
            return known.as_deref() == domain;
        }
        if self.hosts.len() >= MAX_REMEMBERED {
            self.hosts.clear();
        }
        let own = company_domain(host);
        let same = own.as_deref() == domain;
        self.hosts.insert(host.to_owned(), own);
        same
    }
}

fn has_subject(
    kind: &str,
    event_type: &str,
    [account_id, contact_id, deal_id, user_id]: [Option<&str>; 4],
    email: Option<&str>,
    domain: Option<&str>,
) -> bool {
    let contact = contact_id.is_some() || email.is_some();
    if kind != "crm" {
        return contact || account_id.is_some() || deal_id.is_some() || user_id.is_some() || domain.is_some();
    }
    match event_type
        .split_once('.')
        .map_or(event_type, |(object, _)| object)
    {
        "account" => account_id.is_some() || domain.is_some(),
        "contact" => contact,
        "deal" => deal_id.is_some(),
        "role" => deal_id.is_some() && contact,
        "user" => user_id.is_some(),
        _ => true,
    }
}

fn is_id(id: &str) -> bool {
    let bytes = id.as_bytes();
    let plain = bytes.iter().all(|byte| (0x21..0x7f).contains(byte));
    !id.is_empty()
        && id.len() <= MAX_ID_BYTES
        && (plain || (id.trim().len() == id.len() && !id.chars().any(char::is_control)))
}

/// The ASCII part of what acceptance takes as a name; others take the slower way.
fn is_name(name: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':' | b'/');
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.as_bytes().iter().all(plain)
}

/// Addresses that normalising leaves alone.
fn is_plain_email(email: &str) -> bool {
    let bytes = email.as_bytes();
    let plain = |byte: &u8| {
        (0x21..0x7f).contains(byte)
            && !byte.is_ascii_uppercase()
            && !matches!(byte, b'<' | b'>' | b',' | b';' | b'"' | b':')
    };
    let Some((local, host)) = email.split_once('@') else {
        return false;
    };
    bytes.len() <= 254
        && bytes.iter().all(plain)
        && !local.is_empty()
        && !host.contains('@')
        && host.contains('.')
        && !host.starts_with('.')
        && !host.ends_with('.')
        && !host.contains("..")
}

fn is_object(text: &str) -> bool {
    text == "{}" || (text.starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok())
}

impl Columns {
    /// The columns, when all of them are ours and of types that convert without loss.
    fn of(batch: &RecordBatch) -> Option<Self> {
        let schema = batch.schema();
        let known = |name: &str| EVENT_COLUMNS.contains(&name);
        if schema.fields().iter().any(|field| !known(field.name())) {
            return None;
        }
        let rows = batch.num_rows();
        let mut texts = Vec::with_capacity(TEXTS.len());
        for name in TEXTS {
            texts.push(as_text(batch.column_by_name(name), rows)?);
        }
        let [event_time, known_at] = TIMES.map(|name| as_time(batch.column_by_name(name), rows));
        Some(Self {
            text: texts.try_into().ok()?,
            event_time: event_time?,
            known_at: known_at?,
            value: as_number(batch.column_by_name("value"), rows)?,
        })
    }

    /// The batch in the events schema. Rows that are not clean may hold anything; they are filtered out after.
    fn ready(self, reception: &Reception) -> RecordBatch {
        let rows = self.event_time.len();
        let received_at = reception.received_at.micros();
        let known_at: TimestampMicrosecondArray = (0..rows)
            .map(|row| {
                let event_time = self.event_time.value(row);
                let given = if self.known_at.is_null(row) {
                    event_time
                } else {
                    self.known_at.value(row)
                };
                Some(match reception.trust {
                    Trust::Live => received_at,
                    Trust::History => given.min(received_at),
                })
            })
            .collect();
        let tenant =
            StringViewArray::from_iter_values(std::iter::repeat_n(reception.tenant_id.as_ref(), rows));
        let [
            event_id,
            kind,
            event_type,
            source,
            account_id,
            contact_id,
            deal_id,
            user_id,
            email,
            domain,
            direction,
            machine_class,
            payload,
        ] = self.text;
        let event_time = TimestampMicrosecondArray::new(self.event_time.values().clone(), None);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(tenant),
            Arc::new(filled(event_id, "")),
            Arc::new(filled(kind, "")),
            Arc::new(filled(event_type, "")),
            Arc::new(event_time),
            Arc::new(TimestampMicrosecondArray::from_value(received_at, rows)),
            Arc::new(known_at),
            Arc::new(filled(source, "")),
            Arc::new(account_id),
            Arc::new(contact_id),
            Arc::new(deal_id),
            Arc::new(user_id),
            Arc::new(email),
            Arc::new(domain),
            Arc::new(direction),
            Arc::new(filled(machine_class, MachineClass::None.as_str())),
            Arc::new(self.value),
            Arc::new(filled(payload, "{}")),
        ];
        RecordBatch::try_new(events(), columns).expect("columns are built in schema order and without nulls")
    }
}

/// A column without nulls.
fn filled(column: StringViewArray, with: &str) -> StringViewArray {
    if column.null_count() == 0 {
        return column;
    }
    column.iter().map(|text| Some(text.unwrap_or(with))).collect()
}

fn as_text(column: Option<&ArrayRef>, rows: usize) -> Option<StringViewArray> {
    let Some(column) = column else {
        return new_null_array(&DataType::Utf8View, rows)
            .as_string_view_opt()
            .cloned();
    };
    let inner = match column.data_type() {
        DataType::Dictionary(_, inner) => inner.as_ref(),
        other => other,
    };
    if !matches!(
        inner,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null
    ) {
        return None;
    }
    cast(column, &DataType::Utf8View)
        .ok()?
        .as_string_view_opt()
        .cloned()
}

fn as_time(column: Option<&ArrayRef>, rows: usize) -> Option<TimestampMicrosecondArray> {
    let Some(column) = column else {
        return Some(TimestampMicrosecondArray::new_null(rows));
    };
    let DataType::Timestamp(_, zone) = column.data_type() else {
        return None;
    };
    // The zone says how an instant is shown, not which it is: unit first, then the zone is taken off.
    let micros = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, zone.clone())).ok()?;
    let same_nulls = micros.null_count() == column.null_count();
    let times = micros.as_primitive_opt::<TimestampMicrosecondType>()?.clone();
    same_nulls.then(|| times.with_timezone_opt::<Arc<str>>(None))
}

fn as_number(column: Option<&ArrayRef>, rows: usize) -> Option<Float64Array> {
    let Some(column) = column else {
        return Some(Float64Array::new_null(rows));
    };
    if !column.data_type().is_numeric() {
        return None;
    }
    cast(column, &DataType::Float64)
        .ok()?
        .as_primitive_opt::<arrow::datatypes::Float64Type>()
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the fast check calls clean, acceptance must leave as it is.
    #[test]
    fn clean_names_and_addresses_are_fixed_points_of_acceptance() {
        for email in [
            "jo@acme.io",
            "a.b+c@x-y.co.uk",
            "Jo@acme.io",
            "jo@acme",
            "j o@a.io",
            "mailto:a@b.io",
            "é@b.io",
        ] {
            if is_plain_email(email) {
                let normal = revgauge_contract::domain::normal_email(email);
                assert_eq!(normal.as_deref(), Some(email));
            }
        }
        assert!(is_plain_email("a.b+c@x-y.co.uk"));
        assert!(is_id("00Q1G00000nDnM5UAK") && is_id("Jo Doe") && is_id("né"));
        assert!(!is_id(" x") && !is_id("") && !is_id("a\u{0}b") && !is_id(&"x".repeat(257)));
        assert!(is_object("{\"a\":[1]}") && !is_object("{") && !is_object("[]") && !is_object(""));
    }
}
