//! Definitions that administrators publish for their tenant: tried, put in force, kept over restarts.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt as _, PutPayload, path::Path};
use parking_lot::RwLock;
use revgauge_contract::{
    Clock, ErrorKind,
    definition_record::DefinitionTexts,
    definition_trial::{ChangedKey, DefinitionDesk, DefinitionInForce, DefinitionTrial},
    error::Failure,
    statistics::Knowledge,
    time::DAY_US,
};
use revgauge_models::{
    Definitions,
    definitions::history::{DefinitionSets, differences},
    live::LiveScorer,
    service::Scoring,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::definition_history::DefinitionHistory;

/// Where the published texts lie: one object, replaced as a whole.
const PLACE: &str = "definitions-published.json";
/// Version of [`Stored`].
const FORMAT: u32 = 1;
/// Days before now at which a text is tried against what came after.
const ORIGINS_DAYS: [i64; 3] = [30, 60, 90];
/// Longest text taken, bytes.
const MOST_BYTES: usize = 256 * 1024;

/// Texts by tenant and name.
type Published = BTreeMap<String, DefinitionTexts>;

/// The object as it lies on the store.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    format: u32,
    tenants: Published,
}

/// Reads what was published.
///
/// # Errors
/// What the store met, or an object of a later form.
pub(crate) async fn read(store: &dyn ObjectStore) -> Result<Published> {
    let place = Path::from(PLACE);
    let bytes = match store.get(&place).await {
        Ok(found) => found.bytes().await?,
        Err(StoreError::NotFound { .. }) => return Ok(Published::new()),
        Err(error) => return Err(error).context("cannot read the published definitions"),
    };
    let stored: Stored = serde_json::from_slice(&bytes)
        .with_context(|| format!("cannot read {PLACE}: it was changed, or written by another program"))?;
    anyhow::ensure!(
        stored.format <= FORMAT,
        "{PLACE} has form {}, this program reads up to {FORMAT}: start a later program",
        stored.format
    );
    Ok(stored.tenants)
}

/// The configured sets with the published texts on top. A text that this program cannot read any more is left out and
/// said in the log: what is configured answers, and scores name it.
pub(crate) fn overlaid(configured: DefinitionSets, published: &Published) -> DefinitionSets {
    let mut sets = configured;
    for (tenant_id, texts) in published {
        for (name, text) in texts {
            match sets.with_own(tenant_id, name, text) {
                Ok(with) => sets = with,
                Err(problem) => {
                    tracing::warn!(%problem, tenant_id, "a published definition cannot be read: what is configured answers for it");
                }
            }
        }
    }
    sets
}

/// What the desk is made of.
pub(crate) struct Desk {
    pub(crate) store: Arc<dyn ObjectStore>,
    /// What is configured, without what was published.
    pub(crate) configured: RwLock<DefinitionSets>,
    pub(crate) history: Arc<DefinitionHistory>,
    pub(crate) scoring: Arc<Scoring>,
    pub(crate) live: Arc<LiveScorer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// What was published; whoever publishes holds it.
    pub(crate) published: Mutex<Published>,
    /// Names published, for those who only look.
    pub(crate) shown: RwLock<Published>,
}

fn refused(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(ErrorKind::User, error.to_string())
}

fn checked(text: &str) -> Result<(), Failure> {
    if text.len() > MOST_BYTES {
        return Err(refused(&format!(
            "cannot take a definition of {} bytes: the most is {MOST_BYTES}",
            text.len()
        )));
    }
    Ok(())
}

#[async_trait]
impl DefinitionDesk for Desk {
    fn in_force(&self, tenant_id: &str) -> Vec<DefinitionInForce> {
        let set = self.scoring.definitions(tenant_id, Knowledge::Now);
        let published = self.shown.read();
        let own = published.get(tenant_id);
        let one = |name: &&str| DefinitionInForce {
            name: (*name).to_owned(),
            id: set.id(name).unwrap_or_default().to_owned(),
            published: own.is_some_and(|own| own.contains_key(*name)),
            text: set.text(name).unwrap_or_default().to_owned(),
        };
        Definitions::NAMES.iter().map(one).collect()
    }

