//! Every standard report on a tenant without data and on a simulated organisation; the waterfall of its last month.

use serde_json::{Value, json};

use crate::process::{Process, fill};

/// Reports that may have nothing to show of a healthy organisation of a few weeks.
const MAY_BE_EMPTY: &[&str] = &[
    "activity_anomalies",
    "attribution_first",
    "attribution_last",
    "attribution_linear",
    "attribution_markov",
    "attribution_position",
    "attribution_shapley",
    "attribution_time_decay",
    "closing_next_30_days",
    "deals_at_risk",
    "alerts_by_rule",
    "incomplete_deals",
    "loss_reasons",
    "loss_stage",
    "lost_by_month",
    "overdue_deals",
    "slipped_deals",
    "stagnant_deals",
    "tier_changes_by_week",
    "won_by_month",
    "won_by_owner",
    "won_by_quarter",
];

async fn all_reports(process: &Process, filled: bool) {
    let (status, list) = process.get("/v1/reports").await;
    assert_eq!(status, 200, "{list}");
    let reports = list["items"].as_array().expect("a list");
    assert!(reports.len() >= 50, "{} reports", reports.len());
    let columns = process
        .sql(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_name LIKE 'report_%' \
             ORDER BY table_name, ordinal_position",
        )
        .await;
    for report in reports {
        let name = report["name"].as_str().expect("a name");
        let (status, answer) = process.get(&format!("/v1/reports/{name}")).await;
        assert_eq!(status, 200, "{name}: {answer}");
        let rows = answer["rows"].as_array().expect("rows");
        assert!(
            !filled || !rows.is_empty() || MAY_BE_EMPTY.contains(&name),
            "{name} shows nothing"
        );
        let told: Vec<&str> = report["columns"]
            .as_array()
            .expect("columns")
            .iter()
            .filter_map(|column| column["name"].as_str())
            .collect();
        for row in rows {
            let mut given: Vec<&str> = row
                .as_object()
                .expect("a row")
                .keys()
                .map(String::as_str)
                .collect();
            let mut told = told.clone();
            given.sort_unstable();
            told.sort_unstable();
            assert_eq!(given, told, "{name}");
        }
        let columns: Vec<&str> = columns
            .iter()
            .filter(|row| {
                row["table_name"]
                    .as_str()
                    .and_then(|view| view.strip_prefix("report_"))
                    == Some(name)
            })
            .filter_map(|row| row["column_name"].as_str())
            .collect();
        assert_eq!(
            columns, told,
            "{name}: what the file says and what the query gives"
        );
    }
}

/// The same forecast by REST, SQL and what-if: its rows sum to it, its range rises, its weights are shares.
async fn forecast_adds_up(process: &Process) {
    let (status, answer) = process
        .get("/v1/forecast?limit=1000&quantiles=0.05,0.5,0.95")
        .await;
    assert_eq!((status, &answer["total"]), (200, &json!(1)), "{answer}");
    let forecast = &answer["forecasts"][0];
    let number = |value: &Value| {
        value
            .as_f64()
            .unwrap_or_else(|| panic!("no number in {forecast}"))
    };
    let list = |name: &str| forecast[name].as_array().cloned().unwrap_or_default();
    let sum: f64 = list("rows").iter().map(|row| number(&row["contribution"])).sum();
    assert!(
        sum > 0.0 && (sum - number(&forecast["expected"])).abs() < 1e-6 * sum,
        "{forecast}"
    );
    let edges: Vec<f64> = list("quantiles")
        .iter()
        .map(|edge| number(&edge["value"]))
        .collect();
    assert!(edges.len() == 3 && edges.is_sorted(), "{edges:?}");
    let weights: f64 = list("methods")
        .iter()
        .map(|method| number(&method["weight"]))
        .sum();
    assert!((weights - 1.0).abs() < 1e-9, "{forecast}");
    let at = forecast["as_of"].as_str().expect("an instant");
    let period = forecast["period"].as_str().expect("a name");
    let rows = process
        .sql(&format!(
            "SELECT contribution FROM forecast_rows_as_of('{at}', '{period}')"
        ))
        .await;
    let by_sql: f64 = rows.iter().map(|row| number(&row["contribution"])).sum();
    assert!(
        (by_sql - sum).abs() < 1e-6 * sum,
        "{by_sql} by SQL, {sum} by REST"
    );
    let rows = list("rows");
    let open = rows
        .iter()
        .find(|row| row["kind"] == "open")
        .expect("an open deal");
    let body = json!({
        "period": period, "as_of": at,
        "what_if": [{"deal_id": open["deal_id"], "probability": 1.0}],
    });
    let body = serde_json::to_vec(&body).expect("JSON");
    let (status, seen) = process
        .post("/v1/forecast", "application/json", body)
        .await
        .expect("answered");
    assert_eq!(status, 200, "{seen}");
    let gain = number(&seen["forecasts"][0]["expected"]) - sum;
    let told = number(&open["amount"]) - number(&open["contribution"]);
    assert!((gain - told).abs() < 1e-6 * sum, "{gain} and not {told}");
    let (status, refused) = process.get("/v1/forecast?period=2026-Q7").await;
    assert_eq!(status, 400, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_report_answers_and_the_waterfall_balances() {
    let folder = tempfile::tempdir().expect("folder");
    let process = Process::start(folder.path(), &[]);
    all_reports(&process, false).await;
    fill(&process, 40, 120).await;
    all_reports(&process, true).await;
    let (status, unknown) = process.get("/v1/reports/pipeline_by_stag").await;
    assert_eq!((status, &unknown["code"]), (404, &json!("unknown_report")));
    forecast_adds_up(&process).await;
    for mode in ["net", "gross"] {
        let (status, answer) = process
            .get(&format!(
                "/v1/waterfall?from=2000-01-01&mode={mode}&group_by=stage&limit=1"
            ))
            .await;
        assert_eq!(status, 200, "{answer}");
        let bars = answer["bars"].as_array().expect("bars");
        let cents = |bar: &Value| (bar["amount"].as_f64().expect("an amount") * 100.0).round() as i64;
        let of = |ends: bool| -> i64 {
            let chosen = bars.iter().filter(|bar| (bar["bucket"] == "end") == ends);
            chosen.map(cents).sum()
        };
        assert_eq!(of(false), of(true), "{mode}: {bars:?}");
        assert!(of(true) > 0, "{bars:?}");
        let open = process
            .sql("SELECT CAST(round(sum(amount) * 100) AS BIGINT) AS cents FROM deals WHERE status = 'open'")
            .await;
        assert_eq!(
            open[0]["cents"].as_i64(),
            Some(of(true)),
            "the end is the open pipeline"
        );
    }
    process.stop();
}
