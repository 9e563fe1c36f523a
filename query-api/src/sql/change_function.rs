//! `score_change(entity_kind, entity_id, from, to)`: why each score of one entity changed, a row a part.

use std::sync::Arc;

use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::{Result, ScalarValue, plan_err},
    logical_expr::Expr,
};
use revgauge_contract::{error::Failure, score::EntityKind};
use serde_json::{Value, json};

use super::{
    as_of_functions::{AsOf, instant_of, walled},
    object_table::{Column, ObjectTable, Reading, column},
};

/// Columns of `score_change`.
pub(super) const CHANGES: &[Column] = &[
    column("score", Reading::Text, &["score"], "score name", ""),
    column(
        "old_value",
        Reading::Number,
        &["old_value"],
        "value at the earlier instant",
        "points",
    ),
    column(
        "new_value",
        Reading::Number,
        &["new_value"],
        "value at the later instant",
        "points",
    ),
    column(
        "factor",
        Reading::Text,
        &["factor"],
        "part; decay is what time alone did",
        "",
    ),
    column(
        "points",
        Reading::Number,
        &["points"],
        "points of the change; the parts sum to it",
        "points",
    ),
    column("reason", Reading::Text, &["reason"], "for people", ""),
];

/// The function, bound to its session's tenant.
#[derive(Debug)]
pub(super) struct ScoreChangeFunction(pub(super) AsOf);

impl TableFunctionImpl for ScoreChangeFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let usage = "score_change takes an entity kind, its id and two instants, such as \
                     score_change('contact', 'c-1', '2026-01-01', '2026-01-08')";
        let [
            Expr::Literal(kind, _),
            Expr::Literal(id, _),
            Expr::Literal(from, _),
            Expr::Literal(to, _),
        ] = args.exprs()
        else {
            return plan_err!("{usage}");
        };
        let (Some(kind), Some(id)) = (text(kind).and_then(kind_of), text(id)) else {
            return plan_err!("{usage}");
        };
        let (Some(from), Some(to)) = (instant_of(from), instant_of(to)) else {
            return plan_err!("{usage}");
        };
        let (source, id) = (self.0.clone(), id.to_owned());
        let table = ObjectTable {
            name: "score_change",
            tenant_id: Arc::clone(self.0.sight.tenant_id()),
            columns: CHANGES.into(),
            fetch: Arc::new(move || {
                let (source, id) = (source.clone(), id.clone());
                Box::pin(async move {
                    let changes = source
                        .scores
                        .explain_change(source.sight.tenant_id(), kind, &id, from, to)
                        .await?;
                    Ok::<_, Failure>(
                        changes
                            .into_iter()
                            .flat_map(|change| {
                                change.parts.into_iter().map(move |part| -> Value {
                                    json!({
                                        "score": change.name, "old_value": change.old_value,
                                        "new_value": change.new_value, "factor": part.factor, "points": part.points,
                                        "reason": part.reason,
                                    })
                                })
                            })
                            .collect(),
                    )
                })
            }),
        };
        walled("score_change", &self.0.sight, Arc::new(table))
    }
}

pub(super) fn text(value: &ScalarValue) -> Option<&str> {
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => Some(text),
        _ => None,
    }
}

fn kind_of(text: &str) -> Option<EntityKind> {
    [EntityKind::Contact, EntityKind::Account, EntityKind::Deal]
        .into_iter()
        .find(|kind| kind.as_str() == text)
}
