//! Looks at a tenant's population on a schedule: percentiles of priority, usual days in stages, hours of answers. What
//! it finds is written to the feed, so that a replay reads the same.

use std::sync::Arc;

use revgauge_contract::{
    Timestamp,
    error::Failure,
    score::{Cause, EntityKind, ScoreChange},
};
use tokio::task::JoinHandle;

use super::{
    LiveScorer, Turn,
    emitted::Update,
    sweep::{Mode, Sweep},
};
use crate::{
    assembly::Detail,
    contact::add_rhythm,
    gather::Which,
    priority::cut,
    service::{Scoring, TenantCuts, Tiers, View},
};

/// A tenant's schedule.
#[derive(Debug, Default)]
pub(super) struct Recut {
    /// Not before; the earliest instant at first.
    due: Option<Timestamp>,
    running: Option<JoinHandle<Result<TenantCuts, Failure>>>,
}

impl LiveScorer {
    pub(super) fn recut_now(&self, tenant: &Arc<str>) {
        self.recuts.lock().entry_ref(&**tenant).or_default().due = None;
    }

    pub(super) fn recut_after_interval(&self, tenant: &Arc<str>) {
        let due = self.after_interval();
        self.recuts.lock().entry_ref(&**tenant).or_default().due = Some(due);
    }

    fn after_interval(&self) -> Timestamp {
        let interval_us = i64::try_from(self.settings.recut_interval_ms).unwrap_or(i64::MAX / 1_000) * 1_000;
        self.clock.now().plus_micros(interval_us)
    }

    /// Begins what is due, beside the loop, and writes what has ended. Says whether anything was written.
    pub(super) async fn recut_due(&self) -> bool {
        let now = self.clock.now();
        let mut ended = Vec::new();
        for tenant in self.scoring.directories.tenants() {
            let enough = {
                let least = self
                    .scoring
                    .definitions(&tenant, revgauge_contract::statistics::Knowledge::Now);
                self.memory.read().contacts(&tenant) >= least.priority.min_population
            };
            let mut recuts = self.recuts.lock();
            let recut = recuts.entry_ref(&*tenant).or_default();
            match recut.running.take_if(|job| job.is_finished()) {
                Some(job) => ended.push((tenant, job)),
                None if recut.running.is_none() && enough && recut.due.is_none_or(|due| due <= now) => {
                    recut.due = Some(self.after_interval());
                    recut.running = Some(tokio::spawn(look(
                        Arc::clone(&self.scoring),
                        tenant,
                        self.settings.recut_sample,
                        now,
                    )));
                }
                None => {}
            }
        }
        let mut written = false;
        for (tenant, job) in ended {
            written |= self.recut_ended(&tenant, job, now).await;
        }
        written
    }

    /// Waits for recuts that run; says whether there were any.
    pub(super) async fn recut_finished(&self) -> bool {
        let running: Vec<(Arc<str>, JoinHandle<_>)> = self
            .recuts
            .lock()
            .iter_mut()
            .filter_map(|(tenant, recut)| Some((Arc::clone(tenant), recut.running.take()?)))
            .collect();
        let any = !running.is_empty();
        for (tenant, job) in running {
            self.recut_ended(&tenant, job, self.clock.now()).await;
        }
        any
    }

    async fn recut_ended(
        &self,
        tenant: &Arc<str>,
        job: JoinHandle<Result<TenantCuts, Failure>>,
        now: Timestamp,
    ) -> bool {
        let cuts = match job.await {
            Ok(Ok(cuts)) => cuts,
            Ok(Err(failure)) => {
                tracing::warn!(error = %failure, tenant = &**tenant, "cannot cut the population, the last cut stays");
                return false;
            }
            Err(error) => {
                tracing::error!(%error, tenant = &**tenant, "cutting the population stopped, the last cut stays");
                return false;
            }
        };
        if *self.cuts(tenant) == cuts {
            return false;
        }
        let population = cuts.cut_offs.map_or(0, |cuts| cuts.population);
        let definitions = self
            .scoring
            .definitions(tenant, revgauge_contract::statistics::Knowledge::Now);
        let detail = serde_json::to_string(&cuts).unwrap_or_default();
        let change = ScoreChange {
            tenant_id: tenant.to_string(),
            entity_kind: EntityKind::Tenant,
            entity_id: tenant.to_string(),
            score: "cutoffs".to_owned(),
            old_value: None,
            new_value: None,
            old_tier: None,
            new_tier: None,
            reason: format!("cut from {population} contacts"),
            cause: Cause::Recut,
            as_of: now,
            definition: definitions.priority.id().to_owned(),
            fingerprint: crate::fingerprint::combined(["cutoffs"], &detail),
            detail,
        };
        self.write(Turn {
            changes: vec![change],
            updates: vec![Update::Cuts {
                tenant: Arc::clone(tenant),
                cuts: Arc::new(cuts),
            }],
            worked: true,
        })
        .await;
        self.sweep_after_recut(tenant);
        true
    }

