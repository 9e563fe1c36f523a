//! The loop that delivers what is due: claims it, runs the query, hands it over, writes down how it went.

use std::{collections::HashSet, sync::Arc, time::Duration};

use datafusion::arrow::datatypes::DataType;
use parking_lot::Mutex;
use revgauge_contract::Timestamp;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    mail::{self, Mail},
    rendered::{Rows, to_csv, to_html, to_json, to_text},
    saved::{Delivery, DeliveryState, SavedReport, Target},
    webhook::{self, WebhookSender},
};
use crate::{
    api::Api,
    problem::Problem,
    rest::json_objects,
    sql::{SqlRequest, run_sql},
};

/// What kept an attempt from succeeding.
struct Setback {
    why: String,
    /// Whether another attempt may help.
    may_pass: bool,
}

impl Setback {
    const fn passing(why: String) -> Self {
        Self { why, may_pass: true }
    }
}

/// Delivers due reports until told to stop; an attempt under way is finished first.
///
/// An attempt is written down before it begins and after it ended. A process that ends in between tries again at its
/// next start, under the same id: a file is written over, a receiver of webhooks and a mail program know the id.
pub async fn run_deliveries(api: Arc<Api>, webhooks: Arc<dyn WebhookSender>, stop: CancellationToken) {
    let settings = &api.settings.deliveries;
    if !settings.enabled {
        return;
    }
    let tick = Duration::from_millis(settings.tick_ms.max(10));
    let under_way: Arc<Mutex<HashSet<(String, Timestamp)>>> = Arc::default();
    let attempts = TaskTracker::new();
    while !stop.is_cancelled() {
        let ready = match api.saved.ready().await {
            Ok(ready) => ready,
            Err(error) => {
                tracing::error!(%error, "cannot tell which reports are due");
                Vec::new()
            }
        };
        for (report, delivery) in ready {
            let place = (report.report_id.clone(), delivery.due_at);
            {
                let mut under_way = under_way.lock();
                if under_way.len() >= settings.concurrent.max(1) || !under_way.insert(place.clone()) {
                    continue;
                }
            }
            let (api, webhooks, under_way) =
                (Arc::clone(&api), Arc::clone(&webhooks), Arc::clone(&under_way));
            attempts.spawn(async move {
                attempt(&api, webhooks.as_ref(), &report, delivery).await;
                under_way.lock().remove(&place);
            });
        }
        tokio::select! {
            () = tokio::time::sleep(tick) => {}
            () = stop.cancelled() => {}
        }
    }
    attempts.close();
    attempts.wait().await;
}

async fn attempt(api: &Arc<Api>, webhooks: &dyn WebhookSender, report: &SavedReport, mut delivery: Delivery) {
    delivery.attempts += 1;
    delivery.state = DeliveryState::Begun;
    if let Err(error) = api.saved.record(report, delivery.clone()).await {
        tracing::error!(%error, report = report.report_id, "cannot write down that a delivery begins, so it waits");
        return;
    }
    let outcome = hand_over(api, webhooks, report, delivery.due_at).await;
    let now = api.clock.now();
    let (id, attempts) = (&report.report_id, delivery.attempts);
    match outcome {
        Ok((rows, message)) => {
            tracing::info!(report = id, due_at = %delivery.due_at, rows, attempts, "report delivered");
            delivery.state = DeliveryState::Delivered;
            delivery.ended_at = Some(now);
            delivery.rows = Some(rows);
            delivery.message = message;
        }
        Err(setback) => {
            let last = !setback.may_pass || attempts >= api.settings.deliveries.max_attempts;
            tracing::warn!(report = id, due_at = %delivery.due_at, attempts, last, why = setback.why, "report not delivered");
            delivery.message = setback.why.chars().take(500).collect();
            if last {
                delivery.state = DeliveryState::Failed;
                delivery.ended_at = Some(now);
            } else {
                delivery.state = DeliveryState::Waiting;
                delivery.next_try_at = now.plus_micros(wait_us(api, &delivery));
            }
        }
    }
    if let Err(error) = api.saved.record(report, delivery).await {
        tracing::error!(%error, report = id, "cannot write down how a delivery went");
    }
}

