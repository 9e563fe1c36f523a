//! The team: leaderboard, activity and conversion by rep; and the wall screen made of the same numbers.

use axum::{Extension, response::Response};
use maud::{Markup, html};
use revgauge_contract::time::DAY_US;

use super::{
    ask::{Sheet, text},
    chart::{Bar, bars},
    figure::{Form, rows_and_sql, tile},
    forecast::named,
    form::quoted,
    layout::{Oops, Page, page},
    leads::owner_name,
    table::{Col, Show, col, table},
    visit::Visit,
    who::Who,
};
use crate::problem::Problem;

const LEADERBOARD: &[Col] = &[
    col("name", "Rep", Show::Link("/ui/team?owner_id=", "owner_id")),
    col("won", "Won, 90 days", Show::Number(Form::Money)),
    col("won_deals", "Deals won", Show::Number(Form::Count)),
    col("win_rate", "Win rate", Show::Number(Form::Share)),
    col("open_deals", "Open deals", Show::Number(Form::Count)),
    col("open_amount", "Open pipeline", Show::Number(Form::Money)),
    col("cycle_days", "Median days to win", Show::Number(Form::Count)),
];

const ACTIVITY: &[Col] = &[
    col("name", "Rep", Show::Link("/ui/team?owner_id=", "owner_id")),
    col("mails", "Mails sent", Show::Number(Form::Count)),
    col("replies", "Replies", Show::Number(Form::Count)),
    col("calls", "Calls", Show::Number(Form::Count)),
    col("meetings", "Meetings held", Show::Number(Form::Count)),
    col("no_shows", "No-shows", Show::Number(Form::Count)),
];

/// `GET /ui/team?owner_id=`
pub(super) async fn team(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let owners = visit.owners().await?;
    let who = Who::of(&visit, &owners);
    let leaders = visit.ask(leaders_sql(&visit, &who)).await?;
    let activity = visit.ask(activity_sql(&visit, &who)).await?;
    let owner = visit.pairs.get("owner_id").map(str::to_owned);
    let own = match &owner {
        Some(_) => {
            let filter = format!("d.status = 'open'{}", who.and("d.owner_id"));
            Some(super::deals::list(&visit, &filter, 100).await?)
        }
        None => None,
    };
    let title = owner
        .as_deref()
        .map_or("Team", |owner| owner_name(&owners, owner))
        .to_owned();
    let body = html! {
        @if owner.is_some() { p { a href=(visit.link("/ui/team", &[])) { "← The whole team" } } }
        nav.actions aria-label="More about the team" {
            a href=(visit.link("/ui/coaching", &[("owner_id", owner.as_deref().unwrap_or_default())])) { "Skills and coaching" }
            a href=(visit.link("/ui/forecast", &[("owner_id", owner.as_deref().unwrap_or_default())])) { "Their forecast" }
            a href=(visit.link("/ui/tv", &[])) { "Wall screen" }
        }
        section.card {
            h2 { "Won in the last 90 days" }
            (won_chart(&named(&leaders, &owners)))
        }
        (table(&visit, "Leaderboard", &named(&leaders, &owners), LEADERBOARD))
        (table(&visit, "Activity of the last 30 days", &named(&activity, &owners), ACTIVITY))
        @if let Some(own) = &own { (table(&visit, "Open deals", own, super::deals::COLUMNS)) }
    };
    Ok(page(&visit, &Page { title: &title, body }))
}

fn leaders_sql(visit: &Visit, who: &Who) -> String {
    let since = quoted(&visit.at_of_hour().plus_micros(-90 * DAY_US).to_string());
    let won = format!("d.status = 'won' AND coalesce(d.closed_at, d.close_date) >= TIMESTAMP {since}");
    let lost = format!("d.status = 'lost' AND coalesce(d.closed_at, d.close_date) >= TIMESTAMP {since}");
    format!(
        "SELECT d.owner_id, coalesce(sum(CASE WHEN {won} THEN d.amount END), 0) AS won, count(CASE WHEN {won} THEN 1 END) AS won_deals, \
         CAST(count(CASE WHEN {won} THEN 1 END) AS DOUBLE) / nullif(count(CASE WHEN ({won}) OR ({lost}) THEN 1 END), 0) AS win_rate, \
         count(CASE WHEN d.status = 'open' THEN 1 END) AS open_deals, coalesce(sum(CASE WHEN d.status = 'open' THEN d.amount END), 0) AS open_amount, \
         median(CASE WHEN {won} THEN date_part('epoch', d.closed_at - d.created_at) / 86400 END) AS cycle_days \
         FROM {} d WHERE d.owner_id IS NOT NULL{} GROUP BY d.owner_id ORDER BY won DESC, open_amount DESC, d.owner_id LIMIT 200",
        visit.deals(),
        who.and("d.owner_id")
    )
}

