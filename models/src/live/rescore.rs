//! Scores a batch, compares with what the feed last said, and says what to write.

use std::sync::Arc;

use hashbrown::HashMap;
use revgauge_contract::{
    Timestamp,
    error::Failure,
    score::{Cause, EntityKind, Score, ScoreChange},
};

use super::{
    LiveScorer, Turn, crossing,
    emitted::{Said, Update, slots},
    sweep::Mode,
};
use crate::{
    account::{AccountScores, score_account},
    assembly::Detail,
    deal::score_deal,
    gather::Which,
    kept::Scored,
    service::{ContactView, View, account_scores, contact_scores},
};

/// Entities of one tenant.
type Batch = (Arc<str>, Vec<Arc<str>>);

/// What a batch is scored for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    pub(super) at: Timestamp,
    pub(super) cause: Cause,
    pub(super) mode: Mode,
}

impl LiveScorer {
    pub(super) async fn score_contacts(&self) -> Turn {
        let work = {
            let mut state = self.state.lock();
            let at = state.as_of;
            state
                .queues
                .contacts
                .pop(self.settings.batch_contacts)
                .map(|work| (work, at))
        };
        self.score_popped(EntityKind::Contact, work).await
    }

    pub(super) async fn score_deals(&self) -> Turn {
        let work = {
            let mut state = self.state.lock();
            let at = state.as_of;
            state
                .queues
                .deals
                .pop(self.settings.batch_deals)
                .map(|work| (work, at))
        };
        self.score_popped(EntityKind::Deal, work).await
    }

    /// Roll-ups keep to their interval while contacts wait, so that a busy stream does not score whole accounts again
    /// and again.
    pub(super) async fn score_accounts(&self) -> Turn {
        let work = {
            let mut state = self.state.lock();
            let at = state.as_of;
            let interval_us =
                i64::try_from(self.settings.rollup_interval_ms).unwrap_or(i64::MAX / 1_000) * 1_000;
            let due = self.clock.now() >= self.rolled_up.lock().plus_micros(interval_us);
            let busy = state.queues.contacts.len() > 0;
            if busy && !due {
                None
            } else {
                state
                    .queues
                    .accounts
                    .pop(self.settings.batch_accounts)
                    .map(|work| (work, at))
            }
        };
        if work.is_some() {
            *self.rolled_up.lock() = self.clock.now();
        }
        self.score_popped(EntityKind::Account, work).await
    }

    async fn score_popped(&self, kind: EntityKind, work: Option<(Batch, Timestamp)>) -> Turn {
        let Some(((tenant, ids), at)) = work else {
            return Turn::default();
        };
        let pass = Pass {
            at,
            cause: Cause::Event,
            mode: Mode::AllChanges,
        };
        self.score(&tenant, kind, &ids, pass).await
    }

    /// The next part of a background pass.
    pub(super) async fn sweep_on(&self) -> Turn {
        let (tenant, kind, pass, ids) = {
            let mut state = self.state.lock();
            let at = self.clock.now().max(state.as_of);
            // Events first: a pass may take its time.
            if state.queues.contacts.len() > self.settings.batch_contacts {
                return Turn::default();
            }
            let Some(sweep) = state.sweeps.first_mut() else {
                return Turn::default();
            };
            let limit = match sweep.kind {
                EntityKind::Account => self.settings.batch_accounts,
                EntityKind::Contact | EntityKind::Deal | EntityKind::Tenant => self.settings.batch_sweep,
            };
            let ids = sweep.take(limit);
            let pass = Pass {
                at,
                cause: sweep.cause,
                mode: sweep.mode,
            };
            let work = (Arc::clone(&sweep.tenant), sweep.kind, pass, ids);
            if sweep.left() == 0 {
                state.sweeps.remove(0);
            }
            work
        };
        self.score(&tenant, kind, &ids, pass).await
    }

