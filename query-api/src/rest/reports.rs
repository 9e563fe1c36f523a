//! `GET /v1/reports`, `GET /v1/reports/{name}`, `GET /v1/waterfall`

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
};
use revgauge_contract::{
    access::Caller,
    reports::{Bucket, WaterfallGroup, WaterfallQuestion},
};
use serde_json::{Value, json};

use super::{
    arguments::Arguments,
    records::{answer, objects, value},
};
use crate::{
    api::Api,
    freshness::Freshness,
    problem::Problem,
    sql::{SqlRequest, nearest, run_sql, waterfall_record},
};

/// The catalogue.
pub(super) async fn list(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let reports: Vec<_> = api.reports.all().collect();
    let freshness = api.freshness(&caller.tenant_id);
    Ok(answer(
        &freshness,
        [("total", value(reports.len())?), ("items", value(reports)?)],
    ))
}

/// One report with its rows.
pub(super) async fn one(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let Some(report) = api.reports.get(&name) else {
        let shown: String = name.chars().take(64).collect();
        let problem = Problem::new(
            StatusCode::NOT_FOUND,
            "unknown_report",
            format!("no report '{shown}'"),
        );
        return Err(match nearest(&name, &api.reports.names()) {
            Some(near) => problem.hint(format!("did you mean '{near}'? /v1/reports lists all")),
            None => problem.hint("/v1/reports lists all"),
        });
    };
    let request = SqlRequest {
        sql: format!("SELECT * FROM report_{name}"),
        limit_rows: Some(arguments.limit(&api.settings.http)?),
        ..SqlRequest::default()
    };
    let rows = run_sql(&api, &caller, request).await?;
    let mut found = objects(&rows.batches)?;
    for row in &mut found {
        in_order(row, report.columns.iter().map(|column| column.name.as_str()));
    }
    Ok(answer(
        &rows.freshness,
        [
            ("report", value(report)?),
            ("row_count", value(found.len())?),
            ("truncated", value(rows.truncated)?),
            ("rows", value(found)?),
        ],
    ))
}

/// Keeps what the report names, so that its page and its rows say the same.
fn in_order<'a>(row: &mut Value, columns: impl Iterator<Item = &'a str>) {
    if let Some(members) = row.as_object_mut() {
        let mut held = std::mem::take(members);
        members.extend(columns.filter_map(|name| Some((name.to_owned(), held.remove(name)?))));
    }
}

/// What moved the pipeline between two instants.
pub(super) async fn waterfall(
    State(api): State<Arc<Api>>,
    Extension(caller): Extension<Caller>,
    Extension(arguments): Extension<Arguments>,
) -> Result<Response, Problem> {
    let now = api.clock.now();
    let limit = arguments.limit(&api.settings.http)?;
    let question = question_of(&arguments, now)?;
    let bucket = arguments.text("bucket").map(str::to_owned);
    let (service, tenant_id, asked) = (
        api.report_service(&api.sight(&caller)),
        Arc::clone(&caller.tenant_id),
        question.clone(),
    );
    let parts = api
        .aside(async move { service.waterfall(&tenant_id, &asked).await })
        .await?;
    let mut bars: BTreeMap<(&str, &str, Bucket), (usize, i64)> = BTreeMap::new();
    for part in &parts {
        let bar = bars
            .entry((&part.group, &part.currency, part.bucket))
            .or_default();
        *bar = (bar.0 + 1, bar.1 + part.amount_cents);
    }
    let bars: Vec<Value> = bars
        .into_iter()
        .map(|((group, currency, bucket), (moves, cents))| {
            json!({
                "group": group, "currency": currency, "bucket": bucket, "moves": moves,
                "amount": cents as f64 / 100.0,
            })
        })
        .collect();
    let wanted = |name: &str| bucket.as_deref().is_none_or(|bucket| bucket == name);
    let shown: Vec<Value> = parts
        .iter()
        .filter(|part| wanted(part.bucket.as_str()))
        .map(waterfall_record)
        .collect();
    let truncated = shown.len() > limit;
    let freshness = Freshness {
        as_of: question.to,
        ..api.freshness(&caller.tenant_id)
    };
    Ok(answer(
        &freshness,
        [
            ("from", json!(question.from)),
            ("to", json!(question.to)),
            ("mode", json!(if question.gross { "gross" } else { "net" })),
            ("bars", json!(bars)),
            ("truncated", json!(truncated)),
            ("parts", shown.into_iter().take(limit).collect()),
        ],
    ))
}

fn question_of(
    arguments: &Arguments,
    now: revgauge_contract::Timestamp,
) -> Result<WaterfallQuestion, Problem> {
    let from = arguments.instant("from")?.ok_or_else(|| {
        Problem::bad("bad_parameter", "parameter 'from' is missing")
            .hint("give the earlier instant, such as from=2026-01-01")
    })?;
    let to = arguments.instant("to")?.unwrap_or(now);
    if to > now {
        return Err(Problem::bad("as_of_ahead", format!("to {to} is still to come")));
    }
    let period = match (
        arguments.instant("period_start")?,
        arguments.instant("period_end")?,
    ) {
        (None, None) => None,
        (Some(start), Some(end)) => Some((start, end)),
        _ => {
            return Err(Problem::bad(
                "bad_parameter",
                "period_start and period_end are given both or not at all",
            ));
        }
    };
    let group_by = arguments
        .one_of("group_by", &WaterfallGroup::NAMES)?
        .and_then(WaterfallGroup::named)
        .unwrap_or_default();
    let text = |name| arguments.text(name).map(str::to_owned);
    Ok(WaterfallQuestion {
        latest: to == now,
        gross: arguments.one_of("mode", &["net", "gross"])? == Some("gross"),
        period,
        owner_ids: text("owner_id").map(|owner| vec![owner]),
        team_of: text("team_of"),
        pipeline: text("pipeline"),
        group_by,
        ..WaterfallQuestion::net(from, to)
    })
}
