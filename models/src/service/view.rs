//! One tenant at one state of knowledge: directory, definitions, cut-offs, and scores of many entities from them.

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::HashMap;
use parking_lot::RwLock;
use revgauge_contract::{
    Timestamp,
    error::Failure,
    models::ModelTarget,
    score::{EntityKind, EntityScores, Score},
    statistics::{Knowledge, StatisticsSource},
};

use super::{Scoring, TenantCuts, TierMemory, not_found};
use crate::{
    account::{AccountScores, score_account},
    assembly::Detail,
    contact::{ContactScores, score_contact},
    deal::{DealFacts, score_deal},
    definitions::Definitions,
    directory::{Directory, Outcome},
    facts::{AccountFacts, ContactFacts, Member},
    gather::{Gatherer, Which, complete_deal},
    priority::score_priority,
    win::{Served, leads::lead_score, served::win_score},
};

/// Tiers before, by entity and score.
pub(crate) type Tiers = HashMap<(Arc<str>, String), String>;

/// One tenant at one state of knowledge.
pub(crate) struct View {
    pub(crate) source: Arc<dyn StatisticsSource>,
    pub(crate) tenant_id: Arc<str>,
    pub(crate) knowledge: Knowledge,
    pub(crate) definitions: Arc<Definitions>,
    pub(crate) directory: Arc<RwLock<Directory>>,
    pub(crate) cuts: Arc<TenantCuts>,
    /// The model of deals in force, where there is one.
    pub(crate) win: Option<Served>,
    /// The model of leads in force, where there is one.
    pub(crate) leads: Option<Served>,
    rhythm: [f64; 168],
    memory: Option<Arc<dyn TierMemory>>,
}

/// A contact, scored.
pub(crate) struct ContactView {
    pub(crate) facts: ContactFacts,
    pub(crate) scores: ContactScores,
    pub(crate) priority: Score,
}

/// An account with its members, scored.
pub(crate) struct AccountView {
    pub(crate) facts: AccountFacts,
    pub(crate) scores: AccountScores,
    pub(crate) members: Vec<(ContactFacts, ContactScores)>,
}

impl View {
    pub(super) async fn open(
        scoring: &Scoring,
        tenant_id: &str,
        knowledge: Knowledge,
    ) -> Result<Self, Failure> {
        let memory = scoring.memory(knowledge);
        let cuts = match &memory {
            Some(memory) => memory.cuts(tenant_id, knowledge).await?.unwrap_or_default(),
            None => Arc::default(),
        };
        let view = Self::with_cuts(scoring, tenant_id, knowledge, cuts).await?;
        Ok(Self { memory, ..view })
    }

    /// The live state with cut-offs that the caller holds; tiers before are the caller's too.
    pub(crate) async fn live(
        scoring: &Scoring,
        tenant_id: &str,
        cuts: Arc<TenantCuts>,
    ) -> Result<Self, Failure> {
        Self::with_cuts(scoring, tenant_id, Knowledge::Now, cuts).await
    }

    async fn with_cuts(
        scoring: &Scoring,
        tenant_id: &str,
        knowledge: Knowledge,
        cuts: Arc<TenantCuts>,
    ) -> Result<Self, Failure> {
        let directory = scoring
            .directories
            .get(&*scoring.source, tenant_id, knowledge)
            .await?;
        Ok(Self {
            source: Arc::clone(&scoring.source),
            tenant_id: tenant_id.into(),
            knowledge,
            definitions: scoring.definitions(tenant_id, knowledge),
            directory,
            win: scoring.model(tenant_id, ModelTarget::Deals, knowledge),
            leads: scoring.model(tenant_id, ModelTarget::Leads, knowledge),
            rhythm: cuts.rhythm(),
            cuts,
            memory: None,
        })
    }

    /// The same state of knowledge under other definitions.
    pub(super) fn with_definitions(self, definitions: Arc<Definitions>) -> Self {
        Self { definitions, ..self }
    }

