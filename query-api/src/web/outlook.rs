//! What the model says of a quarter: its median and doubt, the methods it blends, how it moved week by week, the addends.

use axum::{
    Extension,
    response::{Html, IntoResponse, Response},
};
use maud::{Markup, html};
use revgauge_contract::{Timestamp, time::DAY_US};

use super::{
    ask::{Sheet, number, text},
    chart::{Fan, Line, over_time},
    figure::{Form, cell, rows_and_sql, tile_of},
    forecast::{Quarter, picked},
    form::quoted,
    layout::{Oops, Page, page},
    table::{Col, Show, col, table},
    visit::{Visit, address},
    what_if::quota_note,
    who::Who,
};

/// Addends on a page; the link under them has all.
const ADDENDS: usize = 60;

const METHODS: &[Col] = &[
    col("method", "Method", Show::Band),
    col("currency", "Currency", Show::Text),
    col("value", "Forecast", Show::Number(Form::Money)),
    col("weight", "Weight in the blend", Show::Number(Form::Share)),
    col("wape", "Error before (WAPE)", Show::Number(Form::Share)),
    col("bias", "Bias before", Show::Number(Form::Share)),
    col("noise_floor", "Noise floor", Show::Number(Form::Share)),
];

const ROWS: &[Col] = &[
    col("name", "Deal", Show::Link("/ui/deals/", "deal_id")),
    col("kind", "Why", Show::Band),
    col("stage", "Stage", Show::Text),
    col("category", "Category", Show::Band),
    col("amount", "Amount", Show::Number(Form::Money)),
    col("probability", "× probability", Show::Number(Form::Share)),
    col("contribution", "= contribution", Show::Number(Form::Money)),
];

/// The model's answer for a quarter, a row a currency and method. Its instant is the running minute, so that all who ask
/// within it share one computation.
fn model_sql(visit: &Visit, quarter: Quarter, who: &Who) -> String {
    format!(
        "SELECT currency, method, value, weight, wape, bias, noise_floor, closed, p10, p50, p90 FROM forecast_as_of({}, {}{}) \
         ORDER BY p50 DESC, currency, CASE method WHEN 'blend' THEN 0 ELSE 1 END, weight DESC, method",
        at_of_minute(visit),
        quoted(&quarter.name()),
        who.argument()
    )
}

fn at_of_minute(visit: &Visit) -> String {
    const MINUTE_US: i64 = 60_000_000;
    let at = visit
        .as_of
        .unwrap_or(Timestamp(visit.now.micros().div_euclid(MINUTE_US) * MINUTE_US));
    quoted(&at.to_string())
}

/// Tiles of the model: the median, its doubt, the blend; beside a quota the chance to reach it.
fn model_tiles(model: &Sheet) -> Markup {
    html! {
        @if let Some(at) = model.rows.iter().position(|row| text(row, "method") == "blend") {
            (tile_of("Model, as likely above as below (P50)", model, at, "p50", Form::Money, text(&model.rows[at], "currency")))
            (tile_of("Safe (P10)", model, at, "p10", Form::Money, "9 of 10 times more"))
            (tile_of("Stretch (P90)", model, at, "p90", Form::Money, "1 of 10 times more"))
            (tile_of("Blend of the methods", model, at, "value", Form::Money, "weighted by past errors"))
        }
    }
}

/// The quarter in one sentence and one bar: what is closed, where it will end, with the doubt.
fn headline(model: &Sheet) -> Markup {
    let Some(at) = model.rows.iter().position(|row| text(row, "method") == "blend") else {
        return html! {};
    };
    let of = |column: &str| model.number(at, column).unwrap_or(0.0).max(0.0);
    let [closed, low, middle, high] = ["closed", "p10", "p50", "p90"].map(of);
    let most = high.max(closed);
    let x = |value: f64| if most > 0.0 { value / most * 100.0 } else { 0.0 };
    html! {
        p.headline {
            "The quarter will most likely end near " strong { (cell(model, at, "p50", Form::Money)) " " (text(&model.rows[at], "currency")) }
            ", in 8 of 10 cases between " (cell(model, at, "p10", Form::Money)) " and " (cell(model, at, "p90", Form::Money))
            "; " (cell(model, at, "closed", Form::Money)) " is closed."
        }
        svg.gauge viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label="Closed, and the range of the quarter's end" {
            rect.track width="100" height="6" {}
            rect.fan x=(format!("{:.1}", x(low))) width=(format!("{:.1}", x(high) - x(low))) height="6" {}
            rect.cat.won width=(format!("{:.1}", x(closed))) height="6" {}
            rect.middle x=(format!("{:.1}", (x(middle) - 0.3).max(0.0))) width="0.6" height="6" {}
        }
    }
}

