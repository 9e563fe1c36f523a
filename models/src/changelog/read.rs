//! Filling a change log from the rows of layer 1.

use arrow::array::{Array as _, RecordBatch};
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    schema::{text_column, time_column},
    statistics::{Knowledge, StatisticsSource},
};

use super::{ChangeLog, ChangeLogBuilder, ChangeLogSettings, ChangeOrder};

impl ChangeLogBuilder {
    /// Takes rows of `deal_history`, or those rows of `crm_history` that are about `object`.
    ///
    /// # Errors
    /// `Data` when a column is missing or an order key cannot be read, `Limit` when there are too many changes.
    pub fn push_rows(&mut self, object: &str, batch: &RecordBatch) -> Result<(), Failure> {
        let misshapen = || {
            Failure::new(
                ErrorKind::Data,
                format!("cannot read the change log of {object}: a column is missing or of another type"),
            )
        };
        let ids = text_column(batch, "deal_id")
            .or_else(|| text_column(batch, "object_id"))
            .ok_or_else(misshapen)?;
        let objects = text_column(batch, "object");
        let fields = text_column(batch, "field").ok_or_else(misshapen)?;
        let keys = text_column(batch, "order_key").ok_or_else(misshapen)?;
        let values = text_column(batch, "value").ok_or_else(misshapen)?;
        let known = time_column(batch, "known_at").ok_or_else(misshapen)?;
        for row in 0..batch.num_rows() {
            if objects.is_some_and(|objects| objects.value(row) != object) {
                continue;
            }
            let order = ChangeOrder::parse(keys.value(row)).ok_or_else(|| {
                let message = format!(
                    "cannot read the change log of {object} '{}': an order key is not 32 hexadecimal digits",
                    ids.value(row)
                );
                Failure::new(ErrorKind::Data, message)
            })?;
            let value = (!values.is_null(row)).then(|| values.value(row));
            self.push(
                ids.value(row),
                fields.value(row),
                order,
                value,
                Timestamp(known.value(row)),
            )?;
        }
        Ok(())
    }
}

/// Reads the log of all objects of a kind (`deal`, `account`, `contact`, `user`, `quota`, ...) of a tenant.
///
/// Deals come from the live state when it is asked for now, a slice at a time; other kinds, and the past, by a replay
/// over the lake. Memory: the log itself (see [`ChangeLogSettings::max_changes`]), for a replay its rows beside it.
///
/// # Errors
/// What the source met; `Limit` when the log is larger than the setting.
pub async fn load(
    source: &dyn StatisticsSource,
    tenant_id: &str,
    object: &str,
    knowledge: Knowledge,
    settings: ChangeLogSettings,
) -> Result<ChangeLog, Failure> {
    let pipeline = if object == "deal" {
        "deal_history"
    } else {
        "crm_history"
    };
    let mut builder = ChangeLogBuilder::new(settings);
    let mut outcome = Ok(());
    let mut take = |batch: RecordBatch| {
        if outcome.is_ok() {
            outcome = builder.push_rows(object, &batch);
        }
    };
    source.each(pipeline, tenant_id, knowledge, &mut take).await?;
    outcome.map(|()| builder.build())
}
