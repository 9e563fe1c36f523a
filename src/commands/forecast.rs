//! `revgauge forecast`: the revenue of a period with range, methods and the deals that make it.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Client, Context, client::encode};
use crate::{
    cli::ForecastArgs,
    output::{self, say},
};

/// Asks the forecast and prints it.
pub(crate) async fn run(context: &Context, args: ForecastArgs) -> Result<()> {
    let client = Client::connect(context).await?;
    if args.accuracy {
        let rows = client.sql(&accuracy_sql(&args)).await;
        client.close().await?;
        let rows = rows?;
        if context.common.json {
            say!("{:#}", Value::Array(rows.rows));
        } else {
            say!("{}", rows.table());
        }
        return Ok(());
    }
    let answer = if args.by_node {
        client.get(&path("/v1/forecast/nodes", &args)).await
    } else {
        asked(&client, &args).await
    };
    client.close().await?;
    let answer = answer?;
    if context.common.json {
        say!("{answer:#}");
        return Ok(());
    }
    if args.by_node {
        say!("{}", nodes_table(&list(&answer, "nodes")));
        return Ok(());
    }
    let forecasts = list(&answer, "forecasts");
    if forecasts.is_empty() {
        say!("no deals are known: there is nothing to forecast");
    }
    for forecast in &forecasts {
        say!("{}", page(forecast, args.rows));
    }
    Ok(())
}

/// The query of `--accuracy`.
fn accuracy_sql(args: &ForecastArgs) -> String {
    let text = |text: &Option<String>| {
        text.as_ref().map_or_else(
            || "NULL".to_owned(),
            |text| format!("'{}'", text.replace('\'', "''")),
        )
    };
    format!(
        "SELECT * FROM forecast_accuracy({}, {}, {}, {}) ORDER BY currency, node_kind, node, elapsed, wape",
        text(&args.as_of),
        text(&args.period),
        text(&args.team_of),
        text(&args.currency)
    )
}

async fn asked(client: &Client, args: &ForecastArgs) -> Result<Value> {
    let what_if = args
        .what_if
        .iter()
        .map(|text| overlay(text))
        .collect::<Result<Vec<Value>>>()?;
    if !what_if.is_empty() {
        let mut question = json!({
            "period": args.period, "as_of": args.as_of, "team_of": args.team_of, "pipeline": args.pipeline,
            "quota": args.quota, "currency": args.currency, "what_if": what_if,
        });
        if !args.owner.is_empty() {
            question["owner_ids"] = json!(args.owner);
        }
        return client.post("/v1/forecast?limit=1000", &question).await;
    }
    client.get(&path("/v1/forecast", args)).await
}

/// A path with what is asked, without what is seen otherwise.
fn path(of: &str, args: &ForecastArgs) -> String {
    let mut path = format!("{of}?limit=1000");
    let owners = (!args.owner.is_empty()).then(|| args.owner.join(","));
    let quota = args.quota.map(|quota| quota.to_string());
    for (name, text) in [
        ("period", &args.period),
        ("as_of", &args.as_of),
        ("owner_id", &owners),
        ("team_of", &args.team_of),
        ("pipeline", &args.pipeline),
        ("quota", &quota),
        ("currency", &args.currency),
    ] {
        if let Some(text) = text {
            path += &format!("&{name}={}", encode(text));
        }
    }
    path
}

/// The nodes of a forecast as text, each below the one it adds to.
fn nodes_table(nodes: &[Value]) -> String {
    let row = |node: &Value| {
        let number = |name: &str| node.get(name).and_then(Value::as_f64);
        let money = |name: &str| number(name).map_or_else(String::new, whole);
        let at = |probability: f64| {
            let quantiles = list(node, "quantiles");
            let of = |quantile: &Value, name: &str| quantile.get(name).and_then(Value::as_f64);
            let found = quantiles
                .iter()
                .find(|one| of(one, "probability") == Some(probability));
            found
                .and_then(|one| of(one, "value"))
                .map_or_else(String::new, whole)
        };
        let depth = node.get("depth").and_then(Value::as_u64).unwrap_or_default() as usize;
        let name = match (text(node, "node"), text(node, "node_kind")) {
            ("", "all") => "all",
            ("", _) => "(no owner)",
            (name, _) => name,
        };
        json!({
            "node": format!("{}{name}", "  ".repeat(depth)), "kind": text(node, "node_kind"),
            "currency": text(node, "currency"), "closed": money("closed"), "open": money("open"),
            "not yet created": money("not_yet_created"), "forecast": money("value"), "P10": at(0.1), "P50": at(0.5),
            "P90": at(0.9), "quota": money("quota"),
            "reached with": number("attainment_probability").map_or_else(String::new, percent),
        })
    };
    let columns = [
        "node",
        "kind",
        "currency",
        "closed",
        "open",
        "not yet created",
        "forecast",
        "P10",
        "P50",
        "P90",
        "quota",
        "reached with",
    ];
    output::table(&columns, &nodes.iter().map(row).collect::<Vec<_>>())
}