fn activity_sql(visit: &Visit, who: &Who) -> String {
    let (from, to) = (visit.at_of_hour().plus_micros(-30 * DAY_US), visit.at_of_hour());
    let until = if visit.as_of.is_some() {
        format!(" AND day <= TIMESTAMP {}", quoted(&to.to_string()))
    } else {
        String::new()
    };
    let count = |name: &str, types: &str| {
        format!("coalesce(sum(CASE WHEN type IN ({types}) THEN n END), 0) AS {name}")
    };
    format!(
        "SELECT user_id AS owner_id, {}, {}, {}, {}, {} FROM rep_activity WHERE user_id IS NOT NULL AND user_id <> '' \
         AND day >= TIMESTAMP {}{until}{} GROUP BY user_id ORDER BY meetings DESC, calls DESC, mails DESC, owner_id LIMIT 200",
        count("mails", "'email.sent'"),
        count("replies", "'email.replied'"),
        count("calls", "'call.completed', 'call.no_answer'"),
        count("meetings", "'meeting.attended'"),
        count("no_shows", "'meeting.no_show'"),
        quoted(&from.to_string()),
        who.and("user_id")
    )
}

fn won_chart(leaders: &Sheet) -> Markup {
    let shown: Vec<Bar> = leaders
        .rows
        .iter()
        .take(12)
        .enumerate()
        .map(|(at, row)| Bar {
            label: text(row, "name").to_owned(),
            row: at,
            column: "won".to_owned(),
            class: "cat won",
        })
        .collect();
    html! {
        @if shown.is_empty() { p.empty { "No rep owns a deal yet." } } @else { (bars("Won amount by rep", leaders, &shown, Form::Money)) }
        (rows_and_sql(&leaders.sql))
    }
}

/// `GET /ui/tv?owner_id=`: big numbers for a wall, of everyone or a team; it keeps itself current.
pub(super) async fn tv(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let owners = visit.owners().await?;
    let who = Who::of(&visit, &owners);
    let totals = tv_totals(&visit, &who).await?;
    let leaders = visit.ask(leaders_sql(&visit, &who)).await?;
    let body = html! {
        div.tiles.tv {
            (tile("Won, 90 days", &totals, "won", Form::Money, ""))
            (tile("Open pipeline", &totals, "open_amount", Form::Money, ""))
            (tile("Open deals", &totals, "open_deals", Form::Count, ""))
            (tile("Win rate, 90 days", &totals, "win_rate", Form::Share, ""))
        }
        section { h2 { "Leaderboard" } (won_chart(&named(&leaders, &owners))) }
    };
    Ok(page(
        &visit,
        &Page {
            title: "Wall screen",
            body,
        },
    ))
}

async fn tv_totals(visit: &Visit, who: &Who) -> Result<std::sync::Arc<Sheet>, Problem> {
    let since = quoted(&visit.at_of_hour().plus_micros(-90 * DAY_US).to_string());
    let closed = format!("coalesce(d.closed_at, d.close_date) >= TIMESTAMP {since}");
    visit
        .ask(format!(
            "SELECT coalesce(sum(CASE WHEN d.status = 'won' AND {closed} THEN d.amount END), 0) AS won, \
             coalesce(sum(CASE WHEN d.status = 'open' THEN d.amount END), 0) AS open_amount, \
             count(CASE WHEN d.status = 'open' THEN 1 END) AS open_deals, \
             CAST(count(CASE WHEN d.status = 'won' AND {closed} THEN 1 END) AS DOUBLE) \
             / nullif(count(CASE WHEN d.status IN ('won', 'lost') AND {closed} THEN 1 END), 0) AS win_rate FROM {} d WHERE TRUE{}",
            visit.deals(),
            who.and("d.owner_id")
        ))
        .await
}
