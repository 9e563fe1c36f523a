//! CRM objects as JSON records: their fields, and what was derived beside them.

use std::sync::Arc;

use revgauge_contract::{Timestamp, error::Failure, score::EntityKind, statistics::Knowledge};
use serde_json::{Map, Value, json};

use super::{View, table::name};
use crate::{
    deal::DealFacts,
    directory::{Outcome, number},
    facts::Fields,
    gather::Which,
};

/// Fields that CRMs keep as numbers; given as numbers here where they read as such.
const NUMBERS: &[&str] = &[
    "amount",
    "probability",
    "annual_revenue",
    "employees",
    "recurring_amount",
];

/// Records of all living entities of a kind, or of those asked for by any key; unknown ones are left out.
pub(super) async fn all(
    view: &View,
    kind: EntityKind,
    ids: Option<&[String]>,
    at: Timestamp,
    chunk: usize,
) -> Result<Vec<Value>, Failure> {
    let canonical = canonical(view, kind, ids);
    match kind {
        EntityKind::Contact => Ok(canonical.iter().map(|id| contact(view, id)).collect()),
        EntityKind::Account => Ok(canonical.iter().map(|id| account(view, id)).collect()),
        EntityKind::Deal => deals(view, &canonical, ids.is_none(), at, chunk).await,
        EntityKind::Tenant => Ok(Vec::new()),
    }
}

/// As [`all`] now, without what is known through other entities and through texts: what is left follows from record,
/// identity and history.
pub(super) async fn own(
    view: &View,
    kind: EntityKind,
    ids: Option<&[String]>,
    chunk: usize,
) -> Result<Vec<Value>, Failure> {
    let canonical = canonical(view, kind, ids);
    match kind {
        EntityKind::Contact => return Ok(canonical.iter().map(|id| own_contact(view, id)).collect()),
        EntityKind::Account => return Ok(canonical.iter().map(|id| own_account(view, id)).collect()),
        EntityKind::Tenant => return Ok(Vec::new()),
        EntityKind::Deal => {}
    }
    let mut records = Vec::with_capacity(canonical.len());
    for ids in canonical.chunks(chunk.max(1)) {
        for facts in view.deals_alone(Which::These(ids)).await? {
            let mut record = deal(&facts);
            if let Some(members) = record.as_object_mut() {
                members.remove("contacts");
            }
            records.push(record);
        }
    }
    Ok(records)
}

/// Canonical ids of the living entities asked for, sorted.
fn canonical(view: &View, kind: EntityKind, ids: Option<&[String]>) -> Vec<Arc<str>> {
    let mut canonical: Vec<Arc<str>> = match ids {
        Some(ids) => ids.iter().filter_map(|id| view.resolve(kind, id).ok()).collect(),
        None => view.directory.read().ids(kind),
    };
    canonical.sort();
    canonical.dedup();
    canonical
}

fn record(fields: &Fields) -> Map<String, Value> {
    fields
        .iter()
        .map(|(field, value)| {
            let number = if NUMBERS.contains(&field.as_str()) {
                number(value)
            } else {
                None
            };
            (
                field.clone(),
                number.map_or_else(|| json!(value), |number| json!(number)),
            )
        })
        .collect()
}

fn contact(view: &View, id: &str) -> Value {
    let mut record = own_contact(view, id);
    record["deals"] = json!(view.directory.read().deals_of_contact(id));
    record
}

fn own_contact(view: &View, id: &str) -> Value {
    let directory = view.directory.read();
    let fields = directory.fields(EntityKind::Contact, id);
    let mut record = record(&fields);
    record.extend([
        ("contact_id".to_owned(), json!(id)),
        ("name".to_owned(), json!(name(&fields))),
        (
            "contact_keys".to_owned(),
            json!(directory.keys(EntityKind::Contact, id)),
        ),
        ("account_id".to_owned(), json!(directory.account_of(id))),
        (
            "provisional".to_owned(),
            json!(directory.is_provisional(EntityKind::Contact, id)),
        ),
    ]);
    Value::Object(record)
}

