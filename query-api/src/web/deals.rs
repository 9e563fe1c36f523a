//! The deal board: open deals by stage, or as a list; health, win probability, age against the stage's median, slips, worst risk.

use std::collections::HashMap;

use axum::{Extension, response::Response};
use maud::{Markup, html};
use serde_json::Value;

use super::{
    ask::{Sheet, number, text},
    figure::{Form, cell, rows_and_sql, tile, written},
    form::{encode, quoted},
    layout::{Oops, Page, first_steps, page},
    leads::{details_sql, owner_names},
    table::{Col, Show, band, bar, col, table},
    visit::Visit,
    who::{Who, choice},
};
use crate::problem::Problem;

/// Columns of a list of deals, for [`list_sql`].
pub(super) const COLUMNS: &[Col] = &[
    col("name", "Deal", Show::Link("/ui/deals/", "deal_id")),
    col(
        "account_name",
        "Account",
        Show::Link("/ui/accounts/", "account_id"),
    ),
    col("stage", "Stage", Show::Text),
    col("amount", "Amount", Show::Number(Form::Money)),
    col("health", "Health", Show::Bar(100.0, Form::Points)),
    col("health_band", "", Show::Band),
    col("win_probability", "Win", Show::Number(Form::Share)),
    col("close_date", "Close", Show::Day),
    col("days_in_stage", "Days in stage", Show::Number(Form::Count)),
    col("slips", "Slips", Show::Number(Form::Count)),
    col("forecast_category", "Category", Show::Band),
    col("owner_name", "Rep", Show::Link("/ui/team?owner_id=", "owner_id")),
];

/// Most cards of one stage on the board.
const CARDS: usize = 30;

/// Deals with their health and win probability, largest first.
pub(super) fn list_sql(visit: &Visit, filter: &str, limit: usize) -> String {
    let at = quoted(&visit.at_of_hour().to_string());
    // At a past instant the relation brings its own scores.
    let (scores, join) = if visit.as_of.is_some() {
        (
            "d.health, d.health_tier AS health_band, d.win_probability",
            String::new(),
        )
    } else {
        (
            "s.health, s.health_band, s.win_probability",
            format!(
                " LEFT JOIN (SELECT entity_id, max(CASE WHEN score = 'health' THEN value END) AS health, \
                 max(CASE WHEN score = 'health' THEN tier END) AS health_band, \
                 max(CASE WHEN score = 'win_probability' THEN value END) AS win_probability \
                 FROM {} WHERE entity_kind = 'deal' AND score IN ('health', 'win_probability') GROUP BY entity_id) s \
                 ON s.entity_id = d.deal_id",
                visit.scores()
            ),
        )
    };
    format!(
        "SELECT d.deal_id, d.name, d.account_id, d.owner_id, d.stage, d.status, d.amount, d.currency, d.close_date, \
         d.forecast_category, d.next_step, d.slips, {scores}, \
         greatest(floor(date_part('epoch', TIMESTAMP {at} - d.stage_entered_at) / 86400), 0) AS days_in_stage \
         FROM {} d{join} WHERE {filter} ORDER BY d.amount DESC NULLS LAST, d.deal_id LIMIT {limit}",
        visit.deals()
    )
}

/// Deals with their health and the names of accounts and reps, largest first.
pub(super) async fn list(visit: &Visit, filter: &str, limit: usize) -> Result<Sheet, Problem> {
    let found = visit.ask(list_sql(visit, filter, limit)).await?;
    told(visit, &found).await
}

