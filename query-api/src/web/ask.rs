//! How a page gets its rows: one query each, shared for a moment by all who ask the same; while a new answer is being made,
//! a page that fetches itself again shows the one from before and says so (ADR 082).

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use datafusion::arrow::datatypes::DataType;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

use revgauge_contract::Timestamp;

use super::{statement::Statement, visit::Visit};
use crate::{
    freshness::Freshness,
    problem::Problem,
    rest::json_objects,
    sql::{SqlRequest, run_sql},
};

/// The rows of a query, with the query itself.
#[derive(Debug, Clone)]
pub(super) struct Sheet {
    pub(super) sql: Statement,
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

/// An answer that is kept.
#[derive(Debug, Clone)]
struct Kept {
    /// When its query was begun: it holds what was known then.
    at: Timestamp,
    began: Instant,
    took: Duration,
    sheet: Arc<Sheet>,
}

/// Where the answer to one query is kept, and the turn to make it.
#[derive(Debug, Default)]
struct Place {
    kept: Mutex<Option<Kept>>,
    turn: tokio::sync::Mutex<()>,
}

impl Place {
    fn kept(&self) -> Option<Kept> {
        self.kept.lock().clone()
    }
}

/// A dear answer serves so many times as long as it took: however many look, it costs at most a fifth of a core.
const TIMES_AS_LONG: u32 = 4;

/// A page waits so long, in all, for new answers where it has some from before.
const PATIENCE: Duration = Duration::from_millis(40);

/// Answers of the last moment, by what the asker sees and query.
pub(super) struct Answers {
    fresh: Duration,
    stale: Duration,
    most: usize,
    /// New answers in the place of ones that are shown meanwhile are made one after the other, and half as long as each took
    /// is left to everything else: however many pages are open, renewing them takes no more than two thirds of the time.
    renewals: Arc<Semaphore>,
    places: Mutex<HashMap<(String, String, usize), Arc<Place>>>,
}

/// What a page does about the answer that is kept for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// Shows it.
    Serve,
    /// Has a new one made, and shows this one when that takes too long.
    Renew,
    /// Waits for a new one.
    Wait,
}

impl Answers {
    /// Answers that serve for `fresh_ms`, are shown for `stale_ms` while new ones are made, and are at most so many.
    pub(super) fn new(fresh_ms: u64, stale_ms: u64, most: usize) -> Self {
        Self {
            fresh: Duration::from_millis(fresh_ms),
            stale: Duration::from_millis(stale_ms),
            most: most.max(1),
            renewals: Arc::new(Semaphore::new(1)),
            places: Mutex::default(),
        }
    }

    fn place(&self, view: &str, sql: &str, rows: usize) -> Arc<Place> {
        let key = (view.to_owned(), sql.to_owned(), rows);
        let mut places = self.places.lock();
        if let Some(place) = places.get(&key) {
            return Arc::clone(place);
        }
        if places.len() >= self.most {
            // Those in use stay: someone else holds them.
            places.retain(|_, place| {
                Arc::strong_count(place) > 1
                    || place
                        .kept()
                        .is_some_and(|kept| kept.began.elapsed() < self.life(&kept))
            });
        }
        if places.len() >= self.most {
            return Arc::default();
        }
        Arc::clone(places.entry(key).or_default())
    }

    /// From its beginning, how long an answer serves: longer when it is dear.
    fn life(&self, kept: &Kept) -> Duration {
        self.fresh.max(kept.took * (TIMES_AS_LONG + 1))
    }

    /// `since` is the instant of a change that the page was told of: it waits for an answer from after that, unless the
    /// answer is a dear one, which is not made again for each change.
    /// Only a page that is live, and so fetches the new answer by itself, may be left with one from before.
    fn use_of(&self, kept: &Kept, since: Option<Timestamp>, live: bool) -> Use {
        let (age, dear) = (kept.began.elapsed(), kept.took > self.fresh);
        let overtaken = since.is_some_and(|since| kept.at < since);
        if age < self.life(kept) && (dear || !overtaken) {
            Use::Serve
        } else if live && age < self.stale && (dear || !overtaken) {
            Use::Renew
        } else {
            Use::Wait
        }
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
        let answers = &self.api.web.answers;
        let place = answers.place(&self.api.sight(&self.session.caller).view, &sql, limit);
        let use_of = |kept: &Kept| answers.use_of(kept, self.since, self.is_live());
        let done = match place.kept().map(|before| (use_of(&before), before)) {
            Some((Use::Serve, before)) => before,
            Some((Use::Renew, before)) => {
                let visit = self.clone();
                // It goes on when the page does not wait for its end.
                let work = tokio::spawn(async move {
                    // Before the turn: who waits for a new answer does not stand behind other answers' renewals.
                    let answers = &visit.api.web.answers;
                    let Ok(only) = Arc::clone(&answers.renewals).acquire_owned().await else {
                        return Ok(None);
                    };
                    // Somebody is at it, or was meanwhile: this page shows what there is.
                    let Ok(_turn) = place.turn.try_lock() else {
                        return Ok(None);
                    };
                    let now = place.kept();
                    if let Some(now) =
                        now.filter(|kept| answers.use_of(kept, visit.since, true) == Use::Serve)
                    {
                        return Ok(Some(now));
                    }
                    let began = Instant::now();
                    let done = visit.compute(&place, sql, limit, WAIT, None).await;
                    tokio::spawn(async move {
                        sleep(began.elapsed() / 2).await;
                        drop(only);
                    });
                    done.map(Some)
                });
                let patience = PATIENCE.saturating_sub(self.began.elapsed());
                match tokio::time::timeout(patience, work).await {
                    Ok(Ok(done)) => done?.unwrap_or(before),
                    _ => before,
                }
            }
            Some((Use::Wait, _)) | None => {
                let _turn = place.turn.lock().await;
                // Somebody may have made it meanwhile.
                match place.kept().filter(|kept| use_of(kept) == Use::Serve) {
                    Some(kept) => kept,
                    None => self.compute(&place, sql, limit, WAIT, None).await?,
                }
            }
        };
        self.oldest.fetch_min(done.at.micros(), Ordering::Relaxed);
        Ok(done.sheet)
    }

