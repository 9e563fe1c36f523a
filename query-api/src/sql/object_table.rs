//! Tables of JSON records, such as `deals` and the rows of `pipeline_as_of`: stable columns typed, everything else in
//! `fields`.

use std::{fmt, pin::Pin, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{
            ArrayRef, BooleanBuilder, Float64Builder, RecordBatch, StringViewBuilder,
            TimestampMicrosecondBuilder,
        },
        datatypes::{DataType, Field, Schema, SchemaRef},
    },
    catalog::{Session, TableProvider},
    common::Result,
    logical_expr::{Expr, TableType},
    physical_plan::ExecutionPlan,
};
use revgauge_contract::{error::Failure, schema::timestamp_type};
use serde_json::Value;

use super::{
    catalog::CatalogColumn,
    loaded_table::{Loading, loaded_plan},
};

/// How a field is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Text,
    Number,
    Flag,
    Instant,
}

/// A typed column read from a record: the first of its names that holds something, at the top of the record or in its
/// object `fields`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) reading: Reading,
    pub(super) from: &'static [&'static str],
    pub(super) description: &'static str,
    pub(super) unit: &'static str,
}

pub(super) const fn column(
    name: &'static str,
    reading: Reading,
    from: &'static [&'static str],
    description: &'static str,
    unit: &'static str,
) -> Column {
    Column {
        name,
        reading,
        from,
        description,
        unit,
    }
}

/// Columns of `contacts`.
pub(super) const CONTACTS: &[Column] = &[
    column(
        "contact_id",
        Reading::Text,
        &["contact_id", "id"],
        "canonical id, after merges",
        "",
    ),
    column("name", Reading::Text, &["name"], "full name", ""),
    column("email", Reading::Text, &["email"], "mail address", ""),
    column(
        "title",
        Reading::Text,
        &["title", "job_title", "jobtitle"],
        "job title",
        "",
    ),
    column(
        "account_id",
        Reading::Text,
        &["account_id"],
        "account it belongs to",
        "",
    ),
    column("owner_id", Reading::Text, &["owner_id"], "rep who owns it", ""),
    column("country", Reading::Text, &["country"], "country", ""),
    column(
        "provisional",
        Reading::Flag,
        &["provisional"],
        "known from events only, no CRM record",
        "",
    ),
];

/// Columns of `accounts`.
pub(super) const ACCOUNTS: &[Column] = &[
    column(
        "account_id",
        Reading::Text,
        &["account_id", "id"],
        "canonical id, after merges",
        "",
    ),
    column("name", Reading::Text, &["name"], "company name", ""),
    column("domain", Reading::Text, &["domain"], "registered domain", ""),
    column("industry", Reading::Text, &["industry"], "industry", ""),
    column(
        "employees",
        Reading::Number,
        &["employees", "number_of_employees", "numberofemployees"],
        "head count",
        "people",
    ),
    column(
        "annual_revenue",
        Reading::Number,
        &["annual_revenue", "annualrevenue"],
        "yearly revenue of the company",
        "",
    ),
    column("country", Reading::Text, &["country"], "country", ""),
    column("owner_id", Reading::Text, &["owner_id"], "rep who owns it", ""),
    column(
        "provisional",
        Reading::Flag,
        &["provisional"],
        "known from events only, no CRM record",
        "",
    ),
];

/// Columns of `deals`.
pub(super) const DEALS: &[Column] = &[
    column(
        "deal_id",
        Reading::Text,
        &["deal_id", "id"],
        "canonical id, after merges",
        "",
    ),
    column(
        "name",
        Reading::Text,
        &["name", "dealname", "deal_name"],
        "name",
        "",
    ),
    column(
        "account_id",
        Reading::Text,
        &["account_id"],
        "account it is with",
        "",
    ),
    column("owner_id", Reading::Text, &["owner_id"], "rep who owns it", ""),
    column("pipeline", Reading::Text, &["pipeline"], "sales pipeline", ""),
    column("stage", Reading::Text, &["stage"], "stage", ""),
    column(
        "status",
        Reading::Text,
        &["outcome", "status"],
        "open, won or lost",
        "",
    ),
    column("amount", Reading::Number, &["amount"], "amount", "currency"),
    column(
        "currency",
        Reading::Text,
        &["currency"],
        "currency of the amount",
        "ISO 4217",
    ),
    column(
        "recurring_amount",
        Reading::Number,
        &["recurring_amount"],
        "recurring part of the amount",
        "currency",
    ),
    column(
        "close_date",
        Reading::Instant,
        &["close_date"],
        "expected or actual close",
        "UTC",
    ),
    column(
        "forecast_category",
        Reading::Text,
        &["forecast_category"],
        "category the rep gave",
        "",
    ),
    column(
        "next_step",
        Reading::Text,
        &["next_step"],
        "next step the rep noted",
        "",
    ),
    column(
        "created_at",
        Reading::Instant,
        &["created_at"],
        "when it was created",
        "UTC",
    ),
    column(
        "closed_at",
        Reading::Instant,
        &["closed_at"],
        "when it was won or lost",
        "UTC",
    ),
    column(
        "stage_entered_at",
        Reading::Instant,
        &["stage_entered_at"],
        "since when it is in its stage",
        "UTC",
    ),
    column(
        "slips",
        Reading::Number,
        &["slips"],
        "times the close date moved back",
        "",
    ),
    column(
        "loss_reason",
        Reading::Text,
        &["loss_reason", "closed_lost_reason"],
        "why it was lost, as the rep noted",
        "",
    ),
];

