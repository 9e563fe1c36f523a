//! Shipped pipelines cut as the approved plans say; what cannot be cut is refused by name.

use std::path::PathBuf;

use super::*;
use crate::catalog;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[tokio::test]
async fn shipped_pipelines_cut_as_approved() {
    let approve = std::env::var_os("REVGAUGE_APPROVE").is_some();
    for pipeline in catalog::all() {
        let plan = cut(pipeline).await.expect(pipeline.name);
        let path = root().join(format!("tests/plans/{}.txt", pipeline.name));
        if approve {
            std::fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            std::fs::write(&path, &plan.text).expect("write");
        }
        let approved =
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(
            plan.text, approved,
            "{}: run with REVGAUGE_APPROVE=1 to approve",
            pipeline.name
        );
    }
}

#[tokio::test]
async fn what_cannot_be_cut_is_refused_by_name() {
    for (select, what) in [
        (
            "SELECT tenant_id, a.source, count(*) AS n FROM events a JOIN crm_fields USING (tenant_id) GROUP BY 1, 2",
            "JOIN",
        ),
        (
            "SELECT tenant_id, source, row_number() OVER (PARTITION BY tenant_id) AS n FROM events",
            "OVER",
        ),
        (
            "SELECT tenant_id, source, count(*) AS n FROM events GROUP BY 1, 2 ORDER BY n",
            "ORDER BY",
        ),
        (
            "SELECT tenant_id, source, count(*) AS n FROM events GROUP BY 1, 2 LIMIT 3",
            "LIMIT",
        ),
        (
            "SELECT tenant_id, source, count(DISTINCT type) AS n FROM events GROUP BY 1, 2",
            "count(DISTINCT",
        ),
        (
            "SELECT tenant_id, source, array_agg(type) AS n FROM events GROUP BY 1, 2",
            "array_agg",
        ),
        (
            "SELECT tenant_id, source, sum(random()) AS n FROM events GROUP BY 1, 2",
            "random()",
        ),
        (
            "SELECT tenant_id, source, max(now()) AS n FROM events GROUP BY 1, 2",
            "now()",
        ),
        (
            "SELECT tenant_id, source, count(*) AS n FROM events GROUP BY 1, 2 HAVING count(*) > 3",
            "HAVING",
        ),
        ("SELECT DISTINCT tenant_id, source FROM events", "SELECT DISTINCT"),
        ("SELECT count(*) AS n FROM events", "without GROUP BY"),
        (
            "SELECT source, count(*) AS n FROM events GROUP BY source",
            "tenant_id",
        ),
        (
            "SELECT tenant_id, count(*) AS n FROM events GROUP BY tenant_id",
            "'source'",
        ),
        (
            "SELECT tenant_id, source, value, count(*) AS n FROM events GROUP BY 1, 2, 3",
            "key 'value'",
        ),
        (
            "SELECT tenant_id, source FROM events UNION ALL SELECT tenant_id, source FROM events",
            "UNION",
        ),
        (
            "SELECT tenant_id, source, count(*) AS n FROM events WHERE type IN (SELECT field FROM crm_fields) GROUP BY 1, 2",
            "subquery",
        ),
        (
            "SELECT tenant_id, source, count(*) AS n FROM events GROUP BY GROUPING SETS ((tenant_id), (source))",
            "GROUPING SETS",
        ),
        (
            "SELECT tenant_id, source, max(n) AS n FROM (SELECT tenant_id, source, type, count(*) AS n FROM events GROUP BY 1, 2, 3) AS t GROUP BY 1, 2",
            "aggregate over an aggregate",
        ),
    ] {
        let sql = format!("INSERT INTO refused {select}").leak();
        let pipeline = Pipeline {
            name: "refused",
            sql,
            description: "d",
            entity: "source",
            key: "source",
        };
        match cut(&pipeline).await {
            Err(PipelineError::Refused {
                what: named, reason, ..
            }) => {
                assert!(named.contains(what), "'{named}' should name '{what}'");
                assert!(!reason.is_empty());
            }
            other => panic!("{select}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_file_that_is_no_insert_is_malformed() {
    for sql in [
        "SELECT 1",
        "INSERT INTO other SELECT tenant_id FROM events",
        "INSERT INTO",
    ] {
        let pipeline = Pipeline {
            name: "odd",
            sql,
            description: "d",
            entity: "source",
            key: "source",
        };
        let refused = cut(&pipeline).await;
        assert!(
            matches!(refused, Err(PipelineError::Malformed { .. })),
            "{sql}: {refused:?}"
        );
    }
}

#[test]
fn ddl_names_the_columns_of_the_contract() {
    for (ddl, source) in [
        (catalog::EVENTS_DDL, Source::Events),
        (catalog::CRM_FIELDS_DDL, Source::CrmFields),
    ] {
        let named: Vec<_> = ddl
            .lines()
            .filter_map(|line| line.strip_prefix("    ")?.split(' ').next())
            .collect();
        let schema = source.schema();
        let expected: Vec<_> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(named, expected);
        for field in schema.fields() {
            let line = ddl
                .lines()
                .find(|line| line.trim().starts_with(&format!("{} ", field.name())))
                .expect("line");
            assert_eq!(line.contains("NOT NULL"), !field.is_nullable(), "{line}");
        }
    }
}
