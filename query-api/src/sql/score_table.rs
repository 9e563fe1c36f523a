//! The table `scores`: every score of every entity, computed when asked for.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{
            ArrayRef, Float64Array, RecordBatch, StringViewArray, StringViewBuilder,
            TimestampMicrosecondArray,
        },
        datatypes::SchemaRef,
    },
    catalog::{Session, TableProvider},
    common::{Result, ScalarValue},
    logical_expr::{BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};
use revgauge_contract::{
    Timestamp,
    error::{ErrorKind, Failure},
    score::{EntityKind, EntityScores, ScoreService, scores_table},
    statistics::Knowledge,
};
use serde_json::Value;

use super::loaded_table::loaded_plan;

/// Past this many entities asked for by id, reading all is quicker.
const MAX_LOOKUPS: usize = 64;

/// All kinds that have scores.
pub(super) const KINDS: [EntityKind; 3] = [EntityKind::Contact, EntityKind::Account, EntityKind::Deal];

/// Scores at an instant with the knowledge of an instant.
pub(super) struct ScoreTable {
    pub(super) scores: Arc<dyn ScoreService>,
    pub(super) tenant_id: Arc<str>,
    pub(super) at: Timestamp,
    pub(super) knowledge: Knowledge,
}

impl std::fmt::Debug for ScoreTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScoreTable")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for ScoreTable {
    fn schema(&self) -> SchemaRef {
        scores_table()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let verdict = |filter: &&Expr| match wanted(filter) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(verdict).collect())
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut kinds: BTreeSet<EntityKind> = KINDS.into_iter().collect();
        let mut ids: Option<BTreeSet<String>> = None;
        for filter in filters {
            match wanted(filter) {
                Some(("entity_kind", names)) => kinds.retain(|kind| names.contains(kind.as_str())),
                Some((_, names)) => {
                    ids = Some(match ids {
                        Some(known) => &known & &names,
                        None => names,
                    });
                }
                None => {}
            }
        }
        let source = (
            Arc::clone(&self.scores),
            Arc::clone(&self.tenant_id),
            self.at,
            self.knowledge,
        );
        loaded_plan("scores", scores_table(), projection, move || {
            let (scores, tenant_id, at, knowledge) =
                (Arc::clone(&source.0), Arc::clone(&source.1), source.2, source.3);
            let (kinds, ids) = (kinds.clone(), ids.clone());
            Box::pin(async move {
                match ids {
                    Some(ids) if ids.len() <= MAX_LOOKUPS => {
                        look_up(scores.as_ref(), &tenant_id, &kinds, &ids, at, knowledge).await
                    }
                    _ => {
                        let mut all = Vec::new();
                        for kind in kinds {
                            all.extend(scores.table(&tenant_id, kind, at, knowledge).await?);
                        }
                        Ok(all)
                    }
                }
            })
        })
    }
}

/// The column and the values a filter keeps, when it is `entity_kind` or `entity_id` `=` or `IN` texts.
fn wanted(filter: &Expr) -> Option<(&'static str, BTreeSet<String>)> {
    let (column, values): (&Expr, Vec<&Expr>) = match filter {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Eq,
            right,
        }) => match (&**left, &**right) {
            (column @ Expr::Column(_), value) | (value, column @ Expr::Column(_)) => (column, vec![value]),
            _ => return None,
        },
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: Operator::Or,
            right,
        }) => {
            // Short IN lists arrive as a chain of OR.
            let (name, mut values) = wanted(left)?;
            let (other, more) = wanted(right)?;
            values.extend(more);
            return (name == other).then_some((name, values));
        }
        Expr::InList(list) if !list.negated => (&list.expr, list.list.iter().collect()),
        _ => return None,
    };
    let Expr::Column(column) = column else {
        return None;
    };
    let name = ["entity_kind", "entity_id"]
        .into_iter()
        .find(|name| *name == column.name)?;
    let texts = values.into_iter().map(|value| match value {
        Expr::Literal(
            ScalarValue::Utf8(Some(text))
            | ScalarValue::Utf8View(Some(text))
            | ScalarValue::LargeUtf8(Some(text)),
            _,
        ) => Some(text.clone()),
        _ => None,
    });
    Some((name, texts.collect::<Option<_>>()?))
}

async fn look_up(
    scores: &dyn ScoreService,
    tenant_id: &str,
    kinds: &BTreeSet<EntityKind>,
    ids: &BTreeSet<String>,
    at: Timestamp,
    knowledge: Knowledge,
) -> Result<Vec<RecordBatch>, Failure> {
    let mut batches = Vec::new();
    for kind in kinds {
        for id in ids {
            let found = match scores.scores(tenant_id, *kind, id, at, knowledge).await {
                Ok(found) => found,
                Err(failure) if failure.kind == ErrorKind::NotFound => continue,
                Err(failure) => return Err(failure),
            };
            let object = scores
                .objects(
                    tenant_id,
                    *kind,
                    Some(std::slice::from_ref(&found.entity_id)),
                    knowledge,
                )
                .await?;
            batches.push(rows_of(tenant_id, &found, object.first().unwrap_or(&Value::Null)));
        }
    }
    Ok(batches)
}

/// The rows of [`scores_table`] that one entity's scores are.
fn rows_of(tenant_id: &str, found: &EntityScores, object: &Value) -> RecordBatch {
    let of_object = |name| crate::sql::object_table::text_of(object, &[name]);
    let names = [of_object("name"), of_object("account_id"), of_object("owner_id")];
    let mut texts: [StringViewBuilder; 13] = std::array::from_fn(|_| StringViewBuilder::new());
    let json = |value: serde_json::Result<String>| value.unwrap_or_default();
    for score in &found.scores {
        let mut largest: Vec<_> = score.contributions.iter().collect();
        largest.sort_by(|a, b| b.points.abs().total_cmp(&a.points.abs()));
        let reasons: Vec<_> = largest.iter().take(3).map(|part| part.reason.as_str()).collect();
        let row: [Option<String>; 13] = [
            Some(tenant_id.to_owned()),
            Some(found.entity_kind.as_str().to_owned()),
            Some(found.entity_id.clone()),
            names[0].clone(),
            names[1].clone(),
            names[2].clone(),
            Some(score.name.clone()),
            score.tier.clone(),
            score.unscored_because.clone(),
            Some(reasons.join("; ")),
            Some(json(serde_json::to_string(&score.contributions))),
            Some(json(serde_json::to_string(&score.facts))),
            Some(score.definition.clone()),
        ];
        for (builder, text) in texts.iter_mut().zip(row) {
            builder.append_option(text);
        }
    }
    let mut texts = texts
        .iter_mut()
        .map(|builder| Arc::new(builder.finish()) as ArrayRef);
    let mut columns: Vec<ArrayRef> = texts.by_ref().take(7).collect();
    columns.push(Arc::new(Float64Array::from_iter(
        found.scores.iter().map(|score| score.value),
    )));
    columns.extend(texts);
    let fingerprints = found.scores.iter().map(|score| Some(score.fingerprint.as_str()));
    columns.push(Arc::new(fingerprints.collect::<StringViewArray>()));
    columns.push(Arc::new(TimestampMicrosecondArray::from(vec![
        found
            .as_of
            .micros();
        found.scores.len()
    ])));
    RecordBatch::try_new(scores_table(), columns).expect("columns stand in the order of the schema")
}