/// The methods side by side with what they were worth before.
fn methods(visit: &Visit, model: &Sheet) -> Markup {
    html! {
        (table(visit, "Methods, and what each was worth at the same time of past quarters", model, METHODS))
        p.meta { "WAPE is the sum of errors over the sum of revenue; no forecast can be better than the noise floor, which is the error of a distribution that is right. " a href=(visit.link("/ui/accuracy", &[])) { "Accuracy over past quarters" } }
    }
}

/// `GET /ui/forecast/model`: what the model says of the quarter, what it blends, and the chance to reach a quota. The page
/// fetches it after it stands: it costs a pass over the deals' whole history, once a minute for all who ask the same.
pub(super) async fn model(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let (quarter, who, quota) = picked(&visit).await?;
    let model = visit.ask_past(model_sql(&visit, quarter, &who)).await?;
    let note = match quota {
        Some(quota) => quota_note(&visit, quarter, &who, quota).await?,
        None => html! {},
    };
    forecast_part(
        &visit,
        html! {
            @if model.rows.is_empty() { p.empty { "There is no deal to forecast from." } }
            (headline(&model))
            div.tiles { (model_tiles(&model)) }
            (note)
            (methods(&visit, &model))
        },
    )
}

/// The instants a chart of a quarter is drawn at: each week's start, and the picked instant.
fn weeks(quarter: Quarter, until: Timestamp) -> Vec<Timestamp> {
    let start = quarter.start();
    let last = until.min(quarter.end().plus_micros(-1));
    let weekly = (0..14).map(|week| start.plus_micros(week * 7 * DAY_US));
    let mut weeks: Vec<Timestamp> = weekly.filter(|at| *at < last).collect();
    if last > start {
        weeks.push(last);
    }
    weeks
}

/// `GET /ui/forecast/fan`: how the forecast moved, week by week. Fetched by the page after it stands, since each point
/// is a forecast of its own.
pub(super) async fn fan(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let (quarter, who, quota) = picked(&visit).await?;
    let until = visit.at_of_hour();
    let weeks = weeks(quarter, until);
    if weeks.is_empty() {
        return forecast_part(&visit, html! { p.empty { "The quarter has not begun." } });
    }
    let each = weeks.iter().map(|at| {
        format!(
            "SELECT TIMESTAMP {at} AS at, currency, closed, p10, p50, p90 FROM forecast_as_of({at}, {}{}) WHERE method = 'blend'",
            quoted(&quarter.name()),
            who.argument(),
            at = quoted(&at.to_string())
        )
    });
    let sql = format!(
        "{} ORDER BY at, currency",
        each.collect::<Vec<_>>().join(" UNION ALL ")
    );
    let sheet = visit.ask_past(sql).await?;
    let main = sheet
        .rows
        .iter()
        .rev()
        .max_by(|a, b| {
            number(a, "p90")
                .unwrap_or(0.0)
                .total_cmp(&number(b, "p90").unwrap_or(0.0))
        })
        .map_or("", |row| text(row, "currency"));
    let own: Vec<_> = sheet
        .rows
        .iter()
        .filter(|row| text(row, "currency") == main)
        .collect();
    let seconds = |row: &serde_json::Value| {
        text(row, "at")
            .parse::<Timestamp>()
            .map_or(0.0, |at| at.micros() as f64 / 1e6)
    };
    let line = |name: &str, class: &'static str, column: &str| Line {
        name: name.to_owned(),
        class,
        points: own
            .iter()
            .filter_map(|row| Some((seconds(row), number(row, column)?)))
            .collect(),
    };
    let band = Fan {
        class: "fan",
        points: own
            .iter()
            .filter_map(|row| Some((seconds(row), number(row, "p10")?, number(row, "p90")?)))
            .collect(),
    };
    let marks: Vec<(&str, f64)> = quota.map(|quota| ("quota", quota)).into_iter().collect();
    let unit = if main.is_empty() { "amount" } else { main };
    let lines = [
        line("P50, with the band of P10 to P90", "line a", "p50"),
        line("closed so far", "line b", "closed"),
    ];
    forecast_part(
        &visit,
        html! {
            (over_time("Forecast of the quarter as known each week", unit, &[band], &lines, &marks, Form::Money))
            (rows_and_sql(&sheet.sql))
        },
    )
}

