//! The semantic layer: named metrics, what they mean, and the SQL of a question about one.
//!
//! A semi-additive metric is what there is at an instant. It can be asked as of any instant, and is refused over a period:
//! the pipeline of thirty days is not thirty pipelines (N-20).

use std::{collections::BTreeMap, fmt::Write as _};

use revgauge_contract::{
    Classified, ErrorKind, Timestamp,
    reports::{Additivity, ColumnFormat},
};
use serde::{Deserialize, Serialize};

use crate::{problem::Problem, sql::nearest};

const SHIPPED: &str = include_str!("../metrics.toml");

/// Tables that can be read as of an instant, and by which function.
const AS_OF: [(&str, &str); 2] = [("deals", "pipeline_as_of"), ("scores", "scores_as_of")];

/// One metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Stable name.
    pub name: String,
    /// For people.
    pub title: String,
    /// What it says.
    pub description: String,
    /// Table it is read from.
    pub from: String,
    /// Which rows count; `{as_of}` is the instant of the question.
    #[serde(rename = "where", default = "everything")]
    pub filter: String,
    /// The aggregate, in SQL.
    pub value: String,
    /// What one counted row is.
    pub grain: String,
    /// Over what it may be summed.
    pub additivity: Additivity,
    /// How it is shown.
    pub format: ColumnFormat,
    /// Instant that places a row in a period; a metric without one is asked as of an instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Dimensions always kept apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub split: Vec<String>,
    /// Dimensions it may be broken down by.
    pub by: Vec<String>,
}

fn everything() -> String {
    "true".to_owned()
}

/// What is wrong with the file of metrics.
#[derive(Debug, thiserror::Error)]
#[error("cannot use metrics.toml: {0}")]
pub struct MetricsError(String);

impl Classified for MetricsError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Internal
    }
}

/// Which rows of a metric are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricQuestion {
    /// Break it down by these.
    pub by: Vec<String>,
    /// One row a period: `day`, `week`, `month`, `quarter` or `year`.
    pub every: Option<String>,
    /// Start of the time that counts, included.
    pub from: Option<Timestamp>,
    /// End of it, excluded.
    pub to: Option<Timestamp>,
    /// As known and as it was at this instant.
    pub as_of: Option<Timestamp>,
}

/// Periods a flow can be told in.
pub const PERIODS: [&str; 5] = ["day", "week", "month", "quarter", "year"];

/// All metrics, by name.
#[derive(Debug, Clone, Default)]
pub struct Metrics(BTreeMap<String, Metric>);

impl Metrics {
    /// The metrics that ship.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn shipped() -> Result<Self, MetricsError> {
        Self::read(SHIPPED)
    }

    fn read(text: &str) -> Result<Self, MetricsError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct File {
            metric: Vec<Metric>,
        }
        let file: File = toml::from_str(text).map_err(|error| MetricsError(error.to_string()))?;
        let mut metrics = BTreeMap::new();
        for metric in file.metric {
            check(&metric).map_err(|fault| MetricsError(format!("metric '{}': {fault}", metric.name)))?;
            if let Some(twice) = metrics.insert(metric.name.clone(), metric) {
                return Err(MetricsError(format!("metric '{}' is there twice", twice.name)));
            }
        }
        Ok(Self(metrics))
    }

    /// All, by name.
    pub fn all(&self) -> impl ExactSizeIterator<Item = &Metric> {
        self.0.values()
    }

    /// One.
    ///
    /// # Errors
    /// `unknown_metric`, with the nearest name.
    pub fn get(&self, name: &str) -> Result<&Metric, Problem> {
        self.0.get(name).ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            let problem = Problem::new(
                axum::http::StatusCode::NOT_FOUND,
                "unknown_metric",
                format!("no metric '{shown}'"),
            );
            let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
            match nearest(name, &names) {
                Some(near) => problem.hint(format!("did you mean '{near}'? /v1/metrics lists all")),
                None => problem.hint("/v1/metrics lists all"),
            }
        })
    }
}

