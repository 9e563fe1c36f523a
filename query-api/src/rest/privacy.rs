//! `/v1/privacy`: export of all data of a person (SO-91), and requests for erasure (N-25).

use std::sync::Arc;

use axum::{
    Extension,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::Response,
};
use datafusion::logical_expr::{Expr, col, lit};
use revgauge_contract::{ErrorKind, access::Caller, score::EntityKind, statistics::Knowledge};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    arguments::{Arguments, json_body},
    entity::any_of,
    records::{Source, answer, strip, table_rows, unfold, value},
};
use crate::{api::Api, problem::Problem};

/// Longest text that can be asked for, bytes.
const MAX_SUBJECT_BYTES: usize = 512;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ErasureRequest {
    subject: String,
    #[serde(default)]
    also: Vec<String>,
}

/// `GET /v1/privacy/export`: everything that is stored about one contact. Cut at `max_rows` rows a part, and says so.
pub(super) async fn export(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let Some(subject) = arguments.text("subject").map(str::to_owned) else {
        return Err(Problem::bad("bad_parameter", "parameter 'subject' is missing")
            .hint("give an id or mail address of a contact: ?subject=jo@example.com"));
    };
    let now = api.clock.now();
    let scores = api.scores(&caller);
    let tenant = &caller.tenant_id;
    let kind = EntityKind::Contact;
    let mut keys = match scores.keys(tenant, kind, &subject, Knowledge::Now).await {
        Ok(keys) => keys,
        Err(failure) if failure.kind == ErrorKind::NotFound => Vec::new(),
        Err(failure) => return Err(failure.into()),
    };
    if !keys.contains(&subject) {
        keys.push(subject.clone());
    }
    let ids = [subject.clone()];
    let record = scores.objects(tenant, kind, Some(&ids), Knowledge::Now).await?;
    let found = match scores.explain(tenant, kind, &subject, now, Knowledge::Now).await {
        Ok(found) => value(found.scores)?,
        Err(failure) if failure.kind == ErrorKind::NotFound => json!([]),
        Err(failure) => return Err(failure.into()),
    };
    let about = |columns: [&str; 2]| -> Expr { any_of(columns[0], &keys).or(any_of(columns[1], &keys)) };
    let limit = api.settings.sql.max_rows;
    let rows = async |table: &'static str,
                      filter: Expr,
                      order: &[&str],
                      json_columns: &[&str]|
           -> Result<(Value, bool), Problem> {
        let order = order.iter().map(|name| col(*name).sort(true, false)).collect();
        let found = table_rows(&api, &caller, Source::Table(table), filter, order, limit - 1).await?;
        let (mut rows, _, more) = found;
        unfold(&mut rows, json_columns);
        strip(&mut rows);
        Ok((Value::Array(rows), more))
    };
    let (events, more_events) = rows(
        "events",
        about(["contact_id", "email"]),
        &["event_time", "event_id"],
        &["payload"],
    )
    .await?;
    let of_contact = col("entity_kind")
        .eq(lit("contact"))
        .and(any_of("entity_id", &keys));
    let (history, more_history) =
        rows("score_changes", of_contact, &["position", "row"], &["detail"]).await?;
    let letters = api.status.dead_letters(tenant, usize::MAX).await?;
    let lower: Vec<String> = keys.iter().map(|key| key.to_lowercase()).collect();
    let letters: Vec<_> = letters
        .into_iter()
        .filter(|letter| letter.tenant_id == **tenant)
        .filter(|letter| {
            let body = letter.body.to_lowercase();
            lower.iter().any(|key| {
                // A short key counts as a whole value only.
                body.contains(&format!("\"{key}\"")) || (key.len() >= 6 && body.contains(key.as_str()))
            })
        })
        .collect();
    let members = [
        ("subject", value(subject)?),
        ("keys", value(keys)?),
        ("record", Value::Array(record)),
        ("scores", found),
        ("events", events),
        ("score_history", history),
        ("dead_letters", value(letters)?),
        ("truncated", value(more_events || more_history)?),
    ];
    Ok(answer(&api.freshness(tenant), members))
}

/// `POST /v1/privacy/erasures`: keeps a request; it is carried out when the server next starts.
pub(super) async fn request(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let wanted: ErasureRequest = json_body(body)?;
    let mut texts = std::iter::once(&wanted.subject).chain(&wanted.also);
    if texts.any(|text| text.trim().is_empty() || text.len() > MAX_SUBJECT_BYTES) || wanted.also.len() > 100 {
        return Err(Problem::bad(
            "bad_body",
            "subject and each of 'also' have 1 to 512 bytes, and 'also' at most 100 texts",
        )
        .hint("send {\"subject\": \"id or mail address\", \"also\": [\"further texts of the person\"]}"));
    }
    let kept = api
        .status
        .request_erasure(&caller, wanted.subject, wanted.also)
        .await?;
    Ok(answer(&api.freshness(&caller.tenant_id), [("request", kept)]))
}

/// `GET /v1/privacy/erasures`: requests that wait, and reports of what was done.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let erasures = api.status.erasures(&caller.tenant_id).await?;
    Ok(answer(
        &api.freshness(&caller.tenant_id),
        [("erasures", erasures)],
    ))
}
