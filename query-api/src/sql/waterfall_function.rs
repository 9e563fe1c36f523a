//! `waterfall(from, to, mode, period_start, period_end, team_of)`: what moved the pipeline, a row a deal and bar.

use std::{fmt, sync::Arc};

use datafusion::{
    catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider},
    common::{Result, ScalarValue, plan_err},
    logical_expr::Expr,
};
use revgauge_contract::{
    Timestamp,
    error::Failure,
    reports::{ReportService, WaterfallPart, WaterfallQuestion},
};
use serde_json::{Value, json};

use super::{
    as_of_functions::{instant_of, walled},
    change_function::text,
    object_table::{Column, ObjectTable, Reading, column},
};
use crate::access::Sight;

/// Columns of `waterfall`.
pub(super) const PARTS: &[Column] = &[
    column(
        "bucket",
        Reading::Text,
        &["bucket"],
        "bar: start, created, won, ..., end",
        "",
    ),
    column("deal_id", Reading::Text, &["deal_id"], "which deal", ""),
    column(
        "amount",
        Reading::Number,
        &["amount"],
        "signed amount; all but end sum to end within a currency",
        "currency",
    ),
    column(
        "currency",
        Reading::Text,
        &["currency"],
        "currency of the amount",
        "ISO 4217",
    ),
    column(
        "at",
        Reading::Instant,
        &["at"],
        "when it became known; the later instant for net",
        "UTC",
    ),
    column(
        "owner_id",
        Reading::Text,
        &["owner_id"],
        "owner after the move",
        "",
    ),
    column(
        "stage_from",
        Reading::Text,
        &["stage_from"],
        "stage before the move",
        "",
    ),
    column(
        "stage_to",
        Reading::Text,
        &["stage_to"],
        "stage after the move",
        "",
    ),
];

/// The function, bound to its session's tenant.
pub(super) struct WaterfallFunction {
    pub(super) reports: Arc<dyn ReportService>,
    pub(super) sight: Arc<Sight>,
    pub(super) now: Timestamp,
}

impl fmt::Debug for WaterfallFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaterfallFunction")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

/// A part as a record; hundredths become units.
pub(crate) fn record_of(part: &WaterfallPart) -> Value {
    json!({
        "bucket": part.bucket, "deal_id": part.deal_id, "amount": part.amount_cents as f64 / 100.0,
        "currency": part.currency, "group": part.group, "at": part.at, "owner_id": part.owner_id,
        "stage_from": part.stage_from, "stage_to": part.stage_to,
    })
}

impl TableFunctionImpl for WaterfallFunction {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let question = question_of(args.exprs(), self.now)?;
        let (reports, tenant_id) = (Arc::clone(&self.reports), Arc::clone(self.sight.tenant_id()));
        let table = ObjectTable {
            name: "waterfall",
            tenant_id: Arc::clone(self.sight.tenant_id()),
            columns: PARTS.into(),
            fetch: Arc::new(move || {
                let (reports, tenant_id) = (Arc::clone(&reports), Arc::clone(&tenant_id));
                let question = question.clone();
                Box::pin(async move {
                    let parts = reports.waterfall(&tenant_id, &question).await?;
                    Ok::<_, Failure>(parts.iter().map(record_of).collect())
                })
            }),
        };
        walled("waterfall", &self.sight, Arc::new(table))
    }
}

fn question_of(args: &[Expr], now: Timestamp) -> Result<WaterfallQuestion> {
    let usage = "waterfall takes two instants, then 'net' or 'gross', then the period of close dates and a manager, \
                 such as waterfall('2026-01-01', '2026-02-01', 'gross', '2026-01-01', '2026-04-01', 'user-7')";
    let mut values = Vec::new();
    for arg in args {
        let Expr::Literal(value, _) = arg else {
            return plan_err!("{usage}");
        };
        values.push(value);
    }
    if !(2..=6).contains(&values.len()) {
        return plan_err!("{usage}");
    }
    let given = |place: usize| values.get(place).filter(|value| !value.is_null()).copied();
    let (Some(from), Some(to)) = (given(0).and_then(instant_of), given(1).and_then(instant_of)) else {
        return plan_err!("{usage}");
    };
    if to > now {
        return plan_err!("waterfall cannot answer for {to}, which is still to come");
    }
    let gross = match given(2).map(text) {
        None | Some(Some("net")) => false,
        Some(Some("gross")) => true,
        Some(_) => return plan_err!("{usage}"),
    };
    let edge = |value: Option<&ScalarValue>| value.map(instant_of);
    let period = match (edge(given(3)), edge(given(4))) {
        (None, None) => None,
        (Some(Some(start)), Some(Some(end))) => Some((start, end)),
        _ => return plan_err!("{usage}"),
    };
    let team_of = match given(5).map(text) {
        None => None,
        Some(Some(head)) => Some(head.to_owned()),
        Some(None) => return plan_err!("{usage}"),
    };
    Ok(WaterfallQuestion {
        // The clock goes on while the query runs: `now()` is not the past.
        latest: to == now,
        gross,
        period,
        team_of,
        ..WaterfallQuestion::net(from, to)
    })
}
