//! What was known when: the bitemporal change log of one kind of CRM object.
//!
//! A change has two instants. Its *event time* is when it happened in the source (second half of the order key); its
//! *known_at* is when the organisation knew it. `state_at(object, t)` asks for what was known at `t`; `about(object, t,
//! s)` for what was known at `t` of the time up to `s`. Of several changes of one field the greatest order key stands,
//! then the greatest value, as everywhere (DESIGN.md section 2), so the log is a function of the set of changes and
//! their order of arrival is nothing. Trained models, forecasts and waterfalls read the past from here and from nowhere
//! else.

mod read;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use hashbrown::HashMap;
use revgauge_contract::{ErrorKind, Timestamp, crm, error::Failure};
use serde::{Deserialize, Serialize};

use crate::facts::Fields;

pub use read::load;

/// Limits of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeLogSettings {
    /// Most changes held. A change takes 40 bytes, each distinct text about 60 bytes and its length.
    pub max_changes: usize,
}

impl Default for ChangeLogSettings {
    fn default() -> Self {
        Self {
            max_changes: 20_000_000,
        }
    }
}

/// Version, then event time, as the order key has them: what decides which change of a field is the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeOrder {
    version: u64,
    event_time: u64,
}

impl ChangeOrder {
    /// Reads the 32 hexadecimal digits of an order key.
    #[must_use]
    pub fn parse(order_key: &str) -> Option<Self> {
        let half = |range| u64::from_str_radix(order_key.get(range)?, 16).ok();
        Some(Self {
            version: half(0..16)?,
            event_time: half(16..crm::ORDER_KEY_LEN)?,
        })
    }

    /// The 32 hexadecimal digits of the order key.
    #[must_use]
    pub fn key(self) -> String {
        format!("{:016x}{:016x}", self.version, self.event_time)
    }

    /// When the change happened.
    #[must_use]
    pub const fn event_time(self) -> Timestamp {
        Timestamp((self.event_time ^ (1 << 63)) as i64)
    }
}

/// No text: the field was cleared.
const CLEARED: u32 = u32::MAX;

/// One change, its texts as numbers. Sorted by object, then by knowledge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Packed {
    object: u32,
    known_at: i64,
    order: ChangeOrder,
    field: u32,
    value: u32,
}

