//! What the feed last said of each score, kept small: a million contacts have to fit.

use std::sync::Arc;

use arrow::array::RecordBatch;
use hashbrown::HashMap;
use revgauge_contract::{Timestamp, score::EntityKind};

use super::timers::Timers;
use crate::{
    packing::{Damaged, Packer, Unpacker},
    service::{TenantCuts, log_entries},
};

/// Scores of each kind; the place in the list is the place in [`Entry`].
pub(super) const fn slots(kind: EntityKind) -> &'static [&'static str] {
    match kind {
        EntityKind::Contact => &["priority", "engagement", "authority", "next_action"],
        EntityKind::Account => &["intent", "fit", "engagement", "relationship", "health"],
        EntityKind::Deal => &["health"],
        EntityKind::Tenant => &[],
    }
}

const SLOTS: usize = 5;
/// An instant that never comes.
pub(super) const NEVER: Timestamp = Timestamp(i64::MAX);

/// What the feed last said of one entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Entry {
    /// NaN where unscored.
    values: [f64; SLOTS],
    /// Number of the tier label, 0 for none.
    tiers: [u16; SLOTS],
    /// Last scored, whether or not anything was written.
    pub(super) scored: Timestamp,
    /// When its timer is due; [`NEVER`] for none.
    pub(super) armed: Timestamp,
}

impl Default for Entry {
    fn default() -> Self {
        Self {
            values: [f64::NAN; SLOTS],
            tiers: [0; SLOTS],
            scored: Timestamp(i64::MIN),
            armed: NEVER,
        }
    }
}

impl Entry {
    /// Packs it for a checkpoint.
    pub(super) fn pack(&self, packer: &mut Packer) {
        let scored = self.values.iter().enumerate();
        let scored = scored.fold(0, |mask, (slot, value)| {
            mask | (u8::from(!value.is_nan()) << slot)
        });
        let tiered = self.tiers.iter().enumerate();
        let tiered = tiered.fold(0, |mask, (slot, tier)| mask | (u8::from(*tier != 0) << slot));
        packer.byte(scored);
        packer.byte(tiered);
        for value in self.values.iter().filter(|value| !value.is_nan()) {
            packer.word(value.to_bits());
        }
        for tier in self.tiers.iter().filter(|tier| **tier != 0) {
            packer.number(u32::from(*tier));
        }
        packer.word(self.scored.micros().cast_unsigned());
        packer.word(self.armed.micros().cast_unsigned());
    }

    pub(super) fn unpack(from: &mut Unpacker<'_>) -> Result<Self, Damaged> {
        let mut entry = Self::default();
        let (scored, tiered) = (from.byte()?, from.byte()?);
        for slot in (0..SLOTS).filter(|slot| (scored >> slot) & 1 != 0) {
            entry.values[slot] = f64::from_bits(from.word()?);
        }
        for slot in (0..SLOTS).filter(|slot| (tiered >> slot) & 1 != 0) {
            entry.tiers[slot] =
                u16::try_from(from.number()?).map_err(|_| Damaged("a tier has no such number"))?;
        }
        entry.scored = Timestamp(from.word()?.cast_signed());
        entry.armed = Timestamp(from.word()?.cast_signed());
        Ok(entry)
    }
}

/// What the feed last said of one score.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Said {
    pub(super) value: Option<f64>,
    pub(super) tier: Option<Arc<str>>,
}

/// A change of memory, applied once the feed holds what it says.
#[derive(Debug)]
pub(super) enum Update {
    /// Scores written of an entity, by slot.
    Said {
        tenant: Arc<str>,
        kind: EntityKind,
        id: Arc<str>,
        scores: Vec<(usize, Option<f64>, Option<String>)>,
        scored: Timestamp,
        /// When to look again; `None` leaves the timer.
        look_at: Option<Timestamp>,
    },
    /// The entity is gone.
    Gone {
        tenant: Arc<str>,
        kind: EntityKind,
        id: Arc<str>,
    },
    /// Cut-offs written.
    Cuts { tenant: Arc<str>, cuts: Arc<TenantCuts> },
}

