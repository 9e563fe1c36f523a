//! What need not be learnt again? A memory of what deals as known now, and what past periods taught.
//!
//! What was known at a past instant changes seldom but may: an event may come late with an earlier instant of knowledge, a
//! person may be erased. So what is remembered of the past is found by the *content* it was learnt from
//! ([`ChangeLog::fingerprint`]) and by everything else that went into it, and never by its age: another log, row rule,
//! currency, rate, stage or period finds nothing. What is remembered of now is found by the version of the live state.
//! An answer with the memory is the answer without it (ADR 090).

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use revgauge_contract::Timestamp;

use super::{
    Rates, Record, Scope, Simulation,
    past::{Asked, PastPeriod, PastSpan},
};
use crate::{changelog::ChangeLog, directory::StageCatalogue};

/// The last few values, by key, up to a sum of weights. The one used longest ago goes first; a value that weighs more
/// than the limit alone is not kept.
#[derive(Debug)]
pub(super) struct Remembered<K, V> {
    most: usize,
    held: Mutex<VecDeque<(K, Arc<V>, usize)>>,
}

impl<K: PartialEq, V> Remembered<K, V> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            held: Mutex::default(),
        }
    }

    /// The value of a key. Cost: a comparison of keys for each value held.
    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut held = self.held.lock();
        let place = held.iter().position(|(held, _, _)| held == key)?;
        let found = held.remove(place)?;
        let value = Arc::clone(&found.1);
        held.push_back(found);
        Some(value)
    }

    /// Keeps a value, also beside those of other keys for which `outdated` holds not.
    pub(super) fn put(&self, key: K, value: &Arc<V>, weight: usize, outdated: impl Fn(&K) -> bool) {
        let mut held = self.held.lock();
        held.retain(|(held, _, _)| *held != key && !outdated(held));
        if weight > self.most {
            return;
        }
        held.push_back((key, Arc::clone(value), weight));
        let mut sum: usize = held.iter().map(|(_, _, weight)| weight).sum();
        while sum > self.most
            && let Some((_, _, weight)) = held.pop_front()
        {
            sum -= weight;
        }
    }

    /// Sum of the weights held.
    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        self.held.lock().iter().map(|(_, _, weight)| weight).sum()
    }
}

/// Everything that decides what is learnt, beside the deals and the instants.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    pub(super) tenant_id: Arc<str>,
    pub(super) stages: Arc<StageCatalogue>,
    pub(super) scope: Scope,
    /// The currency to tell all amounts in, and the rates.
    pub(super) currency: Option<(String, Arc<Rates>)>,
}

/// By what the lessons of past periods are found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PastKey {
    pub(super) view: View,
    pub(super) spans: Vec<PastSpan>,
    /// Of all that was known in the newest of the spans, and so in all.
    pub(super) fingerprint: [u64; 2],
}

/// Whose forecast was made: a currency, and the owners whose deals count.
type Node = (String, Option<BTreeSet<String>>);

/// What past periods taught, and what was said in them of teams and people.
#[derive(Debug)]
pub(super) struct Lessons {
    pub(super) past: Vec<PastPeriod>,
    said: Remembered<Node, Vec<Option<Record>>>,
}

impl Lessons {
    /// With a memory of what was said of `most_nodes` teams and people.
    pub(super) fn new(past: Vec<PastPeriod>, most_nodes: usize) -> Self {
        Self {
            past,
            said: Remembered::new(most_nodes),
        }
    }

    /// As [`Asked::said`] of all of its periods.
    pub(super) fn said(&self, asked: Asked<'_>, simulation: Simulation) -> Arc<Vec<Option<Record>>> {
        let node = (asked.currency.to_owned(), asked.owners.cloned());
        self.said.get(&node).unwrap_or_else(|| {
            let said = Arc::new(asked.said(&self.past, simulation));
            self.said.put(node, &said, 1, |_| false);
            said
        })
    }

    /// Deals held.
    pub(super) fn weight(&self) -> usize {
        let learnt = self.past.iter().flat_map(|past| past.learnt.values());
        learnt.map(|learnt| learnt.deals().len()).sum()
    }
}

/// The newest instant of the spans, of which all that was known is in the fingerprint.
pub(super) fn known_until(spans: &[PastSpan]) -> Timestamp {
    let thens = spans.iter().map(|span| span.then);
    thens.max().unwrap_or(Timestamp(i64::MIN))
}

/// A log of the live state, and the version it was read at.
#[derive(Debug)]
pub(super) struct LiveLog {
    pub(super) version: u64,
    pub(super) log: Arc<ChangeLog>,
}