/// `GET /ui/forecast/math`: the addends of the expected revenue.
pub(super) async fn math(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let (quarter, who, _) = picked(&visit).await?;
    let call = format!(
        "forecast_rows_as_of({}, {}{})",
        at_of_minute(&visit),
        quoted(&quarter.name()),
        who.argument()
    );
    let totals = visit
        .ask_past(format!(
            "SELECT currency, kind, count(*) AS addends, sum(contribution) AS contribution FROM {call} GROUP BY currency, kind ORDER BY currency, kind"
        ))
        .await?;
    let rows = visit
        .ask_rows(
            format!(
                "SELECT f.kind, f.deal_id, d.name, f.currency, f.stage, f.category, f.amount, f.probability, f.contribution FROM {call} f \
                 LEFT JOIN {} d ON d.deal_id = f.deal_id ORDER BY f.contribution DESC, f.deal_id",
                visit.deals()
            ),
            ADDENDS,
        )
        .await?;
    forecast_part(
        &visit,
        html! {
            ul.sums { @for (at, row) in totals.rows.iter().enumerate() { li {
                (cell(&totals, at, "contribution", Form::Money)) " " (text(row, "currency")) " from " (cell(&totals, at, "addends", Form::Count)) " "
                @match text(row, "kind") { "closed" => "deals won already", "open" => "open deals, amount times probability", _ => "deals that are not there yet, by the rate they came before" }
            } } }
            (rows_and_sql(&totals.sql))
            (table(&visit, "The addends, largest first", &rows, ROWS))
        },
    )
}

/// A part of the forecast page that its script fetches.
pub(super) fn forecast_part(visit: &Visit, body: Markup) -> Result<Response, Oops> {
    part(
        visit,
        "Forecast, a part of it",
        ("/ui/forecast", "← The forecast"),
        body,
    )
}

/// A part of a page that its script fetches; a person who opens it gets it as a page with the way back.
pub(super) fn part(
    visit: &Visit,
    title: &str,
    (whole, back): (&str, &str),
    body: Markup,
) -> Result<Response, Oops> {
    if visit.pairs.get("part").is_some() {
        return Ok(Html(body.into_string()).into_response());
    }
    let body = html! { p { a href=(visit.link(whole, &[])) { (back) } } (body) };
    Ok(page(visit, &Page { title, body }))
}

/// The place of a part on its page.
pub(super) fn later(visit: &Visit, path: &str, words: &str) -> Markup {
    let pairs: Vec<(&str, &str)> = visit
        .pairs
        .all()
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let plain = address(path, pairs.iter().copied());
    let part = address(path, pairs.into_iter().chain([("part", "1")]));
    html! { div.later data-load=(part) { p.empty { a href=(plain) { (words) } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_lie_within_the_quarter_and_end_with_the_instant() {
        let quarter = Quarter::of("2026-11-20T10:00:00Z".parse().expect("an instant"));
        let until: Timestamp = "2026-11-20T10:00:00Z".parse().expect("an instant");
        let drawn = weeks(quarter, until);
        assert_eq!(drawn.first(), Some(&quarter.start()));
        assert_eq!(drawn.last(), Some(&until));
        assert!(drawn.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(weeks(quarter.step(1), until).is_empty());
        let past = weeks(quarter.step(-1), until);
        assert!(past.last().is_some_and(|last| *last < quarter.start()));
    }
}
