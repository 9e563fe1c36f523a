//! Settings: one TOML file, environment overrides, unknown keys refused with a suggestion.
//!
//! Every room has its own settings struct with its own defaults; this file only puts them under one roof. Later wins:
//! defaults, the file, `REVGAUGE__SECTION__KEY` in the environment, the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use figment::{
    Figment,
    error::Kind,
    providers::{Env, Serialized},
};
use revgauge_connectors::http::HttpSettings;
use revgauge_journal::{DeadLetterSettings, DedupSettings, FeedSettings, JournalSettings, PumpSettings};
use revgauge_lake::LakeSettings;
use revgauge_models::{
    forecast::ForecastSettings, live::LiveSettings, reports::ReportSettings, service::ScoringSettings,
};
use revgauge_pipelines::PipelineSettings;
use revgauge_query_api::{ApiSettings, access::KeySettings};
use revgauge_store::StoreSettings;
use serde::{Deserialize, Serialize};

use crate::{model_service::ModelSettings, privacy::PrivacySettings, telemetry::TelemetrySettings};

/// Everything that can be set, by subject.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) store: Store,
    pub(crate) server: Server,
    pub(crate) journal: JournalSettings,
    pub(crate) feed: FeedSettings,
    pub(crate) pump: PumpSettings,
    pub(crate) dedup: DedupSettings,
    pub(crate) dead_letters: DeadLetterSettings,
    pub(crate) lake: LakeSettings,
    pub(crate) pipelines: PipelineSettings,
    pub(crate) scoring: ScoringSettings,
    pub(crate) reports: ReportSettings,
    pub(crate) models: ModelSettings,
    pub(crate) forecast: ForecastSettings,
    pub(crate) live: LiveSettings,
    pub(crate) definitions: DefinitionFiles,
    pub(crate) ingest: HttpSettings,
    pub(crate) api: ApiSettings,
    pub(crate) api_keys: KeySettings,
    pub(crate) privacy: PrivacySettings,
    pub(crate) telemetry: TelemetrySettings,
}

/// Where the data lives.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Store {
    /// A folder, `file:///folder` or `s3://bucket/prefix`.
    pub(crate) url: String,
    /// Options of object stores.
    pub(crate) options: StoreSettings,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            url: "revgauge-data".to_owned(),
            options: StoreSettings::default(),
        }
    }
}

impl Store {
    /// The folder, when the store is a local one.
    pub(crate) fn local_folder(&self) -> Option<PathBuf> {
        match self.url.split_once("://") {
            None => Some(PathBuf::from(&self.url)),
            Some(("file", path)) => Some(PathBuf::from(path)),
            Some(_) => None,
        }
    }
}

/// How the server listens and works.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Server {
    /// Address of all doors.
    pub(crate) listen: String,
    /// PEM file of the certificate chain; with it and `tls_key` the doors speak HTTPS only (TLS 1.2 and 1.3).
    pub(crate) tls_certificate: Option<PathBuf>,
    /// PEM file of the certificate's private key.
    pub(crate) tls_key: Option<PathBuf>,
    /// Threads of the runtime on which queries run, apart from the one that serves.
    pub(crate) query_threads: usize,
    /// Kafka brokers named in the Arroyo program that `pipelines deploy` prints or submits.
    pub(crate) arroyo_brokers: String,
    /// Positions of the score feed kept in its journal for readers, beyond what the lake needs.
    pub(crate) feed_positions_kept: u64,
    /// Time between two checkpoints of what layer 2 holds. The events' journal is kept back to the newest one, so that a
    /// restart after a crash reads again only what came after it.
    pub(crate) scoring_checkpoint_interval_ms: u64,
    /// Longest a question about now waits for what was acknowledged before it; then it is answered from what there is.
    pub(crate) read_wait_ms: u64,
    /// Longest wait for open requests at shutdown.
    pub(crate) shutdown_grace_ms: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8780".to_owned(),
            tls_certificate: None,
            tls_key: None,
            query_threads: 2,
            read_wait_ms: 1_000,
            feed_positions_kept: 200_000,
            scoring_checkpoint_interval_ms: 600_000,
            arroyo_brokers: "localhost:9092".to_owned(),
            shutdown_grace_ms: 5_000,
        }
    }
}

