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
use datafusion::logical_expr::{col, lit};
use revgauge_contract::{
    access::Caller,
    crm::{DELETED, split_latest},
    error::{ErrorKind, Failure},
    score::EntityKind,
    statistics::Knowledge,
};
use serde_json::{Value, json};

use super::{
    arguments::{Arguments, Moment},
    entity::{Asked, not_found},
    records::{Source, answer, by_member, table_rows, value},
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
    let mut roles = roles_in_record(&deal);
    if roles.is_empty() && moment.knowledge == Knowledge::Now {
        roles = roles_in_state(&asked, &deal_id).await?;
    }
    if let Some(contact) = text_of(&deal, &["contact_id"]) {
        roles.entry(contact).or_default();
    }
    let mut people: BTreeMap<String, Value> = BTreeMap::new();
    for (contact, role) in roles.iter().take(MAX_PEOPLE) {
        let (id, person) = stakeholder(&asked, moment, contact, role).await?;
        people.entry(id).or_insert(person);
    }
    let mut people: Vec<Value> = people.into_values().collect();
    people.sort_by(|a, b| number(b, "authority").total_cmp(&number(a, "authority")));
    let members = [
        ("deal_id", value(deal_id)?),
        ("stakeholders", Value::Array(people)),
    ];
    Ok(answer(&asked.freshness(moment.at), members))
}

fn number(person: &Value, name: &str) -> f64 {
    person.get(name).and_then(Value::as_f64).unwrap_or(-1.0)
}

async fn the_deal(asked: &Asked, moment: Moment) -> Result<(String, Value), Problem> {
    let id = match asked.entity_scores(moment).await {
        Ok(found) => found.entity_id,
        Err(problem) if problem.status == 404 => asked.id.clone(),
        Err(problem) => return Err(problem),
    };
    let ids = [id.clone()];
    let scores = &asked.api.scores;
    let found = scores
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

type Roles = BTreeMap<String, BTreeSet<String>>;

/// Roles as the deal's record lists them, where it does.
fn roles_in_record(deal: &Value) -> Roles {
    let mut roles = Roles::new();
    for list in ["stakeholders", "roles", "contacts"] {
        for entry in deal.get(list).and_then(Value::as_array).into_iter().flatten() {
            let contact = entry
                .as_str()
                .map(str::to_owned)
                .or_else(|| text_of(entry, &["contact_id", "email", "id"]));
            if let Some(contact) = contact {
                let named = roles.entry(contact).or_default();
                named.extend(text_of(entry, &["role", "name"]));
            }
        }
    }
    for contact in deal
        .get("contact_ids")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if let Some(contact) = contact.as_str() {
            roles.entry(contact.to_owned()).or_default();
        }
    }
    roles
}

/// Roles as the live CRM state holds them: objects `role` with the id `deal/contact`.
async fn roles_in_state(asked: &Asked, deal_id: &str) -> Result<Roles, Problem> {
    let keys = asked
        .api
        .scores
        .keys(&asked.caller.tenant_id, EntityKind::Deal, deal_id, Knowledge::Now);
    let mut keys = keys.await.or_else(|failure| match failure.kind {
        ErrorKind::NotFound => Ok(Vec::new()),
        _ => Err(failure),
    })?;
    keys.push(deal_id.to_owned());
    let of_deal = keys
        .iter()
        .map(|key| {
            datafusion::functions::string::expr_fn::starts_with(col("object_id"), lit(format!("{key}/")))
        })
        .reduce(datafusion::logical_expr::Expr::or)
        .unwrap_or_else(|| lit(false));
    let filter = col("object").eq(lit("role")).and(of_deal);
    let order = vec![col("object_id").sort(true, false)];
    let source = Source::Table("crm_state");
    let limit = MAX_PEOPLE * 10;
    let rows = match table_rows(&asked.api, &asked.caller.tenant_id, source, filter, order, limit).await {
        Ok((rows, _, _)) => rows,
        // A deployment without that pipeline has no roles to tell.
        Err(problem) if problem.code == "unknown_table" || problem.code == "unknown_column" => {
            return Ok(Roles::new());
        }
        Err(problem) => return Err(problem),
    };
    Ok(roles_of_fields(rows, &keys))
}

fn roles_of_fields(rows: Vec<Value>, deal_keys: &[String]) -> Roles {
    let mut roles = Roles::new();
    for (object_id, fields) in by_member(rows, "object_id") {
        let latest = |name: &str| {
            let row = fields
                .iter()
                .find(|row| row.get("field").and_then(Value::as_str) == Some(name))?;
            let (_, value) = split_latest(row.get("latest")?.as_str()?)?;
            value.map(str::to_owned)
        };
        if latest(DELETED).as_deref() == Some("true") {
            continue;
        }
        let contact = deal_keys
            .iter()
            .find_map(|key| object_id.strip_prefix(key.as_str())?.strip_prefix('/'));
        if let Some(contact) = contact {
            roles
                .entry(contact.to_owned())
                .or_default()
                .extend(latest("role"));
        }
    }
    roles
}

async fn stakeholder(
    asked: &Asked,
    moment: Moment,
    contact: &str,
    roles: &BTreeSet<String>,
) -> Result<(String, Value), Failure> {
    let scores = &asked.api.scores;
    let tenant_id = &asked.caller.tenant_id;
    let found = match scores
        .scores(
            tenant_id,
            EntityKind::Contact,
            contact,
            moment.at,
            moment.knowledge,
        )
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
        .objects(tenant_id, EntityKind::Contact, Some(&ids), moment.knowledge)
        .await?;
    let object = object.into_iter().next().unwrap_or(Value::Null);
    let score = |name: &str| found.as_ref()?.scores.iter().find(|score| score.name == name);
    let fact = |name: &str| {
        let in_scores = found
            .iter()
            .flat_map(|found| &found.scores)
            .find_map(|score| score.facts.get(name));
        in_scores
            .cloned()
            .or_else(|| text_of(&object, &[name]).map(Value::String))
    };
    let person = json!({
        "contact_id": id,
        "name": text_of(&object, &["name"]),
        "title": text_of(&object, &["title", "job_title", "jobtitle"]),
        "email": text_of(&object, &["email"]),
        "roles": roles,
        "authority": score("authority").and_then(|score| score.value),
        "engagement": score("engagement").and_then(|score| score.value),
        "last_inbound": fact("last_inbound"),
    });
    Ok((id, person))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_from_the_record_or_the_crm_state() {
        let record = json!({"roles": [{"contact_id": "c1", "role": "champion"}], "contact_ids": ["c2"]});
        let roles = roles_in_record(&record);
        assert_eq!(roles["c1"], BTreeSet::from(["champion".to_owned()]));
        assert!(roles["c2"].is_empty());

        let key = revgauge_contract::crm::order_key(None, 5);
        let row = |id: &str, field: &str, value: &str| json!({"object_id": id, "field": field, "latest": format!("{key}={value}")});
        let rows = vec![
            row("d1/c1", "role", "economic_buyer"),
            row("d1/c1", DELETED, "false"),
            row("d1/gone", "role", "user"),
            row("d1/gone", DELETED, "true"),
        ];
        let roles = roles_of_fields(rows, &["d1".to_owned()]);
        assert_eq!(roles.keys().collect::<Vec<_>>(), ["c1"]);
        assert!(roles["c1"].contains("economic_buyer"));
    }
}
