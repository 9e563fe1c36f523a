//! Logs: structured, to standard error, level by `REVGAUGE_LOG` or the settings; traces by OTLP when asked for.

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, Layer as _, filter::Targets, fmt, prelude::*};

use crate::otlp::{self, OtlpSettings, TraceExport};

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TelemetrySettings {
    /// Filter such as `info` or `info,revgauge_lake=debug`; `REVGAUGE_LOG` wins over it.
    pub(crate) log: String,
    /// One JSON object a line instead of text.
    pub(crate) json: bool,
    /// Traces to an OpenTelemetry collector.
    pub(crate) otlp: OtlpSettings,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            log: "warn".to_owned(),
            json: false,
            otlp: OtlpSettings::default(),
        }
    }
}

/// Installs the subscriber; a second call in one process changes nothing. The export, where the settings ask for one,
/// is to be finished by the caller.
///
/// # Errors
/// A filter or an endpoint that cannot be read.
pub(crate) fn install(settings: &TelemetrySettings, least: Option<&str>) -> Result<Option<TraceExport>> {
    let text = std::env::var("REVGAUGE_LOG").unwrap_or_else(|_| least.unwrap_or(&settings.log).to_owned());
    let filter = EnvFilter::try_new(&text).map_err(|error| {
        anyhow!(
            "cannot read the log filter '{text}' of REVGAUGE_LOG or telemetry.log: {error}; \
             use one such as info or info,revgauge_lake=debug"
        )
    })?;
    let layer = fmt::layer().with_writer(std::io::stderr).with_target(true);
    let logs = if settings.json {
        layer.json().with_filter(filter).boxed()
    } else {
        layer.with_filter(filter).boxed()
    };
    let export = otlp::start(&settings.otlp)?;
    // Only our own spans: the exporter's client makes some too, and would export itself for ever.
    let own = Targets::new().with_target("revgauge", tracing::Level::INFO);
    let traces = export.as_ref().map(|export| {
        tracing_opentelemetry::layer()
            .with_tracer(export.tracer())
            .with_filter(own)
    });
    let _ = tracing_subscriber::registry().with(logs).with(traces).try_init();
    Ok(export)
}
