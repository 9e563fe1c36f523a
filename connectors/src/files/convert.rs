//! From a row's cells to an event draft.

use std::{borrow::Cow, collections::HashMap};

use revgauge_contract::{
    Timestamp,
    crm::VERSION,
    event::{Direction, EventDraft, MachineClass},
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{
    condition::{Cells, Condition},
    lookup::{Each, Lookups},
    mapping::{Format, RestSpec},
    value::{Convert, Typed, read_boolean},
};

/// One checked `[[table]]`. Columns are numbers into `columns`; the cells of a row come in that order.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) line: usize,
    pub(crate) patterns: Vec<String>,
    pub(crate) format: Option<Format>,
    pub(crate) delimiter: Option<u8>,
    pub(crate) header: Option<Vec<String>>,
    pub(crate) columns: Vec<String>,
    /// Of each group at least one column has to be in the file.
    pub(crate) needed: Vec<Vec<usize>>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) each: Option<Each>,
    pub(crate) emit: Field,
    pub(crate) source: Option<String>,
    pub(crate) envelope: Vec<(Envelope, Field)>,
    pub(crate) payload: Vec<(String, Field)>,
    pub(crate) long: Option<LongForm>,
    pub(crate) rest: Option<RestSpec>,
}

/// Envelope fields a mapping fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Envelope {
    EventId,
    EventTime,
    KnownAt,
    Version,
    Source,
    AccountId,
    ContactId,
    DealId,
    UserId,
    Email,
    Domain,
    Direction,
    MachineClass,
    Value,
}

/// One field: the first source that gives a text wins, then map, default and conversion.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) label: String,
    pub(crate) sources: Vec<Source>,
    pub(crate) map: Option<HashMap<String, String>>,
    pub(crate) map_only: bool,
    pub(crate) lower: bool,
    pub(crate) default: Option<String>,
    pub(crate) convert: Convert,
    pub(crate) required: bool,
    pub(crate) null_when_empty: bool,
    pub(crate) skip_errors: bool,
    pub(crate) when: Vec<Condition>,
}

/// Where a text comes from.
#[derive(Debug)]
pub(crate) enum Source {
    Lookup {
        source: usize,
        columns: Vec<usize>,
        take: usize,
        map: HashMap<String, String>,
    },
    Columns(Vec<usize>),
    Template(Vec<Part>),
    Constant(String),
}

/// A piece of a template.
#[derive(Debug)]
pub(crate) enum Part {
    Text(String),
    Column(usize),
}

/// One row is one property change.
#[derive(Debug)]
pub(crate) struct LongForm {
    pub(crate) name: usize,
    pub(crate) value: usize,
    pub(crate) rename: HashMap<String, String>,
    pub(crate) skip: Vec<String>,
    pub(crate) fields: HashMap<String, Field>,
}

/// Why a row gives no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) column: Option<String>,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// What conversion reads beside the row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) lookups: &'a Lookups,
    pub(crate) received_at: Timestamp,
}

fn first<'c>(cells: &'c Cells<'_>, columns: &[usize]) -> Option<&'c str> {
    columns.iter().find_map(|column| cells[*column].as_deref())
}

impl Field {
    fn text<'c>(&'c self, cells: &'c Cells<'_>, around: Surroundings<'c>) -> Option<Cow<'c, str>> {
        let found = self.sources.iter().find_map(|source| match source {
            Source::Lookup {
                source,
                columns,
                take,
                map,
            } => {
                let key = first(cells, columns)?;
                let key = map.get(key).map_or(key, String::as_str);
                around.lookups.get(*source, key, *take).map(Cow::Borrowed)
            }
            Source::Columns(columns) => first(cells, columns).map(Cow::Borrowed),
            Source::Template(parts) => fill(parts, cells).map(Cow::Owned),
            Source::Constant(text) => Some(Cow::Borrowed(text.as_str())).filter(|text| !text.is_empty()),
        });
        let mapped = match (&self.map, found) {
            (Some(map), Some(text)) => match target(map, &text) {
                Some(to) => Some(Cow::Borrowed(to.as_str())).filter(|to| !to.is_empty()),
                None => Some(text).filter(|_| !self.map_only),
            },
            (_, found) => found,
        };
        let text = mapped.or_else(|| {
            self.default
                .as_deref()
                .filter(|text| !text.is_empty())
                .map(Cow::Borrowed)
        })?;
        Some(if self.lower {
            Cow::Owned(text.to_lowercase())
        } else {
            text
        })
    }

