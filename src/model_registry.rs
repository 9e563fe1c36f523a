//! Where are the trained models of a tenant, and which of them serves? Objects beside the data, checked at every reading.
//!
//! `models/<tenant>/<target>/<version>.json` holds artifact and card: a first line with format and SHA-256 of the rest,
//! then the JSON. It is written once. `models/<tenant>/<target>/standing/<number>.json` is a log of decisions, one object
//! each, created conditionally, so that two deciders never both win and nothing is ever overwritten.

use std::sync::Arc;

use object_store::{
    Error as StoreError, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, path::Path,
};
use revgauge_contract::{
    ErrorKind, Timestamp,
    error::Failure,
    models::{HeldOut, ModelEntry, ModelStanding, ModelTarget},
};
use revgauge_models::win::{WinArtifact, WinModel, artifact::sha256_hex};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the stored form.
const FORMAT: u32 = 1;

/// A stored version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredModel {
    pub(crate) target: ModelTarget,
    pub(crate) version: u32,
    pub(crate) trained_at: Timestamp,
    /// Days within which a win counted; 0 for cold counts alone.
    pub(crate) horizon_days: f64,
    pub(crate) held_out: HeldOut,
    pub(crate) signal: bool,
    pub(crate) model: Arc<WinModel>,
    pub(crate) card: Value,
    /// Answers to rows that the model had not seen: what it is compared by.
    pub(crate) held: Vec<HeldAnswer>,
    /// Set when read or written; not part of what is hashed.
    #[serde(skip)]
    pub(crate) sha256: String,
}

/// The answer to one row by a model that had not seen it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HeldAnswer {
    pub(crate) deal_id: String,
    /// The row's instant, days since 1970.
    pub(crate) at: f64,
    pub(crate) probability: f64,
}

impl StoredModel {
    /// The horizon it was trained with.
    pub(crate) fn horizon(&self) -> Option<f64> {
        (self.horizon_days > 0.0).then_some(self.horizon_days)
    }

