//! `revgauge train` and `revgauge models`: train, read the cards, promote, roll back, compare, watch.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::{Client, Context};
use crate::{
    cli::{ModelsCommand, TrainArgs},
    output::{self, say},
};

/// `revgauge train`
pub(crate) async fn train(context: &Context, args: TrainArgs) -> Result<()> {
    let body = json!({
        "horizon_days": args.horizon_days,
        "allow_leaky": args.allow_leaky,
        "promote": args.promote,
    });
    let answer = asked(context, async |client| {
        client
            .post(&format!("/v1/models/{}/train", args.target), &body)
            .await
    })
    .await?;
    if context.common.json {
        return print(&answer);
    }
    let trained = &answer["trained"];
    let (entry, held) = (&trained["entry"], &trained["entry"]["held_out"]);
    say!(
        "version {} of the model of {}, from {} rows, {} of them won ({:.1} s rows, {:.1} s fit)",
        entry["version"],
        args.target,
        entry["rows"],
        entry["won"],
        number(&trained["seconds"][0]),
        number(&trained["seconds"][1]),
    );
    say!("{}", trained["choice"].as_str().unwrap_or_default());
    if number(&held["rows"]) > 0.0 {
        say!(
            "on {} rows not seen: log-loss {:.4} (base rate {:.4}), AUC {:.3}, calibration error {:.3}",
            held["rows"],
            number(&held["log_loss"]),
            number(&held["base_rate_log_loss"]),
            number(&held["auc"]),
            number(&held["calibration_error"]),
        );
    }
    for column in trained["refused"].as_array().into_iter().flatten() {
        say!(
            "refused {}: {}; --allow-leaky {} keeps it",
            text(&column[0]),
            text(&column[1]),
            text(&column[0])
        );
    }
    match trained["promotion"].as_str() {
        Some(why) => say!("{why}"),
        None => say!(
            "not serving yet: revgauge models promote {} {}",
            args.target,
            entry["version"]
        ),
    }
    Ok(())
}

/// `revgauge models`
pub(crate) async fn run(context: &Context, command: ModelsCommand) -> Result<()> {
    let answer = match &command {
        #[cfg(feature = "training")]
        ModelsCommand::Suite { folder, only } => {
            let (folder, only) = (folder.clone(), only.clone());
            let measured =
                tokio::task::spawn_blocking(move || revgauge_training::suite::run(&folder, only.as_deref()))
                    .await??;
            output::line(format_args!("{}", revgauge_training::suite::markdown(&measured)));
            return Ok(());
        }
        #[cfg(feature = "training")]
        ModelsCommand::Speed { deals } => {
            let deals = *deals;
            let table = tokio::task::spawn_blocking(move || revgauge_training::speed::measure(deals)).await?;
            output::line(format_args!("{table}"));
            return Ok(());
        }
        ModelsCommand::List => asked(context, async |client| client.get("/v1/models").await).await?,
        ModelsCommand::Card { target, version } => {
            let query = version.map_or_else(String::new, |version| format!("?version={version}"));
            let path = format!("/v1/models/{target}/card{query}");
            asked(context, async |client| client.get(&path).await).await?
        }
        ModelsCommand::Compare { target, from, to } => {
            let path = format!("/v1/models/{target}/compare?from={from}&to={to}");
            asked(context, async |client| client.get(&path).await).await?
        }
        ModelsCommand::Promote {
            target,
            version,
            even_if_worse,
        } => {
            let body = json!({"version": version, "even_if_worse": even_if_worse});
            let path = format!("/v1/models/{target}/promote");
            asked(context, async |client| client.post(&path, &body).await).await?
        }
        ModelsCommand::Rollback { target } => {
            let path = format!("/v1/models/{target}/rollback");
            asked(context, async |client| client.post(&path, &json!({})).await).await?
        }
        ModelsCommand::Shadow { target, version, off } => {
            if version.is_none() && !off {
                bail!("cannot shadow: name a version, or say --off to end it");
            }
            let body = json!({"version": version});
            let path = format!("/v1/models/{target}/shadow");
            asked(context, async |client| client.post(&path, &body).await).await?
        }
        ModelsCommand::Drift { target } => {
            let path = format!("/v1/models/{target}/drift");
            asked(context, async |client| client.get(&path).await).await?
        }
    };
    if context.common.json {
        return print(&answer);
    }
    match &command {
        ModelsCommand::List => list(&answer),
        ModelsCommand::Card { .. } => say!("{}", text(&answer["card"]["markdown"])),
        ModelsCommand::Compare { .. } => compared(&answer["comparison"]),
        ModelsCommand::Promote { .. } | ModelsCommand::Rollback { .. } => {
            say!("version {} serves", answer["model"]["version"]);
        }
        ModelsCommand::Shadow { .. } => match answer["shadow"].as_u64() {
            Some(version) => say!("version {version} is judged beside the serving one"),
            None => say!("no version is judged beside the serving one"),
        },
        ModelsCommand::Drift { .. } => drifted(&answer["drift"]),
        #[cfg(feature = "training")]
        ModelsCommand::Suite { .. } | ModelsCommand::Speed { .. } => {}
    }
    Ok(())
}

async fn asked(context: &Context, ask: impl AsyncFnOnce(&Client) -> Result<Value>) -> Result<Value> {
    let client = Client::connect(context).await?;
    let answer = ask(&client).await;
    client.close().await?;
    answer
}

fn print(answer: &Value) -> Result<()> {
    output::line(format_args!("{}", serde_json::to_string_pretty(answer)?));
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_default()
}

fn list(answer: &Value) {
    let models: Vec<Value> = answer["items"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|model| {
            let held = &model["held_out"];
            json!({
                "target": model["target"],
                "version": model["version"],
                "standing": model["standing"],
                "trained_at": model["trained_at"],
                "rows": model["rows"],
                "signal": model["signal"],
                "log_loss": format!("{:.4}", number(&held["log_loss"])),
                "calibration_error": format!("{:.3}", number(&held["calibration_error"])),
            })
        })
        .collect();
    let columns = [
        "target",
        "version",
        "standing",
        "trained_at",
        "rows",
        "signal",
        "log_loss",
        "calibration_error",
    ];
    say!(
        "{}",
        output::listing(&columns, &models, "no models yet: `revgauge train` makes one")
    );
}

fn compared(comparison: &Value) {
    say!("{} rows that neither had learnt from", comparison["rows"]);
    for place in 0..2 {
        let measured = &comparison["measures"][place];
        say!(
            "version {}: log-loss {:.4}, AUC {:.3}, calibration error {:.3}",
            comparison["versions"][place],
            number(&measured["log_loss"]),
            number(&measured["auc"]),
            number(&measured["calibration_error"]),
        );
    }
    say!(
        "their probabilities differ by {:.3} in the mean",
        number(&comparison["mean_difference"])
    );
}

fn drifted(drift: &Value) {
    say!("version {}", drift["version"]);
    for column in drift["columns"].as_array().into_iter().flatten().take(10) {
        say!("{:.3}  {}", number(&column[1]), text(&column[0]));
    }
    say!(
        "{} outcomes since the training: {:.3} said, {:.3} won (standard error {:.3})",
        drift["outcomes"],
        number(&drift["mean_probability"]),
        number(&drift["win_rate"]),
        number(&drift["standard_error"]),
    );
    let alarms = drift["alarms"].as_array().map_or(&[][..], Vec::as_slice);
    for alarm in alarms {
        say!("alarm: {}", text(&alarm["message"]));
    }
    if alarms.is_empty() {
        say!("no alarm");
    }
}
