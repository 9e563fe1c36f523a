//! Background passes over all entities of a tenant: after a restart, a recut, a new definition.

use std::sync::Arc;

use revgauge_contract::score::{Cause, EntityKind};

/// What a pass writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Every change that an event would write.
    AllChanges,
    /// First scores and changes of tier; values that only decayed are left for the next event.
    TiersOnly,
    /// Changes of priority.
    PriorityOnly,
}

/// A pass over the entities of one kind.
#[derive(Debug)]
pub(super) struct Sweep {
    pub(super) tenant: Arc<str>,
    pub(super) kind: EntityKind,
    pub(super) mode: Mode,
    pub(super) cause: Cause,
    ids: Vec<Arc<str>>,
}

impl Sweep {
    pub(super) const ALL_CHANGES: Mode = Mode::AllChanges;
    pub(super) const TIERS_ONLY: Mode = Mode::TiersOnly;

    pub(super) fn new(
        tenant: &Arc<str>,
        kind: EntityKind,
        ids: Vec<Arc<str>>,
        mode: Mode,
        cause: Cause,
    ) -> Self {
        Self {
            tenant: Arc::clone(tenant),
            kind,
            mode,
            cause,
            ids,
        }
    }

    pub(super) fn left(&self) -> usize {
        self.ids.len()
    }

    pub(super) fn is_of(&self, tenant: &str, mode: Mode, cause: Cause) -> bool {
        *self.tenant == *tenant && self.mode == mode && self.cause == cause
    }

    /// The next entities.
    pub(super) fn take(&mut self, limit: usize) -> Vec<Arc<str>> {
        let rest = self.ids.len().saturating_sub(limit.max(1));
        self.ids.split_off(rest)
    }
}
