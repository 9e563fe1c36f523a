//! The forecast page: a quarter at a glance by category and rep, how it stood day by day, which deals make it.

use axum::{Extension, response::Response};
use chrono::{Datelike as _, NaiveDate};
use maud::{Markup, html};
use revgauge_contract::{Timestamp, time::DAY_US};

use super::{
    ask::{Sheet, number, text},
    chart::{Bar, Line, bars, over_time},
    figure::{Form, cell, rows_and_sql, tile},
    form::quoted,
    layout::{Oops, Page, first_steps, page},
    leads::{owner_name, owner_names},
    outlook,
    table::{Col, Show, col, table},
    visit::{Visit, short},
    what_if,
    who::{Who, choice, directly_below},
};
use crate::problem::Problem;

/// A calendar quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quarter {
    year: i32,
    number: u32,
}

impl Quarter {
    pub(super) fn of(at: Timestamp) -> Self {
        let date = at.to_datetime();
        Self {
            year: date.year(),
            number: date.month0() / 3 + 1,
        }
    }

    /// Reads `2026-Q4`.
    fn parse(text: &str) -> Option<Self> {
        let (year, number) = text.split_once("-Q")?;
        let (year, number) = (year.parse().ok()?, number.parse().ok()?);
        ((1990..=2200).contains(&year) && (1..=4).contains(&number)).then_some(Self { year, number })
    }

    pub(super) fn name(self) -> String {
        format!("{}-Q{}", self.year, self.number)
    }

    pub(super) fn step(self, quarters: i32) -> Self {
        let index = self.year * 4 + self.number as i32 - 1 + quarters;
        Self {
            year: index.div_euclid(4),
            number: index.rem_euclid(4) as u32 + 1,
        }
    }

    pub(super) fn start(self) -> Timestamp {
        let day = NaiveDate::from_ymd_opt(self.year, self.number * 3 - 2, 1).unwrap_or_default();
        Timestamp(day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros())
    }

    pub(super) fn end(self) -> Timestamp {
        self.step(1).start()
    }
}

const CATEGORY: &str = "lower(replace(coalesce(d.forecast_category, ''), ' ', '_'))";

/// What the address asks: quarter, people, and a quota if one is given.
pub(super) async fn picked(visit: &Visit) -> Result<(Quarter, Who, Option<f64>), Problem> {
    let quarter = match visit.pairs.get("quarter") {
        None => Quarter::of(visit.at()),
        Some(text) => Quarter::parse(text).ok_or_else(|| {
            Problem::bad("bad_quarter", format!("'{}' is no quarter", short(text)))
                .hint("write it as 2026-Q4")
        })?,
    };
    let quota = match visit.pairs.get("quota") {
        None => None,
        Some(text) => {
            let plain: String = text.chars().filter(|c| !matches!(c, ',' | ' ' | '_')).collect();
            let quota = plain
                .parse()
                .ok()
                .filter(|quota: &f64| quota.is_finite() && *quota > 0.0);
            Some(quota.ok_or_else(|| {
                Problem::bad("bad_quota", format!("'{}' is no quota", short(text)))
                    .hint("write it as a number above 0, such as 500000")
            })?)
        }
    };
    let owners = visit.owners().await?;
    Ok((quarter, Who::of(visit, &owners), quota))
}

/// `GET /ui/forecast?quarter=2026-Q4&owner_id=&quota=&since=&bucket=`
pub(super) async fn forecast(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let (quarter, who, quota) = picked(&visit).await?;
    let owners = visit.owners().await?;
    let whose = who.and("d.owner_id");
    let totals = visit
        .ask(format!(
            "SELECT {} FROM {} d WHERE d.status IN ('open', 'won'){whose}",
            sums(quarter),
            visit.deals()
        ))
        .await?;
    let by_rep = visit
        .ask(format!(
            "SELECT d.owner_id, {} FROM {} d WHERE d.status IN ('open', 'won'){whose} GROUP BY d.owner_id \
             ORDER BY won + commit + best_case + pipeline DESC, d.owner_id LIMIT 200",
            sums(quarter),
            visit.deals()
        ))
        .await?;
    let pace = visit.ask(pace_sql(&visit, quarter, &who)).await?;
    let makers = super::deals::list(&visit, &in_quarter(quarter, &who), 50).await?;
    let is_empty = visit.api.freshness(visit.tenant()).watermarks.is_empty();
    let currency = totals.rows.first().map_or("", |row| text(row, "currency"));
    let unit = if currency.is_empty() { "amount" } else { currency };
    let body = html! {
        (filters(&visit, quarter, &owners))
        @if is_empty { (first_steps(&visit)) }
        div.tiles {
            (tile("Closed won", &totals, "won", Form::Money, "this quarter"))
            (tile("Commit", &totals, "commit", Form::Money, "open, to close this quarter"))
            (tile("Best case", &totals, "best_case", Form::Money, "open, beside commit"))
            (tile("Pipeline", &totals, "pipeline", Form::Money, "open, the rest of it"))
            (tile("Won + commit", &totals, "won_and_commit", Form::Money, "what the reps stand for"))
        }
        section.model { h2 { "What the model expects" } (outlook::later(&visit, "/ui/forecast/model", "Compute it")) }
        div.pair {
            section.card {
                h2 { "How the forecast moved" }
                (outlook::later(&visit, "/ui/forecast/fan", "Draw it"))
            }
            section.card {
                h2 { "Closed won through the quarter" }
                (pace_chart(&pace, quarter, visit.at(), unit, quota))
                (rows_and_sql(&pace.sql))
            }
        }
        div.pair {
            (categories(&totals))
            section.card #moves { h2 { "What moved the open pipeline of the quarter" } (outlook::later(&visit, "/ui/forecast/moves", "Show it")) }
        }
        (team_links(&visit, &owners, &who))
        (table(&visit, "By rep", &named(&by_rep, &owners), REPS))
        details.card { summary { "See the math: the addends of the expected revenue" } (outlook::later(&visit, "/ui/forecast/math", "Show them")) }
        (table(&visit, "Open deals that close in the quarter, largest first", &makers, super::deals::COLUMNS))
    };
    Ok(page(
        &visit,
        &Page {
            title: &format!("Forecast {}", quarter.name()),
            body,
        },
    ))
}