    /// The field's value in this row; `None` when it has none.
    pub(crate) fn value(&self, cells: &Cells<'_>, around: Surroundings<'_>) -> Result<Option<Typed>, Fault> {
        if !self
            .when
            .iter()
            .all(|condition| condition.holds(cells, around.received_at))
        {
            return Ok(None);
        }
        let fault = |code, message| Fault {
            column: Some(self.label.clone()),
            code,
            message,
        };
        let typed = match self.text(cells, around) {
            Some(text) => match self.convert.apply(&text) {
                Err(_) if self.skip_errors => None,
                Err(message) => return Err(fault("bad_value", message)),
                Ok(value) => value,
            },
            None => None,
        };
        if typed.is_none() && self.required {
            return Err(fault(
                "missing_value",
                "the field is required and empty".to_owned(),
            ));
        }
        Ok(typed)
    }
}

/// What a map makes of a text; `true` and `false` in it stand for every way of writing them.
fn target<'m>(map: &'m HashMap<String, String>, text: &str) -> Option<&'m String> {
    map.get(&text.to_lowercase()).or_else(|| {
        let flag = read_boolean(text).ok()?;
        map.get(if flag { "true" } else { "false" })
    })
}

/// A template whose columns are all empty is empty.
fn fill(parts: &[Part], cells: &Cells<'_>) -> Option<String> {
    let mut text = String::new();
    let mut columns = 0;
    let mut filled = 0;
    for part in parts {
        match part {
            Part::Text(fixed) => text.push_str(fixed),
            Part::Column(column) => {
                columns += 1;
                if let Some(cell) = &cells[*column] {
                    filled += 1;
                    text.push_str(cell);
                }
            }
        }
    }
    (filled > 0 || columns == 0).then(|| text.trim().to_owned())
}

impl Table {
    /// The event this row gives, if it gives one. `rest` is what [`RestSpec`] keeps.
    pub(crate) fn draft(
        &self,
        cells: &Cells<'_>,
        rest: Vec<(String, String)>,
        around: Surroundings<'_>,
    ) -> Result<Option<EventDraft>, Fault> {
        if !self
            .conditions
            .iter()
            .all(|condition| condition.holds(cells, around.received_at))
        {
            return Ok(None);
        }
        let Some(event_type) = self.emit.value(cells, around)? else {
            return Ok(None);
        };
        let mut draft = EventDraft {
            event_type: Some(event_type.into_text()),
            source: self.source.clone(),
            ..EventDraft::default()
        };
        for (name, text) in rest {
            draft.payload.insert(name, Value::String(text));
        }
        if let Some(long) = &self.long
            && !long.add(cells, around, &mut draft.payload)?
        {
            return Ok(None);
        }
        for (name, field) in &self.payload {
            match field.value(cells, around)? {
                Some(value) => draft.payload.insert(name.clone(), value.into_json()),
                None if field.null_when_empty => draft.payload.insert(name.clone(), Value::Null),
                None => None,
            };
        }
        for (slot, field) in &self.envelope {
            if let Some(value) = field.value(cells, around)? {
                set(&mut draft, *slot, value, &field.label)?;
            }
        }
        Ok(Some(draft))
    }
}

impl LongForm {
    /// Adds the one property; `false` when the row is to be left out. An empty value clears the field.
    fn add(
        &self,
        cells: &Cells<'_>,
        around: Surroundings<'_>,
        payload: &mut Map<String, Value>,
    ) -> Result<bool, Fault> {
        let Some(name) = cells[self.name].as_deref() else {
            return Ok(false);
        };
        if self.skip.iter().any(|skipped| skipped == name) {
            return Ok(false);
        }
        let name = self.rename.get(name).map_or(name, String::as_str);
        let value = match self.fields.get(name) {
            Some(field) => field.value(cells, around)?.map_or(Value::Null, Typed::into_json),
            None => cells[self.value].as_deref().map_or(Value::Null, Value::from),
        };
        payload.insert(name.to_owned(), value);
        Ok(true)
    }
}

