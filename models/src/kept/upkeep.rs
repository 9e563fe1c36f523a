//! How kept rows are made, made again, and asked for.

use std::{sync::Arc, time::Duration};

use arrow::array::RecordBatch;
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    score::{Alert, EntityKind, Score, ScoreRows},
    statistics::Knowledge,
};
use tokio::{sync::watch, time::Instant};

use super::{KINDS, Scored, Table};
use crate::{
    assembly::Detail,
    deal::{DealFacts, deal_alerts, score_deal},
    directory::first,
    facts::{AccountFacts, ContactFacts},
    gather::Which,
    service::{Scoring, View, account_scores},
    win::served::win_score,
};

/// Columns of the table of scores that are made when they are asked for.
pub(super) const NOT_KEPT: [&str; 5] = ["name", "reasons", "contributions", "facts", "fingerprint"];

/// Whether kept rows hold all that is asked for.
fn holds(asked: &ScoreRows) -> bool {
    asked.ids.is_none() && !NOT_KEPT.iter().any(|column| asked.reads(column))
}

impl View {
    /// What is kept of a contact with these scores.
    pub(crate) fn kept_contact(&self, facts: &ContactFacts, scores: Vec<Score>) -> Scored {
        Scored {
            id: facts.contact_id.as_str().into(),
            account_id: facts.account_id.clone(),
            owner_id: first(&facts.fields, &["owner_id"]).map(str::to_owned),
            scores,
            alerts: Vec::new(),
        }
    }

    /// What is kept of an account with these scores.
    pub(crate) fn kept_account(&self, facts: &AccountFacts, scores: Vec<Score>) -> Scored {
        Scored {
            id: facts.account_id.as_str().into(),
            account_id: Some(facts.account_id.clone()),
            owner_id: first(&facts.fields, &["owner_id"]).map(str::to_owned),
            scores,
            alerts: Vec::new(),
        }
    }

    /// What is kept of a deal with this health.
    pub(crate) fn kept_deal(&self, facts: &DealFacts, health: Score, at: Timestamp) -> Scored {
        let chance = self
            .win
            .as_ref()
            .map(|win| win_score(win, facts, at, Detail::Value));
        Scored {
            id: facts.deal_id.as_str().into(),
            account_id: facts.account_id.clone(),
            owner_id: first(&facts.fields, &["owner_id"]).map(str::to_owned),
            scores: std::iter::once(health).chain(chance).collect(),
            alerts: deal_alerts(&self.definitions, facts, at),
        }
    }

    async fn kept_rows(
        &self,
        kind: EntityKind,
        ids: &[Arc<str>],
        at: Timestamp,
    ) -> Result<Vec<Scored>, Failure> {
        let (which, tiers) = (Which::These(ids), self.tiers(kind, Some(ids)).await?);
        Ok(match kind {
            EntityKind::Contact => {
                let contacts = self.contacts(which, at, Detail::Value, &tiers).await?;
                let row = |contact: crate::service::ContactView| {
                    let facts = contact.facts.clone();
                    let scores = self.told_contact_scores(contact, at, Detail::Value);
                    self.kept_contact(&facts, scores)
                };
                contacts.into_iter().map(row).collect()
            }
            EntityKind::Account => {
                let accounts = self.accounts(which, at, Detail::Value).await?;
                let row = |account: crate::service::AccountView| {
                    self.kept_account(&account.facts, account_scores(account.scores))
                };
                accounts.into_iter().map(row).collect()
            }
            EntityKind::Deal => {
                let deals = self.deals(which, at).await?;
                let row = |facts: &DealFacts| {
                    let previous = tiers.get(&(Arc::from(facts.deal_id.as_str()), "health".to_owned()));
                    let previous = previous.map(String::as_str);
                    let health = score_deal(&self.definitions, facts, at, previous, Detail::Value);
                    self.kept_deal(facts, health, at)
                };
                deals.iter().map(row).collect()
            }
            EntityKind::Tenant => Vec::new(),
        })
    }
}

