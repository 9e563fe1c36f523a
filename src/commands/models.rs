//! `revgauge models`: what the training pipeline reaches, measured on public data sets.

use anyhow::Result;
use revgauge_training::suite;

use crate::cli::ModelsCommand;

pub(crate) async fn run(command: ModelsCommand) -> Result<()> {
    match command {
        ModelsCommand::Suite { folder, only } => {
            let measured =
                tokio::task::spawn_blocking(move || suite::run(&folder, only.as_deref())).await??;
            print!("{}", suite::markdown(&measured));
            Ok(())
        }
    }
}