/// Texts as numbers.
#[derive(Debug, Default)]
struct Texts {
    by_text: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Texts {
    fn intern(&mut self, text: &str) -> u32 {
        if let Some(id) = self.by_text.get(text) {
            return *id;
        }
        let id = self.texts.len() as u32;
        let text: Arc<str> = text.into();
        self.by_text.insert(Arc::clone(&text), id);
        self.texts.push(text);
        id
    }

    /// The texts in their own order, and the new number of each old one.
    fn sorted(mut self) -> (Vec<Arc<str>>, Vec<u32>) {
        let mut places: Vec<u32> = (0..self.texts.len() as u32).collect();
        places.sort_unstable_by(|a, b| self.texts[*a as usize].cmp(&self.texts[*b as usize]));
        let mut ranks = vec![0; places.len()];
        for (rank, place) in places.iter().enumerate() {
            ranks[*place as usize] = rank as u32;
        }
        self.by_text = HashMap::new();
        self.texts.sort_unstable();
        (self.texts, ranks)
    }
}

/// Takes changes in any order.
#[derive(Debug, Default)]
pub struct ChangeLogBuilder {
    settings: ChangeLogSettings,
    objects: Texts,
    fields: Texts,
    values: Texts,
    changes: Vec<Packed>,
}

impl ChangeLogBuilder {
    /// Nothing yet.
    #[must_use]
    pub fn new(settings: ChangeLogSettings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Takes one change. Cost: three hash look-ups.
    ///
    /// # Errors
    /// `Limit` when there are more changes than the setting allows.
    pub fn push(
        &mut self,
        object_id: &str,
        field: &str,
        order: ChangeOrder,
        value: Option<&str>,
        known_at: Timestamp,
    ) -> Result<(), Failure> {
        if self.changes.len() >= self.settings.max_changes {
            return Err(Failure::new(
                ErrorKind::Limit,
                format!(
                    "cannot hold the change log: it has more than {} changes (setting max_changes)",
                    self.settings.max_changes
                ),
            ));
        }
        self.changes.push(Packed {
            object: self.objects.intern(object_id),
            known_at: known_at.micros(),
            order,
            field: self.fields.intern(field),
            value: value.map_or(CLEARED, |value| self.values.intern(value)),
        });
        Ok(())
    }

    /// Sorts what was taken. Cost: one sort of the changes and one of each kind of text.
    #[must_use]
    pub fn build(self) -> ChangeLog {
        let (objects, object_ranks) = self.objects.sorted();
        let (fields, field_ranks) = self.fields.sorted();
        let (values, value_ranks) = self.values.sorted();
        let mut changes = self.changes;
        for change in &mut changes {
            change.object = object_ranks[change.object as usize];
            change.field = field_ranks[change.field as usize];
            if change.value != CLEARED {
                change.value = value_ranks[change.value as usize];
            }
        }
        // The same change heard twice was known when it was first heard.
        changes.sort_unstable_by_key(|c| (c.object, c.field, c.order, c.value, c.known_at));
        changes.dedup_by_key(|c| (c.object, c.field, c.order, c.value));
        changes.sort_unstable();
        let mut starts = Vec::with_capacity(objects.len() + 1);
        let mut next = 0;
        for object in 0..=objects.len() as u32 {
            while changes.get(next).is_some_and(|change| change.object < object) {
                next += 1;
            }
            starts.push(next);
        }
        ChangeLog {
            objects,
            fields,
            values,
            changes,
            starts,
        }
    }
}

/// The changes of all objects of one kind, per object in the order in which they became known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeLog {
    objects: Vec<Arc<str>>,
    fields: Vec<Arc<str>>,
    values: Vec<Arc<str>>,
    changes: Vec<Packed>,
    starts: Vec<usize>,
}

/// One change of one field of one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// Of which object.
    pub object_id: &'a str,
    /// Which field.
    pub field: &'a str,
    /// New value; `None` when cleared.
    pub value: Option<&'a str>,
    /// When it happened.
    pub event_time: Timestamp,
    /// When it was known.
    pub known_at: Timestamp,
    /// What decides which change of the field is the latest.
    pub order: ChangeOrder,
}

impl ChangeLog {
    /// Ids of the objects, sorted.
    pub fn objects(&self) -> impl ExactSizeIterator<Item = &str> {
        self.objects.iter().map(|id| &**id)
    }