    /// Priorities and stalls are read against the population: all of them may have moved.
    fn sweep_after_recut(&self, tenant: &Arc<str>) {
        let Some(directory) = self.scoring.directories.loaded(tenant) else {
            return;
        };
        let (contacts, deals) = {
            let directory = directory.read();
            (
                directory.ids(EntityKind::Contact),
                directory.ids(EntityKind::Deal),
            )
        };
        let mut state = self.state.lock();
        state.sweeps.retain(|sweep| {
            !sweep.is_of(tenant, Mode::PriorityOnly, Cause::Recut)
                && !sweep.is_of(tenant, Mode::AllChanges, Cause::Recut)
        });
        state.sweeps.push(Sweep::new(
            tenant,
            EntityKind::Contact,
            contacts,
            Mode::PriorityOnly,
            Cause::Recut,
        ));
        state.sweeps.push(Sweep::new(
            tenant,
            EntityKind::Deal,
            deals,
            Mode::AllChanges,
            Cause::Recut,
        ));
    }
}

/// One look at a tenant's population.
async fn look(
    scoring: Arc<Scoring>,
    tenant: Arc<str>,
    sample: usize,
    at: Timestamp,
) -> Result<TenantCuts, Failure> {
    let view = View::live(&scoring, &tenant, Arc::default()).await?;
    let mut ids = view.directory.read().ids(EntityKind::Contact);
    thin(&mut ids, sample);
    let mut values = Vec::with_capacity(ids.len());
    let mut rhythm = [0.0; 168];
    for ids in ids.chunks(scoring.settings.chunk_entities.clamp(1, 500)) {
        for contact in view
            .contacts(Which::These(ids), at, Detail::Value, &Tiers::new())
            .await?
        {
            add_rhythm(&view.definitions, &contact.facts.rhythm, &mut rhythm);
            if contact.priority.value.is_some() {
                values.extend(
                    contact
                        .priority
                        .facts
                        .get("raw")
                        .and_then(serde_json::Value::as_f64),
                );
            }
        }
        tokio::task::yield_now().await;
    }
    Ok(TenantCuts {
        cut_offs: (!values.is_empty()).then(|| cut(&mut values, &view.definitions.priority.shares)),
        stage_medians: view.stage_medians(at).await?,
        segment_rhythm: rhythm.to_vec(),
    })
}

/// Keeps about `sample` ids, chosen by a hash of the id: the same ones each time, whatever else there is.
fn thin(ids: &mut Vec<Arc<str>>, sample: usize) {
    if ids.len() <= sample {
        return;
    }
    let share = sample as f64 / ids.len() as f64;
    let bound = (share * u64::MAX as f64) as u64;
    ids.retain(|id| scattered(id) <= bound);
}

/// FNV-1a with a final mix: stable across runs and versions, which the standard hashers do not promise.
fn scattered(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_about_as_large_as_asked_and_stable() {
        let all: Vec<Arc<str>> = (0..20_000)
            .map(|n| Arc::from(format!("c{n}@example.com")))
            .collect();
        let mut sample = all.clone();
        thin(&mut sample, 2_000);
        assert!((1_800..2_200).contains(&sample.len()), "{}", sample.len());
        let mut again = all;
        thin(&mut again, 2_000);
        assert_eq!(sample, again);
    }
}
