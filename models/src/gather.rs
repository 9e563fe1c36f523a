//! Facts of many entities at once: one call a pipeline, rows of merged keys added together, identity from the directory.

mod directories;
mod rows;
mod touched;

use std::{collections::BTreeMap, sync::Arc};

use arrow::array::RecordBatch;
use hashbrown::HashMap;
use parking_lot::RwLock;
use revgauge_contract::{
    Timestamp,
    error::Failure,
    event::MachineClass,
    score::EntityKind,
    statistics::{Keys, Knowledge, StatisticsSource},
};

pub(crate) use directories::rows_by_tenant;
pub use directories::{Directories, DirectorySettings};
pub use touched::TouchedKeys;

use crate::{
    contact::ContactScores,
    deal::{DealContact, DealFacts, DealHistory, FieldValue, StageMedians},
    definitions::Definitions,
    directory::{Directory, Outcome},
    facts::{AccountFacts, ActivityRow, ContactFacts, RhythmRow},
    text::TextFindings,
};
use rows::{ActivityColumns, Grouped};

/// Which entities.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Which<'a> {
    /// All living ones.
    All,
    /// These canonical ids.
    These(&'a [Arc<str>]),
}

/// Reads facts of one tenant at one state of knowledge.
pub(crate) struct Gatherer<'a> {
    pub(crate) source: &'a dyn StatisticsSource,
    pub(crate) directory: &'a RwLock<Directory>,
    pub(crate) tenant_id: &'a str,
    pub(crate) knowledge: Knowledge,
}

impl Gatherer<'_> {
    /// Facts of contacts, in the order of the ids asked for. `rhythm` reads the hour-of-week rows too.
    pub(crate) async fn contacts(
        &self,
        which: Which<'_>,
        rhythm: bool,
    ) -> Result<Vec<ContactFacts>, Failure> {
        let grouped = self.group(EntityKind::Contact, which);
        let activity = self
            .activity("contact_engagement", "contact_key", &grouped, which)
            .await?;
        let rhythm = if rhythm {
            let rows = self.rows("contact_rhythm", &grouped, which).await?;
            rows::rhythm(&rows, &grouped)
        } else {
            vec![Vec::new(); grouped.ids.len()]
        };
        let directory = self.directory.read();
        Ok(grouped
            .ids
            .iter()
            .zip(activity)
            .zip(rhythm)
            .map(|((id, activity), rhythm)| contact_facts(&directory, id, activity, rhythm))
            .collect())
    }

    /// Facts of accounts without their members, in the order of the ids asked for.
    pub(crate) async fn accounts(&self, which: Which<'_>) -> Result<Vec<AccountFacts>, Failure> {
        let grouped = self.group(EntityKind::Account, which);
        let signals = self
            .activity("account_signals", "account_key", &grouped, which)
            .await?;
        let directory = self.directory.read();
        Ok(grouped
            .ids
            .iter()
            .zip(signals)
            .map(|(id, signals)| account_facts(&directory, id, signals))
            .collect())
    }

    /// Facts of deals but for the scores of their contacts, which the caller adds with [`Self::deal_people`].
    pub(crate) async fn deals(&self, which: Which<'_>) -> Result<Vec<DealFacts>, Failure> {
        let grouped = self.group(EntityKind::Deal, which);
        let activity = self.activity("deal_activity", "deal_id", &grouped, which).await?;
        let history = rows::histories(&self.rows("deal_history", &grouped, which).await?, &grouped);
        let texts = rows::deal_texts(&self.rows("deal_texts", &grouped, which).await?, &grouped);
        let people = rows::deal_people(&self.rows("deal_contacts", &grouped, which).await?, &grouped);
        let directory = self.directory.read();
        Ok(grouped
            .ids
            .iter()
            .zip(activity)
            .zip(history)
            .zip(people)
            .zip(texts)
            .map(|((((id, activity), history), people), texts)| DealFacts {
                texts,
                ..deal_facts(&directory, id, activity, history, people)
            })
            .collect())
    }

    /// Deals as their records and histories give them, without activity, people and texts.
    pub(crate) async fn deals_alone(&self, which: Which<'_>) -> Result<Vec<DealFacts>, Failure> {
        let grouped = self.group(EntityKind::Deal, which);
        let history = rows::histories(&self.rows("deal_history", &grouped, which).await?, &grouped);
        let directory = self.directory.read();
        let deals = grouped.ids.iter().zip(history);
        Ok(deals
            .map(|(id, history)| deal_facts(&directory, id, Vec::new(), history, HashMap::new()))
            .collect())
    }

    /// Histories alone, of all living deals: what the stage medians are from.
    pub(crate) async fn histories(&self) -> Result<Vec<DealHistory>, Failure> {
        let grouped = self.group(EntityKind::Deal, Which::All);
        let histories = rows::histories(&self.rows("deal_history", &grouped, Which::All).await?, &grouped);
        let stages = self.directory.read().stages();
        Ok(histories
            .into_iter()
            .map(|fields| DealHistory::fold(fields, &stages))
            .collect())
    }

    fn group(&self, kind: EntityKind, which: Which<'_>) -> Grouped {
        let directory = self.directory.read();
        let ids = match which {
            Which::All => directory.ids(kind),
            Which::These(ids) => ids.to_vec(),
        };
        let mut entity_of_key = HashMap::with_capacity(ids.len());
        for (place, id) in ids.iter().enumerate() {
            let keys = directory.keys(kind, id);
            if keys.is_empty() {
                entity_of_key.insert(Arc::clone(id), place);
            }
            entity_of_key.extend(keys.into_iter().map(|key| (key, place)));
        }
        Grouped { ids, entity_of_key }
    }

    async fn rows(
        &self,
        pipeline: &str,
        grouped: &Grouped,
        which: Which<'_>,
    ) -> Result<Vec<RecordBatch>, Failure> {
        let keys: Vec<String>;
        let keys = match which {
            Which::All => Keys::All,
            Which::These(_) if grouped.entity_of_key.is_empty() => return Ok(Vec::new()),
            Which::These(_) => {
                keys = grouped.entity_of_key.keys().map(ToString::to_string).collect();
                Keys::These(&keys)
            }
        };
        self.source
            .rows(pipeline, self.tenant_id, keys, self.knowledge)
            .await
    }

    async fn activity(
        &self,
        pipeline: &str,
        key_column: &str,
        grouped: &Grouped,
        which: Which<'_>,
    ) -> Result<Vec<Vec<ActivityRow>>, Failure> {
        let batches = self.rows(pipeline, grouped, which).await?;
        let mut activity = vec![Vec::new(); grouped.ids.len()];
        let mut names = HashMap::new();
        for batch in &batches {
            let Some(columns) = ActivityColumns::of(batch, key_column) else {
                return Err(rows::misshapen(pipeline));
            };
            for row in 0..batch.num_rows() {
                if let Some(place) = columns.key(row).and_then(|key| grouped.entity_of_key.get(key)) {
                    rows::add(&mut activity[*place], columns.row(row, &mut names));
                }
            }
        }
        for rows in &mut activity {
            rows::sort(rows);
        }
        Ok(activity)
    }
}