    /// Number of changes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The log of one object; `None` when nothing was ever known of it.
    #[must_use]
    pub fn object(&self, object_id: &str) -> Option<ObjectLog<'_>> {
        let place = self
            .objects
            .binary_search_by(|held| (**held).cmp(object_id))
            .ok()?;
        Some(self.log_of(place))
    }

    /// The logs of all objects, by id.
    pub fn logs(&self) -> impl ExactSizeIterator<Item = ObjectLog<'_>> {
        (0..self.objects.len()).map(|place| self.log_of(place))
    }

    fn log_of(&self, place: usize) -> ObjectLog<'_> {
        ObjectLog {
            log: self,
            id: &self.objects[place],
            changes: &self.changes[self.starts[place]..self.starts[place + 1]],
        }
    }

    /// Two numbers of 64 bits that are others for every other set of changes known by an instant, whatever became known
    /// later: sums of a hash of each change. Cost: a hash of each text and a pass over the changes.
    #[must_use]
    pub fn fingerprint(&self, known_at: Timestamp) -> [u64; 2] {
        let hashes = |texts: &[Arc<str>]| texts.iter().map(|text| hashed(text)).collect::<Vec<u64>>();
        let (objects, fields, values) = (hashes(&self.objects), hashes(&self.fields), hashes(&self.values));
        let mut sums = [0_u64; 2];
        for change in self
            .changes
            .iter()
            .filter(|change| change.known_at <= known_at.micros())
        {
            let value = match change.value {
                CLEARED => 0,
                place => values[place as usize],
            };
            let texts = objects[change.object as usize]
                ^ fields[change.field as usize].rotate_left(21)
                ^ value.rotate_left(42);
            let instants = (change.known_at as u64).wrapping_mul(0xd6e8_feb8_6659_fd93)
                ^ change.order.version.wrapping_mul(0xa076_1d64_78bd_642f)
                ^ change
                    .order
                    .event_time
                    .rotate_left(32)
                    .wrapping_mul(0xe703_7ed1_a0b4_28db);
            let hash = mixed(texts ^ instants);
            sums[0] = sums[0].wrapping_add(hash);
            sums[1] = sums[1].wrapping_add(mixed(hash ^ texts.rotate_left(11)));
        }
        sums
    }

    /// What was known of an object at an instant; empty when nothing was.
    #[must_use]
    pub fn state_at(&self, object_id: &str, known_at: Timestamp) -> ObjectState<'_> {
        self.object(object_id)
            .map_or_else(|| ObjectState::nothing(self), |object| object.state_at(known_at))
    }

    /// What was known at an instant about the time up to another; empty when nothing was.
    #[must_use]
    pub fn about(&self, object_id: &str, known_at: Timestamp, event_time: Timestamp) -> ObjectState<'_> {
        self.object(object_id).map_or_else(
            || ObjectState::nothing(self),
            |object| object.about(known_at, event_time),
        )
    }

    /// The changes that became known after `from` and not after `to`, object by object.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Change<'_>> {
        self.logs().flat_map(move |object| object.between(from, to))
    }

    fn shown<'a>(&'a self, change: &Packed) -> Change<'a> {
        Change {
            object_id: &self.objects[change.object as usize],
            field: &self.fields[change.field as usize],
            value: self.value(change),
            event_time: change.order.event_time(),
            known_at: Timestamp(change.known_at),
            order: change.order,
        }
    }

    fn value(&self, change: &Packed) -> Option<&str> {
        (change.value != CLEARED).then(|| &*self.values[change.value as usize])
    }
}

/// FNV-1a of a text, mixed.
fn hashed(text: &str) -> u64 {
    mixed(text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    }))
}

/// The finaliser of `SplitMix64` (Steele, Lea and Flood 2014).
const fn mixed(state: u64) -> u64 {
    let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Rank of a change among those of its field: a greater one stands. Cleared ranks below every value.
const fn rank(change: &Packed) -> (ChangeOrder, u32) {
    (change.order, change.value.wrapping_add(1))
}

/// The changes of one object.
#[derive(Debug, Clone, Copy)]
pub struct ObjectLog<'a> {
    log: &'a ChangeLog,
    id: &'a str,
    changes: &'a [Packed],
}

impl<'a> ObjectLog<'a> {
    /// Which object.
    #[must_use]
    pub const fn id(&self) -> &'a str {
        self.id
    }

    /// All changes, as they became known.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = Change<'a>> + use<'a> {
        let log = self.log;
        self.changes.iter().map(move |change| log.shown(change))
    }

    /// The instants at which something became known, each once, in order.
    #[must_use]
    pub fn instants(&self) -> Vec<Timestamp> {
        let mut instants: Vec<_> = self.changes.iter().map(|c| Timestamp(c.known_at)).collect();
        instants.dedup();
        instants
    }

    fn known(&self, at: Timestamp) -> &'a [Packed] {
        let end = self
            .changes
            .partition_point(|change| change.known_at <= at.micros());
        &self.changes[..end]
    }

    /// The changes that became known after `from` and not after `to`.
    pub fn between(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = Change<'a>> + use<'a> {
        let log = self.log;
        let skipped = self.known(from).len();
        let known = self.known(to);
        known
            .get(skipped..)
            .unwrap_or_default()
            .iter()
            .map(move |change| log.shown(change))
    }

    /// What was known at an instant. Cost: a pass over the changes known then.
    #[must_use]
    pub fn state_at(&self, known_at: Timestamp) -> ObjectState<'a> {
        ObjectState::fold(self.log, self.known(known_at).iter())
    }

    /// What was known at an instant about the time up to `event_time`.
    #[must_use]
    pub fn about(&self, known_at: Timestamp, event_time: Timestamp) -> ObjectState<'a> {
        let happened = self
            .known(known_at)
            .iter()
            .filter(|change| change.order.event_time() <= event_time);
        ObjectState::fold(self.log, happened)
    }

    /// The states after each instant in `(from, to]` at which something became known, in order. Cost: one pass.
    pub fn states_between(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> impl Iterator<Item = (Timestamp, ObjectState<'a>)> + use<'a> {
        let mut state = self.state_at(from);
        let skipped = self.known(from).len();
        let rest = self.known(to).get(skipped..).unwrap_or_default();
        rest.chunk_by(|a, b| a.known_at == b.known_at)
            .filter_map(move |together| {
                for change in together {
                    state.take(change);
                }
                Some((Timestamp(together.first()?.known_at), state.clone()))
            })
    }
}

/// The fields of an object at one state of knowledge.
#[derive(Debug, Clone)]
pub struct ObjectState<'a> {
    log: &'a ChangeLog,
    /// By field number; the one that stands.
    standing: Vec<Packed>,
}

