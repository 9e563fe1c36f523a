//! The wall by itself, over a table that lies about pushing filters down.

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, RecordBatch, StringViewArray},
        datatypes::{DataType, Field},
        util::pretty::pretty_format_batches,
    },
    datasource::MemTable,
    prelude::SessionContext,
};

use super::*;

/// Claims to apply every filter exactly and applies none.
#[derive(Debug)]
struct Liar(MemTable);

#[async_trait]
impl TableProvider for Liar {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Exact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.scan(state, projection, &[], limit).await
    }
}

fn session(tenant: &str) -> SessionContext {
    let schema = Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, false),
        Field::new("tenant_id", DataType::Utf8View, false),
        Field::new("secret", DataType::Utf8View, false),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(0..6)),
        Arc::new(StringViewArray::from(vec!["b", "a", "b", "a", "b", "b"])),
        Arc::new(StringViewArray::from(vec![
            "CANARY", "1", "CANARY", "3", "CANARY", "CANARY",
        ])),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).expect("batch");
    let inner = Arc::new(Liar(MemTable::try_new(schema, vec![vec![batch]]).expect("table")));
    let context = SessionContext::new();
    let table = TenantTable::try_new("t", Sight::whole(tenant), inner).expect("wraps");
    context.register_table("t", Arc::new(table)).expect("registers");
    context
}

async fn ask(tenant: &str, sql: &str) -> String {
    let frame = session(tenant).sql(sql).await;
    let answer = match frame {
        Ok(frame) => frame.collect().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(batches) => pretty_format_batches(&batches).expect("prints").to_string(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn only_own_rows_come_out_whatever_is_asked() {
    for (sql, rows) in [
        ("select count(*) from t", "2"),
        ("select count(*) from t where tenant_id = 'b'", "0"),
        ("select count(*) from t where tenant_id = 'b' or true", "2"),
        ("select sum(n) from (select n from t limit 3)", "4"),
        ("select count(*) from t x join t y on x.n = y.n", "2"),
        ("select max(n) from t where n >= 0", "3"),
    ] {
        let answer = ask("a", sql).await;
        assert!(
            answer.contains(&format!("| {rows} ")),
            "{sql} should give {rows}:\n{answer}"
        );
    }
    assert!(ask("nobody", "select count(*) from t").await.contains("| 0 "));
}

#[tokio::test]
async fn a_failing_filter_never_meets_a_foreign_row() {
    for sql in [
        "select n from t where cast(secret as int) >= 1",
        "select n from t where n >= 0 and cast(secret as int) >= 1",
        "select n from t where 1 / (case when secret = 'CANARY' then 0 else 1 end) = 1",
        "select n from (select n, cast(secret as int) s from t) where s > 0",
    ] {
        let answer = ask("a", sql).await;
        assert!(
            answer.contains("| 3 ") && !answer.contains("CANARY"),
            "{sql}:\n{answer}"
        );
    }
}

#[tokio::test]
async fn explain_shows_the_tenant_filter_and_nothing_below_it() {
    for sql in [
        "explain verbose select * from t",
        "explain analyze select * from t where n > 0",
    ] {
        let plan = ask("a", sql).await;
        assert!(plan.contains("tenant_id = a"), "{plan}");
        assert!(
            !plan.contains("DataSourceExec") && !plan.contains("output_rows=6"),
            "{plan}"
        );
    }
}

#[test]
fn a_table_without_a_tenant_is_refused() {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, false)]));
    let inner = Arc::new(MemTable::try_new(schema, vec![vec![]]).expect("table"));
    assert!(TenantTable::try_new("t", Sight::whole("a"), inner).is_err());
}