/// Doubles with each attempt up to a limit; a quarter of it differs from one due instant to the next, so that what
/// failed together does not come again together.
fn wait_us(api: &Api, delivery: &Delivery) -> i64 {
    let settings = &api.settings.deliveries;
    let doubled = settings
        .first_retry_ms
        .saturating_mul(1 << (delivery.attempts.saturating_sub(1)).min(20));
    let wait_ms = doubled.min(settings.max_retry_ms).max(1);
    let spread = delivery.due_at.micros().unsigned_abs() / 1_000_000 % (wait_ms / 4 + 1);
    i64::try_from((wait_ms - spread) * 1_000).unwrap_or(i64::MAX)
}

async fn hand_over(
    api: &Arc<Api>,
    webhooks: &dyn WebhookSender,
    report: &SavedReport,
    due_at: Timestamp,
) -> Result<(usize, String), Setback> {
    let Some(schedule) = &report.schedule else {
        return Err(Setback {
            why: "its schedule was taken away".to_owned(),
            may_pass: false,
        });
    };
    let answer = rows_of(api, report).await?;
    let count = answer.rows.len();
    let settings = &api.settings.deliveries;
    let id = format!("{}-{}", report.report_id, due_at.micros());
    let message = match &schedule.target {
        Target::File => {
            let csv = to_csv(&answer.columns, &answer.rows);
            let written = api.saved.write_file(report, due_at, csv).await;
            written.map_err(|error| Setback::passing(error.to_string()))?
        }
        Target::Webhook { url, secret } => {
            let body = to_json(report, due_at, &answer);
            let headers = webhook::headers(secret, &id, api.clock.now(), &body)
                .map_err(|error| Setback::passing(error.to_string()))?;
            let sent = webhooks.post(url, &headers, body.into()).await;
            match sent.map_err(Setback::passing)? {
                status @ 200..300 => format!("answered {status}"),
                status => {
                    return Err(Setback {
                        why: format!("the receiver answered {status}"),
                        may_pass: webhook::may_pass(status),
                    });
                }
            }
        }
        Target::Mail { to } => {
            let link = match settings.public_url.trim_end_matches('/') {
                "" => String::new(),
                base => format!("{base}/ui/saved/{}", report.report_id),
            };
            let mail = Mail {
                id: &id,
                to,
                subject: &report.title,
                at: api.clock.now(),
                text: to_text(report, &answer, &link),
                html: to_html(report, &answer, &link),
                file_name: &format!("{}.csv", file_name(&report.title)),
                csv: to_csv(&answer.columns, &answer.rows),
            };
            let timeout = Duration::from_millis(settings.timeout_ms);
            mail::send(&settings.smtp, timeout, mail)
                .await
                .map_err(|bounced| Setback {
                    why: bounced.why,
                    may_pass: bounced.may_pass,
                })?;
            format!("taken by the mail server for {}", to.join(", "))
        }
    };
    Ok((count, message))
}

async fn rows_of(api: &Arc<Api>, report: &SavedReport) -> Result<Rows, Setback> {
    let request = SqlRequest {
        sql: report.sql.clone(),
        limit_rows: Some(api.settings.deliveries.max_rows.min(api.settings.sql.max_rows)),
        ..SqlRequest::default()
    };
    let refused = |problem: Problem| Setback {
        may_pass: problem.status >= 500 || problem.status == 429,
        why: format!("its query failed: {}", problem.detail),
    };
    let maker = api.caller_named(&report.tenant_id, &report.created_by);
    let maker = maker.ok_or_else(|| Setback {
        may_pass: false,
        why: "who saved it may no longer sign in, or is known by an identity provider alone: save it anew"
            .to_owned(),
    })?;
    let answer = run_sql(api, &maker, request)
        .await
        .map_err(|error| refused(error.into()))?;
    let fields = answer.schema.fields().iter();
    let is_number = |kind: &DataType| kind.is_numeric();
    Ok(Rows {
        columns: fields
            .map(|field| (field.name().clone(), is_number(field.data_type())))
            .collect(),
        rows: json_objects(&answer.batches).map_err(refused)?,
        truncated: answer.truncated,
        as_of: answer.freshness.as_of,
    })
}

fn file_name(title: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let name: String = title.chars().map(plain).take(60).collect();
    let name = name.trim_matches('-').to_owned();
    if name.is_empty() {
        "report".to_owned()
    } else {
        name
    }
}