/// Columns of `alerts`.
pub(super) const ALERTS: &[Column] = &[
    column(
        "entity_kind",
        Reading::Text,
        &["entity_kind"],
        "contact, account, deal, or tenant for its own models",
        "",
    ),
    column("entity_id", Reading::Text, &["entity_id"], "which", ""),
    column("rule", Reading::Text, &["rule"], "rule that holds", ""),
    column(
        "severity",
        Reading::Text,
        &["severity"],
        "high, medium or low",
        "",
    ),
    column("message", Reading::Text, &["message"], "what is the matter", ""),
    column("advice", Reading::Text, &["advice"], "what to do", ""),
    column(
        "since",
        Reading::Instant,
        &["since"],
        "since when the rule holds, where known",
        "UTC",
    ),
    column(
        "as_of",
        Reading::Instant,
        &["as_of"],
        "the instant it was looked at",
        "UTC",
    ),
];

/// Columns of `people`.
pub(super) const PEOPLE: &[Column] = &[
    column("user_id", Reading::Text, &["user_id"], "id of the CRM user", ""),
    column("name", Reading::Text, &["name"], "full name", ""),
    column(
        "role",
        Reading::Text,
        &["role"],
        "what the CRM calls the role",
        "",
    ),
    column(
        "manager_id",
        Reading::Text,
        &["manager_id"],
        "whom the person reports to",
        "",
    ),
    column("team", Reading::Text, &["team"], "team", ""),
    column("territory", Reading::Text, &["territory"], "territory", ""),
];

/// Columns of `duplicate_companies`.
pub(super) const DUPLICATES: &[Column] = &[
    column(
        "shared",
        Reading::Text,
        &["shared"],
        "what the accounts share: domain or name",
        "",
    ),
    column(
        "key",
        Reading::Text,
        &["key"],
        "the shared registered domain, or the name without case, punctuation and legal form",
        "",
    ),
    column(
        "account_ids",
        Reading::Text,
        &["account_ids"],
        "canonical ids of the accounts, sorted",
        "JSON",
    ),
    column(
        "confidence",
        Reading::Number,
        &["confidence"],
        "how much says that they are one company: a rank, not a calibrated probability",
        "0-1",
    ),
    column(
        "evidence",
        Reading::Text,
        &["evidence"],
        "what speaks for it and against it",
        "JSON",
    ),
];

/// Columns of `pipeline_as_of`: the deal and what was thought of it.
pub(super) const HEALTH: &[Column] = &[
    column(
        "health",
        Reading::Number,
        &["health"],
        "deal health at that instant; NULL when unscored",
        "points 1-100",
    ),
    column(
        "health_tier",
        Reading::Text,
        &["health_tier"],
        "band of the health",
        "",
    ),
    column(
        "win_probability",
        Reading::Number,
        &["win_probability"],
        "probability at that instant of ever winning; NULL while no win model is trained",
        "0-1",
    ),
    column(
        "as_of",
        Reading::Instant,
        &["as_of"],
        "the instant asked for",
        "UTC",
    ),
];

/// Documentation of columns for `table_columns`.
pub(super) fn documented(columns: &[Column]) -> Vec<CatalogColumn> {
    columns
        .iter()
        .map(|column| CatalogColumn::new(column.name, column.description, column.unit))
        .collect()
}

/// `tenant_id`, the columns, then `fields` (the whole record as JSON text).
pub(super) fn schema_of(columns: &[Column]) -> SchemaRef {
    let mut fields = vec![Field::new("tenant_id", DataType::Utf8View, false)];
    fields.extend(columns.iter().map(|column| {
        let kind = match column.reading {
            Reading::Text => DataType::Utf8View,
            Reading::Number => DataType::Float64,
            Reading::Flag => DataType::Boolean,
            Reading::Instant => timestamp_type(),
        };
        Field::new(column.name, kind, true)
    }));
    fields.push(Field::new("fields", DataType::Utf8View, false));
    Arc::new(Schema::new(fields))
}