#[derive(Debug, Default)]
struct TenantEmitted {
    kinds: [HashMap<Arc<str>, Entry>; 3],
    cuts: Option<Arc<TenantCuts>>,
}

/// The kinds that have scores, by place.
const KINDS: [EntityKind; 3] = [EntityKind::Contact, EntityKind::Account, EntityKind::Deal];

const fn place(kind: EntityKind) -> Option<usize> {
    match kind {
        EntityKind::Contact => Some(0),
        EntityKind::Account => Some(1),
        EntityKind::Deal => Some(2),
        EntityKind::Tenant => None,
    }
}

/// The memory of all tenants.
#[derive(Debug, Default)]
pub(super) struct Emitted {
    tenants: HashMap<Arc<str>, TenantEmitted>,
    labels: Vec<Arc<str>>,
}

impl Emitted {
    fn label(&mut self, text: &str) -> u16 {
        let held = self.labels.iter().position(|label| **label == *text);
        let place = held.unwrap_or_else(|| {
            self.labels.push(text.into());
            self.labels.len() - 1
        });
        // Labels come from definitions, a few dozen; past 65,534 further ones would count as none.
        u16::try_from(place + 1).unwrap_or(0)
    }

    /// Tier labels in the order of their numbers.
    pub(super) fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    pub(super) fn set_labels(&mut self, labels: Vec<Arc<str>>) {
        self.labels = labels;
    }

    pub(super) fn set_cuts(&mut self, tenant: &str, cuts: TenantCuts) {
        self.tenants.entry_ref(tenant).or_default().cuts = Some(Arc::new(cuts));
    }

    /// Puts an entity's entry as a checkpoint held it.
    pub(super) fn put(&mut self, tenant: &Arc<str>, kind: EntityKind, id: Arc<str>, entry: Entry) {
        if let Some(place) = place(kind) {
            let tenant = self.tenants.entry_ref(&**tenant).or_default();
            tenant.kinds[place].insert(id, entry);
        }
    }

    fn text(&self, label: u16) -> Option<Arc<str>> {
        self.labels
            .get(usize::from(label).checked_sub(1)?)
            .map(Arc::clone)
    }

    pub(super) fn entry(&self, tenant: &str, kind: EntityKind, id: &str) -> Option<&Entry> {
        self.tenants.get(tenant)?.kinds[place(kind)?].get(id)
    }

    /// What was last said of a score.
    pub(super) fn said(&self, entry: Option<&Entry>, slot: usize) -> Said {
        let Some(entry) = entry else {
            return Said::default();
        };
        let value = entry.values[slot];
        Said {
            value: (!value.is_nan()).then_some(value),
            tier: self.text(entry.tiers[slot]),
        }
    }

    pub(super) fn cuts(&self, tenant: &str) -> Option<Arc<TenantCuts>> {
        self.tenants.get(tenant)?.cuts.as_ref().map(Arc::clone)
    }

    pub(super) fn contacts(&self, tenant: &str) -> usize {
        self.tenants.get(tenant).map_or(0, |tenant| tenant.kinds[0].len())
    }

    pub(super) fn tiers(
        &self,
        tenant: &str,
        kind: EntityKind,
        ids: Option<&[Arc<str>]>,
    ) -> HashMap<(Arc<str>, String), String> {
        let mut tiers = HashMap::new();
        let (Some(tenant), Some(place)) = (self.tenants.get(tenant), place(kind)) else {
            return tiers;
        };
        let mut add = |id: &Arc<str>, entry: &Entry| {
            for (slot, score) in slots(kind).iter().enumerate() {
                if let Some(tier) = self.text(entry.tiers[slot]) {
                    tiers.insert((Arc::clone(id), (*score).to_owned()), tier.to_string());
                }
            }
        };
        match ids {
            Some(ids) => {
                for id in ids {
                    if let Some(entry) = tenant.kinds[place].get(id) {
                        add(id, entry);
                    }
                }
            }
            None => tenant.kinds[place].iter().for_each(|(id, entry)| add(id, entry)),
        }
        tiers
    }

