//! What do the deals as known at one instant say of a period?

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use revgauge_contract::{Timestamp, error::Failure};

use super::{
    ForecastSettings, Learnt,
    outlook::{Overlays, owned},
    past::{Reading, past_periods, past_spans},
    question::user,
    remembered::{Lessons, PastKey, Remembered, View, known_until},
};
use crate::{changelog::ChangeLog, directory::Outcome};

impl View {
    /// The log as this view reads it.
    pub(super) fn reading<'a>(&'a self, log: &'a ChangeLog) -> Reading<'a> {
        let currency = self.currency.as_ref();
        Reading {
            log,
            stages: &self.stages,
            scope: &self.scope,
            currency: currency.map(|(currency, rates)| (currency.as_str(), &**rates)),
        }
    }
}

/// What the deals as known at one instant say of a period, beside what past periods taught.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) at: Timestamp,
    pub(super) learnt: BTreeMap<String, Learnt>,
    pub(super) lessons: Arc<Lessons>,
}

impl Present {
    /// Reads and learns; of the past only what `memory` does not know. Cost: a pass over the log and a learning, for each
    /// past period that is not remembered once more.
    ///
    /// # Errors
    /// A rate is missing for the currency asked for.
    pub(super) fn learn(
        log: &ChangeLog,
        view: &View,
        period: (Timestamp, Timestamp),
        at: Timestamp,
        settings: &ForecastSettings,
        memory: &Remembered<PastKey, Lessons>,
    ) -> Result<Self, Failure> {
        let reading = view.reading(log);
        let books = reading.books(at)?;
        let spans = past_spans(period, at, settings.past_periods.min(40));
        let key = PastKey {
            view: view.clone(),
            fingerprint: log.fingerprint(known_until(&spans)),
            spans,
        };
        let lessons = match memory.get(&key) {
            Some(lessons) => lessons,
            None => {
                let past = past_periods(reading, &key.spans)?;
                let lessons = Arc::new(Lessons::new(past, settings.remembered_nodes));
                memory.put(key, &lessons, lessons.weight(), |_| false);
                lessons
            }
        };
        let learn = |deals| Learnt::learn_with_dates(deals, &view.stages, at, period);
        Ok(Self {
            at,
            learnt: books
                .iter()
                .map(|(currency, deals)| (currency.clone(), learn(deals)))
                .collect(),
            lessons,
        })
    }

    /// Deals held, without those of the past.
    pub(super) fn weight(&self) -> usize {
        self.learnt.values().map(|learnt| learnt.deals().len()).sum()
    }

    /// # Errors
    /// `User` when a deal to be seen otherwise is not open among those of the owners.
    pub(super) fn check_overlays(
        &self,
        overlays: &Overlays<'_>,
        owners: Option<&BTreeSet<String>>,
    ) -> Result<(), Failure> {
        let mut missing: BTreeSet<&str> = overlays.keys().copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        for deal in self
            .learnt
            .values()
            .flat_map(|learnt| owned(learnt.deals(), owners))
        {
            if deal.outcome == Outcome::Open {
                missing.remove(deal.deal_id.as_str());
            }
        }
        missing.first().map_or(Ok(()), |id| {
            Err(user(format!(
                "cannot see deal {id} otherwise: no open deal of this name is in the forecast"
            )))
        })
    }
}
