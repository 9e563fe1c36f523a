//! `forecast_as_of(at, period, team_of, currency)`: what each method says of a period; `forecast_rows_as_of`: its addends;
//! `forecast_by_node`: its forecast of each team and person; `forecast_accuracy`: how good each method was before, by team
//! and person.

use std::{fmt, sync::Arc};

use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::{Result, plan_err},
    logical_expr::Expr,
};
use revgauge_contract::{
    Timestamp,
    error::Failure,
    forecast::{Forecast, ForecastNode, ForecastQuestion, ForecastService, Quantile},
};
use serde_json::{Value, json};

use super::{
    as_of_functions::{instant_of, walled},
    change_function::text,
    forecast_columns::{ACCURACY, METHODS, NODES, ROWS},
    object_table::ObjectTable,
};
use crate::access::Sight;

/// Which rows a function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// A row a method.
    Methods,
    /// A row an addend.
    Rows,
    /// A row a node.
    Nodes,
    /// A row a node, elapsed share and method.
    Accuracy,
}

/// One of the four functions, bound to its session's tenant.
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
            Self::Nodes => "forecast_by_node",
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
            Self::Nodes => {
                let found = forecasts.by_node(tenant_id, question).await?;
                found.iter().map(node_record).collect()
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

/// The value at a probability, where it was asked for.
fn quantile_at(quantiles: &[Quantile], probability: f64) -> Option<f64> {
    quantiles
        .iter()
        .find(|quantile| (quantile.probability - probability).abs() < 1e-9)
        .map(|quantile| quantile.value)
}

fn node_record(node: &ForecastNode) -> Value {
    let at = |probability: f64| quantile_at(&node.quantiles, probability);
    let mut record = serde_json::to_value(node).unwrap_or_default();
    record["p10"] = json!(at(0.1));
    record["p50"] = json!(at(0.5));
    record["p90"] = json!(at(0.9));
    record
}

fn method_records(forecast: &Forecast) -> Vec<Value> {
    let at = |probability: f64| quantile_at(&forecast.quantiles, probability);
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
            Shown::Nodes => NODES,
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