fn account(view: &View, id: &str) -> Value {
    let mut record = own_account(view, id);
    let directory = view.directory.read();
    let stages = directory.stages();
    let deals = directory.deals_of(id);
    let count = |wanted: Outcome| {
        deals
            .iter()
            .filter(|deal| stages.outcome(&directory.fields(EntityKind::Deal, deal)) == wanted)
            .count()
    };
    for (member, found) in [
        ("contacts", json!(directory.contacts_of(id))),
        ("open_deals", json!(count(Outcome::Open))),
        ("won_deals", json!(count(Outcome::Won))),
        ("lost_deals", json!(count(Outcome::Lost))),
        ("deals", json!(deals)),
    ] {
        record[member] = found;
    }
    record
}

fn own_account(view: &View, id: &str) -> Value {
    let directory = view.directory.read();
    let fields = directory.fields(EntityKind::Account, id);
    let mut record = record(&fields);
    record.extend([
        ("account_id".to_owned(), json!(id)),
        ("name".to_owned(), json!(name(&fields))),
        (
            "account_keys".to_owned(),
            json!(directory.keys(EntityKind::Account, id)),
        ),
        (
            "provisional".to_owned(),
            json!(directory.is_provisional(EntityKind::Account, id)),
        ),
    ]);
    Value::Object(record)
}

async fn deals(
    view: &View,
    ids: &[Arc<str>],
    everything: bool,
    at: Timestamp,
    chunk: usize,
) -> Result<Vec<Value>, Failure> {
    let mut records = Vec::with_capacity(ids.len());
    if everything && matches!(view.knowledge, Knowledge::At(_)) {
        records.extend(view.deals(Which::All, at).await?.iter().map(deal));
    } else {
        for ids in ids.chunks(chunk.max(1)) {
            records.extend(view.deals(Which::These(ids), at).await?.iter().map(deal));
        }
    }
    Ok(records)
}

fn deal(facts: &DealFacts) -> Value {
    let history = &facts.history;
    let mut record = record(&facts.fields);
    let stages: Vec<Value> = history
        .stages
        .iter()
        .map(|spell| json!({"stage": spell.stage, "from": spell.from, "to": spell.to}))
        .collect();
    let contacts: Vec<Value> = facts
        .contacts
        .iter()
        .map(|contact| {
            json!({
                "contact_id": contact.contact_id,
                "role": contact.role,
                "authority": contact.authority,
                "last_answer": contact.last_answer,
                "last_contact": contact.last_contact,
                "two_way": contact.two_way,
                "inbound": contact.inbound,
            })
        })
        .collect();
    let slips: Vec<Value> = history
        .slips
        .iter()
        .map(|slip| json!({"at": slip.at, "from": slip.from, "to": slip.to}))
        .collect();
    record.extend([
        ("deal_id".to_owned(), json!(facts.deal_id)),
        ("name".to_owned(), json!(name(&facts.fields))),
        ("account_id".to_owned(), json!(facts.account_id)),
        ("outcome".to_owned(), json!(facts.outcome.as_str())),
        ("created_at".to_owned(), json!(history.created_at)),
        ("closed_at".to_owned(), json!(history.closed_at)),
        ("stage_entered_at".to_owned(), json!(history.stage_entered_at())),
        ("stages".to_owned(), json!(stages)),
        ("slips".to_owned(), json!(history.slips.len())),
        ("slip_history".to_owned(), json!(slips)),
        ("amount_changes".to_owned(), json!(history.amounts.len())),
        ("owner_changes".to_owned(), json!(history.owners.len())),
        ("last_change".to_owned(), json!(history.last_change)),
        ("contacts".to_owned(), json!(contacts)),
    ]);
    Value::Object(record)
}
