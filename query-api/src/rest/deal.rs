//! Stakeholder map of a deal (DM-04): who is involved, in which role, with what say, and how alive the contact is.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use revgauge_contract::{
    access::Caller,
    error::{ErrorKind, Failure},
    score::EntityKind,
};
use serde_json::{Value, json};

use super::{
    arguments::{Arguments, Moment},
    entity::{Asked, not_found},
    records::{answer, value},
};
use crate::{api::Api, problem::Problem, sql::text_of};

/// Most people of one deal; more are not looked at.
const MAX_PEOPLE: usize = 200;

/// `GET /v1/deals/{id}/stakeholders`
pub(super) async fn stakeholders(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let asked = Asked {
        api,
        caller,
        arguments,
        kind: EntityKind::Deal,
        id,
    };
    let moment = asked.moment()?;
    let (deal_id, deal) = the_deal(&asked, moment).await?;
    let mut people = Vec::new();
    for (contact, part) in parts_of(&deal).iter().take(MAX_PEOPLE) {
        people.push(stakeholder(&asked, moment, contact, part).await?);
    }
    let say = |person: &Value| person.get("authority").and_then(Value::as_f64).unwrap_or(-1.0);
    people.sort_by(|a, b| say(b).total_cmp(&say(a)));
    let members = [
        ("deal_id", value(deal_id)?),
        ("stakeholders", Value::Array(people)),
    ];
    Ok(answer(&asked.freshness(moment.at), members))
}

async fn the_deal(asked: &Asked, moment: Moment) -> Result<(String, Value), Problem> {
    let id = match asked.entity_scores(moment).await {
        Ok(found) => found.entity_id,
        Err(problem) if problem.status == 404 => asked.id.clone(),
        Err(problem) => return Err(problem),
    };
    let ids = [id.clone()];
    let found = asked
        .service()
        .objects(
            &asked.caller.tenant_id,
            EntityKind::Deal,
            Some(&ids),
            moment.knowledge,
        )
        .await?;
    let deal = found.into_iter().next().ok_or_else(|| not_found(asked))?;
    Ok((id, deal))
}

/// What a deal's record says of one of its people.
#[derive(Debug, Default)]
struct Part {
    roles: BTreeSet<String>,
    record: Value,
}

/// The people in the record's list `contacts`, and the main contact named beside it.
fn parts_of(deal: &Value) -> BTreeMap<String, Part> {
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    for entry in deal
        .get("contacts")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if let Some(contact) = text_of(entry, &["contact_id"]) {
            let part = parts.entry(contact).or_default();
            part.roles.extend(text_of(entry, &["role"]));
            part.record = entry.clone();
        }
    }
    if let Some(contact) = text_of(deal, &["contact_id"]) {
        // The record may name it by another key than the list does, so it only fills an empty list.
        if parts.is_empty() {
            parts.entry(contact).or_default();
        }
    }
    parts
}

async fn stakeholder(asked: &Asked, moment: Moment, contact: &str, part: &Part) -> Result<Value, Failure> {
    let scores = asked.service();
    let tenant_id = &asked.caller.tenant_id;
    let kind = EntityKind::Contact;
    let found = match scores
        .scores(tenant_id, kind, contact, moment.at, moment.knowledge)
        .await
    {
        Ok(found) => Some(found),
        Err(failure) if failure.kind == ErrorKind::NotFound => None,
        Err(failure) => return Err(failure),
    };
    let id = found
        .as_ref()
        .map_or_else(|| contact.to_owned(), |found| found.entity_id.clone());
    let ids = [id.clone()];
    let object = scores
        .objects(tenant_id, kind, Some(&ids), moment.knowledge)
        .await?;
    let object = object.into_iter().next().unwrap_or(Value::Null);
    let score = |name: &str| {
        let found = found.as_ref()?.scores.iter().find(|score| score.name == name)?;
        found.value
    };
    let recorded = |name: &str| part.record.get(name).cloned().unwrap_or(Value::Null);
    Ok(json!({
        "contact_id": id,
        "name": text_of(&object, &["name"]),
        "title": text_of(&object, &["title", "job_title", "jobtitle"]),
        "email": text_of(&object, &["email"]),
        "roles": part.roles,
        "authority": score("authority").map_or_else(|| recorded("authority"), Value::from),
        "engagement": score("engagement"),
        "last_inbound": recorded("last_answer"),
        "last_contact": recorded("last_contact"),
        "two_way": recorded("two_way"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_person_with_two_roles_is_one_person() {
        let deal = json!({"contact_id": "c9", "contacts": [
            {"contact_id": "c1", "role": "champion"},
            {"contact_id": "c1", "role": "economic_buyer"},
            {"contact_id": "c2", "role": null},
        ]});
        let parts = parts_of(&deal);
        assert_eq!(parts.keys().collect::<Vec<_>>(), ["c1", "c2"]);
        assert_eq!((parts["c1"].roles.len(), parts["c2"].roles.len()), (2, 0));
        assert_eq!(
            parts_of(&json!({"contact_id": "c9"})).keys().collect::<Vec<_>>(),
            ["c9"]
        );
    }
}