    /// Scores entities; waits and tries again while the statistics fail, so that nothing popped is lost.
    async fn score(&self, tenant: &Arc<str>, kind: EntityKind, ids: &[Arc<str>], pass: Pass) -> Turn {
        let mut wait_ms = self.settings.retry_ms.max(1);
        let mut told = false;
        loop {
            match self.try_score(tenant, kind, ids, pass).await {
                Ok(mut turn) => {
                    turn.worked = true;
                    return turn;
                }
                Err(failure) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(error = %failure, kind = kind.as_str(), entities = ids.len(), "cannot read facts to score, retrying");
                    }
                    self.pause(&mut wait_ms).await;
                }
            }
        }
    }

    async fn try_score(
        &self,
        tenant: &Arc<str>,
        kind: EntityKind,
        ids: &[Arc<str>],
        pass: Pass,
    ) -> Result<Turn, Failure> {
        // Before the facts are read: what is touched meanwhile stays marked.
        let kept = [EntityKind::Contact, EntityKind::Account, EntityKind::Deal]
            .map(|kind| (kind, self.scoring.kept.revision(tenant, kind)));
        let view = View::live(&self.scoring, tenant, self.cuts(tenant)).await?;
        let mut writer = Writer::new(self, &view, pass);
        let living = writer.part_gone(kind, ids);
        match kind {
            EntityKind::Contact => writer.contacts(&living).await?,
            EntityKind::Account => writer.accounts(&living).await?,
            EntityKind::Deal => writer.deals(&living).await?,
            EntityKind::Tenant => {}
        }
        for (kind, revision) in kept {
            let rows = writer
                .scored
                .extract_if(.., |(of, _)| *of == kind)
                .map(|(_, row)| row);
            self.scoring.kept.put(tenant, kind, revision, pass.at, rows);
        }
        Ok(writer.turn)
    }
}

