//! `forecast_as_of(at, period, team_of, currency)`: what each method says of a period; `forecast_rows_as_of`: its addends;
//! `forecast_accuracy`: how good each method was before, by team and person.

use std::{fmt, sync::Arc};

use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::{Result, plan_err},
    logical_expr::Expr,
};
use revgauge_contract::{
    Timestamp,
    error::Failure,
    forecast::{Forecast, ForecastQuestion, ForecastService},
};
use serde_json::{Value, json};

use super::{
    as_of_functions::{instant_of, walled},
    change_function::text,
    object_table::{Column, ObjectTable, Reading, column},
};
use crate::access::Sight;

const CURRENCY: Column = column(
    "currency",
    Reading::Text,
    &["currency"],
    "currency of the amounts",
    "ISO 4217",
);
const PERIOD: Column = column("period", Reading::Text, &["period"], "name of the period", "");
const METHOD: Column = column(
    "method",
    Reading::Text,
    &["method"],
    "blend, or a method in it",
    "",
);
const WAPE: Column = column(
    "wape",
    Reading::Number,
    &["wape"],
    "absolute errors over actual revenue, at the same elapsed share of past periods",
    "share",
);
const BIAS: Column = column(
    "bias",
    Reading::Number,
    &["bias"],
    "forecast less actual over actual revenue there",
    "share",
);
const NOISE_FLOOR: Column = column(
    "noise_floor",
    Reading::Number,
    &["noise_floor"],
    "error that a forecast would have if its distribution were right",
    "share",
);

/// Columns of `forecast_as_of`.
pub(super) const METHODS: &[Column] = &[
    CURRENCY,
    PERIOD,
    column("period_start", Reading::Instant, &["start"], "its start", "UTC"),
    column(
        "period_end",
        Reading::Instant,
        &["end"],
        "its end, excluded",
        "UTC",
    ),
    column(
        "as_of",
        Reading::Instant,
        &["as_of"],
        "what was known then was used",
        "UTC",
    ),
    METHOD,
    column(
        "value",
        Reading::Number,
        &["value"],
        "revenue of the period by this method",
        "currency",
    ),
    column(
        "weight",
        Reading::Number,
        &["weight"],
        "share in the blend",
        "0-1",
    ),
    WAPE,
    BIAS,
    NOISE_FLOOR,
    column(
        "closed",
        Reading::Number,
        &["closed"],
        "won in the period so far",
        "currency",
    ),
    column("p10", Reading::Number, &["p10"], "10 % quantile", "currency"),
    column("p50", Reading::Number, &["p50"], "median", "currency"),
    column("p90", Reading::Number, &["p90"], "90 % quantile", "currency"),
    column(
        "commit",
        Reading::Number,
        &["commit"],
        "open with a close date in the period and category commit, single",
        "currency",
    ),
    column(
        "best_case",
        Reading::Number,
        &["best_case"],
        "as commit, category best case",
        "currency",
    ),
    column(
        "pipeline",
        Reading::Number,
        &["pipeline"],
        "as commit, category pipeline or none",
        "currency",
    ),
    column(
        "commit_cumulative",
        Reading::Number,
        &["commit_cumulative"],
        "closed and commit",
        "currency",
    ),
    column(
        "best_case_cumulative",
        Reading::Number,
        &["best_case_cumulative"],
        "closed, commit and best case",
        "currency",
    ),
    column(
        "quota",
        Reading::Number,
        &["quota"],
        "quota of the people asked about",
        "currency",
    ),
    column(
        "attainment",
        Reading::Number,
        &["attainment"],
        "closed over quota",
        "share",
    ),
    column(
        "attainment_probability",
        Reading::Number,
        &["attainment_probability"],
        "probability of reaching the quota",
        "0-1",
    ),
    column(
        "coverage",
        Reading::Number,
        &["coverage"],
        "open in the period over what of the quota is missing",
        "share",
    ),
    column(
        "pacing",
        Reading::Number,
        &["pacing"],
        "attainment over the share usually won by this time",
        "share",
    ),
    column(
        "submitted",
        Reading::Number,
        &["submitted"],
        "what the people asked about submitted as commit",
        "currency",
    ),
];

