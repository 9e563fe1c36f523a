//! `revgauge scores` and `revgauge explain`.

use anyhow::{Result, bail};
use serde_json::Value;

use super::{Client, Context, client::encode};
use crate::{
    cli::{Entity, ExplainArgs, ScoresArgs},
    output::{self, say},
};

pub(crate) const fn plural(entity: Entity) -> &'static str {
    match entity {
        Entity::Contact => "contacts",
        Entity::Account => "accounts",
        Entity::Deal => "deals",
    }
}

const fn kind(entity: Entity) -> &'static str {
    match entity {
        Entity::Contact => "contact",
        Entity::Account => "account",
        Entity::Deal => "deal",
    }
}

const fn main_score(entity: Entity) -> &'static str {
    match entity {
        Entity::Contact => "priority",
        Entity::Account => "intent",
        Entity::Deal => "health",
    }
}

pub(crate) async fn list(context: &Context, args: ScoresArgs) -> Result<()> {
    let client = Client::connect(context).await?;
    let outcome = match &args.id {
        Some(id) => one(context, &client, &args, id).await,
        None => best(context, &client, &args).await,
    };
    client.close().await?;
    outcome
}

async fn one(context: &Context, client: &Client, args: &ScoresArgs, id: &str) -> Result<()> {
    let as_of = args
        .as_of
        .as_ref()
        .map(|at| format!("?as_of={}", encode(at)))
        .unwrap_or_default();
    let answer = client
        .get(&format!(
            "/v1/{}/{}/scores{as_of}",
            plural(args.entity),
            encode(id)
        ))
        .await?;
    if context.common.json {
        say!("{answer:#}");
        return Ok(());
    }
    say!(
        "{} {} as of {}",
        kind(args.entity),
        text(&answer, "entity_id"),
        text(&answer, "as_of")
    );
    let scores = answer
        .get("scores")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    say!(
        "{}",
        output::table(
            &["name", "value", "tier", "unscored_because", "definition"],
            &scores
        )
    );
    Ok(())
}

async fn best(context: &Context, client: &Client, args: &ScoresArgs) -> Result<()> {
    let score = args
        .score
        .clone()
        .unwrap_or_else(|| main_score(args.entity).to_owned());
    let source = match &args.as_of {
        Some(at) => format!("scores_as_of({})", quoted(at)),
        None => "scores".to_owned(),
    };
    let sql = format!(
        "SELECT entity_id, name, value, tier, reasons FROM {source} \
         WHERE entity_kind = '{}' AND score = {} AND value IS NOT NULL ORDER BY value {}, {}entity_id LIMIT {}",
        kind(args.entity),
        quoted(&score),
        if args.entity == Entity::Deal {
            "ASC"
        } else {
            "DESC"
        },
        // Whom to call first among equals: as everywhere, see the documentation of the priority score.
        if score == "priority" {
            "json_get_float(facts, 'engagement') DESC NULLS LAST, \
             json_get_float(facts, 'authority') DESC NULLS LAST, "
        } else {
            ""
        },
        args.limit
    );
    let rows = client.sql(&sql).await?;
    if rows.rows.is_empty() && args.score.is_some() {
        known_score(client, args.entity, &score).await?;
    }
    if context.common.json {
        say!("{:#}", Value::Array(rows.rows));
    } else {
        say!("{}\nthe same in SQL: {sql}", rows.table());
    }
    Ok(())
}

/// Refuses a score that no entity of the kind has, where others are known.
async fn known_score(client: &Client, entity: Entity, score: &str) -> Result<()> {
    let sql = format!(
        "SELECT DISTINCT score FROM scores WHERE entity_kind = '{}' ORDER BY score",
        kind(entity)
    );
    let rows = client.sql(&sql).await?.rows;
    let names: Vec<&str> = rows.iter().map(|row| text(row, "score")).collect();
    if names.is_empty() || names.contains(&score) {
        return Ok(());
    }
    bail!(
        "{} have no score '{score}': choose one of {}",
        plural(entity),
        names.join(", ")
    )
}

/// A text as an SQL literal.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

pub(crate) async fn explain(context: &Context, args: ExplainArgs) -> Result<()> {
    let client = Client::connect(context).await?;
    let outcome = explain_one(context, &client, &args).await;
    client.close().await?;
    outcome
}

async fn explain_one(context: &Context, client: &Client, args: &ExplainArgs) -> Result<()> {
    let base = format!("/v1/{}/{}", plural(args.entity), encode(&args.id));
    let answer = if let Some(from) = &args.from {
        let to = args
            .to
            .as_ref()
            .map(|to| format!("&to={}", encode(to)))
            .unwrap_or_default();
        client
            .get(&format!("{base}/changes?from={}{to}", encode(from)))
            .await?
    } else {
        let as_of = args
            .as_of
            .as_ref()
            .map(|at| format!("?as_of={}", encode(at)))
            .unwrap_or_default();
        client.get(&format!("{base}/explain{as_of}")).await?
    };
    if context.common.json {
        say!("{answer:#}");
        return Ok(());
    }
    let list = |name: &str| {
        answer
            .get(name)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    for change in list("changes") {
        let parts = parts(&change, "parts");
        say!("\n{}", change_line(&change));
        if !parts.is_empty() {
            say!("{}", output::table(&["factor", "points", "reason"], &parts));
        }
    }
    for score in list("scores") {
        say!("\n{}", score_line(&score));
        let parts = parts(&score, "contributions");
        if !parts.is_empty() {
            say!(
                "{}",
                output::table(&["factor", "points", "reason", "advice"], &parts)
            );
        }
    }
    Ok(())
}

/// One line with a score's value and tier, or why it has none.
fn score_line(score: &Value) -> String {
    let name = text(score, "name");
    match score.get("value").and_then(Value::as_f64) {
        Some(value) => format!("{name} = {value:.3}  {}", text(score, "tier"))
            .trim_end()
            .to_owned(),
        None => format!("{name}: no score, {}", text(score, "unscored_because")),
    }
}

/// One line that says how a score moved.
fn change_line(change: &Value) -> String {
    let number = |name: &str| {
        change
            .get(name)
            .and_then(Value::as_f64)
            .map_or("none".to_owned(), |v| format!("{v:.3}"))
    };
    let (name, old, new) = (text(change, "name"), number("old_value"), number("new_value"));
    let moved = if change.get("old_value") == change.get("new_value") {
        format!("{name}: {new}, unchanged")
    } else {
        format!("{name}: {old} -> {new}")
    };
    format!(
        "{moved} between {} and {}",
        text(change, "from"),
        text(change, "to")
    )
}

fn parts(of: &Value, name: &str) -> Vec<Value> {
    of.get(name)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}