/// Compares scores with memory and collects what to write.
pub(super) struct Writer<'a> {
    pub(super) scorer: &'a LiveScorer,
    pub(super) view: &'a View,
    pub(super) pass: Pass,
    pub(super) turn: Turn,
    /// What was scored, for the kept rows.
    scored: Vec<(EntityKind, Scored)>,
    keeps: bool,
    /// What this turn says already: memory moves on only when the feed holds it.
    saying: HashMap<(EntityKind, Arc<str>, usize), Said>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(scorer: &'a LiveScorer, view: &'a View, pass: Pass) -> Self {
        Self {
            scorer,
            view,
            pass,
            turn: Turn::default(),
            scored: Vec::new(),
            keeps: scorer.scoring.kept.any(),
            saying: HashMap::new(),
        }
    }

    /// Takes entities out that were merged away or deleted; those that had scores have none from now on.
    fn part_gone(&mut self, kind: EntityKind, ids: &[Arc<str>]) -> Vec<Arc<str>> {
        let directory = self.view.directory.read();
        let mut living = Vec::with_capacity(ids.len());
        for id in ids {
            let why = match directory.canonical(kind, id) {
                Some(_) if directory.is_deleted(kind, id) => "deleted in the CRM".to_owned(),
                Some(canonical) if canonical == *id => {
                    living.push(canonical);
                    continue;
                }
                Some(canonical) => format!("merged into {canonical}"),
                None => "nothing is known of it any more".to_owned(),
            };
            let memory = self.scorer.memory.read();
            let Some(entry) = memory.entry(&self.view.tenant_id, kind, id) else {
                continue;
            };
            for (slot, name) in slots(kind).iter().enumerate() {
                let said = memory.said(Some(entry), slot);
                if said.value.is_some() || said.tier.is_some() {
                    self.turn.changes.push(ScoreChange {
                        tenant_id: self.view.tenant_id.to_string(),
                        entity_kind: kind,
                        entity_id: id.to_string(),
                        score: (*name).to_owned(),
                        old_value: said.value,
                        new_value: None,
                        old_tier: said.tier.map(|tier| tier.to_string()),
                        new_tier: None,
                        reason: why.clone(),
                        cause: self.pass.cause,
                        as_of: self.pass.at,
                        definition: String::new(),
                        fingerprint: String::new(),
                        detail: "[]".to_owned(),
                    });
                }
            }
            self.turn.updates.push(Update::Gone {
                tenant: Arc::clone(&self.view.tenant_id),
                kind,
                id: Arc::clone(id),
            });
        }
        living
    }

    async fn contacts(&mut self, ids: &[Arc<str>]) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        let (view, at) = (self.view, self.pass.at);
        let which = Which::These(ids);
        let facts = view.contact_facts(which).await?;
        let accounts = view.account_axes(which, &facts, at, Detail::Value).await?;
        let tiers = self
            .scorer
            .memory
            .read()
            .tiers(&view.tenant_id, EntityKind::Contact, Some(ids));
        let mut full: HashMap<String, AccountScores> = HashMap::new();
        // Facts come in the order of the ids; the ids' own allocations are those of the directory, and memory shares them.
        for (facts, id) in facts.into_iter().zip(ids) {
            let account = facts.account_id.as_ref().and_then(|id| accounts.get(id));
            let quick = view.score_contact(
                facts,
                account.map(|(_, scores)| scores),
                at,
                Detail::Value,
                &tiers,
            );
            let ContactView {
                facts,
                scores,
                priority,
            } = quick;
            let told = contact_scores(ContactView {
                facts: Default::default(),
                scores,
                priority,
            });
            let look_at = crossing::contact_look_at(&view.definitions, &view.cuts, &told, at);
            if self.keeps {
                let mut scores = told.clone();
                scores.extend(view.lead_chance(&facts, at, Detail::Value));
                self.scored
                    .push((EntityKind::Contact, view.kept_contact(&facts, scores)));
            }
            if !self.differs(EntityKind::Contact, id, &told) {
                self.note(EntityKind::Contact, id, &[], look_at);
                continue;
            }
            let account = account.map(|(facts, _)| {
                &*full
                    .entry_ref(&*facts.account_id)
                    .or_insert_with(|| score_account(&view.definitions, facts, at, Detail::Full))
            });
            let told = contact_scores(view.score_contact(facts, account, at, Detail::Full, &tiers));
            self.tell(EntityKind::Contact, id, &told, look_at);
        }
        Ok(())
    }

    async fn accounts(&mut self, ids: &[Arc<str>]) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        let (view, at) = (self.view, self.pass.at);
        let accounts = view.accounts(Which::These(ids), at, Detail::Value).await?;
        for (account, id) in accounts.into_iter().zip(ids) {
            let full = score_account(&view.definitions, &account.facts, at, Detail::Full);
            self.tell_members(&account.members, &full);
            let told = account_scores(account.scores);
            if self.keeps {
                let row = view.kept_account(&account.facts, told.clone());
                self.scored.push((EntityKind::Account, row));
            }
            if self.differs(EntityKind::Account, id, &told) {
                self.tell(EntityKind::Account, id, &account_scores(full), None);
            } else {
                self.note(EntityKind::Account, id, &[], None);
            }
        }
        Ok(())
    }

    /// Fit and intent moved, so the priority of each member may have. Only that is compared: what else time did to a
    /// member is told when something happens to it.
    fn tell_members(
        &mut self,
        members: &[(crate::facts::ContactFacts, crate::contact::ContactScores)],
        account: &AccountScores,
    ) {
        let view = self.view;
        let ids: Vec<Arc<str>> = members
            .iter()
            .map(|(facts, _)| Arc::from(facts.contact_id.as_str()))
            .collect();
        let tiers = self
            .scorer
            .memory
            .read()
            .tiers(&view.tenant_id, EntityKind::Contact, Some(&ids));
        let mode = self.pass.mode;
        if mode == Mode::AllChanges {
            self.pass.mode = Mode::PriorityOnly;
        }
        for ((facts, scores), id) in members.iter().zip(&ids) {
            let known = self
                .scorer
                .memory
                .read()
                .entry(&view.tenant_id, EntityKind::Contact, id)
                .is_some();
            let priority = view.prioritise(&facts.contact_id, scores, Some(account), &tiers);
            if self.keeps {
                let member = ContactView {
                    facts: Default::default(),
                    scores: scores.clone(),
                    priority: priority.clone(),
                };
                let mut told = contact_scores(member);
                told.extend(view.lead_chance(facts, self.pass.at, Detail::Value));
                self.scored
                    .push((EntityKind::Contact, view.kept_contact(facts, told)));
            }
            let told = [priority];
            if known && self.differs(EntityKind::Contact, id, &told) {
                let look_at = crossing::contact_look_at(&view.definitions, &view.cuts, &told, self.pass.at);
                self.tell(EntityKind::Contact, id, &told, look_at);
            }
        }
        self.pass.mode = mode;
    }

    async fn deals(&mut self, ids: &[Arc<str>]) -> Result<(), Failure> {
        if ids.is_empty() {
            return Ok(());
        }
        let (view, at) = (self.view, self.pass.at);
        let tiers = self
            .scorer
            .memory
            .read()
            .tiers(&view.tenant_id, EntityKind::Deal, Some(ids));
        let deals = view.deals(Which::These(ids), at).await?;
        for (facts, id) in deals.into_iter().zip(ids) {
            let previous = tiers
                .get(&(Arc::clone(id), "health".to_owned()))
                .map(String::as_str);
            let told = [score_deal(&view.definitions, &facts, at, previous, Detail::Value)];
            let look_at = crossing::deal_look_at(&view.definitions, &facts, &told[0], at);
            if self.keeps {
                let row = view.kept_deal(&facts, told[0].clone(), at);
                self.scored.push((EntityKind::Deal, row));
            }
            if self.differs(EntityKind::Deal, id, &told) {
                let told = [score_deal(&view.definitions, &facts, at, previous, Detail::Full)];
                self.tell(EntityKind::Deal, id, &told, look_at);
            } else {
                self.note(EntityKind::Deal, id, &[], look_at);
            }
        }
        Ok(())
    }

    fn differs(&self, kind: EntityKind, id: &str, scores: &[Score]) -> bool {
        let memory = self.scorer.memory.read();
        let entry = memory.entry(&self.view.tenant_id, kind, id);
        scores.iter().any(|score| {
            slot_of(kind, score).is_some_and(|slot| self.moved(&memory.said(entry, slot), score))
        })
    }

    /// Whether a score moved enough from what was said to be written.
    fn moved(&self, said: &Said, score: &Score) -> bool {
        let mode = self.pass.mode;
        if mode == Mode::PriorityOnly && score.name != "priority" {
            return false;
        }
        match (said.value, score.value) {
            (None, None) => false,
            (None, Some(_)) | (Some(_), None) => true,
            (Some(old), Some(new)) => {
                let least = self.scorer.settings.minimum_change.of(&score.name);
                said.tier.as_deref() != score.tier.as_deref()
                    || (mode != Mode::TiersOnly && new != old && (new - old).abs() >= least)
            }
        }
    }

    /// Writes the scores that moved.
    pub(super) fn tell(
        &mut self,
        kind: EntityKind,
        id: &Arc<str>,
        scores: &[Score],
        look_at: Option<Timestamp>,
    ) {
        let moved: Vec<(usize, Said, &Score)> = {
            let memory = self.scorer.memory.read();
            let entry = memory.entry(&self.view.tenant_id, kind, id);
            scores
                .iter()
                .filter_map(|score| {
                    let slot = slot_of(kind, score)?;
                    let saying = self.saying.get(&(kind, Arc::clone(id), slot)).cloned();
                    let said = saying.unwrap_or_else(|| memory.said(entry, slot));
                    self.moved(&said, score).then_some((slot, said, score))
                })
                .collect()
        };
        for (slot, said, score) in &moved {
            let change = self.change(kind, id, said, score);
            self.turn.changes.push(change);
            let now = Said {
                value: score.value,
                tier: score.tier.as_deref().map(Arc::from),
            };
            self.saying.insert((kind, Arc::clone(id), *slot), now);
        }
        self.note(kind, id, &moved, look_at);
    }

    fn note(
        &mut self,
        kind: EntityKind,
        id: &Arc<str>,
        moved: &[(usize, Said, &Score)],
        look_at: Option<Timestamp>,
    ) {
        self.turn.updates.push(Update::Said {
            tenant: Arc::clone(&self.view.tenant_id),
            kind,
            id: Arc::clone(id),
            scores: moved
                .iter()
                .map(|(slot, _, score)| (*slot, score.value, score.tier.clone()))
                .collect(),
            scored: self.pass.at,
            look_at,
        });
    }

    fn change(&self, kind: EntityKind, id: &str, said: &Said, score: &Score) -> ScoreChange {
        let largest = score
            .contributions
            .iter()
            .filter(|part| part.factor != "base")
            .max_by(|a, b| a.points.abs().total_cmp(&b.points.abs()))
            .map(|part| part.reason.clone());
        let reason = match (self.pass.cause, score.value) {
            (_, None) => score.unscored_because.clone().unwrap_or_default(),
            (Cause::Decay, _) => "time alone, nothing having happened".to_owned(),
            (Cause::Recut, _) => "the tenant's population was looked at anew".to_owned(),
            (Cause::Event | Cause::Definition, _) => largest.unwrap_or_default(),
        };
        ScoreChange {
            tenant_id: self.view.tenant_id.to_string(),
            entity_kind: kind,
            entity_id: id.to_owned(),
            score: score.name.clone(),
            old_value: said.value,
            new_value: score.value,
            old_tier: said.tier.as_ref().map(ToString::to_string),
            new_tier: score.tier.clone(),
            reason,
            cause: self.pass.cause,
            as_of: self.pass.at,
            definition: score.definition.clone(),
            fingerprint: score.fingerprint.clone(),
            detail: serde_json::to_string(&score.contributions).unwrap_or_default(),
        }
    }
}

fn slot_of(kind: EntityKind, score: &Score) -> Option<usize> {
    slots(kind).iter().position(|name| *name == score.name)
}