impl Scoring {
    /// Makes kept rows of entities again, as of now.
    async fn make_again(&self, tenant: &str, kind: EntityKind, ids: &[Arc<str>]) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        // Before the facts are read: what is touched meanwhile stays marked.
        let revision = self.kept.revision(tenant, kind);
        let view = self.view(tenant, Knowledge::Now).await?;
        let at = self.clock.now();
        let (living, gone): (Vec<Arc<str>>, Vec<Arc<str>>) = {
            let directory = view.directory.read();
            ids.iter().cloned().partition(|id| {
                directory.canonical(kind, id).as_ref() == Some(id) && !directory.is_deleted(kind, id)
            })
        };
        let rows = view.kept_rows(kind, &living, at).await?;
        let gone = gone.into_iter().map(|id| Scored {
            id,
            account_id: None,
            owner_id: None,
            scores: Vec::new(),
            alerts: Vec::new(),
        });
        self.kept
            .put(tenant, kind, revision, at, rows.into_iter().chain(gone));
        Ok(())
    }

    /// The rows kept of a kind, from here on where they were not; `None` where they are too many.
    async fn table_begun(&self, tenant: &Arc<str>, kind: EntityKind) -> Result<Option<Table>, Failure> {
        if let Some(table) = self.kept.table(tenant, kind) {
            return Ok(Some(table));
        }
        let directory = self
            .directories
            .get(&*self.source, tenant, Knowledge::Now)
            .await?;
        self.kept.begin(tenant, kind, &directory, self.clock.now());
        Ok(self.kept.table(tenant, kind))
    }

    /// Waits for the first rows of many entities: each question that computed them itself would hold up the round that makes
    /// them for all. `false` when there are few enough to compute.
    ///
    /// # Errors
    /// They are not there after a while.
    async fn first_made(&self, table: &Table, kind: EntityKind) -> Result<bool, Failure> {
        const LOOK: Duration = Duration::from_millis(50);
        let settings = &self.kept.settings;
        if table.read().is_complete() {
            return Ok(true);
        }
        if table.read().len() <= settings.computed_entities {
            return Ok(false);
        }
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(settings.first_wait_ms) {
            tokio::time::sleep(LOOK).await;
            if table.read().is_complete() {
                return Ok(true);
            }
        }
        let (missing, all) = table.read().missing();
        Err(Failure::new(
            ErrorKind::Limit,
            format!(
                "the scores of {all} {}s are being made ready after the start, {missing} are left; ask again in a minute, or for single ones",
                kind.as_str()
            ),
        ))
    }

    /// The kept rows of a kind, those touched or old made again where they are few; `None` where rows are not kept yet.
    async fn kept(&self, tenant: &str, kind: EntityKind) -> Result<Option<Table>, Failure> {
        let table = if self.kept.is_kept_up() {
            // The round may not have come to it yet.
            self.table_begun(&Arc::from(tenant), kind).await?
        } else {
            self.kept.table(tenant, kind)
        };
        let Some(table) = table else {
            return Ok(None);
        };
        if !self.first_made(&table, kind).await? {
            return Ok(None);
        }
        let settings = &self.kept.settings;
        let before = self
            .clock
            .now()
            .plus_micros(-(i64::try_from(settings.fresh_ms).unwrap_or(i64::MAX / 1_000) * 1_000));
        let most = settings.rows_at_once;
        let stale = table.read().stale(before, most);
        // Beyond what is quick, the live scorer and the background round bring them; rows tell their instants.
        let mut ids = stale.touched;
        if ids.len() <= most {
            if ids.len() + stale.aged.len() <= most {
                ids.extend(stale.aged);
            }
            self.make_again(tenant, kind, &ids).await?;
        }
        Ok(Some(table))
    }

    /// The table of scores from kept rows; `None` when it has to be computed.
    pub(crate) async fn kept_table(
        &self,
        tenant: &str,
        kind: EntityKind,
        asked: &ScoreRows,
    ) -> Result<Option<Vec<RecordBatch>>, Failure> {
        if !holds(asked) {
            return Ok(None);
        }
        let Some(table) = self.kept(tenant, kind).await? else {
            return Ok(None);
        };
        let places: Vec<_> = table.read().places().collect();
        let mut batches = Vec::new();
        // The lock is given back in between, so that a long answer does not hold up scoring.
        for range in places {
            let found = table.read().batches(tenant, asked, range)?;
            batches.extend(found.into_iter().filter(|batch| batch.num_rows() > 0));
        }
        Ok(Some(batches))
    }

    /// Alerts of all or some deals, by any key, from kept rows; `None` when they have to be computed.
    pub(crate) async fn kept_alerts(
        &self,
        tenant: &str,
        ids: Option<&[String]>,
    ) -> Result<Option<Vec<Alert>>, Failure> {
        let Some(table) = self.kept(tenant, EntityKind::Deal).await? else {
            return Ok(None);
        };
        let canonical: Option<Vec<Arc<str>>> = match ids {
            Some(ids) => {
                let view = self.view(tenant, Knowledge::Now).await?;
                let known = ids
                    .iter()
                    .filter_map(|id| view.resolve(EntityKind::Deal, id).ok());
                Some(known.collect())
            }
            None => None,
        };
        let alerts = table.read().alerts(canonical.as_deref());
        Ok(Some(alerts))
    }

    /// Keeps rows of all tenants' scores from here on: makes those that are missing and then the oldest again, at the pace
    /// the settings allow, until told to stop. Without it every question is computed.
    pub async fn keep_rows(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        const IDLE: Duration = Duration::from_millis(250);
        self.kept.keep_up(self.kept.settings.max_entities > 0);
        loop {
            let began = Instant::now();
            let (worked, missing) = self.upkeep().await;
            let took = began.elapsed();
            let percent = self.kept.settings.percent_of_a_core.clamp(1, 100);
            let pause = match (worked, missing) {
                (false, _) => IDLE,
                // Until rows are there, questions wait for them.
                (true, true) => took / 4,
                (true, false) => took * (100 - percent) / percent,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        self.kept.keep_up(false);
    }

    /// Makes all rows that are missing: for tests and commands that do not run [`Self::keep_rows`].
    pub async fn fill_kept_rows(&self) {
        while self.upkeep().await == (true, true) {}
    }

    /// One step of the background round over each table: whether there was work, and whether rows are missing still.
    pub(super) async fn upkeep(&self) -> (bool, bool) {
        let settings = &self.kept.settings;
        let (mut worked, mut missing) = (false, false);
        if settings.max_entities == 0 {
            return (false, false);
        }
        let renew_us = i64::try_from(settings.renew_after_ms).unwrap_or(i64::MAX / 1_000) * 1_000;
        for tenant in self.directories.tenants() {
            for kind in KINDS {
                match self.upkeep_of(&tenant, kind, renew_us).await {
                    Ok((did, lacks)) => {
                        worked |= did;
                        missing |= lacks;
                        if lacks {
                            // One kind is ready sooner than all are.
                            break;
                        }
                    }
                    Err(failure) => {
                        tracing::warn!(error = %failure, kind = kind.as_str(), "cannot renew kept scores, trying again");
                    }
                }
            }
        }
        (worked, missing)
    }

    async fn upkeep_of(
        &self,
        tenant: &Arc<str>,
        kind: EntityKind,
        renew_us: i64,
    ) -> Result<(bool, bool), Failure> {
        let settings = &self.kept.settings;
        let Some(table) = self.table_begun(tenant, kind).await? else {
            return Ok((false, false));
        };
        let before = self.clock.now().plus_micros(-renew_us);
        let most = match (table.read().is_complete(), kind) {
            (true, _) => settings.step_rows,
            // An account is scored with its contacts.
            (false, EntityKind::Account) => settings.first_step_rows / 8,
            (false, _) => settings.first_step_rows,
        };
        let most = most.max(1);
        let stale = table.read().stale(before, most);
        // Rows are missing among the touched; once complete, the live scorer brings those within moments.
        let ids: Vec<Arc<str>> = stale.touched.into_iter().chain(stale.aged).take(most).collect();
        self.make_again(tenant, kind, &ids).await?;
        let complete = {
            let mut table = table.write();
            if !table.is_complete() {
                table.complete_when_done();
            }
            table.is_complete()
        };
        Ok((!ids.is_empty(), !complete))
    }
}
