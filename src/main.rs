//! Revgauge: a scoring and forecasting engine for revenue teams.
//!
//! This is the composition root: it reads the command line and the settings, wires the rooms and runs them. It holds no
//! logic of its own; see ARCHITECTURE.md for the path of an event.

mod cli;
mod commands;
mod definition_desk;
mod definition_history;
mod doors;
mod flight;
mod identity;
mod model_registry;
mod model_service;
mod otlp;
mod output;
mod postgres;
mod privacy;
mod read_your_writes;
mod run_file;
mod scoring_checkpoint;
mod serve;
mod settings;
mod signals;
mod telemetry;
mod threads;
mod tls;
mod webhooks;
mod wire;

use std::process::ExitCode;

/// Gives memory back after bursts (imports, checkpoints, queries), which the system's allocator does not: see
/// docs/BENCHMARKS.md for both.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(commands::run(cli));
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", output::causes(&error));
            ExitCode::FAILURE
        }
    }
}