fn contact_facts(
    directory: &Directory,
    id: &str,
    activity: Vec<ActivityRow>,
    rhythm: Vec<RhythmRow>,
) -> ContactFacts {
    ContactFacts {
        contact_id: id.to_owned(),
        account_id: directory.account_of(id).map(|account| account.to_string()),
        provisional: directory.is_provisional(EntityKind::Contact, id),
        fields: directory.fields(EntityKind::Contact, id),
        activity,
        rhythm,
    }
}

fn account_facts(directory: &Directory, id: &str, signals: Vec<ActivityRow>) -> AccountFacts {
    let stages = directory.stages();
    let mut facts = AccountFacts {
        account_id: id.to_owned(),
        provisional: directory.is_provisional(EntityKind::Account, id),
        fields: directory.fields(EntityKind::Account, id),
        signals,
        ..AccountFacts::default()
    };
    for deal in directory.deals_of(id) {
        match stages.outcome(&directory.fields(EntityKind::Deal, &deal)) {
            Outcome::Open => facts.open_deals += 1,
            Outcome::Won => facts.won_deals += 1,
            Outcome::Lost => facts.lost_deals += 1,
        }
    }
    facts
}

fn deal_facts(
    directory: &Directory,
    id: &str,
    activity: Vec<ActivityRow>,
    history: BTreeMap<String, Vec<FieldValue>>,
    people: HashMap<Arc<str>, i64>,
) -> DealFacts {
    let stages = directory.stages();
    let fields = directory.fields(EntityKind::Deal, id);
    let mut contacts: BTreeMap<Arc<str>, DealContact> = BTreeMap::new();
    for role in directory.roles_of(id) {
        contacts.entry(Arc::clone(&role.contact_id)).or_default().role = role.role;
    }
    for (key, inbound) in people {
        let contact = directory.canonical(EntityKind::Contact, &key).unwrap_or(key);
        contacts.entry(contact).or_default().inbound += inbound;
    }
    DealFacts {
        deal_id: id.to_owned(),
        account_id: directory.account_of_deal(id).map(|account| account.to_string()),
        outcome: stages.outcome(&fields),
        history: DealHistory::fold(history, &stages),
        fields,
        activity,
        contacts: contacts
            .into_iter()
            .filter(|(id, _)| !directory.is_deleted(EntityKind::Contact, id))
            .map(|(id, contact)| DealContact {
                contact_id: id.to_string(),
                ..contact
            })
            .collect(),
        stage_median: None,
        texts: Vec::new(),
        findings: TextFindings::default(),
    }
}

/// Completes deals with what is known of their people and with the tenant's stage medians.
pub(crate) fn complete_deal(
    deal: &mut DealFacts,
    definitions: &Definitions,
    people: &HashMap<String, (ContactFacts, ContactScores)>,
    medians: Option<&StageMedians>,
) {
    let rules = &definitions.deal_health;
    deal.analyse(&definitions.text_signals);
    deal.stage_median = deal
        .history
        .stages
        .last()
        .and_then(|spell| medians?.of_stage(&spell.stage, rules.min_stage_spells));
    for contact in &mut deal.contacts {
        let Some((facts, scores)) = people.get(&contact.contact_id) else {
            continue;
        };
        contact.authority = scores.authority.value;
        contact.last_answer = last_of(facts, &rules.activity.answer);
        contact.last_contact = last_of(facts, &rules.activity.contact);
        contact.two_way = scores.two_way && contact.last_answer.is_some();
    }
}

fn last_of(facts: &ContactFacts, types: &[String]) -> Option<Timestamp> {
    facts
        .activity
        .iter()
        .filter(|row| row.machine_class == MachineClass::None)
        .filter(|row| types.iter().any(|name| **name == *row.event_type))
        .map(|row| row.last_time)
        .max()
}
