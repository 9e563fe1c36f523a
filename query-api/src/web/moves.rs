//! What moved the open pipeline of a quarter since an instant: a waterfall, from bar to deals.

use axum::{Extension, response::Response};
use maud::html;
use revgauge_contract::{Timestamp, time::DAY_US};

use super::{
    ask::text,
    chart::{Step, steps},
    figure::{Form, rows_and_sql},
    forecast::{Quarter, picked},
    form::quoted,
    layout::Oops,
    outlook::forecast_part,
    table::{Col, Show, col, table},
    visit::{Visit, address, short},
};
use crate::problem::Problem;

/// Deals of a bar on a page.
const MOVED: usize = 100;

const MOVES: &[Col] = &[
    col("name", "Deal", Show::Link("/ui/deals/", "deal_id")),
    col("amount", "Moved", Show::Number(Form::Money)),
    col("stage_from", "Stage before", Show::Text),
    col("stage_to", "Stage after", Show::Text),
    col("at", "Known since", Show::Day),
];

/// Words for the bars of a waterfall.
fn bar_name(bucket: &str) -> String {
    match bucket {
        "start" => "Open before".to_owned(),
        "end" => "Open after".to_owned(),
        other => {
            let words = other.replace('_', " ");
            let mut letters = words.chars();
            letters
                .next()
                .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
        }
    }
}

/// The start of the quarter when nothing else is asked for, and a week ago in its first days.
fn since_of(visit: &Visit, quarter: Quarter) -> Result<Timestamp, Problem> {
    let at = visit.at_of_hour();
    let Some(text) = visit.pairs.get("since") else {
        return Ok(quarter.start().min(at.plus_micros(-7 * DAY_US)));
    };
    let since: Timestamp = text.parse().map_err(|error| {
        Problem::bad(
            "bad_instant",
            format!("cannot read 'since' = '{}': {error}", short(text)),
        )
        .hint("write it as 2026-01-31T09:30, in UTC")
    })?;
    if since >= at {
        return Err(Problem::bad(
            "bad_instant",
            "'since' lies after the instant of the page",
        ));
    }
    Ok(since)
}

/// `GET /ui/forecast/moves?since=&bucket=`: bar by bar; a bar leads to its deals. The page fetches it after it stands.
pub(super) async fn moves(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let (quarter, who, _) = picked(&visit).await?;
    let visit = &visit;
    let since = since_of(visit, quarter)?;
    let call = format!(
        "waterfall({}, {}, 'net', {}, {}{})",
        quoted(&since.to_string()),
        quoted(&visit.at_of_hour().to_string()),
        quoted(&quarter.start().to_string()),
        quoted(&quarter.end().to_string()),
        who.argument()
    );
    let bars = visit
        .ask_past(format!(
            "SELECT currency, bucket, count(DISTINCT deal_id) AS deals, sum(amount) AS amount FROM {call} \
             GROUP BY currency, bucket ORDER BY currency, CASE bucket WHEN 'start' THEN 0 WHEN 'end' THEN 2 ELSE 1 END, amount DESC, bucket"
        ))
        .await?;
    let bucket = visit.pairs.get("bucket");
    let moved = match bucket {
        None => None,
        Some(bucket) => Some(
            visit
                .ask_rows(
                    format!(
                        "SELECT w.deal_id, d.name, w.amount, w.currency, w.stage_from, w.stage_to, w.at FROM {call} w \
                         LEFT JOIN {} d ON d.deal_id = w.deal_id WHERE w.bucket = {} ORDER BY abs(w.amount) DESC, w.deal_id",
                        visit.deals(),
                        quoted(bucket)
                    ),
                    MOVED,
                )
                .await?,
        ),
    };
    let mut currencies: Vec<&str> = Vec::new();
    for row in &bars.rows {
        if !currencies.contains(&text(row, "currency")) {
            currencies.push(text(row, "currency"));
        }
    }
    forecast_part(
        visit,
        html! {

            form.filters method="get" action="/ui/forecast" data-filter="1" {
                @for (name, value) in visit.pairs.all() { @if !matches!(name.as_str(), "since" | "bucket" | "part") { input type="hidden" name=(name) value=(value); } }
                label { "Since (UTC) " input type="datetime-local" name="since" value=(since.to_datetime().format("%Y-%m-%dT%H:%M")); }
                button type="submit" { "Show" }
            }
            @if bars.rows.is_empty() { p.empty { "No deal was open in the quarter, then or now." } }
            @for currency in currencies {
                @let own: Vec<Step> = bars.rows.iter().enumerate().filter(|(_, row)| text(row, "currency") == currency).map(|(at, row)| Step {
                    label: bar_name(text(row, "bucket")),
                    href: drill(visit, text(row, "bucket")),
                    row: at,
                    is_total: matches!(text(row, "bucket"), "start" | "end"),
                }).collect();
                (steps(&format!("Waterfall, {currency}"), &bars, &own, "amount", Form::Money))
            }
            (rows_and_sql(&bars.sql))
            @if let Some(moved) = &moved { (table(visit, &format!("Deals of the bar '{}'", bar_name(&short(bucket.unwrap_or_default()))), moved, MOVES)) }
        },
    )
}

fn drill(visit: &Visit, bucket: &str) -> String {
    let kept = visit
        .pairs
        .all()
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "bucket" | "part"));
    let pairs = kept.map(|(name, value)| (name.as_str(), value.as_str()));
    format!(
        "{}#moves",
        address("/ui/forecast", pairs.chain([("bucket", bucket)]))
    )
}