fn check(metric: &Metric) -> Result<(), String> {
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|letter| letter.is_ascii_lowercase() || letter == b'_' || letter.is_ascii_digit())
    };
    let names = [&metric.name, &metric.from];
    let columns = metric.by.iter().chain(&metric.split).chain(&metric.time);
    for name in names.into_iter().chain(columns) {
        if !plain(name) {
            return Err(format!("'{name}' is not a plain name"));
        }
    }
    match (metric.additivity, &metric.time) {
        (Additivity::Additive, None) => Err("an additive metric needs a time".to_owned()),
        (Additivity::SemiAdditive, Some(_)) => {
            Err("a semi-additive metric is of an instant and has no time".to_owned())
        }
        _ => Ok(()),
    }
}

fn instant(at: Timestamp) -> String {
    at.to_datetime()
        .format("TIMESTAMP '%Y-%m-%dT%H:%M:%S%.6f'")
        .to_string()
}

impl Metric {
    /// The query of a question; `now` is the instant when none is given.
    ///
    /// # Errors
    /// `semi_additive` for a stock over a period, `bad_parameter` for dimensions and periods it does not have.
    pub fn sql(&self, question: &MetricQuestion, now: Timestamp) -> Result<String, Problem> {
        let over_time = question.every.is_some() || question.from.is_some() || question.to.is_some();
        if over_time && self.time.is_none() {
            let problem = Problem::bad(
                "semi_additive",
                format!(
                    "'{}' is what there is at an instant: over a period it would be counted again and again",
                    self.name
                ),
            );
            return Err(problem.hint("ask for it as_of an instant, once for each instant you want to see"));
        }
        let table = self.table(question.as_of)?;
        let mut columns = Vec::new();
        if let Some(every) = &question.every {
            if !PERIODS.contains(&every.as_str()) {
                return Err(Problem::bad("bad_parameter", format!("no period '{every}'"))
                    .hint(format!("every is one of {}", PERIODS.join(", "))));
            }
            let time = self.time.as_deref().unwrap_or_default();
            columns.push((format!("date_trunc('{every}', {time})"), every.clone()));
        }
        for dimension in &question.by {
            let known = self.by.contains(dimension) || self.split.contains(dimension);
            if !known {
                let shown: String = dimension.chars().take(64).collect();
                return Err(Problem::bad(
                    "bad_parameter",
                    format!("'{}' is not broken down by '{shown}'", self.name),
                )
                .hint(format!("dimensions: {}", self.dimensions().join(", "))));
            }
            columns.push((dimension.clone(), dimension.clone()));
        }
        for dimension in self.split.iter().filter(|split| !question.by.contains(split)) {
            columns.push((dimension.clone(), dimension.clone()));
        }
        let mut filter = format!(
            "({})",
            self.filter
                .replace("{as_of}", &instant(question.as_of.unwrap_or(now)))
        );
        if let Some(time) = &self.time {
            for (bound, sign) in [(question.from, ">="), (question.to, "<")] {
                if let Some(bound) = bound {
                    let _ = write!(filter, " AND {time} {sign} {}", instant(bound));
                }
            }
        }
        let mut sql = "SELECT ".to_owned();
        for (expression, name) in &columns {
            let _ = write!(sql, "{expression} AS {name}, ");
        }
        let _ = write!(sql, "{} AS value FROM {table} WHERE {filter}", self.value);
        if !columns.is_empty() {
            let places: Vec<String> = (1..=columns.len()).map(|place| place.to_string()).collect();
            let places = places.join(", ");
            let _ = write!(sql, " GROUP BY {places} ORDER BY {places}");
        }
        Ok(sql)
    }