    /// Of when the oldest answer on the page is.
    pub(super) fn oldest(&self) -> Option<Timestamp> {
        let oldest = self.oldest.load(Ordering::Relaxed);
        (oldest != i64::MAX).then_some(Timestamp(oldest))
    }

    /// From when on answers have to be for which the page asks again; none when it shows nothing that is older than answers
    /// serve.
    pub(super) fn again(&self) -> Option<Timestamp> {
        let fresh_us =
            i64::try_from(self.api.settings.web.fresh_ms).map_or(i64::MAX, |ms| ms.saturating_mul(1_000));
        let oldest = self.oldest()?;
        match self.since {
            Some(since) => (oldest < since).then_some(since),
            None => (oldest.micros() < self.now.micros().saturating_sub(fresh_us)).then_some(self.now),
        }
    }

    async fn compute(
        &self,
        place: &Place,
        sql: String,
        limit: usize,
        wait: Duration,
        timeout_ms: Option<u64>,
    ) -> Result<Kept, Problem> {
        let (began, at) = (Instant::now(), self.api.clock.now());
        let sheet = Arc::new(self.run(sql, limit, wait, timeout_ms).await?);
        let kept = Kept {
            at,
            began,
            took: began.elapsed(),
            sheet,
        };
        *place.kept.lock() = Some(kept.clone());
        Ok(kept)
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
        let place = answers.place(&self.api.sight(&self.session.caller).view, &sql, most);
        let _turn = place.turn.lock().await;
        let kept = place
            .kept()
            .filter(|kept| answers.use_of(kept, None, false) == Use::Serve);
        Ok(match kept {
            Some(kept) => kept.sheet,
            None => self.compute(&place, sql, most, WAIT, timeout_ms).await?.sheet,
        })
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
            sql: Statement::new(sql),
            columns,
            rows: json_objects(&answer.batches)?,
            truncated: answer.truncated,
            freshness: answer.freshness,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn kept(at: i64, age_ms: u64, took_ms: u64) -> Kept {
        let age = Duration::from_millis(age_ms);
        Kept {
            at: Timestamp(at),
            began: Instant::now()
                .checked_sub(age)
                .expect("the machine runs longer than that"),
            took: Duration::from_millis(took_ms),
            sheet: Arc::new(Sheet {
                sql: Statement::new(""),
                columns: Vec::new(),
                rows: Vec::new(),
                truncated: false,
                freshness: Freshness::of("acme", Timestamp(at), BTreeMap::new()),
            }),
        }
    }

    #[test]
    fn cheap_answers_are_made_again_soon_and_dear_ones_rest_for_longer() {
        let answers = Answers::new(500, 60_000, 8);
        let (cheap, dear) = (5, 2_000);
        for (age_ms, took_ms, since, wanted) in [
            (300, cheap, None, Use::Serve),
            (700, cheap, None, Use::Renew),
            (59_000, cheap, None, Use::Renew),
            (61_000, cheap, None, Use::Wait),
            (9_000, dear, None, Use::Serve),
            (11_000, dear, None, Use::Renew),
            (61_000, dear, None, Use::Wait),
            // A page that was told of a change gets an answer from after it, but for a dear one.
            (300, cheap, Some(11), Use::Wait),
            (300, cheap, Some(10), Use::Serve),
            (700, cheap, Some(10), Use::Renew),
            (9_000, dear, Some(11), Use::Serve),
            (11_000, dear, Some(11), Use::Renew),
        ] {
            let (kept, since) = (kept(10, age_ms, took_ms), since.map(Timestamp));
            assert_eq!(
                answers.use_of(&kept, since, true),
                wanted,
                "{age_ms} {took_ms} {since:?}"
            );
            // What nobody fetches again, a file or a query of one's own, is never from before.
            let still = if wanted == Use::Renew { Use::Wait } else { wanted };
            assert_eq!(
                answers.use_of(&kept, since, false),
                still,
                "{age_ms} {took_ms} {since:?}"
            );
        }
    }

    #[test]
    fn no_more_answers_are_kept_than_there_is_room_for() {
        let answers = Answers::new(500, 60_000, 2);
        for sql in ["one", "two"] {
            *answers.place("all", sql, 1).kept.lock() = Some(kept(10, 100, 5));
        }
        // Both are young: the third has no place.
        *answers.place("all", "three", 1).kept.lock() = Some(kept(10, 100, 5));
        assert!(answers.place("all", "three", 1).kept().is_none());
        *answers.place("all", "one", 1).kept.lock() = Some(kept(10, 700, 5));
        *answers.place("all", "three", 1).kept.lock() = Some(kept(10, 100, 5));
        assert!(answers.place("all", "three", 1).kept().is_some());
        assert!(answers.place("all", "two", 1).kept().is_some());
        assert!(
            answers.place("all rows", "two", 1).kept().is_none(),
            "of another view"
        );
    }
}