    fn gatherer(&self) -> Gatherer<'_> {
        Gatherer {
            source: &*self.source,
            directory: &self.directory,
            tenant_id: &self.tenant_id,
            knowledge: self.knowledge,
        }
    }

    /// The canonical id behind a key of a living entity.
    pub(crate) fn resolve(&self, kind: EntityKind, key: &str) -> Result<Arc<str>, Failure> {
        let directory = self.directory.read();
        directory
            .canonical(kind, key)
            .filter(|id| !directory.is_deleted(kind, id))
            .ok_or_else(|| not_found(kind, key))
    }

    /// Tiers before, as the feed has them.
    pub(crate) async fn tiers(&self, kind: EntityKind, ids: Option<&[Arc<str>]>) -> Result<Tiers, Failure> {
        match &self.memory {
            Some(memory) => memory.tiers(&self.tenant_id, kind, ids, self.knowledge).await,
            None => Ok(Tiers::new()),
        }
    }

    /// Contacts with their priority.
    pub(crate) async fn contacts(
        &self,
        which: Which<'_>,
        at: Timestamp,
        detail: Detail,
        tiers: &Tiers,
    ) -> Result<Vec<ContactView>, Failure> {
        let facts = self.gatherer().contacts(which, true).await?;
        let accounts = self.account_axes(which, &facts, at, detail).await?;
        Ok(facts
            .into_iter()
            .map(|facts| {
                let account = facts.account_id.as_ref().and_then(|id| accounts.get(id));
                self.score_contact(facts, account.map(|(_, scores)| scores), at, detail, tiers)
            })
            .collect())
    }

    /// One contact from facts at hand.
    pub(crate) fn score_contact(
        &self,
        facts: ContactFacts,
        account: Option<&AccountScores>,
        at: Timestamp,
        detail: Detail,
        tiers: &Tiers,
    ) -> ContactView {
        let scores = score_contact(&self.definitions, &facts, &self.rhythm, at, detail);
        let priority = self.prioritise(&facts.contact_id, &scores, account, tiers);
        ContactView {
            facts,
            scores,
            priority,
        }
    }

    /// Priority of a contact from scores at hand.
    pub(crate) fn prioritise(
        &self,
        contact_id: &str,
        scores: &ContactScores,
        account: Option<&AccountScores>,
        tiers: &Tiers,
    ) -> Score {
        let previous = if tiers.is_empty() {
            None
        } else {
            tiers.get(&(Arc::from(contact_id), "priority".to_owned()))
        };
        score_priority(
            &self.definitions,
            scores,
            account,
            self.cuts.cut_offs.as_ref(),
            previous.map(String::as_str),
        )
    }

    /// Accounts of contacts, for fit and intent alone: members are left out, which those two do not read.
    pub(crate) async fn account_axes(
        &self,
        which: Which<'_>,
        contacts: &[ContactFacts],
        at: Timestamp,
        detail: Detail,
    ) -> Result<HashMap<String, (AccountFacts, AccountScores)>, Failure> {
        let ids: Vec<Arc<str>>;
        let accounts = match which {
            Which::All => Which::All,
            Which::These(_) => {
                let distinct: BTreeSet<&str> = contacts
                    .iter()
                    .filter_map(|facts| facts.account_id.as_deref())
                    .collect();
                ids = distinct.into_iter().map(Arc::from).collect();
                Which::These(&ids)
            }
        };
        let facts = self.gatherer().accounts(accounts).await?;
        Ok(facts
            .into_iter()
            .map(|facts| {
                let scores = score_account(&self.definitions, &facts, at, detail);
                (facts.account_id.clone(), (facts, scores))
            })
            .collect())
    }

    /// Accounts with their members.
    pub(crate) async fn accounts(
        &self,
        which: Which<'_>,
        at: Timestamp,
        detail: Detail,
    ) -> Result<Vec<AccountView>, Failure> {
        let accounts = self.gatherer().accounts(which).await?;
        let ids: Vec<Arc<str>>;
        let contacts = match which {
            Which::All => Which::All,
            Which::These(_) => {
                let directory = self.directory.read();
                ids = accounts
                    .iter()
                    .flat_map(|facts| directory.contacts_of(&facts.account_id))
                    .collect();
                Which::These(&ids)
            }
        };
        let mut members: HashMap<String, Vec<(ContactFacts, ContactScores)>> = HashMap::new();
        for facts in self.gatherer().contacts(contacts, true).await? {
            if let Some(account) = facts.account_id.clone() {
                let scores = score_contact(&self.definitions, &facts, &self.rhythm, at, Detail::Value);
                members.entry(account).or_default().push((facts, scores));
            }
        }
        Ok(accounts
            .into_iter()
            .map(|mut facts| {
                let members = members.remove(&facts.account_id).unwrap_or_default();
                facts.members = members
                    .iter()
                    .map(|(facts, scores)| member(facts, scores))
                    .collect();
                facts.members.sort_by(|a, b| a.contact_id.cmp(&b.contact_id));
                AccountView {
                    scores: score_account(&self.definitions, &facts, at, detail),
                    facts,
                    members,
                }
            })
            .collect())
    }

    /// Facts of deals as their records and histories give them: without activity, people and texts.
    pub(crate) async fn deals_alone(&self, which: Which<'_>) -> Result<Vec<DealFacts>, Failure> {
        self.gatherer().deals_alone(which).await
    }

    /// Facts of deals with their people.
    pub(crate) async fn deals(&self, which: Which<'_>, at: Timestamp) -> Result<Vec<DealFacts>, Failure> {
        let mut deals = self.gatherer().deals(which).await?;
        let people: BTreeSet<&str> = deals
            .iter()
            .filter(|deal| deal.outcome == Outcome::Open)
            .flat_map(|deal| deal.contacts.iter().map(|contact| contact.contact_id.as_str()))
            .collect();
        let people: Vec<Arc<str>> = people.into_iter().map(Arc::from).collect();
        let people: HashMap<String, (ContactFacts, ContactScores)> = self
            .gatherer()
            .contacts(Which::These(&people), false)
            .await?
            .into_iter()
            .map(|facts| {
                let scores = score_contact(&self.definitions, &facts, &self.rhythm, at, Detail::Value);
                (facts.contact_id.clone(), (facts, scores))
            })
            .collect();
        for deal in &mut deals {
            complete_deal(deal, &self.definitions, &people, Some(&self.cuts.stage_medians));
        }
        Ok(deals)
    }

    /// The scores of a deal in the order they are told: health, then its chances where a model is in force.
    pub(crate) fn deal_scores(&self, facts: &DealFacts, at: Timestamp, previous: Option<&str>) -> Vec<Score> {
        let mut scores = vec![score_deal(&self.definitions, facts, at, previous, Detail::Full)];
        scores.extend(
            self.win
                .as_ref()
                .map(|win| win_score(win, facts, at, Detail::Full)),
        );
        scores
    }

    /// The scores of a contact in the order they are told, with its chance of a deal where a model of leads is in force.
    pub(crate) fn told_contact_scores(
        &self,
        contact: ContactView,
        at: Timestamp,
        detail: Detail,
    ) -> Vec<Score> {
        let chance = self.lead_chance(&contact.facts, at, detail);
        let mut scores = contact_scores(contact);
        scores.extend(chance);
        scores
    }

    /// A contact's chance of a deal, where a model of leads is in force.
    pub(crate) fn lead_chance(&self, facts: &ContactFacts, at: Timestamp, detail: Detail) -> Option<Score> {
        let served = self.leads.as_ref()?;
        let in_deals = self.directory.read().deals_of_contact(&facts.contact_id).len();
        Some(lead_score(served, facts, in_deals, at, detail))
    }

    /// The tenant's stage medians as its histories say at an instant.
    pub(crate) async fn stage_medians(&self, at: Timestamp) -> Result<crate::deal::StageMedians, Failure> {
        let histories = self.gatherer().histories().await?;
        Ok(crate::deal::StageMedians::of(&histories, at))
    }

    /// Canonical ids of the living, open deals.
    pub(crate) fn open_deals(&self) -> Vec<Arc<str>> {
        let directory = self.directory.read();
        let stages = directory.stages();
        let mut ids = directory.ids(EntityKind::Deal);
        ids.retain(|id| stages.outcome(&directory.fields(EntityKind::Deal, id)) == Outcome::Open);
        ids
    }

    /// All scores of one entity.
    pub(crate) async fn entity_scores(
        &self,
        kind: EntityKind,
        id: &Arc<str>,
        at: Timestamp,
    ) -> Result<EntityScores, Failure> {
        let ids = std::slice::from_ref(id);
        let tiers = self.tiers(kind, Some(ids)).await?;
        let one = Which::These(ids);
        let scores = match kind {
            EntityKind::Contact => {
                let contacts = self.contacts(one, at, Detail::Full, &tiers).await?;
                contacts
                    .into_iter()
                    .next()
                    .map(|contact| self.told_contact_scores(contact, at, Detail::Full))
            }
            EntityKind::Account => {
                let accounts = self.accounts(one, at, Detail::Full).await?;
                accounts
                    .into_iter()
                    .next()
                    .map(|view| account_scores(view.scores))
            }
            EntityKind::Deal => {
                let deals = self.deals(one, at).await?;
                deals.first().map(|facts| {
                    let previous = tiers.get(&(Arc::clone(id), "health".to_owned()));
                    self.deal_scores(facts, at, previous.map(String::as_str))
                })
            }
            EntityKind::Tenant => None,
        };
        Ok(EntityScores {
            entity_kind: kind,
            entity_id: id.to_string(),
            as_of: at,
            scores: scores.ok_or_else(|| not_found(kind, id))?,
        })
    }
}

/// What an account reads of a contact.
pub(super) fn member(facts: &ContactFacts, scores: &ContactScores) -> Member {
    Member {
        contact_id: facts.contact_id.clone(),
        engagement: scores.engagement.value.unwrap_or(0.0),
        authority: scores.authority.value,
        last_inbound: scores.last_inbound,
        two_way: scores.two_way,
    }
}

/// The scores of a contact in the order they are told.
pub(crate) fn contact_scores(view: ContactView) -> Vec<Score> {
    let ContactScores {
        engagement,
        authority,
        next_action,
        ..
    } = view.scores;
    vec![view.priority, engagement, authority, next_action]
}

/// The scores of an account in the order they are told.
pub(crate) fn account_scores(scores: AccountScores) -> Vec<Score> {
    vec![
        scores.intent,
        scores.fit,
        scores.engagement,
        scores.relationship,
        scores.health,
    ]
}

impl View {
    /// Facts of contacts alone.
    pub(crate) async fn contact_facts(&self, which: Which<'_>) -> Result<Vec<ContactFacts>, Failure> {
        self.gatherer().contacts(which, true).await
    }
}
