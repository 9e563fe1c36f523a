//! One file a command; all of them speak to the doors, of a running server or of an in-process one.

mod backtest;
mod bench;
mod briefing;
mod client;
mod dead_letters;
mod definitions;
mod demo;
mod deploy;
mod doctor;
mod forecast;
mod import;
mod keys;
mod models;
mod pipelines;
mod privacy;
mod query;
mod reports;
mod scores;
mod simulate;
mod users;

use anyhow::Result;

use crate::{
    cli::{Cli, Command, Common},
    settings::{self, Settings},
    telemetry,
};
pub(crate) use client::Client;

/// What every command starts from.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    pub(crate) common: Common,
    pub(crate) settings: Settings,
}

/// Reads the settings and runs the command.
///
/// # Errors
/// What the command met, for people.
pub(crate) async fn run(cli: Cli) -> Result<()> {
    let settings = settings::load(cli.common.config.as_deref(), cli.common.store.as_deref())?;
    let quiet = !matches!(cli.command, Command::Serve(_));
    let traces = telemetry::install(&settings.telemetry, if quiet { Some("warn") } else { None })?;
    let context = Context {
        common: cli.common,
        settings,
    };
    let outcome = Box::pin(act(cli.command, context)).await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    outcome
}

async fn act(command: Command, context: Context) -> Result<()> {
    match command {
        Command::Serve(args) => crate::serve::run(context, args).await,
        Command::Demo(args) => demo::run(context, args).await,
        Command::Import(args) => import::run(context, args).await,
        Command::Simulate(args) => simulate::run(&context, args).await,
        Command::Query(args) => query::run(&context, args).await,
        Command::Reports { command } => reports::run(&context, command).await,
        Command::Scores(args) => scores::list(&context, args).await,
        Command::Backtest(args) => backtest::run(&context, args).await,
        Command::Forecast(args) => forecast::run(&context, args).await,
        Command::Briefing(args) => briefing::run(&context, args).await,
        Command::Explain(args) => scores::explain(&context, args).await,
        Command::Pipelines { command } => pipelines::run(&context, command).await,
        Command::Definitions { command } => definitions::run(&context, command).await,
        Command::Keys { command } => keys::run(&context, command).await,
        Command::Users { command } => users::run(&context, command).await,
        Command::DeadLetters { command } => dead_letters::run(&context, command).await,
        Command::Privacy { command } => privacy::run(&context, command).await,
        Command::Doctor(args) => doctor::run(&context, args).await,
        Command::Train(args) => models::train(&context, args).await,
        Command::Models { command } => models::run(&context, command).await,
        Command::Bench { command } => bench::run(&context, command).await,
    }
}
