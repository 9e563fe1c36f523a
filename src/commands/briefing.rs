//! `revgauge briefing`.

use anyhow::{Result, bail};
use axum::body::Bytes;

use super::{Client, Context, client::encode};
use crate::{cli::BriefingArgs, output::say};

/// Prints what changed, as the node tells it.
pub(crate) async fn run(context: &Context, args: BriefingArgs) -> Result<()> {
    let client = Client::connect(context).await?;
    let format = if context.common.json {
        "json"
    } else {
        args.format.as_str()
    };
    let mut path = format!("/v1/briefing?format={format}");
    if let Some(since) = &args.since {
        path += &format!("&since={}", encode(since));
    }
    let answer = client.send("GET", &path, "application/json", Bytes::new()).await;
    client.close().await?;
    let answer = answer?;
    if answer.status != 200 {
        bail!("cannot make the briefing: {}", answer.refusal());
    }
    say!("{}", String::from_utf8_lossy(&answer.body));
    Ok(())
}
