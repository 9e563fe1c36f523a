//! The fields of one CRM object, packed into one allocation, each with the order key that makes the latest win.

use hashbrown::HashMap;
use std::sync::Arc;

use revgauge_contract::crm;

/// Number of an interned field name.
pub(crate) type NameId = u32;

/// Field names that the directory itself reads; interned first, so that their numbers are constants.
pub(crate) const KNOWN_NAMES: [&str; 11] = [
    crm::DELETED,
    crm::MERGED_INTO,
    crm::EXISTS,
    "email",
    "account_id",
    "domain",
    "website",
    "contact_id",
    "deal_id",
    "name",
    "role",
];
pub(crate) const DELETED: NameId = 0;
pub(crate) const MERGED_INTO: NameId = 1;
pub(crate) const EMAIL: NameId = 3;
pub(crate) const ACCOUNT_ID: NameId = 4;
pub(crate) const DOMAIN: NameId = 5;
pub(crate) const WEBSITE: NameId = 6;
pub(crate) const CONTACT_ID: NameId = 7;
pub(crate) const DEAL_ID: NameId = 8;
pub(crate) const NAME: NameId = 9;
pub(crate) const ROLE: NameId = 10;

/// Field names as small numbers.
#[derive(Debug)]
pub(crate) struct Names {
    by_text: HashMap<Arc<str>, NameId>,
    texts: Vec<Arc<str>>,
}

impl Default for Names {
    fn default() -> Self {
        let mut names = Self {
            by_text: HashMap::new(),
            texts: Vec::new(),
        };
        for name in KNOWN_NAMES {
            names.intern(name);
        }
        names
    }
}

impl Names {
    /// The number of a name, given out when it is new.
    pub(crate) fn intern(&mut self, text: &str) -> NameId {
        if let Some(id) = self.by_text.get(text) {
            return *id;
        }
        let id = self.texts.len() as NameId;
        let text: Arc<str> = text.into();
        self.by_text.insert(Arc::clone(&text), id);
        self.texts.push(text);
        id
    }

    /// All names in the order of their numbers.
    pub(crate) fn texts(&self) -> &[Arc<str>] {
        &self.texts
    }

    /// The name behind a number.
    pub(crate) fn text(&self, id: NameId) -> &str {
        self.texts.get(id as usize).map_or("", |text| text)
    }
}

/// Version, then event time: what decides which change of a field is the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct OrderKey(u64, u64);

impl OrderKey {
    /// Reads the 32 hexadecimal digits of `crm_state.latest`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let half = |range| u64::from_str_radix(text.get(range)?, 16).ok();
        Some(Self(half(0..16)?, half(16..crm::ORDER_KEY_LEN)?))
    }
}

/// One field as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FieldRef<'a> {
    pub(crate) name: NameId,
    pub(crate) key: OrderKey,
    /// `None` when the field was cleared.
    pub(crate) value: Option<&'a str>,
}

const HAS_VALUE: u8 = 1;
const TIME_IS_VERSION: u8 = 2;
const SAME_KEY: u8 = 4;

/// All fields of one object. About 20 bytes a field beside its text: a million contacts have to fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Record(Box<[u8]>);

impl Record {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The packed bytes, for a checkpoint; they mean something beside the names alone.
    pub(crate) fn packed(&self) -> &[u8] {
        &self.0
    }

    /// A record of packed bytes. Bytes that mean nothing end the record early.
    pub(crate) fn of_packed(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The fields in the order of their numbers.
    pub(crate) fn fields(&self) -> Fields<'_> {
        Fields {
            rest: &self.0,
            key: OrderKey::default(),
        }
    }

    /// One field, cleared or not.
    pub(crate) fn field(&self, name: NameId) -> Option<FieldRef<'_>> {
        self.fields().find(|field| field.name == name)
    }

    /// The value of a field; `None` when absent, cleared or empty.
    pub(crate) fn value(&self, name: NameId) -> Option<&str> {
        self.field(name)
            .and_then(|field| field.value)
            .map(str::trim)
            .filter(|value| !value.is_empty())
    }

    /// Takes a change when it is later than what stands (greater order key, then greater value); says whether it was.
    pub(crate) fn set(&mut self, name: NameId, key: OrderKey, value: Option<&str>) -> bool {
        if let Some(held) = self.field(name)
            && (held.key, held.value) >= (key, value)
        {
            return false;
        }
        let mut packed = Packer::with_capacity(self.0.len() + 24 + value.map_or(0, str::len));
        let new = FieldRef { name, key, value };
        let mut placed = false;
        for field in self.fields() {
            if !placed && field.name >= name {
                packed.push(&new);
                placed = true;
            }
            if field.name != name {
                packed.push(&field);
            }
        }
        if !placed {
            packed.push(&new);
        }
        self.0 = packed.bytes.into_boxed_slice();
        true
    }
}

/// Iterator over packed fields.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    key: OrderKey,
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u32> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    fn word(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = FieldRef<'a>;

    fn next(&mut self) -> Option<FieldRef<'a>> {
        let name = self.varint()?;
        let flags = *self.take(1)?.first()?;
        if flags & SAME_KEY == 0 {
            let version = self.word()?;
            let time = if flags & TIME_IS_VERSION == 0 {
                self.word()?
            } else {
                version
            };
            self.key = OrderKey(version, time);
        }
        let value = if flags & HAS_VALUE == 0 {
            None
        } else {
            let len = self.varint()? as usize;
            std::str::from_utf8(self.take(len)?).ok()
        };
        Some(FieldRef {
            name,
            key: self.key,
            value,
        })
    }
}

struct Packer {
    bytes: Vec<u8>,
    last: Option<OrderKey>,
}

impl Packer {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(capacity),
            last: None,
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn push(&mut self, field: &FieldRef<'_>) {
        self.varint(field.name);
        let mut flags = if field.value.is_some() { HAS_VALUE } else { 0 };
        if self.last == Some(field.key) {
            flags |= SAME_KEY;
        } else if field.key.0 == field.key.1 {
            flags |= TIME_IS_VERSION;
        }
        self.bytes.push(flags);
        if flags & SAME_KEY == 0 {
            self.bytes.extend(field.key.0.to_le_bytes());
            if flags & TIME_IS_VERSION == 0 {
                self.bytes.extend(field.key.1.to_le_bytes());
            }
        }
        self.last = Some(field.key);
        if let Some(value) = field.value {
            // Longer texts than 4 GiB cannot come out of an event of at most megabytes.
            self.varint(value.len() as u32);
            self.bytes.extend(value.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_latest_wins_whatever_the_order(
            changes in prop::collection::vec((0u32..200, 0u64..4, 0u64..4, prop::option::of("[a-c]{0,3}")), 0..30),
        ) {
            let mut record = Record::default();
            let mut model: BTreeMap<u32, (OrderKey, Option<String>)> = BTreeMap::new();
            for (name, version, time, value) in &changes {
                let key = OrderKey(*version, *time);
                record.set(*name, key, value.as_deref());
                let held = model.entry(*name).or_insert((key, value.clone()));
                if (key, value) > (held.0, &held.1) {
                    *held = (key, value.clone());
                }
            }
            let read: BTreeMap<u32, (OrderKey, Option<String>)> = record
                .fields()
                .map(|field| (field.name, (field.key, field.value.map(str::to_owned))))
                .collect();
            prop_assert_eq!(&read, &model);
            let mut backwards = Record::default();
            for (name, version, time, value) in changes.iter().rev() {
                backwards.set(*name, OrderKey(*version, *time), value.as_deref());
            }
            prop_assert_eq!(backwards, record);
        }
    }
}