    pub(crate) fn entry(&self, standing: ModelStanding) -> ModelEntry {
        ModelEntry {
            target: self.target,
            version: self.version,
            standing,
            trained_at: self.trained_at,
            rows: self.model.artifact.as_ref().map_or(0, |artifact| artifact.rows),
            won: self.model.artifact.as_ref().map_or(0, |artifact| artifact.won),
            signal: self.signal,
            held_out: self.held_out,
            sha256: self.sha256.clone(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    format: u32,
    sha256: String,
}

/// A decision about which version serves or shadows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decision {
    pub(crate) at: Timestamp,
    pub(crate) action: Action,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// This version serves from now on.
    Promote(u32),
    /// The version before serves again.
    Rollback(u32),
    /// This version is computed beside; none ends it.
    Shadow(Option<u32>),
}

/// All decisions in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Decisions(pub(crate) Vec<Decision>);

impl Decisions {
    /// The versions that served, each once as it came, those rolled back taken out: the last is the serving one.
    fn served(&self) -> Vec<u32> {
        let mut served = Vec::new();
        for decision in &self.0 {
            match decision.action {
                Action::Promote(version) => served.push(version),
                Action::Rollback(_) => {
                    served.pop();
                }
                Action::Shadow(_) => {}
            }
        }
        served
    }

    /// The serving version.
    pub(crate) fn serving(&self) -> Option<u32> {
        self.served().last().copied()
    }

    /// The version that served before it.
    pub(crate) fn before(&self) -> Option<u32> {
        self.served().iter().rev().nth(1).copied()
    }

    /// The shadow.
    pub(crate) fn shadow(&self) -> Option<u32> {
        self.0.iter().rev().find_map(|decision| match decision.action {
            Action::Shadow(version) => Some(version),
            Action::Promote(_) | Action::Rollback(_) => None,
        })?
    }

    pub(crate) fn standing(&self, version: u32) -> ModelStanding {
        if self.serving() == Some(version) {
            ModelStanding::Serving
        } else if self.shadow() == Some(version) {
            ModelStanding::Shadow
        } else {
            ModelStanding::Kept
        }
    }
}

/// The registry.
#[derive(Debug, Clone)]
pub(crate) struct ModelRegistry {
    store: Arc<dyn ObjectStore>,
}

fn met(attempted: &str, path: &Path, error: &StoreError) -> Failure {
    Failure::new(
        ErrorKind::External,
        format!("cannot {attempted} '{path}': {error}"),
    )
}

fn tampered(path: &Path) -> Failure {
    Failure::new(
        ErrorKind::Data,
        format!(
            "cannot use the model at '{path}': its content does not match its checksum, so it was changed after training; train again or roll back"
        ),
    )
}

fn folder(tenant_id: &str, target: ModelTarget) -> Path {
    Path::from("models").join(tenant_id).join(target.as_str())
}

/// A stored version whose text was changed on purpose, with the checksum of what it now holds; `None` for other objects.
pub(crate) fn resealed(path: &Path, text: &str) -> Option<Vec<u8>> {
    let is_version = path.as_ref().starts_with("models/") && !path.as_ref().contains("/standing/");
    let (line, body) = text.split_once('\n').filter(|_| is_version)?;
    let header: Header = serde_json::from_str(line).ok()?;
    let header = Header {
        sha256: sha256_hex(body.as_bytes()),
        ..header
    };
    let mut bytes = serde_json::to_vec(&header).ok()?;
    bytes.push(b'\n');
    bytes.extend_from_slice(body.as_bytes());
    Some(bytes)
}

impl ModelRegistry {
    pub(crate) fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// Tenants that have models.
    ///
    /// # Errors
    /// What the store met.
    pub(crate) async fn tenants(&self) -> Result<Vec<String>, Failure> {
        let root = Path::from("models");
        let listed = self
            .store
            .list_with_delimiter(Some(&root))
            .await
            .map_err(|error| met("list the models below", &root, &error))?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        Ok(listed.common_prefixes.iter().filter_map(name).collect())
    }

    /// Versions stored, rising.
    ///
    /// # Errors
    /// What the store met.
    pub(crate) async fn versions(&self, tenant_id: &str, target: ModelTarget) -> Result<Vec<u32>, Failure> {
        self.numbers(&folder(tenant_id, target)).await
    }

    async fn numbers(&self, folder: &Path) -> Result<Vec<u32>, Failure> {
        let listed = self
            .store
            .list_with_delimiter(Some(folder))
            .await
            .map_err(|error| met("list the models below", folder, &error))?;
        let mut numbers: Vec<u32> = listed
            .objects
            .iter()
            .filter_map(|object| object.location.filename()?.strip_suffix(".json")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads a version and checks it.
    ///
    /// # Errors
    /// `NotFound`; `Data` when it was changed after training; what the store met.
    pub(crate) async fn read(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        version: u32,
    ) -> Result<StoredModel, Failure> {
        let path = folder(tenant_id, target).join(format!("{version}.json"));
        let bytes = match self.store.get(&path).await {
            Ok(found) => found.bytes().await,
            Err(StoreError::NotFound { .. }) => {
                let message = format!(
                    "no version {version} of the model of {}: list the models to see which there are",
                    target.as_str()
                );
                return Err(Failure::new(ErrorKind::NotFound, message));
            }
            Err(error) => Err(error),
        }
        .map_err(|error| met("read the model at", &path, &error))?;
        let line = bytes
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| tampered(&path))?;
        let header: Header = serde_json::from_slice(&bytes[..line]).map_err(|_| tampered(&path))?;
        if header.format != FORMAT {
            let message = format!(
                "cannot use the model at '{path}': it has format {}, this version reads {FORMAT}; train again",
                header.format
            );
            return Err(Failure::new(ErrorKind::Data, message));
        }
        let body = &bytes[line + 1..];
        if sha256_hex(body) != header.sha256 {
            return Err(tampered(&path));
        }
        let mut model: StoredModel = serde_json::from_slice(body).map_err(|_| tampered(&path))?;
        // The artifact carries a hash of its own, so that one copied elsewhere is checked too.
        if let Some(artifact) = &model.model.artifact {
            let text = artifact.to_json().map_err(|error| refused(&error))?;
            WinArtifact::from_json(&text).map_err(|error| refused(&error))?;
        }
        model.sha256 = header.sha256;
        Ok(model)
    }

    /// Stores a new version under the next free number, which is returned.
    ///
    /// # Errors
    /// `External` when others take the numbers again and again; what the store met.
    pub(crate) async fn add(&self, tenant_id: &str, mut model: StoredModel) -> Result<StoredModel, Failure> {
        let folder = folder(tenant_id, model.target);
        model.version = self.numbers(&folder).await?.last().map_or(1, |last| last + 1);
        for _ in 0..8 {
            let body = serde_json::to_vec(&model).map_err(|error| {
                Failure::new(
                    ErrorKind::Internal,
                    format!("cannot write the model as JSON: {error}"),
                )
            })?;
            let header = Header {
                format: FORMAT,
                sha256: sha256_hex(&body),
            };
            let mut bytes = serde_json::to_vec(&header).unwrap_or_default();
            bytes.push(b'\n');
            bytes.extend_from_slice(&body);
            let path = folder.clone().join(format!("{}.json", model.version));
            if self.create(&path, bytes).await? {
                model.sha256 = header.sha256;
                return Ok(model);
            }
            model.version += 1;
        }
        Err(contended(&folder))
    }

    /// The decisions so far.
    ///
    /// # Errors
    /// What the store met; `Data` for a decision that cannot be read.
    pub(crate) async fn decisions(&self, tenant_id: &str, target: ModelTarget) -> Result<Decisions, Failure> {
        let folder = folder(tenant_id, target).join("standing");
        let mut decisions = Vec::new();
        for number in self.numbers(&folder).await? {
            let path = folder.clone().join(format!("{number}.json"));
            let found = match self.store.get(&path).await {
                Ok(found) => found.bytes().await,
                Err(error) => Err(error),
            };
            let bytes = found.map_err(|error| met("read the decision at", &path, &error))?;
            let decision = serde_json::from_slice(&bytes).map_err(|error| {
                Failure::new(
                    ErrorKind::Data,
                    format!("cannot read the decision at '{path}': {error}"),
                )
            })?;
            decisions.push(decision);
        }
        Ok(Decisions(decisions))
    }

    /// Adds a decision after those that the caller has seen.
    ///
    /// # Errors
    /// `External` when another decided meanwhile; what the store met.
    pub(crate) async fn decide(
        &self,
        tenant_id: &str,
        target: ModelTarget,
        seen: &Decisions,
        decision: &Decision,
    ) -> Result<(), Failure> {
        let folder = folder(tenant_id, target).join("standing");
        let path = folder.clone().join(format!("{}.json", seen.0.len() + 1));
        let bytes = serde_json::to_vec(decision).unwrap_or_default();
        if self.create(&path, bytes).await? {
            Ok(())
        } else {
            Err(contended(&folder))
        }
    }

    async fn create(&self, path: &Path, bytes: Vec<u8>) -> Result<bool, Failure> {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        match self.store.put_opts(path, PutPayload::from(bytes), options).await {
            Ok(_) => Ok(true),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(false),
            Err(error) => Err(met("write the model at", path, &error)),
        }
    }
}

fn contended(folder: &Path) -> Failure {
    Failure::new(
        ErrorKind::External,
        format!("cannot write below '{folder}': another process decided meanwhile, try again"),
    )
}

fn refused(error: &revgauge_models::win::ArtifactError) -> Failure {
    Failure::new(ErrorKind::Data, error.to_string())
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;
    use serde_json::json;

    use super::*;

    fn model() -> StoredModel {
        let artifact = WinArtifact {
            format: revgauge_models::win::artifact::ARTIFACT_FORMAT,
            name: "win".to_owned(),
            columns: Vec::new(),
            share_linear: 1.0,
            bias: 0.25,
            weights: Vec::new(),
            base: 0.0,
            trees: Vec::new(),
            slope: 1.0,
            offset: 0.0,
            curve: Vec::new(),
            rows: 100,
            won: 40,
            percentiles: Vec::new(),
            hash: String::new(),
            laid: revgauge_models::win::artifact::Laid::default(),
        }
        .seal();
        StoredModel {
            target: ModelTarget::Deals,
            version: 0,
            trained_at: Timestamp(1),
            horizon_days: 90.0,
            held_out: HeldOut {
                rows: 50,
                log_loss: 0.5,
                calibration_error: 0.02,
                auc: 0.7,
                base_rate_log_loss: 0.6,
            },
            signal: true,
            model: Arc::new(WinModel {
                artifact: Some(artifact),
                cold: revgauge_models::win::NaiveBayes::default(),
                hazard: None,
            }),
            card: json!({"note": "of a test"}),
            held: Vec::new(),
            sha256: String::new(),
        }
    }

    fn decision(action: Action) -> Decision {
        Decision {
            at: Timestamp(7),
            action,
        }
    }

    #[tokio::test]
    async fn versions_are_kept_and_decisions_are_a_log() {
        let registry = ModelRegistry::new(Arc::new(InMemory::new()));
        let (one, two) = (
            registry.add("acme", model()).await.unwrap(),
            registry.add("acme", model()).await.unwrap(),
        );
        assert_eq!((one.version, two.version), (1, 2));
        assert_eq!(registry.read("acme", ModelTarget::Deals, 2).await.unwrap(), two);
        let mut seen = Decisions::default();
        for action in [
            Action::Promote(1),
            Action::Shadow(Some(2)),
            Action::Promote(2),
            Action::Rollback(1),
        ] {
            registry
                .decide("acme", ModelTarget::Deals, &seen, &decision(action))
                .await
                .unwrap();
            seen = registry.decisions("acme", ModelTarget::Deals).await.unwrap();
        }
        assert_eq!(
            (seen.serving(), seen.before(), seen.shadow()),
            (Some(1), None, Some(2))
        );
        // One who has not seen the last decision is told so.
        let stale = Decisions(seen.0[..2].to_vec());
        let late = registry
            .decide("acme", ModelTarget::Deals, &stale, &decision(Action::Promote(2)))
            .await;
        assert_eq!(late.unwrap_err().kind, ErrorKind::External);
        assert_eq!(registry.tenants().await.unwrap(), ["acme"]);
        assert!(
            registry
                .versions("other", ModelTarget::Deals)
                .await
                .unwrap()
                .is_empty()
        );
    }

    #[tokio::test]
    async fn a_changed_byte_of_artifact_or_card_is_refused() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let registry = ModelRegistry::new(Arc::clone(&store));
        registry.add("acme", model()).await.unwrap();
        let path = Path::from("models/acme/deals/1.json");
        let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        for (from, to) in [
            ("0.25", "0.35"),
            ("of a test", "of a best"),
            ("\"rows\":100", "\"rows\":101"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text);
            store.put(&path, PutPayload::from(changed)).await.unwrap();
            let error = registry.read("acme", ModelTarget::Deals, 1).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::Data, "{error}");
            assert!(error.to_string().contains("changed after training"), "{error}");
        }
    }
}