/// The same rows with `account_name` and `owner_name` beside the ids.
pub(super) async fn told(visit: &Visit, found: &Sheet) -> Result<Sheet, Problem> {
    let owners = visit.owners().await?;
    let accounts = visit
        .ask(details_sql(visit, found, "account_id", "account"))
        .await?;
    let reps = owner_names(&owners);
    let known = accounts.rows.iter();
    let accounts: HashMap<&str, &str> = known
        .map(|row| (text(row, "entity_id"), text(row, "name")))
        .collect();
    let mut sheet = found.clone();
    for row in &mut sheet.rows {
        let account = text(row, "account_id");
        let name = accounts.get(account).copied().filter(|name| !name.is_empty());
        let account = name.unwrap_or(account).to_owned();
        let owner = text(row, "owner_id");
        let owner = reps.get(owner).copied().unwrap_or(owner).to_owned();
        if let Some(members) = row.as_object_mut() {
            members.insert("account_name".to_owned(), account.into());
            members.insert("owner_name".to_owned(), owner.into());
        }
    }
    Ok(sheet)
}

impl Visit {
    /// The picked instant, or the running hour: the text of a query then stays the same for an hour and is shared.
    pub(super) fn at_of_hour(&self) -> revgauge_contract::Timestamp {
        const HOUR_US: i64 = 3_600_000_000;
        self.as_of.unwrap_or(revgauge_contract::Timestamp(
            self.now.micros().div_euclid(HOUR_US) * HOUR_US,
        ))
    }
}

/// `GET /ui/deals?view=list&owner_id=&q=&stage=`
pub(super) async fn deals(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let owners = visit.owners().await?;
    let filter = filter_of(&visit, &Who::of(&visit, &owners));
    // The CRM does not say which stage comes after which; the time that deals took to reach each does.
    let stages = visit
        .ask(format!(
            "SELECT d.stage, count(*) AS deals, sum(d.amount) AS amount, \
             median(greatest(date_part('epoch', TIMESTAMP {} - d.stage_entered_at) / 86400, 0)) AS median_days, \
             median(date_part('epoch', d.stage_entered_at) - date_part('epoch', d.created_at)) / 86400 AS days_to_reach \
             FROM {} d WHERE {filter} GROUP BY d.stage ORDER BY days_to_reach NULLS LAST, d.stage",
            quoted(&visit.at_of_hour().to_string()),
            visit.deals()
        ))
        .await?;
    let totals = visit
        .ask(format!(
            "SELECT count(*) AS deals, sum(d.amount) AS amount, sum(CASE WHEN d.slips > 0 THEN 1 ELSE 0 END) AS slipped \
             FROM {} d WHERE {filter}",
            visit.deals()
        ))
        .await?;
    let as_list = visit.pairs.get("view") == Some("list");
    let limit = if as_list { 200 } else { 400 };
    let found = list(&visit, &filter, limit).await?;
    let risks = if visit.as_of.is_none() {
        let ids: Vec<String> = found
            .rows
            .iter()
            .map(|row| quoted(text(row, "deal_id")))
            .collect();
        let ids = if ids.is_empty() {
            "''".to_owned()
        } else {
            ids.join(", ")
        };
        let sql = format!(
            "SELECT entity_id, rule, severity, message, advice FROM alerts WHERE entity_kind = 'deal' AND entity_id IN ({ids}) \
             ORDER BY CASE severity WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END, entity_id, rule LIMIT 2000"
        );
        Some(visit.ask(sql).await?)
    } else {
        None
    };
    let body = html! {
        (filters(&visit, &owners, as_list))
        @if found.rows.is_empty() && visit.pairs.all().is_empty() { (first_steps(&visit)) }
        div.tiles {
            (tile("Open deals", &totals, "deals", Form::Count, ""))
            (tile("Open pipeline", &totals, "amount", Form::Money, ""))
            (tile("Slipped", &totals, "slipped", Form::Count, "close date pushed out"))
        }
        @if as_list { (table(&visit, "Open deals, largest first", &found, COLUMNS)) }
        @else { (board(&visit, &stages, &found, risks.as_deref())) }
    };
    Ok(page(&visit, &Page { title: "Deals", body }))
}

fn filter_of(visit: &Visit, who: &Who) -> String {
    let mut filter = format!("d.status = 'open'{}", who.and("d.owner_id"));
    for name in ["stage", "forecast_category"] {
        if let Some(value) = visit.pairs.get(name) {
            filter += &format!(" AND d.{name} = {}", quoted(value));
        }
    }
    if let Some(words) = visit.pairs.get("q") {
        filter += &format!(
            " AND strpos(lower(coalesce(d.name, '')), {}) > 0",
            quoted(&words.to_lowercase())
        );
    }
    filter
}

