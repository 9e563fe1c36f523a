//! Skills and coaching: practice sessions and scored calls by rep, their trend, the skills behind them, whom to help with
//! what first, and the week beside the one before (AC-14 to AC-20).

use axum::{Extension, response::Response};
use maud::{Markup, html};
use revgauge_contract::{Timestamp, time::DAY_US};

use super::{
    ask::{Sheet, number, text},
    chart::{Line, over_time, radar},
    figure::{Form, rows_and_sql, tile},
    forecast::named,
    form::quoted,
    layout::{Oops, Page, page},
    leads::owner_name,
    outlook::{later, part},
    table::{Col, Show, col, table},
    visit::{Visit, address},
    who::{Who, choice},
};
/// Events that carry a score of 0 to 100 in `value`, and skills of 0 to 100 in `payload.skills`.
const SCORED: &str = "('practice.completed', 'call.completed')";
/// Days a trend goes back (AC-15).
const TREND_DAYS: i64 = 30;

const PRIORITIES: &[Col] = &[
    col("name", "Rep", Show::Link("/ui/coaching?owner_id=", "owner_id")),
    col("skill", "Skill", Show::Text),
    col("score", "Score", Show::Bar(100.0, Form::Points)),
    col("team", "Team", Show::Number(Form::Points)),
    col("gap", "Behind the team by", Show::Number(Form::Points)),
    col("sessions", "From sessions", Show::Number(Form::Count)),
];

const WEEK: &[Col] = &[
    col("name", "Rep", Show::Link("/ui/team?owner_id=", "owner_id")),
    col("practice", "Practice", Show::Number(Form::Count)),
    col("practice_before", "week before", Show::Number(Form::Count)),
    col("calls", "Calls", Show::Number(Form::Count)),
    col("calls_before", "week before", Show::Number(Form::Count)),
    col("connected", "Connect rate", Show::Number(Form::Share)),
    col("meetings", "Meetings held", Show::Number(Form::Count)),
    col("meetings_before", "week before", Show::Number(Form::Count)),
    col("mails", "Mails sent", Show::Number(Form::Count)),
    col("mails_before", "week before", Show::Number(Form::Count)),
];

/// `GET /ui/coaching?owner_id=`
pub(super) async fn coaching(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let owners = visit.owners().await?;
    let who = Who::of(&visit, &owners);
    let tiles = visit.ask(tiles_sql(&visit, &who)).await?;
    let trend = visit.ask(trend_sql(&visit, &who)).await?;
    let week = visit.ask(week_sql(&visit, &who)).await?;
    let body = html! {
        form.filters method="get" action="/ui/coaching" data-filter="1" {
            @if let Some(at) = visit.pairs.get("as_of") { input type="hidden" name="as_of" value=(at); }
            (choice(&visit, &owners))
            button type="submit" { "Show" }
        }
        div.tiles {
            (tile("Practice sessions", &tiles, "sessions", Form::Count, "last 30 days"))
            (tile("Mean score", &tiles, "score", Form::Points, "of 100, practice and scored calls"))
            (tile("Days with practice", &tiles, "days", Form::Count, "of the last 30"))
            (tile("Scored calls", &tiles, "calls", Form::Count, "last 30 days"))
        }
        @if trend.rows.is_empty() { (how_to()) }
        div.pair {
            section.card { h2 { "Skills" } (later(&visit, "/ui/coaching/skills", "Draw them")) }
            section.card { h2 { "Score by day" } (trend_chart(&trend)) (rows_and_sql(&trend.sql)) }
        }
        (later(&visit, "/ui/coaching/priorities", "Coaching priorities"))
        (table(&visit, "The last seven days beside the seven before", &named(&week, &owners), WEEK))
        p { a href=(address("/ui/saved", [("q", &*week.sql)])) { "Have the week sent by mail" } }
    };
    Ok(page(
        &visit,
        &Page {
            title: "Skills and coaching",
            body,
        },
    ))
}

/// `GET /ui/coaching/skills?owner_id=`: the page fetches it after it stands, since it reads the payload of each scored event.
pub(super) async fn skills(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let owners = visit.owners().await?;
    let skills = visit.ask(skills_sql(&visit, &Who::of(&visit, &owners))).await?;
    let body = html! { (skill_radar(&visit, &skills, &owners)) (rows_and_sql(&skills.sql)) };
    part(&visit, "Skills", ("/ui/coaching", "← Skills and coaching"), body)
}