/// Files that extend what ships.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DefinitionFiles {
    /// Folder of definitions that replace the shipped ones of the same name; `tenants/<tenant id>/` in it has those of
    /// single tenants.
    pub(crate) folder: Option<PathBuf>,
    /// File of event-name mappings beside the shipped ones.
    pub(crate) event_names: Option<PathBuf>,
    /// Folder of event-name mappings of single tenants, `<tenant id>.toml`, on top of the others.
    pub(crate) tenant_event_names: Option<PathBuf>,
}

/// Reads the settings.
///
/// # Errors
/// The file cannot be read; a key is unknown (with the nearest known one) or a value has the wrong type, by file and line.
pub(crate) fn load(file: Option<&Path>, store: Option<&str>) -> Result<Settings> {
    let mut settings = Settings::default();
    if let Some(path) = file {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        settings = toml::from_str(&text).map_err(|error| {
            let hint = suggestion(error.message())
                .map(|near| format!("did you mean '{near}'?\n"))
                .unwrap_or_default();
            anyhow!(
                "{} is not a valid configuration; nothing was started\n{error}{hint}",
                path.display()
            )
        })?;
    }
    let layered =
        Figment::from(Serialized::defaults(settings)).merge(Env::prefixed("REVGAUGE__").split("__"));
    let mut settings: Settings = layered.extract().map_err(|error| environment_fault(&error))?;
    if let Some(url) = store {
        settings.store.url = url.to_owned();
    }
    Ok(settings)
}

/// What is wrong with a setting of the environment, by the name of its variable.
fn environment_fault(error: &figment::Error) -> anyhow::Error {
    let name = format!("REVGAUGE__{}", error.path.join("__").to_uppercase());
    let said = match &error.kind {
        Kind::UnknownField(unknown, known) => {
            let unknown = unknown.to_lowercase();
            let near = nearest(&unknown, known)
                .map(|near| format!("; did you mean '{near}'?"))
                .unwrap_or_default();
            format!("'{unknown}' is unknown{near} (there are {})", known.join(", "))
        }
        other => other.to_string(),
    };
    anyhow!("cannot use the environment's setting {name}: {said}")
}

/// The known name that was most likely meant, when one is near enough.
pub(crate) fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|name| (strsim::jaro_winkler(unknown, name), *name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.7)
        .map(|(_, name)| name)
}

/// The known key nearest to the unknown one that serde names in "unknown field `x`, expected one of `a`, `b`".
fn suggestion(message: &str) -> Option<String> {
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (unknown, known) = quoted
        .split_first()
        .filter(|_| message.starts_with("unknown field"))?;
    nearest(unknown, known).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn an_unknown_key_names_file_line_and_the_nearest_key() {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        writeln!(file, "[server]\nlisten = \"127.0.0.1:1\"\nquery_treads = 3").expect("written");
        let text = load(Some(file.path()), None).expect_err("refused").to_string();
        assert!(
            text.contains("line 3") && text.contains("did you mean 'query_threads'?"),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_variable_is_named_with_the_nearest_key() {
        let layered = Figment::from(Serialized::defaults(Settings::default()))
            .merge(("SERVER", std::collections::BTreeMap::from([("LISEN", 1)])));
        let error = layered.extract::<Settings>().expect_err("refused");
        let text = environment_fault(&error).to_string();
        assert!(text.contains("did you mean '"), "{text}");
    }

    #[test]
    fn defaults_survive_a_round_through_toml() {
        let text = toml::to_string(&Settings::default()).expect("written");
        let back: Settings = toml::from_str(&text).expect("read");
        assert_eq!(toml::to_string(&back).expect("written"), text);
    }
}
