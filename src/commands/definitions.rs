//! `revgauge definitions`: list, show, validate.

use anyhow::{Context as _, Result, bail};
use revgauge_models::Definitions;
use serde_json::{Value, json};

use super::Context;
use crate::{
    cli::DefinitionsCommand,
    output::{self, say},
};

pub(crate) fn run(context: &Context, command: DefinitionsCommand) -> Result<()> {
    match command {
        DefinitionsCommand::List => {
            let definitions = crate::wire::definitions(&context.settings)?;
            let rows: Vec<Value> = definitions
                .summaries()
                .into_iter()
                .map(|one| json!({"name": one.name, "version": one.version, "id": one.id, "shipped": one.shipped}))
                .collect();
            if context.common.json {
                say!("{:#}", Value::Array(rows));
            } else {
                say!("{}", output::table(&["name", "version", "id", "shipped"], &rows));
            }
        }
        DefinitionsCommand::Show { name } => match Definitions::shipped_text(&name) {
            Some(text) => output::bytes(text.as_bytes())?,
            None => bail!("no definition is called '{name}': see `revgauge definitions list`"),
        },
        DefinitionsCommand::Validate { path } => {
            if path.is_dir() {
                Definitions::load(&path).map(drop)
            } else {
                Definitions::validate_file(&path)
            }
            .with_context(|| format!("{} is not valid; nothing was changed", path.display()))?;
            say!("{} is valid", path.display());
        }
    }
    Ok(())
}