/// The way down the hierarchy, and up again.
fn team_links(visit: &Visit, owners: &Sheet, who: &Who) -> Markup {
    let below = directly_below(owners, who.id.as_deref());
    let link = |id: &str| {
        let kept = visit.pairs.all().iter().filter(|(name, _)| name != "owner_id");
        let pairs = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        super::visit::address("/ui/forecast", pairs.chain([("owner_id", id)]))
    };
    let manager = who.id.as_deref().and_then(|id| {
        let row = owners.rows.iter().find(|row| text(row, "user_id") == id)?;
        Some(text(row, "manager_id"))
    });
    html! {
        nav.actions aria-label="Hierarchy" {
            @if let Some(manager) = manager {
                @if manager.is_empty() { a href=(link("")) { "↑ everyone" } } @else { a href=(link(manager)) { "↑ team of " (owner_name(owners, manager)) } }
            }
            @for id in below { a href=(link(id)) { (owner_name(owners, id)) } }
            a href=(what_if::link(visit)) { "What if …" }
            a href=(visit.link("/ui/accuracy", &[])) { "How good were forecasts?" }
        }
    }
}

/// One aggregate a category; each deal counts in exactly one, or in none.
fn sums(quarter: Quarter) -> String {
    let (start, end) = (
        quoted(&quarter.start().to_string()),
        quoted(&quarter.end().to_string()),
    );
    let open =
        format!("d.status = 'open' AND d.close_date >= TIMESTAMP {start} AND d.close_date < TIMESTAMP {end}");
    let won = format!(
        "d.status = 'won' AND coalesce(d.closed_at, d.close_date) >= TIMESTAMP {start} AND coalesce(d.closed_at, d.close_date) < TIMESTAMP {end}"
    );
    let sum = |name: &str, filter: &str| {
        format!("coalesce(sum(CASE WHEN {filter} THEN d.amount END), 0) AS {name}")
    };
    [
        sum("won", &won),
        sum("commit", &format!("{open} AND {CATEGORY} = 'commit'")),
        sum("best_case", &format!("{open} AND {CATEGORY} = 'best_case'")),
        sum(
            "pipeline",
            &format!("{open} AND {CATEGORY} NOT IN ('commit', 'best_case', 'omitted')"),
        ),
        sum(
            "won_and_commit",
            &format!("({won}) OR ({open} AND {CATEGORY} = 'commit')"),
        ),
        sum(
            "overdue",
            &format!("d.status = 'open' AND d.close_date < TIMESTAMP {start}"),
        ),
        format!("count(CASE WHEN {open} THEN 1 END) AS open_deals"),
        "CASE WHEN count(DISTINCT d.currency) = 1 THEN max(d.currency) END AS currency".to_owned(),
    ]
    .join(", ")
}

fn in_quarter(quarter: Quarter, who: &Who) -> String {
    format!(
        "d.status = 'open' AND d.close_date >= TIMESTAMP {} AND d.close_date < TIMESTAMP {}{}",
        quoted(&quarter.start().to_string()),
        quoted(&quarter.end().to_string()),
        who.and("d.owner_id")
    )
}

/// Won amount by day of this quarter and of the one before, for pacing.
fn pace_sql(visit: &Visit, quarter: Quarter, who: &Who) -> String {
    format!(
        "SELECT date_trunc('day', coalesce(d.closed_at, d.close_date)) AS day, sum(d.amount) AS won FROM {} d \
         WHERE d.status = 'won' AND coalesce(d.closed_at, d.close_date) >= TIMESTAMP {} \
         AND coalesce(d.closed_at, d.close_date) < TIMESTAMP {}{} GROUP BY 1 ORDER BY 1",
        visit.deals(),
        quoted(&quarter.step(-1).start().to_string()),
        quoted(&quarter.end().to_string()),
        who.and("d.owner_id")
    )
}