/// Columns of `forecast_accuracy`.
pub(super) const ACCURACY: &[Column] = &[
    CURRENCY,
    column("node", Reading::Text, &["node"], "a person; empty for all", ""),
    column(
        "node_kind",
        Reading::Text,
        &["node_kind"],
        "all, team or person",
        "",
    ),
    column(
        "elapsed",
        Reading::Number,
        &["elapsed"],
        "share of the period that had passed",
        "0-1",
    ),
    METHOD,
    column(
        "periods",
        Reading::Number,
        &["periods"],
        "past periods judged",
        "",
    ),
    column(
        "actual",
        Reading::Number,
        &["actual"],
        "revenue that came in them",
        "currency",
    ),
    WAPE,
    BIAS,
    column(
        "covered",
        Reading::Number,
        &["covered"],
        "periods inside the 80 % range given then",
        "",
    ),
    NOISE_FLOOR,
];

/// Columns of `forecast_rows_as_of`.
pub(super) const ROWS: &[Column] = &[
    CURRENCY,
    PERIOD,
    column(
        "kind",
        Reading::Text,
        &["kind"],
        "closed, open or not_yet_created",
        "",
    ),
    column("deal_id", Reading::Text, &["deal_id"], "which deal", ""),
    column("owner_id", Reading::Text, &["owner_id"], "its owner", ""),
    column("stage", Reading::Text, &["stage"], "its stage", ""),
    column(
        "category",
        Reading::Text,
        &["category"],
        "its forecast category",
        "",
    ),
    column("amount", Reading::Number, &["amount"], "its amount", "currency"),
    column(
        "probability",
        Reading::Number,
        &["probability"],
        "probability of being won within the period; for deals not yet created their expected number",
        "0-1",
    ),
    column(
        "contribution",
        Reading::Number,
        &["contribution"],
        "amount times probability; all rows of a currency sum to the hazard method's value",
        "currency",
    ),
    column(
        "expected_close",
        Reading::Instant,
        &["expected_close"],
        "of an open deal: median instant of being won, if it is won within 540 days",
        "UTC",
    ),
    column(
        "expected_close_p10",
        Reading::Instant,
        &["expected_close_p10"],
        "its 10 % quantile",
        "UTC",
    ),
    column(
        "expected_close_p90",
        Reading::Instant,
        &["expected_close_p90"],
        "its 90 % quantile",
        "UTC",
    ),
];

/// Which rows a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// A row a method.
    Methods,
    /// A row an addend.
    Rows,
    /// A row a node, elapsed share and method.
    Accuracy,
}

/// One of the three functions, bound to its session's tenant.
pub(super) struct ForecastFunction {
    pub(super) forecasts: Arc<dyn ForecastService>,
    pub(super) sight: Arc<Sight>,
    pub(super) now: Timestamp,
    pub(super) shown: Shown,
}

impl fmt::Debug for ForecastFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForecastFunction")
            .field("now", &self.now)
            .field("shown", &self.shown)
            .finish_non_exhaustive()
    }
}

impl Shown {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Methods => "forecast_as_of",
            Self::Rows => "forecast_rows_as_of",
            Self::Accuracy => "forecast_accuracy",
        }
    }

    async fn records(
        self,
        forecasts: &dyn ForecastService,
        tenant_id: &str,
        question: &ForecastQuestion,
    ) -> Result<Vec<Value>, Failure> {
        Ok(match self {
            Self::Methods => {
                let found = forecasts.forecast(tenant_id, question).await?;
                found.iter().flat_map(method_records).collect()
            }
            Self::Rows => {
                let found = forecasts.forecast(tenant_id, question).await?;
                found.iter().flat_map(row_records).collect()
            }
            Self::Accuracy => {
                let found = forecasts.accuracy(tenant_id, question).await?;
                found
                    .iter()
                    .map(|row| serde_json::to_value(row).unwrap_or_default())
                    .collect()
            }
        })
    }
}