/// `GET /ui/coaching/priorities?owner_id=`: whom to help with what first. Fetched after the page stands, as [`skills`].
pub(super) async fn priorities(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let owners = visit.owners().await?;
    let found = visit
        .ask(priorities_sql(&visit, &Who::of(&visit, &owners)))
        .await?;
    let title = "Coaching priorities: furthest behind the team first";
    let body = table(&visit, title, &named(&found, &owners), PRIORITIES);
    part(
        &visit,
        "Coaching priorities",
        ("/ui/coaching", "← Skills and coaching"),
        body,
    )
}

fn how_to() -> Markup {
    html! {
        section.card {
            h2 { "No session is scored yet" }
            p { "Practice and calls appear here when their events carry a score of 0 to 100 as " code { "value" } " and, for the skills, numbers under " code { "payload.skills" } ":" }
            pre tabindex="0" { "{\"type\": \"practice.completed\", \"user_id\": \"rep-1\", \"value\": 78,\n \"payload\": {\"skills\": {\"discovery\": 81, \"objections\": 64, \"closing\": 70}}}" }
        }
    }
}

/// Events of the last days, as known at the page's instant.
fn recent(visit: &Visit, days: i64, who: &Who) -> String {
    let at = visit.at_of_hour();
    let from = quoted(&at.plus_micros(-days * DAY_US).to_string());
    let known = if visit.as_of.is_some() {
        let at = quoted(&at.to_string());
        format!(" AND known_at <= TIMESTAMP {at} AND event_time <= TIMESTAMP {at}")
    } else {
        String::new()
    };
    format!(
        "user_id IS NOT NULL AND event_time >= TIMESTAMP {from}{known}{}",
        who.and("user_id")
    )
}

/// A call's `value` is its length in seconds; its score stands in the payload. A practice's `value` is its score.
const SCORE: &str = "CASE WHEN type = 'practice.completed' THEN coalesce(value, json_get_float(payload, 'score')) ELSE json_get_float(payload, 'score') END";

fn tiles_sql(visit: &Visit, who: &Who) -> String {
    format!(
        "SELECT count(CASE WHEN type = 'practice.completed' THEN 1 END) AS sessions, avg(score) AS score, \
         count(DISTINCT CASE WHEN type = 'practice.completed' THEN date_trunc('day', event_time) END) AS days, \
         count(CASE WHEN type = 'call.completed' AND score IS NOT NULL THEN 1 END) AS calls \
         FROM (SELECT type, event_time, {SCORE} AS score FROM events WHERE type IN {SCORED} AND {})",
        recent(visit, TREND_DAYS, who)
    )
}

fn trend_sql(visit: &Visit, who: &Who) -> String {
    format!(
        "SELECT date_trunc('day', event_time) AS day, avg(score) AS score, count(*) AS sessions FROM \
         (SELECT event_time, {SCORE} AS score FROM events WHERE type IN {SCORED} AND {}) WHERE score IS NOT NULL GROUP BY 1 ORDER BY 1",
        recent(visit, TREND_DAYS, who)
    )
}

/// One row a skill of an event.
fn skill_rows(visit: &Visit, who: &Who) -> String {
    format!(
        "SELECT user_id, skill, coalesce(json_get_float(skills, skill), CAST(json_get_int(skills, skill) AS DOUBLE)) AS score \
         FROM (SELECT user_id, skills, unnest(json_object_keys(skills)) AS skill FROM \
         (SELECT user_id, json_get_json(payload, 'skills') AS skills FROM events WHERE type IN {SCORED} AND {}))",
        recent(visit, 90, who)
    )
}

fn skills_sql(visit: &Visit, who: &Who) -> String {
    let everyone = Who::everyone();
    let own = if who.id.is_some() {
        format!(
            " UNION ALL SELECT 'own' AS series, skill, avg(score) AS score, count(*) AS sessions FROM ({}) GROUP BY skill",
            skill_rows(visit, who)
        )
    } else {
        String::new()
    };
    format!(
        "SELECT 'team' AS series, skill, avg(score) AS score, count(*) AS sessions FROM ({}) GROUP BY skill{own} ORDER BY series, skill",
        skill_rows(visit, &everyone)
    )
}