    fn entry_mut(&mut self, tenant: &Arc<str>, kind: EntityKind, id: &Arc<str>) -> Option<&mut Entry> {
        let tenant = self.tenants.entry_ref(&**tenant).or_default();
        Some(tenant.kinds[place(kind)?].entry(Arc::clone(id)).or_default())
    }

    /// Applies a change of memory and arms the entity's timer.
    pub(super) fn take(&mut self, update: Update, timers: &mut Timers) {
        match update {
            Update::Said {
                tenant,
                kind,
                id,
                scores,
                scored,
                look_at,
            } => {
                let scores: Vec<_> = scores
                    .into_iter()
                    .map(|(slot, value, tier)| (slot, value, tier.map_or(0, |tier| self.label(&tier))))
                    .collect();
                let Some(entry) = self.entry_mut(&tenant, kind, &id) else {
                    return;
                };
                for (slot, value, tier) in scores {
                    entry.values[slot] = value.unwrap_or(f64::NAN);
                    entry.tiers[slot] = tier;
                }
                entry.scored = entry.scored.max(scored);
                // A timer that is due earlier stays: it looks, finds nothing, and is armed anew. So there is one
                // timer an entity, however often events touch it.
                if let Some(look_at) = look_at
                    && look_at < entry.armed
                {
                    entry.armed = look_at;
                    timers.arm(look_at, tenant, kind, id);
                }
            }
            Update::Gone { tenant, kind, id } => {
                if let (Some(tenant), Some(place)) = (self.tenants.get_mut(&tenant), place(kind)) {
                    tenant.kinds[place].remove(&id);
                }
            }
            Update::Cuts { tenant, cuts } => {
                self.tenants.entry_ref(&*tenant).or_default().cuts = Some(cuts);
            }
        }
    }

    /// Arms the timers that a checkpoint held, or forgets them: a pass over all entities arms them anew.
    pub(super) fn rearm(&mut self, timers: &mut Timers, keep: bool) {
        for (tenant, held) in &mut self.tenants {
            for (kind, entities) in KINDS.into_iter().zip(&mut held.kinds) {
                for (id, entry) in entities.iter_mut().filter(|(_, entry)| entry.armed != NEVER) {
                    if keep {
                        timers.arm(entry.armed, Arc::clone(tenant), kind, Arc::clone(id));
                    } else {
                        entry.armed = NEVER;
                    }
                }
            }
        }
    }

    /// A timer was taken; whether it was the one the entity waits for.
    pub(super) fn disarm(&mut self, tenant: &str, kind: EntityKind, id: &str, due: Timestamp) -> bool {
        let entry = place(kind)
            .and_then(|place| self.tenants.get_mut(tenant)?.kinds[place].get_mut(id))
            .filter(|entry| entry.armed == due);
        entry.is_some_and(|entry| {
            entry.armed = NEVER;
            true
        })
    }

    /// Reads a batch of the stored feed.
    pub(super) fn restore(&mut self, batch: &RecordBatch) {
        for entry in log_entries(batch) {
            let tenant: Arc<str> = match self.tenants.get_key_value(entry.tenant_id) {
                Some((tenant, _)) => Arc::clone(tenant),
                None => entry.tenant_id.into(),
            };
            if entry.kind == EntityKind::Tenant {
                if let Ok(cuts) = serde_json::from_str(entry.detail) {
                    self.tenants.entry_ref(&*tenant).or_default().cuts = Some(Arc::new(cuts));
                }
                continue;
            }
            let Some(slot) = slots(entry.kind).iter().position(|score| *score == entry.score) else {
                continue;
            };
            let tier = entry.tier.map_or(0, |tier| self.label(tier));
            let Some(place) = place(entry.kind) else {
                continue;
            };
            let entities = &mut self.tenants.entry_ref(&*tenant).or_default().kinds[place];
            let held = entities.entry_ref(entry.entity_id).or_default();
            held.values[slot] = entry.value.unwrap_or(f64::NAN);
            held.tiers[slot] = tier;
            held.scored = held.scored.max(entry.as_of);
            if held.values.iter().all(|value| value.is_nan()) {
                entities.remove(entry.entity_id);
            }
        }
    }
}
