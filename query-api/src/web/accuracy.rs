//! How good forecasts were: error and bias of each method at three times of past quarters beside the noise floor, and
//! whether probabilities came true (N-13, N-15).

use axum::{Extension, response::Response};
use maud::html;

use super::{
    ask::number,
    chart::diagonal,
    figure::Form,
    forecast::Quarter,
    form::quoted,
    layout::{Oops, Page, page},
    outlook::{later, part},
    table::{Col, Show, col, table},
    visit::Visit,
    who::{Who, choice},
};

/// `GET /ui/accuracy?owner_id=`: what forecasts said of past quarters, and what came.
pub(super) async fn accuracy(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let owners = visit.owners().await?;
    let body = html! {
        form.filters method="get" action="/ui/accuracy" data-filter="1" {
            @if let Some(at) = visit.pairs.get("as_of") { input type="hidden" name="as_of" value=(at); }
            (choice(&visit, &owners))
            button type="submit" { "Show" }
        }
        p.lead { "What each method said at a third, two thirds and nine tenths of past quarters, and what came. A forecast from the past uses only what was known then." }
        section.card { h2 { "Error by method and time of the quarter" } (later(&visit, "/ui/accuracy/methods", "Compute it")) }
        section.card { h2 { "Do probabilities come true?" } (later(&visit, "/ui/accuracy/reliability", "Compute it")) }
    };
    Ok(page(
        &visit,
        &Page {
            title: "Accuracy",
            body,
        },
    ))
}

/// Past quarters looked at, and the times within them, in hundredths of their length.
const PAST: i32 = 4;
const TIMES: [i64; 3] = [33, 67, 90];

/// One forecast of the past: quarter, its name, time, instant.
fn past_points(visit: &Visit) -> Vec<(Quarter, i64, String)> {
    let current = Quarter::of(visit.at());
    let mut points = Vec::new();
    for back in 1..=PAST {
        let quarter = current.step(-back);
        let length = quarter.end().micros() - quarter.start().micros();
        for time in TIMES {
            let at = quarter.start().plus_micros(length / 100 * time);
            points.push((quarter, time, quoted(&at.to_string())));
        }
    }
    points
}

const ERRORS: &[Col] = &[
    col("method", "Method", Show::Band),
    col("elapsed", "Quarter elapsed", Show::Number(Form::Share)),
    col("currency", "Currency", Show::Text),
    col("quarters", "Quarters", Show::Number(Form::Count)),
    col("forecast", "Forecast", Show::Number(Form::Money)),
    col("actual", "Actual", Show::Number(Form::Money)),
    col("wape", "Error (WAPE)", Show::Number(Form::Share)),
    col("bias", "Bias", Show::Number(Form::Share)),
    col("noise_floor", "Noise floor", Show::Number(Form::Share)),
    col("covered", "Came between P10 and P90", Show::Number(Form::Share)),
];

/// `GET /ui/accuracy/methods`
pub(super) async fn methods(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let owners = visit.owners().await?;
    let who = Who::of(&visit, &owners);
    let points = past_points(&visit);
    let each = points.iter().map(|(quarter, time, at)| {
        format!(
            "SELECT {} AS quarter, {} AS elapsed, currency, method, value, noise_floor, p10, p90 FROM forecast_as_of({at}, {}{})",
            quoted(&quarter.name()),
            *time as f64 / 100.0,
            quoted(&quarter.name()),
            who.argument()
        )
    });
    let actuals: Vec<String> = (1..=PAST)
        .map(|back| {
            let quarter = Quarter::of(visit.at()).step(-back);
            format!(
                "SELECT {} AS quarter, coalesce(d.currency, '') AS currency, sum(d.amount) AS actual FROM {} d WHERE d.status = 'won' \
                 AND coalesce(d.closed_at, d.close_date) >= TIMESTAMP {} AND coalesce(d.closed_at, d.close_date) < TIMESTAMP {}{} GROUP BY 2",
                quoted(&quarter.name()),
                visit.deals(),
                quoted(&quarter.start().to_string()),
                quoted(&quarter.end().to_string()),
                who.and("d.owner_id")
            )
        })
        .collect();
    let sheet = visit
        .ask_past(format!(
            "WITH said AS ({}), came AS ({}) SELECT method, elapsed, said.currency, count(*) AS quarters, sum(value) AS forecast, \
             sum(coalesce(actual, 0)) AS actual, sum(abs(value - coalesce(actual, 0))) / nullif(sum(actual), 0) AS wape, \
             sum(value - coalesce(actual, 0)) / nullif(sum(actual), 0) AS bias, avg(noise_floor) AS noise_floor, \
             avg(CASE WHEN coalesce(actual, 0) BETWEEN p10 AND p90 THEN 1.0 ELSE 0.0 END) AS covered \
             FROM said LEFT JOIN came ON came.quarter = said.quarter AND came.currency = said.currency \
             GROUP BY method, elapsed, said.currency ORDER BY said.currency, method, elapsed",
            each.collect::<Vec<_>>().join(" UNION ALL "),
            actuals.join(" UNION ALL ")
        ))
        .await?;
    part(
        &visit,
        "Accuracy, a part of it",
        ("/ui/accuracy", "← Accuracy"),
        html! {
            (table(&visit, "Forecasts of the last four quarters against what came", &sheet, ERRORS))
            p.meta { "80 % of outcomes should lie between P10 and P90. No method can do better than the noise floor for long." }
        },
    )
}

const RELIABLE: &[Col] = &[
    col("band", "Said (tenths)", Show::Number(Form::Points)),
    col("deals", "Deals", Show::Number(Form::Count)),
    col("said", "Mean probability", Show::Number(Form::Share)),
    col("came", "Share won in the quarter", Show::Bar(1.0, Form::Share)),
];

/// `GET /ui/accuracy/reliability`
pub(super) async fn reliability(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let owners = visit.owners().await?;
    let who = Who::of(&visit, &owners);
    let points = past_points(&visit);
    let each = points.iter().map(|(quarter, _, at)| {
        format!(
            "SELECT f.probability, CASE WHEN d.status = 'won' AND coalesce(d.closed_at, d.close_date) < TIMESTAMP {} THEN 1.0 ELSE 0.0 END AS won \
             FROM forecast_rows_as_of({at}, {}{}) f JOIN {} d ON d.deal_id = f.deal_id WHERE f.kind = 'open'",
            quoted(&quarter.end().to_string()),
            quoted(&quarter.name()),
            who.argument(),
            visit.deals()
        )
    });
    let sheet = visit
        .ask_past(format!(
            "SELECT least(floor(probability * 10), 9) AS band, count(*) AS deals, avg(probability) AS said, avg(won) AS came FROM ({}) \
             GROUP BY 1 ORDER BY 1",
            each.collect::<Vec<_>>().join(" UNION ALL ")
        ))
        .await?;
    let points: Vec<(f64, f64)> = sheet
        .rows
        .iter()
        .filter_map(|row| Some((number(row, "said")?, number(row, "came")?)))
        .collect();
    part(
        &visit,
        "Accuracy, a part of it",
        ("/ui/accuracy", "← Accuracy"),
        html! {
            @if points.is_empty() { p.empty { "No open deal of the past quarters has an outcome yet." } }
            @else {
                (diagonal("Share that was won, by the probability that was said", &points))
                (table(&visit, "By tenths of probability", &sheet, RELIABLE))
            }
            p { a href=(sheet.sql.workbench()) { "The query" } }
        },
    )
}
