//! `attribution(model, start, end, as_of)`: which kinds of touch earned what was won, a row a kind and currency.

use std::{fmt, sync::Arc};

use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::{Result, plan_err},
    logical_expr::Expr,
};
use revgauge_contract::{
    Timestamp,
    error::Failure,
    reports::{AttributedCredit, AttributionModel, ReportService},
};
use serde_json::{Value, json};

use super::{
    as_of_functions::{instant_of, walled},
    change_function::text,
    object_table::{Column, ObjectTable, Reading, column},
};
use crate::access::Sight;

/// Columns of `attribution`.
pub(super) const CREDITS: &[Column] = &[
    column(
        "type",
        Reading::Text,
        &["type"],
        "kind of touch: an event type, or other for the rarest",
        "",
    ),
    column(
        "currency",
        Reading::Text,
        &["currency"],
        "currency of the amount",
        "ISO 4217",
    ),
    column(
        "touched_deals",
        Reading::Number,
        &["touched_deals"],
        "won deals whose account had such a touch before the close",
        "deals",
    ),
    column(
        "deals",
        Reading::Number,
        &["deals"],
        "share of won deals credited; sums to the won deals with a touch",
        "deals",
    ),
    column(
        "attributed",
        Reading::Number,
        &["attributed"],
        "amount credited; sums to what the won deals with a touch were worth",
        "currency",
    ),
];

/// The function, bound to its session's tenant.
pub(super) struct AttributionFunction {
    pub(super) reports: Arc<dyn ReportService>,
    pub(super) sight: Arc<Sight>,
    pub(super) now: Timestamp,
}

impl fmt::Debug for AttributionFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttributionFunction")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Question {
    model: AttributionModel,
    period: Option<(Timestamp, Timestamp)>,
    /// Absent for this very moment.
    as_of: Option<Timestamp>,
}

fn record_of(credit: &AttributedCredit) -> Value {
    json!({
        "type": credit.kind, "currency": credit.currency, "touched_deals": credit.touched_deals,
        "deals": credit.deals, "attributed": credit.amount,
    })
}

impl TableFunctionImpl for AttributionFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let question = question_of(args.exprs(), self.now)?;
        let (reports, tenant_id) = (Arc::clone(&self.reports), Arc::clone(self.sight.tenant_id()));
        let table = ObjectTable {
            name: "attribution",
            tenant_id: Arc::clone(self.sight.tenant_id()),
            columns: CREDITS.into(),
            fetch: Arc::new(move || {
                let (reports, tenant_id) = (Arc::clone(&reports), Arc::clone(&tenant_id));
                Box::pin(async move {
                    let credits = reports
                        .attribution(&tenant_id, question.model, question.period, question.as_of)
                        .await?;
                    Ok::<_, Failure>(credits.iter().map(record_of).collect())
                })
            }),
        };
        walled("attribution", &self.sight, Arc::new(table))
    }
}

fn question_of(args: &[Expr], now: Timestamp) -> Result<Question> {
    let models = AttributionModel::ALL.map(AttributionModel::as_str).join(", ");
    let usage = format!(
        "attribution takes a model ({models}), then the period in which the deals closed and the instant of knowledge, \
         such as attribution('markov', '2026-01-01', '2026-04-01', '2026-04-02')"
    );
    let mut values = Vec::new();
    for arg in args {
        let Expr::Literal(value, _) = arg else {
            return plan_err!("{usage}");
        };
        values.push(value);
    }
    if !(1..=4).contains(&values.len()) {
        return plan_err!("{usage}");
    }
    let instant = |place: usize| match values.get(place).filter(|value| !value.is_null()) {
        Some(value) => instant_of(value).map(Some).ok_or(()),
        None => Ok(None),
    };
    let model = text(values[0]).and_then(AttributionModel::named);
    let (Some(model), Ok(start), Ok(end), Ok(as_of)) = (model, instant(1), instant(2), instant(3)) else {
        return plan_err!("{usage}");
    };
    if let Some(as_of) = as_of.filter(|as_of| *as_of > now) {
        return plan_err!("attribution cannot answer for {as_of}, which is still to come");
    }
    // The clock goes on while the query runs: `now()` is not the past.
    let as_of = as_of.filter(|as_of| *as_of < now);
    let period = match (start, end) {
        (None, None) => None,
        (start, end) => Some((
            start.unwrap_or(Timestamp(i64::MIN)),
            end.unwrap_or(Timestamp(i64::MAX)),
        )),
    };
    Ok(Question { model, period, as_of })
}
