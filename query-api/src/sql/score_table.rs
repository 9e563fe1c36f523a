//! The table `scores`: every score of every entity. Kept rows where they hold what is asked for; names and explanations
//! are made for the rows that the query's filters leave.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{AsArray as _, RecordBatch},
        compute::filter_record_batch,
        datatypes::SchemaRef,
    },
    catalog::{Session, TableProvider},
    common::{DFSchema, DataFusionError, Result},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::{ExecutionPlan, PhysicalExpr},
};
use futures::{StreamExt as _, TryStreamExt as _};
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    schema::text_column,
    score::{EntityKind, ScoreRows, ScoreService, scores_table},
    statistics::Knowledge,
};

use super::{
    loaded_table::{Streaming, streamed_plan},
    pushed::texts_of,
};

/// Past this many entities asked for by id, reading all is quicker.
pub(super) const MAX_LOOKUPS: usize = 2_000;
/// Entities explained at once.
const STEP: usize = 500;

/// All kinds that have scores.
pub(super) const KINDS: [EntityKind; 3] = [EntityKind::Contact, EntityKind::Account, EntityKind::Deal];

/// Columns by which rows are chosen before the others are made.
pub(super) const CHOSEN_BY: [&str; 10] = [
    "tenant_id",
    "entity_kind",
    "entity_id",
    "account_id",
    "owner_id",
    "score",
    "value",
    "tier",
    "unscored_because",
    "definition",
];

/// Columns that are made for the rows asked for and not kept: tens of microseconds an entity.
pub(super) const MADE_WHEN_ASKED: [&str; 5] = ["name", "reasons", "contributions", "facts", "fingerprint"];

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

impl ScoreTable {
    /// Of now: its rows may be kept ones, so that choosing among them is cheap.
    pub(super) fn is_of_now(&self) -> bool {
        self.knowledge == Knowledge::Now
    }
}

fn chooses(filter: &Expr) -> bool {
    let columns = filter.column_refs();
    !columns.is_empty()
        && columns
            .iter()
            .all(|column| CHOSEN_BY.contains(&column.name.as_str()))
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
        let verdict = |filter: &&Expr| {
            if chooses(filter) {
                TableProviderFilterPushDown::Inexact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(verdict).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = scores_table();
        let mut kinds: Vec<EntityKind> = KINDS.into();
        if let Some(names) = texts_of(filters, "entity_kind") {
            kinds.retain(|kind| names.contains(kind.as_str()));
        }
        let ids = texts_of(filters, "entity_id").filter(|ids| ids.len() <= MAX_LOOKUPS);
        let named = |columns: &Vec<usize>| {
            let names = columns.iter().map(|column| schema.field(*column).name().clone());
            names.collect::<BTreeSet<String>>()
        };
        let asked = ScoreRows {
            ids: ids.map(|ids| ids.into_iter().collect()),
            scores: texts_of(filters, "score"),
            columns: projection.map(named),
        };
        let typed = DFSchema::try_from(Arc::clone(&schema))?;
        let chosen = filters.iter().filter(|filter| chooses(filter));
        let filters = chosen
            .map(|filter| state.create_physical_expr(filter.clone(), &typed))
            .collect::<Result<Vec<_>>>()?;
        let source = Source {
            scores: Arc::clone(&self.scores),
            tenant_id: Arc::clone(&self.tenant_id),
            at: self.at,
            knowledge: self.knowledge,
            filters: filters.into(),
        };
        streamed_plan("scores", schema, projection, move || {
            let (source, asked) = (source.clone(), asked.clone());
            futures::stream::iter(kinds.clone())
                .then(move |kind| source.clone().of_kind(kind, asked.clone()))
                .map(|pieces| match pieces {
                    Ok(pieces) => pieces,
                    Err(failure) => futures::stream::once(async { Err(failure) }).boxed(),
                })
                .flatten()
                .boxed()
        })
    }
}

/// What the rows are made from.
#[derive(Clone)]
struct Source {
    scores: Arc<dyn ScoreService>,
    tenant_id: Arc<str>,
    at: Timestamp,
    knowledge: Knowledge,
    filters: Arc<[Arc<dyn PhysicalExpr>]>,
}

impl Source {
    async fn rows(&self, kind: EntityKind, asked: &ScoreRows) -> Result<Vec<RecordBatch>, Failure> {
        self.scores
            .table(&self.tenant_id, kind, asked, self.at, self.knowledge)
            .await
    }

    async fn of_kind(self, kind: EntityKind, asked: ScoreRows) -> Result<Streaming, Failure> {
        let explains = MADE_WHEN_ASKED.iter().any(|column| asked.reads(column));
        if !explains || asked.ids.is_some() || matches!(self.knowledge, Knowledge::At(_)) {
            let rows = self.rows(kind, &asked).await;
            return Ok(futures::stream::once(async { rows }).boxed());
        }
        // First which entities: only theirs is explained.
        let choosing = ScoreRows {
            columns: Some(CHOSEN_BY.map(str::to_owned).into()),
            ..asked.clone()
        };
        let ids = self.chosen(&self.rows(kind, &choosing).await?)?;
        let steps: Vec<Vec<String>> = ids.chunks(STEP).map(<[String]>::to_vec).collect();
        let pieces = futures::stream::iter(steps).then(move |ids| {
            let (source, asked) = (self.clone(), asked.clone());
            async move {
                let asked = ScoreRows {
                    ids: Some(ids),
                    ..asked
                };
                source.rows(kind, &asked).await
            }
        });
        Ok(pieces.into_stream().boxed())
    }

    /// Entities of the rows that all filters keep, each once.
    fn chosen(&self, batches: &[RecordBatch]) -> Result<Vec<String>, Failure> {
        let broken = |error: DataFusionError| {
            Failure::new(
                ErrorKind::Internal,
                format!("cannot choose rows of scores: {error}"),
            )
        };
        let (mut ids, mut seen) = (Vec::new(), HashSet::new());
        for batch in batches {
            let mut kept = batch.clone();
            for filter in self.filters.iter() {
                let keeps = filter
                    .evaluate(&kept)
                    .and_then(|keeps| keeps.into_array(kept.num_rows()))
                    .map_err(broken)?;
                if let Some(keeps) = keeps.as_boolean_opt() {
                    kept = filter_record_batch(&kept, keeps).map_err(|error| broken(error.into()))?;
                }
            }
            for id in text_column(&kept, "entity_id").into_iter().flatten().flatten() {
                if !seen.contains(id) {
                    seen.insert(id.to_owned());
                    ids.push(id.to_owned());
                }
            }
        }
        Ok(ids)
    }
}