    async fn try_out(&self, tenant_id: &str, name: &str, text: &str) -> Result<DefinitionTrial, Failure> {
        checked(text)?;
        let now = self.clock.now();
        let before = self.scoring.definitions(tenant_id, Knowledge::Now);
        let candidate = Arc::new(before.with(name, text).map_err(|error| refused(&error))?);
        let origins = ORIGINS_DAYS.map(|days| now.plus_micros(-days * DAY_US));
        let scores = self
            .scoring
            .try_definitions(tenant_id, &candidate, now, &origins)
            .await?;
        let changed = differences(before.text(name).unwrap_or_default(), text);
        Ok(DefinitionTrial {
            id_before: before.id(name).unwrap_or_default().to_owned(),
            id_after: candidate.id(name).unwrap_or_default().to_owned(),
            changed_keys: changed
                .into_iter()
                .map(|one| ChangedKey {
                    key: one.key,
                    before: one.before,
                    after: one.after,
                })
                .collect(),
            origins: origins.to_vec(),
            scores,
        })
    }

    async fn publish(&self, tenant_id: &str, name: &str, text: Option<&str>) -> Result<(), Failure> {
        let mut published = self.published.lock().await;
        let mut next = published.clone();
        let own = next.entry(tenant_id.to_owned()).or_default();
        match text {
            Some(text) => {
                checked(text)?;
                let set = self.scoring.definitions(tenant_id, Knowledge::Now);
                set.with(name, text).map_err(|error| refused(&error))?;
                own.insert(name.to_owned(), text.to_owned());
            }
            None => {
                own.remove(name);
            }
        }
        if own.is_empty() {
            next.remove(tenant_id);
        }
        let internal = |error: anyhow::Error| Failure::new(ErrorKind::Internal, format!("{error:#}"));
        let stored = Stored {
            format: FORMAT,
            tenants: next.clone(),
        };
        let bytes = serde_json::to_vec(&stored).map_err(|error| internal(error.into()))?;
        self.store
            .put(&Path::from(PLACE), PutPayload::from(bytes))
            .await
            .map_err(|error| {
                internal(anyhow::Error::new(error).context("cannot keep the published definition"))
            })?;
        // Kept first: a crash before the record is made good at the next start, which records what is kept.
        (*self.shown.write()).clone_from(&next);
        *published = next;
        drop(published);
        self.put_in_force().await.map(drop).map_err(internal)
    }
}

impl Desk {
    /// Takes another configuration, as read from the definition files; whether anything is different with it.
    ///
    /// # Errors
    /// What the store met; what is in force stays.
    pub(crate) async fn reconfigure(&self, configured: DefinitionSets) -> Result<bool> {
        *self.configured.write() = configured;
        self.put_in_force().await
    }

    async fn put_in_force(&self) -> Result<bool> {
        let sets = overlaid(self.configured.read().clone(), &self.shown.read());
        if !self.history.record(sets).await? {
            return Ok(false);
        }
        self.history.install(&self.scoring);
        let (history, live, stop) = (
            Arc::clone(&self.history),
            Arc::clone(&self.live),
            self.stop.clone(),
        );
        self.tasks.spawn(async move { history.apply(&live, &stop).await });
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_published_is_read_again_and_what_cannot_be_read_is_left_out() {
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        assert!(read(&*store).await.expect("nothing is fine").is_empty());
        let text = Definitions::shipped_text("engagement").expect("shipped");
        let dearer = text.replacen("saturation = ", "saturation = 2", 1);
        let texts = DefinitionTexts::from([
            ("engagement".to_owned(), dearer),
            ("intent".to_owned(), "of_another_age = 1".to_owned()),
        ]);
        let stored = Stored {
            format: FORMAT,
            tenants: Published::from([("acme".to_owned(), texts)]),
        };
        let bytes = serde_json::to_vec(&stored).expect("JSON");
        store
            .put(&Path::from(PLACE), PutPayload::from(bytes))
            .await
            .expect("kept");
        let published = read(&*store).await.expect("read");
        let sets = overlaid(DefinitionSets::of(Definitions::shipped()), &published);
        let shipped = Definitions::shipped();
        assert_ne!(sets.of_tenant("acme").engagement.id(), shipped.engagement.id());
        assert_eq!(sets.of_tenant("acme").intent.id(), shipped.intent.id());
        assert_eq!(sets.of_tenant("other").engagement.id(), shipped.engagement.id());
        let later = br#"{"format": 9, "tenants": {}}"#.to_vec();
        store
            .put(&Path::from(PLACE), PutPayload::from(later))
            .await
            .expect("kept");
        assert!(read(&*store).await.is_err());
    }
}