/// The first of some names that holds something in a record, as text.
pub(crate) fn text_of(record: &Value, names: &[&str]) -> Option<String> {
    match value_of(record, names)? {
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn value_of<'a>(record: &'a Value, names: &[&str]) -> Option<&'a Value> {
    let holds = |value: &&Value| !matches!(value, Value::Null) && value.as_str() != Some("");
    names
        .iter()
        .find_map(|name| record.get(name).filter(holds))
        .or_else(|| {
            names
                .iter()
                .find_map(|name| record.get("fields")?.get(name).filter(holds))
        })
}

fn number_of(record: &Value, names: &[&str]) -> Option<f64> {
    let value = value_of(record, names)?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())?;
    number.is_finite().then_some(number)
}

fn flag_of(record: &Value, names: &[&str]) -> Option<bool> {
    let value = value_of(record, names)?;
    value
        .as_bool()
        .or_else(|| value.as_str()?.trim().to_lowercase().parse().ok())
}

fn instant_of(record: &Value, names: &[&str]) -> Option<i64> {
    let text = value_of(record, names)?.as_str()?;
    Some(text.parse::<revgauge_contract::Timestamp>().ok()?.micros())
}

/// Records as rows of [`schema_of`]; `fields` is empty unless the whole record is asked for.
pub(super) fn rows_of(tenant_id: &str, columns: &[Column], records: &[Value], whole: bool) -> RecordBatch {
    let mut tenants = StringViewBuilder::new();
    let mut fields = StringViewBuilder::new();
    for record in records {
        tenants.append_value(tenant_id);
        fields.append_value(if whole { record.to_string() } else { String::new() });
    }
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(tenants.finish())];
    arrays.extend(columns.iter().map(|column| array_of(column, records)));
    arrays.push(Arc::new(fields.finish()));
    RecordBatch::try_new(schema_of(columns), arrays).expect("arrays are built in the order of the schema")
}

fn array_of(column: &Column, records: &[Value]) -> ArrayRef {
    match column.reading {
        Reading::Text => {
            let mut builder = StringViewBuilder::new();
            records
                .iter()
                .for_each(|record| builder.append_option(text_of(record, column.from)));
            Arc::new(builder.finish())
        }
        Reading::Number => {
            let mut builder = Float64Builder::new();
            records
                .iter()
                .for_each(|record| builder.append_option(number_of(record, column.from)));
            Arc::new(builder.finish())
        }
        Reading::Flag => {
            let mut builder = BooleanBuilder::new();
            records
                .iter()
                .for_each(|record| builder.append_option(flag_of(record, column.from)));
            Arc::new(builder.finish())
        }
        Reading::Instant => {
            let mut builder = TimestampMicrosecondBuilder::new();
            records
                .iter()
                .for_each(|record| builder.append_option(instant_of(record, column.from)));
            Arc::new(builder.finish())
        }
    }
}

/// Records to come.
pub(super) type Records = Pin<Box<dyn Future<Output = Result<Vec<Value>, Failure>> + Send>>;

/// A table of records that a function fetches.
pub(super) struct ObjectTable {
    pub(super) name: &'static str,
    pub(super) tenant_id: Arc<str>,
    pub(super) columns: Arc<[Column]>,
    pub(super) fetch: Arc<dyn Fn() -> Records + Send + Sync>,
}

impl fmt::Debug for ObjectTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectTable")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for ObjectTable {
    fn schema(&self) -> SchemaRef {
        schema_of(&self.columns)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        _: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (fetch, columns) = (Arc::clone(&self.fetch), Arc::clone(&self.columns));
        let whole = projection.is_none_or(|read| read.contains(&(columns.len() + 1)));
        let tenant_id = Arc::clone(&self.tenant_id);
        loaded_plan(self.name, self.schema(), projection, move || -> Loading {
            let (records, columns, tenant_id) = (fetch(), Arc::clone(&columns), Arc::clone(&tenant_id));
            Box::pin(async move { Ok(vec![rows_of(&tenant_id, &columns, &records.await?, whole)]) })
        })
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use serde_json::json;

    use super::*;

    #[test]
    fn records_become_typed_rows_and_nothing_is_lost() {
        let records = [
            json!({"deal_id":"d1","amount":"1200.5","close_date":"2026-03-01","slips":2,"x":{"y":1}}),
            json!({"id":"d2","fields":{"amount":7,"stage":"won","close_date":"soon"},"amount":""}),
        ];
        let rows = rows_of("t", DEALS, &records, true);
        let shown = pretty_format_batches(&[rows]).expect("prints").to_string();
        for part in [
            "1200.5",
            "2026-03-01T00:00:00",
            "| d2 ",
            "7.0",
            "won",
            r#""x":{"y":1}"#,
        ] {
            assert!(shown.contains(part), "{part} in\n{shown}");
        }
    }
}
