//! The forecast page: a quarter at a glance by category and rep, how it stood day by day, which deals make it.

use axum::{Extension, response::Response};
use chrono::{Datelike as _, NaiveDate};
use maud::{Markup, html};
use revgauge_contract::{Timestamp, time::DAY_US};

use super::{
    ask::{Sheet, number, text},
    chart::{Bar, Line, bars, over_time},
    figure::{Form, rows_and_sql, tile, written},
    form::quoted,
    layout::{Oops, Page, first_steps, page},
    leads::{owner_filter, owner_name},
    table::{Col, Show, col, table},
    visit::{Visit, short},
};
use crate::problem::Problem;

/// A calendar quarter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quarter {
    year: i32,
    number: u32,
}

impl Quarter {
    fn of(at: Timestamp) -> Self {
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

    fn name(self) -> String {
        format!("{}-Q{}", self.year, self.number)
    }

    fn step(self, quarters: i32) -> Self {
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

/// `GET /ui/forecast?quarter=2026-Q4&owner_id=`
pub(super) async fn forecast(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let quarter = match visit.pairs.get("quarter") {
        None => Quarter::of(visit.at()),
        Some(text) => Quarter::parse(text).ok_or_else(|| {
            Problem::bad("bad_quarter", format!("'{}' is no quarter", short(text)))
                .hint("write it as 2026-Q4")
        })?,
    };
    let owners = visit.owners().await?;
    let totals = visit
        .ask(format!(
            "SELECT {} FROM {} d{}",
            sums(quarter),
            visit.deals(),
            owner_where(&visit)
        ))
        .await?;
    let by_rep = visit
        .ask(format!(
            "SELECT d.owner_id, {} FROM {} d{} GROUP BY d.owner_id ORDER BY won + commit + best_case + pipeline DESC, d.owner_id LIMIT 200",
            sums(quarter),
            visit.deals(),
            owner_where(&visit)
        ))
        .await?;
    let pace = visit.ask(pace_sql(&visit, quarter)).await?;
    let makers = visit
        .ask(super::deals::list_sql(&visit, &in_quarter(&visit, quarter), 50))
        .await?;
    let is_empty = visit.api.freshness(visit.tenant()).watermarks.is_empty();
    let body = html! {
        (filters(&visit, quarter, &owners))
        @if is_empty { (first_steps(&visit)) }
        div.tiles {
            (tile("Closed won", &totals, "won", Form::Money, "this quarter"))
            (tile("Commit", &totals, "commit", Form::Money, "open, to close this quarter"))
            (tile("Best case", &totals, "best_case", Form::Money, "open, beside commit"))
            (tile("Pipeline", &totals, "pipeline", Form::Money, "open, the rest of it"))
            (tile("Won + commit", &totals, "won_and_commit", Form::Money, "what the reps stand for"))
            (tile("Overdue", &totals, "overdue", Form::Money, "open, close date has passed"))
        }
        (categories(&totals))
        section {
            h2 { "Closed won through the quarter" }
            (pace_chart(&pace, quarter, visit.at()))
            (rows_and_sql(&pace.sql))
        }
        (table(&visit, "By rep", &named(&by_rep, &owners), REPS))
        (table(&visit, "Deals that make it, largest first", &makers, super::deals::COLUMNS))
    };
    Ok(page(
        &visit,
        &Page {
            title: &format!("Forecast {}", quarter.name()),
            live: true,
            body,
        },
    ))
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
    ]
    .join(", ")
}

fn owner_where(visit: &Visit) -> String {
    let owner = visit.pairs.get("owner_id");
    owner.map_or_else(String::new, |owner| {
        format!(" WHERE d.owner_id = {}", quoted(owner))
    })
}

fn in_quarter(visit: &Visit, quarter: Quarter) -> String {
    let owner = visit.pairs.get("owner_id");
    let owner = owner.map_or_else(String::new, |owner| {
        format!(" AND d.owner_id = {}", quoted(owner))
    });
    format!(
        "d.status = 'open' AND d.close_date >= TIMESTAMP {} AND d.close_date < TIMESTAMP {}{owner}",
        quoted(&quarter.start().to_string()),
        quoted(&quarter.end().to_string())
    )
}

/// Won amount by day of this quarter and of the one before, for pacing.
fn pace_sql(visit: &Visit, quarter: Quarter) -> String {
    let owner = visit.pairs.get("owner_id");
    let owner = owner.map_or_else(String::new, |owner| {
        format!(" AND d.owner_id = {}", quoted(owner))
    });
    format!(
        "SELECT date_trunc('day', coalesce(d.closed_at, d.close_date)) AS day, sum(d.amount) AS won FROM {} d \
         WHERE d.status = 'won' AND coalesce(d.closed_at, d.close_date) >= TIMESTAMP {} \
         AND coalesce(d.closed_at, d.close_date) < TIMESTAMP {}{owner} GROUP BY 1 ORDER BY 1",
        visit.deals(),
        quoted(&quarter.step(-1).start().to_string()),
        quoted(&quarter.end().to_string())
    )
}

fn pace_chart(pace: &Sheet, quarter: Quarter, at: Timestamp) -> Markup {
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
    over_time(
        "Closed won, cumulative, this quarter and the one before",
        &[],
        &lines,
        &[],
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
        value: totals.number(0, column).unwrap_or(0.0),
        class,
    })
    .collect();
    html! {
        section {
            h2 { "By category" }
            (bars("Amount by forecast category", &shown, Form::Money))
            p.meta { (written(totals.number(0, "open_deals"), Form::Count)) " open deals are to close in the quarter" }
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
    let mut sheet = sheet.clone();
    for row in &mut sheet.rows {
        let name = owner_name(owners, text(row, "owner_id")).to_owned();
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
            (owner_filter(visit, owners))
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