impl PartialEq for ObjectState<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.values().eq(other.values())
    }
}

impl<'a> ObjectState<'a> {
    const fn nothing(log: &'a ChangeLog) -> Self {
        Self {
            log,
            standing: Vec::new(),
        }
    }

    fn fold(log: &'a ChangeLog, changes: impl Iterator<Item = &'a Packed>) -> Self {
        let mut state = Self::nothing(log);
        changes.for_each(|change| state.take(change));
        state
    }

    fn take(&mut self, change: &Packed) {
        match self
            .standing
            .binary_search_by_key(&change.field, |held| held.field)
        {
            Ok(place) if rank(&self.standing[place]) < rank(change) => self.standing[place] = *change,
            Ok(_) => {}
            Err(place) => self.standing.insert(place, *change),
        }
    }

    /// Whether nothing is known.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.standing.is_empty()
    }

    /// Whether the object is there: something is known of it, and it is neither deleted nor merged into another.
    #[must_use]
    pub fn exists(&self) -> bool {
        !self.is_empty() && !self.is_deleted() && self.merged_into().is_none()
    }

    /// Whether the source deleted it.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.value(crm::DELETED) == Some("true")
    }

    /// The object it was merged into.
    #[must_use]
    pub fn merged_into(&self) -> Option<&'a str> {
        self.value(crm::MERGED_INTO).filter(|into| !into.is_empty())
    }

    /// The change of a field that stands, also one that cleared it.
    #[must_use]
    pub fn change(&self, field: &str) -> Option<Change<'a>> {
        let number = self
            .log
            .fields
            .binary_search_by(|held| (**held).cmp(field))
            .ok()? as u32;
        let place = self
            .standing
            .binary_search_by_key(&number, |held| held.field)
            .ok()?;
        Some(self.log.shown(&self.standing[place]))
    }

    /// The value of a field; `None` when it was never set or is cleared.
    #[must_use]
    pub fn value(&self, field: &str) -> Option<&'a str> {
        self.change(field)?.value
    }

    /// The value of the first of several spellings that has one which is not blank.
    #[must_use]
    pub fn first(&self, fields: &[&str]) -> Option<&'a str> {
        fields
            .iter()
            .find_map(|field| self.value(field).filter(|value| !value.trim().is_empty()))
    }

    /// Field and value of everything that has one, by field.
    pub fn values(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let log = self.log;
        self.standing
            .iter()
            .filter_map(move |change| Some((&*log.fields[change.field as usize], log.value(change)?)))
    }

    /// The fields as scoring reads them, reserved ones left out.
    #[must_use]
    pub fn fields(&self) -> Fields {
        self.values()
            .filter(|(field, value)| !field.starts_with('_') && !value.is_empty())
            .map(|(field, value)| (field.to_owned(), value.to_owned()))
            .collect()
    }
}
