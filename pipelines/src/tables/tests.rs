//! The tables as SQL sees them.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::array_value_to_string;
use datafusion::{physical_plan::displayable, prelude::SessionContext};
use revgauge_contract::cut::{CutReader, LakeTable};

use super::*;
use crate::{
    PipelineSettings,
    testing::{Rig, events},
};

async fn rig() -> (Rig, SessionContext) {
    let mut rig = Rig::new(PipelineSettings::default()).await;
    rig.deliver(&events(0..500, 10)).await;
    rig.lake.flush(rig.store.as_ref()).await;
    rig.deliver(&events(500..700, 10)).await;
    let context = SessionContext::new();
    let cut = rig.lake.cut(LakeTable::Events).await.expect("cut");
    let store = Arc::clone(&rig.store);
    context
        .register_table("events", cut_table(cut.clone(), Arc::clone(&store)))
        .expect("events");
    context
        .register_table("crm_history", crm_history_table(cut, store))
        .expect("history");
    for table in state_tables(&rig.runtime).expect("tables") {
        context
            .register_table(table.name, table.provider)
            .expect(table.name);
    }
    (rig, context)
}

async fn number(context: &SessionContext, sql: &str) -> i64 {
    let batches: Vec<RecordBatch> = context.sql(sql).await.expect(sql).collect().await.expect(sql);
    batches[0].column(0).as_primitive::<Int64Type>().value(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_and_tail_are_one_table_in_the_contract_schema() {
    let (_rig, context) = rig().await;
    assert_eq!(number(&context, "SELECT count(*) FROM events").await, 700);
    assert_eq!(
        number(
            &context,
            "SELECT count(DISTINCT event_id) FROM events WHERE payload <> ''"
        )
        .await,
        700
    );
    let plan = context
        .sql("SELECT type FROM events WHERE tenant_id = 't1' AND known_at <= TIMESTAMP '2026-01-01'")
        .await
        .expect("planned");
    let schema = plan.schema().field(0).data_type().clone();
    assert_eq!(schema, arrow::datatypes::DataType::Utf8View);
    let physical = plan.create_physical_plan().await.expect("physical");
    let text = displayable(physical.as_ref()).indent(false).to_string();
    assert!(text.contains("pruning_predicate="), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_agree_with_the_events_they_came_from() {
    let (_rig, context) = rig().await;
    let counted =
        "SELECT sum(n) FROM event_counts WHERE tenant_id = 't1' AND source IN ('source0', 'source2')";
    let direct = "SELECT count(*) FROM events WHERE tenant_id = 't1' AND source IN ('source0', 'source2')";
    assert_eq!(number(&context, counted).await, number(&context, direct).await);
    assert_eq!(number(&context, "SELECT sum(n) FROM event_counts").await, 700);
    assert_eq!(
        number(&context, "SELECT sum(n) FROM crm_state").await,
        number(&context, "SELECT count(*) FROM crm_history").await
    );
    assert_eq!(
        number(&context, "SELECT sum(n) FROM deal_history WHERE deal_id = 'd1'").await,
        number(
            &context,
            "SELECT count(*) FROM crm_history WHERE object = 'deal' AND object_id = 'd1'"
        )
        .await
    );
    let sum = number(
        &context,
        "SELECT sum(n) FROM contact_engagement WHERE tenant_id = 't1' AND contact_key = 'c1'",
    )
    .await;
    let direct = number(
        &context,
        "SELECT count(*) FROM events WHERE tenant_id = 't1' AND contact_id = 'c1' AND kind = 'engagement'",
    )
    .await;
    assert_eq!(sum, direct);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_column_alone_is_that_of_the_whole_rows() {
    let (rig, context) = rig().await;
    for table in state_tables(&rig.runtime).expect("tables") {
        let whole = context.table(table.name).await.expect("a table").collect().await;
        let whole = whole.expect("rows");
        let fields = table.provider.schema();
        for (at, field) in fields.fields().iter().enumerate() {
            let name = field.name();
            // Without a second column, and behind one that stands elsewhere in the row.
            for sql in [
                format!("SELECT \"{name}\" FROM {}", table.name),
                format!("SELECT \"{name}\", tenant_id AS t FROM {}", table.name),
            ] {
                let alone = context.sql(&sql).await.expect(&sql).collect().await.expect(&sql);
                let texts = |batches: &[RecordBatch], column: usize| {
                    let mut texts: Vec<String> = batches
                        .iter()
                        .flat_map(|batch| {
                            let column = batch.column(column);
                            (0..batch.num_rows())
                                .map(|row| array_value_to_string(column, row).expect("prints"))
                                .collect::<Vec<_>>()
                        })
                        .collect();
                    texts.sort_unstable();
                    texts
                };
                assert_eq!(texts(&alone, 0), texts(&whole, at), "{sql}");
            }
        }
    }
}
