//! `revgauge models`: what the training pipeline reaches, measured on public data sets.

use anyhow::Result;
use revgauge_training::suite;

use crate::{cli::ModelsCommand, output};

pub(crate) async fn run(command: ModelsCommand) -> Result<()> {
    match command {
        ModelsCommand::Suite { folder, only } => {
            let measured =
                tokio::task::spawn_blocking(move || suite::run(&folder, only.as_deref())).await??;
            output::line(format_args!("{}", suite::markdown(&measured)));
            Ok(())
        }
    }
}
