//! Data health: sources and their watermarks, late events, refused ones, positions and lag, pipelines.

use axum::{Extension, response::Response};
use maud::{Markup, html};

use super::{
    ask::{number, text},
    figure::{Form, instant, rows_and_sql, written},
    layout::{Oops, Page, first_steps, page},
    table::{Col, Show, col, table},
    visit::{Visit, short},
};
use crate::rest::{DataHealth, PipelineInfo};

const SOURCES: &[Col] = &[
    col("source", "Source", Show::Text),
    col("events", "Events", Show::Number(Form::Count)),
    col("late", "Late", Show::Number(Form::Count)),
    col("machines", "By machines", Show::Number(Form::Count)),
    col("newest_event", "Newest event", Show::Day),
    col("last_received", "Last received", Show::Day),
];

/// `GET /ui/data`
pub(super) async fn data(Extension(visit): Extension<Visit>) -> Result<Response, Oops> {
    let health = visit.api.status.data_health(visit.tenant()).await?;
    let pipelines = visit.api.status.pipelines().await?;
    let sources = visit
        .ask(
            "SELECT source, sum(n) AS events, sum(late_n) AS late, sum(machine_n) AS machines, max(event_time) AS newest_event, \
             max(ingested_at) AS last_received FROM event_counts GROUP BY source ORDER BY source",
        )
        .await?;
    let days = visit
        .ask("SELECT day, sum(n) AS events, sum(late_n) AS late FROM event_counts GROUP BY day ORDER BY day DESC LIMIT 120")
        .await?;
    let letters = if visit.is_admin() {
        let mut letters = visit.api.status.dead_letters(visit.tenant(), 20).await?;
        letters.retain(|letter| letter.tenant_id == visit.tenant());
        letters
    } else {
        Vec::new()
    };
    let line = super::chart::Line {
        name: "events".to_owned(),
        class: "line a",
        points: days
            .rows
            .iter()
            .rev()
            .filter_map(|row| {
                Some((
                    text(row, "day")
                        .parse::<revgauge_contract::Timestamp>()
                        .ok()?
                        .micros() as f64
                        / 1e6,
                    number(row, "events")?,
                ))
            })
            .collect(),
    };
    let body = html! {
        @if sources.rows.is_empty() { (first_steps(&visit)) }
        (table(&visit, "Sources", &sources, SOURCES))
        section.card {
            h2 { "Events a day" }
            (super::chart::over_time("Events a day", "events", &[], &[line], &[], Form::Count))
            (rows_and_sql(&days.sql))
        }
        @if !letters.is_empty() {
            section {
                h2 { "Refused events, newest first" }
                ul.changes { @for letter in &letters { li { (instant(letter.refused_at)) " · " (letter.source) " · " strong { (letter.refusal.code) } " " (letter.refusal.message) " " code { (short(&letter.body)) } } } }
                p { "Mend the cause, then " code { "revgauge dead-letters replay" } "." }
            }
        }
        (positions(&health))
        (pipeline_list(&pipelines))
    };
    Ok(page(
        &visit,
        &Page {
            title: "Data health",
            body,
        },
    ))
}

fn positions(health: &DataHealth) -> Markup {
    html! {
        figure.sheet { div.scroll tabindex="0" role="region" aria-label="Positions" { table {
            caption { "How far each reader of the journal has come" }
            thead { tr { th scope="col" { "Reader" } th.n scope="col" { "Position" } th scope="col" { "State" } } }
            tbody {
                tr { td data-label="Reader" { "journal" } td.n data-label="Position" { (written(Some(health.journal_position as f64), Form::Count)) } td data-label="State" { "last acknowledged" } }
                @for (reader, position) in &health.positions { tr {
                    td data-label="Reader" { (reader.replace('_', " ")) }
                    td.n data-label="Position" { (written(Some(*position as f64), Form::Count)) }
                    td data-label="State" { @match health.lag_ms.get(reader) { Some(lag) if *lag > 0 => { "behind by " (lag) " ms" }, _ => { "in step" } } }
                } }
                tr { td data-label="Reader" { "refused events" } td.n data-label="Position" { (written(Some(health.dead_letters as f64), Form::Count)) } td data-label="State" { "kept as dead letters" } }
            }
        } } }
        @if !health.unknown_types.is_empty() {
            section { h2 { "Types that are kept but not scored" } ul { @for (name, count) in &health.unknown_types { li { code { (name) } " " (count) } } } }
        }
        @for note in &health.notes { p.stale { (note) } }
    }
}

fn pipeline_list(pipelines: &[PipelineInfo]) -> Markup {
    html! {
        section {
            h2 { "Pipelines" }
            @for pipeline in pipelines {
                details {
                    summary { code { (pipeline.name) } " " span.meta { (pipeline.description) } }
                    p.meta { (pipeline.kind) @for (name, size) in &pipeline.state { " · " (name.replace('_', " ")) " " (written(Some(*size as f64), Form::Count)) } }
                    pre tabindex="0" { (pipeline.sql) }
                }
            }
            p { "Compared with the batch query over the lake by " code { "revgauge pipelines verify" } "." }
        }
    }
}
