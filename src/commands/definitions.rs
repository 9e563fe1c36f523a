//! `revgauge definitions`: list, show, compare, history, validate.

use anyhow::{Context as _, Result, anyhow, bail};
use revgauge_contract::Timestamp;
use revgauge_models::{Definitions, definitions::history};
use serde_json::{Value, json};

use super::{Client, Context};
use crate::{
    cli::DefinitionsCommand,
    output::{self, say},
    settings::nearest,
};

pub(crate) async fn run(context: &Context, command: DefinitionsCommand) -> Result<()> {
    match command {
        DefinitionsCommand::List => list(context),
        DefinitionsCommand::Show { name, as_of } => {
            let text = text(context, known(&name)?, as_of.as_deref()).await?;
            output::bytes(text.as_bytes())?;
            Ok(())
        }
        DefinitionsCommand::Diff { name, from, to } => {
            let names = match &name {
                Some(name) => vec![known(name)?],
                None => Definitions::NAMES.to_vec(),
            };
            diff(context, &names, from.as_deref(), to.as_deref()).await
        }
        DefinitionsCommand::History { name } => {
            let name = name.as_deref().map(known).transpose()?;
            history_of(context, name).await
        }
        DefinitionsCommand::Validate { path } => {
            if path.is_dir() {
                history::DefinitionSets::load(Some(&path)).map(drop)
            } else {
                Definitions::validate_file(&path)
            }
            .with_context(|| format!("{} is not valid; nothing was changed", path.display()))?;
            if context.common.json {
                say!("{:#}", json!({"path": path, "valid": true}));
            } else {
                say!("{} is valid", path.display());
            }
            Ok(())
        }
    }
}

/// The name as the product spells it.
fn known(name: &str) -> Result<&'static str> {
    let found = Definitions::NAMES.iter().find(|known| **known == name);
    found.copied().ok_or_else(|| {
        let near = nearest(name, Definitions::NAMES).map(|near| format!(", did you mean '{near}'?"));
        let near = near.unwrap_or_default();
        anyhow!(
            "no definition is called '{name}'{near} (there are {})",
            Definitions::NAMES.join(", ")
        )
    })
}

/// What a server would put in force now.
fn list(context: &Context) -> Result<()> {
    let sets = crate::wire::definitions(&context.settings)?;
    let rows: Vec<Value> = sets
        .of_tenant(&context.common.tenant)
        .summaries()
        .into_iter()
        .map(|one| json!({"name": one.name, "version": one.version, "id": one.id, "shipped": one.shipped}))
        .collect();
    if context.common.json {
        say!("{:#}", Value::Array(rows));
    } else {
        say!("{}", output::table(&["name", "version", "id", "shipped"], &rows));
    }
    Ok(())
}

/// The configured text, or the one in force at an instant.
async fn text(context: &Context, name: &str, as_of: Option<&str>) -> Result<String> {
    let Some(as_of) = as_of else {
        let sets = crate::wire::definitions(&context.settings)?;
        let text = sets.of_tenant(&context.common.tenant).text(name);
        return Ok(text.unwrap_or_default().to_owned());
    };
    let at: Timestamp = as_of
        .parse()
        .map_err(|error| anyhow!("cannot read the instant '{as_of}': {error}"))?;
    let stays = stays(context, Some(name)).await?;
    let since = |stay: &Value| -> Option<Timestamp> { stay.get("in_force_from")?.as_str()?.parse().ok() };
    // Before the first record the first set answers, as it does for scores.
    let stay = stays
        .iter()
        .rev()
        .find(|stay| since(stay).is_some_and(|since| since <= at))
        .or(stays.first());
    let text = stay.and_then(|stay| stay.get("text")?.as_str());
    text.map(str::to_owned)
        .ok_or_else(|| anyhow!("no definitions were ever in force here: no server has run on this store"))
}

async fn stays(context: &Context, name: Option<&str>) -> Result<Vec<Value>> {
    let only = name
        .map(|name| format!("WHERE name = '{name}'"))
        .unwrap_or_default();
    let sql = format!("SELECT * FROM definition_history {only} ORDER BY in_force_from, name");
    let client = Client::connect(context).await?;
    let rows = client.sql(&sql).await;
    client.close().await?;
    Ok(rows?.rows)
}

async fn history_of(context: &Context, name: Option<&str>) -> Result<()> {
    let mut stays = stays(context, name).await?;
    for stay in stays.iter_mut().filter_map(Value::as_object_mut) {
        stay.remove("text");
    }
    if context.common.json {
        say!("{:#}", Value::Array(stays));
        return Ok(());
    }
    let columns = ["name", "definition", "own", "in_force_from", "in_force_until"];
    say!(
        "{}",
        output::listing(&columns, &stays, "none yet: no server has run on this store")
    );
    Ok(())
}

/// Compares by key: without instants what ships with what is configured.
async fn diff(context: &Context, names: &[&'static str], from: Option<&str>, to: Option<&str>) -> Result<()> {
    if from.is_none() && to.is_some() {
        bail!("--to needs --from: say between which instants to compare");
    }
    let mut rows = Vec::new();
    for name in names {
        let before = match from {
            Some(_) => text(context, name, from).await?,
            None => Definitions::shipped_text(name).unwrap_or_default().to_owned(),
        };
        let after = text(context, name, to).await?;
        rows.extend(history::differences(&before, &after).into_iter().map(
            |one| json!({"definition": name, "key": one.key, "before": one.before, "after": one.after}),
        ));
    }
    if context.common.json {
        say!("{:#}", Value::Array(rows));
    } else {
        let columns = ["definition", "key", "before", "after"];
        say!("{}", output::listing(&columns, &rows, "nothing is different"));
    }
    Ok(())
}
