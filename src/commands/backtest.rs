//! `revgauge backtest`: what the forecasts reach where the continuation is known.

mod scores;
mod simulator;

use std::io::Read as _;

use anyhow::{Context as _, Result};
use revgauge_models::forecast::measure_series;
use serde_json::json;

use super::Context;
use crate::{
    cli::{BacktestArgs, BacktestSuite},
    output::say,
};

/// The file of a folder of public sets that holds the series of the M3 competition.
const M3: &str = "m3/m3_monthly_quarterly_long.derived.csv.gz";

pub(crate) async fn run(context: &Context, args: BacktestArgs) -> Result<()> {
    match args.suite {
        BacktestSuite::M3 => series(context, &args).await,
        BacktestSuite::Simulator => {
            let horizons = simulator::measure(&args).await?;
            if context.common.json {
                say!("{horizons:#}");
            } else {
                say!("{}", simulator::table(&horizons));
            }
            Ok(())
        }
        BacktestSuite::Scores => {
            let measured = scores::measure(context, &args).await?;
            if context.common.json {
                say!("{measured:#}");
            } else {
                say!("{}", scores::table(&measured));
            }
            Ok(())
        }
    }
}

async fn series(context: &Context, args: &BacktestArgs) -> Result<()> {
    let folder = args.folder.as_ref();
    let path = folder
        .context("the suite m3 needs the folder that holds the public sets: give it as an argument")?
        .join(M3);
    let reached = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut text = String::new();
        flate2::read::GzDecoder::new(file)
            .read_to_string(&mut text)
            .with_context(|| format!("cannot unpack {}", path.display()))?;
        Ok::<_, anyhow::Error>(measure_series(&text)?)
    })
    .await??;
    if context.common.json {
        let rows: Vec<_> = reached
            .iter()
            .map(|row| {
                json!({
                    "period": row.period, "series": row.series, "smape": row.smape,
                    "naive_smape": row.naive_smape, "coverage": row.coverage,
                })
            })
            .collect();
        say!("{:#}", json!(rows));
        return Ok(());
    }
    say!("| set | series | sMAPE %, blend | sMAPE %, seasonal naive | 80 % range holds |");
    say!("|---|---|---|---|---|");
    for row in reached {
        say!(
            "| M3 {} | {} | {:.2} | {:.2} | {:.1} % |",
            row.period.to_lowercase(),
            row.series,
            row.smape,
            row.naive_smape,
            row.coverage
        );
    }
    Ok(())
}
