//! Alerts as rows of their table, with no JSON record in between: a large tenant has hundreds of thousands of them.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringViewArray, TimestampMicrosecondArray};
use revgauge_contract::{Timestamp, error::Failure, score::Alert};

use super::{
    object_table::{ALERTS, schema_of},
    session::records,
};

/// Rows of [`ALERTS`]. `whole` fills `fields` with each alert as JSON. About a microsecond an alert without.
///
/// # Errors
/// An alert cannot be printed.
pub(super) fn alert_rows(tenant_id: &str, alerts: &[Alert], whole: bool) -> Result<RecordBatch, Failure> {
    let text = |of: fn(&Alert) -> &str| -> ArrayRef {
        let values = alerts
            .iter()
            .map(|alert| Some(of(alert)).filter(|text| !text.is_empty()));
        Arc::new(values.collect::<StringViewArray>())
    };
    let instant = |of: fn(&Alert) -> Option<Timestamp>| -> ArrayRef {
        let values = alerts.iter().map(|alert| of(alert).map(Timestamp::micros));
        Arc::new(values.collect::<TimestampMicrosecondArray>())
    };
    let fields: Vec<String> = if whole {
        records(alerts)?.iter().map(ToString::to_string).collect()
    } else {
        vec![String::new(); alerts.len()]
    };
    let tenants = StringViewArray::from_iter_values(alerts.iter().map(|_| tenant_id));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(tenants),
        text(|alert| alert.entity_kind.as_str()),
        text(|alert| &alert.entity_id),
        text(|alert| &alert.rule),
        text(|alert| &alert.severity),
        text(|alert| &alert.message),
        text(|alert| &alert.advice),
        instant(|alert| alert.since),
        instant(|alert| Some(alert.as_of)),
        Arc::new(StringViewArray::from_iter_values(fields)),
    ];
    Ok(RecordBatch::try_new(schema_of(ALERTS), columns).expect("columns are in the order of the schema"))
}

#[cfg(test)]
mod tests {
    use revgauge_contract::score::EntityKind;

    use super::{super::object_table::rows_of, *};

    #[test]
    fn rows_are_those_that_records_of_the_alerts_give() {
        let alert = |id: &str, advice: &str, since: Option<i64>| Alert {
            entity_kind: EntityKind::Deal,
            entity_id: id.to_owned(),
            rule: "stalled".to_owned(),
            severity: "high".to_owned(),
            message: "no meeting for 21 days\n\"quoted\"".to_owned(),
            advice: advice.to_owned(),
            since: since.map(Timestamp),
            as_of: Timestamp(1_767_225_600_123_456),
        };
        let alerts = [
            alert("d1", "book one", Some(1_767_000_000_000_000)),
            alert("d2", "", None),
        ];
        for (some, whole) in [(&alerts[..], false), (&alerts[..], true), (&alerts[..0], false)] {
            let wanted = rows_of("acme", ALERTS, &records(some).expect("records"), whole);
            assert_eq!(alert_rows("acme", some, whole).expect("rows"), wanted);
        }
    }
}
