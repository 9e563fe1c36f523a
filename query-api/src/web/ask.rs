//! How a page gets its rows: one query each, shared for a moment by all who ask the same.

use std::{collections::HashMap, sync::Arc, time::Duration};

use datafusion::arrow::datatypes::DataType;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use revgauge_contract::score::EntityKind;

use super::{form::quoted, visit::Visit};
use crate::{
    freshness::Freshness,
    problem::Problem,
    rest::json_objects,
    sql::{SqlRequest, run_sql},
};

/// The rows of a query, with the query itself.
#[derive(Debug, Clone)]
pub(super) struct Sheet {
    pub(super) sql: String,
    /// Name and whether it holds numbers.
    pub(super) columns: Vec<(String, bool)>,
    pub(super) rows: Vec<Value>,
    pub(super) truncated: bool,
    pub(super) freshness: Freshness,
}

impl Sheet {
    /// A cell as number.
    pub(super) fn number(&self, row: usize, column: &str) -> Option<f64> {
        self.rows.get(row)?.get(column)?.as_f64()
    }
}

/// A member of a row as text; empty when NULL.
pub(super) fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A member of a row as number.
pub(super) fn number(row: &Value, name: &str) -> Option<f64> {
    row.get(name).and_then(Value::as_f64)
}

/// The entities with the highest of a score that a page shows.
pub(super) struct Highest {
    pub(super) kind: EntityKind,
    pub(super) score: &'static str,
    /// Further conditions on columns that need no explanation, each with its ` AND `.
    pub(super) filter: String,
    /// Words are searched for, which names have to be read for.
    pub(super) searched: bool,
}

/// An answer, when its query was begun, and when it ended.
struct Answer {
    began: Instant,
    ended: Instant,
    sheet: Arc<Sheet>,
}

type Place = Arc<tokio::sync::Mutex<Option<Answer>>>;

/// A dear answer serves so many times as long as it took: however many look, it costs at most a fifth of a core.
const TIMES_AS_LONG: u32 = 4;

/// Answers of the last moment, by what the asker sees and query. Who asks while the same is being computed waits for that.
pub(super) struct Answers {
    fresh: Duration,
    most: usize,
    places: Mutex<HashMap<(String, String, usize), Place>>,
    /// By tenant, when pages were last told that something changed.
    changed: Mutex<HashMap<String, Instant>>,
}

impl Answers {
    /// Answers that serve so long, at most so many.
    pub(super) fn new(fresh_ms: u64, most: usize) -> Self {
        Self {
            fresh: Duration::from_millis(fresh_ms),
            most: most.max(1),
            places: Mutex::default(),
            changed: Mutex::default(),
        }
    }

    /// Answers begun before an instant do not know of a change that pages are told of: they serve no more.
    pub(super) fn changed(&self, tenant_id: &str, at: Instant) {
        let mut changed = self.changed.lock();
        let last = changed.entry(tenant_id.to_owned()).or_insert(at);
        *last = (*last).max(at);
    }

    /// Whether an answer may serve still. One that took longer than answers serve is not made again for each change.
    fn serves(&self, tenant_id: &str, answer: &Answer) -> bool {
        let took = answer.ended - answer.began;
        if took > self.fresh {
            return answer.ended.elapsed() < took * TIMES_AS_LONG;
        }
        let overtaken = || {
            let changed = self.changed.lock();
            changed.get(tenant_id).is_some_and(|at| *at >= answer.began)
        };
        answer.ended.elapsed() < self.fresh && !overtaken()
    }

    fn place(&self, view: &str, sql: &str, rows: usize) -> Place {
        let mut places = self.places.lock();
        if places.len() >= self.most {
            // Those in use stay: someone else holds them.
            places.retain(|_, place| {
                Arc::strong_count(place) > 1
                    || place.try_lock().is_ok_and(|kept| {
                        kept.as_ref().is_some_and(|kept| {
                            let took = kept.ended - kept.began;
                            kept.ended.elapsed() < self.fresh.max(took * TIMES_AS_LONG)
                        })
                    })
            });
        }
        if places.len() >= self.most {
            return Place::default();
        }
        let key = (view.to_owned(), sql.to_owned(), rows);
        Arc::clone(places.entry(key).or_default())
    }
}

impl Visit {
    /// Runs a query for a page, cut after the rows a page shows.
    ///
    /// # Errors
    /// What stopped the query.
    pub(super) async fn ask(&self, sql: impl Into<String>) -> Result<Arc<Sheet>, Problem> {
        self.ask_rows(sql.into(), self.api.settings.sql.max_rows.min(5_000))
            .await
    }