fn method_records(forecast: &Forecast) -> Vec<Value> {
    let at = |probability: f64| {
        forecast
            .quantiles
            .iter()
            .find(|quantile| (quantile.probability - probability).abs() < 1e-9)
            .map(|quantile| quantile.value)
    };
    let standing = &forecast.standing;
    let record = |method: &str, value: f64, weight: f64, wape: Option<f64>, bias: Option<f64>| {
        json!({
            "currency": forecast.currency, "period": forecast.period, "start": forecast.start, "end": forecast.end,
            "as_of": forecast.as_of, "method": method, "value": value, "weight": weight, "wape": wape, "bias": bias,
            "noise_floor": forecast.noise_floor, "closed": forecast.closed, "p10": at(0.1), "p50": at(0.5),
            "p90": at(0.9), "commit": forecast.commit, "best_case": forecast.best_case, "pipeline": forecast.pipeline,
            "commit_cumulative": standing.commit_cumulative, "best_case_cumulative": standing.best_case_cumulative,
            "quota": standing.quota, "attainment": forecast.attainment,
            "attainment_probability": forecast.attainment_probability, "coverage": standing.coverage,
            "pacing": standing.pacing, "submitted": standing.submitted,
        })
    };
    let blend = record(
        "blend",
        forecast.blend,
        1.0,
        forecast.blend_wape,
        forecast.blend_bias,
    );
    let methods = forecast
        .methods
        .iter()
        .map(|one| record(&one.method, one.value, one.weight, one.wape, one.bias));
    std::iter::once(blend).chain(methods).collect()
}

fn row_records(forecast: &Forecast) -> Vec<Value> {
    let record = |row| {
        let mut record = serde_json::to_value(row).unwrap_or_default();
        record["currency"] = json!(forecast.currency);
        record["period"] = json!(forecast.period);
        record
    };
    forecast.rows.iter().map(record).collect()
}

impl TableFunctionImpl for ForecastFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let question = question_of(self.shown.name(), args.exprs(), self.now)?;
        let (forecasts, tenant_id, shown) = (
            Arc::clone(&self.forecasts),
            Arc::clone(self.sight.tenant_id()),
            self.shown,
        );
        let columns = match shown {
            Shown::Methods => METHODS,
            Shown::Rows => ROWS,
            Shown::Accuracy => ACCURACY,
        };
        let table = ObjectTable {
            name: shown.name(),
            tenant_id: Arc::clone(self.sight.tenant_id()),
            columns: columns.into(),
            fetch: Arc::new(move || {
                let (forecasts, tenant_id) = (Arc::clone(&forecasts), Arc::clone(&tenant_id));
                let question = question.clone();
                Box::pin(async move { shown.records(&*forecasts, &tenant_id, &question).await })
            }),
        };
        walled(shown.name(), &self.sight, Arc::new(table))
    }
}

fn question_of(name: &str, args: &[Expr], now: Timestamp) -> Result<ForecastQuestion> {
    let usage = || {
        format!(
            "{name} takes an instant or NULL for now, then a period, a manager and a currency, such as \
             {name}('2026-11-01', '2026-Q4', 'user-7', 'EUR')"
        )
    };
    let mut values = Vec::new();
    for arg in args {
        let Expr::Literal(value, _) = arg else {
            return plan_err!("{}", usage());
        };
        values.push(value);
    }
    if !(1..=4).contains(&values.len()) {
        return plan_err!("{}", usage());
    }
    let given = |place: usize| values.get(place).filter(|value| !value.is_null()).copied();
    let as_of = match given(0).map(instant_of) {
        Some(None) => return plan_err!("{}", usage()),
        given => given.flatten(),
    };
    if let Some(at) = as_of.filter(|at| *at > now) {
        return plan_err!("{name} cannot answer for {at}, which is still to come");
    }
    let mut texts = [None, None, None];
    for (place, held) in texts.iter_mut().enumerate() {
        *held = match given(place + 1).map(text) {
            None => None,
            Some(Some(text)) => Some(text.to_owned()),
            Some(None) => return plan_err!("{}", usage()),
        };
    }
    let [period, team_of, currency] = texts;
    Ok(ForecastQuestion {
        as_of,
        period,
        team_of,
        currency,
        ..ForecastQuestion::default()
    })
}
