//! `revgauge scores` and `revgauge explain`.

use anyhow::Result;
use serde_json::Value;

use super::{Client, Context, client::encode};
use crate::{
    cli::{Entity, ExplainArgs, ScoresArgs},
    output,
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
        println!("{answer:#}");
        return Ok(());
    }
    println!(
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
    println!(
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
         WHERE entity_kind = '{}' AND score = {} AND value IS NOT NULL ORDER BY value {}, entity_id LIMIT {}",
        kind(args.entity),
        quoted(&score),
        if args.entity == Entity::Deal {
            "ASC"
        } else {
            "DESC"
        },
        args.limit
    );
    let rows = client.sql(&sql).await?;
    if context.common.json {
        println!("{:#}", Value::Array(rows.rows));
    } else {
        println!("{}\nthe same in SQL: {sql}", rows.table());
    }
    Ok(())
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
        println!("{answer:#}");
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
        println!("\n{}", change_line(&change));
        println!(
            "{}",
            output::table(&["factor", "points", "reason"], &parts(&change, "parts"))
        );
    }
    for score in list("scores") {
        let value = score.get("value").cloned().unwrap_or_default();
        println!(
            "\n{} = {value}  {}",
            text(&score, "name"),
            text(&score, "unscored_because")
        );
        println!(
            "{}",
            output::table(
                &["factor", "points", "reason", "advice"],
                &parts(&score, "contributions")
            )
        );
    }
    Ok(())
}

/// One line that says how a score moved.
pub(crate) fn change_line(change: &Value) -> String {
    let number = |name: &str| {
        change
            .get(name)
            .and_then(Value::as_f64)
            .map_or("none".to_owned(), |v| format!("{v:.3}"))
    };
    format!(
        "{}: {} -> {} between {} and {}",
        text(change, "name"),
        number("old_value"),
        number("new_value"),
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
