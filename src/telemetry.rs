//! Logs: structured, to standard error, level by `REVGAUGE_LOG` or the settings.

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TelemetrySettings {
    /// Filter such as `info` or `info,revgauge_lake=debug`; `REVGAUGE_LOG` wins over it.
    pub(crate) log: String,
    /// One JSON object a line instead of text.
    pub(crate) json: bool,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            log: "warn".to_owned(),
            json: false,
        }
    }
}

/// Installs the subscriber; a second call in one process changes nothing.
///
/// # Errors
/// A filter that cannot be read.
pub(crate) fn install(settings: &TelemetrySettings, least: Option<&str>) -> Result<()> {
    let text = std::env::var("REVGAUGE_LOG").unwrap_or_else(|_| least.unwrap_or(&settings.log).to_owned());
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        anyhow!(
            "cannot read the log filter '{text}' of REVGAUGE_LOG or telemetry.log: {error}; \
             use one such as info or info,revgauge_lake=debug"
        )
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(true);
    let _ = if settings.json {
        registry.with(layer.json()).try_init()
    } else {
        registry.with(layer).try_init()
    };
    Ok(())
}