    /// Runs a query, cut after some rows.
    ///
    /// # Errors
    /// What stopped the query.
    pub(super) async fn ask_rows(&self, sql: String, limit: usize) -> Result<Arc<Sheet>, Problem> {
        /// A page waits for a free place among the queries so long before it gives up.
        const WAIT: Duration = Duration::from_secs(3);
        self.shared(&self.api.web.answers, sql, limit, WAIT, None).await
    }

    /// Entities with the highest of a score, explained: first which they are, then what explains those alone. The answer
    /// is that of the whole query, which it names. `sql` is given a further condition.
    ///
    /// # Errors
    /// What stopped the queries.
    pub(super) async fn ask_highest(
        &self,
        wanted: &Highest,
        sql: impl Fn(&str) -> String,
    ) -> Result<Arc<Sheet>, Problem> {
        /// Times the rows of a page: further keys decide among the equal ones at its end.
        const AMONG: usize = 10;
        let (rows, whole) = (self.api.settings.web.page_rows, sql(""));
        if self.as_of.is_some() || wanted.searched {
            return self.ask_rows(whole, rows).await;
        }
        let first = format!(
            "SELECT entity_id, value FROM {} WHERE entity_kind = '{}' AND score = '{}'{} \
             ORDER BY value DESC NULLS LAST, entity_id LIMIT {}",
            self.scores(),
            wanted.kind.as_str(),
            wanted.score,
            wanted.filter,
            rows * AMONG
        );
        let first = self.ask_rows(first, rows * AMONG).await?;
        let least = first.number(rows.saturating_sub(1), "value");
        let chosen = first
            .rows
            .iter()
            .enumerate()
            .filter(|(at, row)| *at < rows || (least.is_some() && number(row, "value") >= least))
            .map(|(_, row)| quoted(text(row, "entity_id")));
        let chosen: Vec<String> = chosen.collect();
        if chosen.is_empty() {
            return self.ask_rows(whole, rows).await;
        }
        let found = self
            .ask_rows(sql(&format!(" AND entity_id IN ({})", chosen.join(", "))), rows)
            .await?;
        Ok(Arc::new(Sheet {
            sql: whole,
            ..Sheet::clone(&found)
        }))
    }

    async fn shared(
        &self,
        answers: &Answers,
        sql: String,
        limit: usize,
        wait: Duration,
        timeout_ms: Option<u64>,
    ) -> Result<Arc<Sheet>, Problem> {
        let view = &self.api.sight(&self.session.caller).view;
        let place = answers.place(view, &sql, limit);
        let mut kept = place.lock().await;
        if let Some(answer) = &*kept
            && answers.serves(self.tenant(), answer)
        {
            return Ok(Arc::clone(&answer.sheet));
        }
        let began = Instant::now();
        let sheet = Arc::new(self.run(sql, limit, wait, timeout_ms).await?);
        *kept = Some(Answer {
            began,
            ended: Instant::now(),
            sheet: Arc::clone(&sheet),
        });
        Ok(sheet)
    }

    /// Runs a query about named instants of the past, whose answer stays true: it serves for `past_ms`.
    ///
    /// # Errors
    /// What stopped the query.
    pub(super) async fn ask_past(&self, sql: String) -> Result<Arc<Sheet>, Problem> {
        /// It comes after its page stands, so it may wait for the page's own queries and for other parts.
        const WAIT: Duration = Duration::from_secs(20);
        let answers = &self.api.web.past_answers;
        let most = self.api.settings.sql.max_rows.min(5_000);
        // A dozen forecasts of the past in one query take longer than a page may.
        let timeout_ms = Some(self.api.settings.sql.max_timeout_ms);
        self.shared(answers, sql, most, WAIT, timeout_ms).await
    }

    async fn run(
        &self,
        sql: String,
        limit: usize,
        wait: Duration,
        timeout_ms: Option<u64>,
    ) -> Result<Sheet, Problem> {
        let began = Instant::now();
        let answer = loop {
            let request = SqlRequest {
                sql: sql.clone(),
                limit_rows: Some(limit),
                timeout_ms,
                ..SqlRequest::default()
            };
            match run_sql(&self.api, &self.session.caller, request).await {
                Err(error) if error.code == "too_many_queries" && began.elapsed() < wait => {
                    sleep(Duration::from_millis(20)).await;
                }
                other => break other?,
            }
        };
        let is_number = |kind: &DataType| kind.is_numeric();
        let fields = answer.schema.fields().iter();
        let columns = fields
            .map(|field| (field.name().clone(), is_number(field.data_type())))
            .collect();
        Ok(Sheet {
            sql,
            columns,
            rows: json_objects(&answer.batches)?,
            truncated: answer.truncated,
            freshness: answer.freshness,
        })
    }
}