    /// The view `metric_<name>`: as of now, by every dimension; a flow by month too.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> Option<String> {
        let question = MetricQuestion {
            by: self.by.clone(),
            every: self.time.is_some().then(|| "month".to_owned()),
            ..MetricQuestion::default()
        };
        self.sql(&question, now).ok()
    }

    /// Everything it can be broken down by.
    #[must_use]
    pub fn dimensions(&self) -> Vec<&str> {
        self.by.iter().chain(&self.split).map(String::as_str).collect()
    }

    fn table(&self, as_of: Option<Timestamp>) -> Result<String, Problem> {
        let Some(at) = as_of else {
            return Ok(self.from.clone());
        };
        let function = AS_OF.iter().find(|(table, _)| *table == self.from);
        let (_, function) = function.ok_or_else(|| {
            Problem::bad(
                "bad_parameter",
                format!("'{}' cannot be asked as of an instant", self.name),
            )
            .hint("metrics of deals and scores can; bound the others with from and to")
        })?;
        Ok(format!("{function}('{at}')"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_770_000_000_000_000);

    fn asked(name: &str, question: &MetricQuestion) -> Result<String, Problem> {
        Metrics::shipped().expect("valid").get(name)?.sql(question, NOW)
    }

    #[test]
    fn a_flow_is_told_by_period_and_a_stock_is_not() {
        let monthly = MetricQuestion {
            by: vec!["owner_id".to_owned()],
            every: Some("month".to_owned()),
            from: Some(Timestamp(0)),
            ..MetricQuestion::default()
        };
        assert_eq!(
            asked("won_amount", &monthly).expect("a flow"),
            "SELECT date_trunc('month', closed_at) AS month, owner_id AS owner_id, currency AS currency, sum(amount) AS \
             value FROM deals WHERE (status = 'won' AND closed_at IS NOT NULL) AND closed_at >= TIMESTAMP \
             '1970-01-01T00:00:00.000000' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        );
        assert_eq!(
            asked("open_pipeline", &monthly).expect_err("a stock").code,
            "semi_additive"
        );
        let then = MetricQuestion {
            as_of: Some(Timestamp(0)),
            ..MetricQuestion::default()
        };
        let sql = asked("open_pipeline", &then).expect("as of an instant");
        assert!(sql.contains("FROM pipeline_as_of('1970-01-01T00:00:00"), "{sql}");
    }

    #[test]
    fn what_it_does_not_have_is_named() {
        let by = |name: &str| MetricQuestion {
            by: vec![name.to_owned()],
            ..MetricQuestion::default()
        };
        let problem = asked("open_pipeline", &by("owner_id, (SELECT 1)")).expect_err("no such dimension");
        assert!(problem.hint.expect("a hint").contains("owner_id"));
        let every = MetricQuestion {
            every: Some("fortnight".to_owned()),
            ..MetricQuestion::default()
        };
        assert_eq!(
            asked("won_deals", &every).expect_err("no such period").code,
            "bad_parameter"
        );
        assert_eq!(
            asked("open_pipelin", &by("stage")).expect_err("unknown").code,
            "unknown_metric"
        );
    }

    #[test]
    fn faults_of_the_file_are_named() {
        let good = "[[metric]]\nname = 'a'\ntitle = 'A'\ndescription = ''\nfrom = 'deals'\nvalue = 'count(*)'\ngrain = \
                    'one deal'\nadditivity = 'semi_additive'\nformat = 'integer'\nby = ['stage']\n";
        assert_eq!(Metrics::read(good).expect("valid").all().len(), 1);
        for (from, to, fault) in [
            ("semi_additive", "additive", "needs a time"),
            ("by = ['stage']", "by = ['stage; drop']", "plain name"),
            (
                "by = ['stage']",
                "by = ['stage']\ntime = 'created_at'",
                "has no time",
            ),
            ("title", "titel", "titel"),
        ] {
            let said = Metrics::read(&good.replace(from, to))
                .expect_err(fault)
                .to_string();
            assert!(said.contains(fault), "{said}");
        }
        assert!(Metrics::read(&good.repeat(2)).is_err(), "twice");
    }
}