/// `deal-7=0.9` sees the probability otherwise, `deal-7=0.9@12000` the amount too, `deal-7=@12000` the amount alone.
fn overlay(text: &str) -> Result<Value> {
    let Some((deal, seen)) = text.split_once('=') else {
        bail!("cannot read --what-if '{text}': write it as deal-7=0.9 or deal-7=0.9@12000")
    };
    let (probability, amount) = seen
        .split_once('@')
        .map_or((seen, None), |(probability, amount)| (probability, Some(amount)));
    let number = |text: &str| {
        text.parse::<f64>()
            .map_err(|_| anyhow::anyhow!("cannot read --what-if '{seen}' of {deal}: '{text}' is no number"))
    };
    let mut overlay = json!({"deal_id": deal});
    if !probability.is_empty() {
        overlay["probability"] = json!(number(probability)?);
    }
    if let Some(amount) = amount {
        overlay["amount"] = json!(number(amount)?);
    }
    Ok(overlay)
}

/// A forecast as text.
pub(super) fn page(forecast: &Value, rows: usize) -> String {
    let number = |name: &str| forecast.get(name).and_then(Value::as_f64);
    let money = |name: &str| number(name).map_or_else(String::new, whole);
    let period = match text(forecast, "period") {
        "" => format!("{} to {}", text(forecast, "start"), text(forecast, "end")),
        name => name.to_owned(),
    };
    let quantiles: Vec<String> = list(forecast, "quantiles")
        .iter()
        .map(|quantile| {
            let of = |name: &str| quantile.get(name).and_then(Value::as_f64).unwrap_or_default();
            format!("P{:.0} {}", of("probability") * 100.0, whole(of("value")))
        })
        .collect();
    let mut page = format!(
        "{period} {}  forecast {}  range {}\n  closed {}  commit {}  best case {}  pipeline {}  (open, by category)\n",
        text(forecast, "currency"),
        money("blend"),
        quantiles.join("  "),
        money("closed"),
        money("commit"),
        money("best_case"),
        money("pipeline"),
    );
    page += &format!(
        "  {} of {} past periods were inside their 80 % range; noise floor {}\n",
        number("past_covered").unwrap_or_default(),
        number("past_periods").unwrap_or_default(),
        number("noise_floor").map_or_else(|| "unknown".to_owned(), percent),
    );
    page += &format!(
        "  cumulative: commit {}  best case {}  open pipeline {}\n",
        money("commit_cumulative"),
        money("best_case_cumulative"),
        money("pipeline_cumulative"),
    );
    if number("submitted").is_some() {
        page += &format!("  submitted as commit: {}\n", money("submitted"));
    }
    if let (Some(attained), Some(chance)) = (number("attainment"), number("attainment_probability")) {
        page += &format!(
            "  quota attained {}, will be reached with probability {}\n",
            percent(attained),
            percent(chance)
        );
        let share =
            |name: &str| number(name).map_or_else(|| "unknown".to_owned(), |share| format!("{share:.2}"));
        page += &format!(
            "  coverage of the rest {}, pace against past periods {}\n",
            share("coverage"),
            share("pacing")
        );
    }
    let share = |share: Option<f64>| share.map_or_else(|| "no past".to_owned(), percent);
    let method = |name: &str, value: f64, of: &dyn Fn(&str) -> Option<f64>| {
        json!({
            "method": name, "value": whole(value), "weight": share(of("weight")), "WAPE": share(of("wape")),
            "bias": share(of("bias")),
        })
    };
    let blend = method("blend", number("blend").unwrap_or_default(), &|name| match name {
        "wape" => number("blend_wape"),
        "bias" => number("blend_bias"),
        _ => Some(1.0),
    });
    let mut methods = vec![blend];
    methods.extend(list(forecast, "methods").iter().map(|one| {
        let of = |name: &str| one.get(name).and_then(Value::as_f64);
        method(text(one, "method"), of("value").unwrap_or_default(), &of)
    }));
    page += &output::table(&["method", "value", "weight", "WAPE", "bias"], &methods);
    let all = list(forecast, "rows");
    let shown = &all[..all.len().min(rows)];
    if !shown.is_empty() {
        let columns = [
            "kind",
            "deal_id",
            "owner_id",
            "stage",
            "category",
            "amount",
            "probability",
            "contribution",
        ];
        page += &format!("\nthe math, {} of {} rows\n", shown.len(), all.len());
        page += &output::table(&columns, shown);
    }
    page
}

fn whole(value: f64) -> String {
    let digits = output::count(value.abs().round() as u64);
    if value <= -0.5 {
        format!("-{digits}")
    } else {
        digits
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list(of: &Value, name: &str) -> Vec<Value> {
    of.get(name)
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlays_are_read_and_others_refused() {
        assert_eq!(
            overlay("deal-7=0.9").expect("read"),
            json!({"deal_id": "deal-7", "probability": 0.9})
        );
        assert_eq!(
            overlay("deal-7=@12000").expect("read"),
            json!({"deal_id": "deal-7", "amount": 12000.0})
        );
        assert!(overlay("deal-7").is_err() && overlay("deal-7=often").is_err());
    }
}
