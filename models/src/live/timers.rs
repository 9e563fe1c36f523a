//! When to look at an entity again although nothing happened to it (N-5).

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use revgauge_contract::{Timestamp, score::EntityKind};

/// An entity's appointment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: Timestamp,
    pub(super) tenant: Arc<str>,
    pub(super) kind: EntityKind,
    pub(super) id: Arc<str>,
}

/// Appointments, the earliest first. Overtaken ones stay until due and are then dropped.
#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<Due>>);

impl Timers {
    pub(super) fn arm(&mut self, at: Timestamp, tenant: Arc<str>, kind: EntityKind, id: Arc<str>) {
        self.0.push(Reverse(Due { at, tenant, kind, id }));
    }

    /// Takes the next appointment that is due.
    pub(super) fn pop(&mut self, now: Timestamp) -> Option<Due> {
        let due = self.0.peek().is_some_and(|Reverse(due)| due.at <= now);
        if due {
            self.0.pop().map(|Reverse(due)| due)
        } else {
            None
        }
    }
}
