//! Which record a row of a table is of, told by the names of its columns.
//!
//! A row belongs to the most specific record it names: its deal, else its contact, else its account, else the colleague
//! it is about. A table that names none of these shows no row to a caller who may not see everything.

use datafusion::arrow::{
    array::{Array as _, ArrayRef, AsArray as _, BooleanArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Schema},
    error::ArrowError,
};
use revgauge_contract::score::EntityKind;

use super::visible::Visible;

/// CRM objects that are about nobody in particular.
const COMMON_OBJECTS: [&str; 2] = ["stage", "pipeline"];

/// Where a table says whose its rows are: places of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// `entity_kind` and `entity_id`.
    Entity(usize, usize),
    /// `object` and `object_id` of the CRM.
    Object(usize, usize),
    /// Columns with a key of a record, the most specific first.
    Record(Vec<(Key, usize)>),
    /// It does not.
    Nobody,
}

/// What a column's key is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Of(EntityKind),
    Colleague,
}

const KEYS: [(&str, Key); 9] = [
    ("deal_id", Key::Of(EntityKind::Deal)),
    ("contact_id", Key::Of(EntityKind::Contact)),
    ("contact_key", Key::Of(EntityKind::Contact)),
    ("email", Key::Of(EntityKind::Contact)),
    ("account_id", Key::Of(EntityKind::Account)),
    ("account_key", Key::Of(EntityKind::Account)),
    ("domain", Key::Of(EntityKind::Account)),
    ("user_id", Key::Colleague),
    ("owner_id", Key::Colleague),
];

impl Whose {
    pub(super) fn of(schema: &Schema) -> Self {
        let place = |name: &str| schema.index_of(name).ok();
        if let (Some(kind), Some(id)) = (place("entity_kind"), place("entity_id")) {
            return Self::Entity(kind, id);
        }
        if let (Some(object), Some(id)) = (place("object"), place("object_id")) {
            return Self::Object(object, id);
        }
        let keys: Vec<_> = KEYS
            .iter()
            .filter_map(|(name, key)| Some((*key, place(name)?)))
            .collect();
        if keys.is_empty() {
            Self::Nobody
        } else {
            Self::Record(keys)
        }
    }

    /// The columns it reads.
    pub(super) fn columns(&self) -> Vec<usize> {
        match self {
            Self::Entity(a, b) | Self::Object(a, b) => vec![*a, *b],
            Self::Record(keys) => keys.iter().map(|(_, place)| *place).collect(),
            Self::Nobody => Vec::new(),
        }
    }

    /// The same in a batch whose columns stand elsewhere.
    pub(super) fn moved(&self, to: impl Fn(usize) -> usize) -> Self {
        match self {
            Self::Entity(a, b) => Self::Entity(to(*a), to(*b)),
            Self::Object(a, b) => Self::Object(to(*a), to(*b)),
            Self::Record(keys) => Self::Record(keys.iter().map(|(key, place)| (*key, to(*place))).collect()),
            Self::Nobody => Self::Nobody,
        }
    }

    /// Which rows of a batch may be seen.
    pub(super) fn seen(&self, batch: &RecordBatch, visible: &Visible) -> Result<BooleanArray, ArrowError> {
        let rows = batch.num_rows();
        let text = |place: &usize| cast(batch.column(*place), &DataType::Utf8View);
        match self {
            Self::Nobody => Ok(BooleanArray::from(vec![false; rows])),
            Self::Entity(kind, id) => {
                let (kinds, ids) = (text(kind)?, text(id)?);
                let of = |row| {
                    let kind = kind_named(value(&kinds, row)?)?;
                    Some(visible.holds(kind, value(&ids, row)?))
                };
                Ok((0..rows).map(|row| Some(of(row).unwrap_or(false))).collect())
            }
            Self::Object(object, id) => {
                let (objects, ids) = (text(object)?, text(id)?);
                let of = |row| Some(object_seen(visible, value(&objects, row)?, value(&ids, row)?));
                Ok((0..rows).map(|row| Some(of(row).unwrap_or(false))).collect())
            }
            Self::Record(keys) => {
                let columns = keys
                    .iter()
                    .map(|(key, place)| Ok((*key, text(place)?)))
                    .collect::<Result<Vec<_>, ArrowError>>()?;
                let of = |row| {
                    let named = columns
                        .iter()
                        .find_map(|(key, column)| Some((*key, value(column, row)?)));
                    named.is_some_and(|(key, id)| match key {
                        Key::Of(kind) => visible.holds(kind, id),
                        Key::Colleague => visible.owners.contains(id),
                    })
                };
                Ok((0..rows).map(|row| Some(of(row))).collect())
            }
        }
    }
}

fn value(column: &ArrayRef, row: usize) -> Option<&str> {
    let texts = column.as_string_view_opt()?;
    (texts.is_valid(row) && !texts.value(row).is_empty()).then(|| texts.value(row))
}

fn kind_named(name: &str) -> Option<EntityKind> {
    [
        EntityKind::Contact,
        EntityKind::Account,
        EntityKind::Deal,
        EntityKind::Tenant,
    ]
    .into_iter()
    .find(|kind| kind.as_str() == name)
}

/// A contact's part in a deal has the id `deal/contact`; it is the deal's.
fn object_seen(visible: &Visible, object: &str, id: &str) -> bool {
    match object {
        "contact" | "person" | "lead" => visible.holds(EntityKind::Contact, id),
        "account" | "company" => visible.holds(EntityKind::Account, id),
        "deal" => visible.holds(EntityKind::Deal, id),
        "role" => visible.holds(EntityKind::Deal, id.split('/').next().unwrap_or(id)),
        "user" => visible.owners.contains(id),
        other => COMMON_OBJECTS.contains(&other),
    }
}