fn pace_chart(pace: &Sheet, quarter: Quarter, at: Timestamp, unit: &str, quota: Option<f64>) -> Markup {
    let before = quarter.step(-1);
    let shift = quarter.start().micros() - before.start().micros();
    let mut now_line = vec![(quarter.start().micros() as f64 / 1e6, 0.0)];
    let mut before_line = now_line.clone();
    for row in &pace.rows {
        let (Ok(day), Some(won)) = (text(row, "day").parse::<Timestamp>(), number(row, "won")) else {
            continue;
        };
        let this = day >= quarter.start();
        let line = if this { &mut now_line } else { &mut before_line };
        let seconds = (day.micros() + if this { 0 } else { shift }) as f64 / 1e6;
        let sum = line.last().map_or(0.0, |last| last.1);
        line.push((seconds, sum));
        line.push((seconds, sum + won));
    }
    let end = quarter.end().micros().min(at.micros());
    let close = |line: &mut Vec<(f64, f64)>, until: i64| {
        if let Some(last) = line.last().copied() {
            line.push(((until as f64 / 1e6).max(last.0), last.1));
        }
    };
    close(&mut now_line, end);
    close(&mut before_line, quarter.end().micros() - DAY_US);
    let lines = [
        Line {
            name: quarter.name(),
            class: "line a",
            points: now_line,
        },
        Line {
            name: format!("{} on the same day", before.name()),
            class: "line dim",
            points: before_line,
        },
    ];
    let marks: Vec<(&str, f64)> = quota.map(|quota| ("quota", quota)).into_iter().collect();
    over_time(
        "Closed won, cumulative, this quarter and the one before",
        unit,
        &[],
        &lines,
        &marks,
        Form::Money,
    )
}

fn categories(totals: &Sheet) -> Markup {
    let shown: Vec<Bar> = [
        ("won", "Closed won", "cat won"),
        ("commit", "Commit", "cat commit"),
        ("best_case", "Best case", "cat best"),
        ("pipeline", "Pipeline", "cat pipe"),
    ]
    .into_iter()
    .map(|(column, label, class)| Bar {
        label: label.to_owned(),
        row: 0,
        column: column.to_owned(),
        class,
    })
    .collect();
    html! {
        section.card {
            h2 { "By category" }
            (bars("Amount by forecast category", totals, &shown, Form::Money))
            p.meta {
                (cell(totals, 0, "open_deals", Form::Count)) " open deals are to close in the quarter; "
                (cell(totals, 0, "overdue", Form::Money)) " are open though their close date has passed."
            }
            (rows_and_sql(&totals.sql))
        }
    }
}

const REPS: &[Col] = &[
    col("name", "Rep", Show::Link("/ui/team?owner_id=", "owner_id")),
    col("won", "Closed won", Show::Number(Form::Money)),
    col("commit", "Commit", Show::Number(Form::Money)),
    col("best_case", "Best case", Show::Number(Form::Money)),
    col("pipeline", "Pipeline", Show::Number(Form::Money)),
    col("overdue", "Overdue", Show::Number(Form::Money)),
    col("open_deals", "Open deals", Show::Number(Form::Count)),
];

/// The same rows with the reps' names beside their ids.
pub(super) fn named(sheet: &Sheet, owners: &Sheet) -> Sheet {
    let names = owner_names(owners);
    let mut sheet = sheet.clone();
    for row in &mut sheet.rows {
        let id = text(row, "owner_id");
        let name = names.get(id).copied().unwrap_or(id).to_owned();
        if let Some(members) = row.as_object_mut() {
            members.insert("name".to_owned(), name.into());
        }
    }
    sheet
}

fn filters(visit: &Visit, quarter: Quarter, owners: &Sheet) -> Markup {
    html! {
        form.filters method="get" action="/ui/forecast" data-filter="1" {
            @if let Some(at) = visit.pairs.get("as_of") { input type="hidden" name="as_of" value=(at); }
            label { "Quarter "
                select name="quarter" {
                    @for step in -6..=2 {
                        @let other = Quarter::of(visit.at()).step(step);
                        option value=(other.name()) selected[other == quarter] { (other.name()) }
                    }
                }
            }
            (choice(visit, owners))
            label { "Quota " input name="quota" inputmode="decimal" maxlength="15" placeholder="none" value=(visit.pairs.get("quota").unwrap_or_default()); }
            button type="submit" { "Show" }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarters_follow_each_other_without_gap() {
        let mut quarter = Quarter::parse("2025-Q3").expect("a quarter");
        for _ in 0..9 {
            assert_eq!(quarter.end(), quarter.step(1).start());
            assert_eq!(Quarter::of(quarter.start()), quarter);
            assert_eq!(Quarter::of(quarter.end().plus_micros(-1)), quarter);
            assert_eq!(quarter.step(1).step(-1), quarter);
            quarter = quarter.step(1);
        }
        for text in ["", "2025", "2025-Q0", "2025-Q5", "x-Q1", "99999-Q1"] {
            assert_eq!(Quarter::parse(text), None, "{text}");
        }
    }
}
