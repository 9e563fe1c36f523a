//! Table functions about the past: `scores_as_of(instant)` and `pipeline_as_of(instant)`.
//!
//! The tenant comes from the session that registered them, never from an argument.

use std::{collections::HashMap, fmt, sync::Arc};

use datafusion::{
    arrow::array::{Array as _, AsArray as _, Float64Array, RecordBatch},
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::{Result, ScalarValue, plan_err},
    logical_expr::Expr,
};
use revgauge_contract::{
    Timestamp,
    error::Failure,
    schema::text_column,
    score::{EntityKind, ScoreRows, ScoreService},
    statistics::Knowledge,
};
use serde_json::{Value, json};

use super::{
    object_table::{Column, DEALS, HEALTH, ObjectTable, text_of},
    score_table::ScoreTable,
};
use crate::access::{Sight, TenantTable};

/// What the functions know of their session.
#[derive(Clone)]
pub(super) struct AsOf {
    pub(super) scores: Arc<dyn ScoreService>,
    pub(super) sight: Arc<Sight>,
    pub(super) now: Timestamp,
}

impl fmt::Debug for AsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsOf")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// `scores_as_of(instant)`: the table `scores` with what was known at the instant.
#[derive(Debug)]
pub(super) struct ScoresAsOf(pub(super) AsOf);

/// `pipeline_as_of(instant)`: every deal as known at the instant, with its health then.
#[derive(Debug)]
pub(super) struct PipelineAsOf(pub(super) AsOf);

impl TableFunctionImpl for ScoresAsOf {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let at = the_instant("scores_as_of", args.exprs(), self.0.now)?;
        let table = ScoreTable {
            scores: Arc::clone(&self.0.scores),
            tenant_id: Arc::clone(self.0.sight.tenant_id()),
            at,
            knowledge: Knowledge::At(at),
        };
        let sight = Arc::clone(&self.0.sight);
        Ok(Arc::new(TenantTable::try_new(
            "scores_as_of",
            sight,
            Arc::new(table),
        )?))
    }
}

impl TableFunctionImpl for PipelineAsOf {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let at = the_instant("pipeline_as_of", args.exprs(), self.0.now)?;
        let source = self.0.clone();
        let table = ObjectTable {
            name: "pipeline_as_of",
            tenant_id: Arc::clone(self.0.sight.tenant_id()),
            columns: pipeline_columns(),
            fetch: Arc::new(move || {
                let source = source.clone();
                Box::pin(async move { deals_at(&source, at).await })
            }),
        };
        let sight = Arc::clone(&self.0.sight);
        Ok(Arc::new(TenantTable::try_new(
            "pipeline_as_of",
            sight,
            Arc::new(table),
        )?))
    }
}

/// Columns of `pipeline_as_of`.
pub(super) fn pipeline_columns() -> Arc<[Column]> {
    DEALS.iter().chain(HEALTH).copied().collect()
}

/// A function's table whose rows come from a service that has applied the row rule.
pub(super) fn walled(
    name: &str,
    sight: &Arc<Sight>,
    table: Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>> {
    Ok(Arc::new(TenantTable::of_seen(name, Arc::clone(sight), table)?))
}

/// What was thought of a deal at the instant.
#[derive(Default)]
struct Thought {
    health: Option<f64>,
    health_tier: Option<String>,
    win_probability: Option<f64>,
}

/// What is read of the scores of deals.
fn thoughts() -> ScoreRows {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    ScoreRows {
        ids: None,
        scores: Some(texts(&["health", "win_probability"])),
        columns: Some(texts(&["entity_id", "score", "value", "tier"])),
    }
}

async fn deals_at(source: &AsOf, at: Timestamp) -> Result<Vec<Value>, Failure> {
    let knowledge = Knowledge::At(at);
    let deals = source
        .scores
        .objects(source.sight.tenant_id(), EntityKind::Deal, None, knowledge)
        .await?;
    let scores = source
        .scores
        .table(
            source.sight.tenant_id(),
            EntityKind::Deal,
            &thoughts(),
            at,
            knowledge,
        )
        .await?;
    let mut thought: HashMap<String, Thought> = HashMap::new();
    for batch in &scores {
        let (Some(ids), Some(names), Some(tiers), Some(values)) = (
            text_column(batch, "entity_id"),
            text_column(batch, "score"),
            text_column(batch, "tier"),
            number_column(batch, "value"),
        ) else {
            continue;
        };
        for (row, value) in values.iter().enumerate() {
            let name = names.value(row);
            if name != "health" && name != "win_probability" {
                continue;
            }
            let deal = thought.entry(ids.value(row).to_owned()).or_default();
            if name == "health" {
                deal.health = value;
                deal.health_tier = tiers.is_valid(row).then(|| tiers.value(row).to_owned());
            } else {
                deal.win_probability = value;
            }
        }
    }
    let with_scores = deals.into_iter().map(|mut deal| {
        let id = text_of(&deal, DEALS[0].from);
        let thought = id.and_then(|id| thought.remove(&id)).unwrap_or_default();
        if let Some(record) = deal.as_object_mut() {
            record.insert("health".to_owned(), json!(thought.health));
            record.insert("health_tier".to_owned(), json!(thought.health_tier));
            record.insert("win_probability".to_owned(), json!(thought.win_probability));
            record.insert("as_of".to_owned(), json!(at));
        }
        deal
    });
    Ok(with_scores.collect())
}

fn number_column<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a Float64Array> {
    batch.column_by_name(name)?.as_primitive_opt()
}

fn the_instant(function: &str, args: &[Expr], now: Timestamp) -> Result<Timestamp> {
    let [argument] = args else {
        return plan_err!("{function} takes one instant, such as {function}('2026-01-31T09:30:00Z')");
    };
    let at = match argument {
        Expr::Literal(value, _) => instant_of(value),
        _ => None,
    };
    match at {
        Some(at) if at > now => plan_err!("{function} cannot answer for {at}, which is still to come"),
        Some(at) => Ok(at),
        None => plan_err!(
            "{function} cannot read {argument} as an instant: give a constant text such as '2026-01-31T09:30:00Z' or a timestamp"
        ),
    }
}

pub(super) fn instant_of(value: &ScalarValue) -> Option<Timestamp> {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => text.parse().ok(),
        ScalarValue::TimestampSecond(Some(at), _) => Some(Timestamp(at.checked_mul(1_000_000)?)),
        ScalarValue::TimestampMillisecond(Some(at), _) => Some(Timestamp(at.checked_mul(1_000)?)),
        ScalarValue::TimestampMicrosecond(Some(at), _) => Some(Timestamp(*at)),
        ScalarValue::TimestampNanosecond(Some(at), _) => Some(Timestamp(at.div_euclid(1_000))),
        ScalarValue::Date32(Some(days)) => Some(Timestamp(
            i64::from(*days).checked_mul(revgauge_contract::time::DAY_US)?,
        )),
        _ => None,
    }
}
