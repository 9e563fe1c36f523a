//! What waits to be scored, each entity once, in the order it was first touched.

use std::{collections::VecDeque, sync::Arc};

use arrow::array::{Array as _, RecordBatch};
use hashbrown::HashSet;
use revgauge_contract::{Position, schema::text_column, score::EntityKind};

use crate::gather::{Directories, rows_by_tenant};

/// Tenant and canonical id.
pub(super) type Entity = (Arc<str>, Arc<str>);

/// A queue in which an entity stands once, with the position that first touched it.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: HashSet<Entity>,
    order: VecDeque<(Entity, Position)>,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    fn push(&mut self, entity: Entity, position: Position) {
        if self.waiting.insert(entity.clone()) {
            self.order.push_back((entity, position));
        }
    }

    /// Takes up to `limit` entities of the tenant at the front.
    pub(super) fn pop(&mut self, limit: usize) -> Option<(Arc<str>, Vec<Arc<str>>)> {
        let tenant = Arc::clone(&self.order.front()?.0.0);
        let mut ids = Vec::new();
        while ids.len() < limit.max(1)
            && self.order.front().is_some_and(|((of, _), _)| *of == tenant)
            && let Some((entity, _)) = self.order.pop_front()
        {
            self.waiting.remove(&entity);
            ids.push(entity.1);
        }
        Some((tenant, ids))
    }

    fn oldest(&self) -> Option<Position> {
        self.order.front().map(|(_, position)| *position)
    }
}

/// One queue a kind.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) contacts: Queue,
    pub(super) accounts: Queue,
    pub(super) deals: Queue,
}

impl Queues {
    pub(super) fn len(&self) -> usize {
        self.contacts.len() + self.accounts.len() + self.deals.len()
    }

    pub(super) fn push(&mut self, entities: Vec<(EntityKind, Arc<str>, Arc<str>)>, position: Position) {
        for (kind, tenant, id) in entities {
            match kind {
                EntityKind::Contact => self.contacts.push((tenant, id), position),
                EntityKind::Account => self.accounts.push((tenant, id), position),
                EntityKind::Deal => self.deals.push((tenant, id), position),
                EntityKind::Tenant => {}
            }
        }
    }

    pub(super) fn waits(&self, kind: EntityKind, tenant: &Arc<str>, id: &Arc<str>) -> bool {
        let entity = (Arc::clone(tenant), Arc::clone(id));
        match kind {
            EntityKind::Contact => self.contacts.waiting.contains(&entity),
            EntityKind::Account => self.accounts.waiting.contains(&entity),
            EntityKind::Deal => self.deals.waiting.contains(&entity),
            EntityKind::Tenant => false,
        }
    }

    /// The last position of which nothing waits.
    pub(super) fn covers(&self, applied: Position) -> Position {
        [&self.contacts, &self.accounts, &self.deals]
            .into_iter()
            .filter_map(Queue::oldest)
            .min()
            .map_or(applied, |oldest| Position(oldest.0.saturating_sub(1)))
    }
}

/// The entities that rows of a pipeline are about, and those that read them.
pub(super) fn entities_of(
    directories: &Directories,
    pipeline: &str,
    batch: &RecordBatch,
    found: &mut Vec<(EntityKind, Arc<str>, Arc<str>)>,
) {
    let (kind, column) = match pipeline {
        "contact_engagement" => (EntityKind::Contact, "contact_key"),
        "account_signals" => (EntityKind::Account, "account_key"),
        "deal_activity" | "deal_contacts" | "deal_history" | "deal_texts" => (EntityKind::Deal, "deal_id"),
        _ => return,
    };
    let Some(keys) = text_column(batch, column) else {
        return;
    };
    for (tenant, rows) in rows_by_tenant(batch) {
        let Some(directory) = directories.loaded(&tenant) else {
            continue;
        };
        let directory = directory.read();
        // Rows of one key mostly stand together.
        let mut last = None;
        for row in rows {
            let key = keys.value(row);
            if keys.is_null(row) || last == Some(key) {
                continue;
            }
            last = Some(key);
            let Some(id) = directory.canonical(kind, key) else {
                continue;
            };
            if kind == EntityKind::Contact {
                if let Some(account) = directory.account_of(&id) {
                    found.push((EntityKind::Account, Arc::clone(&tenant), account));
                }
                let deals = directory.deals_of_contact(&id);
                found.extend(
                    deals
                        .into_iter()
                        .map(|deal| (EntityKind::Deal, Arc::clone(&tenant), deal)),
                );
            }
            found.push((kind, Arc::clone(&tenant), id));
        }
    }
}