fn priorities_sql(visit: &Visit, who: &Who) -> String {
    format!(
        "SELECT owner_id, skill, total / sessions AS score, team, team - total / sessions AS gap, sessions FROM \
         (SELECT user_id AS owner_id, skill, sum(score) AS total, count(score) AS sessions, \
         sum(sum(score)) OVER (PARTITION BY skill) / sum(count(score)) OVER (PARTITION BY skill) AS team \
         FROM ({}) GROUP BY user_id, skill) WHERE sessions > 0 AND team > total / sessions{} \
         ORDER BY gap DESC, owner_id, skill LIMIT 20",
        skill_rows(visit, &Who::everyone()),
        who.and("owner_id")
    )
}

fn week_sql(visit: &Visit, who: &Who) -> String {
    let at = visit.at_of_hour();
    let middle = quoted(&at.plus_micros(-7 * DAY_US).to_string());
    let count = |name: &str, types: &str, this_week: bool| {
        let side = if this_week { ">=" } else { "<" };
        format!(
            "count(CASE WHEN type IN ({types}) AND event_time {side} TIMESTAMP {middle} THEN 1 END) AS {name}"
        )
    };
    let columns = [
        ("practice", "'practice.completed'"),
        ("calls", "'call.completed', 'call.no_answer'"),
        ("meetings", "'meeting.attended'"),
        ("mails", "'email.sent'"),
    ]
    .into_iter()
    .flat_map(|(name, types)| {
        [
            count(name, types, true),
            count(&format!("{name}_before"), types, false),
        ]
    })
    .collect::<Vec<_>>()
    .join(", ");
    format!(
        "SELECT user_id AS owner_id, {columns}, CAST(count(CASE WHEN type = 'call.completed' AND event_time >= TIMESTAMP {middle} THEN 1 END) AS DOUBLE) \
         / nullif(count(CASE WHEN type IN ('call.completed', 'call.no_answer') AND event_time >= TIMESTAMP {middle} THEN 1 END), 0) AS connected \
         FROM events WHERE type IN ('practice.completed', 'call.completed', 'call.no_answer', 'meeting.attended', 'email.sent') AND {} \
         GROUP BY user_id ORDER BY meetings DESC, calls DESC, mails DESC, owner_id LIMIT 200",
        recent(visit, 14, who)
    )
}

fn skill_radar(visit: &Visit, skills: &Sheet, owners: &Sheet) -> Markup {
    /// More spokes than that cannot be read.
    const SPOKES: usize = 10;
    let mut spokes: Vec<String> = Vec::new();
    for row in &skills.rows {
        let skill = text(row, "skill");
        if spokes.len() < SPOKES && !spokes.iter().any(|known| known == skill) {
            spokes.push(skill.to_owned());
        }
    }
    if spokes.len() < 3 {
        return html! { p.empty { "Fewer than three skills are scored." } };
    }
    let values = |series: &str| -> Vec<f64> {
        let of = |skill: &String| {
            let mut rows = skills.rows.iter();
            let found = rows.find(|row| text(row, "series") == series && text(row, "skill") == skill);
            found.and_then(|row| number(row, "score")).unwrap_or(0.0)
        };
        spokes.iter().map(of).collect()
    };
    let mut series = vec![("everyone".to_owned(), "line dim", values("team"))];
    if let Some(id) = visit.pairs.get("owner_id") {
        series.push((owner_name(owners, id).to_owned(), "line a", values("own")));
    }
    radar("Mean score by skill, 0 to 100, last 90 days", &spokes, &series)
}

fn trend_chart(trend: &Sheet) -> Markup {
    let points = trend.rows.iter().filter_map(|row| {
        let day: Timestamp = text(row, "day").parse().ok()?;
        Some((day.micros() as f64 / 1e6, number(row, "score")?))
    });
    let line = Line {
        name: "score".to_owned(),
        class: "line a",
        points: points.collect(),
    };
    over_time(
        "Mean score by day",
        "score of 100",
        &[],
        &[line],
        &[],
        Form::Count,
    )
}