fn set(draft: &mut EventDraft, slot: Envelope, value: Typed, column: &str) -> Result<(), Fault> {
    match (slot, value) {
        (Envelope::EventTime, Typed::Time(at)) => draft.event_time = Some(at),
        (Envelope::KnownAt, Typed::Time(at)) => draft.known_at = Some(at),
        (Envelope::Value, Typed::Time(at)) => draft.value = Some(at.seconds_f64()),
        (Envelope::Value, Typed::Number(number)) => draft.value = number.as_f64(),
        (Envelope::Version, value) => {
            draft.payload.insert(VERSION.to_owned(), value.into_json());
        }
        (Envelope::Direction, value) => draft.direction = Some(direction(&value.into_text(), column)?),
        (Envelope::MachineClass, value) => {
            draft.machine_class = Some(machine_class(&value.into_text(), column)?)
        }
        (slot, value) => {
            let text = Some(value.into_text());
            match slot {
                Envelope::EventId => draft.event_id = text.map(short_id),
                Envelope::Source => draft.source = text,
                Envelope::AccountId => draft.account_id = text,
                Envelope::ContactId => draft.contact_id = text,
                Envelope::DealId => draft.deal_id = text,
                Envelope::UserId => draft.user_id = text,
                Envelope::Email => draft.email = text,
                Envelope::Domain => draft.domain = text,
                Envelope::EventTime
                | Envelope::KnownAt
                | Envelope::Version
                | Envelope::Direction
                | Envelope::MachineClass
                | Envelope::Value => {}
            }
        }
    }
    Ok(())
}

fn direction(text: &str, column: &str) -> Result<Direction, Fault> {
    match text {
        "inbound" => Ok(Direction::Inbound),
        "outbound" => Ok(Direction::Outbound),
        _ => Err(Fault {
            column: Some(column.to_owned()),
            code: "bad_value",
            message: format!("'{text}' is no direction: map it to inbound or outbound"),
        }),
    }
}

fn machine_class(text: &str, column: &str) -> Result<MachineClass, Fault> {
    match text {
        "none" => Ok(MachineClass::None),
        "proxy" => Ok(MachineClass::Proxy),
        "scanner" => Ok(MachineClass::Scanner),
        "bot" => Ok(MachineClass::Bot),
        _ => Err(Fault {
            column: Some(column.to_owned()),
            code: "bad_value",
            message: format!("'{text}' is no machine class: map it to none, proxy, scanner or bot"),
        }),
    }
}

/// Ids from long templates are shortened to a digest, so that they stay within the limit and stay the same.
fn short_id(id: String) -> String {
    if id.len() <= revgauge_contract::event::MAX_ID_BYTES {
        return id;
    }
    digest("long", id.as_bytes())
}

/// An id from what the row said.
pub(crate) fn draft_id(draft: &EventDraft) -> String {
    let text = serde_json::to_vec(draft).unwrap_or_default();
    digest("row", &text)
}

/// A short stable id from bytes.
pub(crate) fn digest(prefix: &str, bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let hash = Sha256::digest(bytes);
    let mut id = format!("{prefix}:");
    for byte in &hash[..16] {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

impl Table {
    /// The column that an envelope field is read from, for reports.
    pub(crate) fn column_of(&self, field: &str) -> Option<String> {
        let slot = match field {
            "type" => return Some(self.emit.label.clone()),
            "event_id" => Envelope::EventId,
            "event_time" => Envelope::EventTime,
            "account_id" => Envelope::AccountId,
            "contact_id" => Envelope::ContactId,
            "deal_id" => Envelope::DealId,
            "user_id" => Envelope::UserId,
            "email" => Envelope::Email,
            "value" => Envelope::Value,
            _ => return None,
        };
        let (_, field) = self.envelope.iter().find(|(other, _)| *other == slot)?;
        Some(field.label.clone())
    }
}