fn filters(visit: &Visit, owners: &Sheet, as_list: bool) -> Markup {
    html! {
        form.filters method="get" action="/ui/deals" data-filter="1" role="search" {
            @if let Some(at) = visit.pairs.get("as_of") { input type="hidden" name="as_of" value=(at); }
            label { "Search " input type="search" name="q" value=(visit.pairs.get("q").unwrap_or_default()) maxlength="100"; }
            (choice(visit, owners))
            label { "View "
                select name="view" {
                    option value="" { "board" }
                    option value="list" selected[as_list] { "list" }
                }
            }
            button type="submit" { "Filter" }
        }
    }
}

fn board(visit: &Visit, stages: &Sheet, deals: &Sheet, risks: Option<&Sheet>) -> Markup {
    html! {
        div.board tabindex="0" role="region" aria-label="Deals by stage" {
            @for (at, stage) in stages.rows.iter().enumerate() {
                @let name = text(stage, "stage");
                @let median = number(stage, "median_days");
                section.column aria-label=(name) {
                    header {
                        h2 { (if name.is_empty() { "no stage" } else { name }) }
                        p.meta {
                            (cell(stages, at, "deals", Form::Count)) @if number(stage, "deals") == Some(1.0) { " deal · " } @else { " deals · " }
                            (cell(stages, at, "amount", Form::Money)) " · median " (cell(stages, at, "median_days", Form::Count)) " days here"
                        }
                    }
                    @for (at, _) in deals.rows.iter().enumerate().filter(|(_, deal)| text(deal, "stage") == name).take(CARDS) {
                        (card(visit, deals, at, median, risks))
                    }
                    @if number(stage, "deals").unwrap_or(0.0) > CARDS as f64 {
                        a href=(visit.link("/ui/deals", &[("view", "list"), ("stage", name)])) { "All of this stage" }
                    }
                }
            }
        }
        (rows_and_sql(&deals.sql))
        div.stages-source { "Stages: " (rows_and_sql(&stages.sql)) }
    }
}

fn card(visit: &Visit, deals: &Sheet, at: usize, median: Option<f64>, risks: Option<&Sheet>) -> Markup {
    let deal = deals.rows.get(at).unwrap_or(&Value::Null);
    let id = text(deal, "deal_id");
    let days = number(deal, "days_in_stage");
    let old = days
        .zip(median)
        .is_some_and(|(days, median)| days > 1.5 * median.max(1.0));
    let risk = risks.and_then(|risks| risks.rows.iter().find(|row| text(row, "entity_id") == id));
    let name = if text(deal, "name").is_empty() {
        id
    } else {
        text(deal, "name")
    };
    html! {
        article.card.deal {
            h3 { a.row href=(visit.link(&format!("/ui/deals/{}", encode(id)), &[])) { (name) } }
            p.amount { (cell(deals, at, "amount", Form::Money)) " " (text(deal, "currency")) " " (band(text(deal, "forecast_category"))) }
            p { (bar(deals, at, "health", 100.0, Form::Points)) " " (band(text(deal, "health_band"))) }
            @if number(deal, "win_probability").is_some() {
                p.meta { strong { (cell(deals, at, "win_probability", Form::Share)) } " likely to be won" }
            }
            p.meta {
                "closes " (super::figure::day(text(deal, "close_date")))
                " · " span class=[old.then_some("late")] { (written(days, Form::Count)) " days here" }
                @if number(deal, "slips").unwrap_or(0.0) > 0.0 { " · slipped " (written(number(deal, "slips"), Form::Count)) "×" }
                " · " (text(deal, "owner_name"))
            }
            @if let Some(risk) = risk {
                details.risk { summary { (band(text(risk, "severity"))) " " (text(risk, "message")) } p { (text(risk, "advice")) } }
            }
        }
    }
}
